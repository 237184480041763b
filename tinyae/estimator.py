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
from importlib import import_module
from types import MethodType

import numpy as np

from .errors import DataError, DivergedError, MissingExtraError, NotFittedError, SettingError, ShapeError
from .tables import as_table, column_names, lost_columns, scale_of, warn, widened

__all__ = ["Estimator", "Transformer", "also_sklearns"]

_POSITIONAL = 1  # how many settings may be given without their name, as in PCA(2)
_FAR = 10.0  # so far beyond [0, 1] lie other units
_SOME = 1000  # rows at least, of which most must lie there


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
            transformer_tags=TransformerTags(preserves_dtype=[np.dtype(self.dtype).name]), non_deterministic=False,
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
            raise SettingError(f"{type(self).__name__}: {setting}={value!r}. Give a whole number of at least {least}.")

    def _check_choice(self, setting, choices):
        if getattr(self, setting) not in choices:
            raise SettingError(
                f"{type(self).__name__}: {setting}={getattr(self, setting)!r}. Choose from: {', '.join(choices)}."
            )

    def _check_flag(self, setting):
        if not isinstance(getattr(self, setting), (bool, np.bool_)):
            raise SettingError(f"{type(self).__name__}: {setting}={getattr(self, setting)!r}. Give True or False.")

    def _check_dtype(self):
        """Refuse a dtype that is neither float32 nor float64, by name, as a numpy.dtype or as NumPy's type."""
        if not any(self.dtype is kind or str(self.dtype) == kind.__name__ for kind in (np.float32, np.float64)):
            raise SettingError(f"{type(self).__name__}: dtype={self.dtype!r}. Choose from: float32, float64.")

    def _check_number(self, setting, fits, wanted):
        """Refuse a setting that is not a finite number, or for which fits(value) is false."""
        value = getattr(self, setting)
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not np.isfinite(value) or not fits(value):
            raise SettingError(f"{type(self).__name__}: {setting}={value!r}. Give {wanted}.")

    # -- what fit refuses, every method refuses; what fit learned of columns and scale, every method goes by ----------

    def _check_table(self, X, where, features=None, what="X"):
        """X as a 2-d numeric array, finite and (if given) of that many features; memory maps stay on the disk."""
        where = f"{type(self).__name__}.{where}"
        X = as_table(X, where, what)
        if features is not None and X.shape[1] != features:
            raise ShapeError(
                f"{where}: {what} has {X.shape[1]} features, but {type(self).__name__} is expecting {features} "
                "features as input"
            )
        return X

    def _read(self, X, where, what="X", named=True):
        """X as fit read its own: the same columns in the same order, bytes divided or not, and no doubts unsaid.

        named=False: X is the package's own array, of which nobody expects names.
        """
        if named:
            self._check_names(X, where, what)
        X = self._check_table(X, where, self.n_features_in_, what)
        self._doubt_scale(X, where, what)
        return X if self._divides_bytes() else widened(X)

    def _divides_bytes(self):
        return self.unit_interval_ and not self.bits_

    def _learn_scale(self, X):
        """Remember how X, fit's own, is read; X so read. See ``tables``, Note [Bytes]."""
        divisor, self.unit_interval_ = scale_of(X)
        self.bits_ = self.unit_interval_ and divisor == 1
        self._set_scale(divisor if X.dtype == np.uint8 else 1.0)
        return X if self._divides_bytes() else widened(X)

    def _set_scale(self, scale):
        """What fit divided X by, 255 or 1; None: there was no fit, or its file does not say."""
        self.scale_ = scale

    def _restore_columns(self, fitted):
        """The columns' scale and names as a file has them; one of before says nothing of them."""
        scale, names = fitted.get("scale_"), fitted.get("feature_names_in_")
        if scale not in (None, 1, 255):
            raise DataError("scale_ is neither 1 nor 255. The file is damaged.")
        self._set_scale(scale)
        if names is not None:
            if len(names) != fitted["n_features_in_"] or not all(type(name) is str for name in names):
                raise DataError("feature_names_in_ is no list of a name for every column. The file is damaged.")
            self.feature_names_in_ = np.array(names, dtype=object)

    def _doubt_scale(self, X, where, what):
        """Warn of a table in other units than those of fit: pixels up to 255, say, beside values in [0, 1]."""
        divided = X.dtype == np.uint8 and self._divides_bytes()
        if self.scale_ is None or not self.unit_interval_ or divided or X.dtype == bool:
            return
        some = X[:: max(1, len(X) // _SOME)]
        whole = X.dtype.kind in "iu" or not np.any(some % 1)
        far = (some > (1 if whole else _FAR)) | (some < -_FAR)
        if 2 * np.count_nonzero(far.any(axis=1)) > len(some):  # else some rows are strange, as a detector's may be
            saw = "only 0 and 1" if self.bits_ else "values in [0, 1]"
            saw = f"bytes, divided by {self.scale_:g}" if self.scale_ > 1 else saw
            warn(
                f"{type(self).__name__}.{where}: {what} has dtype {X.dtype} and values from {some.min():g} to "
                f"{some.max():g}, but fit saw {saw}; they are taken as they are. Bring them to the same units: pixels, "
                f"for instance, by {what} / 255."
            )

    def _doubt_precision(self, X, names=None):
        """Warn of columns whose values differ in X and no longer in the model's dtype."""
        lost = lost_columns(X, self.dtype)
        if lost:
            column, different, left = lost[0]
            named = "" if names is None else f" ({names[column]})"
            more = f" and {len(lost) - 1} further" if len(lost) > 1 else ""
            warn(
                f"{type(self).__name__}.fit: column {column}{named}{more}: of {different} different values {left} are "
                "left in float32, so rows that differ become equal. Subtract the column's mean or scale it (for instance "
                'by sklearn.preprocessing.StandardScaler), or give dtype="float64".'
            )

    def _learn_names(self, X):
        """``feature_names_in_`` of a frame with named columns; none of an array. Returns it, or None."""
        names = column_names(X, f"{type(self).__name__}.fit")
        if names is None:
            vars(self).pop("feature_names_in_", None)
        else:
            self.feature_names_in_ = names
        return names

    def _check_names(self, X, where, what="X"):
        """Scikit-learn's manners: other names, or the same in another order, are refused; none at all, warned of."""
        self._compare_names(column_names(X, f"{type(self).__name__}.{where}", what), where, what)

    def _compare_names(self, names, where, what):
        known = getattr(self, "feature_names_in_", None)
        if names is None or known is None:
            if known is not None:
                warn(
                    f"{what} does not have valid feature names, but {type(self).__name__} was fitted with feature names",
                    UserWarning,
                )
            elif names is not None:
                warn(
                    f"{what} has feature names, but {type(self).__name__} was fitted without feature names", UserWarning
                )
        elif not np.array_equal(names, known):
            # The sentences are scikit-learn's, whose users look for them.
            text = f"{type(self).__name__}.{where}: {what}: The feature names should match those that were passed during fit.\n"
            unseen, lacking = sorted(set(names) - set(known)), sorted(set(known) - set(names))
            if unseen:
                text += "Feature names unseen at fit time:\n" + _listed(unseen)
            if lacking:
                text += "Feature names seen at fit time, yet now missing:\n" + _listed(lacking)
            if not unseen and not lacking:
                text += "Feature names must be in the same order as they were in fit.\n"
            raise DataError(text)


def _listed(names):
    return "".join(f"- {name}\n" for name in names[:5]) + ("- ...\n" if len(names) > 5 else "")


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


class Transformer(Estimator):
    """An estimator whose ``transform`` gives frames to those who ask for them: scikit-learn's ``set_output``."""

    def set_output(self, *, transform=None):
        """What ``transform`` and ``fit_transform`` return: "default" (an array), "pandas" or "polars" (a frame with the
        columns ``get_feature_names_out()``, and of pandas' frames the index). None changes nothing. Returns self.
        """
        if transform not in (None, "default", "pandas", "polars"):
            raise SettingError(
                f"{type(self).__name__}.set_output: transform={transform!r}. Choose from: default, pandas, polars."
            )
        if transform is not None:
            self._sklearn_output_config = {
                "transform": transform
            }  # the name under which scikit-learn's clone copies it
        return self

    def _contained(self, values, X):
        """values, an array, in the container that is asked for; X is what it was made from."""
        wanted = getattr(self, "_sklearn_output_config", {}).get("transform")
        if wanted is None and "sklearn" in sys.modules:
            wanted = sys.modules["sklearn"].get_config()["transform_output"]
        if wanted in (None, "default"):
            return values
        names = self.get_feature_names_out()
        if wanted == "pandas":
            pandas = _library("pandas")
            index = X.index if isinstance(X, pandas.DataFrame) else None
            return pandas.DataFrame(values, index=index, columns=names, copy=False)
        return _library("polars").DataFrame(values, schema=names.tolist(), orient="row")


def _library(name):
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtraError(
            f'set_output(transform="{name}") needs {name}. Install it: pip install {name}'
        ) from None
