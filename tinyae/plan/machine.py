"""The C executor's side in Python: hands a lowered program to C, and runs it, with Python's own work in between.

Between two runs Python does only what may have changed: the addresses of the inputs, learning rates, noise counters.

Ring 4. Must not know what ops mean. Read after lower.py; csrc/plan.c is the other side.
"""

import time

import numpy as np

from ..engine import OPS
from ..kernels.elementwise import UNARY
from .compute import compute
from .lower import lower
from .memory import Ref
from .reference import Reference

__all__ = ["Machine"]

_CODES = {np.dtype(np.float32): 0, np.dtype(np.float64): 1, np.dtype(np.uint8): 2, np.dtype(bool): 3,
          np.dtype(np.int64): 4}  # fmt: skip


class Machine:
    """A program ready to run: ``run(inputs)`` is one step."""

    def __init__(self, program, precision, backend):
        self.program, self.backend = program, backend
        # C's functions of one argument; without C, those of one setting at most: an instruction has room for no more.
        unary = set(UNARY) - {None} or {
            name for name, op in OPS.items() if op.elementwise and len(op.arguments) == 1 >= len(op.settings)
        }  # fmt: skip
        self.lowered = lowered = lower(program, unary, precision)
        self.numbers = {root: n for n, root in enumerate(lowered.roots)}
        instructions, self.segments = [], []
        self.noise, self.updates = [], []  # (number of the instruction, item)
        for item in lowered.items:
            if item.kind == "host":
                self.segments.append(item)
                continue
            if not self.segments or not isinstance(self.segments[-1], list):
                self.segments.append([len(instructions), len(instructions)])
            self.segments[-1][1] += 1
            if item.kind == "noise":
                self.noise.append((len(instructions), item))
            if item.kind == "update":
                self.updates.append((len(instructions), item))
            instructions.append((item.kind, self._encode(item)))
        self.inputs = [(n, root) for root, n in self.numbers.items() if root.kind == "input"]
        if backend == "c":
            from ..kernels.plan import Program as Executor
        else:
            Executor = Reference
        self.code = Executor([self._buffer(root) for root in lowered.roots], instructions, lowered.arena)
        self.expected = {generator: None for generator in program.generators}
        self.settings = [None] * len(self.updates)
        self.outputs = []  # views made once, where they can be
        for ref, value in zip(lowered.outputs, program.outputs):
            fixed = ref.root.kind != "input" and ref.root.dtype == value.dtype
            self.outputs.append(self.array(ref, None, ()) if fixed else (ref, value.dtype))

    # -- encoding ---------------------------------------------------------------------------------------------------

    def _buffer(self, root):
        if root.kind == "arena":
            in_memory = root.offset is not None  # else it lives in a register of a chain
            return ("arena", root.offset, root.nbytes) if in_memory else ("arena", 0, 0)
        if root.kind == "input":
            return "input", root.nbytes
        return "array", root.array

    def _encode(self, item):
        """The fields as C's side takes them: roots by number, dtypes by code, refs as places."""
        fields = {}
        for name, value in item.fields.items():
            if name in ("optimizer", "group", "parameters", "generator", "names"):
                continue
            if isinstance(value, np.dtype):
                value = _CODES[value]
            elif isinstance(value, Ref):
                value = self._place(item.kind, name, value)
            elif name == "operands":
                value = [key if key[0] == "number" else (self.numbers[key[0]], *key[1:]) for key in value]
            elif name == "outputs":
                value = [(kind, register, self.numbers[root], offset) for kind, register, root, offset in value]
            elif name == "tensors":
                value = [(n, *[(self.numbers[ref.root], ref.offset) for ref in refs]) for n, *refs in value]
            fields["kind" if name == "what" else "from" if name == "source" else name] = value
        if item.kind == "gemm":
            fields["c"] = (*fields["c"], fields["n"])
        if item.kind == "noise":
            fields |= {"key": item.fields["generator"].key, "counter": 0,
                       "counter_step": self.program.generators[item.fields["generator"]]}  # fmt: skip
            fields.pop("draw")
        if item.kind == "update":
            fields |= {"numbers": _numbers(item), "step": 0}
        return fields

    def _place(self, kind, name, ref):
        place = (self.numbers[ref.root], ref.offset)
        if kind == "gemm" and name in "ab":
            return (*place, *ref.strides)
        if kind == "gemm_stack" and name in "ab":
            return (*place, *ref.strides)
        if kind == "copy":
            return (*place, ref.strides)
        return place

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, arrays):
        """One step; returns the outputs as new arrays."""
        starts = self._prepare()
        arrays = [a if a.flags.c_contiguous else np.ascontiguousarray(a) for a in arrays]
        inputs = {n: arrays[root.input] for n, root in self.inputs}
        for segment in self.segments:
            if segment.__class__ is list:
                self.code.run(inputs, *segment)
            else:
                self._on_host(segment, arrays, starts)
        self._finish(starts, 1)
        return [self.array(*view, arrays).copy() if view.__class__ is tuple else view.copy() for view in self.outputs]

    def epoch(self, steps, sources, index):
        """So many steps in one call of C, each on the next rows of index; returns the outputs, (steps,) each."""
        starts = self._prepare()
        feeds = [(n, sources[root.input][0], index, 1.0 / sources[root.input][1]) for n, root in self.inputs]
        losses = [np.zeros(steps) for _ in self.lowered.outputs]
        places = [(self.numbers[ref.root], ref.offset) for ref in self.lowered.outputs]
        self.code.epoch(steps, feeds, list(zip(places, losses)))
        self._finish(starts, steps)
        return losses

    def takes(self, sources):
        """Whether `epoch` can gather the inputs of a step from these: (array, divisor, dtype) each."""
        if self.backend != "c" or len(self.segments) != 1 or not isinstance(self.segments[0], list):
            return False
        if any(ref.size != 1 or ref.root.kind != "arena" for ref in self.lowered.outputs) or len(self.inputs) == 0:
            return False
        if len(sources) != len(self.program.inputs):
            return False
        return all(X.flags.c_contiguous and X.flags.aligned and X.dtype in (value.dtype, np.uint8)
                   for (X, _, _), value in zip(sources, self.program.inputs))  # fmt: skip

    def profile(self, arrays, repeats):
        """Seconds per item of the lowered program: medians, each run alone, which changes the state as a step does."""
        clock, starts = time.perf_counter, self._prepare()
        arrays = [np.ascontiguousarray(a) for a in arrays]
        inputs = {n: arrays[root.input] for n, root in self.inputs}
        times = []
        for _ in range(repeats):
            row, number = [], 0
            for item in self.lowered.items:
                begin = clock()
                if item.kind == "host":
                    self._on_host(item, arrays, starts)
                else:
                    self.code.run(inputs, number, number + 1)
                    number += 1
                row.append(clock() - begin)
            times.append(row)
        self._finish(starts, repeats)
        return np.median(times, axis=0)

    def _prepare(self):
        """Tell C what may have changed since the last run; returns {generator: its counter}."""
        starts = {generator: generator.counter for generator in self.expected}
        for generator, counter in starts.items():
            if self.expected[generator] != counter:
                for number, item in self.noise:
                    if item.fields["generator"] is generator:
                        self.code.set_counter(number, (counter + item.fields["draw"]) % 2**64)
        for k, (number, item) in enumerate(self.updates):
            steps = item.fields["optimizer"].state[item.fields["parameters"][0]].get("step", 0)
            settings = (_numbers(item), steps)
            if settings != self.settings[k]:
                self.code.set_numbers(number, settings[0])
                self.code.set_step(number, steps)
        return starts

    def _finish(self, starts, steps):
        """Tell Python what has changed in a run of so many steps."""
        for generator, counter in starts.items():
            generator.counter = (counter + steps * self.program.generators[generator]) % 2**64
            self.expected[generator] = generator.counter
        for k, (_, item) in enumerate(self.updates):
            state = item.fields["optimizer"].state
            if "step" in item.fields["optimizer"].slots:
                done = state[item.fields["parameters"][0]]["step"] + steps
                for p in item.fields["parameters"]:
                    state[p]["step"] = done
            else:
                done = 0
            self.settings[k] = _numbers(item), done

    def _on_host(self, item, arrays, starts):
        instruction = item.fields["instruction"]
        operands = [x if not isinstance(x, tuple) else self.array(*x, arrays) for x in item.fields["operands"]]
        generator = instruction.settings.get("generator")
        if generator is not None:
            generator.counter = (starts[generator] + instruction.draw) % 2**64
        with np.errstate(all="ignore"):
            y = compute(instruction, operands, kernels=True)
        if instruction.result.cell is None:
            for out, value in zip(item.fields["outs"], y if y.__class__ is tuple else (y,)):
                self.array(out, None, arrays)[...] = value

    def array(self, ref, dtype, arrays):
        """A ref as a NumPy view; of a dtype other than the memory's, converted."""
        root = ref.root
        if root.kind == "arena":
            flat = self.code.array(self.numbers[root], (max(root.size, 1),), root.dtype)
        else:
            flat = (arrays[root.input] if root.kind == "input" else root.array).reshape(-1)
        item = root.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(flat[ref.offset :], ref.shape, [s * item for s in ref.strides])
        return view if dtype is None or dtype == root.dtype else view.astype(dtype)


_LIVE = {
    "sgd": ("lr", "momentum", "nesterov", "weight_decay"),
    "rmsprop": ("lr", "alpha", "eps", "momentum", "weight_decay"),
    "centered_rmsprop": ("lr", "alpha", "eps", "momentum", "weight_decay"),
    "adagrad": ("lr", "lr_decay", "eps", "weight_decay"),
    "adadelta": ("lr", "rho", "eps", "weight_decay"),
}


def _numbers(item):
    """The live numbers of an update."""
    group, rule = item.fields["group"], item.fields["rule"]
    if rule == "adam":
        decoupled = float(item.fields["optimizer"].decoupled)
        return (group["lr"], *group["betas"], group["eps"], group["weight_decay"], decoupled)
    return tuple(float(group[name]) for name in _LIVE[rule])
