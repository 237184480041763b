"""tinyae/formats.py: what each format gives, and that a hostile file costs one sentence and no memory."""

import gzip
import io
import os
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from tinyae import formats
from tinyae.errors import DataError, DataNotFoundError
from tinyae.formats import bad_values, read

MB = 1 << 20


def idx(array, code=None):
    codes = {np.dtype(text): code for code, text in formats.IDX_DTYPES.items()}
    code = codes[array.dtype.newbyteorder(">")] if code is None else code
    return idx_header(code, array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def idx_header(code, shape):
    return bytes([0, 0, code, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape)


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npy_header(shape, descr="|u1", fortran=False):
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def npz(compression=zipfile.ZIP_DEFLATED, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data if isinstance(data, bytes) else npy(data))
    return buffer.getvalue()


def save(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(path, cls=DataError):
    """The message of the error, which is one sentence or two on one line and begins with the file's name."""
    with pytest.raises(DataError) as caught:
        read(path)
    assert type(caught.value) is cls
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"load_data({str(path)!r}): ") and message.endswith(".")
    return message


TABLE = np.arange(12).reshape(4, 3)


# ------------------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_of_every_dtype(tmp_path, dtype, packed):
    array = (np.arange(24) - 7).astype(dtype).reshape(2, 3, 4)
    data = idx(array)
    X, y = read(save(tmp_path, "a-idx3", gzip.compress(data) if packed else data))
    assert y is None and X.dtype == np.dtype(dtype) and X.dtype.isnative and X.flags.writeable
    np.testing.assert_array_equal(X, array)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (2, 1, 3, 1, 2)])
def test_idx_of_every_rank(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(read(save(tmp_path, "a", idx(array)))[0], array)


def test_npy_is_memory_mapped_and_read_only(tmp_path):
    X, y = read(save(tmp_path, "a.npy", npy(TABLE.astype(np.float32))))
    assert isinstance(X, np.memmap) and not X.flags.writeable and y is None
    np.testing.assert_array_equal(X, TABLE)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_and_npz_keep_the_order(tmp_path, order):
    array = np.asarray(TABLE, order=order, dtype=">i4")
    for name, data in (("a.npy", npy(array)), ("a.npz", npz(X=array))):
        np.testing.assert_array_equal(read(save(tmp_path, name, data))[0], TABLE)


def test_npy_of_version_2(tmp_path):
    head = npy_header((4, 3))
    data = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(head) - 10) + head[10:] + TABLE.astype(np.uint8).tobytes()
    np.testing.assert_array_equal(read(save(tmp_path, "a.npy", data))[0], TABLE)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_npz_chooses(tmp_path, compression):
    other = TABLE + 1
    for members in (
        {"X": TABLE, "b": other},
        {"b": other, "images": TABLE},
        {"c": TABLE},
        {"images": other, "X": TABLE},
    ):
        X, y = read(save(tmp_path, "a.npz", npz(compression, **members)))
        np.testing.assert_array_equal(X, TABLE)
        assert y is None
    for label in ("y", "labels", "target"):
        X, y = read(save(tmp_path, "a.npz", npz(compression, table=TABLE, **{label: np.arange(4)})))
        np.testing.assert_array_equal(X, TABLE)
        np.testing.assert_array_equal(y, np.arange(4))


def test_npz_larger_than_a_chunk(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, (3, MB), dtype=np.uint8)
    np.testing.assert_array_equal(read(save(tmp_path, "a.npz", npz(X=array)))[0], array)


@pytest.mark.parametrize(
    "text",
    ["1,2\n3,4.5\n", "1,2\r\n3,4.5", "a,b\n1,2\n3,4.5\n", "\n,a b\n\n1,2\n\n3, 4.5 \n \n", "\ufeff1,2\n3,45e-1\n"],
    ids=["plain", "crlf", "header", "blank lines", "byte order mark"],
)
@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.csv.gz"])
def test_csv(tmp_path, text, name):
    data = text.encode()
    X, y = read(save(tmp_path, name, gzip.compress(data) if name.endswith("gz") else data))
    assert X.dtype == np.float64 and y is None
    np.testing.assert_array_equal(X, [[1, 2], [3, 4.5]])


