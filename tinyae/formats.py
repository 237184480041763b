"""Bytes of a file into arrays: IDX, npz, npy and text, each read as if its author meant harm.

    array, labels = read("train-images-idx3-ubyte.gz")     # (60000, 28, 28) uint8, None

What it must not know: which datasets exist, where they lie, what a batch is. Ring 5, below ``data.py``, which turns
the array into a table; read that one first.

Note [Hostile files]
    A header is a promise, and a promise is compared with the file before it is believed: no memory is asked for that
    the file's own size does not back. Compressed data is unpacked in chunks of ``CHUNK`` bytes into a buffer that
    grows with what really arrives, never further than promised. An array may take ``LIMIT`` bytes of memory; one that
    is unpacked may exceed ``FREE`` bytes only if it is at most ``RATIO`` times as large as it lies on the disk
    (MNIST: 5 times; a decompression bomb: 1,000). Nothing is ever unpickled. What is larger belongs into an .npy,
    which is memory-mapped and has no limit.

    zipfile, gzip and NumPy's header parser answer a damaged file with a dozen classes of error. ``read`` is the one
    place that turns whatever they raise into a DataError, so that a caller sees one class and one sentence.
"""

import math
import os
import stat

import numpy as np

from .delimited import LABELS, Found, parse
from .errors import DataError, DataNotFoundError, SettingError, excerpt

__all__ = ["CHUNK", "bad_values", "place", "read", "read_all"]

LIMIT = 8 << 30
FREE = 64 << 20
RATIO = 100
CHUNK = 1 << 20

ACCEPTED = "IDX (plain or .gz), .npz, .npy, and .csv, .tsv, .txt, .data or .dat (plain or .gz)"
ROWS = ("x", "images", "data")
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path):
    """The array in a file and, if it has them, its labels: two of what ``read_all`` gives."""
    return read_all(path)[:2]


