"""Numbers in text, as spreadsheets, pandas, R and ``np.savetxt`` write them: CSV and its neighbours, read strictly.

    table = parse(stream, "t.csv", chunk=1 << 20, limit=8 << 30)
    table.X, table.y                 # (rows, columns) float64; the column `label`, if a header names one

What it must not know: where the text comes from, what is done with the table. Ring 5, below ``formats.py``.

Note [Read right, or refused]
    The first lines tell the form: what stands between cells, whether a comma is a decimal one, whether a line names
    the columns, which of them is an index or the labels. Where they leave two readings, the file is refused, and the
    error names the argument that decides. Every cell is then a plain number or an error with its line and column:
    no missing values, no thousands separators, no dates, nothing that Python alone calls a number.

    NumPy's parser reads a block of lines at a time. ``_slowly`` is what it means, cell by cell: it reads what NumPy
    cannot (quotes, labels in the middle) and finds what is wrong. pandas would read more, but then a file would mean
    one thing where pandas is installed and another where it is not.
"""

import io
import math
import re
from collections import namedtuple

import numpy as np

from .errors import DataError, excerpt

__all__ = ["LABELS", "Found", "parse"]

LABELS = ("y", "label", "labels", "target", "targets", "class")  # how a column, or an array, of labels is called
LINE = 4 << 20  # characters in one line: a file without line ends must not become one string

Found = namedtuple("Found", "X y X_test y_test image_shape notes", defaults=(None, None, None, None, ()))
Found.__doc__ = "What a file holds: arrays or None, (height, width) of images, and sentences to warn the user by."

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_LIKE_A_NUMBER = re.compile(r"[-+]?[$€£]?[.,]?\d[\d.,'’ _\u00a0\u202f]*(?:[eE][-+]?\d+)?[%€]?")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_MISSING = ("", "na", "n/a", "nan", "#n/a", "null", "none", "nil", "?", "-", "--", ".")
_NO_LABEL = ("", "na", "n/a", "nan", "#n/a", "null")
_PIXEL = re.compile(r"(?:pixel|px)?[ _]?(\d+)(?:[x_](\d+))?", re.IGNORECASE)
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "|": "bars"}


def parse(stream, where, *, chunk, limit, room=None, spaces=False, delimiter=None, decimal=None, header=None):
    """The `Found` in a stream of bytes: UTF-8, or UTF-16 with its mark.

    chunk, limit, room     characters read at a time; bytes that the values may take; the same of a packed file's text
    spaces                 whether spaces may separate cells, unasked
    delimiter              one character; " " is any white space. None: tab, semicolon or comma, by the first lines
    decimal                "." or ","; None: a comma where cells have it and another delimiter leaves no doubt
    header                 whether the first line names the columns; None: if no cell of it looks like a number

    Blank lines and those that begin with # are skipped. A nameless first column that counts up is an index and left
    out, with a note; a column called as in ``LABELS`` is y (``y`` beside ``x`` is a coordinate).

    Errors: DataError, with line and column.
    """
    values, form, number, seen, labels = bytearray(), None, 1, 0, _Labels()
    encoding = "utf-16" if stream.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with io.TextIOWrapper(stream, encoding=encoding) as text:
        while block := text.read(chunk):
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
            lines, count = block.split("\n"), block.count("\n")
            if form is None and any(line.strip() and line[0] != "#" for line in lines):
                form = _Form(lines, number, where, spaces, delimiter, decimal, header)
            # What is no row is blanked, not removed: the line numbers stay true.
            lines = ["" if line.isspace() else line for line in lines]
            if "#" in block:
                lines = ["" if line[:1] == "#" else line for line in lines]
            if any(lines):
                values.extend(memoryview(form.rows(lines, number, labels, quoted='"' in block)).cast("B"))
                if len(values) > limit:
                    raise DataError(
                        f"{where}: has over {limit >> 30} GiB of values. Save it as .npy, which is memory-mapped."
                    )
            number += count
    if not values:
        raise DataError(f"{where}: has no rows. Give at least one line of numbers.")
    return form.table(np.frombuffer(values, np.float64), labels)


