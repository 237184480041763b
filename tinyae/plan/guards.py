"""What a plan depends on: found while the step is captured, and compared before each run.

    Reads     listens while the step runs: which Python code is called, and on which objects
    Guards    what that code may read, as it was then; `fits` says whether it still is, `moved` names what is not

A plan is the step with everything frozen that is not an argument or state: numbers, strings, lists, functions, which
layers there are. What the step reads of these is not asked from the user but found. Python tells of every function
that is called; its bytecode says which global names and which attributes it may look up; from the step's closure,
globals, defaults and bound object on, all that can be reached by these names is noted, with what is in lists and
dictionaries on the way.

Ring 4. Must not know programs, nor how a plan runs. Read after capture.py.

Note [What is watched]
    By identity: tensors, large arrays, classes, objects of whose inside nothing is known. By value: numbers, strings,
    arrays of up to ``SMALL`` elements, how far an iterator has come, the state of Python's and NumPy's generators.
    By what is in them: lists, tuples, dictionaries, sets, closures, defaults, and of objects and classes the attributes
    whose names occur in code that was called. Names are all that is known of attributes, so of an object that is
    reached an attribute counts as read if any code that was called reads one of that name: too much rather than
    too little. Python's, NumPy's and tinyae's own code is taken to stay as it is; optimizers, their state and tinyae's
    generators are looked after by compile.py. What cannot be found so (a clock, a file, a large array written in
    place) shows in the values, when a plan is compared with the step: Note [Checks] of compile.py.
"""

import collections
import contextvars
import copy
import functools
import gc
import operator
import os
import sys
import types
import weakref

import numpy as np

from ..engine import Var
from ..nn.module import Module
from ..ops.random import Generator
from ..optim.base import Optimizer

__all__ = ["SMALL", "Guards", "Identity", "Reads", "Same", "global_noise", "hooks_of"]

SMALL = 64  # elements of an array that is watched by value
_MANY = 1000  # entries of a list or dictionary from which on only their number is watched
_LIMIT = 20_000  # things watched; what lies behind them is left to the comparison with the step

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...), np.generic, np.dtype, slice, range)
_MISSING, _RESULT = object(), object()
_MAPPINGS: tuple = (dict, types.MappingProxyType)
_CONTAINERS = {"collections", "os", "weakref"}  # modules with classes in Python of what else would be in C: UserDict
_LIBRARY = os.path.dirname(os.__file__)  # where Python's own modules are
# Modules of tinyae below nn, and the rules of the optimizers: their code reads nothing that a plan does not know of.
_BELOW = {"engine", "errors", "gradcheck", "hooks", "kernels", "mode", "ops", "optim", "plan", "source", "tensor",
          "transforms", "tree"}  # fmt: skip
_NOTHING, _OWN, _USER = range(3)


class Reads:
    """``with Reads() as reads:`` notes which code is called on this thread, and on which objects."""

    def __init__(self):
        self.interest = {}  # {code: whether it is nothing to us, tinyae's own, or the user's}
        self.globals = {}  # {the user's code: its globals}
        self.objects = {}  # {id: first argument of what was called}, such as self
        self._made = {}  # likewise of what was made inside the step

    def __enter__(self):
        self._before, self._collects = sys.getprofile(), gc.isenabled()
        gc.disable()  # callbacks of the collector are no part of the step
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_):
        sys.setprofile(self._before)
        if self._collects:
            gc.enable()

    def _event(self, frame, event, _):
        if event != "call":
            return
        code = frame.f_code
        interest = self.interest.get(code)
        if interest is None:
            interest = self.interest[code] = _interest(frame.f_globals.get("__name__") or "")
        if interest == _NOTHING:
            return
        if interest == _USER:
            self.globals[code] = frame.f_globals
        if code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            if isinstance(first, Var) or type(first).__module__ in ("builtins", "numpy"):
                return
            if code.co_name in ("__init__", "__new__", "__post_init__"):
                self._made[id(first)] = first
            elif id(first) not in self._made:
                self.objects[id(first)] = first

    def names(self):
        """The attributes that the code which was called may look up; None: any."""
        found = set()
        for code, interest in self.interest.items():
            if interest != _NOTHING:
                _, attributes, _, any_name = _lookups(code)
                if any_name and interest == _USER:
                    return None
                found |= attributes
        return found - {"attribute_changes"}  # Module's own

    def asked(self):
        """The attributes that the user's code asks for knowing that they may not be there."""
        found = set()
        for code in self.globals:
            names, attributes, *_ = _lookups(code)
            if {"getattr", "hasattr", "AttributeError"} & names:
                found |= attributes
        return found - {code.co_name for code in self.globals}