def read_all(path, **text):
    """What a file holds, as a `Found`: X, y, X_test, y_test, the images' shape where text tells it, and notes.

    The content decides, by its first bytes; only text needs a name that ends in .csv, .tsv, .txt, .data or .dat, with
    or without .gz, and takes the options `text`: delimiter, decimal and header of ``delimited.parse``. Shape: whatever
    the file says, from one axis up, never empty; an .npy comes memory-mapped and read-only, the others in memory.
    Values of binary files are not looked at: see ``bad_values``.

    Errors: DataNotFoundError without the file; SettingError for options of text with another file; DataError for
    everything that is wrong with it, see Note [Hostile files].
    """
    where = place(path)
    text = {option: value for option, value in text.items() if value is not None}
    try:
        # Asked before opening, because opening a pipe would wait for its writer.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{where}: is a folder. Name one file; read are {ACCEPTED}.")
        if not stat.S_ISREG(mode):
            raise DataError(f"{where}: is a pipe or a device, not a regular file. Save the data to a file first.")
        with open(path, "rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, os.fsdecode(path), where, text)
    except (DataError, SettingError):
        raise
    except FileNotFoundError:
        raise DataNotFoundError(f"{where}: there is no such file. Check the path.") from None
    except PermissionError:
        raise DataError(f"{where}: permission to read it is denied. Change its permissions or copy it.") from None
    except MemoryError:
        raise DataError(f"{where}: does not fit into memory. Save it as .npy, which is memory-mapped.") from None
    except EOFError:
        raise DataError(f"{where}: ends in the middle of its compressed data. Fetch the file again.") from None
    except UnicodeDecodeError:
        raise DataError(f"{where}: is not text in UTF-8. Save it as CSV in UTF-8.") from None
    except Exception as error:  # Note [Hostile files]
        raise DataError(f"{where}: cannot be read ({_reason(error)}). Check the file or fetch it again.") from error


def place(path):
    """How an error names a file: quoted, so that a line break in a name stays inside one line."""
    return f"load_data({os.fspath(path)!r})"


def _read(file, size, name, where, text):
    head = file.read(6)
    file.seek(0)
    if not head:
        raise DataError(f"{where}: is an empty file. Read are {ACCEPTED}.")
    inner = name.lower().removesuffix(".gz")
    is_text = inner.endswith((".csv", ".tsv", ".txt", ".data", ".dat"))
    if text and not is_text:
        raise SettingError(f"{where}: is no text by its name, and {', '.join(text)} only matters there. Leave it out.")
    text = {"chunk": CHUNK, "limit": LIMIT, "spaces": not inner.endswith(".csv"), **text}
    if head == b"\x93NUMPY":
        return Found(_npy(file, size, where))
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _npz(file, size, where)
    if _is_idx(head):
        return Found(_idx(file, size, False, where))
    if head[:2] == b"\x1f\x8b":
        import gzip

        with gzip.GzipFile(fileobj=file) as stream:
            head = stream.peek(6)[:6]
            if _is_idx(head):
                return Found(_idx(stream, size, True, where))
            if head == b"\x93NUMPY" or head[:4] in (b"PK\x03\x04", b"\x1f\x8b\x08\x00"):
                raise DataError(f"{where}: holds another packed or NumPy file. Unpack it: gunzip.")
            if is_text:
                return parse(stream, where, room=max(FREE, RATIO * size), **text)
        raise DataError(f"{where}: is a gzip file that holds neither IDX nor, by its name, text. Read are {ACCEPTED}.")
    if is_text:
        return parse(file, where, **text)
    raise DataError(f"{where}: begins with {head!r}, which is no known format. Read are {ACCEPTED}.")


def _is_idx(head):
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in IDX_DTYPES


def _idx(stream, size, packed, where):
    """The IDX format (LeCun, with MNIST): two zero bytes, dtype code, rank, one big-endian uint32 per axis, values."""
    _, _, code, rank = stream.read(4)
    dtype = np.dtype(IDX_DTYPES[code])
    axes = stream.read(4 * rank)
    if len(axes) < 4 * rank:
        raise DataError(f"{where}: ends inside its IDX header. Fetch the file again.")
    shape = tuple(int.from_bytes(axes[i : i + 4], "big") for i in range(0, 4 * rank, 4))
    promised = _promise(shape, dtype, where)
    if not packed and size - stream.tell() != promised:
        raise _broken_promise(where, shape, promised, size - stream.tell())
    _refuse_bomb(promised, size, where)
    data = _take(stream, promised)
    # One byte further: finds what the header does not mention, and at the end makes gzip verify its checksum.
    if len(data) < promised or stream.read(1):
        raise _broken_promise(where, shape, promised, len(data) if len(data) < promised else "more")
    array = np.frombuffer(data, dtype).reshape(shape)
    if not dtype.isnative:  # in place: a bytearray is ours to write to
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


def _npy(file, size, where):
    shape, order, dtype, offset = _npy_header(file.read(1 << 16), where)
    promised = _promise(shape, dtype, where)
    if offset + promised != size:
        raise _broken_promise(where, shape, promised, size - offset)
    return np.memmap(file, dtype, mode="r", offset=offset, shape=shape, order=order)


def _npy_header(head, where):
    """(shape, order, dtype, offset of the values). Parsed from a short prefix: a header cannot make us read 4 GiB."""
    import io

    from numpy.lib import format as npy

    stream = io.BytesIO(head)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise DataError(
            f"{where}: is of .npy version {version[0]}.{version[1]}; read are 1.0 and 2.0. Save plain numbers."
        )
    parse = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = parse(stream)
    return shape, "F" if fortran else "C", dtype, stream.tell()


def _npz(file, size, where):
    import zipfile

    with zipfile.ZipFile(file) as archive:
        members = {info.filename[:-4]: info for info in archive.infolist() if info.filename.endswith(".npy")}
        others = [info.filename for info in archive.infolist() if not info.filename.endswith(".npy")]
        if others and not members:
            raise DataError(
                f"{where}: is an archive that holds {_listed(others)} and no arrays. Unpack it, and give a file in it."
            )
        lowered = {name.lower(): name for name in reversed(members)}
        called = {part: next((lowered[name] for name in names if name in lowered), None)
                  for part, names in _PARTS.items()}  # fmt: skip
        names = [name for name in members if name.lower() not in _PARTS["y"] + _PARTS["y_test"]]
        chosen = called["X"] or (names[0] if len(names) == 1 else None)
        if chosen is None:
            raise DataError(
                f"{where}: holds {_listed(names) or 'no arrays'}, and none is called X or images. "
                "Save the wanted one as X."
            )
        called["X"], found = chosen, {}
        if called["X_test"] in (None, chosen):
            called["X_test"] = called["y_test"] = None
        for part, name in called.items():
            if name is not None:
                at = f"{where}: array '{excerpt(name)}'"
                found[part] = _member(archive, members[name], size, at, "biufU" if part[0] == "y" else "biuf")
        for rows, labels in (("X", "y"), ("X_test", "y_test")):
            if labels in found:
                found[labels] = _one_per_row(found[labels], found[rows], called[labels], called[rows], where)
        if "X_test" in found:
            X, X_test = found["X"], found["X_test"]
            if X.shape[1:] != X_test.shape[1:] or (X.dtype == np.uint8) != (X_test.dtype == np.uint8):
                raise DataError(
                    f"{where}: {called['X']} is {X.shape} {X.dtype}, {called['X_test']} is {X_test.shape} "
                    f"{X_test.dtype}. Save both alike."
                )
        left = [name for name in members if name not in called.values()
                and _first_axis(archive, members[name]) == len(found["X"])]  # fmt: skip
        return Found(**found, notes=(f"{where}: read as X is '{excerpt(chosen)}'; left out: {_listed(left)}.",) if left
                     else ())  # fmt: skip


def _split_names(names, split):
    return tuple(form for name in names for form in (f"{name}_{split}", f"{split}_{name}"))


_PARTS = {  # how arrays are called, in lower case; the first that is there counts
    "X": ROWS + _split_names(ROWS, "train"), "y": LABELS + _split_names(LABELS, "train"),
    "X_test": _split_names(ROWS, "test"), "y_test": _split_names(LABELS, "test"),
}  # fmt: skip


def _listed(names):
    names = list(names)
    return ", ".join(f"'{excerpt(name, 30)}'" for name in names[:20]) + (", ..." if len(names) > 20 else "")


def _first_axis(archive, info):
    """How many rows an array that is not read has, None if it does not say."""
    try:
        with archive.open(info) as stream:
            return _npy_header(stream.read(1 << 12), "")[0][0]
    except Exception:  # Note [Hostile files]; nobody asked for this one
        return None


def _one_per_row(y, X, name, rows, where):
    """y as (rows,): a column is taken for what it is."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.shape != X.shape[:1]:
        raise DataError(
            f"{where}: {excerpt(name)} has shape {y.shape}, {excerpt(rows)} has shape {X.shape}. "
            "Save one label per row."
        )
    return y


def _member(archive, info, size, where, kinds="biuf"):
    # 0 is stored, 8 is deflate, which is what NumPy writes; zipfile unpacks bzip2 and LZMA in unbounded pieces.
    if info.compress_type not in (0, 8):
        raise DataError(f"{where}: is packed in a way that NumPy does not write. Save it with np.savez.")
    with archive.open(info) as stream:
        data = _take(stream, 1 << 16)
        if data[:6] != b"\x93NUMPY":
            raise DataError(f"{where}: is no array inside, whatever its name. Save arrays with np.savez.")
        shape, order, dtype, offset = _npy_header(bytes(data), where)
        promised = _promise(shape, dtype, where, kinds)
        # zipfile hands out at most file_size bytes, so what is left to check is whether that number is sane.
        if offset + promised != info.file_size:
            raise _broken_promise(where, shape, promised, info.file_size - offset)
        _refuse_bomb(promised, min(info.compress_size, size), where)
        del data[:offset]
        data += _take(stream, promised - len(data))
    if len(data) != promised:
        raise _broken_promise(where, shape, promised, len(data))
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _promise(shape, dtype, where, kinds="biuf"):
    """Bytes that a header promises, in Python's integers: 10^18 items do not overflow. Refuses what can be no data."""
    if dtype.hasobject:
        raise DataError(
            f"{where}: holds Python objects, which are never unpickled. Save numbers: np.asarray(X, dtype=float)."
        )
    if dtype.kind not in kinds:
        raise DataError(f"{where}: has dtype {dtype}, not real numbers. Save integers or floats.")
    if not 1 <= len(shape) <= 32:
        raise DataError(f"{where}: has {len(shape)} axes. Save rows x features.")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise DataError(f"{where}: promises shape {shape}. It is damaged; save it again.")
    if 0 in shape:
        raise DataError(
            f"{where}: has no {'features' if shape[0] else 'rows'}, its shape is {shape}. Give at least one."
        )
    return math.prod(shape) * dtype.itemsize


def _broken_promise(where, shape, promised, found):
    return DataError(
        f"{where}: promises shape {shape}, {promised} bytes, but holds {found}. "
        "It is truncated or damaged; save or fetch it again."
    )


def _refuse_bomb(promised, packed, where):
    if promised > LIMIT:
        raise DataError(
            f"{where}: promises {promised} bytes, and the limit in memory is {LIMIT >> 30} GiB. "
            "If that is right, save it as .npy, which is memory-mapped."
        )
    if promised > max(FREE, RATIO * packed):
        raise DataError(
            f"{where}: promises {promised} bytes from {packed}, like a decompression bomb. If it is none, unpack it."
        )


def _take(stream, count):
    """At most `count` bytes: the buffer follows what is there, not what was promised."""
    data = bytearray()
    while len(data) < count:
        chunk = stream.read(min(CHUNK, count - len(data)))
        if not chunk:
            break
        data += chunk
    return data


def _reason(error):
    return excerpt(str(error) or type(error).__name__, 100)


def bad_values(X):
    """(how many values are NaN or infinite, (row, column) of the first in row order or None), without a copy of X.

    Shape: X (rows, features), C or Fortran order, memory-mapped or not. Looks at ``CHUNK`` values at a time.
    """
    if X.dtype.kind != "f":
        return 0, None
    (rows, columns), count, first = X.shape, 0, X.size
    by_rows = X.flags.c_contiguous
    flat = (X if by_rows else X.T).reshape(-1)
    for start in range(0, flat.size, CHUNK):
        finite = np.isfinite(flat[start : start + CHUNK])
        if finite.all():
            continue
        at = start + np.flatnonzero(~finite)
        count += at.size
        if not by_rows:
            at = at % rows * columns + at // rows
        first = min(int(at.min()), first)
    return count, divmod(first, columns) if count else None
