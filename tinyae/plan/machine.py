"""The C executor's side in Python: hands a lowered program to C, and runs it, with Python's own work in between.

Between two runs Python does only what may have changed: the addresses of the inputs, learning rates, noise counters.

Ring 4. Must not know what ops mean. Read after lower.py; csrc/plan.c is the other side.
"""

import os
import threading
import time
import weakref

import numpy as np

from ..engine import OPS, Op
from ..errors import BackendError, DataError, PlanError, TinyaeError
from ..kernels.elementwise import UNARY
from .compute import compute
from .lower import lower
from .memory import Ref
from .reference import Reference
from .rules import RULES

__all__ = ["Machine"]

ndarray = np.ndarray

_CODES = {np.dtype(np.float32): 0, np.dtype(np.float64): 1, np.dtype(np.uint8): 2, np.dtype(bool): 3,
          np.dtype(np.int64): 4}  # fmt: skip


_machines = weakref.WeakSet()


def _release():
    """In a forked child: nobody is left to release what other threads held, and what C knows may be half told."""
    for machine in _machines:
        machine.lock._at_fork_reinit()
        machine.known = False
        if hasattr(machine.code, "_lock"):
            machine.code._lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release)


class _Update:
    """An optimizer's instruction, and how many steps C was told of."""

    __slots__ = ("_advance", "_before", "_keys", "_steps", "group", "number", "optimizer", "rule", "states", "step")

    def __init__(self, number, item, counts):
        """counts: how often each parameter is updated in one run, so far; it is brought up to date."""
        self.number, self.step, self._steps = number, None, []
        self.optimizer, self.group, self.rule = (item.fields[name] for name in ("optimizer", "group", "rule"))
        self._keys = [(self.optimizer, p) for p in item.fields["parameters"]]
        self.states = [o.state[p] for o, p in self._keys] if "step" in self.optimizer.slots else []
        self._before = [counts.get(key, 0) for key in self._keys]
        for key in self._keys:
            counts[key] = counts.get(key, 0) + 1

    def find_advance(self, counts):
        """How many steps each parameter makes in one run: mostly 1."""
        self._advance = [counts[key] for key in self._keys]
        return self._advance

    def tell(self, code):
        """Tell C how many steps each parameter will have made when this is reached in a run."""
        self._steps = [state["step"] for state in self.states]
        code.set_steps(self.number, [step + before for step, before in zip(self._steps, self._before)])
        alike = len({*self._steps}) == len({*self._advance}) == 1
        self.step = self._steps[0] if alike else None  # of all; else C is told anew before every run

    def advance(self, runs):
        """So many runs have been made."""
        if self.step is not None:
            self.step = step = self.step + runs * self._advance[0]
            for state in self.states:
                state["step"] = step
        else:
            for state, step, each in zip(self.states, self._steps, self._advance):
                state["step"] = step + runs * each

    def numbers(self):
        """The rule's settings as they are now."""
        return RULES[self.rule].numbers(self.optimizer, self.group)