def _interest(module):
    top, _, rest = module.partition(".")
    if top == "tinyae":
        inner = rest.partition(".")[0] in _BELOW and not rest.startswith("optim.schedules")
        return _NOTHING if inner else _OWN
    return _NOTHING if _is_ours(module) else _USER


def _find_lookups(code):
    """(global names, attributes, modules imported, whether attributes of any name) that the code may look up."""
    import dis  # only now: it takes time to load

    names, attributes, imports = set(), {code.co_name}, set()
    for constant in code.co_consts:  # getattr(x, "beta"), and the attributes of a `case`
        for text in constant if isinstance(constant, tuple) else (constant,):
            if isinstance(text, str) and text.isidentifier():
                attributes.add(text)
    for i in dis.get_instructions(code):
        if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(i.argval)
        elif i.opname.startswith("LOAD") and ("ATTR" in i.opname or "METHOD" in i.opname) or i.opname == "IMPORT_FROM":
            attributes.add(i.argval)
        elif i.opname == "IMPORT_NAME":
            imports.add(i.argval)
    any_name = bool({"getattr", "vars", "attrgetter"} & {*names, *attributes} or "__dict__" in attributes)
    return names, attributes, imports, any_name


_lookups = functools.lru_cache(4096)(_find_lookups)


class Guards:
    """What the code that `reads` heard may read, as it is now.

    Parameters
    ----------
    step : callable
        What was captured.
    reads : Reads
    results : callable
        (Var) -> whether the step itself computed it: what forward leaves in an attribute is not read.
    others : iterable
        Objects that took part besides.
    looked : iterable of Var
        Tensors whose value was taken as a number.
    """

    def __init__(self, step, reads, results, others=(), looked=()):
        self._step, self._names, self._asked = step, reads.names(), reads.asked()
        self._codes = {code for code, interest in reads.interest.items() if interest == _USER}
        self._globals, self._others = reads.globals, [*others, *reads.objects.values()]
        self._looked, self._results = list(looked), set()
        self.renewed = 0  # how often what was another object turned out to be equal
        walk = _Walk(self, results)
        if walk.any_name and self._names is not None:
            self._names = None
            walk = _Walk(self, results)
        self._results = walk.results
        # (list or dictionary, key) where the step leaves what it computed, such as an attribute of a module
        self.left = [(place, key) for place in walk.places
                     for key, value in (place.items() if isinstance(place, dict) else enumerate(place))
                     if isinstance(value, Var) and results(value)]  # fmt: skip
        self._take(walk)

    def _take(self, walk):
        self.values, self.truncated = walk.values, walk.truncated
        self._in_modules, self._elsewhere, self._changes = walk.in_modules, walk.elsewhere, Module.attribute_changes

    def fits(self):
        """Whether all is as it was. Nearly always it is the same objects, which is all that is looked at then."""
        if self._elsewhere.check():
            changes = Module.attribute_changes
            if self._changes == changes:
                return True
            if self._in_modules.check():
                self._changes = changes
                return True
        walk = _Walk(self)
        if walk.values != self.values:
            return False
        self._take(walk)
        self.renewed += 1
        return True

    def moved(self):
        """The names of what is not as it was."""
        before, now = self.values, _Walk(self).values
        return [name for name in {**before, **now} if before.get(name, _MISSING) != now.get(name, _MISSING)]

    def describe(self):
        """(name, value) of everything that is watched, as text."""
        return [(name, _text(value)) for name, value in self.values.items()]


