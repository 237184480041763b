"""What users give as a table, as an array of finite numbers; what is wrong with it is named by row and column.

Arrays, lists of rows, memory maps, frames of pandas or polars, masked and structured arrays: none of these libraries
is imported, each is known by what it has. The rule for bytes stands here, too: Note [Bytes].

Note [Bytes]
    uint8 are pixels, and `batches` divides them by 255; unless fit saw nothing but 0 and 1, or numbers beyond [0, 1]:
    then 255 is the number 255. Which it was is decided by `scale_of` when a model is fitted, and holds for every table
    that it is given later. `widened` gives such bytes a dtype that is not divided.

Ring 5. Must not know an estimator, nor what its numbers mean.
"""

import os
import sys
import warnings

import numpy as np

from .errors import DataError, DtypeError, ShapeError
from .formats import CHUNK, bad_values

__all__ = ["as_table", "column_names", "extremes", "first_beyond", "in_unit_interval", "lost_columns", "scale_of",
           "spot", "warn", "widened"]  # fmt: skip

_LEVELS = 1 << 14  # a column with fewer float32 between its ends than this may lose what tells its rows apart


def as_table(X, where, what="X"):
    """X as a 2-d array of real and finite numbers, at least one; memory maps stay on the disk.

    Errors: DtypeError (no real numbers), ShapeError (not two axes, rows of different length), DataError (nothing in it,
    masked, missing, NaN or infinite values).
    """
    if hasattr(X, "toarray"):
        raise DtypeError(f"{where}: sparse {what} is not supported. Pass {what}.toarray().")
    names = column_names(X, where, what)
    X = _real(_array(X, where, what), where, what, names)
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
    count, first = bad_values(X)
    if count:
        raise DataError(
            f"{where}: {what} holds {count} value(s) that are NaN or infinity, the first, {X[first]}, "
            f"in {spot(*first, names)}. Remove or impute them."
        )
    return X


def _array(X, where, what):
    """np.asarray, for which nothing is masked and rows are of one length."""
    for part in X if isinstance(X, (list, tuple)) else (X,):
        if isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part):
            raise DataError(
                f"{where}: {what} has {np.ma.count_masked(part)} masked value(s), and what is masked cannot be left "
                f"out here. Impute them, for instance {what}.filled(value)."
            )
    try:
        return np.asarray(X)
    except (TypeError, ValueError) as problem:
        raise ShapeError(f"{where}: {what} is no table: {_ragged(X) or problem}. Give rows of one length.") from None


def _ragged(rows):
    """Which row is the first of another length than row 0; "" if none is."""
    lengths = [len(row) if hasattr(row, "__len__") and not isinstance(row, str) else 0 for row in rows]
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            return f"row 0 has {lengths[0]} value(s), row {row} has {length}"
    return ""


def _real(X, where, what, names):
    """X in a dtype of real numbers; objects that are numbers become float64."""
    if X.dtype == object:
        try:
            return X.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            _refuse_object(X, where, what, names)
    if X.dtype.kind == "c":
        raise DataError(f"{where}: Complex data not supported: {what} has dtype {X.dtype}.")
    if X.dtype.kind not in "biuf":
        hint = ""
        if X.dtype.kind in "UST" and (at := _first_text(X)) is not None:
            hint = f" {_short(repr(str(X[at])))} is in {spot(*at, names)}."
        elif X.dtype.names:
            hint = f" numpy.lib.recfunctions.structured_to_unstructured({what}) makes columns of its fields."
        raise DtypeError(f"{where}: {what} has dtype {X.dtype}. Give numbers.{hint}")
    return X


def _refuse_object(X, where, what, names):
    """The error for objects of which one is no number."""
    if X.ndim == 1 and all(hasattr(row, "__len__") and not isinstance(row, str) for row in X):
        told = _ragged(X) or f"its rows are objects of {len(X[0])} value(s) each"
        raise ShapeError(f"{where}: {what} is no table: {told}. Give rows of one length, numpy.stack(list({what})).")
    missing = sum(_is_missing(value) for value in X.flat)
    for at in np.ndindex(X.shape):
        if _is_missing(X[at]):
            raise DataError(
                f"{where}: missing value in {spot(*at, names)}; {what} has {missing} of them. Remove or impute them."
            )
        try:
            float(X[at])
        except (TypeError, ValueError, OverflowError) as problem:
            raise DtypeError(
                f"{where}: {what} has dtype object: {_short(str(problem))}, in {spot(*at, names)}. Give numbers."
            ) from None
    raise DtypeError(f"{where}: {what} has dtype object and no numbers in it. Give numbers.")


def _is_missing(value):
    return type(value).__name__ in ("NAType", "NaTType")  # pandas', which float() refuses, unlike None and NaN


def _first_text(X):
    """Where the first string stands that is no number."""
    for at in np.ndindex(X.shape):
        try:
            float(X[at])
        except ValueError:
            return at
    return None