@pytest.mark.parametrize(("text", "shape"), [("5\n", (1, 1)), ("5\n6\n", (2, 1)), ("5,6\n", (1, 2))])
def test_csv_of_one_row_or_column(tmp_path, text, shape):
    assert read(save(tmp_path, "a.csv", text.encode()))[0].shape == shape


def test_csv_in_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "CHUNK", 50)  # cuts inside of lines
    table = np.random.default_rng(0).normal(size=(40, 3))
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    X, _ = read(save(tmp_path, "a.csv", ("a,b,c\n" + "\n".join(lines)).encode()))
    np.testing.assert_array_equal(X, table)
    lines[30] = "1,2,x"
    assert "line 32, column 3 is 'x'" in refusal(save(tmp_path, "b.csv", ("a,b,c\n" + "\n".join(lines)).encode()))
    lines[30] = "1,2"
    assert "line 32 has 2 columns, those above have 3" in refusal(
        save(tmp_path, "c.csv", ("a,b,c\n" + "\n".join(lines)).encode())
    )
    # 36 lines are four blocks: what follows is a block of its own, in which nothing is odd.
    same = "1,2,3\n" * 36
    assert "line 37 has 2 columns" in refusal(save(tmp_path, "d.csv", (same + "1,2\n" * 9).encode()))
    assert "line 37, column 1 is 'a'" in refusal(save(tmp_path, "e.csv", (same + "a,b,c\n" + same).encode()))