class Same:
    """Places that are looked at again, and what was there, by identity: ``check()`` says whether all is as it was.

    The conditions become one Python expression, ``a["k"] is b and c.d is e and ...``, since a call for every place
    would take ten times as long, and this runs before every step.
    """

    def __init__(self):
        self._terms, self._names, self._check = [], {}, None

    def _add(self, term, **things):
        for name, thing in things.items():
            self._names[f"{name}{len(self._terms)}"] = thing
        self._terms.append(term.replace("#", str(len(self._terms))))

    def entry(self, place, key, value):
        """place[key] of a dictionary or list, or of what a class has."""
        if value is _MISSING:
            self._add("key# not in place#", place=place, key=key)
        else:
            self._add("place#[key#] is value#", place=place, key=key, value=value)

    def attribute(self, thing, name, value):
        """thing.name."""
        self._add(f"thing#.{name} is value#", thing=thing, value=value)

    def leaf(self, tensor, array, wants_gradient, hooks):
        """A tensor that lives on between the steps."""
        if hooks is not None:
            self._add("hooks_of(tensor#) == hooks#", tensor=tensor, hooks=hooks)
        node = "tensor#._node is not None and not tensor#._node.hooks" if wants_gradient else "tensor#._node is None"
        self._add(f"tensor#._data is array# and {node if hooks is None else True}", tensor=tensor, array=array)

    def equal(self, function, value):
        """function() is as it was, by value."""
        self._add("function#() == value#", function=function, value=value)

    def content(self, thing, but=()):
        """What is in a list, dictionary or set, but for some keys; or the bytes of an array."""
        if isinstance(thing, _MAPPINGS):
            self._add("[*thing#] == keys#", thing=thing, keys=[*thing])
            for key, value in thing.items():
                if key not in but:
                    self.entry(thing, key, value)
        elif isinstance(thing, set) or _is_bytes(thing):
            kept = bytes(thing) if isinstance(thing, memoryview) else copy.copy(thing)
            self._add("thing# == copy#", thing=thing, copy=kept)
        elif isinstance(thing, np.ndarray):
            self._add("thing#.tobytes() == copy#", thing=thing, copy=thing.tobytes())
        elif len(thing) <= 8 or but:
            self._add(f"len(thing#) == {len(thing)}", thing=thing)
            for i, value in enumerate(thing):
                if i not in but:
                    self.entry(thing, i, value)
        else:
            self._add("len(thing#) == len(copy#) and all(map(is_, thing#, copy#))", thing=thing, copy=[*thing])

    def check(self):
        """Whether the same is everywhere. What cannot be looked at any more is not the same."""
        if self._check is None:
            self._names |= {"hooks_of": hooks_of, "is_": operator.is_}
            self._check = eval(f"lambda: {' and '.join(self._terms) or 'True'}", self._names)
        try:
            return self._check()
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError):  # the last: another thread is there
            return False


def hooks_of(tensor):
    """The hooks on a leaf's gradient, to be compared."""
    node = tensor._node
    return None if node is None or not node.hooks else [*map(Identity, node.hooks.values())]