class _Labels:
    """The label column: texts are kept once each, rows as their numbers."""

    def __init__(self):
        self.known, self.codes = {}, []

    def add(self, texts):
        known = self.known
        self.codes.append(np.array([known.setdefault(text, len(known)) for text in texts], np.int64))

    def array(self):
        """Whole numbers, numbers, or texts."""
        texts = list(self.known)
        if all(map(_NUMBER.fullmatch, texts)):
            kinds = np.array([float(text) for text in texts])
            if np.abs(kinds).max() >= 2**53:  # numbers that a float cannot tell apart are names
                kinds = np.array(texts)
            elif np.array_equal(kinds, np.rint(kinds)):
                kinds = kinds.astype(np.int64)
        else:
            kinds = np.array(texts)
        return kinds[np.concatenate(self.codes)]


class _Form:
    """How the cells stand in the lines, as the first block tells, and the rows of a block by it."""

    def __init__(self, lines, number, where, spaces, delimiter, decimal, header):
        self.where, self.spaces, self.notes = where, spaces, []
        comment, at = "", 0
        while not lines[at].strip() or lines[at][0] == "#":
            comment = lines[at].lstrip("# ") if lines[at].strip() else comment
            at += 1
        if re.fullmatch("sep=.", lines[at].strip(), re.IGNORECASE):  # how Excel is told
            delimiter, lines[at] = lines[at].strip()[4] if delimiter is None else delimiter, ""
        rows = [i for i, line in enumerate(lines) if line.strip() and line[0] != "#"]
        if not rows:
            raise DataError(f"{where}: has no rows. Give at least one line of numbers.")
        self.delimiter = self._delimiter([lines[i] for i in rows[:100]]) if delimiter is None else delimiter
        first, names = rows[0], None
        cells = self._split(lines[first], number + first)
        following = [(number + i, lines[i]) for i in rows[1:1000]]
        if self._is_header(cells, following, number + first) if header is None else header:
            names, lines[first], rows = cells, "", rows[1:]
        self.columns = len(self._split(lines[rows[0]], number + rows[0])) if rows else len(cells)
        if names is None and comment:
            cells = self._split(comment, number)
            names = cells if len(cells) == self.columns and not any(map(_LIKE_A_NUMBER.fullmatch, cells)) else None
        self.short = None  # why a header of another length is refused, if an index does not explain it
        if names is not None and len(names) != self.columns:
            self.short = DataError(
                f"{where}: line {number + first}, the header, names {len(names)} columns, line {number + rows[0]} has "
                f"{self.columns}. Make them equal."
            )
            if len(names) != self.columns - 1:
                raise self.short
            names = ["", *names]  # as R writes it: the rows' names have none
        self.names, self.label = names, self._label(names)
        self.decimal = self._decimal(lines, rows, number) if decimal is None else decimal

    def _delimiter(self, lines):
        """The candidate that cuts every line into as many cells, or at least most lines into several."""
        counts = {d: [len(re.split(r"\s+", line.strip()) if d == " " else self._cut(line, d)) for line in lines]
                  for d in (*"\t;,|", *(" " if self.spaces else ""))}  # fmt: skip
        for d, found in counts.items():
            if found[0] > 1 and min(found) == max(found):
                return d
        return next((d for d, found in counts.items() if 2 * sum(n > 1 for n in found) > len(lines)), ",")

    @staticmethod
    def _cut(line, delimiter):
        return (re.sub('"[^"]*"', "", line) if '"' in line else line).split(delimiter)

    def _split(self, line, number):
        """The cells of a line, without quotes and spaces around them."""
        if '"' not in line:
            cells = line.split() if self.delimiter == " " else line.split(self.delimiter)
        else:
            import csv  # slow to import

            try:
                (cells,) = csv.reader([line.strip()], delimiter=self.delimiter, skipinitialspace=True, strict=True)
            except csv.Error:
                raise DataError(
                    f"{self.where}: line {number} has a quote that is not closed, or text beside it. "
                    "Write a quoted cell on one line, a quote within it twice."
                ) from None
        return [cell.strip() for cell in cells]

    def _is_header(self, cells, following, number):
        named = cells[1:] if cells[0] == "" else cells
        numbers = [cell for cell in named if _LIKE_A_NUMBER.fullmatch(cell)]
        if not numbers:
            return not all(cell.lower() in _MISSING for cell in named)
        whole = all(re.fullmatch(r"[-+]?\d+", cell) for i, line in following for cell in self._split(line, i))
        if numbers != [str(i) for i in range(len(numbers))]:
            start = int(numbers[0]) if re.fullmatch(r"\d{1,9}", numbers[0], re.ASCII) else 0
            if not whole and len(cells) > 2 and cells == [str(start + i) for i in range(len(cells))]:
                self.notes.append(f"line {number}, which counts up from {start}, is read as a row; header=True if not")
            return False
        if len(cells) > len(numbers):  # pandas' own names after a nameless index, or beside names
            return len(numbers) > 1 or cells[0] == ""
        if len(numbers) == 1 or not following:
            return False
        if whole:
            raise DataError(
                f"{self.where}: line {number} is 0, 1, ..., {len(numbers) - 1}: names of columns or a row? "
                "Say header=True or header=False."
            )
        self.notes.append(f"line {number}, which counts up from 0, is taken for names of columns; header=False if not")
        return True

    def _label(self, names):
        """The number of the label column, None without one."""
        lowered = [name.lower() for name in names or ()]
        found = [i for i, name in enumerate(lowered) if name in LABELS and not (name == "y" and "x" in lowered)]
        if len(found) > 1:
            listed = ", ".join(f"'{excerpt(names[i])}'" for i in found)
            raise DataError(f"{self.where}: columns {listed} may all be the labels. Leave one of these names.")
        return found[0] if found and self.columns > 1 else None

    def _decimal(self, lines, rows, number):
        """A comma, if cells have one and none has a point; refused, if every one may as well separate thousands."""
        if self.delimiter == ",":
            return "."
        found = []
        for i in rows:
            if "," in lines[i] or "." in lines[i]:
                cells = self._split(lines[i], number + i)
                found += [(i, j, cell) for j, cell in enumerate(cells) if j != self.label and re.search("[.,]", cell)]
        commas = [place for place in found if "," in place[2]]
        if not commas or any("." in cell for _, _, cell in found):
            return "."
        if all(_THOUSANDS.fullmatch(cell) for _, _, cell in commas):
            i, j, cell = commas[0]
            raise DataError(
                f"{self.where}: line {number + i}, column {j + 1} is '{excerpt(cell, 30)}': a decimal comma or "
                'thousands? Say decimal=",", or write the numbers without separators.'
            )
        return ","

    # -- rows -------------------------------------------------------------------------------------------------------

    def rows(self, lines, number, labels, quoted):
        """(rows, columns without the labels') float64 of lines, of which blank ones are none."""
        last, texts, blank = self.columns - 1, None, False
        rows = [line for line in lines if line]
        simple = self.label is None or self.label in (0, last) and self.delimiter != " "
        if simple and not quoted:
            if self.label is not None:
                cut = (lambda r: r.partition(self.delimiter)) if self.label == 0 else (
                    lambda r: r.rpartition(self.delimiter)[::-1])  # fmt: skip
                texts, _, rows = zip(*map(cut, rows))
                texts = [text.strip() for text in texts]
                blank = not all(map(str.strip, rows))  # which NumPy passes over
            if self.decimal == ",":
                rows = [row.translate(_COMMA_TO_POINT) for row in rows]
            delimiter = None if self.delimiter == " " else self.delimiter
            try:
                block = () if blank else np.loadtxt(rows, delimiter=delimiter, comments=None, ndmin=2)
            except ValueError:
                block = ()
            shape = len(rows), self.columns - (texts is not None)
            if np.shape(block) == shape and np.isfinite(block).all() and not any(map(_no_label, texts or ())):
                if texts:
                    labels.add(texts)
                return block
        return self._slowly(lines, number, labels)

    def _slowly(self, lines, number, labels):
        """The same cell by cell: what NumPy cannot read, and where it is wrong."""
        values, texts = [], []
        for i, line in enumerate(lines, number):
            if not line:
                continue
            cells = self._split(line, i)
            wrong = None
            for j, cell in enumerate(cells):
                if j == self.label:
                    texts.append(cell)
                    wrong = wrong or (_no_label(cell) and (j, cell))
                elif (value := self._value(cell)) is None:
                    wrong = wrong or (j, cell)
                else:
                    values.append(value)
            if wrong and _strange(wrong[1]):  # text tells more than the length of its line
                raise self._refusal(i, *wrong)
            if len(cells) != self.columns:
                raise DataError(
                    f"{self.where}: line {i} has {len(cells)} columns, those above have {self.columns}. "
                    "Make them equal."
                )
            if wrong:
                raise self._refusal(i, *wrong)
        if texts:
            labels.add(texts)
        return np.array(values, np.float64).reshape(-1, self.columns - (self.label is not None))

    def _value(self, cell):
        """The number, None if the cell is none that is plain and finite."""
        if self.decimal == ",":
            cell = cell.translate(_COMMA_TO_POINT)
        value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
        return value if math.isfinite(value) else None

    def _refusal(self, line, column, cell):
        shown = f"'{excerpt(cell, 30)}'" if cell else "empty"
        what = f"{self.where}: line {line}, column {column + 1} is {shown}"
        if column == self.label and len(cell) > 100:
            return DataError(f"{what}, a label of {len(cell)} characters. Write at most 100.")
        if not cell or column == self.label or cell.lower() in _MISSING:
            return DataError(f"{what}, a missing value. Remove such rows, or fill the gaps.")
        if "\0" in cell:
            return DataError(f"{what}, with NUL bytes, as UTF-16 without its mark has them. Save it as UTF-8.")
        if cell.lower().lstrip("+-") in ("inf", "infinity"):
            return DataError(f"{what}, which is not finite. Remove such rows.")
        if self.decimal == "," and "." in cell and _NUMBER.fullmatch(cell):
            return DataError(f"{what}, while other cells have a decimal comma. Write all in one way.")
        plain = cell.translate(_COMMA_TO_POINT) if self.decimal == "," else cell
        if _NUMBER.fullmatch(plain):
            return DataError(f"{what}, beyond what a float64 holds. Rescale the column.")
        if _LIKE_A_NUMBER.fullmatch(cell):
            return DataError(
                f"{what}, not a plain number. Write numbers without separators of thousands, units and signs of "
                'currency; say decimal="," if commas are decimal.'
            )
        return DataError(
            f"{what}, not a number. Only a first line without any number may hold text, and cells are separated by "
            f"{_NAMES.get(self.delimiter, repr(self.delimiter))}; if they are not, say delimiter=."
        )

    # -- the whole --------------------------------------------------------------------------------------------------

    def table(self, values, labels):
        """The `Found`: labels apart, an index left out, columns of pixels as an image."""
        X = values.reshape(-1, self.columns - (self.label is not None))
        names = None if self.names is None else [n for i, n in enumerate(self.names) if i != self.label]
        counts = X.shape[1] > 1 and np.array_equal(X[:, 0], X[0, 0] + np.arange(len(X)))
        called = "" if names is None else names[0].lower()
        if self.short is not None and not counts:
            raise self.short
        if called in ("", "unnamed: 0") and names is not None:
            if counts:
                X, names = np.ascontiguousarray(X[:, 1:]), names[1:]
                self.notes.append("the first column has no name and counts up: an index, left out")
            else:
                self.notes.append("the first column has no name and is read as a feature; if it is an index, remove it")
        elif counts and (called in ("id", "index", "row") or (names is None and len(X) >= 10 and X[0, 0] in (0, 1))):
            self.notes.append("the first column counts up and is read as a feature; if it is an index, remove it")
        X, image_shape = _pixels(X, names)
        y = labels.array() if labels.codes else None
        return Found(X, y, image_shape=image_shape, notes=tuple(f"{self.where}: {note}." for note in self.notes))


_COMMA_TO_POINT = str.maketrans(",.", ".,")  # a point becomes what is no number


def _no_label(cell):
    return cell.lower() in _NO_LABEL or len(cell) > 100


def _strange(cell):
    """Whether a cell is text, neither like a number nor a gap."""
    return bool(cell) and not _LIKE_A_NUMBER.fullmatch(cell) and cell.lower() not in _MISSING


def _pixels(X, names):
    """(X, image shape): as bytes and (height, width) if the columns are called pixel0, pixel1, ... or 1x1, 1x2, ..."""
    found = [_PIXEL.fullmatch(name) for name in names or ()]
    if not found or not all(found) or any(name.isdigit() for name in names):
        return X, None
    places = [tuple(int(n) for n in match.groups() if n is not None) for match in found]
    if len(set(map(len, places))) > 1 or places != sorted(set(places)):
        return X, None
    if len(places[0]) == 2:
        shape = tuple(len({place[axis] for place in places}) for axis in (0, 1))
    else:
        shape = (math.isqrt(len(names)),) * 2
    if X.min() >= 0 and 64 <= X.max() <= 255 and np.array_equal(X, np.rint(X)):
        X = X.astype(np.uint8)
    return X, shape if math.prod(shape) == len(names) else None
