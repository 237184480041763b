"""Datasets by name or by file, and the batches that training reads from them.

    digits = load_data("digits")                         # 1,797 images of 8x8, part of the package
    X, X_val = digits.holdout()                          # a fixed fifth
    for x in batches(X, 64, generator=rng, scale=digits.scale):
        ...                                              # (64, 64) float32 in [0, 1]; the last batch is smaller

What it must not know: models, losses, the network (``download.py`` fetches, this only says where files are sought).
Ring 5. Read it after ``optim``; how a file becomes an array is in ``formats.py`` and can wait.

Note [Stored as it lies]
    ``X`` keeps the dtype of the file: 60,000 images are 47 MB as bytes and 188 MB as float32, and an .npy larger than
    the memory stays on the disk. Only a batch becomes floating point, divided by ``scale`` on the way.
"""

import numbers
import operator
import os
import re
import sys
import warnings

import numpy as np

from .errors import DataError, DataNotFoundError, DtypeError, SettingError, ShapeError
from .formats import CHUNK, bad_values, place, read, read_all

__all__ = ["DIGITS", "NAMES", "PARTS", "SOURCES", "Batches", "Dataset", "Source", "as_float", "batches", "cache_dir",
           "load_data", "places", "status"]  # fmt: skip

_CHANNELS = (1, 3, 4)  # of images: grey, colours, colours and opacity
IN_MEMORY = 1 << 30  # bytes up to which holdout copies rows; a larger memory-mapped table is cut instead


class Source:
    """A dataset on the web: four IDX files, where they are offered, and under which licence."""

    def __init__(self, files, mirrors, first_labels, licence, attribution):
        self.files = files  # name -> (bytes, sha256) of the .gz, in the order of PARTS
        self.mirrors = mirrors
        self.first_labels = first_labels  # the two sets have equal file names; this tells them apart
        self.licence = licence
        self.attribution = attribution


