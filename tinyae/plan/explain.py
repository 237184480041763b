"""A plan as text: the program before and after each pass, the instructions, the memory, and where the time goes.

Ring 4. Read-only: it changes nothing that it shows.
"""

import numpy as np

from ..source import place

__all__ = ["describe", "measure"]

_UNITS = ("B", "KiB", "MiB", "GiB")


def describe(plan, title):
    """The whole plan, as `Compiled.explain` prints it."""
    lowered = plan.machine.lowered
    lines = [f"{title}: {', '.join(_kind(v) for v in plan.program.inputs) or 'no arguments'}", ""]
    before = None
    for name, program in lowered.stages:
        shown = _program(program)
        changed = before is None or shown != before
        lines.append(f"{name}: {len(program.instructions)} operations" + ("" if changed else ", as before"))
        if changed:
            lines += [*(f"  {line}" for line in shown), ""]
        before = shown
    lines += ["", f"instructions: {len(lowered.items)}, run by {plan.machine.backend}"]
    lines += [f"  {line}" for line in _table([_row(n, item) for n, item in enumerate(lowered.items)])]
    sizes = [root.nbytes for root in lowered.roots if root.kind == "arena"]
    lines.append(f"arena: {_bytes(lowered.arena)} for {len(sizes)} buffers of {_bytes(sum(sizes))} together")
    watched = plan.guards.describe()
    lines += ["", f"watched: {len(watched)} things that the step read when it was captured; compared with the step "
                  f"itself {'in the next run' if plan.left < 2 else f'in {plan.left} runs'}"]  # fmt: skip
    if plan.guards.truncated:
        lines.append("  and more that was too much to watch: the comparison alone finds changes there")
    lines += [f"  {line}" for line in _table(watched)]
    return "\n".join(lines)


def measure(plan, seconds, title):
    """The time of every instruction, as `Compiled.profile` prints it. seconds: one number per instruction."""
    rows, total = [("", "instruction", "us", "share", "", "")], sum(seconds)
    for n, (item, time) in enumerate(zip(plan.machine.lowered.items, seconds)):
        flops, moved = _flops(item), sum(r.nbytes for r in {*item.reads, *item.writes})
        time = max(time, 1e-9)
        speed = f"{flops / time / 1e9:.1f} GFLOP/s" if flops else f"{moved / time / 1e9:.1f} GB/s"
        rows.append((str(n), _head(item), f"{time * 1e6:.1f}", f"{time / total:.0%}", speed, _line(item)))
    lines = _table(rows)
    return "\n".join([f"{title}: {total * 1e6:.1f} us a step", *lines])


def _program(program):
    rows, known = [], set()
    for i in program.instructions:
        for value in dict.fromkeys(i.values):  # a constant is defined where it is first used
            if str(value).startswith("%") and value.constant is not None and value not in known:
                known.add(value)
                rows.append((str(value), _kind(value), f"constant {_range(value.constant)}", ""))
        operands = ", ".join(str(x) for x in i.operands)
        settings = "".join(f", {k}={_setting(v)}" for k, v in i.settings.items())
        results = " ".join(map(str, i.results)), " ".join(map(_kind, i.results))
        rows.append((*results, f"{i.name}({operands}{settings})", _where(i.where)))
    return _table(rows)


def _range(array):
    """The values from the least to the largest, in a few words."""
    low, high = (float(end(array)) for end in (np.min, np.max))
    return f"{low:g}" if low == high else f"{low:g} .. {high:g}"


def _setting(value):
    if isinstance(value, tuple):
        return "(" + ", ".join(_setting(v) for v in value) + ")"
    if isinstance(value, slice):
        return ":".join("" if v is None else str(v) for v in (value.start, value.stop, value.step)).removesuffix(":")
    return "..." if value is ... else str(value)


def _kind(value):
    return f"{value.dtype} {value.shape}"


def _where(where):
    _, line, text = place(where)
    return f"{line}: {text}" if text else f"line {line}"


def _head(item):
    """An instruction in a few words."""
    f = item.fields
    if item.kind == "gemm":
        text = f"gemm {f['m']}x{f['k']} @ {f['k']}x{f['n']}"
        text += (" + bias" if f["bias"] else "") + (f", {f['activation']}" if f["activation"] else "")
        return text + (f", {f['precision']}" if f["precision"] else "")
    if item.kind == "chain":
        sums = [kind for kind, *_ in f["outputs"] if kind != "store"]
        return f"chain {f['rows']}x{f['cols']}: " + " ".join([name for name, *_ in f["ops"]] + sums)
    if item.kind == "host":
        return f"python: {f['instruction'].name}"
    if item.kind == "update":
        return f"{f['rule']} of {len(f['tensors'])} parameters, {sum(n for n, *_ in f['tensors']):,} numbers"
    return " ".join([item.kind, *(str(f[name]) for name in ("what", "shape", "precision") if f.get(name))])


def _row(number, item):
    def roots(found):
        return " ".join(dict.fromkeys(_root(root) for root in found))

    return str(number), _head(item), roots(item.reads), "->", roots(item.writes)


def _root(root):
    return f"@{root.offset}" if root.kind == "arena" else root.kind


def _line(item):
    instruction = item.fields.get("instruction") or next(iter(item.fields.get("names", ())), None)
    return "" if instruction is None else _where(instruction.where)


def _flops(item):
    f = item.fields
    if item.kind in ("gemm", "gemm_stack"):
        return 2.0 * f["m"] * f["n"] * f["k"] * float(np.prod(f.get("sizes", (1,))))
    if item.kind == "windows" and f["what"].startswith("conv"):
        images, groups, big, small, kernel, *_ = f["windows"]
        return 2.0 * images * np.prod(small, dtype=float) * np.prod(kernel, dtype=float) * (big[0] // groups)
    if item.kind.startswith("recurrent"):
        step = 2.0 * f["n"] * f["weight"].size
        return f["steps"] * step * (3 - ("gates" in f) if item.kind == "recurrent_backward" else 1)
    return 0.0


def _table(rows):
    """Rows of words under each other; the last column is not padded."""
    if not rows:
        return []
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(word.ljust(n) for word, n in zip(row, widths)).rstrip() for row in rows]


def _bytes(n):
    for unit in _UNITS:
        if n < 1024 or unit == _UNITS[-1]:
            return f"{n:.4g} {unit}"
        n /= 1024