def test_content_counts_more_than_the_name(tmp_path):
    for name, data in (("a.csv", npy(TABLE)), ("a.npy", npz(X=TABLE)), ("a.npz", idx(TABLE.astype("i4")))):
        np.testing.assert_array_equal(read(save(tmp_path, name, data))[0], TABLE)


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.fixture
def peak():
    """The most memory that Python and NumPy held at once during the test, asked at its end."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


ONES = np.ones((10, 10), np.uint8)
HOSTILE = {
    "empty": ("a.npz", b"", "is an empty file"),
    "unknown": ("a.bin", b"hello, world", "begins with b'hello,'"),
    "text under another name": ("a.txt", b"1,2\n3,4\n", "no known format"),
    "gzip of something else": ("a.gz", gzip.compress(b"hello"), "neither IDX nor"),
    "gzip of nothing": ("a.gz", gzip.compress(b""), "neither IDX nor"),
    # IDX
    "idx truncated": ("a-idx2", idx(ONES)[:-1], "shape (10, 10), 100 bytes, but holds 99"),
    "idx too long": ("a-idx2", idx(ONES) + b"1", "100 bytes, but holds 101"),
    "idx.gz truncated inside": ("a.gz", gzip.compress(idx(ONES)[:-1]), "100 bytes, but holds 99"),
    "idx.gz too long": ("a.gz", gzip.compress(idx(ONES) + b"1"), "100 bytes, but holds more"),
    "idx header cut": ("a-idx3", idx_header(8, (1, 2, 3))[:10], "ends inside its IDX header"),
    "idx of 10^18": ("a-idx3", idx_header(8, (10**6,) * 3) + b"1" * 99, "promises shape (1000000, 1000000, 1000000)"),
    "idx.gz of 10^18": ("a.gz", gzip.compress(idx_header(8, (10**6,) * 3)), f"promises {10**18} bytes, and the limit"),
    "idx.gz of 1 GiB": ("a.gz", gzip.compress(idx_header(8, (1 << 15,) * 2)), "like a decompression bomb"),
    "idx.gz of 60 MiB": ("a.gz", gzip.compress(idx_header(8, (60, MB)) + b"1" * 9), "62914560 bytes, but holds 9"),
    "idx of rank 0": ("a-idx0", idx_header(8, ()), "has 0 axes"),
    "idx of rank 200": ("a-idx", idx_header(8, (1,) * 200) + b"1", "has 200 axes"),
    "idx without rows": ("a-idx2", idx_header(8, (0, 4294967295, 4294967295)), "has no rows, its shape is (0,"),
    "idx without features": ("a-idx2", idx_header(8, (4, 0)), "has no features, its shape is (4, 0)"),
    "gzip cut": ("a.gz", gzip.compress(idx(ONES))[:-9], "ends in the middle"),
    "gzip checksum": ("a.gz", gzip.compress(idx(ONES))[:-8] + b"12345678", "CRC check failed"),
    "gzip bomb": ("a.gz", gzip.compress(idx(ONES) + bytes(100 * MB), 1), "100 bytes, but holds more"),
    "gzip bomb without promise": ("a.csv.gz", gzip.compress(bytes(100 * MB), 1), "has a line of more than"),
    # npy
    "npy of objects": ("a.npy", npy(np.array([[1, None]])), "Python objects, which are never unpickled"),
    "npy truncated": ("a.npy", npy(ONES)[:-1], "shape (10, 10), 100 bytes, but holds 99"),
    "npy too long": ("a.npy", npy(ONES) + b"1", "100 bytes, but holds 101"),
    "npy of 10^18": ("a.npy", npy_header((10**9, 10**9)) + b"1", f"{10**18} bytes, but holds 1"),
    "npy below zero": ("a.npy", npy_header((-1, -1)) + b"1", "promises shape (-1, -1)"),
    "npy without rows": ("a.npy", npy(ONES[:0]), "has no rows, its shape is (0, 10)"),
    "npy without features": ("a.npy", npy(ONES[:, :0]), "has no features"),
    "npy of 0-d": ("a.npy", npy(np.array(3.0)), "has 0 axes"),
    "npy complex": ("a.npy", npy(ONES * 1j), "has dtype complex128"),
    "npy strings": ("a.npy", npy(np.array([["a", "b"]])), "has dtype <U1"),
    "npy dates": ("a.npy", npy(np.array([["2020-01-01"]], "M8[D]")), "has dtype datetime64"),
    "npy structured": ("a.npy", npy(np.zeros((2, 2), "i4,f4")), "not real numbers"),
    "npy of version 9": ("a.npy", b"\x93NUMPY\x09\x00" + npy(ONES)[8:], "version 9.0"),
    "npy header cut": ("a.npy", npy(ONES)[:40], "cannot be read"),
    "npy header of 4 GiB": ("a.npy", b"\x93NUMPY\x02\x00" + b"\xff" * 4 + b"{" * 99, "cannot be read"),
    "npy header code": ("a.npy", npy(ONES).replace(b"False", b"f()  "), "cannot be read"),
    # npz
    "npz of objects": (
        "a.npz",
        npz(X=np.array([[1, None]])),
        "array 'X': holds Python objects, which are never unpickled",
    ),
    "npz ambiguous": ("a.npz", npz(a=ONES, b=ONES, y=ONES), "holds 'a', 'b', and none is called X or images"),
    "npz with many": ("a.npz", npz(**{f"a{i}": b"" for i in range(50)}), "'a19', ..., and none"),
    "npz without arrays": ("a.npz", npz(), "holds no arrays"),
    "npz labels": ("a.npz", npz(X=ONES, y=np.arange(9)), "y has shape (9,), X has shape (10, 10)"),
    "npz object labels": ("a.npz", npz(X=ONES, y=np.array([None] * 10)), "array 'y': holds Python objects"),
    "npz cut": ("a.npz", npz(X=ONES)[:-30], "cannot be read (File is not a zip file)"),
    "npz of 10^18": ("a.npz", npz(X=npy_header((10**9, 10**9))), f"{10**18} bytes, but holds 0"),
    "npz bomb": ("a.npz", npz(X=npy_header((100, MB)) + bytes(100 * MB)), "like a decompression bomb"),
    "npz bomb aside": ("a.npz", npz(X=npy(ONES) + bytes(100 * MB)), "but holds 104857700"),
    "npz with bzip2": ("a.npz", npz(zipfile.ZIP_BZIP2, X=ONES), "packed in a way that NumPy does not write"),
    "npz encrypted": (
        "a.npz",
        npz(X=ONES).replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
        "encr",
    ),
    "npz checksum": ("a.npz", npz(zipfile.ZIP_STORED, X=ONES).replace(b"\1" * 100, b"\1" * 99 + b"\2"), "Bad CRC-32"),
    # CSV
    "csv text": ("a.csv", b"1,2\n3,abc\n", "line 2, column 2 is 'abc', not a number"),
    "csv text in line 1": ("a.csv", b"1,abc\n3,4\n", "line 1, column 2 is 'abc'"),
    "csv two headers": ("a.csv", b"a,b\nc,d\n3,4\n", "line 2, column 1 is 'c'"),
    "csv long text": ("a.csv", b"1\n" + b"x" * 99, f"line 2, column 1 is '{'x' * 27}...', not"),
    "csv gap": ("a.csv", b"1,2\n3,\n", "line 2, column 2 is empty"),
    "csv ragged": ("a.csv", b"1,2\n\n3,4,5\n", "line 3 has 3 columns, those above have 2"),
    "csv semicolons": ("a.csv", b"1;2\n3;4\n5;6\n", "line 2, column 1 is '3;4', not a number"),
    "csv underscore": ("a.csv", b"1\n1_000\n", "line 2, column 1 is '1_000'"),
    "csv header only": ("a.csv", b"a,b\n", "has no rows"),
    "csv blank": ("a.csv", b"\n \n", "has no rows"),
    "csv not utf-8": ("a.csv", b"1,2\n\xff\xfe\n", "is not text in UTF-8"),
    "csv of one line": ("a.csv", b"1," * (4 * MB), "has a line of more than 4194304 characters"),
}


@pytest.mark.parametrize(("name", "data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_file(tmp_path, peak, name, data, reason):
    path = save(tmp_path, name, data)
    before = peak()
    message = refusal(path)
    assert reason in message
    assert peak() - before < 20 * MB  # the CSV of one line: a block, its line and the sum of both


def test_csv_bomb(tmp_path, monkeypatch, peak):
    monkeypatch.setattr(formats, "FREE", MB)
    monkeypatch.setattr(formats, "RATIO", 10)
    monkeypatch.setattr(formats, "CHUNK", MB >> 4)
    for text in (b"0." + b"0" * 997 + b"\n", b"0,0\n"):  # more text than numbers, and the other way round
        bomb = save(tmp_path, "a.csv.gz", gzip.compress(text * (16 * MB // len(text))))
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert "unpacks to more than 1048576 bytes" in refusal(bomb)
        assert peak() - before < 5 * MB
    # As large, but not suspicious: random digits.
    text = "\n".join(map(str, np.random.default_rng(0).integers(0, 10**9, 200_000))).encode()
    assert len(text) > MB
    assert read(save(tmp_path, "b.csv.gz", gzip.compress(text)))[0].shape == (200_000, 1)


def test_limit_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "LIMIT", 99)
    for name, data in (("a-idx2", idx(ONES)), ("a.npz", npz(X=ONES)), ("a.csv", b"1,2\n" * 7)):
        assert "GiB" in refusal(save(tmp_path, name, data))
    assert read(save(tmp_path, "a.npy", npy(ONES)))[0].shape == (10, 10)  # on the disk there is no limit


def test_damaged_at_random(tmp_path, peak):
    """A thousand damaged files: an array or a DataError, and no memory to speak of."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    refused = 0
    for name, data in (
        ("a-idx2", idx(array)),
        ("a.gz", gzip.compress(idx(array))),
        ("a.npy", npy(array)),
        ("a.npz", npz(X=array, y=np.arange(20))),
        ("a.csv", b"a,b\n1,2\n3,4\n"),
    ):
        for _ in range(200):
            damaged = bytearray(data)
            for at in rng.integers(0, min(len(data), 200), rng.integers(1, 4)):
                damaged[at] = rng.integers(0, 256)
            del damaged[rng.integers(1, len(data) * 4) :]
            try:
                read(save(tmp_path, name, damaged))
            except DataError:
                refused += 1
    assert 500 < refused < 1000
    assert peak() < 10 * MB


