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
from tinyae.errors import DataError, DataNotFoundError, SettingError, excerpt
from tinyae.formats import bad_values, read, read_all

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


def npz_of(*files):
    """An archive of files of any name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
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
    assert message.isprintable() and message.startswith(f"load_data({str(path)!r}): ") and message.endswith(".")
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


@pytest.mark.parametrize(
    ("name", "text", "X", "y"),
    [
        ("a.csv", "a;b\n1,5;2,5\n3;4\n", [[1.5, 2.5], [3, 4]], None),
        ("a.csv", '"a";"b"\n"1,5";"2"\n"3";"4"\n', [[1.5, 2], [3, 4]], None),
        ("a.csv", "sep=;\n1;2,5\n", [[1, 2.5]], None),
        ("a.csv", "a;b\n0,125;-1,5e3\n", [[0.125, -1500]], None),
        ("a.csv", "a;b\n1.5;2\n", [[1.5, 2]], None),
        ("a.csv", "a|b\n1|2\n", [[1, 2]], None),
        ("a.csv", "a\tb\n1,5\t2\n", [[1.5, 2]], None),
        ("a.TSV", "a\tb\n1\t2\n", [[1, 2]], None),
        ("a.tsv.gz", "a\tb\n1\t2\n", [[1, 2]], None),
        ("a.txt", "# a b\n 1  2\n3\t4 \n# end\n", [[1, 2], [3, 4]], None),
        ("a.txt", "1, 2\n3, 4\n", [[1, 2], [3, 4]], None),
        ("a.data", "1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("a.dat", "1 2\n", [[1, 2]], None),
        ("a.csv", '"1","2"\n"3",4\n', [[1, 2], [3, 4]], None),
        ("a.csv", '"a,b",c\n1,2\n', [[1, 2]], None),
        ("a.csv", '"a ""b""",c\n1,2\n', [[1, 2]], None),
        ("a.csv", "a,a\n1,2\n", [[1, 2]], None),
        ("a.csv", "x,y\n1,2\n", [[1, 2]], None),
        ("a.csv", "label\n1\n2\n", [[1], [2]], None),
        ("a.csv", "0,1,2\n", [[0, 1, 2]], None),
        ("a.csv", "label,a,b\n5,1,2\n7,3,4\n", [[1, 2], [3, 4]], [5, 7]),
        ("a.csv", "a,Target,b\n1,2.5,2\n3,-1,4\n", [[1, 2], [3, 4]], [2.5, -1]),
        ("a.csv", "a,b,CLASS\n1,2,cat\n3,4,dog\n5,6,cat\n", [[1, 2], [3, 4], [5, 6]], ["cat", "dog", "cat"]),
        ("a.csv", 'a,b,labels\n1,2,"cat, small"\n3,4,-\n', [[1, 2], [3, 4]], ["cat, small", "-"]),
        ("a.csv", "x1,x2,y\n1,2,0\n", [[1, 2]], [0]),
        ("a.csv", "0,1,label\n1,2,0\n", [[1, 2]], [0]),
        ("a.csv", "a;label\n2,5;x,y.z\n3,5;w\n", [[2.5], [3.5]], ["x,y.z", "w"]),
        ("a.csv", "label;a\n1.5;2,5\n", [[2.5]], [1.5]),
        ("a.txt", "# a,label\n1,2\n", [[1]], [2]),
        ("a.csv", "a,label\n1,123456789012345678\n1,123456789012345679\n", [[1], [1]],
         ["123456789012345678", "123456789012345679"]),
    ],
)  # fmt: skip
def test_text_as_people_have_it(tmp_path, name, text, X, y):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be"):
        data = (b"\xfe\xff" if encoding == "utf-16-be" else b"") + text.encode(encoding)
        found = read_all(save(tmp_path, name, gzip.compress(data) if name.endswith("gz") else data))
        assert found.X.tolist() == X and found.X.dtype == np.float64 and found.notes == ()
        assert (None if found.y is None else found.y.tolist()) == y
        assert y is None or type(found.y.tolist()[0]) is type(y[0])


