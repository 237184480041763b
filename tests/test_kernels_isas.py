"""One answer on every instruction set: NaN, infinities and zeros where the others have them, and the rest within ulps.

The scalar kernels have no fused multiply-add, so what overflows between a product and its sum shows there first.
"""

import numpy as np
import pytest
from tolerances import unit

from tinyae import Tensor, kernels, ops, optim

if kernels.info()["backend"] != "c":
    pytest.skip("the backend is NumPy: there is no C to test", allow_module_level=True)

from tinyae.kernels.plan import UNARY

ISAS = kernels.info()["isas_supported"]
LENGTHS = [1, 3, 8, 15, 17, 33, 67]


def grid(dtype):
    """Without subnormals, which some kernels take for 0."""
    info = np.finfo(dtype)
    sizes = [0.0, info.tiny, 1e-30, 1e-3, 1.0, 7.5, 1e4, 1e10, info.max**0.5 * 1.1, info.max / 4,
             info.max, np.inf]  # fmt: skip
    return np.array([*sizes, *(-x for x in sizes), np.nan]).astype(dtype)


def vjp(f):
    def both(x):
        t = Tensor(x, requires_grad=True)
        y = f(t)
        ops.sum(y).backward()
        return y.data, t.grad.data

    return both


ELEMENTWISE = {name: vjp(getattr(ops, name)) for name in UNARY if name and hasattr(ops, name)}
ROWS = {name: vjp(getattr(ops, name)) for name in ("softmax", "log_softmax", "logsumexp", "max", "min", "sum")}
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: optim.Adam(p, lr=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.1),
}


def updated(make, g):
    p = Tensor(np.ones_like(g), requires_grad=True)
    optimizer = make([p])
    for _ in range(3):
        p.grad = Tensor(g)
        optimizer.step()
    return (p.data,)


def agree(compute, x, ulps, scale):
    """compute(x) on every ISA: the same NaN and infinities; what is finite is as near as `ulps` of itself or `scale`."""
    found = {}
    for isa in ISAS:
        with kernels.use_isa(isa), np.errstate(all="ignore"):
            found[isa] = [np.asarray(y, np.float64) for y in compute(x.copy())]
    first = found[ISAS[0]]
    for isa in ISAS[1:]:
        for a, b in zip(first, found[isa], strict=True):
            special = ~np.isfinite(a) | ~np.isfinite(b)
            wrong = special & ~((a == b) | (np.isnan(a) & np.isnan(b)))
            a, b = np.where(special, 0, a), np.where(special, 0, b)
            wrong |= np.abs(a - b) > ulps * unit(x.dtype) * np.maximum(np.abs(a), scale)
            at = np.argwhere(wrong)[:3].tolist()
            assert not wrong.any(), f"{ISAS[0]} and {isa} differ at {at} of {x.tolist()}: {found}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, dtype):
    """Each kernel is within 4 ulp of the value; gelu's slope is a difference of numbers of order 1."""
    values = grid(dtype)
    for n in LENGTHS:
        agree(ELEMENTWISE[name], np.resize(np.roll(values, n), n), 16, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_rows(name, dtype):
    """One special value among ordinary ones; a sum of n terms is off by n ulp of its largest."""
    for n in LENGTHS:
        for value in grid(dtype):
            x = np.linspace(-2, 2, n).astype(dtype)
            x[n // 2] = value
            agree(ROWS[name], x, 4 * n + 16, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, dtype):
    """Three updates by the same slope, of some ten roundings each."""
    values = grid(dtype)
    for n in LENGTHS:
        agree(lambda g: updated(OPTIMIZERS[name], g), np.resize(np.roll(values, n), n), 64, 1)
