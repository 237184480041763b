"""A training step as a list of instructions that C runs in one call (csrc/plan.c).

`Program` turns instructions, tuples of a kind and a dict, into C's structs, owns the memory between them and runs them.
It must not know a tensor, an op or a model. What each kind's dict holds is said at the function below that encodes it;
everywhere

    dtype     0 float32, 1 float64
    a place   (buffer, offset): the number of a buffer, and how many elements into it. What is there is contiguous
              unless strides, in elements, are given as well.

C checks every instruction against the sizes of its buffers when a Program is made; what reaches beyond them is refused.
"""

import threading
import time

import numpy as np

from ..errors import BackendError, DataError
from .arrays import DENSE, address, dtype_code
from .library import ffi, lib, reported
from .products import PIECES

NOWHERE = (-1, 0)
CELLS = {"rnn": 0, "lstm": 1, "gru": 2}
NOISE = {"uniform": 0, "normal": 1, "bernoulli": 2}
if lib is not None:
    _UNARY = reported(lib.tae_unary_name)
    UNARY = {None: -1} | {name: i for i, name in enumerate(_UNARY)}
    CHAIN = {name: i for i, name in enumerate(reported(lib.tae_chain_name))}  # an op of a chain, by name
    CHAIN |= {name: lib.tae_chain_ops() + i for i, name in enumerate(_UNARY)}
    CHAIN |= {name + ".vjp": lib.tae_chain_ops() + len(_UNARY) + i for i, name in enumerate(_UNARY)}
    RULES = {(name, lib.tae_rule_slots(i)): i for i, name in enumerate(reported(lib.tae_rule_name))}
    MODES = {"full": lib.TAE_FULL, "row": lib.TAE_ROW, "column": lib.TAE_COLUMN, "scalar": lib.TAE_SCALAR}
    OUTPUTS = {"store": lib.TAE_STORE, "sum": lib.TAE_SUM, "sum_rows": lib.TAE_SUM_ROWS, "sum_cols": lib.TAE_SUM_COLS}
    REDUCTIONS = {"sum": lib.TAE_REDUCE_SUM, "max": lib.TAE_REDUCE_MAX, "min": lib.TAE_REDUCE_MIN,
                  "argmax": lib.TAE_REDUCE_ARGMAX, "argmin": lib.TAE_REDUCE_ARGMIN}  # fmt: skip
    WINDOWS = {"conv2d": lib.TAE_CONV2D, "conv2d_transposed": lib.TAE_CONV2D_TRANSPOSED,
               "conv2d_weight": lib.TAE_CONV2D_WEIGHT, "max_pool": lib.TAE_MAX_POOL,
               "max_pool_backward": lib.TAE_MAX_POOL_BACKWARD, "sum_pool": lib.TAE_SUM_POOL,
               "spread": lib.TAE_SPREAD}  # fmt: skip
    ROWS = {"softmax": lib.TAE_SOFTMAX, "log_softmax": lib.TAE_LOG_SOFTMAX, "logsumexp": lib.TAE_LOGSUMEXP}
    ROWS_BACKWARD = {"softmax": lib.TAE_SOFTMAX_BACKWARD, "log_softmax": lib.TAE_LOG_SOFTMAX_BACKWARD}


def available():
    """Whether there is C to run a Program."""
    return lib is not None


def _gemm(program, q):
    """c = activation(alpha a b + beta c + bias): m, n, k, a = (buffer, offset, row stride, column stride), b likewise,
    c = (buffer, offset, row stride), bias = None or a place, activation = None or the name of a unary op, param its
    setting, alpha 1, beta 0, precision = None (by FMA alone) or one of `PIECES`, in float32 and where it is faster."""
    a, b, c = q["a"], q["b"], q["c"]
    return {
        "m": q["m"], "n": q["n"], "k": q["k"], "a": a[:2], "a_rs": a[2], "a_cs": a[3], "b": b[:2], "b_rs": b[2],
        "b_cs": b[3], "c": c[:2], "c_rs": c[2] if len(c) > 2 else q["n"], "bias": q.get("bias") or NOWHERE,
        "activation": UNARY[q.get("activation")], "param": q.get("param", 0.0), "alpha": q.get("alpha", 1.0),
        "beta": q.get("beta", 0.0), "pieces": PIECES[q["precision"]] if q.get("precision") else 0,
    }  # fmt: skip