class Machine:
    """A program ready to run: ``run(inputs)`` is one step. Calls from several threads wait for each other."""

    def __init__(self, program, precision, backend):
        self.program, self.backend = program, backend
        # C's functions of one argument; without C, those of one setting at most: an instruction has room for no more.
        unary = set(UNARY) - {None} or {
            name for name, op in OPS.items() if op.elementwise and len(op.arguments) == 1 >= len(op.settings)
        }  # fmt: skip
        self.lowered = lowered = lower(program, unary, precision)
        self.numbers = {root: n for n, root in enumerate(lowered.roots)}
        instructions, self.segments = [], []
        self.noise, self.updates, counts = [], [], {}  # (number of the instruction, item), and _Update
        self.asked = {}  # number of an instruction that may find its values wrong: what Python then computes
        for item in lowered.items:
            if item.kind == "host":
                self.segments.append(item)
                continue
            if not self.segments or not isinstance(self.segments[-1], list):
                self.segments.append([len(instructions), len(instructions)])
            self.segments[-1][1] += 1
            if "host" in item.fields:
                self.asked[len(instructions)] = item.fields["host"]
            if item.kind == "noise":
                self.noise.append((len(instructions), item))
            if item.kind == "update":
                self.updates.append(_Update(len(instructions), item, counts))
            instructions.append((item.kind, self._encode(item)))
        for update in self.updates:
            instructions[update.number][1]["advance"] = update.find_advance(counts)
        self.inputs = [(n, root.input) for root, n in self.numbers.items() if root.kind == "input"]
        self.takes_all = [k for _, k in self.inputs] == [*range(len(program.inputs))]  # and in their order
        if backend == "c":
            from ..kernels.plan import Program as Executor
        else:
            Executor = Reference
        try:
            self.code = Executor([self._buffer(root) for root in lowered.roots], instructions, lowered.arena)
        except BackendError as problem:
            raise PlanError(f"compile: the step is right, but C does not take its program. {problem}") from problem
        self.expected = {generator: None for generator in program.generators}
        self.known = False  # whether C knows what Python does
        self.set_anew = False  # whether an optimizer's group is another than C was told; whoever runs this looks
        self.lock = threading.RLock()  # who compares plan and step holds it meanwhile
        _machines.add(self)
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
            if name in ("optimizer", "group", "parameters", "generator", "names", "host"):
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
        if item.kind == "gemm_stack":
            fields |= {f"{name}_steps": item.fields[name].strides[:-2] for name in "ab"}
        if item.kind == "noise":
            fields |= {"key": item.fields["generator"].key, "counter": 0,
                       "counter_step": self.program.generators[item.fields["generator"]]}  # fmt: skip
            fields.pop("draw")
        if item.kind == "update":
            rule, optimizer, group = (item.fields[name] for name in ("rule", "optimizer", "group"))
            fields |= {"numbers": RULES[rule].numbers(optimizer, group), "steps": [0] * len(fields["tensors"])}
        return fields

    def _place(self, kind, name, ref):
        place = (self.numbers[ref.root], ref.offset)
        if kind in ("gemm", "gemm_stack") and name in "ab":
            return (*place, *ref.strides[-2:])
        if kind == "copy":
            return (*place, ref.strides)
        return place

    # -- running ----------------------------------------------------------------------------------------------------

    def run(self, arrays):
        """One step; returns the outputs as new arrays."""
        with self.lock:
            starts = self._prepare()
            given = arrays if self.takes_all else [arrays[k] for _, k in self.inputs]
            for segment in self.segments:
                if segment.__class__ is not list:
                    self._on_host(segment.fields, arrays, starts)
                    continue
                try:
                    self.code.go(given, *segment)
                except DataError as problem:
                    self._go_on(problem, given, segment[1], arrays, starts)
            self._finish(starts, 1)
            values = []
            for out in self.outputs:
                values.append((out if out.__class__ is ndarray else self.array(*out, arrays)).copy())
            return values

    def _go_on(self, problem, given, last, arrays, starts):
        """Up to instruction last, where one has found a value out of its range: Python does its work, and either can
        or says what is wrong.
        """
        while problem is not None:
            number = getattr(problem, "instruction", None)
            if number not in self.asked:
                raise problem
            self._on_host(self.asked[number], arrays, starts)
            problem = None
            if number + 1 < last:
                try:
                    self.code.go(given, number + 1, last)
                except DataError as another:
                    problem = another

    def epoch(self, steps, sources, index):
        """So many steps in one call of C, each on the next rows of index; returns the outputs, (steps,) each."""
        feeds = [(n, sources[k][0], index, 1.0 / sources[k][1]) for n, k in self.inputs]
        losses = [np.zeros(steps) for _ in self.lowered.outputs]
        places = [(self.numbers[ref.root], ref.offset) for ref in self.lowered.outputs]
        with self.lock:
            starts = self._prepare()
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
        clock, times = time.perf_counter, []
        given = [arrays[k] for _, k in self.inputs]
        with self.lock:
            starts = self._prepare()
            for _ in range(repeats):
                row, number = [], 0
                for item in self.lowered.items:
                    begin = clock()
                    if item.kind == "host":
                        self._on_host(item.fields, arrays, starts)
                    else:
                        try:
                            self.code.go(given, number, number + 1)
                        except DataError as problem:
                            self._go_on(problem, given, number + 1, arrays, starts)
                        number += 1
                    row.append(clock() - begin)
                times.append(row)
            self._finish(starts, repeats)
        return np.median(times, axis=0)

    def _prepare(self):
        """Tell C what may have changed since the last run; returns {generator: its counter}.

        From here to `_finish` nothing is taken for known: after a run that was interrupted C is told everything anew.
        """
        known, self.known = self.known, False
        set_anew, self.set_anew = self.set_anew or not known, False
        starts = {}
        for generator in self.expected:
            starts[generator] = counter = generator.counter
            if not known or self.expected[generator] != counter:
                for number, item in self.noise:
                    if item.fields["generator"] is generator:
                        self.code.set_counter(number, (counter + item.fields["draw"]) % 2**64)
        for update in self.updates:
            if set_anew:
                self.code.set_numbers(update.number, update.numbers())
            step = update.step if known else None
            for state in update.states:
                if state["step"] != step:
                    update.tell(self.code)
                    break
        return starts

    def _finish(self, starts, steps):
        """Tell Python what has changed in a run of so many steps."""
        for generator, counter in starts.items():
            generator.counter = (counter + steps * self.program.generators[generator]) % 2**64
            self.expected[generator] = generator.counter
        for update in self.updates:
            update.advance(steps)
        self.known = True

    def _on_host(self, work, arrays, starts):
        """work: as `by_host` of the lowering gives it."""
        instruction = work["instruction"]
        operands = [x if not isinstance(x, tuple) else self.array(*x, arrays) for x in work["operands"]]
        generator = instruction.settings.get("generator")
        if generator is not None:
            generator.counter = (starts[generator] + instruction.draw) % 2**64
        settings = {name: self.array(*x, arrays) for name, x in work["arrays"].items()}
        try:
            with np.errstate(all="ignore"):
                y = compute(instruction, operands, kernels=True, arrays=settings)
        except TinyaeError:
            raise
        except (ValueError, TypeError, IndexError, OverflowError) as problem:  # in eager's words
            if not isinstance(instruction.op, Op):
                raise
            raise instruction.op._error(problem, operands, instruction.settings) from None
        if instruction.result.cell is None:
            for out, value in zip(work["outs"], y if y.__class__ is tuple else (y,)):
                self.array(out, None, arrays)[...] = value

    def array(self, ref, dtype, arrays):
        """A ref as a NumPy view; of a dtype other than the memory's, converted."""
        root = ref.root
        if root.kind == "arena":
            flat = self.code.array(self.numbers[root], (max(root.size, 1),), root.dtype)
        else:  # an input may have any strides, and reshaping would keep a stride that is the same everywhere
            flat = (np.ascontiguousarray(arrays[root.input]) if root.kind == "input" else root.array).reshape(-1)
        item = root.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(flat[ref.offset :], ref.shape, [s * item for s in ref.strides])
        return view if dtype is None or dtype == root.dtype else view.astype(dtype)
