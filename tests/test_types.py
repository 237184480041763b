"""Types: users' programs pass `mypy --strict`, mistakes in them are found, and the stubs say what the modules are.

The programs are also run: a program that type-checks and does not work would prove nothing.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinyae

pytest.importorskip("mypy")

TENSORS = '''
"""Bare tensors: gradients, transforms, an operation of one's own."""
import numpy as np
import numpy.typing as npt

import tinyae
from tinyae import Tensor, custom_op, gradcheck, ops

x = Tensor(np.eye(3), requires_grad=True)
w = Tensor([[1.0], [2.0], [3.0]], requires_grad=True)


def loss(w: Tensor) -> Tensor:
    h = (x @ w - 1.0) ** 2
    return (h.tanh().sum() + ops.sigmoid(h).mean(axis=0).sum()) / 2


value = loss(w)
value.backward()
if w.grad is not None:
    print(w.grad.data.mean())
(g,) = tinyae.grad(loss(w), [w], create_graph=True)
single: Tensor = tinyae.grad(loss(w), w)
norm: float = (g * g).sum().item()
with tinyae.no_grad():
    both: Tensor = ops.concat(ops.softmax(x, axis=0), x, axis=1)


@tinyae.no_grad()
def frozen(t: Tensor) -> Tensor:
    return 2.0 * t + np.ones(3) * t


@custom_op
def cube(a: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return a * a * a


@cube.vjp
def _(g: Tensor, a: Tensor) -> Tensor:
    return g * 3.0 * a * a


assert gradcheck(cube, np.ones(3), order=2)
assert frozen(cube(x)).shape == (3, 3)
value, slopes = tinyae.value_and_grad(loss)(w)
jacobian = tinyae.jacobian(lambda t: ops.exp(t))(w)
hessian: Tensor = tinyae.hessian(loss)(w)
array: npt.NDArray[np.float64] = ops.exp(np.ones(3))
handle = x.register_hook(lambda g: g * 2)
handle.remove()
with x.register_hook(lambda g: None):
    loss(w).backward()
print(x[0, 1:].reshape(-1).max(), x.T.shape, -x > 0, abs(x).tolist(), both.dtype, jacobian.shape, norm, single)
'''

MODULES = '''
"""Layers, losses, an optimizer with groups, a schedule, clipping, hooks, a pure function of the parameters."""
import numpy as np

from tinyae import Tensor, grad, nn, ops, optim
from tinyae.data import batches, load_data
from tinyae.train import train


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        self.convolve = nn.Sequential(
            nn.Reshape(1, 8, 8), nn.Conv2d(1, 2, 3, stride=2, padding=1, init="he_normal"), nn.ReLU(), nn.Flatten()
        )
        self.encoder = nn.Linear(32, width, generator=0)
        self.decoder = nn.Linear(width, 64, bias=False)
        self.drop = nn.Dropout(0.1, generator=1)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.encoder(self.convolve(x))
        y: Tensor = self.decoder(self.drop(ops.tanh(h)))
        return y


net = Net()
others = [p for name, p in net.named_parameters() if name != "encoder.weight"]
adam = optim.Adam([{"params": [net.encoder.weight], "lr": 1e-2}, {"params": others}], betas=(0.9, 0.99))
schedule = optim.CosineAnnealingLR(adam, 10)
data = load_data("digits")
rng = np.random.default_rng(0)
handle = net.encoder.register_forward_hook(lambda module, inputs, output: None)
for x in batches(data.X[:128], 64, generator=rng, scale=data.scale):
    adam.zero_grad()
    loss = nn.mse(net(Tensor(x)), x)
    loss.backward()
    total: float = optim.clip_grad_norm_(net.parameters(), 1.0)
    adam.step()
    schedule.step()
handle.remove()
rate: float = adam.lr * schedule.get_last_lr()[0]
adam.lr = 0.5 * rate
adam.param_groups[0]["lr"] = 1e-3
optim.ReduceLROnPlateau(adam, patience=2).step(loss)

plain = optim.optimizer("sgd", net.parameters(), lr=0.1)
history, best = train(
    lambda x, target: {"mse": nn.mse(net(Tensor(x)), target)},
    plain,
    lambda: batches(data.X[:64], 32, scale=16),
    module=net,
    epochs=2,
    callbacks=[lambda row: row["loss"] < 0],
)
best.restore()
bias = nn.Parameter(np.zeros(8), dtype="float32")
output = nn.functional_call(net, {"encoder.bias": bias}, Tensor(np.zeros((2, 64), np.float32)))
slope: Tensor = grad(output.sum(), bias)
missing, unexpected = net.eval().astype("float64").load_state_dict(net.state_dict())
lstm = nn.LSTM(3, 5, bidirectional=True, recurrent_init="glorot_uniform")
out, state = lstm(Tensor(np.zeros((2, 7, 3), np.float32)), lengths=[7, 3])
labels = nn.cross_entropy(Tensor(np.zeros((2, 3))), [0, 2], label_smoothing=0.1, reduction="sum")
print(net.summary(64), out.shape, nn.init.gain("relu"), labels.item(), history[-1]["loss"], slope.shape, missing)
'''

MODELS = '''
"""Models: settings, fitting, saving, pictures; a variant of one's own."""
import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

import tinyae
from tinyae import VAE, Autoencoder, BetaVAE, DenoisingAutoencoder, OneHotAutoencoder, Tensor, nn, ops, optim
from tinyae.ae import variant

X = np.random.default_rng(0).random((32, 6))
Z: npt.NDArray[Any] = VAE(2, hidden=(8,), activation="tanh", lr=1e-3, max_iter=2, random_state=0).fit(X).transform(X)
model = BetaVAE(n_components=2, beta=2.0, sigma=None, optimizer="sgd", max_iter=1).fit(X, validation_data=X)
mean, spread = model.posterior(X)
new: npt.NDArray[Any] = model.sample(3, random_state=1)
score: float = model.set_params(beta=1.0).score(X)
best: int = model.best_epoch_
model.fit(X, callbacks=lambda model, row: row["loss"] < 0)

with tempfile.TemporaryDirectory() as folder:
    path: str = model.save(os.path.join(folder, "model.npz"))
    again: Autoencoder = tinyae.load(path)
assert isinstance(again, VAE)
print(again.inverse_transform(Z).shape, again.history_["loss"], model.net_.encoder, Z.shape, mean - spread, new)
own = Autoencoder(2, encoder=nn.Linear(6, 2), optimizer=lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9), max_iter=1)
noisy = DenoisingAutoencoder(2, noise=0.1, max_iter=1).fit(X, target=X).corrupt(X)
corners, distinct = OneHotAutoencoder(max_iter=1).fit(np.eye(4)).corners(np.eye(4))
figure = tinyae.plot.loss(own.fit(X))
print(own.fit_transform(X), tinyae.plot.png(figure)[:4], noisy.mean(), distinct, tinyae.kernels.info()["backend"])


