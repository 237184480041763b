"""The graph as text: what ``Tensor.tree`` prints.

    op                shape  value             gradient           source
    #1 sum            ()     1.809             1                  example.py:3  loss = (h * h).sum()
    #2 tanh           (2,)   [0.9951 -0.9051]  [1.99 -1.81]       example.py:2  h = (3.0 * w).tanh()

Ring 3. Reads nodes; must not know Tensor. Iterative, as the graph may be thousands deep.
"""

import numpy as np

from .engine import KEEP_SMALL, Var
from .source import place

__all__ = ["tree"]

_FOOTER = f"- : more than {KEEP_SMALL} values, not kept; retain_grad() keeps a gradient"


def tree(root, depth=None):
    """The lines of ``root.tree(depth)``, as one string; see `Tensor.tree`."""
    if root._node is None:
        return repr(root)
    rows, numbers = [], {}
    stack = [(root._node, "", "", 0)]  # node, the prefix of its own line, the prefix of lines below it, level
    while stack:
        node, lead, below, level = stack.pop()
        name = "leaf" if node.op is None else node.op.name
        if node in numbers:
            rows.append((f"{lead}{name} (see #{numbers[node]})", "", "", "", ""))
            continue
        numbers[node] = len(numbers) + 1
        file, line, text = place(node.where)
        gradient = node.grad._data if isinstance(node.grad, Var) else node.grad
        rows.append((f"{lead}#{numbers[node]} {name}{_settings(node)}", str(node.shape), _short(node.value),
                     _short(gradient if isinstance(gradient, np.ndarray) else None),
                     f"{file.rpartition('/')[2]}:{line}  {text}"))  # fmt: skip
        if depth is not None and level >= depth:
            continue
        parents = [p for p in node.parents if p is not None]
        if len(parents) == 1:  # a chain runs straight down, however long
            stack.append((parents[0], below, below, level + 1))
            continue
        for i in reversed(range(len(parents))):
            last = i == len(parents) - 1
            deeper = "" if len(below) > 90 else "   " if last else "|  "  # thousands of branchings would be all indent
            stack.append((parents[i], below + ("`- " if last else "|- "), below + deeper, level + 1))
    rows.insert(0, ("op", "shape", "value", "gradient", "source"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[4]]).rstrip() for row in rows]
    return "\n".join(lines + [_FOOTER] * any(node.value is None for node in numbers))


def _settings(node):
    defaults = node.op.defaults if node.op else {}
    given = ", ".join(
        f"{k}={v}" for k, v in (node.settings or {}).items() if not hasattr(v, "shape") and v != defaults.get(k)
    )
    return f"({given})" if given and len(given) <= 30 else ""


def _short(array, limit=4):
    if array is None:
        return "-"
    shown = " ".join(f"{value:.4g}" for value in array.reshape(-1)[:limit].tolist())
    if array.ndim == 0:
        return shown
    return f"[{shown}]" if array.size <= limit else f"[{shown} ..]"
