"""Attributes that are computed: weights of unit norm, weights that are never negative, any function of a parameter.

    parametrise(decoder, "weight", partial(unit_norm, axis=1))
    decoder.weight                                  each row of length 1, whatever the optimizer does
    decoder.parametrised["weight"].original         the Parameter that is trained
    unparametrise(decoder, "weight")                a plain Parameter again, of the value it has now

The parameter is saved as "parametrised.weight.original", so that a file of such weights is not mistaken for plain ones.
For weights that are another layer's, transposed, there is `Tied`.

Ring 4. Must not know any layer. How an attribute comes to be computed stands in ``module.py``.
"""

from functools import partial

from .. import ops
from ..engine import Var, no_grad
from ..errors import DtypeError, SettingError
from .module import Module, Parameter

__all__ = ["Parametrised", "parametrise", "unit_norm", "unparametrise"]


class Parametrised(Module):
    """functions[-1](... functions[0](original)): what `parametrise` puts in a parameter's place.

    Parameters
    ----------
    original : Parameter
        What is trained.

    Shape: () -> the functions'.
    """

    def __init__(self, original):
        self.original = original
        self.functions = []

    def forward(self):
        """functions[-1](... functions[0](original))."""
        value = self.original
        for function in self.functions:
            value = function(value)
        return value

    def extra_repr(self):
        """The functions, in the order in which they run."""
        return ", ".join(map(_name, self.functions))


def _name(function):
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def parametrise(module, name, function):
    """From now on ``module.name`` is function(parameter), computed anew at each use; returns module.

    Once more on the same name, and the new function is applied to the result of those before. What else holds the
    parameter goes on to use it as it is.

    Parameters
    ----------
    module : Module
        The one that owns the parameter.
    name : str
        The parameter's attribute.
    function : callable
        Of one Tensor, to a Tensor, of ops or operators. A Module may have parameters of its own, which are then
        parameters of module too.

    Raises SettingError if there is no such parameter, DtypeError if the function does not return a Tensor.
    """
    if not isinstance(module, Module):
        raise SettingError(f"parametrise: a {type(module).__name__} is not a Module.")
    before = vars(module).get("parametrised", {})
    value = vars(module).get(name)
    if name not in before and not isinstance(value, Parameter):
        names = [n for n, v in vars(module).items() if isinstance(v, Parameter)]
        raise SettingError(f"parametrise: {type(module).__name__} has no parameter {name!r} of its own. It has "
                           f"{', '.join(names) or 'none'}.")  # fmt: skip
    with no_grad():
        result = function(getattr(module, name))
    if not isinstance(result, Var):
        raise DtypeError(f"parametrise: {_name(function)} returned a {type(result).__name__}, not a Tensor.")
    if name not in before:
        del vars(module)[name]
        module.parametrised = {**before, name: Parametrised(value)}
    module.parametrised[name].functions.append(function)
    return module


def unparametrise(module, name):
    """Make ``module.name`` a plain Parameter of the value that it has now; returns module.

    Raises SettingError if it is not a computed attribute.
    """
    parametrised = vars(module).get("parametrised", {}) if isinstance(module, Module) else {}
    if name not in parametrised:
        raise SettingError(f"unparametrise: {name!r} is not computed here. Computed are: "
                           f"{', '.join(parametrised) or 'none'}.")  # fmt: skip
    with no_grad():
        value = getattr(module, name)
    wanted = parametrised[name].original.requires_grad
    module.parametrised = {n: p for n, p in parametrised.items() if n != name}
    if not module.parametrised:
        del module.parametrised
    setattr(module, name, Parameter(value, requires_grad=wanted))
    return module


def unit_norm(w, *, axis=0, eps=1e-12):
    """w / max(|w|, eps), |w| the Euclidean norm along axis: of a Linear's weight 0 takes each unit's incoming weights,
    1 those of each input.

    Shape: any -> same. A vector of zeros stays zero, with a finite gradient.
    """
    return w / ops.maximum(ops.norm(w, axis=axis, keepdims=True), eps)
