"""Modules that hold modules: in a row, in a list, under names.

Plain lists, tuples and dicts of modules count as well (see ``module.py``); these are Modules themselves, so that they
can be nested, copied, frozen and shown as one.

Ring 4. Must not know any layer. Read after ``module.py``.
"""

import operator

from ..errors import AxisError, SettingError
from .module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class ModuleList(Module):
    """A list of modules whose parameters are named "0.weight", "2.bias". It has no forward: its owner calls them.

    Parameters
    ----------
    modules : iterable of Module
        ``m[0]`` is the first, ``m[:2]`` a list of the first two (not copies).

    Shape: none of its own.
    """

    def __init__(self, modules=()):
        self.layers = [self._checked(i, module) for i, module in enumerate(modules)]

    def _checked(self, index, module):
        if isinstance(module, Module):
            Module.attribute_changes += 1
            return module
        name, what = type(self).__name__, type(module).__name__
        raise SettingError(f"{name}: entry {index} is a {what}, not a Module. Give layers one by one.")

    def _attributes(self):
        # "0.weight", not "layers.0.weight": the field's names. A subclass may have further attributes.
        yield from enumerate(self.layers)
        yield from ((name, value) for name, value in super()._attributes() if name != "layers")

    def _place(self, index):
        index = operator.index(index)
        if not -len(self.layers) <= index < len(self.layers):
            raise AxisError(f"{type(self).__name__}: no module {index} among {len(self.layers)}.")
        return index

    def append(self, module):
        """Add a module at the end; returns self."""
        self.layers.append(self._checked(len(self.layers), module))
        return self

    def extend(self, modules):
        """Add modules at the end; returns self."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index, module):
        """Add a module before the one at index."""
        self.layers.insert(index, self._checked(index, module))

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return ModuleList(self.layers[index])
        return self.layers[self._place(index)]

    def __setitem__(self, index, module):
        self.layers[self._place(index)] = self._checked(index, module)

    def __delitem__(self, index):
        del self.layers[index if isinstance(index, slice) else self._place(index)]
        Module.attribute_changes += 1


class Sequential(ModuleList):
    """modules[-1](... modules[1](modules[0](x))). Its parameters are named "0.weight", "2.bias"; none at all: x.

    Parameters
    ----------
    *modules : Module
        In the order in which they run. ``s[0]`` is the first, ``s[:2]`` a Sequential of the first two (not copies).

    Shape: the first one's input -> the last one's output.
    """

    def __init__(self, *modules):
        super().__init__(modules)

    def forward(self, x):
        """Each module on the result of the one before."""
        for module in self.layers:
            x = module(x)
        return x

    def __getitem__(self, index):
        return Sequential(*self.layers[index]) if isinstance(index, slice) else super().__getitem__(index)


class ModuleDict(Module):
    """A dictionary of modules whose parameters are named "key.weight". It has no forward: its owner calls them.

    Parameters
    ----------
    modules : dict of str to Module
        Keys have no dot in them, since dots join names.

    Shape: none of its own.
    """

    def __init__(self, modules=()):
        self.entries = {}
        self.update(modules)

    def _attributes(self):
        yield from self.entries.items()
        yield from ((name, value) for name, value in super()._attributes() if name != "entries")

    def update(self, modules):
        """Add (or replace by) the modules of a dictionary."""
        for key, module in dict(modules).items():
            self[key] = module

    def keys(self):
        """The names."""
        return self.entries.keys()

    def values(self):
        """The modules."""
        return self.entries.values()

    def items(self):
        """(name, module) pairs."""
        return self.entries.items()

    def __len__(self):
        return len(self.entries)

    def __iter__(self):
        return iter(self.entries)

    def __contains__(self, key):
        return key in self.entries

    def __getitem__(self, key):
        return self.entries[key]

    def __setitem__(self, key, module):
        if not isinstance(key, str) or not key or "." in key:
            raise SettingError(f"ModuleDict: key {key!r}. Give a name without dots: dots join names.")
        if not isinstance(module, Module):
            raise SettingError(f"ModuleDict: entry {key!r} is a {type(module).__name__}, not a Module.")
        Module.attribute_changes += 1
        self.entries[key] = module

    def __delitem__(self, key):
        Module.attribute_changes += 1
        del self.entries[key]
