"""Every operation as a row: its formula, its derivative, what the tape keeps for it, its shapes, and who computes it.

Read off the declarations themselves, so nothing here can be out of date. ``tinyae ops`` prints it.

Ring 2. Loaded only when asked for.
"""

import ast
import inspect
import re
import textwrap
from typing import NamedTuple

from ..engine import OPS

__all__ = ["Row", "rows"]


class Row(NamedTuple):
    """One operation. derivative: {argument: its rule as text}; keeps: what the rules name beside g."""

    name: str
    file: str
    call: str
    formula: str
    shape: str
    derivative: dict
    keeps: str
    kernel: str


def rows():
    """A `Row` for every public operation, by file and name."""
    public = [op for op in OPS.values() if not op.name.startswith("_")]
    return sorted(map(_row, public), key=lambda row: (row.file, row.name))


def _row(op):
    formula, shape = _said(op)
    named = dict.fromkeys(name for _, _, names in op.rules.values() for name in names)
    kept = [name.replace("_shape", "'s shape") for name in named
            if name not in op.settings and not (op.variadic and name == "index")]  # fmt: skip
    backward = any(kernel is not None for _, kernel, _ in op.rules.values())
    return Row(
        name=op.name,
        file=op.__module__.rpartition(".")[2],
        call=_call(op),
        formula=formula,
        shape=shape,
        derivative={argument or "x[index]": _rule(rule) for argument, (rule, _, _) in op.rules.items()},
        keeps=", ".join(kept) or ("nothing" if op.rules else "-"),
        kernel=", ".join(["forward"] * (op.kernel is not None) + ["backward"] * backward) or "-",
    )


def _call(op):
    """The op as it is called: name(x, *, axis=None). That arrays go by position is said once, not by a / each time."""
    return f"{op.name}{inspect.signature(op.definition)}".replace(", /", "")


def _said(op):
    """(the docstring's first paragraph, without what it says of shapes; what it says of shapes)."""
    text = " ".join(inspect.cleandoc(op.__doc__).split("\n\n")[0].split())
    whole = " ".join(inspect.cleandoc(op.__doc__).split())
    found = re.search(r"Shape: (.*?)\.(?= [A-Z]|$)", whole)
    shape = re.sub(r" \(so for every.*?\)", "", found.group(1)) if found else None
    if shape is None:
        shape = ("any that broadcast" if len(op.arguments) > 1 else "any -> same") if op.elementwise else "-"
    return re.sub(r" ?Shape: .*", "", text), shape


def _rule(rule):
    """What the rule returns, as its source says it, and after "where" the names that it introduces on the way."""
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(rule))).body[0]
    except (OSError, SyntaxError):
        return "(no source)"
    *before, last = [" ".join(ast.unparse(statement).split()) for statement in function.body]
    last = last.removeprefix("return ")
    return ("0" if last == "None" else last) + (f"   where {'; '.join(before)}" if before else "")
