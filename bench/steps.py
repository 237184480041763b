"""Forty steps as users write them, for `python -m bench compiles`: each as (the step, its arguments), made anew."""

from functools import partial

import numpy as np

BATCH = 16


def _arrays():
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((BATCH, 12)).astype("float32"), "y": rng.integers(0, 4, BATCH),
            "p": rng.random((BATCH, 12), dtype=np.float32), "mask": rng.random((BATCH, 12)) < 0.7,
            "images": rng.standard_normal((BATCH, 1, 8, 8)).astype("float32"), "n": rng.integers(1, 7, BATCH),
            "sequences": rng.standard_normal((BATCH, 6, 3)).astype("float32"), "words": rng.integers(0, 9, (BATCH, 5)),
            "noise": rng.standard_normal((BATCH, 2)).astype("float32")}  # fmt: skip


def _mlp(nn, n_out, *more):
    return nn.Sequential(nn.Linear(12, 16, generator=0), nn.ReLU(), *more, nn.Linear(16, n_out, generator=1))


def _cnn(nn):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, generator=0), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(64, 4, generator=1))  # fmt: skip


def _attention(ops, q, k, v):
    return ops.softmax(q @ k.mT / q.shape[-1] ** 0.5, axis=-1) @ v


# name: (net, loss of the net and the arrays, which arrays)
LOSSES = {
    "regression": (lambda nn: _mlp(nn, 12), lambda t, m, x: t.nn.mse(m(x), x), "x"),
    "regression, huber": (lambda nn: _mlp(nn, 12), lambda t, m, x: t.nn.huber(m(x), x), "x"),
    "class numbers": (lambda nn: _mlp(nn, 4), lambda t, m, x, y: t.nn.cross_entropy(m(x), y), "x y"),
    "label smoothing": (lambda nn: _mlp(nn, 4), lambda t, m, x, y: t.nn.cross_entropy(m(x), y, label_smoothing=0.1),
                        "x y"),
    "an ignored class": (lambda nn: _mlp(nn, 4), lambda t, m, x, y: t.nn.cross_entropy(m(x), y, ignore_index=3), "x y"),
    "negative log-likelihood": (lambda nn: _mlp(nn, 4), lambda t, m, x, y: t.nn.nll(t.ops.log_softmax(m(x)), y), "x y"),
    "soft targets": (lambda nn: _mlp(nn, 12), lambda t, m, x: t.nn.cross_entropy(m(x), t.ops.softmax(x)), "x"),
    "binary targets": (lambda nn: _mlp(nn, 12), lambda t, m, x, p: t.nn.bce_with_logits(m(x), p), "x p"),
    "pos_weight": (lambda nn: _mlp(nn, 12), lambda t, m, x, p: t.nn.bce_with_logits(m(x), p, pos_weight=3.0), "x p"),
    "probabilities": (lambda nn: _mlp(nn, 12, nn.Tanh()), lambda t, m, x, p: t.nn.bce(t.ops.sigmoid(m(x)), p), "x p"),
    "masked loss": (lambda nn: _mlp(nn, 12), lambda t, m, x, mask: t.nn.mse(m(x), x, mask=mask), "x mask"),
    "per-row weights": (lambda nn: _mlp(nn, 12), lambda t, m, x, p: t.nn.mse(m(x), x, weight=p), "x p"),
    "dropout": (lambda nn: _mlp(nn, 12, nn.Dropout(0.5, generator=2)), lambda t, m, x: t.nn.mse(m(x), x), "x"),
    "batch norm": (lambda nn: _mlp(nn, 12, nn.BatchNorm1d(16)), lambda t, m, x: t.nn.mse(m(x), x), "x"),
    "layer norm": (lambda nn: _mlp(nn, 12, nn.LayerNorm(16)), lambda t, m, x: t.nn.mse(m(x), x), "x"),
    "convolution, batch norm, classes": (_cnn, lambda t, m, images, y: t.nn.cross_entropy(m(images), y), "images y"),
    "embedding": (lambda nn: nn.Embedding(9, 4, generator=0),
                  lambda t, m, words, y: t.nn.cross_entropy(m(words).mean(axis=1), y), "words y"),
    "GRU": (lambda nn: nn.GRU(3, 4, generator=0), lambda t, m, s, y: t.nn.cross_entropy(m(s)[0][:, -1], y),
            "sequences y"),
    "LSTM with lengths": (lambda nn: nn.LSTM(3, 4, generator=0),
                          lambda t, m, s, n: t.ops.square(m(s, lengths=n)[0]).mean(), "sequences n"),
    "rows by number": (lambda nn: _mlp(nn, 12), lambda t, m, x, y: t.nn.mse(m(x)[y], x[y]), "x y"),
    "one-hot input": (lambda nn: nn.Linear(4, 12, generator=0),
                      lambda t, m, x, y: t.nn.mse(m(t.ops.one_hot(y, n=4)), x), "x y"),
    "L1 of the parameters": (lambda nn: _mlp(nn, 12), lambda t, m, x: t.nn.mse(m(x), x) + 0.001 * sum(
        t.ops.abs(p).sum() for p in m.parameters()), "x"),
    "gradient penalty": (lambda nn: _mlp(nn, 1, nn.Tanh()), lambda t, m, x: _penalty(t, m, x), "x"),
    "Hessian times a vector": (lambda nn: _mlp(nn, 1, nn.Tanh()), lambda t, m, x: t.hvp(
        lambda z: t.ops.square(m(z)).sum(), (x,), (x * 0.1,))[1][0].sum() + m(x).sum(), "x"),
    "Jacobian times a vector": (lambda nn: _mlp(nn, 12, nn.Tanh()), lambda t, m, x: t.ops.square(
        t.jvp(m, (x,), (x * 0.1,))[1]).sum() + m(x).sum(), "x"),
    "ELBO with noise given": (lambda nn: nn.Sequential(nn.Linear(12, 4, generator=0)),
                              lambda t, m, x, e: _elbo(t, m, x, e), "x noise"),
    "contrastive": (lambda nn: _mlp(nn, 6), lambda t, m, x: t.nn.cross_entropy(
        m(x) @ m(x * 0.9).T * 5.0, t.ops.softmax(x @ x.T)), "x"),
    "triplet, by hand": (lambda nn: _mlp(nn, 6), lambda t, m, x: t.ops.relu(t.ops.norm(m(x) - m(x * 0.9), axis=-1)
        - t.ops.norm(m(x) - m(x[::-1]), axis=-1) + 1.0).mean(), "x"),
    "mixture of Gaussians": (lambda nn: _mlp(nn, 12), lambda t, m, x: -t.ops.logsumexp(
        t.ops.log_softmax(m(x)) - 0.5 * t.ops.square(x - m(x)), axis=-1).mean(), "x"),
    "top-k loss": (lambda nn: _mlp(nn, 12), lambda t, m, x: t.ops.topk(t.ops.square(m(x) - x).mean(axis=1),
        k=4)[0].mean(), "x"),
    "attention by hand": (lambda nn: nn.Linear(3, 3, generator=0), lambda t, m, s: t.ops.square(
        _attention(t.ops, m(s), s, s)).mean(), "sequences"),
    "tied weights": (lambda nn: nn.Linear(12, 4, generator=0), lambda t, m, x: t.nn.mse(
        t.ops.tanh(m(x)) @ m.weight.T, x), "x"),
    "straight-through code": (lambda nn: _mlp(nn, 12), lambda t, m, x: t.nn.mse(
        m(x) + t.ops.stop_gradient(t.ops.sign(m(x)) - m(x)), x), "x"),
}  # fmt: skip


