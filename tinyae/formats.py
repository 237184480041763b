"""Bytes of a file into arrays: IDX, npz, npy and CSV, each read as if its author meant harm.

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

from .errors import DataError, DataNotFoundError

__all__ = ["CHUNK", "bad_values", "place", "read"]

LIMIT = 8 << 30
FREE = 64 << 20
RATIO = 100
CHUNK = 1 << 20
LINE = 4 << 20  # characters in one line of CSV: a file without line ends must not become one string

ACCEPTED = "IDX (plain or .gz), .npz, .npy, .csv and .csv.gz"
LABELS = ("y", "labels", "target")
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path):
    """The array in a file and, from an .npz that has them, its labels.

    The content decides, by its first bytes; only text needs a name that ends in .csv or .csv.gz. Shape: whatever the
    file says, from one axis up, never empty; an .npy comes memory-mapped and read-only, the others in memory. Values
    are not looked at: see ``bad_values``.

    Errors: DataNotFoundError without the file; DataError for everything that is wrong with it, see Note [Hostile
    files].
    """
    where = place(path)
    try:
        # Asked before opening, because opening a pipe would wait for its writer.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{where}: is a folder. Name one file; read are {ACCEPTED}.")
        if not stat.S_ISREG(mode):
            raise DataError(f"{where}: is a pipe or a device, not a regular file. Save the data to a file first.")
        with open(path, "rb") as file:
            return _read(file, os.fstat(file.fileno()).st_size, os.fspath(path), where)
    except DataError:
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
        raise DataError(f"{where}: cannot be read ({_one_line(error)}). Check the file or fetch it again.") from error


def place(path):
    """How an error names a file: quoted, so that a line break in a name stays inside one line."""
    return f"load_data({os.fspath(path)!r})"


def _read(file, size, name, where):
    head = file.read(6)
    file.seek(0)
    if not head:
        raise DataError(f"{where}: is an empty file. Read are {ACCEPTED}.")
    if head == b"\x93NUMPY":
        return _npy(file, size, where), None
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _npz(file, size, where)
    if _is_idx(head):
        return _idx(file, size, False, where), None
    if head[:2] == b"\x1f\x8b":
        import gzip

        with gzip.GzipFile(fileobj=file) as stream:
            if _is_idx(stream.peek(4)):
                return _idx(stream, size, True, where), None
            if name.lower().endswith(".csv.gz"):
                return _csv(stream, max(FREE, RATIO * size), where), None
        raise DataError(f"{where}: is a gzip file that holds neither IDX nor, by its name, CSV. Read are {ACCEPTED}.")
    if name.lower().endswith(".csv"):
        return _csv(file, None, where), None
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
        names = [name for name in members if name not in LABELS]
        chosen = next((name for name in ("X", "images") if name in members), names[0] if len(names) == 1 else None)
        if chosen is None:
            listed = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "") or "no arrays"
            raise DataError(f"{where}: holds {listed}, and none is called X or images. Save the wanted one as X.")
        X = _member(archive, members[chosen], size, f"{where}: array {chosen!r}")
        label = next((name for name in LABELS if name in members), None)
        if label is None:
            return X, None
        y = _member(archive, members[label], size, f"{where}: array {label!r}", kinds="biufU")
        if y.shape != X.shape[:1]:
            raise DataError(
                f"{where}: {label} has shape {y.shape}, {chosen} has shape {X.shape}. Save one label per row."
            )
        return X, y


def _member(archive, info, size, where, kinds="biuf"):
    # 0 is stored, 8 is deflate, which is what NumPy writes; zipfile unpacks bzip2 and LZMA in unbounded pieces.
    if info.compress_type not in (0, 8):
        raise DataError(f"{where}: is packed in a way that NumPy does not write. Save it with np.savez.")
    with archive.open(info) as stream:
        data = _take(stream, 1 << 16)
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


def _csv(stream, room, where):
    """Numbers between commas -> (rows, columns) float64. `room`: what a packed file may become, as text and as values.

    A first line without any number in it is a header and is skipped; blank lines are, too. Speed: NumPy's own parser
    reads a block of lines at a time, and the lines are looked at in Python only to find out why it refused.
    """
    import io

    values, columns, number, seen, header = bytearray(), None, 1, 0, True
    with io.TextIOWrapper(stream, encoding="utf-8-sig") as text:
        while block := text.read(CHUNK):
            if block[-1] != "\n":
                rest = text.readline(LINE)
                if len(rest) == LINE:
                    raise DataError(f"{where}: has a line of more than {LINE} characters. Write one row per line.")
                block += rest
            seen += len(block)
            if room is not None and max(seen, len(values)) > room:
                raise DataError(
                    f"{where}: unpacks to more than {room} bytes, like a decompression bomb. If it is none, unpack it."
                )
            lines = block.split("\n")
            count = block.count("\n")
            if header and not block.isspace():
                header = False
                first = next(i for i, line in enumerate(lines) if line.strip())
                if not any(map(_is_number, lines[first].split(","))):
                    lines[first] = ""  # blanked, not removed: the line numbers stay true
            rows = [line for line in lines if line and not line.isspace()]
            if rows:
                columns = columns or rows[0].count(",") + 1
                values.extend(memoryview(_parse(rows, lines, number, columns, where)).cast("B"))
                if len(values) > LIMIT:
                    raise DataError(
                        f"{where}: has over {LIMIT >> 30} GiB of values. Save it as .npy, which is memory-mapped."
                    )
            number += count
    if not values:
        raise DataError(f"{where}: has no rows. Give at least one line of numbers.")
    return np.frombuffer(values, np.float64).reshape(-1, columns)


def _parse(rows, lines, number, columns, where):
    try:
        block = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
        if block.shape[1] == columns:
            return block
        reason = "its lines differ in length"
    except ValueError as error:
        reason = _one_line(error)
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        cells = line.split(",")
        for column, cell in enumerate(cells, 1):
            if not _is_number(cell):
                raise DataError(
                    f"{where}: line {number + i}, column {column} is {_short(cell)}, not a number. "
                    "Only a first line without any number may hold text, and cells are separated by commas."
                )
        if len(cells) != columns:
            raise DataError(
                f"{where}: line {number + i} has {len(cells)} columns, those above have {columns}. Make them equal."
            )
    raise DataError(f"{where}: cannot be read as numbers ({reason}). Save it again as plain CSV.")


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # 1_000 is a number to Python only


def _short(text):
    text = text.strip()
    return repr(text if len(text) <= 30 else text[:27] + "...") if text else "empty"


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


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__


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