PARTS = ("X", "y", "X_test", "y_test")
SOURCES = {
    "mnist": Source(
        {
            "train-images-idx3-ubyte.gz": (
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            "train-labels-idx1-ubyte.gz": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            "t10k-images-idx3-ubyte.gz": (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            "t10k-labels-idx1-ubyte.gz": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        },
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
        "CC BY-SA 3.0",
        "MNIST: Yann LeCun, Corinna Cortes, Christopher J. C. Burges, 1998. CC BY-SA 3.0.",
    ),
    "fashion-mnist": Source(
        {
            "train-images-idx3-ubyte.gz": (
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            "train-labels-idx1-ubyte.gz": (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            "t10k-images-idx3-ubyte.gz": (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            "t10k-labels-idx1-ubyte.gz": (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        },
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
        "MIT",
        "Fashion-MNIST: Copyright (c) 2017 Zalando SE, Han Xiao, Kashif Rasul, Roland Vollgraf. MIT.",
    ),
}
DIGITS = (
    "Optical Recognition of Handwritten Digits: E. Alpaydin, C. Kaynak, 1998, UCI Machine Learning Repository, "
    "https://doi.org/10.24432/C50P49. CC BY 4.0; here its test part."
)
NAMES = ("digits", "fashion-mnist", "mnist", "onehot")


class Dataset:
    """A table with everything that has to be known to train on it and to draw it.

    X, X_test     (rows, features), in the dtype of the file, perhaps memory-mapped; X_test is None without a test set
    y, y_test     (rows,) labels or None
    name          the dataset's name, or the file's
    image_shape   (height, width) if a row is an image, (channels, height, width) if a coloured one, else None
    scale         what a batch is divided by: 255 for bytes, 16 for digits, else 1. ``X`` itself is not divided:
                  ``as_float(data.X, data.scale)`` is
    source        where it was found
    attribution   whom to thank and under which licence it comes; empty for files
    """

    def __init__(
        self, X, y=None, X_test=None, y_test=None, *, name="", image_shape=None, scale=1.0, source="", attribution=""
    ):
        self.X, self.y, self.X_test, self.y_test = X, y, X_test, y_test
        self.name, self.image_shape, self.scale = name, image_shape, float(scale)
        self.source, self.attribution = source, attribution

    def __repr__(self):
        test = "" if self.X_test is None else f", X_test {self.X_test.shape}"
        X = f"X {self.X.shape} {self.X.dtype}"
        y = "" if self.y is None else f", y {self.y.dtype}"
        return f"Dataset({self.name!r}, {X}{y}{test}, image_shape={self.image_shape}, scale={self.scale:g})"

    def split(self, fraction=0.2, seed=0):
        """The same data as a Dataset with a test set: its own, else `fraction` of the rows, the same ones every time.

        At least one row stays on either side. A memory-mapped table above 1 GiB is not copied but cut: its last rows
        are held out. ``onehot`` tests on its training rows. Errors: SettingError for a fraction outside (0, 1);
        DataError if there is only one row.
        """
        if not isinstance(fraction, numbers.Real) or not 0 < fraction < 1:
            raise SettingError(f"Dataset.split: fraction is {fraction!r}. Give a number between 0 and 1.")
        if self.X_test is not None:
            return self
        rows = len(self.X)
        if rows < 2:
            raise DataError("Dataset.split: one row cannot be both trained on and held out. Give more rows.")
        cut = rows - min(max(round(fraction * rows), 1), rows - 1)
        if isinstance(self.X, np.memmap) and self.X.nbytes > IN_MEMORY:
            train, test = slice(cut), slice(cut, rows)
        else:
            # RandomState, because its stream is frozen: the fifth is the same under every version of NumPy.
            order = np.random.RandomState(seed).permutation(rows)
            train, test = np.sort(order[:cut]), np.sort(order[cut:])
        y, y_test = (None, None) if self.y is None else (self.y[train], self.y[test])
        return Dataset(**{**vars(self), "X": self.X[train], "y": y, "X_test": self.X[test], "y_test": y_test})

    def holdout(self, fraction=0.2, seed=0):
        """(X_train, X_val): the two arrays of ``split``."""
        split = self.split(fraction, seed)
        return split.X, split.X_test


def load_data(name, *, scale=None, delimiter=None, decimal=None, header=None):
    """A Dataset by name ("digits", "mnist", "fashion-mnist", "onehot") or from a file.

    Files: IDX, plain or .gz; .npz (the array ``X``, ``images``, ``data`` or ``x_train``, else the only one; labels from
    ``y``, ``label``, ``target``, ``class`` or ``y_train``; a test set from ``x_test`` and ``y_test``); .npy
    (memory-mapped); text that ends in .csv, .tsv, .txt, .data or .dat, plain or .gz. MNIST and Fashion-MNIST are sought
    in the folder ``TINYAE_DATA`` and in ``cache_dir()``, each in a subfolder of that name or directly, plain or .gz. A
    file that is called like a dataset: "./mnist".

    Text: numbers only, but for one line of names and a column of labels, which is called as in an .npz. delimiter: one
    character, " " for any white space; None: tab, semicolon, comma, as the first lines show. decimal: "." or ",";
    None: a comma where the cells have it and the delimiter is another. header: whether the first line holds names;
    None: if nothing in it looks like a number. A warning tells what was guessed or left out; what is open is refused.

    Shape: (rows, ...) becomes (rows, features); (rows, h, w), (rows, h, w, 1 or 3 or 4) and (rows, 1 or 3 or 4, h, w)
    set ``image_shape``, and a row of a coloured image is stored as (channels, height, width). ``scale``: what batches
    are divided by; None for 255 with bytes (1 if all of them are 0 or 1), 16 with digits, else 1.

    Errors: DataNotFoundError if it is nowhere, naming the places; DataError if it cannot be used: damaged, larger
    than sense, not numbers, NaN or infinite values, no rows; SettingError for an option that does not fit.
    """
    text = _text_options(delimiter, decimal, header)
    if scale is not None:
        _check_scale(scale, "load_data")
    try:
        path = os.fsdecode(name)
    except TypeError:
        raise SettingError(
            f"load_data: {type(name).__name__} is no name. Give one of {', '.join(NAMES)}, or a path."
        ) from None
    if text and (path in NAMES):
        raise SettingError(f"load_data({path!r}): {', '.join(text)} is for files of text. Leave it out.")
    if path == "digits":
        data = _digits()
    elif path == "onehot":
        eye = np.eye(4, dtype=np.float32)
        data = Dataset(eye, np.arange(4), eye, np.arange(4), name=path, source="made on the fly")
    elif path in SOURCES:
        data = _from_source(path)
    else:
        try:
            found = read_all(path, **text)
        except DataNotFoundError:
            raise DataNotFoundError(
                f"{place(path)}: there is no such file, and the datasets by name are {', '.join(NAMES)}. "
                "Check the spelling."
            ) from None
        X, image_shape, notes = _table(found.X, path)
        X_test = None if found.X_test is None else _table(found.X_test, path)[0]
        for note in (*found.notes, *notes):
            warnings.warn(note, UserWarning, stacklevel=2)
        data = Dataset(X, found.y, X_test, found.y_test, name=os.path.basename(path),
                       image_shape=found.image_shape or image_shape, scale=_scale(X), source=path)  # fmt: skip
    if scale is not None:
        data.scale = float(scale)
    return data


def _text_options(delimiter, decimal, header):
    """Those that are given, checked."""
    given = {"delimiter": delimiter, "decimal": decimal, "header": header}
    if delimiter is not None and not (isinstance(delimiter, str) and re.fullmatch(r"[^\w\n\r\"'.+-]", delimiter)):
        raise SettingError(f"load_data: delimiter is {delimiter!r}. Give one character that is no part of a number.")
    if decimal not in (None, ".", ","):
        raise SettingError(f"load_data: decimal is {decimal!r}. Give '.' or ','.")
    if decimal == delimiter == ",":
        raise SettingError("load_data: delimiter and decimal are both ','. Give one of them another value.")
    if header is not None and not isinstance(header, bool):
        raise SettingError(f"load_data: header is {header!r}. Give True, False or None.")
    return {name: value for name, value in given.items() if value is not None}


def _digits():
    """The embedded images; made from the original table by tests/make_digits.py."""
    path = os.path.join(os.path.dirname(__file__), "digits.npz")
    images, labels = read(path)
    return Dataset(
        images.reshape(-1, 64), labels, name="digits", image_shape=(8, 8), scale=16, source=path, attribution=DIGITS
    )


def _from_source(name):
    folder, paths, lacking = _find(name)
    if paths is None:
        sought = " and ".join(map(repr, places()))
        raise DataNotFoundError(f"load_data({name!r}): not in {sought}{lacking}. Fetch it: tinyae data get {name}")
    arrays = {part: read(path)[0] for part, path in zip(PARTS, paths, strict=True)}
    image_shape = arrays["X"].shape[1:]
    for images, labels in (("X", "y"), ("X_test", "y_test")):
        X, y = arrays[images], arrays[labels]
        if X.ndim != 3 or X.dtype != np.uint8 or y.shape != X.shape[:1] or X.shape[1:] != image_shape:
            raise DataError(
                f"load_data({name!r}): images of shape {X.shape} {X.dtype} and labels of shape {y.shape} in {folder!r} "
                f"do not belong together. Fetch it again: tinyae data get {name}"
            )
        arrays[images] = X.reshape(len(X), -1)
    return Dataset(
        **arrays, name=name, image_shape=image_shape, scale=255, source=folder, attribution=SOURCES[name].attribution
    )


def _find(name):
    """(folder, the four paths, "") of a dataset, or (None, None, what is missing) if no place has all of them."""
    source, lacking = SOURCES[name], ""
    for base in places():
        for folder in (os.path.join(base, name), base):
            paths, missing = [], []
            for file in source.files:
                found = [p for p in (os.path.join(folder, file), os.path.join(folder, file[:-3])) if os.path.isfile(p)]
                paths += found[:1]
                missing += [] if found else [file]
            if not missing and (folder != base or _is_source(source, paths)):
                return folder, paths, ""
            if paths and missing:
                lacking = f" ({folder!r} lacks {', '.join(missing)})"
    return None, None, lacking


def _is_source(source, paths):
    """Whether files that lie in no folder of the dataset's name are this dataset: their first labels tell."""
    try:
        return tuple(read(paths[1])[0][:10].ravel()) == source.first_labels
    except DataError:
        return True  # damaged: taken, so that loading says what is wrong with it


def places():
    """The folders in which datasets are sought, in this order: ``TINYAE_DATA`` if it is set, then ``cache_dir()``."""
    own = os.environ.get("TINYAE_DATA")
    return [own, cache_dir()] if own else [cache_dir()]


def cache_dir():
    """The user's cache folder by the platform's convention; what ``download`` writes to.

    Linux: $XDG_CACHE_HOME/tinyae or ~/.cache/tinyae. macOS: ~/Library/Caches/tinyae. Windows:
    %LOCALAPPDATA%\\tinyae\\Cache.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
        return os.path.join(base, "tinyae", "Cache")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/tinyae")
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The convention says that a relative path is to be ignored.
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "tinyae")


def status():
    """One row per named dataset: (name, where it is or "not here", its bytes there or 0, licence)."""
    digits = os.path.join(os.path.dirname(__file__), "digits.npz")
    rows = []
    for name in NAMES:
        if name == "digits":
            rows.append((name, "in the package", os.path.getsize(digits), "CC BY 4.0"))
        elif name == "onehot":
            rows.append((name, "made on the fly", 0, "-"))
        else:
            folder, paths, _ = _find(name)
            size = sum(map(os.path.getsize, paths or ()))
            rows.append((name, folder or "not here", size, SOURCES[name].licence))
    return rows


def _table(array, path):
    """(array as rows x features, image_shape, notes), a copy only of coloured images that lie the other way round;
    refuses what is no table of finite numbers.
    """
    where, notes = place(path), []
    if array.ndim < 2:
        raise DataError(
            f"{where}: has shape {array.shape}, one axis. Save rows x features; one feature is X.reshape(-1, 1)."
        )
    image_shape = array.shape[1:] if array.ndim == 3 else None
    if array.ndim == 4:
        first, last = array.shape[1] in _CHANNELS, array.shape[3] in _CHANNELS
        if first != last or 1 in (array.shape[1], array.shape[3]):
            axis = 1 if array.shape[1] == 1 or (first and array.shape[3] != 1) else 3
            channels, height, width = np.moveaxis(array[:1], axis, 1).shape[1:]
            image_shape = (height, width) if channels == 1 else (channels, height, width)
            if axis == 3 and channels > 1:
                array, image_shape, notes = _channels_first(array, image_shape, where)
        elif first:
            notes = [f"{where}: has shape {array.shape}, with channels first or last; image_shape is not set."]
    if array.ndim > 2:
        if isinstance(array, np.memmap) and not array.flags.c_contiguous:
            raise DataError(f"{where}: has shape {array.shape} in Fortran order. Save np.ascontiguousarray(X) instead.")
        array = array.reshape(len(array), -1)
    count, first = bad_values(array)
    if count:
        raise DataError(
            f"{where}: {count} of {array.size} values are NaN or infinite; the first is X[{first[0]}, {first[1]}] = "
            f"{array[first]}. Remove these rows or fill the gaps."
        )
    return array, image_shape, notes


def _channels_first(array, image_shape, where):
    """Images with channels last as the models take them: (array, image_shape, notes)."""
    if array.nbytes > IN_MEMORY:
        note = f"{where}: has channels last and is too large to be turned: image_shape is not set. Save (n, c, h, w)."
        return array, None, [note]
    return np.ascontiguousarray(np.moveaxis(array, 3, 1)), image_shape, []


def _scale(X):
    """255 for bytes; but 0/1 masks stored as bytes are already in [0, 1], and dividing them would train on nothing."""
    if X.dtype != np.uint8:
        return 1
    step = max(1, CHUNK // X.shape[1])
    return 255 if any((X[i : i + step] > 1).any() for i in range(0, len(X), step)) else 1


def batches(X, batch_size, *, generator=None, scale=None, dtype=np.float32, target=None, least=1):
    """X in `Batches` of rows, (batch, features), each a fresh C-contiguous array of `dtype` = X[rows] / scale.

    X             (rows, ...), any real dtype, possibly memory-mapped: only the rows of one batch are read at a time
    generator     a numpy.random.Generator that draws one permutation of the rows; None keeps their order
    scale         divisor; None is 255 for uint8 and 1 for everything else
    target        (rows, ...): yields pairs (X[rows] / scale, target[rows] / scale), with the same rule for None

    least         rows that a batch needs: what is left over and less joins the batch before it, if there is one

    The last batch holds what is left over. Within a batch the rows ascend: a batch is a set, the disk likes it, and
    the bits are the same for an array in memory and on the disk.

    Errors, at the call: SettingError (batch_size, generator, scale, dtype), ShapeError (an axis is missing, rows
    differ), DtypeError (not real numbers), DataError (no rows).
    """
    try:
        batch_size = operator.index(batch_size)
    except TypeError:
        raise SettingError(f"batches: batch_size is {batch_size!r}. Give a whole number of rows.") from None
    if batch_size < 1:
        raise SettingError(f"batches: batch_size is {batch_size}. Give 1 or more.")
    if generator is not None and not isinstance(generator, np.random.Generator):
        raise SettingError(
            f"batches: generator is {generator!r}. Pass np.random.default_rng(seed), or None for no shuffling."
        )
    X, *settings = _checked(X, scale, dtype, "batches")
    if target is not None:
        target, *target_settings = _checked(target, scale, dtype, "batches: target")
        if len(target) != len(X):
            raise ShapeError(
                f"batches: X has shape {X.shape}, target has shape {target.shape}. Give one target per row."
            )

    sources = [(X, *settings)] if target is None else [(X, *settings), (target, *target_settings)]
    return Batches(sources, batch_size, generator, least)


class Batches:
    """What `batches` returns, to be iterated over: arrays, or pairs of them. An order is drawn for each time."""

    def __init__(self, sources, batch_size, generator, least=1):
        self.sources, self.batch_size, self.generator = sources, batch_size, generator  # (array, divisor, dtype) each
        n = len(sources[0][0])
        self.whole = n - n % batch_size  # rows before the last batch, if that is of another size
        if 0 < n - self.whole < least:
            self.whole = max(0, self.whole - batch_size)

    def __len__(self):
        return self.whole // self.batch_size + (self.whole < len(self.sources[0][0]))

    def __iter__(self):
        return map(self.take, self.rows())

    def order(self):
        """Every row's number, batch after batch, ascending within each; as they stand, if nothing shuffles them."""
        n = len(self.sources[0][0])
        if self.generator is None:
            return np.arange(n)
        order = self.generator.permutation(n)
        if self.whole:  # else the size of a batch may be any number, and no array's
            order[: self.whole].reshape(-1, self.batch_size).sort(axis=1)
        order[self.whole :].sort()
        return order

    def after(self, start):
        """Where the batch that begins at start ends, in `order`."""
        return start + self.batch_size if start < self.whole else len(self.sources[0][0])

    def rows(self):
        """Yield the rows of each batch: a slice, or numbers in ascending order."""
        order = None if self.generator is None else self.order()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            rows = slice(start, self.after(start))
            yield rows if order is None else order[rows]

    def take(self, rows):
        """The batch of these rows."""
        arrays = tuple(_floats(X, rows, scale, dtype) for X, scale, dtype in self.sources)
        return arrays if len(arrays) > 1 else arrays[0]


def as_float(X, scale=None, dtype=np.float32):
    """All of X at once, as ``batches`` would yield it: a fresh (rows, features) array of `dtype` = X / scale."""
    X, scale, dtype = _checked(X, scale, dtype, "as_float")
    return _floats(X, slice(None), scale, dtype)


def _checked(X, scale, dtype, where):
    """(X as a plain array, divisor, dtype)"""
    X = np.asarray(X)  # of a memory map, too: the same memory, without the subclass's slow slices
    if dtype not in (np.float32, np.float64, "float32", "float64"):
        raise SettingError(f"{where}: dtype is {dtype!r}. Use float32 or float64.")
    if X.dtype.kind not in "biuf":
        raise DtypeError(f"{where}: X has dtype {X.dtype}. Give real numbers.")
    if X.ndim < 2:
        raise ShapeError(
            f"{where}: X has shape {X.shape}. Give (rows, features); one feature per row is X.reshape(-1, 1)."
        )
    if not X.size:
        raise DataError(
            f"{where}: X has shape {X.shape}, nothing to learn from. Give at least one row and one feature."
        )
    if scale is None:
        scale = 255 if X.dtype == np.uint8 else 1
    _check_scale(scale, where)
    return X, scale, np.dtype(dtype)


def _check_scale(scale, where):
    if not isinstance(scale, numbers.Real) or not 0 < scale < float("inf"):
        raise SettingError(f"{where}: scale is {scale!r}. Give a positive number.")


def _floats(X, rows, scale, dtype):
    # A slice is a view of X and is always copied: a caller may write into its batch, never into the data.
    copy = True if isinstance(rows, slice) else None
    try:
        with np.errstate(over="raise"):
            out = np.array(X[rows], dtype=dtype, order="C", copy=copy)
    except FloatingPointError:
        raise DataError(f"batches: X holds a value too large for {dtype}. Rescale it or use float64.") from None
    out = out.reshape(len(out), -1)
    if scale != 1:
        out /= dtype.type(scale)  # divided, not multiplied by 1/255: that 255 becomes exactly 1
    return out
