"""PyTorch, eager: gradients by the same backward functions that its autograd calls, where it has one."""

import functools
import math

import torch
import torch.nn.functional as F

from bench import grid

_aten = torch.ops.aten
_SLOPE = 2 / math.sqrt(math.pi)
_GENERATOR = torch.Generator().manual_seed(0)


def _loss(loss):
    """Value and gradients, through the tape."""

    def run(*arrays):
        leaves = [a for a in arrays if a.requires_grad]
        value = loss(*arrays)
        return value.detach(), *torch.autograd.grad(value, leaves)

    return run


def _convolve_slopes(x, w, b, g):
    return torch.autograd.grad(F.conv2d(x, w, b, padding=1), (x, w, b), g)


OPS = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, grid.LEAKY), "elu": F.elu, "gelu": F.gelu, "silu": F.silu,
    "softplus": F.softplus, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p,
    "erf": torch.erf, "erfc": torch.erfc, "square": torch.square, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt,
    "sigmoid.grad": lambda g, x, y: _aten.sigmoid_backward(g, y),
    "tanh.grad": lambda g, x, y: _aten.tanh_backward(g, y),
    "relu.grad": lambda g, x, y: _aten.threshold_backward(g, y, 0),
    "leaky_relu.grad": lambda g, x, y: _aten.leaky_relu_backward(g, x, grid.LEAKY, False),
    "elu.grad": lambda g, x, y: _aten.elu_backward(g, 1, 1, 1, True, y),
    "gelu.grad": lambda g, x, y: _aten.gelu_backward(g, x), "silu.grad": lambda g, x, y: _aten.silu_backward(g, x),
    "softplus.grad": lambda g, x, y: _aten.softplus_backward(g, x, 1, 20), "exp.grad": lambda g, x, y: g * y,
    "expm1.grad": lambda g, x, y: g * (y + 1), "log.grad": lambda g, x, y: g / x,
    "log1p.grad": lambda g, x, y: g / (x + 1), "erf.grad": lambda g, x, y: _SLOPE * torch.exp(-x * x) * g,
    "erfc.grad": lambda g, x, y: -_SLOPE * torch.exp(-x * x) * g, "square.grad": lambda g, x, y: g * (2 * x),
    "sqrt.grad": lambda g, x, y: g / (2 * y), "rsqrt.grad": lambda g, x, y: -0.5 * g * y * y * y,
    "add": torch.add, "multiply": torch.mul,
    "sum.rows": lambda x: x.sum(1), "sum.columns": lambda x: x.sum(0), "sum.all": torch.sum, "max": lambda x: x.amax(1),
    "argmax": lambda x: x.argmax(1), "logsumexp": lambda x: torch.logsumexp(x, 1),
    "softmax": lambda x: torch.softmax(x, 1),
    "uniform": lambda x: torch.rand(x.shape, generator=_GENERATOR),
    "normal": lambda x: torch.randn(x.shape, generator=_GENERATOR),
    "bernoulli": lambda x: torch.empty_like(x).bernoulli_(grid.BERNOULLI, generator=_GENERATOR),
    "gather.uint8": lambda x, index: x[index] * (1 / 255), "gather.float32": lambda x, index: x[index],
    "gemm": torch.mm, "conv2d": lambda x, w, b: F.conv2d(x, w, b, padding=1),
    "max_pool": lambda x: F.max_pool2d(x, 2), "avg_pool": lambda x: F.avg_pool2d(x, 2),
    "upsample": lambda x: F.interpolate(x, scale_factor=2),
}  # fmt: skip
_BCE = _loss(F.binary_cross_entropy_with_logits)
_CROSS_ENTROPY = _loss(F.cross_entropy)
TAPED = {
    "bce_with_logits": (_BCE, 1), "bce_with_logits.tape": (_BCE, 1),
    "cross_entropy": (_CROSS_ENTROPY, 1), "cross_entropy.tape": (_CROSS_ENTROPY, 1),
    "gaussian_kl": (_loss(lambda mu, logvar: 0.5 * (mu * mu + logvar.exp() - 1 - logvar).mean()), 2),
    "conv2d.grad": (_convolve_slopes, 3),
}  # fmt: skip


def _optimizer(make):
    def start(p, g):
        p.requires_grad_()
        p.grad = g
        optimizer = make([p])

        def step():
            optimizer.step()
            return p

        return step

    return start


def _recurrent(layer):
    def start(x, w_ih, w_hh, b):
        net = layer(w_ih.shape[0], w_hh.shape[0], batch_first=True)
        with torch.no_grad():
            net.weight_ih_l0.copy_(w_ih.T)
            net.weight_hh_l0.copy_(w_hh.T)
            net.bias_ih_l0.copy_(b)
            net.bias_hh_l0.zero_()
        return lambda: net(x)[0]

    return start


STATEFUL = {
    "sgd": _optimizer(lambda p: torch.optim.SGD(p, grid.RATE, grid.MOMENTUM, fused=True)),
    "adam": _optimizer(lambda p: torch.optim.Adam(p, grid.RATE, (grid.BETA1, grid.BETA2), grid.EPS, fused=True)),
    "lstm": _recurrent(torch.nn.LSTM), "gru": _recurrent(torch.nn.GRU),
}  # fmt: skip


def step(op, arrays):
    """See `bench.ops`."""
    arrays = [torch.from_numpy(a) for a in arrays]
    torch.set_grad_enabled(op in TAPED)  # until the next op: the same as a no_grad block around it
    if op in TAPED:
        run, leaves = TAPED[op]
        for a in arrays[:leaves]:
            a.requires_grad_()
        return functools.partial(run, *arrays)
    if op in STATEFUL:
        run = STATEFUL[op](*arrays)
    elif op in OPS:
        run = functools.partial(OPS[op], *arrays)
    else:
        return None
    return run


def values(result):
    """See `bench.ops`."""
    return [r.detach().numpy() for r in (result if isinstance(result, tuple) else (result,))]
