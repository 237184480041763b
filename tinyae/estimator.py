"""The scikit-learn contract, without importing scikit-learn: settings, parameters, fitted state, input checks.

A subclass lists its settings as annotated class attributes; they become the constructor's signature, which stores them
and does nothing else. So ``get_params``, ``clone``, grid search, the command line and saved files all read one list:

    class BetaVAE(VAE, name="beta-vae"):
        '''... the paper, the formula ...'''
        beta: float = 4.0

Ring 5. Must not know what a model computes. Everything learned ends in ``_``.
"""

import functools
import numbers
import sys
from contextlib import contextmanager
from types import MethodType

import numpy as np

from .errors import DataError, DivergedError, DtypeError, NotFittedError, SettingError, ShapeError
from .formats import bad_values

__all__ = ["Estimator", "also_sklearns"]

_POSITIONAL = 1  # how many settings may be given without their name, as in PCA(2)


class Estimator:
    """Settings in, fitted state out; see the module's docstring for how a subclass declares its settings."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        defaults = {}
        for base in reversed(cls.__mro__):
            for name in getattr(base, "__annotations__", {}) if base is not object else ():
                defaults[name] = getattr(cls, name)
        cls._settings = defaults
        if "__init__" not in vars(cls):  # one of the subclass's own stays
            cls.__init__ = _Constructor(cls, defaults)

    @classmethod
    def settings(cls):
        """The settings' names and defaults, in the order of the constructor."""
        return dict(cls._settings)

    def get_params(self, deep=True):
        """The settings as a dictionary (scikit-learn's name for it)."""
        return {name: getattr(self, name) for name in self.settings()}

    def set_params(self, **params):
        """Change settings; takes effect at the next ``fit``. Returns self."""
        known = self.settings()
        for name, value in params.items():
            if name not in known:
                raise SettingError(f"{type(self).__name__}: no setting {name!r}. There are: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    def __repr__(self):
        changed = [
            f"{name}={getattr(self, name)!r}" for name, default in self.settings().items()
            if not _same(getattr(self, name), default)
        ]  # fmt: skip
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags  # only scikit-learn calls this

        return Tags(
            estimator_type=None, target_tags=TargetTags(required=False), input_tags=InputTags(),
            transformer_tags=TransformerTags(preserves_dtype=[str(self.dtype)]), non_deterministic=False,
        )  # fmt: skip

    def _check_fitted(self, action):
        if not hasattr(self, "net_"):
            error = also_sklearns(NotFittedError)
            raise error(f"{type(self).__name__}.{action}: this model is not fitted. Call fit(X) first.")

    @contextmanager
    def _unless_refused(self):
        """``with self._unless_refused():`` what is refused leaves the model as it was, and so does what was interrupted
        before its training began; what was interrupted later, with the best state so far and the history of that.
        """
        before = dict(vars(self))
        try:
            yield
        except BaseException as problem:
            trained = vars(self).get("history_") is not before.get("history_")
            if not (trained and isinstance(problem, (KeyboardInterrupt, DivergedError))):
                vars(self).clear()
                vars(self).update(before)
            raise

    def _check_count(self, setting, least=1):
        """Refuse a setting that is not a whole number of at least `least`."""
        value = getattr(self, setting)
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise SettingError(
                f"{type(self).__name__}: {setting}={value!r}. Give a whole number of at least {least}."
            )

    def _check_choice(self, setting, choices):
        if getattr(self, setting) not in choices:
            raise SettingError(
                f"{type(self).__name__}: {setting}={getattr(self, setting)!r}. Choose from: {', '.join(choices)}."
            )

    def _check_flag(self, setting):
        if not isinstance(getattr(self, setting), (bool, np.bool_)):
            raise SettingError(f"{type(self).__name__}: {setting}={getattr(self, setting)!r}. Give True or False.")

    def _check_number(self, setting, fits, wanted):
        """Refuse a setting that is not a finite number, or for which fits(value) is false."""
        value = getattr(self, setting)
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(value) or not fits(value):
            raise SettingError(f"{type(self).__name__}: {setting}={value!r}. Give {wanted}.")

    def _check_table(self, X, where, features=None, what="X"):
        """X as a 2-d numeric array, finite and (if given) of that many features; memory maps stay on the disk."""
        where = f"{type(self).__name__}.{where}"
        if hasattr(X, "toarray"):
            raise DtypeError(f"{where}: sparse {what} is not supported. Pass {what}.toarray().")
        X = np.asarray(X)
        if X.dtype == object:
            try:
                X = X.astype(np.float64)
            except (TypeError, ValueError) as problem:
                raise DtypeError(f"{where}: {what} has dtype object: {problem}. Give numbers.") from None
        if X.dtype.kind == "c":
            raise DataError(f"{where}: Complex data not supported: {what} has dtype {X.dtype}.")
        if X.dtype.kind not in "biuf":
            raise DtypeError(f"{where}: {what} has dtype {X.dtype}. Give numbers.")
        if X.ndim != 2:
            raise ShapeError(
                f"{where}: expected a 2D array (rows, features), {what} has shape {X.shape}. Reshape your data: "
                + (
                    f"{what}.reshape(len({what}), -1)."
                    if X.ndim > 2
                    else f"{what}.reshape(-1, 1) or {what}.reshape(1, -1)."
                )
            )
        for length, minimum in ((len(X), "sample"), (X.shape[1], "feature")):
            if length == 0:
                raise DataError(
                    f"{where}: Found array with 0 {minimum}(s) (shape={X.shape}) while a minimum of 1 is required."
                )
        if features is not None and X.shape[1] != features:
            raise ShapeError(
                f"{where}: {what} has {X.shape[1]} features, but {type(self).__name__} is expecting {features} "
                "features as input"
            )
        count, first = bad_values(X)
        if count:
            value = X[first]
            raise DataError(
                f"{where}: {what} holds {count} value(s) that are NaN or infinity, the first, {value}, "
                f"in row {first[0]}, column {first[1]}. Remove or impute them."
            )
        return X


class _Constructor:
    """An ``__init__`` that stores its arguments under their names,
    with a true signature for scikit-learn and help().
    """

    __name__ = "__init__"

    def __init__(self, cls, defaults):
        self.owner, self.defaults = cls.__name__, defaults
        self.__qualname__, self.__module__ = f"{cls.__qualname__}.__init__", cls.__module__

    def __get__(self, instance, owner=None):
        return self if instance is None else MethodType(self, instance)

    def __call__(self, instance, *args, **settings):
        names = list(self.defaults)
        if len(args) > _POSITIONAL:
            raise TypeError(f"{self.owner}: {len(args)} settings without a name. Write {names[_POSITIONAL]}=...")
        for name in settings:
            if name not in self.defaults:
                raise TypeError(f"{self.owner}: no setting {name!r}. There are: {', '.join(names)}.")
            if name in names[: len(args)]:
                raise TypeError(f"{self.owner}: {name} is given twice.")
        for name, value in {**self.defaults, **dict(zip(names, args)), **settings}.items():
            setattr(instance, name, value)

    @property
    def __signature__(self):
        import inspect  # slow to import, and seldom asked for

        kinds = inspect.Parameter
        return inspect.Signature([kinds("self", kinds.POSITIONAL_OR_KEYWORD)] + [
            kinds(name, kinds.POSITIONAL_OR_KEYWORD if i < _POSITIONAL else kinds.KEYWORD_ONLY, default=default)
            for i, (name, default) in enumerate(self.defaults.items())
        ])  # fmt: skip


def also_sklearns(cls):
    """cls, one of our exceptions; where scikit-learn is loaded, a class that is also scikit-learn's of that name."""
    return _joined(cls) if "sklearn" in sys.modules else cls


@functools.cache
def _joined(cls):
    from sklearn import exceptions

    both = (cls, getattr(exceptions, cls.__name__))
    return type(cls.__name__, both, {"__reduce__": lambda self: (_revive, (cls, self.args))})  # made here: has no home


def _revive(cls, args):
    return also_sklearns(cls)(*args)


def _same(a, b):
    return a is b or (type(a) is type(b) and isinstance(a, (int, float, str, tuple, bool)) and a == b)
