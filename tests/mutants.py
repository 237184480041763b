"""Broken copies of rules: each differs from the original at one place, in one of the ways in which people go wrong.

    mutants(function)       (what was changed, the changed function) for a vjp or a helper of one, by its syntax tree
    row_mutants(text)       (what was changed, the changed text) for a C expression of activations.def

What is changed is told as source text, "1.0 - y -> 1.0 + y", so that a survivor can be looked up and judged.
"""

import ast
import copy
import inspect
import re
import textwrap

__all__ = ["mutants", "row_mutants"]


def _definition(function):
    """The function's syntax tree as a plain def, without its decorators; a lambda becomes a def."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)).rstrip().rstrip(","))
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            node.decorator_list = []
            return node
        if isinstance(node, ast.Lambda) and tuple(a.arg for a in node.args.args) == arguments:
            made = ast.parse("def rule(): return 0").body[0]
            made.args, made.body[0].value = node.args, node.body
            return made
    raise LookupError(f"no definition of {function} in its source")


def _compiled(definition, function):
    """The definition as a function, in the original's module and closure."""
    where = function.__globals__
    closure = inspect.getclosurevars(function).nonlocals
    if closure:
        where = {**where, **closure}
    made = {}
    module = ast.fix_missing_locations(ast.Module([definition], []))
    exec(compile(module, f"<mutant of {function.__module__}>", "exec"), where, made)
    return made[definition.name]


_OTHER = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.Mod: ast.Add,
    ast.FloorDiv: ast.Mult, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Lt: ast.GtE,
    ast.LtE: ast.Gt, ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_EDGE = {ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt}


def _changes(node, first):
    """What to put in a node's place; `first` is the name of the incoming gradient, None in a helper."""
    if isinstance(node, ast.BinOp):
        yield ast.BinOp(node.left, _OTHER[type(node.op)](), node.right) if type(node.op) in _OTHER else node.left
        yield from (node.left, node.right)
        if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult, ast.Pow)):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for table in (_OTHER, _EDGE):
            if type(node.ops[0]) in table:
                yield ast.Compare(node.left, [table[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(_OTHER[type(node.op)](), node.values)
        yield from node.values
    elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.Call):
        for i, argument in enumerate(node.args):
            if i == 0 and not isinstance(argument, (ast.Starred, ast.GeneratorExp)):
                yield argument
            if i and not isinstance(argument, ast.Starred):
                swapped = [*node.args[: i - 1], argument, node.args[i - 1], *node.args[i + 1 :]]
                yield ast.Call(node.func, swapped, node.keywords)
        for keyword in node.keywords:
            yield ast.Call(node.func, node.args, [k for k in node.keywords if k is not keyword])
    elif isinstance(node, ast.Attribute) and node.attr in ("mT", "T"):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.Constant(None))
        if first:
            yield ast.Return(ast.UnaryOp(ast.USub(), node.value))
            yield ast.Return(ast.BinOp(node.value, ast.Mult(), ast.Constant(1.001)))
    elif isinstance(node, ast.Name) and node.id == first and isinstance(node.ctx, ast.Load):
        yield ast.parse(f"({first} * 0.0 + 1.0)").body[0].value
    elif isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


class _Put(ast.NodeTransformer):
    """Puts a node in place of the one of that number, counted as ast.walk does not: in the order of visiting."""

    def __init__(self, number, node=None):
        self.number, self.node, self.seen, self.found = number, node, -1, None

    def visit(self, node):
        self.seen += 1
        if self.seen == self.number:
            self.found = node
            return self.node if self.node is not None else node
        if isinstance(node, ast.Attribute) and node.attr in ("shape", "ndim", "dtype"):
            return node  # of whatever values
        return self.generic_visit(node)


def mutants(function, is_rule=True):
    """(label, mutant) for every change at every node. A rule's mutants also ignore, negate and scale its gradient."""
    original = _definition(function)
    if ast.get_docstring(original):
        original.body = original.body[1:]
    first = original.args.args[0].arg if is_rule and original.args.args else None
    before, told = ast.unparse(original), set()
    number = 0
    while True:
        finder = _Put(number)
        finder.visit(copy.deepcopy(original))
        if finder.found is None:
            return
        for change in _changes(finder.found, first):
            tree = copy.deepcopy(original)
            _Put(number, copy.deepcopy(change)).visit(tree)
            after = ast.unparse(ast.fix_missing_locations(tree))
            if after != before and after not in told:
                told.add(after)
                old, new = (" ".join(ast.unparse(ast.fix_missing_locations(n)).split()) for n in (finder.found, change))
                yield f"{old} -> {new}", _compiled(tree, function)
        number += 1


# -- C --------------------------------------------------------------------------------------------------------------

_TEXT = [  # (what to look for, what to put there)
    (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " / "), (r" / ", " * "),
    (r" > ", " <= "), (r" <= ", " > "), (r" < ", " >= "), (r" >= ", " < "),
    (r"\? (.+?) : (.+?)(\)?)$", r"? \2 : \1\3"),
    (r"\b1\b", "2"), (r"\b2\b", "3"), (r"\b0\b", "1"), (r"\bparam\b", "(param + 1)"),
    (r"FN\(\w+\)\(", "("), (r"^g\b", "1"), (r"\bg\b", "1"),
    (r"^(.*)$", r"-(\1)"), (r"^(.*)$", r"(\1) * (REAL)1.001"),
]  # fmt: skip


def row_mutants(text):
    """(label, changed text) for every change at every place where it applies."""
    told = {text}
    for pattern, replacement in _TEXT:
        for match in re.finditer(pattern, text):
            changed = text[: match.start()] + match.expand(replacement) + text[match.end() :]
            if changed not in told and changed.count("(") == changed.count(")"):
                told.add(changed)
                yield f"{text} -> {changed}", changed