@variant("typed", family="deterministic", paper="none")
class Sparse(Autoencoder):
    """With a penalty on the code's size: what is annotated is a setting."""

    weight: float = 0.1
    hidden: tuple[int, ...] = (8,)

    def penalise(self, h: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {"sparsity": self.weight * ops.abs(z).mean(axis=1)}


sparse: Sparse = Sparse(3, weight=0.2, max_iter=1).build(6).fit(X)
print(sparse.get_params()["weight"], sparse.score_samples(X).shape, tinyae.ZOO["typed"].paper)
'''

MISTAKES = """
import numpy as np

import tinyae
from tinyae import VAE, Autoencoder, Tensor, nn, ops, optim

x = Tensor(np.ones((2, 3)), requires_grad=True)
layer = nn.Linear("64", 2)  # error: arg-type
layer = nn.Linear(64)  # error: call-arg
layer = nn.Linear(64, 2, init="glorot")  # error: arg-type
layer = nn.Linear(64, 2, False)  # error: call-arg
x.sum().backward("x")  # error: arg-type
x.reshap(3, 2)  # error: attr-defined
x.mean(axes=0)  # error: call-arg
x.sum(axis="rows")  # error: arg-type
x.shape = (3, 2)  # error: misc
x + object()  # error: operator
ops.softmax(x, 0)  # error: call-arg
ops.softmax(x, axis=0.5)  # error: arg-type
number: int = ops.exp(x)  # error: assignment
tinyae.grad(x.sum(), "x")  # error: arg-type
tinyae.no_such_thing  # error: attr-defined
nn.mse(x, x, reduction="average")  # error: arg-type
nn.mse(x, x, "sum")  # error: call-arg
optim.Adam(layer.parameters(), lr="x")  # error: arg-type
adam = optim.Adam(layer.parameters(), betas=0.9)  # error: arg-type
adam.lr = "fast"  # error: assignment
optim.optimizer("adm", layer.parameters())  # error: arg-type
VAE(beta=4.0)  # error: call-arg
VAE(8, (64, 32))  # error: call-arg
VAE(n_components="8")  # error: arg-type
VAE(activation="rellu")  # error: arg-type
VAE(net_=None)  # error: call-arg
Autoencoder().fit()  # error: call-arg
Autoencoder().fit(np.ones((2, 3))).posterior(np.ones((2, 3)))  # error: attr-defined
VAE().fit(np.ones((2, 3))).transform(np.ones((2, 3)), layer="code")  # error: arg-type
tinyae.kernels.info()["threds"]  # error: typeddict-item
"""

PROGRAMS = {"tensors": TENSORS, "modules": MODULES, "models": MODELS}

# Names that stand in stubs alone: what a type is called, and the program `python -m tinyae`, which ends when imported.
ONLY_IN_STUBS = r"""
tinyae\.__main__
tinyae\.ae\.base\.(Callback|Seed)
tinyae\.engine\.Array
tinyae\.kernels\..*\..*
tinyae\.plan\.reference\._DTYPES
tinyae\.formats\.(Array|Path)
tinyae\.nn\.activations\.ActivationName
tinyae\.nn\.init\.Init
tinyae\.nn\.losses\.Reduction
tinyae\.ops\.(Array|Axis|Number|Padding|Precision|Sizes|TensorLike)
tinyae\.optim\.base\.Parameters
tinyae\.optim\.rules\.OptimizerName
tinyae\.transforms\.Function
"""


def run(folder, *arguments):
    """Python with arguments in a folder, where the repository's tinyae/ is out of sight."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What `mypy --strict` says of all programs at once: {program: {line: code}}, and the text."""
    folder = tmp_path_factory.mktemp("programs")
    for name, text in {**PROGRAMS, "mistakes": MISTAKES}.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "mypy.ini").write_text("[mypy]\n")  # whatever stands in the user's home
    files = [f"{name}.py" for name in (*PROGRAMS, "mistakes")]
    result = run(folder, "-m", "mypy", "--strict", "--config-file", "mypy.ini", "--cache-dir", "cache", *files)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    found = {name: {} for name in (*PROGRAMS, "mistakes")}
    for name, line, code in re.findall(r"^(\w+)\.py:(\d+): error: .*\[([a-z-]+)\]$", result.stdout, re.MULTILINE):
        found[name][int(line)] = code
    return folder, found, result.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_users_program_is_typed(checked, name):
    _, found, text = checked
    assert not found[name], text


def test_the_programs_work(checked):
    pytest.importorskip("matplotlib")
    folder, _, _ = checked
    for name in PROGRAMS:
        result = run(folder, "-W", "error", "-W", "ignore::UserWarning", f"{name}.py")  # too short a training
        assert result.returncode == 0, f"{name}: {result.stderr}"


def test_mistakes_are_found_and_nothing_else(checked):
    _, found, text = checked
    lines = enumerate(MISTAKES.split("\n"), 1)
    expected = {number: line.partition("# error: ")[2] for number, line in lines if "# error: " in line}
    assert found["mistakes"] == expected, text


def test_stubs_and_modules_agree(tmp_path):
    """No name, argument or default in a stub that the module does not have, and none in the module that it lacks."""
    pytest.importorskip("matplotlib")
    (tmp_path / "only_in_stubs").write_text(ONLY_IN_STUBS)
    inside = "ignore_errors = True\nignore_missing_imports = True\n"  # typed at their doors only
    inside = "".join(f"[mypy-tinyae.{name}.*]\n{inside}" for name in ("kernels", "plan"))
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n{inside}")
    options = ["--concise", "--mypy-config-file", "mypy.ini", "--allowlist", "only_in_stubs"]
    options += ["--ignore-unused-allowlist"]  # without C some names are not there
    result = run(tmp_path, "-m", "mypy.stubtest", "tinyae", *options)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_of_the_public_api_has_its_stub_installed():
    """pip leaves out what pyproject.toml does not name as the package's data."""
    package = Path(tinyae.__file__).parent
    assert (package / "py.typed").is_file()
    own = {"_version", "errors", "cli", "__main__", "source", "tables", "tree"}  # classes alone, or inside the house
    expected = {path for path in package.glob("*.py") if path.stem not in own | {"__init__"}}
    for folder in ("nn", "optim", "ae"):
        expected |= {path for path in (package / folder).glob("*.py") if path.stem != "__init__"}
    expected |= {package / "nn" / "__init__.py", package / "ops" / "__init__.py", package / "ops" / "random.py"}
    assert not [path.name for path in sorted(expected) if not path.with_suffix(".pyi").is_file()]
