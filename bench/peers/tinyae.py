"""tinyae, eager, as its documentation says to write it. Two peers are this file: the C kernels and the NumPy ones."""

import os
from pathlib import Path

from bench import Refused

try:
    import tinyae
    from tinyae import kernels, nn, optim
except RuntimeError as problem:  # tinyae.errors.BackendError, which cannot be imported when tinyae cannot
    raise Refused(f"{str(problem).removeprefix('tinyae: ')} Or leave this peer out with --peers.") from None


def about():
    """Version, backend, ISA and the path of the measured package; refuses a backend that was not asked for."""
    info = kernels.info()
    wanted, path = os.environ["TINYAE_BACKEND"], str(Path(tinyae.__file__).parent)
    if info["backend"] != wanted:
        raise Refused(f"the backend is {info['backend']}, not {wanted} as asked for ({info['why']}), in {path}.")
    return {"version": tinyae.__version__, "backend": info["backend"], "ISA": info["isa"], "path": path}


def leaf(array):
    """A tensor that requires a gradient."""
    return tinyae.Tensor(array, requires_grad=True)


def values(tensor):
    """What is in it."""
    return tensor.data


def train_a(weights):
    """784-64-784 relu/sigmoid, MSE, Adam."""
    net = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 784), nn.Sigmoid())
    parameters = list(net.parameters())
    for parameter, value in zip(parameters, weights):
        parameter.data = value
    optimizer = optim.Adam(parameters, lr=1e-3)

    def step(x):
        optimizer.zero_grad()
        loss = nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

    return step, lambda: [parameter.data for parameter in parameters]