def _gemm_stack(program, q):
    """The same for stacks, without bias and activation; sizes of their axes, a_steps and b_steps between matrices."""
    steps = {name: program.keep(ffi.new("int64_t[]", list(q[name]) or [0])) for name in ("sizes", "a_steps", "b_steps")}
    return _gemm(program, q) | steps | {"axes": len(q["sizes"])}


def _chain(program, q):
    """Element-wise ops, tile by tile: rows, cols, operands = [(buffer, offset, mode) or ("number", value)], ops =
    [(name, register, (from, ...), setting, ...)], outputs = [(kind, register, buffer, offset)].

    Modes: full (rows cols values), row (cols), column (rows), scalar (one in memory). Names: the rows of csrc/chain.def
    and activations.def, and the latter's derivatives "name.vjp" of (g, kept). from: ("r", i) a register, ("o", i) an
    operand. Kinds: store, sum (1 value), sum_rows (cols values), sum_cols (rows values). A full operand may be the
    memory of a store.
    """
    rows, cols, size = q["rows"], q["cols"], 8 if q["dtype"] else 4
    operands, outputs = q["operands"], q["outputs"]
    if {"row", "column"}.isdisjoint(x[-1] for x in operands) and {"sum_rows", "sum_cols"}.isdisjoint(
        x[0] for x in outputs
    ):
        rows, cols = 1, rows * cols  # tiles need not end where rows do
    ops, spread, registers = [], set(), 0
    for name, to, sources, *settings in q["ops"]:
        code = CHAIN[name]
        numbers = [~i if kind == "o" else i for kind, i in sources]
        if code >= lib.tae_chain_ops() and numbers[-1] < 0:
            spread.add(~numbers[-1])  # C reads what is kept, or the only source, as a whole tile
        registers = max(registers, to + 1)
        p, s = (*settings, 0.0, 0.0)[:2]
        ops.append({"code": code, "to": to, "from": (numbers * 3)[:3], "direct": -1, "p": p, "q": s})
    # The last op that writes a register may write to where it is to be stored, if nothing is read from there later.
    for k, (kind, register, *place) in enumerate(outputs):
        last = max((i for i, op in enumerate(ops) if op["to"] == register), default=None)
        if kind == "store" and last is not None and ops[last]["direct"] < 0:
            where = program.memory(place, rows * cols * size, size)
            later = {~i for op in ops[last + 1 :] for i in op["from"] if i < 0}
            read = [program.memory(operands[i][:2], rows * cols * size, size) for i in later if len(operands[i]) == 3]
            if not any(a < where[1] and where[0] < b for a, b in read):
                ops[last]["direct"] = k
    encoded = [
        {"mode": lib.TAE_NUMBER, "at": NOWHERE, "number": x[1], "spread": i in spread}
        if x[0] == "number"
        else {"mode": MODES[x[2]], "at": x[:2], "spread": i in spread and x[2] in ("scalar", "column")}
        for i, x in enumerate(operands)
    ]
    stores = [{"kind": OUTPUTS[kind], "from": register, "at": place} for kind, register, *place in outputs]
    return {
        "rows": rows, "cols": cols, "registers": registers, "operands": len(operands), "ops": len(ops),
        "outputs": len(outputs), "operand": program.keep(ffi.new("tae_chain_operand[]", encoded)),
        "op": program.keep(ffi.new("tae_chain_op[]", ops)),
        "output": program.keep(ffi.new("tae_chain_output[]", stores)),
    }  # fmt: skip


def _reduce(program, q):
    """out (outer, inner) = the sum, max, min, argmax or argmin (int64) of x (outer, n, inner): kind and those."""
    return {"kind": REDUCTIONS[q["kind"]]} | {name: q[name] for name in ("outer", "n", "inner", "x", "out")}


