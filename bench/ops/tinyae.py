"""tinyae, eager: its ops on plain arrays, which nothing records.

Three things go to the compiled library itself, as a plan does: the gradients of element-wise functions (what the tape
calls), rows by number, and losses with their gradients in one pass. ``*.tape`` is the loss as a user writes it.
"""

import functools

import numpy as np

import tinyae
from bench import grid
from tinyae import Tensor, kernels, nn, ops, optim
from tinyae._kernels import ffi, lib

_GENERATOR = ops.Generator(0)
_pointer = ffi.from_buffer


def _bce(x, t):
    g, loss = np.empty_like(x), ffi.new("double *")
    lib.tae_bce_with_logits(0, x.size, _pointer(x), _pointer(t), 1 / x.size, loss, _pointer(g))
    return loss[0], g


def _cross_entropy(x, label):
    g, loss = np.empty_like(x), ffi.new("double *")
    label = _pointer("int64_t[]", label)
    lib.tae_cross_entropy(0, *x.shape, _pointer(x), label, 1 / len(x), loss, _pointer(g))
    return loss[0], g


def _kl(mu, logvar):
    g_mu, g_logvar, loss = np.empty_like(mu), np.empty_like(mu), ffi.new("double *")
    inputs, slopes = map(_pointer, (mu, logvar)), map(_pointer, (g_mu, g_logvar))
    lib.tae_gaussian_kl(0, mu.size, *inputs, 1 / mu.size, loss, *slopes)
    return loss[0], g_mu, g_logvar


def _gather(scale):
    def run(x, index):
        out = np.empty((len(index), x.shape[1]), np.float32)
        kernels.gather(out, x, index, scale)
        return out

    return run


OPS = {name: getattr(ops, name) for name in grid.UNARY} | {
    "add": ops.add, "multiply": ops.mul,
    "sum.rows": functools.partial(ops.sum, axis=1), "sum.columns": functools.partial(ops.sum, axis=0),
    "sum.all": ops.sum, "max": functools.partial(ops.max, axis=1), "argmax": functools.partial(ops.argmax, axis=1),
    "logsumexp": ops.logsumexp, "softmax": ops.softmax,
    "bce_with_logits": _bce, "cross_entropy": _cross_entropy, "gaussian_kl": _kl,
    "uniform": functools.partial(ops.uniform, generator=_GENERATOR),
    "normal": functools.partial(ops.normal, generator=_GENERATOR),
    "bernoulli": functools.partial(ops.bernoulli, generator=_GENERATOR, p=grid.BERNOULLI),
    "gather.uint8": _gather(1 / 255), "gather.float32": _gather(1.0),
    "gemm": ops.matmul, "conv2d": functools.partial(ops.conv2d, padding=1),
    "max_pool": functools.partial(ops.max_pool, kernel_size=2),
    "avg_pool": functools.partial(ops.avg_pool, kernel_size=2),
    "upsample": functools.partial(ops.upsample, scale_factor=2),
}  # fmt: skip


def _gradient(name):
    """What the tape calls on the way back, with what it kept."""
    names = [ffi.string(lib.tae_unary_name(i)).decode() for i in range(len(grid.UNARY))]
    keeps_y = lib.tae_unary_keeps_y(names.index(name)) == 1
    setting = {"leaky_relu": (grid.LEAKY,), "elu": (grid.ELU,)}.get(name, ())
    backward = kernels.BACKWARD[name, "x"]
    return lambda g, x, y: functools.partial(backward, g, y if keeps_y else x, *setting)


def _loss(loss):
    def start(x, target):
        leaf = Tensor(x, requires_grad=True)

        def step():
            value = loss(leaf, target)
            return value, *tinyae.grad(value, [leaf])

        return step

    return start


def _convolve_slopes(x, w, b, g):
    leaves = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    return lambda: tuple(tinyae.grad(ops.conv2d(*leaves, padding=1), leaves, g))


def _optimizer(make):
    def start(p, g):
        p = Tensor(p, requires_grad=True)
        p.grad = Tensor(g)
        optimizer = make([p])

        def step():
            optimizer.step()
            return p

        return step

    return start


def _recurrent(layer):
    def start(x, w_ih, w_hh, b):
        net = layer(w_ih.shape[0], w_hh.shape[0])
        for parameter, value in zip(net.parameters(), (w_ih, w_hh, b, 0 * b)):
            parameter.data = value

        def step():
            with tinyae.no_grad():
                return net(x)[0]

        return step

    return start


STATEFUL = {f"{name}.grad": _gradient(name) for name in grid.UNARY} | {
    "bce_with_logits.tape": _loss(nn.bce_with_logits), "cross_entropy.tape": _loss(nn.cross_entropy),
    "conv2d.grad": _convolve_slopes,
    "sgd": _optimizer(lambda p: optim.SGD(p, grid.RATE, momentum=grid.MOMENTUM)),
    "adam": _optimizer(lambda p: optim.Adam(p, grid.RATE, betas=(grid.BETA1, grid.BETA2), eps=grid.EPS)),
    "lstm": _recurrent(nn.LSTM), "gru": _recurrent(nn.GRU),
}  # fmt: skip


def step(op, arrays):
    """See `bench.ops`."""
    if op in STATEFUL:
        return STATEFUL[op](*arrays)
    return functools.partial(OPS[op], *arrays) if op in OPS else None


def values(result):
    """See `bench.ops`."""
    return [r.data if isinstance(r, Tensor) else np.asarray(r)
            for r in (result if isinstance(result, tuple) else (result,))]  # fmt: skip


# -- the machine's limits -------------------------------------------------------------------------------------------


def reference(which, n):
    """A step that moves memory and no more: "copy" into a new array of n float32, or "rotate", what Adam must move."""
    rng = np.random.default_rng(0)
    if which == "rotate":
        arrays = [rng.uniform(-1, 1, n).astype(np.float32) for _ in range(4)]
        p, g, m, v = map(_pointer, arrays)
        return functools.partial(lambda *a: lib.tae_peak_rotate(*a), 0, n, p, g, m, v)
    x = rng.uniform(-1, 1, n).astype(np.float32)

    def copy():
        out = np.empty_like(x)
        lib.tae_peak_copy(0, n, _pointer(x), _pointer(out))
        return out

    return copy


def peak_fma(rounds):
    """Operations done, float32."""
    flops = ffi.new("double *")
    lib.tae_peak_fma(0, rounds, flops)
    return flops[0]


def peak_copy(x, out):
    """out[...] = x, float32, on all threads."""
    lib.tae_peak_copy(0, x.size, _pointer(x), _pointer(out))