class _Walk:
    """One look at everything: `values`, {name: what is there}, and the `Same` by which it is found again."""

    def __init__(self, guards, is_result=None):
        self.guards, self.is_result = guards, is_result
        self.values, self.results, self.truncated = {}, set(), False
        self.any_name = False  # whether there is an operator.attrgetter, whose names nobody knows
        self.in_modules, self.elsewhere = Same(), Same()
        self._seen, self._stack, self.places = {}, [], []
        self._note("step", guards._step)
        self._run()
        for code, there in guards._globals.items():  # of what was called, too, that no name led to
            self._of_code(code, there)
            self._run()
        if any({"environ", "getenv"} & _lookups(code)[1] for code in guards._globals):
            self._note("os.environ", os.environ)
            self._run()
        for thing in guards._others:
            if id(thing) not in self._seen:
                self._note(_kind(thing), thing)
                self._run()
        for i, var in enumerate(guards._looked):
            self._note(f"tensor {i} that is looked at", var._data)
            self._run()

    def _run(self):
        while self._stack:
            name, thing = self._stack.pop()
            if len(self.values) > _LIMIT:
                self.truncated = True
                self._stack.clear()
            else:
                self._enter(name, thing)

    def _note(self, name, thing):
        """thing is what is found under that name."""
        while name in self.values:  # two things of one name
            name += "'"
        frozen = self.values[name] = self._frozen(name, thing)
        if frozen.__class__ is not tuple or frozen[0] is not _Plain:
            if frozen is not _RESULT and id(thing) not in self._seen:
                self._seen[id(thing)] = thing
                self._stack.append((name, thing))
        return frozen

    def _frozen(self, name, thing):
        """What is compared: equal for things that a step cannot tell apart, but for what is noted beside."""
        if isinstance(thing, _PLAIN):
            return _Plain, thing.__class__, repr(thing) if isinstance(thing, (float, complex, np.generic)) else thing
        if isinstance(thing, Var):
            if not thing.is_leaf or (self.is_result is not None and self.is_result(thing)):
                self.results.add(name)
                return _RESULT
            return _RESULT if name in self.guards._results else Identity(thing)
        if isinstance(thing, np.ndarray):
            return (thing.dtype, thing.shape, thing.tobytes()) if _is_small(thing) else Identity(thing)
        if isinstance(thing, _MAPPINGS):
            return thing.__class__, len(thing), tuple(thing) if len(thing) <= _MANY else None
        if isinstance(thing, (list, tuple, collections.deque)):
            return thing.__class__, len(thing)
        if isinstance(thing, (set, frozenset)):
            return thing.__class__, frozenset(thing)
        if _is_bytes(thing):
            return thing.__class__, bytes(thing)
        if isinstance(thing, types.FunctionType):
            return (types.FunctionType, thing.__code__) if thing.__code__ in self.guards._codes else Identity(thing)
        if isinstance(thing, (types.MethodType, functools.partial, property, staticmethod, classmethod)):
            return (thing.__class__,)
        if _is_noise(thing):
            return Identity(thing), _state(thing)
        if _is_iterator(thing):
            return Identity(thing), _progress(thing)
        return Identity(thing)

    def _enter(self, name, thing):
        """Note what is inside of a thing."""
        if isinstance(thing, (Var, Optimizer, Generator)) or _is_noise(thing):
            for k, hook in enumerate(hooks_of(thing) or () if isinstance(thing, Var) else ()):
                self._note(f"{name}'s hook {k}", hook.it)
            return
        if isinstance(thing, np.ndarray):
            if _is_small(thing) and thing.flags.writeable:
                self.elsewhere.content(thing)
            elif _is_small(thing):
                base = thing
                while isinstance(base, np.ndarray) and not base.flags.writeable:
                    base = base.base
                if base is not None:
                    self.elsewhere.content(thing)
        elif isinstance(thing, _MAPPINGS):
            if len(thing) <= _MANY:
                self.places.append(thing)
                self.elsewhere.content(thing, self._note_all(name, [*thing.items()]))
        elif isinstance(thing, (list, tuple, collections.deque)):
            if len(thing) <= _MANY:
                results = self._note_all(name, enumerate(thing))
                if not isinstance(thing, tuple):
                    self.places.append(thing)
                    self.elsewhere.content(thing, results)
        elif isinstance(thing, set) or _is_bytes(thing):
            self.elsewhere.content(thing)
        elif isinstance(thing, weakref.ref):
            self._note(f"{name}()", target := thing())
            self.elsewhere.equal(functools.partial(_refers, thing, target), True)
        elif isinstance(thing, operator.attrgetter):
            self.any_name = True
        elif isinstance(thing, contextvars.ContextVar):
            self._note(f"{name}.get()", value := thing.get(_MISSING))
            self.elsewhere.equal(functools.partial(_holds, thing, value), True)
        elif isinstance(thing, types.FunctionType):
            self._of_function(name, thing)
        elif isinstance(thing, types.MethodType):
            self._note(f"{name}.__func__", thing.__func__)
            self._note("self" if name == "step" else f"{name}.__self__", thing.__self__)
        elif isinstance(thing, functools.partial):
            for part in ("func", "args", "keywords"):
                self._note(f"{name}.{part}", getattr(thing, part))
        elif isinstance(thing, property):
            self._note(f"{name}.fget", thing.fget)
        elif isinstance(thing, (staticmethod, classmethod)):
            self._note(name, thing.__func__)
        elif isinstance(thing, types.ModuleType):
            if not _is_ours(thing.__name__):
                self._of_object(name, vars(thing), self.elsewhere, {})
        elif isinstance(thing, type):
            self._of_class(name, thing)
        else:
            wrapped = (_own(thing) or {}).get("__wrapped__") if not isinstance(thing, Module) else None
            if isinstance(wrapped, types.FunctionType):  # as functools.lru_cache leaves it
                self._note(f"{name}.__wrapped__", wrapped)
            self._of_instance(name, thing)

    def _note_all(self, name, items):
        """Note what is in a container; the keys of what the step leaves there."""
        return {key for key, value in items if self._note(f"{name}[{_short(key)}]", value) is _RESULT}

    def _of_function(self, name, function):
        if function.__code__ not in self.guards._codes:
            return
        name = name if name != "step" else getattr(function, "__name__", name)
        for part in ("__defaults__", "__kwdefaults__"):
            value = getattr(function, part)
            self._note(f"{name}.{part}", value)
            self.elsewhere.attribute(function, part, value)
        self.elsewhere.attribute(function, "__code__", function.__code__)
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                value = cell.cell_contents
            except ValueError:  # not yet given a value
                continue
            if self._note(variable, value) is not _RESULT:
                self.elsewhere.attribute(cell, "cell_contents", value)
        self._of_object(name, vars(function), self.elsewhere, {})
        self._of_code(function.__code__, function.__globals__)

    def _of_code(self, code, there):
        """The global names that a function looks up, each once."""
        names, texts, imports, _ = _lookups(code)
        if "globals" in names:  # then what is text may be a name
            names = names | texts
        for variable in names - there.keys():  # one of Python's, which one of these would hide
            if (id(there), variable) not in self._seen:
                self._seen[id(there), variable] = True
                self.elsewhere.entry(there, variable, _MISSING)
        for variable in sorted(names & there.keys()):
            if (id(there), variable) not in self._seen:
                self._seen[id(there), variable] = True
                value = there[variable]
                if isinstance(value, types.ModuleType) and _is_ours(value.__name__):
                    continue
                if self._note(variable, value) is not _RESULT:
                    self.elsewhere.entry(there, variable, value)
        for module in imports & sys.modules.keys():
            if not _is_ours(module) and ("module", module) not in self._seen:
                self._seen["module", module] = True
                self._note(module, sys.modules[module])
                self.elsewhere.entry(sys.modules, module, sys.modules[module])

    def _of_instance(self, name, thing):
        kind, own = type(thing), _own(thing)
        looks = self.in_modules if isinstance(thing, Module) else self.elsewhere
        if callable(getattr(kind, "to_numpy", None)) and getattr(thing, "size", _MANY) <= SMALL:  # of a table
            self._note(f"{name}.to_numpy()", text := _in_table(thing))
            self.elsewhere.equal(functools.partial(_in_table, thing), text)
        if isinstance(own, dict) and not _CONTAINERS.isdisjoint(c.__module__ for c in kind.__mro__):
            self._note(f"{name}.__dict__", own)  # Python's own code reads all of it
        of_classes = {n: value for c in kind.__mro__[::-1] for n, value in vars(c).items() if self._is_read(n)}
        if isinstance(own, dict):
            self.places.append(own)
            self._of_object(name, own, looks, of_classes)
        for c in kind.__mro__:
            slots = vars(c).get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if self._is_read(slot) and slot not in ("__dict__", "__weakref__"):
                    value = getattr(thing, slot, _MISSING)
                    if value is not _MISSING and self._note(f"{name}.{slot}", value) is not _RESULT:
                        self.elsewhere.attribute(thing, slot, value)
        if isinstance(thing, (dict, list, tuple)):
            return
        if not _is_ours(kind.__module__):
            looks.attribute(thing, "__class__", kind)
            if id(kind) not in self._seen:
                self._note(kind.__name__, kind)

    def _of_object(self, name, attributes, looks, of_classes):
        """What of an object's dictionary may be read; also what is not there yet, and would hide what its class has."""
        read = self.guards._names
        for attribute in attributes.keys() if read is None else read & attributes.keys():
            value = attributes.get(attribute, _MISSING)
            if self._note(f"{name}.{attribute}", value) is not _RESULT:
                looks.entry(attributes, attribute, value)
        for attribute in self.guards._asked - attributes.keys() - of_classes.keys():
            looks.entry(attributes, attribute, _MISSING)
        for attribute, value in of_classes.items():
            if attribute not in attributes:
                looks.entry(attributes, attribute, _MISSING)
                if isinstance(value, _PLAIN):  # as if it were the object's own, which it may become
                    self._note(f"{name}.{attribute}", value)

    def _of_class(self, name, kind):
        if type(kind) is not type and not _is_ours(type(kind).__module__):
            self._note(type(kind).__name__, type(kind))
        of_bases = set(self.guards._asked)
        for c in [c for c in kind.__mro__ if not _is_ours(c.__module__)][::-1]:
            for attribute in of_bases - vars(c).keys():  # not there yet, and would hide what a base has
                if (id(c), attribute) not in self._seen:
                    self._seen[id(c), attribute] = True
                    self.elsewhere.entry(vars(c), attribute, _MISSING)
            of_bases.update(filter(self._is_read, vars(c)))
            for attribute, value in [*vars(c).items()]:
                if self._is_read(attribute) and (id(c), attribute) not in self._seen:
                    if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                        continue
                    self._seen[id(c), attribute] = True
                    if self._note(f"{c.__name__}.{attribute}", value) is not _RESULT:
                        self.elsewhere.entry(vars(c), attribute, value)

    def _is_read(self, attribute):
        names = self.guards._names
        return attribute in names if names is not None else not attribute.startswith("__")