def _rows(program, q):
    """out = softmax, log_softmax or logsumexp of each row of x (rows, n): kind, rows, n."""
    return {"kind": ROWS[q["kind"]], "y": NOWHERE} | {name: q[name] for name in ("rows", "n", "x", "out")}


def _rows_backward(program, q):
    """The derivative of softmax or log_softmax in g from the result y: kind, rows, n, g, y, out."""
    return {"kind": ROWS_BACKWARD[q["kind"]], "x": q["g"]} | {name: q[name] for name in ("rows", "n", "y", "out")}


def _copy(program, q):
    """out = x, or out += x with add: shape, x = (buffer, offset, strides), out likewise, up to 8 axes after those that
    lie side by side are made one. from: x's type, 0 float32, 1 float64, 2 uint8, 3 bool, 4 int64."""
    (x, x_at, x_strides), (out, out_at, out_strides) = q["x"], q["out"]
    axes = []
    for size, xs, outs in zip(q["shape"], x_strides, out_strides):
        if outs < 0:  # the same from the other end
            x_at, out_at, xs, outs = x_at + (size - 1) * xs, out_at + (size - 1) * outs, -xs, -outs
        if size != 1:
            axes.append((size, xs, outs))
    axes.sort(key=lambda axis: -axis[2])
    reach, shared = 0, False  # of the axes inside; does an axis step back into them?
    for size, _, outs in reversed(axes):
        shared |= outs <= reach
        reach += (size - 1) * outs
    if shared and not q.get("add") and 0 not in q["shape"]:
        raise BackendError(f"copy: strides {tuple(out_strides)} of shape {tuple(q['shape'])} write one element twice.")
    merged = []
    for size, xs, outs in axes:
        if merged and merged[-1][1:] == (xs * size, outs * size):
            size *= merged.pop()[0]
        merged.append((size, xs, outs))
    if merged and merged[-1][1] != 1:  # a transposed copy turns squares of the two axes that are contiguous
        merged[:-1] = sorted(merged[:-1], key=lambda axis: axis[1] == 1)
    merged = [(1, 0, 0)] * (2 - len(merged)) + merged
    if len(merged) > 8:
        raise BackendError(f"copy: shape {tuple(q['shape'])} has {len(merged)} axes that are no fewer. Use 8 at most.")
    sizes, x_steps, out_steps = zip(*merged)
    return {
        "from": q.get("from", q["dtype"]), "add": bool(q.get("add")), "shared": shared, "axes": len(merged),
        "sizes": sizes, "x_strides": x_steps, "out_strides": out_steps, "x": (x, x_at), "out": (out, out_at),
    }  # fmt: skip


def _fill(program, q):
    """out = value: n, value."""
    return {name: q[name] for name in ("n", "value", "out")}


def _noise(program, q):
    """out = noise: kind, n, key, counter, counter_step (by which the counter moves on after each run), p."""
    return {"kind": NOISE[q["kind"]], "p": q.get("p", 0.0), "counter_step": q.get("counter_step", 0)} | {
        name: q[name] for name in ("n", "key", "counter", "out")
    }


def _gather(program, q):
    """out (rows, n) = scale x[index]: x_rows, x of type `from` (the dtype, or 2 for bytes), index int64, rows, n."""
    return {"from": q.get("from", q["dtype"]), "scale": q.get("scale", 1.0)} | {
        name: q[name] for name in ("rows", "n", "x_rows", "x", "index", "out")
    }


def _scatter(program, q):
    """out (out_rows, n) = 0, then out[index[r]] += x[r] of x (rows, n); ones: out (rows, n), 1 at index[r] of row r."""
    return {name: q[name] for name in ("rows", "n", "out_rows", "index", "out")} | {
        "ones": q.get("ones", 0), "x": q.get("x") or NOWHERE}  # fmt: skip


def _within(program, q):
    """Fails unless all of x (n), of dtype `from`, are in [low, high] or NaN."""
    return {name: q[name] for name in ("from", "n", "low", "high", "x")}