def _short(text):
    return text if len(text) <= 80 else f"{text[:77]}..."


def spot(row, column=None, names=None):
    """'row 1, column 0 (name)'."""
    if column is None:
        return f"row {row}"
    return f"row {row}, column {column}" + ("" if names is None else f" ({_short(names[column])})")


def column_names(X, where="", what="X"):
    """The names of a frame's columns, an array of str objects; None where X has none, or none that is a string.

    DtypeError where some are strings and others are not, as scikit-learn's TypeError.
    """
    columns = None if isinstance(X, np.ndarray) else getattr(X, "columns", None)
    if columns is None or callable(columns):
        return None
    columns = list(columns)
    strings = sum(isinstance(name, str) for name in columns)
    if not strings:
        return None
    if strings < len(columns):
        kinds = " and ".join(sorted({type(name).__name__ for name in columns}))
        raise DtypeError(
            f"{where}: {what} has column names of {kinds}. Make all of them strings: "
            f"{what}.columns = {what}.columns.astype(str)."
        )
    return np.array(columns, dtype=object)


# -- ranges and scales ----------------------------------------------------------------------------------------------


def extremes(X):
    """The least and the largest value; reads a chunk at a time."""
    X = X.T if X.flags.f_contiguous and not X.flags.c_contiguous else X
    step = max(1, CHUNK // X.shape[1])
    pairs = [(part.min(), part.max()) for part in (X[i : i + step] for i in range(0, len(X), step))]
    return min(low for low, _ in pairs), max(high for _, high in pairs)


def in_unit_interval(X):
    """Whether every value, as `batches` yields it, lies in [0, 1], but for a scaler's rounding."""
    low, high = (0, 1) if X.dtype == np.uint8 else extremes(X)
    return bool(low >= -1e-6 and high <= 1 + 1e-6)


def first_beyond(X):
    """(row, column) of the first value that `in_unit_interval` minds."""
    step = max(1, CHUNK // X.shape[1])
    for start in range(0, len(X), step):
        part = X[start : start + step]
        rows, columns = np.nonzero((part < -1e-6) | (part > 1 + 1e-6))
        if len(rows):
            return start + int(rows[0]), int(columns[0])
    return None


def scale_of(X):
    """What fit makes of X: (what bytes beside it are divided by, whether it lies in [0, 1]). See Note [Bytes]."""
    if X.dtype == np.uint8:
        return (255.0 if extremes(X)[1] > 1 else 1.0), True
    unit = in_unit_interval(X)
    return (255.0 if unit and not _only_bits(X) else 1.0), unit


def _only_bits(X):
    """Whether all values are 0 or 1."""
    step = max(1, CHUNK // X.shape[1])
    return all(((part == 0) | (part == 1)).all() for part in (X[i : i + step] for i in range(0, len(X), step)))


def widened(X):
    """Bytes as numbers that `batches` does not divide; anything else as it is."""
    if X.dtype != np.uint8:
        return X
    return X.view(np.int8) if extremes(X)[1] < 128 else X.astype(np.int16)  # as int8, 255 would be -1


def lost_columns(X, dtype):
    """[(column, how many different values, how many of them are left)] where conversion to dtype makes values equal
    that differ: more than one in a hundred, of a column that lies far from 0 beside its spread, as Unix times do.
    """
    if np.dtype(dtype) != np.float32 or X.dtype.kind not in "iuf" or np.finfo(np.float32).nmant >= _digits(X.dtype):
        return []
    # A few rows show for most columns that they spread; only the others are read as a whole.
    most = max(abs(float(value)) for value in extremes(X))
    few = X[:: max(1, len(X) // 16)].astype(np.float64)
    doubtful = np.flatnonzero(np.ptp(few, axis=0) < _LEVELS * _gap(most))
    lost = []
    for column in doubtful.tolist():
        values = X[:, column]
        low, high = float(values.min()), float(values.max())
        if low < high and high - low < _LEVELS * _gap(max(-low, high)):
            with np.errstate(over="ignore"):  # what float32 cannot hold at all `batches` refuses
                different, left = len(np.unique(values)), len(np.unique(values.astype(np.float32)))
            if left < 0.99 * different:
                lost.append((column, different, left))
    return lost


def _digits(dtype):
    """How many binary digits a dtype's numbers may have after the first."""
    return np.finfo(dtype).nmant if dtype.kind == "f" else 8 * dtype.itemsize - 1


def _gap(value):
    """The distance between float32 numbers about value."""
    return float(np.spacing(np.float32(min(value, 3e38))))


# -- warnings -------------------------------------------------------------------------------------------------------

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn(message, category=RuntimeWarning):
    """A warning at the line of the user's that led here, however many of the package's own are between."""
    frame, level = sys._getframe(1), 2
    while frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