class _Plain:
    """Marks a value that is compared as such and has no inside."""


class Identity:
    """Equal to what holds the very same object."""

    __slots__ = ("it",)

    def __init__(self, it):
        self.it = it

    def __eq__(self, other):
        return other.__class__ is Identity and other.it is self.it

    __hash__ = None


def _own(thing):
    """What an object has itself, asked past any __getattr__ of its class; None if it has no room for it."""
    try:
        own = type(thing).__getattribute__(thing, "__dict__")
    except AttributeError:
        return None
    return own if isinstance(own, dict) else None


def _is_ours(module):
    """Whether a module is taken to stay as it is: Python's, NumPy's, tinyae's.

    A name of Python's is not enough: a user's ``profile.py`` has one too.
    """
    top = module.partition(".")[0] if isinstance(module, str) else ""
    if top in ("builtins", "numpy", "tinyae"):
        return True
    if top not in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is None or file.startswith(_LIBRARY)


def _is_small(array):
    return array.size <= SMALL and array.dtype.kind in "biufcSU"


def _is_bytes(thing):
    array = sys.modules.get("array")
    if isinstance(thing, memoryview):
        return thing.nbytes <= 8 * SMALL
    return isinstance(thing, bytearray) or (array is not None and isinstance(thing, array.array))


