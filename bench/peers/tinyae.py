"""tinyae as its documentation says to write it. Three peers are this file: the step compiled (``BENCH_COMPILE=1``),
eager on the C kernels, eager on the NumPy ones.
"""

import os
from pathlib import Path

from bench import Refused

try:
    import tinyae
    from tinyae import data, kernels, nn, ops, optim
except RuntimeError as problem:  # tinyae.errors.BackendError, which cannot be imported when tinyae cannot
    raise Refused(f"{str(problem).removeprefix('tinyae: ')} Or leave this peer out with --peers.") from None

COMPILED = os.environ.get("BENCH_COMPILE") == "1"


def about():
    """Version, backend, ISA and the path of the measured package; refuses a backend that was not asked for."""
    info = kernels.info()
    wanted, path = os.environ["TINYAE_BACKEND"], str(Path(tinyae.__file__).parent)
    if info["backend"] != wanted:
        raise Refused(f"the backend is {info['backend']}, not {wanted} as asked for ({info['why']}), in {path}.")
    return {"version": tinyae.__version__, "backend": info["backend"], "ISA": info["isa"],
            "step": "compiled" if COMPILED else "eager", "path": path}  # fmt: skip


def leaf(array):
    """A tensor that requires a gradient."""
    return tinyae.Tensor(array, requires_grad=True)


def values(tensor):
    """What is in it."""
    return tensor.data


def train_a(weights):
    """784-64-784 relu/sigmoid, MSE, Adam."""
    net = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 784), nn.Sigmoid())
    return _train(weights, net, lambda x: nn.mse(net(x), x))


def train_b(weights):
    """784-128-32-128-784 relu, BCE with logits, Adam."""
    net = _dense(weights, [nn.ReLU] * 3)
    return _train(weights, net, lambda x: nn.bce_with_logits(net(x), x))


def train_c(weights):
    """VAE 784-400-20-400-784 relu, BCE + KL, Adam."""
    net = nn.Sequential(_dense(weights[:4], [nn.ReLU]), _dense(weights[4:], [nn.ReLU]))
    encoder, decoder = net

    def loss(x, eps):
        h = encoder(x)
        mu, logvar = h[:, :20], h[:, 20:]
        logits = decoder(mu + ops.exp(0.5 * logvar) * eps)
        return nn.bce_with_logits(logits, x, reduction="batch") + nn.kl_normal(mu, logvar, reduction="batch")

    return _train(weights, net, loss)


def train_d(weights):
    """784-1000-500-250-30 sigmoid, a linear code, mirrored, BCE with logits, Adam."""
    net = _dense(weights, [nn.Sigmoid] * 3 + [None] + [nn.Sigmoid] * 3)
    return _train(weights, net, lambda x: nn.bce_with_logits(net(x), x))


def train_e(weights):
    """Convolutions 16-8-8 / 8-8-16-1 with pooling and upsampling, BCE with logits, Adam."""
    fill_up = nn.Lambda(lambda x: ops.pad(x, widths=((0, 0), (0, 0), (0, 1), (0, 1))))  # 7 to 8, at the end
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU(), fill_up, nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU(), nn.Upsample(2),
        nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU(), nn.Upsample(2),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Upsample(2),
        nn.Conv2d(16, 1, 3, padding="same"),
    )  # fmt: skip
    return _train(weights, net, lambda x: nn.bce_with_logits(net(x), x))


def train_f(weights):
    """4-2-4 sigmoid, MSE, Adam."""
    net = nn.Sequential(nn.Linear(4, 2), nn.Sigmoid(), nn.Linear(2, 4), nn.Sigmoid())
    return _train(weights, net, lambda x: nn.mse(net(x), x))


def train_g(weights):
    """An LSTM reads 28 rows, another one makes them from the first one's last state, MSE, Adam."""
    net = nn.Sequential(nn.LSTM(28, 64), nn.LSTM(64, 64), nn.Linear(64, 28))
    encoder, decoder, output = net

    def loss(x):
        _, (code, _) = encoder(x)
        h, _ = decoder(code[0], steps=x.shape[1])
        return nn.mse(output(h), x)

    return _train(weights, net, loss)


def train_h(weights):
    """784-128-784, one matrix for both, sigmoid, MSE + .1 the mean squared norm of the code's Jacobian, Adam."""
    encoder = nn.Linear(784, 128)
    decoder = nn.Tied(encoder)

    def loss(x):
        h = ops.sigmoid(encoder(x))
        norms = ops.square(h * (1 - h)) @ ops.square(encoder.weight).sum(axis=0)
        return nn.mse(ops.sigmoid(decoder(h)), x) + 0.1 * norms.mean()

    return _train(weights, nn.Sequential(encoder, decoder), loss)


def epoch_a(weights, X, batch):
    """An epoch of case a: (rng) -> the mean loss."""
    step, _ = train_a(weights)

    def epoch(rng):
        batches = data.batches(X, batch, generator=rng)
        if COMPILED:  # as fit does
            return sum(float(loss) * rows for done in step.over(batches) for rows, loss in done) / len(X)
        return sum(float(step(x)) * len(x) for x in batches) / len(X)

    return epoch


def fit(X, hidden, batch):
    """One epoch of the zoo's plain autoencoder."""
    return tinyae.Autoencoder(n_components=hidden, hidden=(), max_iter=1, batch_size=batch, random_state=0).fit(X)


# -- what they are made of ------------------------------------------------------------------------------------------


def _dense(weights, activations):
    layers = []
    for w, activation in zip(weights[::2], [*activations, None]):
        layers += [nn.Linear(*w.shape)] + ([activation()] if activation else [])
    return nn.Sequential(*layers)


def _train(weights, net, loss):
    parameters = list(net.parameters())
    for parameter, value in zip(parameters, weights, strict=True):
        parameter.data = value
    optimizer = optim.Adam(parameters, lr=1e-3)

    def step(*batch):
        optimizer.zero_grad()
        value = loss(*batch)
        value.backward()
        optimizer.step()
        return value

    return tinyae.compile(step) if COMPILED else step, lambda: [parameter.data for parameter in parameters]