def _penalty(t, m, x):
    x.requires_grad_()
    (slope,) = t.grad(m(x).sum(), [x], create_graph=True)
    return t.ops.square(t.ops.norm(slope, axis=1) - 1.0).mean()


def _elbo(t, m, x, noise):
    h = m(x)
    mu, logvar = h[:, :2], h[:, 2:]
    z = mu + t.ops.exp(0.5 * logvar) * noise
    return t.ops.square(x[:, :2] - z).sum() + t.nn.kl_normal(mu, logvar, reduction="sum")


def _trained(tinyae, name):
    make, loss_of, which = LOSSES[name]
    net = make(tinyae.nn)
    optimizer = tinyae.optim.Adam(net.parameters(), lr=0.01)

    def step(*arrays):
        optimizer.zero_grad()
        loss = loss_of(tinyae, net, *arrays)
        loss.backward()
        optimizer.step()
        return loss

    return step, which


# -- steps that are more than a loss --------------------------------------------------------------------------------


def _clipped(tinyae):
    net = _mlp(tinyae.nn, 12)
    optimizer = tinyae.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def step(x):
        optimizer.zero_grad()
        loss = tinyae.nn.mse(net(x), x)
        loss.backward()
        tinyae.optim.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss

    return step, "x"


def _accumulated(tinyae):
    net = _mlp(tinyae.nn, 12)
    optimizer = tinyae.optim.Adam(net.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        for part in (x[:8], x[8:]):
            (tinyae.nn.mse(net(part), part) / 2.0).backward()
        optimizer.step()

    return step, "x"


def _frozen(tinyae):
    net = _mlp(tinyae.nn, 12)
    net[0].requires_grad_(False)
    optimizer = tinyae.optim.Adam(net.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = tinyae.nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

    return step, "x"


def _averaged(tinyae):
    net, slow = _mlp(tinyae.nn, 12), _mlp(tinyae.nn, 12)
    optimizer = tinyae.optim.Adam(net.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = tinyae.nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        with tinyae.no_grad():
            for a, b in zip(slow.parameters(), net.parameters()):
                tinyae.assign(a, 0.99 * a + 0.01 * b)
        return loss

    return step, "x"


def _two_optimizers(tinyae):
    nn, ops = tinyae.nn, tinyae.ops
    maker, critic = nn.Linear(2, 12, generator=0), _mlp(nn, 1)
    ours, theirs = (tinyae.optim.Adam(m.parameters(), lr=0.01) for m in (maker, critic))

    def step(x, noise):
        theirs.zero_grad()
        real = ops.softplus(-critic(x)).mean() + ops.softplus(critic(maker(noise).detach())).mean()
        real.backward()
        theirs.step()
        ours.zero_grad()
        theirs.zero_grad()
        made = ops.softplus(-critic(maker(noise))).mean()
        made.backward()
        ours.step()
        theirs.zero_grad()
        return real, made

    return step, "x noise"


def _two_updates(tinyae):
    net = _mlp(tinyae.nn, 12)
    optimizer = tinyae.optim.Adam(net.parameters(), lr=0.01)

    def step(x):
        for _ in range(2):
            optimizer.zero_grad()
            loss = tinyae.nn.mse(net(x), x)
            loss.backward()
            optimizer.step()
        return loss

    return step, "x"


def _predicted(tinyae):
    net = _cnn(tinyae.nn).eval()
    return lambda images: tinyae.ops.softmax(net(images)), "images"


STEPS = {name: partial(_trained, name=name) for name in LOSSES} | {
    "clipped gradients": _clipped, "accumulated over two halves": _accumulated, "a frozen layer": _frozen,
    "moving average of the weights": _averaged, "two optimizers, as a GAN": _two_optimizers,
    "two updates in one": _two_updates, "prediction": _predicted,
}  # fmt: skip


def make(tinyae, name):
    """(a step, its arguments)."""
    step, which = STEPS[name](tinyae)
    arrays = _arrays()
    return step, [arrays[key] for key in which.split()]
