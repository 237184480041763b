"""PyTorch as its documentation says to write it, with the fused Adam. Two peers are this file: eager, and with the net
and the loss compiled (``BENCH_COMPILE=1``), the backward pass with them.
"""

import os
import signal
import warnings

import torch
from torch import nn
from torch.nn import functional as F

from bench import Unavailable

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

COMPILED = os.environ.get("BENCH_COMPILE") == "1"
PATIENCE = 180  # seconds for torch.compile, which runs a C++ compiler


def about():
    """Version, its BLAS and the instruction set it says to use."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"version": torch.__version__, "BLAS": "MKL" if torch.backends.mkl.is_available() else "other",
            "ISA": capability, "step": "compiled" if COMPILED else "eager",
            "path": os.path.dirname(torch.__file__)}  # fmt: skip


def leaf(array):
    """A tensor that requires a gradient."""
    return torch.tensor(array, requires_grad=True)


def values(tensor):
    """What is in it."""
    return tensor.detach().numpy()


def train_a(weights):
    """784-64-784 relu/sigmoid, MSE, Adam."""
    net = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 784), nn.Sigmoid())
    return _train(weights, net, lambda x: F.mse_loss(net(x), x))


def train_b(weights):
    """784-128-32-128-784 relu, BCE with logits, Adam."""
    net = _dense(weights, [nn.ReLU] * 3)
    return _train(weights, net, lambda x: F.binary_cross_entropy_with_logits(net(x), x))


def train_c(weights):
    """VAE 784-400-20-400-784 relu, BCE + KL, Adam."""
    net = nn.ModuleList([_dense(weights[:4], [nn.ReLU]), _dense(weights[4:], [nn.ReLU])])
    encoder, decoder = net

    def loss(x, eps):
        mu, logvar = encoder(x).chunk(2, dim=1)
        logits = decoder(mu + torch.exp(0.5 * logvar) * eps)
        bce = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())) / len(x)

    return _train(weights, net, loss)


def train_d(weights):
    """784-1000-500-250-30 sigmoid, a linear code, mirrored, BCE with logits, Adam."""
    net = _dense(weights, [nn.Sigmoid] * 3 + [None] + [nn.Sigmoid] * 3)
    return _train(weights, net, lambda x: F.binary_cross_entropy_with_logits(net(x), x))


def train_e(weights):
    """Convolutions 16-8-8 / 8-8-16-1 with pooling and upsampling, BCE with logits, Adam."""
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(16, 1, 3, padding="same"),
    )  # fmt: skip
    return _train(weights, net, lambda x: F.binary_cross_entropy_with_logits(net(x), x))


def train_f(weights):
    """4-2-4 sigmoid, MSE, Adam."""
    net = nn.Sequential(nn.Linear(4, 2), nn.Sigmoid(), nn.Linear(2, 4), nn.Sigmoid())
    return _train(weights, net, lambda x: F.mse_loss(net(x), x))


def train_g(weights):
    """An LSTM reads 28 rows, another one makes them from the first one's last state, MSE, Adam."""
    encoder, decoder = nn.LSTM(28, 64, batch_first=True), nn.LSTM(64, 64, batch_first=True)
    output = nn.Linear(64, 28)

    def loss(x):
        _, (code, _) = encoder(x)
        h, _ = decoder(code[0].unsqueeze(1).expand(-1, x.shape[1], -1))
        return F.mse_loss(output(h), x)

    return _train(weights, nn.ModuleList([encoder, decoder, output]), loss)


def train_h(weights):
    """784-128-784, one matrix for both, sigmoid, MSE + .1 the mean squared norm of the code's Jacobian, Adam."""
    net = nn.Linear(784, 128)
    net.back = nn.Parameter(torch.empty(784))

    def loss(x):
        h = torch.sigmoid(net(x))
        norms = (h * (1 - h)).square() @ net.weight.square().sum(dim=1)
        return F.mse_loss(torch.sigmoid(F.linear(h, net.weight.T, net.back)), x) + 0.1 * norms.mean()

    return _train(weights, net, loss)


def epoch_a(weights, X, batch):
    """An epoch of case a, by direct index, without a DataLoader: (rng) -> the mean loss."""
    step, _ = train_a(weights)
    X = torch.from_numpy(X)

    def epoch(rng):
        parts = torch.from_numpy(rng.permutation(len(X))).split(batch)
        return sum(step(X[rows].numpy()).item() * len(rows) for rows in parts) / len(X)

    return epoch


# -- what they are made of ------------------------------------------------------------------------------------------


def _dense(weights, activations):
    layers = []
    for w, activation in zip(weights[::2], [*activations, None]):
        layers += [nn.Linear(*w.shape)] + ([activation()] if activation else [])
    return nn.Sequential(*layers)


def _train(weights, net, loss):
    parameters = list(net.parameters())
    with torch.no_grad():
        for parameter, value in zip(parameters, weights, strict=True):
            parameter.copy_(torch.from_numpy(_turned(value)))
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    loss = torch.compile(loss, dynamic=False) if COMPILED else loss

    def step(*batch):
        batch = [torch.from_numpy(array) for array in batch]
        optimizer.zero_grad()
        value = loss(*batch)
        value.backward()
        optimizer.step()
        return value.detach()

    def now():
        return [_turned(parameter.detach().numpy()) for parameter in parameters]

    return _patiently(step) if COMPILED else step, now


def _turned(array):
    """Dense and recurrent weights are (n_out, n_in) here."""
    return array.T if array.ndim == 2 else array


def _patiently(step):
    """The step, whose first call compiles: that may fail, or take too long."""
    started = False

    def late(*_):
        raise TimeoutError(f"not ready after {PATIENCE} s")

    def first_in_time(*batch):
        nonlocal started
        if started:
            return step(*batch)
        before = signal.signal(signal.SIGALRM, late)
        signal.alarm(PATIENCE)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = step(*batch)
        except Exception as problem:  # whatever it is that its compiler lacks
            raise Unavailable(f"torch.compile: {str(problem).strip().splitlines()[0]}") from None
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        started = True
        return result

    return first_in_time