@pytest.mark.parametrize(
    ("text", "X", "note"),
    [
        ("0,1,2\n.5,1,2\n", [[0.5, 1, 2]], "line 1, which counts up from 0, is taken for names of columns"),
        (",a,b\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]], "has no name and counts up: an index, left out"),
        (",0,1\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]], "has no name and counts up: an index, left out"),
        ("Unnamed: 0,a\n3,5\n4,7\n", [[5], [7]], "has no name and counts up: an index, left out"),
        ('"a","b"\n"1",5,6\n"2",7,8\n', [[5, 6], [7, 8]], "has no name and counts up: an index, left out"),
        (";a;b\n0;1,5;6\n1;7;8\n", [[1.5, 6], [7, 8]], "has no name and counts up: an index, left out"),
        (",a\n7,5\n3,6\n", [[7, 5], [3, 6]], "has no name and is read as a feature"),
        ("Id,a\n1,5\n2,6\n", [[1, 5], [2, 6]], "counts up and is read as a feature"),
        ("2019,2020,2021\n.5,1,2\n", [[2019, 2020, 2021], [0.5, 1, 2]], "counts up from 2019, is read as a row"),
        ("".join(f"{i},.5\n" for i in range(12)), [[i, 0.5] for i in range(12)], "counts up and is read as a feature"),
    ],
)
def test_what_is_guessed_is_said(tmp_path, text, X, note):
    found = read_all(save(tmp_path, "a.csv", text.encode()))
    assert found.X.tolist() == X and len(found.notes) == 1 and note in found.notes[0]


@pytest.mark.parametrize(
    ("text", "options", "X"),
    [
        ("0,1\n1,0\n", {"header": False}, [[0, 1], [1, 0]]),
        ("0,1\n1,0\n", {"header": True}, [[1, 0]]),
        ("2019,2020\n1,0\n", {"header": True}, [[1, 0]]),
        ("1,234;2,5\n", {"decimal": ","}, [[1.234, 2.5]]),
        ("1,234;2,345\n", {"decimal": ","}, [[1.234, 2.345]]),
        ("1 2\n3  4\n", {"delimiter": " "}, [[1, 2], [3, 4]]),
        ("1:2\n3:4\n", {"delimiter": ":"}, [[1, 2], [3, 4]]),
        ('"1,5","2"\n', {"decimal": ",", "delimiter": ","}, [[1.5, 2]]),
    ],
)
def test_text_as_it_is_said(tmp_path, text, options, X):
    assert read_all(save(tmp_path, "a.csv", text.encode()), **options).X.tolist() == X


@pytest.mark.parametrize("seed", range(3))
def test_cell_by_cell_is_what_the_fast_way_means(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    table, labels = rng.normal(size=(50, 4)) * 10.0 ** rng.integers(-20, 20, (50, 4)), rng.integers(0, 3, 50)
    for delimiter, at, decimal in ((",", 0, "."), (";", 4, ","), ("\t", None, ","), (" ", None, "."), (" ", 0, ".")):
        rows = [[repr(x).replace(".", decimal) for x in row] for row in table.tolist()]
        names = list("abcd")
        if at is not None:
            names.insert(at, "label")
            for row, label in zip(rows, labels.tolist()):
                row.insert(at, str(label))
        text = "\n".join(delimiter.join(row) for row in [names, *rows])
        path = save(tmp_path, "a.txt", text.encode())
        fast = read_all(path)
        with monkeypatch.context() as patch:
            patch.setattr(np, "loadtxt", lambda *_, **__: ())
            slow = read_all(path)
        for found in (fast, slow):
            np.testing.assert_array_equal(found.X, table)
            assert found.y is None if at is None else found.y.tolist() == labels.tolist()


@pytest.mark.parametrize(("header", "shape"), [
    ("pixel0,pixel1,pixel2,pixel3", (2, 2)), ("1x1,1x2,2x1,2x2", (2, 2)), ("1x1,1x2,1x3,1x4", (1, 4)),
    ("pixel_0_0,pixel_0_1,pixel_1_0,pixel_1_1", (2, 2)), ("px1,px2,px3,px5", (2, 2)), ("1x1,1x2,2x1,3x1", None),
])  # fmt: skip
def test_columns_of_pixels_are_an_image_of_bytes(tmp_path, header, shape):
    text = f"label,{header}\n5,0,255,3,4\n7,1,1,0,0\n"
    found = read_all(save(tmp_path, "a.csv", text.encode()))
    assert found.X.dtype == np.uint8 and found.X.tolist() == [[0, 255, 3, 4], [1, 1, 0, 0]]
    assert found.y.tolist() == [5, 7] and found.image_shape == shape
    for other in ("0.5,255,3,4", "-1,255,3,4", "0,256,3,4", "0,16,3,4"):  # no bytes, or none of 256 greys
        assert read_all(save(tmp_path, "a.csv", f"{header}\n{other}\n".encode())).X.dtype == np.float64
    assert read_all(save(tmp_path, "a.csv", b"pixel1,pixel0\n0,255\n")).image_shape is None


def test_npz_as_people_have_it(tmp_path):
    test, y = TABLE[:2] + 1, np.arange(4)
    for members in (
        {"x_train": TABLE, "y_train": y, "x_test": test, "y_test": y[:2]},  # Keras
        {"train_images": TABLE, "train_labels": y[:, None], "test_images": test, "test_labels": y[:2, None]},
        {"X_train": TABLE, "Y_train": y, "X_test": test, "Y_test": y[:2]},
        {"data": TABLE, "target": y, "data_test": test, "target_test": y[:2]},
    ):
        found = read_all(save(tmp_path, "a.npz", npz(**members)))
        for part, array in zip(found, (TABLE, y, test, y[:2])):
            np.testing.assert_array_equal(part, array)
        assert found.notes == ()
    for label in ("y", "label", "Labels", "TARGET", "targets", "class", "y_train", "labels_train"):
        X, y_found = read(save(tmp_path, "a.npz", npz(X=TABLE, **{label: y})))
        np.testing.assert_array_equal(y_found, y)
    np.testing.assert_array_equal(read(save(tmp_path, "a.npz", npz(arr_0=TABLE)))[0], TABLE)
    np.testing.assert_array_equal(read(save(tmp_path, "a.npz", npz(x_test=TABLE, y_test=y)))[0], TABLE)
    found = read_all(save(tmp_path, "a.npz", npz(X=TABLE, species=y, names=np.array(["a", "b", "c"]), bad=b"")))
    assert found.y is None and len(found.notes) == 1 and "read as X is 'X'; left out: 'species'." in found.notes[0]


def test_options_of_text_with_what_is_none(tmp_path):
    path = save(tmp_path, "a.npy", npy(TABLE))
    with pytest.raises(SettingError, match="is no text by its name, and delimiter, header only matters"):
        read_all(path, delimiter=";", decimal=None, header=False)


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
    "text under another name": ("a.bin", b"1,2\n3,4\n", "no known format"),
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
    "npz of an archive": ("a.npz", npz_of(("b.npz", npz(X=ONES))), "is an archive that holds 'b.npz' and no arrays"),
    "zip of text": ("a.zip", npz_of(("train.csv", b"1,2\n")), "is an archive that holds 'train.csv' and no arrays"),
    "npz named as an array": ("a.npz", npz(X=npz(X=ONES)), "array 'X': is no array inside"),
    "gzip of npz": ("a.npz.gz", gzip.compress(npz(X=ONES)), "holds another packed or NumPy file. Unpack it"),
    "gzip of npy": ("a.npy.gz", gzip.compress(npy(ONES)), "holds another packed or NumPy file. Unpack it"),
    "gzip of gzip": ("a.csv.gz", gzip.compress(gzip.compress(b"1,2\n")), "holds another packed or NumPy file"),
    "npz test of another width": ("a.npz", npz(x_train=ONES, x_test=ONES[:, :9]), "x_test is (10, 9) uint8. Save both"),
    "npz test of another kind": ("a.npz", npz(x_train=ONES, x_test=ONES / 255), "x_test is (10, 10) float64. Save"),
    "npz test labels": ("a.npz", npz(X=ONES, x_test=ONES, y_test=np.arange(3)), "y_test has shape (3,), x_test has"),
    "npz one-hot labels": ("a.npz", npz(X=ONES, label=np.eye(10)), "label has shape (10, 10), X has shape (10, 10)"),
    "npz escapes": ("a.npz", npz(**{"a\x1b[31m": ONES, "b" * 99: ONES}), "holds 'a\\x1b[31m', 'bbbbbbb"),
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
    "csv spaces": ("a.csv", b"1 2\n3 4\n5 6\n", "line 1, column 1 is '1 2', not a plain number"),
    "csv missing NA": ("a.csv", b"1,2\n3,NA\n", "line 2, column 2 is 'NA', a missing value"),
    "csv missing NaN": ("a.csv", b"1,2\n\n3,NaN\n", "line 3, column 2 is 'NaN', a missing value"),
    "csv missing ?": ("a.csv", b"1,2\n?,2\n", "line 2, column 1 is '?', a missing value"),
    "csv missing null": ("a.csv", b"1,2\nnull,2\n", "line 2, column 1 is 'null', a missing value"),
    "csv missing -": ("a.csv", b"1,2\n1,-\n", "line 2, column 2 is '-', a missing value"),
    "csv missing None": ("a.csv", b"a,b\n1,None\n", "line 2, column 2 is 'None', a missing value"),
    "csv first row missing": ("a.csv", b"?,NA\n1,2\n", "line 1, column 1 is '?', a missing value"),
    "csv missing label": ("a.csv", b"label,b\n,1\n", "line 2, column 1 is empty, a missing value"),
    "csv long label": ("a.csv", b"label,b\n" + b"x" * 101 + b",1\n", "a label of 101 characters"),
    "csv infinite": ("a.csv", b"1,2\n3,-inf\n", "line 2, column 2 is '-inf', which is not finite"),
    "csv too large": ("a.csv", b"1,2\n3,1e999\n", "line 2, column 2 is '1e999', beyond what a float64 holds"),
    "csv thousands": ("a.csv", b'a,b\n"1,000",2\n', "line 2, column 1 is '1,000', not a plain number"),
    "csv points and commas": ("a.csv", b"a;b\n2;1.234,5\n", "line 2, column 2 is '1.234,5', not a plain number"),
    "csv both signs": ("a.csv", b"a;b\n1.5;2\n2;1,5\n", "line 3, column 2 is '1,5', not a plain number"),
    "csv thousands or decimals": ("a.csv", b"1;2,345\n1,234;5\n", "line 1, column 2 is '2,345': a decimal comma or"),
    "csv thousands by spaces": ("a.csv", b"1 000;2 000\n500;600\n", "line 1, column 1 is '1 000', not a plain"),
    "csv truth": ("a.csv", b"1,true\n2,false\n", "line 1, column 2 is 'true', not a number"),
    "csv hexadecimal": ("a.csv", b"1,2\n1,0x1F\n", "line 2, column 2 is '0x1F', not a number"),
    "csv date": ("a.csv", b"t,x\n2020-01-31,2\n", "line 2, column 1 is '2020-01-31', not a number"),
    "csv unit": ("a.csv", b"1,2\n5%,$3\n", "line 2, column 1 is '5%', not a plain number"),
    "csv other digits": ("a.csv", "1,2\n1,\uff11\n".encode(), "line 2, column 2 is '\uff11', not a plain number"),
    "csv NUL": ("a.csv", b"1,2\n1,\0002\n", "line 2, column 2 is '\\x002', with NUL bytes, as UTF-16 without"),
    "csv escapes": ("a.csv", b"1,2\n1,\x1b[31mred\n", "line 2, column 2 is '\\x1b[31mred', not a number"),
    "csv open quote": ("a.csv", b'1,2\n1,"2\n3",4\n', "line 2 has a quote that is not closed"),
    "csv short header": ("a.csv", b"a,b\n5,2,3\n5,5,6\n", "line 1, the header, names 2 columns, line 2 has 3"),
    "csv long header": ("a.csv", b"\na,b,c\n1,2\n", "line 2, the header, names 3 columns, line 3 has 2"),
    "csv trailing commas": ("a.csv", b"a,b,\n1,2,\n", "line 2, column 3 is empty"),
    "csv header or row": ("a.csv", b"0,1,2\n3,4,5\n", "line 1 is 0, 1, ..., 2: names of columns or a row"),
    "csv two labels": ("a.csv", b"a,Label,class\n1,2,3\n", "columns 'Label', 'class' may all be the labels"),
    "csv names of rows": ("a.csv", b',b\n"Mazda RX4",2\n', "line 2, column 1 is 'Mazda RX4', not a number"),
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
            r"load_data\('.*'\): (.+?)[.;?] ([A-Z].+)\.", refusal(save(tmp_path, name, data))
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


@pytest.mark.parametrize(("value", "shown"), [
    ("abc", "abc"), ("a\n b\tc", "a b c"), ("\x1b[31m\u202e\ud800", "\\x1b[31m\\u202e\\ud800"),
    ("x" * 61, "x" * 57 + "..."),
    ("x" * 60, "x" * 60), ("\0" * 10**7, "\\x00" * 14 + "\\..."), (["\0"] * 3, "['\\x00', '\\x00', '\\x00']"),
])  # fmt: skip
def test_excerpt(value, shown):
    assert excerpt(value) == shown and len(shown) <= 60