def test_what_is_no_file(tmp_path):
    assert "is a folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "missing.npz", DataNotFoundError)
    path = save(tmp_path, "a.npz", b"")
    assert "Not a directory" in refusal(path / "b.npz")
    with pytest.raises(DataError, match="null byte|embedded null"):
        read("a\0b")


def test_line_break_in_a_name(tmp_path):
    refusal(tmp_path / "a\nb.npz", DataNotFoundError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_pipe_and_device(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")  # opening it would wait for ever
    assert "is a pipe or a device" in refusal(tmp_path / "pipe.csv")
    assert "is a pipe or a device" in refusal("/dev/zero")


def test_permission_denied(tmp_path, monkeypatch):
    path = save(tmp_path, "a.npy", npy(ONES))

    def deny(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", deny)  # chmod does not stop root
    assert "permission to read it is denied" in refusal(path)


def test_out_of_memory(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(formats, "_take", fail)
    assert "does not fit into memory" in refusal(save(tmp_path, "a-idx2", idx(ONES)))


def test_files_are_closed(tmp_path, recwarn):
    """A leaked handle would warn (ResourceWarning), and on Windows keep the file from being deleted."""
    for name, data in (
        ("a-idx2", idx(ONES)),
        ("a.gz", gzip.compress(idx(ONES))),
        ("a.npz", npz(X=ONES)),
        ("a.csv", b"1\n"),
    ):
        read(save(tmp_path, name, data))
        (tmp_path / name).unlink()
    assert not recwarn.list


# ------------------------------------------------------------------------------------------------ bad values


@pytest.mark.parametrize("order", ["C", "F"])
def test_bad_values(monkeypatch, order):
    monkeypatch.setattr(formats, "CHUNK", 7)
    X = np.asarray(np.arange(60.0).reshape(12, 5), order=order)
    assert bad_values(X) == (0, None)
    X[7, 1] = np.nan
    assert bad_values(X) == (1, (7, 1))
    X[4, 3], X[4, 4], X[9, 0] = np.inf, -np.inf, np.nan
    assert bad_values(X) == (4, (4, 3))
    assert bad_values(X.astype(np.float32)) == (4, (4, 3))
    assert bad_values(np.zeros((3, 2), int)) == (0, None)


@pytest.mark.parametrize("order", ["C", "F"])
def test_bad_values_takes_no_copy(peak, order):
    X = np.zeros((8, 4 * MB), np.float16, order=order)
    before = tracemalloc.get_traced_memory()[0]
    X[7, -1] = np.nan
    assert bad_values(X) == (1, (7, 4 * MB - 1))
    assert peak() - before < 6 * MB


def test_messages_say_what_to_do(tmp_path):
    """`where: what happened. What to do.`: the advice is there for every hostile file."""
    for name, data, _ in HOSTILE.values():
        what, advice = re.fullmatch(
            r"load_data\('.*'\): (.+?)[.;] ([A-Z].+)\.", refusal(save(tmp_path, name, data))
        ).groups()
        assert what and advice


def test_labels_may_be_text(tmp_path):
    path = tmp_path / "flowers.npz"
    np.savez(path, X=np.ones((2, 3)), y=np.array(["setosa", "virginica"]))
    X, y = formats.read(path)
    assert X.shape == (2, 3) and y.tolist() == ["setosa", "virginica"]
    np.savez(path, X=np.array([["a", "b"]]))
    with pytest.raises(DataError, match="not real numbers"):
        formats.read(path)
