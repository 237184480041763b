"""The NumPy executor: a lowered program's instructions, one by one, as csrc/plan.c runs them.

It has the interface of `tinyae.kernels.plan.Program`, is its oracle, and takes its place where there is no C.

Ring 4. Must not know ops or values: only what an instruction says.
"""

import functools
import math
import types

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..engine import OPS
from ..errors import DataError
from ..ops.random import _fill
from ..ops.conv import _cut, _Geometry
from ..ops.pool import _reduced
from .rules import RULES

__all__ = ["Reference"]

_DTYPES = (np.float32, np.float64, np.uint8, np.bool_, np.int64)
_REDUCE = {"sum": np.sum, "max": np.max, "min": np.min, "argmax": np.argmax, "argmin": np.argmin}


class Reference:
    """Buffers and instructions, as `tinyae.kernels.plan.Program` takes them.

    Each instruction becomes a function whose views of memory are made once; so inputs are copied to a fixed place.
    """

    def __init__(self, buffers, instructions, arena_bytes):
        self._arena = np.zeros(arena_bytes + 64, np.uint8)
        self._buffers, self._inputs = buffers, {}
        self._order = [number for number, (kind, *_) in enumerate(buffers) if kind == "input"]
        self._live = [{**fields} for _, fields in instructions]  # what the set_... methods change
        self._run = [getattr(self, f"_{kind}")(types.SimpleNamespace(**fields, live=live))
                     for (kind, fields), live in zip(instructions, self._live)]  # fmt: skip

    def set_numbers(self, instruction, numbers):
        """The settings of an update."""
        self._live[instruction]["numbers"] = numbers

    def set_steps(self, instruction, steps):
        """How many steps an update has done on each of its tensors."""
        self._live[instruction]["steps"] = list(steps)

    def set_counter(self, instruction, counter):
        """Where the noise of the next run begins."""
        self._live[instruction]["counter"] = counter

    def go(self, arrays, first=0, last=None):
        """One step, or a part of it, on these inputs."""
        for number, x in zip(self._order, arrays):
            if number in self._inputs:
                self._inputs[number][: x.size] = x.reshape(-1)  # at least one element, also of none
        with np.errstate(all="ignore"):
            for number, run in enumerate(self._run[first:last], first):
                try:
                    run()
                except DataError as problem:
                    problem.instruction = number
                    raise

    def array(self, buffer, shape, dtype, offset=0):
        """A view of an arena buffer."""
        return self._flat(buffer, dtype)[offset : offset + math.prod(shape)].reshape(shape)

    def _flat(self, buffer, dtype):
        kind, *what = self._buffers[buffer]
        if kind == "arena":
            offset, nbytes = what
            return self._arena[offset : offset + nbytes].view(dtype)
        if kind == "input":
            if buffer not in self._inputs:
                self._inputs[buffer] = np.zeros(what[0] // np.dtype(dtype).itemsize, dtype)
            return self._inputs[buffer]
        return what[0].reshape(-1)

    def _view(self, place, shape, strides, dtype):
        flat = self._flat(place[0], dtype)[place[1] :]
        return as_strided(flat, shape, [s * flat.itemsize for s in strides])

    def _dense(self, place, shape, dtype):
        return self._flat(place[0], dtype)[place[1] : place[1] + math.prod(shape)].reshape(shape)

    # -- instructions -----------------------------------------------------------------------------------------------

    def _gemm(self, i):
        dtype = _DTYPES[i.dtype]
        a = self._view(i.a[:2], (i.m, i.k), i.a[2:], dtype)
        b = self._view(i.b[:2], (i.k, i.n), i.b[2:], dtype)
        c = self._view(i.c[:2], (i.m, i.n), (i.c[2], 1), dtype)
        bias = None if i.bias is None else self._dense(i.bias, (i.n,), dtype)

        def run():
            np.matmul(a, b, out=c)
            if bias is not None:
                np.add(c, bias, out=c)
            if i.activation is not None:
                c[...] = _function(i.activation, i.param)(c)

        return run

    def _gemm_stack(self, i):
        dtype = _DTYPES[i.dtype]
        a = self._view(i.a[:2], (*i.sizes, i.m, i.k), (*i.a_steps, *i.a[2:]), dtype)
        b = self._view(i.b[:2], (*i.sizes, i.k, i.n), (*i.b_steps, *i.b[2:]), dtype)
        c = self._dense(i.c, (*i.sizes, i.m, i.n), dtype)
        return lambda: np.matmul(a, b, out=c)

    def _chain(self, i):
        dtype = np.dtype(_DTYPES[i.dtype])
        shapes = {"full": (i.rows, i.cols), "row": (1, i.cols), "column": (i.rows, 1), "scalar": (1, 1)}
        operands = [
            key[1] if key[0] == "number" else self._dense(key, shapes[key[2]], dtype) for key in i.operands
        ]  # fmt: skip
        ops = [(_function(name, *param), to, sources) for name, to, sources, *param in i.ops]
        axes = {"sum": None, "sum_rows": 0, "sum_cols": 1}
        sizes = {"store": (i.rows, i.cols), "sum": (), "sum_rows": (i.cols,), "sum_cols": (i.rows,)}
        outputs = [(kind, register, self._dense((buffer, offset), sizes[kind], dtype))
                   for kind, register, buffer, offset in i.outputs]  # fmt: skip

        def run():
            registers = {}
            for function, to, sources in ops:
                registers[to] = function(*[registers[n] if kind == "r" else operands[n] for kind, n in sources])
            for kind, register, out in outputs:
                y = np.broadcast_to(np.asarray(registers[register], dtype), (i.rows, i.cols))
                out[...] = y if kind == "store" else y.sum(axis=axes[kind])

        return run

    def _reduce(self, i):
        dtype, function = _DTYPES[i.dtype], _REDUCE[i.kind]
        x = self._dense(i.x, (i.outer, i.n, i.inner), dtype)
        out = self._dense(i.out, (i.outer, i.inner), np.int64 if i.kind.startswith("arg") else dtype)
        return lambda: function(x, axis=1, out=out)

    def _rows(self, i):
        x = self._dense(i.x, (i.rows, i.n), _DTYPES[i.dtype])
        out = self._dense(i.out, (i.rows,) if i.kind == "logsumexp" else (i.rows, i.n), _DTYPES[i.dtype])
        op = OPS[i.kind]

        def run():
            out[...] = op.definition(x, **op.defaults | {"axis": -1})

        return run

    def _rows_backward(self, i):
        g, y, out = (self._dense(place, (i.rows, i.n), _DTYPES[i.dtype]) for place in (i.g, i.y, i.out))
        rule = OPS[i.kind].rules["x"][0]

        def run():
            out[...] = rule(g, y, -1)

        return run

    def _copy(self, i):
        x = self._view(i.x[:2], i.shape, i.x[2], _DTYPES[i.live["from"]])
        out = self._view(i.out[:2], i.shape, i.out[2], _DTYPES[i.dtype])

        def run():
            out[...] = out + x if i.add else x

        return run

    def _fill(self, i):
        return functools.partial(self._dense(i.out, (i.n,), _DTYPES[i.dtype]).fill, i.value)

    def _noise(self, i):
        out = self._dense(i.out, (i.n,), _DTYPES[i.dtype])

        def run():
            _fill(i.kind, out, i.key, i.live["counter"], i.p)
            i.live["counter"] = (i.live["counter"] + i.counter_step) % 2**64

        return run

    def _gather(self, i):
        dtype = _DTYPES[i.dtype]
        x, out = self._dense(i.x, (i.x_rows, i.n), dtype), self._dense(i.out, (i.rows, i.n), dtype)
        index = self._dense(i.index, (i.rows,), np.int64)

        def run():
            _check_rows(index, i.x_rows)
            out[...] = x[index]

        return run

    def _scatter(self, i):
        dtype, ones = _DTYPES[i.dtype], getattr(i, "ones", 0)
        index, shape = self._dense(i.index, (i.rows,), np.int64), (i.rows if ones else i.out_rows, i.n)
        out, x = self._dense(i.out, shape, dtype), None if ones else self._dense(i.x, (i.rows, i.n), dtype)

        def run():
            _check_rows(index, i.n if ones else i.out_rows)
            out[...] = 0
            if ones:
                out[np.arange(i.rows), index] = 1
            else:
                np.add.at(out, index, x)

        return run

    def _within(self, i):
        x = self._dense(i.x, (i.n,), _DTYPES[i.live["from"]])

        def run():
            if np.any((x < i.low) | (x > i.high)):
                raise DataError("a value is out of range")

        return run

    def _windows(self, i):
        dtype, (images, groups, big, small, kernel, stride, before, dilation) = _DTYPES[i.dtype], i.windows
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
        ends = zip(big[1:], small[1:], spans, stride, before)
        around = tuple((b, (m - 1) * s + w - n - b) for n, m, w, s, b in ends)  # the last window ends where big does
        geometry = _Geometry(kernel, stride, around, dilation)
        shapes = {"big": (images, *big), "small": (images, *small), "weight": (small[0], big[0] // groups, *kernel),
                  "pooled": (images, *big)}  # fmt: skip
        settings = {"stride": stride, "padding": around, "dilation": dilation, "groups": groups}
        pooling = {"kernel_size": kernel, "stride": stride, "padding": before, "dilation": dilation}
        shapes["bias"] = (big[0] if i.kind == "conv2d_transposed" else small[0],)
        at = {name: self._dense(place, shapes[name], dtype) for name in shapes if (place := getattr(i, name, None))}

        def convolved(name, x, **more):
            y = OPS[name].definition(x, at["weight"], at.get("bias"), **settings, **more)
            return y if i.activation is None else _function(i.activation, i.param)(y)

        def spread():
            padded = np.zeros((*at["big"].shape[:2], *geometry.padded(big[1:])), dtype)
            for window in geometry.windows(padded):
                window += at["small"] / dtype(i.param)
            return _cut(padded, around)

        def max_pool_backward():
            x = at["pooled"]
            return OPS["max_pool"].rules["x"][0](at["small"], x, OPS["max_pool"].definition(x, **pooling), **pooling)

        out, function = {
            "conv2d": ("small", lambda: convolved("conv2d", at["big"])),
            "conv2d_transposed": ("big", lambda: convolved("conv_transpose2d", at["small"], output_padding=0)),
            "conv2d_weight": ("weight", lambda: OPS["_conv2d_weight"].definition(
                at["big"], at["small"], kernel_size=kernel, **settings)),
            "max_pool": ("small", lambda: OPS["max_pool"].definition(at["big"], **pooling)),
            "max_pool_backward": ("big", max_pool_backward),
            "sum_pool": ("small", lambda: _reduced(np.add, at["big"], geometry) / dtype(i.param)),
            "spread": ("big", spread),
        }[i.kind]  # fmt: skip

        def run():
            at[out][...] = function()

        return run

    def _recurrent_arrays(self, i):
        """Everything of a recurrent layer, by name."""
        op, at = OPS[i.kind], {}
        wide = i.hidden * {"rnn": 1, "lstm": 4, "gru": 3}[i.kind]
        start, y = (i.n, i.hidden), (*[2] * (i.kind == "lstm"), i.steps, i.n, i.hidden)
        shapes = {"z": (i.n, wide) if i.z_repeats else (i.steps, i.n, wide), "weight": (i.hidden, wide),
                  "bias": (wide,), "h": start, "c": start, "y": y, "gates": (i.steps, i.n, 4 * i.hidden), "g": y,
                  "dz": (i.steps, i.n, wide), "dweight": (i.hidden, wide), "dbias": (wide,), "dh": start,
                  "dc": start}  # fmt: skip
        for name, shape in shapes.items():
            if getattr(i, name, None):
                at[name] = self._dense(getattr(i, name), shape, _DTYPES[i.dtype])
        if i.z_repeats and "z" in at:
            at["z"] = np.broadcast_to(at["z"], shapes["dz"])
        lengths = self._dense(i.lengths, (i.n,), np.int64) if getattr(i, "lengths", None) else None
        return op, at, {"activation": i.activation, "lengths": lengths, "reverse": i.reverse}

    def _recurrent(self, i):
        op, at, settings = self._recurrent_arrays(i)

        def run():
            if "gates" in at:  # the rule computes them anew, from z, which may be gone by then
                at["gates"][..., : at["z"].shape[-1]] = at["z"]
            at["y"][...] = op.definition(*[at[name] for name in op.arguments], **settings)

        return run

    def _recurrent_backward(self, i):
        op, at, settings = self._recurrent_arrays(i)
        if "gates" in at:
            at["z"] = at["gates"][..., : at["dz"].shape[-1]]
        rule, _, names = op.rules["z"]
        values = [settings[name] if name in settings else at[name] for name in names]
        outs = [at[name] for name in ("dz", "dweight", "dbias", "dh", "dc") if name in at]

        def run():
            for out, value in zip(outs, rule(at["g"], *values)):
                out[...] = value

        return run

    def _update(self, i):
        tensors = [[self._dense(place, (n,), _DTYPES[i.dtype]) for place in places] for n, *places in i.tensors]
        work = {}

        def run():
            optimizer, names = RULES[i.rule].alone(i.live["numbers"], work)
            for k, (p, g, *slots) in enumerate(tensors):
                optimizer._update(p, g, {**dict(zip(names, slots)), "step": i.live["steps"][k]})
                i.live["steps"][k] += i.advance[k]

        return run


def _check_rows(index, n):
    if index.size and not 0 <= index.min() <= index.max() < n:
        raise DataError("a row number is out of range")


def _function(name, *param):
    """An element-wise op, or the fused gradient of one, by its definition."""
    op = OPS[name.removesuffix(".vjp")]
    settings = {"low": param[0], "high": param[1]} if name == "clip" else _setting(op, param[0])
    if not name.endswith(".vjp"):
        return functools.partial(op.definition, **settings) if settings else op.definition
    rule = op.rules[op.arguments[0]][0]
    names = rule.__code__.co_varnames[1 : rule.__code__.co_argcount]
    return lambda g, kept: rule(g, *[settings[n] if n in settings else kept for n in names])


def _setting(op, param):
    settings = dict(op.defaults)
    for name in ("slope", "alpha"):
        if name in settings:
            settings[name] = param
    return settings
