"""A whole training run against numbers that `make_golden.py` worked out by hand: float64, to 1e-10."""

import make_golden
import numpy as np
import pytest

from tinyae import Tensor, nn
from tinyae.optim import Adam


@pytest.fixture(scope="module")
def golden():
    with np.load(make_golden.FILE) as file:
        return dict(file)


def network():
    """The autoencoder of make_golden.py, with its weights."""
    a, b, c, d, e = make_golden.SIZES
    net = nn.Sequential(nn.Linear(a, b), nn.Tanh(), nn.Linear(b, c), nn.Linear(c, d), nn.Tanh(), nn.Linear(d, e))
    net = net.astype(np.float64)
    x, start = make_golden.inputs()
    for p, value in zip(net.parameters(), start, strict=True):
        p.data = value
    return net, Tensor(x)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_every_gradient_at_the_start(golden):
    net, x = network()
    nn.bce_with_logits(net(x), x).backward()
    found = make_golden.digest([p.grad.data for p in net.parameters()])
    assert set(found) == set(golden) - {"losses"}
    for name, numbers in found.items():
        close(numbers, golden[name])


def test_ten_steps_of_adam(golden):
    net, x = network()
    optimizer = Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(11):
        optimizer.zero_grad()
        loss = nn.bce_with_logits(net(x), x)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    close(losses, golden["losses"])
    assert len(golden["losses"]) == 11 and (np.diff(golden["losses"]) < -1e-4).all()


def test_the_file_is_what_the_script_makes(golden):
    """Nobody changed one without the other."""
    x, parameters = make_golden.inputs()
    again = make_golden.digest(make_golden.loss_and_gradients(x, parameters)[1])
    again["losses"] = make_golden.adam(x, list(parameters))
    assert set(again) == set(golden) and make_golden.FILE.stat().st_size < 50_000
    for name, numbers in golden.items():
        close(again[name], numbers)