def _holds(variable, value):
    return variable.get(_MISSING) is value


def _refers(reference, thing):
    return reference() is thing


def _in_table(table):
    return repr(table.to_numpy().tolist())


def _is_iterator(thing):
    return hasattr(type(thing), "__next__") and not hasattr(thing, "readable")


def _progress(iterator):
    """How far an iterator has come, as far as can be told without moving it."""
    frame = getattr(iterator, "gi_frame", None)
    if frame is not None:
        variables = [(n, v) for n, v in frame.f_locals.items() if isinstance(v, _PLAIN)]
        return frame.f_lasti, repr(variables)
    return operator.length_hint(iterator, -1), repr(iterator)


# Modules that take time to load are asked only where somebody has loaded them.


def _is_noise(thing):
    """Whether a thing is a generator of Python's or NumPy's."""
    python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    return (python is not None and isinstance(thing, python.Random)) or (
        numpy is not None and isinstance(thing, (numpy.Generator, numpy.RandomState))
    )


def _state(generator):
    if hasattr(generator, "getstate"):
        return repr(generator.getstate())
    return repr(generator.bit_generator.state if hasattr(generator, "bit_generator") else generator.get_state())


def global_noise():
    """The state of the generators behind ``random.random`` and ``np.random.rand``."""
    python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    state = () if numpy is None else numpy.get_state()
    return python and python.getstate(), *[part.tobytes() if isinstance(part, np.ndarray) else part for part in state]


def _kind(thing):
    return thing.__name__ if isinstance(thing, type) else type(thing).__name__


def _short(key):
    text = repr(key) if isinstance(key, _PLAIN) else type(key).__name__
    return text if len(text) <= 40 else f"{text[:37]}..."


def _text(frozen):
    if frozen is _RESULT:
        return "what the step leaves there"
    if isinstance(frozen, Identity):
        return f"the same {type(frozen.it).__name__}"
    if frozen[0] is _Plain:
        return _short(frozen[2]) if frozen[1] not in (float, complex) else frozen[2]
    if isinstance(frozen[0], np.dtype):
        return f"the same values, {frozen[0]} {frozen[1]}"
    if isinstance(frozen[0], Identity):
        return f"the same {type(frozen[0].it).__name__}, moved no further"
    return f"{frozen[0].__name__}" + (f" of {frozen[1]}" if len(frozen) > 1 and isinstance(frozen[1], int) else "")