def windows_fit(kind, dtype, windows):
    """Whether there is C for a windows instruction of these sizes; NumPy has all of them."""
    return lib is None or lib.tae_windows_fit(WINDOWS[kind], dtype, ffi.new("tae_windows *", windows)) == 0


def _windows(program, q):
    """A function of tae_windows: kind, windows = (images, groups, big, small, kernel, stride, before, dilation), and
    the places that it has: big, small, weight, bias, pooled. activation: None or the name of a unary op; param: its
    setting, or the divisor.
    """
    places = {name: q.get(name) or NOWHERE for name in ("big", "small", "weight", "bias", "pooled")}
    settings = {"activation": UNARY[q.get("activation")], "param": q.get("param", 0.0)}
    return {"kind": WINDOWS[q["kind"]], "windows": q["windows"]} | places | settings


def _recurrent(program, q):
    """tae_recurrent: kind = "rnn", "lstm" or "gru", steps, n, hidden, activation "tanh" or "relu", reverse, z_repeats,
    and the places lengths (None or int64), z, weight, bias, h, c (None where there is none), y and gates (None, or
    memory that keeps them for the way back: steps n 4 hidden)."""
    numbers = {"kind": CELLS[q["kind"]], "activation": int(q["activation"] == "relu"), "reverse": int(q["reverse"])}
    numbers |= {name: int(q[name]) for name in ("z_repeats", "steps", "n", "hidden")}
    places = ("lengths", "z", "weight", "bias", "h", "c", "y", "gates", "g", "dz", "dweight", "dbias", "dh", "dc")
    return numbers | {name: q.get(name) or NOWHERE for name in places} | {"backward": 0}


def _recurrent_backward(program, q):
    """Its gradients: g, and the places of what comes of it, dz, dweight, dbias, dh, dc. With gates, z is not read."""
    return _recurrent(program, q) | {"backward": 1}


def _update(program, q):
    """One step of an optimizer: rule, tensors = [(n, p, g, slot, ...)] with places, numbers; of each tensor
    steps (made so far) and advance (how many a run of the whole program makes).

    numbers: sgd lr, momentum, nesterov, weight_decay (a slot for momentum, or none); adam lr, beta1, beta2, eps,
    weight_decay, decoupled (slots m and v); rmsprop and centered_rmsprop lr, alpha, eps, momentum, weight_decay (slots
    v, for the latter m, for momentum velocity); adagrad lr, lr_decay, eps, weight_decay (v); adadelta lr, rho, eps,
    weight_decay (v and u).
    """
    count = len(q["tensors"])
    rows = zip(q["tensors"], q.get("steps", [0] * count), q.get("advance", [1] * count), strict=True)
    tensors = [{"n": n, "p": p, "g": g, "slot": slots, "step": step, "advance": advance}
               for (n, p, g, *slots), step, advance in rows]  # fmt: skip
    slots = {len(t["slot"]) for t in tensors} or {max(n for name, n in RULES if name == q["rule"])}
    if len(slots) > 1 or (rule := RULES.get((q["rule"], *slots))) is None:
        raise BackendError(f"update: no rule {q['rule']} has {sorted(slots)} slots. There are: {sorted(RULES)}.")
    if len(q["numbers"]) != lib.tae_rule_numbers(rule):
        raise BackendError(f"update: {q['rule']} takes {lib.tae_rule_numbers(rule)} numbers, not {len(q['numbers'])}.")
    return {
        "rule": rule, "tensors": len(tensors), "tensor": program.keep(ffi.new("tae_plan_tensor[]", tensors)),
        "numbers": program.keep(ffi.new("double[]", list(q["numbers"]))),
    }  # fmt: skip


