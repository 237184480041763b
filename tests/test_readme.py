"""README.md does what it says: its Python runs, and prints what stands below it.

The ```python blocks of one section run in order in one namespace. A ```text block right after one is its output: the
words must be equal, the numbers close, since the last digits depend on the instruction set.
"""

import contextlib
import io
import linecache
import os
import re
from pathlib import Path

import pytest

from tinyae import cli, engine

README = Path(__file__).resolve().parents[1] / "README.md"
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def sections(text):
    """{heading: [(code, expected output or None), ...]} of the sections that have Python in them."""
    found = {}
    heading, fence, blocks = "", None, []
    for line in text.splitlines():
        if fence is None and line.startswith("```"):
            fence, body = line[3:].strip() or "text", []
        elif fence is not None and line.strip() == "```":
            blocks.append((heading, fence, "\n".join(body) + "\n"))
            fence = None
        elif fence is not None:
            body.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
            blocks.append((heading, "heading", ""))
        elif line.strip():
            blocks.append((heading, "prose", ""))
    for i, (heading, kind, body) in enumerate(blocks):
        if kind == "python":
            below = next((b for b in blocks[i + 1 :]), (heading, "", ""))
            found.setdefault(heading, []).append((body, below[2] if below[1] == "text" else None))
    return found


def numbers(text):
    return [float(n) for n in NUMBER.findall(text)]


def words(text):
    return NUMBER.sub("#", text).split()


def same(printed, expected):
    return words(printed) == words(expected) and numbers(printed) == pytest.approx(
        numbers(expected), rel=0.02, abs=2e-3
    )


def test_reading_blocks():
    text = "# A\n```python\nx = 1\n```\n## B\n```python\nprint(2)\n```\n\n```text\n2\n```\n"
    text += "```python\n3\n```\nprose\n```text\nno\n```\n"
    assert sections(text) == {"A": [("x = 1\n", None)], "B": [("print(2)\n", "2\n"), ("3\n", None)]}
    assert same("loss 0.12345 at [-1. 2e-05]", "loss  0.1235 at [-1.  0.]")
    assert not same("loss 0.12", "loss 0.13") and not same("loss 1", "gain 1") and not same("1 2", "1")


CODE = sections(README.read_text()) if README.exists() else {}


@pytest.mark.parametrize(
    "section", CODE or [pytest.param("", marks=pytest.mark.skip(reason="there is no README.md here"))]
)
def test_python_blocks(section, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "MPLBACKEND" not in os.environ:
        monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(engine, "OPS", dict(engine.OPS))  # what the README declares is not ours to prove
    namespace = {"__name__": "readme"}
    for code, expected in CODE[section]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            file = tmp_path / "example.py"  # a file, so that tree() can quote its lines
            file.write_text(code)
            linecache.checkcache(str(file))
            exec(compile(code, str(file), "exec"), namespace)
        if expected is not None:
            assert same(out.getvalue(), expected), f"README shows\n{expected}\nbut this printed\n{out.getvalue()}"


def test_zoo_table(capsys):
    """The zoo's table is what the command beside it prints."""
    cli.main(["zoo", "--markdown"])
    table = README.read_text().partition("<!-- zoo -->\n")[2].partition("<!-- /zoo -->")[0]
    assert table == capsys.readouterr().out


def test_reading_order():
    """The files are there, and as long as the table says, give or take a tenth."""
    rows = re.findall(r"^\| `(tinyae/\S+)` \| (\d+) \| \d+ \|", README.read_text(), re.M)
    assert len(rows) >= 8
    for name, lines in rows:
        there = len((README.parent / name).read_text().splitlines())
        assert abs(there - int(lines)) <= 0.1 * there, f"{name} has {there} lines"
