"""PyTorch, eager, as its documentation says to write it, with the fused Adam."""

import os

import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def about():
    """Version, its BLAS and the instruction set it says to use."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"version": torch.__version__, "BLAS": "MKL" if torch.backends.mkl.is_available() else "other",
            "ISA": capability, "path": os.path.dirname(torch.__file__)}  # fmt: skip


def leaf(array):
    """A tensor that requires a gradient."""
    return torch.tensor(array, requires_grad=True)


def values(tensor):
    """What is in it."""
    return tensor.detach().numpy()


def train_a(weights):
    """784-64-784 relu/sigmoid, MSE, Adam."""
    net = torch.nn.Sequential(
        torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 784), torch.nn.Sigmoid()
    )
    parameters = list(net.parameters())
    with torch.no_grad():
        for parameter, value in zip(parameters, weights):
            parameter.copy_(torch.from_numpy(value.T))  # (out, in) here
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step(x):
        x = torch.from_numpy(x)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(net(x), x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, lambda: [parameter.detach().numpy().T for parameter in parameters]