# kind: (the function that encodes it, the member of C's union)
KINDS = {
    "gemm": (_gemm, "gemm"), "gemm_stack": (_gemm_stack, "gemm"), "chain": (_chain, "chain"),
    "reduce": (_reduce, "reduce"), "rows": (_rows, "rows"), "rows_backward": (_rows_backward, "rows"),
    "copy": (_copy, "copy"), "fill": (_fill, "fill"), "noise": (_noise, "noise"), "gather": (_gather, "gather"),
    "update": (_update, "update"), "windows": (_windows, "windows"),
    "recurrent": (_recurrent, "recurrent"), "recurrent_backward": (_recurrent_backward, "recurrent"),
    "scatter": (_scatter, "scatter"), "within": (_within, "within"),
}  # fmt: skip


class Program:
    """Instructions, ready to run.

    buffers: by number ("arena", byte offset, bytes) in memory that the Program owns, zero at first; ("array", ndarray),
    C-contiguous, whose address is taken now; ("input", bytes), an array that each run brings, and that is only read.
    Calls from several threads wait for each other; several Programs run at once.
    """

    def __init__(self, buffers, instructions, arena_bytes):
        if lib is None:
            raise BackendError("Program: the backend is NumPy, and a Program is run by C.")
        self._kept, self._lock = [], threading.Lock()
        memory = np.zeros(arena_bytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self._arena = memory[start : start + arena_bytes]
        self._buffers, self._kinds = list(buffers), [kind for kind, _ in instructions]
        self._memory = ffi.new("tae_buffer[]", max(len(self._buffers), 1))
        self._addresses = [self._place_buffer(number) for number in range(len(self._buffers))]
        self._inputs = [(number, rest[0]) for number, (kind, *rest) in enumerate(buffers) if kind == "input"]
        self._instructions = ffi.new("tae_instruction[]", max(len(instructions), 1))
        for number, (kind, settings) in enumerate(instructions):
            encode, member = KINDS[kind]
            self._instructions[number] = {
                "kind": getattr(lib, "TAE_" + member.upper()),
                "dtype": settings["dtype"],
                member: encode(self, settings),
            }
        self._count = len(instructions)
        dtypes = {settings["dtype"] for _, settings in instructions}
        self._dtype = dtypes.pop() if len(dtypes) == 1 else None
        plan = {"buffers": len(self._buffers), "instructions": len(instructions), "inputs": len(self._inputs)}
        plan |= {"buffer": self._memory, "instruction": self._instructions}
        plan["input"] = self.keep(ffi.new("int64_t[]", [number for number, _ in self._inputs] or [0]))
        self._plan = ffi.new("tae_plan *", plan)
        if (bad := lib.tae_plan_prepare(self._plan)) >= 0:
            kind, settings = instructions[bad]
            raise BackendError(
                f"Program: instruction {bad}, {kind} {settings}, is malformed, reaches outside of its buffers or "
                "writes where it may not. This is a mistake of whatever made the list."
            )
        scratch = np.empty(self._plan.scratch_bytes + 64, np.uint8)
        self._plan.scratch = self.keep(address(scratch)) + -scratch.ctypes.data % 64

    def keep(self, cdata):
        """cdata, which now lives as long as the Program."""
        self._kept.append(cdata)
        return cdata

    def _place_buffer(self, number):
        """Sets the address of a buffer, and returns it if it is known now."""
        kind, *rest = self._buffers[number]
        buffer = self._memory[number]
        if kind == "input":
            buffer.bytes = rest[0]
            return None
        if kind == "array":
            x = rest[0]
            if x.flags.num & DENSE != DENSE:
                raise BackendError(f"Program: buffer {number}, of shape {x.shape}, is not C-contiguous and aligned.")
            buffer.writeable = x.flags.writeable
        else:
            offset, size = rest
            if not 0 <= offset <= offset + size <= self._arena.size or offset % 8:
                raise BackendError(
                    f"Program: buffer {number}, bytes {offset} to {offset + size}, is not in the arena of "
                    f"{self._arena.size}, or begins at no multiple of 8."
                )
            x = self._arena[offset : offset + size]
            buffer.writeable = 1
        buffer.bytes = x.nbytes
        buffer.memory = self.keep(address(x.reshape(-1))) if x.size else ffi.NULL
        return x.ctypes.data

    def memory(self, place, size, itemsize):
        """(first byte, end) of `size` bytes at a place; (0, 0) of an input, where nothing is ever written."""
        start = self._addresses[place[0]]
        return (0, 0) if start is None else (start + place[1] * itemsize, start + place[1] * itemsize + size)

    def _in_order(self, inputs):
        """The arrays of {buffer number: array} in the order of the input buffers."""
        wanted = [number for number, _ in self._inputs]
        if missing := sorted({*wanted} - inputs.keys()):
            raise BackendError(f"Program: the inputs {missing} have not been brought.")
        if others := sorted(inputs.keys() - {*wanted}):
            raise BackendError(f"Program: the buffers {others} are no inputs; they cannot be brought.")
        return [inputs[number] for number in wanted]

    def _bring(self, arrays):
        """The addresses of the inputs, which keep the arrays alive."""
        brought = []
        for x, (number, size) in zip(arrays, self._inputs):
            if not x.size:  # of nothing there is no address; nothing reads it
                x = np.zeros(size, np.uint8)
            if x.nbytes != size:
                raise BackendError(
                    f"Program: buffer {number} is {self._buffers[number]}; it cannot be brought as an array of shape "
                    f"{x.shape} and dtype {x.dtype}."
                )
            if x.flags.num & DENSE != DENSE:
                x = np.array(x, order="C")
            brought.append(address(x))
        return brought

    def run(self, inputs, first=0, last=None):
        """Run instructions[first:last] once. inputs: {buffer number: array}, all of them."""
        with self._lock:
            self.go(self._in_order(inputs), first, last)

    def go(self, arrays, first=0, last=None):
        """`run` for those who have a lock of their own; arrays: all inputs, in the order of their buffers."""
        bad = lib.tae_plan_run(self._plan, first, self._count if last is None else last, self._bring(arrays))
        if bad >= 0:
            self._said(bad)

    def _said(self, bad):
        if 0 <= bad < len(self._kinds):
            problem = DataError(f"Program: instruction {bad}, {self._kinds[bad]}, got a row number that is out of range.")
            problem.instruction = bad
            raise problem

    def epoch(self, steps, feeds, losses, inputs=()):
        """Run everything `steps` times.

        feeds: [(buffer number, data (rows, ...), index (steps batch,) int64, scale)]: before each step the buffer, an
        input or one in the arena, gets scale data[index of the batch]. losses: [(place, out (steps,) float64[,
        dtype])]: after each step the value at the place. inputs: as for run, those that no feed fills.
        """
        with self._lock:
            inputs = dict(inputs)
            for number, *_ in feeds:  # an input that is fed needs memory of its own
                if self._buffers[number][0] == "input":
                    inputs[number] = np.empty(self._buffers[number][1], np.uint8)
            brought, alive = self._bring(self._in_order(inputs)), []
            try:
                for number, *_ in feeds:
                    self._memory[number].writeable = 1
                encoded = [self._feed(steps, alive, *feed) for feed in feeds]
                losses = [(loss if len(loss) > 2 else (*loss, self._dtype)) for loss in losses]
                for place, out, dtype in losses:
                    if out.dtype != np.float64 or out.shape != (steps,) or not out.flags.c_contiguous or dtype is None:
                        raise BackendError(f"Program.epoch: the loss at {place} needs float64 of shape ({steps},).")
                outs = [{"dtype": t, "from": at, "out": ffi.from_buffer("double[]", x, True)} for at, x, t in losses]
                feed_array, loss_array = ffi.new("tae_feed[]", encoded), ffi.new("tae_loss[]", outs)
                alive += outs
                bad = lib.tae_plan_epoch(self._plan, brought, steps, len(encoded), feed_array, len(outs), loss_array)
                self._said(bad)
                if bad >= len(self._kinds):
                    what = bad - len(self._kinds)
                    raise DataError(
                        f"Program.epoch: feed {what} has a row number that is out of range, or does not fit its buffer."
                        if what < len(feeds)
                        else f"Program.epoch: the loss at {losses[what - len(feeds)][0]} is not in its buffer."
                    )
            finally:
                for number, _ in self._inputs:
                    self._memory[number].writeable = 0

    def _feed(self, steps, alive, number, data, index, scale=1.0):
        n = int(np.prod(data.shape[1:]))
        source = 2 if data.dtype == np.uint8 else dtype_code(data.dtype)
        batch = index.size // max(steps, 1)
        itemsize = self._buffers[number][-1] // max(batch * n, 1)
        dtype = source if source != 2 else {4: 0, 8: 1}.get(itemsize)
        if source is None or dtype is None or index.dtype != np.int64 or index.size != batch * steps:
            raise BackendError(
                f"Program.epoch: data of shape {data.shape} and dtype {data.dtype} with {index.size} {index.dtype} row "
                f"numbers cannot feed {steps} steps."
            )
        if data.flags.num & DENSE != DENSE or index.flags.num & DENSE != DENSE:
            raise BackendError("Program.epoch: data and index must be C-contiguous.")
        alive += [address(data), ffi.from_buffer("int64_t[]", index)]
        return {
            "from": source, "dtype": dtype, "data": alive[-2], "data_rows": len(data), "n": n, "batch": batch,
            "index": alive[-1], "scale": scale, "to": (number, 0),
        }  # fmt: skip

    def profile(self, inputs, repeats):
        """Seconds of each instruction, the least of `repeats` runs of all of them, one at a time."""
        best = [float("inf")] * len(self._kinds)
        with self._lock:
            brought = self._bring(self._in_order(inputs))
            for _ in range(repeats):
                for i in range(len(best)):
                    start = time.perf_counter()
                    self._said(lib.tae_plan_run(self._plan, i, i + 1, brought))
                    best[i] = min(best[i], time.perf_counter() - start)
        return best

    def _instruction(self, number, kind):
        if self._kinds[number] != kind:
            raise BackendError(f"Program: instruction {number} is {self._kinds[number]}, not {kind}.")
        return getattr(self._instructions[number], kind)

    def set_numbers(self, instruction, numbers):
        """The numbers of an update from the next run on."""
        update = self._instruction(instruction, "update")
        if len(numbers) != (count := lib.tae_rule_numbers(update.rule)):
            raise BackendError(f"Program: instruction {instruction} takes {count} numbers, not {len(numbers)}.")
        numbers = ffi.new("double[]", list(numbers))
        ffi.memmove(ffi.cast("double *", update.numbers), numbers, ffi.sizeof(numbers))

    def steps(self, instruction):
        """How many steps an update has made on each of its tensors."""
        update = self._instruction(instruction, "update")
        return [update.tensor[i].step for i in range(update.tensors)]

    def set_steps(self, instruction, steps):
        """How many steps each tensor of an update has made."""
        update = self._instruction(instruction, "update")
        if len(steps) != update.tensors or min(steps, default=0) < 0:
            raise BackendError(f"Program: {steps} are no numbers of steps of {update.tensors} tensors, 0 or more each.")
        for i, step in enumerate(steps):
            update.tensor[i].step = step

    def counter(self, instruction):
        """The counter of a noise in the next run."""
        return self._instruction(instruction, "noise").counter

    def set_counter(self, instruction, counter):
        self._instruction(instruction, "noise").counter = counter

    def array(self, buffer, shape, dtype, offset=0):
        """A view of a buffer in the arena, or of an array, `offset` elements in."""
        kind, *rest = self._buffers[buffer]
        dtype = np.dtype(dtype)
        x = self._arena[rest[0] : rest[0] + rest[1]] if kind == "arena" else rest[0].reshape(-1).view(np.uint8)
        size = int(np.prod(shape)) * dtype.itemsize
        start = offset * dtype.itemsize
        if start < 0 or start + size > x.size:
            raise BackendError(f"Program.array: buffer {buffer} of {x.size} bytes has no {shape} {dtype} at {offset}.")
        return x[start : start + size].view(dtype).reshape(shape)
