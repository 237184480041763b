"""The scikit-learn contract, without importing scikit-learn: settings, parameters, fitted state, input checks.

A subclass lists its settings as annotated class attributes; they become the constructor's signature, which stores them
and does nothing else. So ``get_params``, ``clone``, grid search, the command line and saved files all read one list:

    class BetaVAE(VAE, name="beta-vae"):
        '''... the paper, the formula ...'''
        beta: float = 4.0

Ring 5. Must not know what a model computes. Everything learned ends in ``_``.
"""

import inspect

import numpy as np

from .errors import DataError, DtypeError, NotFittedError, SettingError, ShapeError
from .formats import bad_values

__all__ = ["Estimator"]

_POSITIONAL = 1  # how many settings may be given without their name, as in PCA(2)


class Estimator:
    """Settings in, fitted state out; see the module's docstring for how a subclass declares its settings."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        defaults = {}
        for base in reversed(cls.__mro__):
            for name in getattr(base, "__annotations__", {}) if base is not object else ():
                defaults[name] = getattr(cls, name)
        cls.__init__ = _constructor(defaults, cls)

    @classmethod
    def settings(cls):
        """The settings' names and defaults, in the order of the constructor."""
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {p.name: p.default for p in parameters}

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
            transformer_tags=TransformerTags(preserves_dtype=["float32", "float64"]), non_deterministic=False,
        )  # fmt: skip

    def fit_transform(self, X, y=None, **fit_params):
        """``fit(X, y).transform(X)``."""
        return self.fit(X, y, **fit_params).transform(X)

    def _check_fitted(self, action):
        if not hasattr(self, "net_"):
            raise NotFittedError(f"{type(self).__name__}.{action}: this model is not fitted. Call fit(X) first.")

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
                + (f"{what}.reshape(len({what}), -1)." if X.ndim > 2 else f"{what}.reshape(-1, 1) or {what}.reshape(1, -1).")
            )
        for axis, length, minimum in ((0, len(X), "sample"), (1, X.shape[1], "feature")):
            if length == 0:
                raise DataError(
                    f"{where}: Found array with 0 {minimum}(s) (shape={X.shape}) while a minimum of 1 is required."
                )
        if features is not None and X.shape[1] != features:
            raise ShapeError(
                f"{where}: {what} has {X.shape[1]} features, but {type(self).__name__} is expecting {features} features as input"
            )
        count, first = bad_values(X)
        if count:
            value = X[first]
            raise DataError(
                f"{where}: {what} holds {count} value(s) that are NaN or infinity, the first, {value}, in row {first[0]}, "
                f"column {first[1]}. Remove or impute them."
            )
        return X


def _constructor(defaults, cls):
    """An ``__init__`` that stores its arguments under their names, with a true signature for scikit-learn and help()."""
    kinds = inspect.Parameter
    parameters = [kinds("self", kinds.POSITIONAL_OR_KEYWORD)] + [
        kinds(name, kinds.POSITIONAL_OR_KEYWORD if i < _POSITIONAL else kinds.KEYWORD_ONLY, default=default)
        for i, (name, default) in enumerate(defaults.items())
    ]
    signature = inspect.Signature(parameters)

    def __init__(self, *args, **settings):
        for name in settings:
            if name not in defaults:
                raise TypeError(f"{cls.__name__}: no setting {name!r}. There are: {', '.join(defaults)}.")
        bound = signature.bind(self, *args, **settings).arguments
        for name, default in defaults.items():
            setattr(self, name, bound.get(name, default))

    __init__.__signature__ = signature
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _same(a, b):
    return a is b or (type(a) is type(b) and isinstance(a, (int, float, str, tuple, bool)) and a == b)
