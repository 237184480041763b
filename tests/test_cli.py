"""The command line as a user meets it: what is written, what is said, and that whatever goes wrong takes one line.

Almost everything calls ``main(argv)`` in this process; what concerns the process itself (Ctrl-C, a closed pipe, another
backend) runs in one of its own.
"""

import builtins
import gzip
import hashlib
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinyae
from tinyae import ae, cli, kernels, show
from tinyae.data import SOURCES, Source, load_data
from tinyae.engine import OPS
from tinyae.optim.rules import OPTIMIZERS

PNG = b"\x89PNG\r\n"


@pytest.fixture
def pictures():
    """For tests that want them drawn in full; the others save that time."""


@pytest.fixture(autouse=True)
def here(request, tmp_path, monkeypatch):
    """A folder of its own, no data from this machine, and 80 columns."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(cli.plot, "png", lambda figure: PNG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TINYAE_DEBUG", raising=False)


@pytest.fixture
def tinyae_says(capsys):
    """A function that runs a command: (exit code, stdout, stderr)."""

    def run(*argv):
        try:
            code = cli.main(list(argv))
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def fails(says, *argv):
    """The one line in which a command says why it did nothing,
    after checking that it is one and that it did nothing.
    """
    before = tree()
    code, _, err = says(*argv)
    assert code == 2
    assert err.startswith("tinyae: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "Traceback" not in err
    assert tree() == before
    return err


def tree():
    return {path: path.stat().st_size for path in Path().rglob("*")}


def without(monkeypatch, *names):
    """Make `import name` fail, as if it were not installed."""
    true_import = builtins.__import__

    def guarded(name, *args, **kwargs):
        if name.partition(".")[0] in names:
            raise ImportError(f"No module named {name!r}")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)


def child(*argv, **settings):
    """tinyae as a process of its own."""
    env = {**os.environ, **settings.pop("env", {})}
    return subprocess.run([sys.executable, "-m", "tinyae", *argv], capture_output=True, text=True, env=env, **settings)


# -- train: what it writes ------------------------------------------------------------------------------------------

QUICK = ("--epochs", "2", "--batch", "256")
ALWAYS = {"model.npz", "history.csv", "summary.json", "loss.png", "reconstructions.png"}
FURTHER = {name: {"samples.png"} for name, cls in ae.ZOO.items() if hasattr(cls, "sample")} | {"onehot": {"latent.png"}}


@pytest.mark.parametrize("variant", ae.ZOO)
def test_every_variant_trains_and_writes(variant, tinyae_says, pictures):
    code, out, _ = tinyae_says("train", variant, *QUICK)
    assert code == 0
    folder = Path("runs") / variant
    written = {path.name for path in folder.iterdir()}
    assert written == ALWAYS | FURTHER.get(variant, set())
    assert all(path.read_bytes().startswith(PNG) for path in folder.glob("*.png"))
    listed = next(line for line in out.splitlines() if line.startswith("wrote"))
    assert set(listed.partition("/: ")[2].split(", ")) == written
    model = tinyae.load(folder / "model.npz")
    assert type(model) is ae.ZOO[variant]
    assert model.max_iter == 2 and model.random_state == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["loss_definition"] == model.losses[model.loss]


def test_the_summary(tinyae_says):
    _, out, _ = tinyae_says("train", "vanilla", *QUICK, "--code", "3", "--seed", "7", "--out", "o")
    summary = json.loads(Path("o/summary.json").read_text())
    model = tinyae.load("o/model.npz")
    assert summary["variant"] == "vanilla"
    assert summary["settings"]["n_components"] == model.n_components == 3
    assert summary["settings"]["hidden"] is None and summary["settings"]["max_iter"] == 2
    assert summary["resolved"] == {"n_components": 3, "hidden": [128], "max_iter": 2}
    assert summary["seed"] == summary["settings"]["random_state"] == 7
    assert summary["data"] == {
        "name": "digits", "source": summary["data"]["source"], "rows": 1438, "features": 64, "held_out": 359,
        "scale": 16,
    }  # fmt: skip
    assert summary["loss_definition"] == "mean over rows and features of (x_hat - x)**2"
    assert summary["versions"]["tinyae"] == tinyae.__version__
    assert summary["versions"]["numpy"] == np.__version__
    assert (summary["backend"], summary["isa"]) == (kernels.info()["backend"], kernels.info()["isa"])
    assert summary["interrupted"] is False
    assert summary["epochs"] == summary["epoch_kept"] == summary["best_epoch"] == 2
    assert summary["parameters"] == 2 * (64 * 128 + 128 * 3) + 2 * 128 + 3 + 64
    assert summary["baseline"] == model.baseline_ > 0
    assert 0 < summary["seconds"] < 60
    assert summary["val_loss"] == model.history_["val_loss"][-1]
    assert summary["loss"] == model.history_["loss"][-1]
    assert f"val_loss  {summary['val_loss']:.4g}   mean over rows and features" in out
    assert "on 359 held-out rows" in out


def test_val_loss_is_that_of_the_model_written(tinyae_says):
    tinyae_says("train", "vanilla", *QUICK, "--out", "o")
    digits = tinyae.load_data("digits").split()
    model = tinyae.load("o/model.npz")
    expected = np.mean((model.reconstruct(digits.X_test / 16) - digits.X_test / 16) ** 2)
    assert json.loads(Path("o/summary.json").read_text())["val_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_history(tinyae_says):
    tinyae_says("train", "vae", *QUICK, "--out", "o")
    head, *rows = Path("o/history.csv").read_text().splitlines()
    model = tinyae.load("o/model.npz")
    assert head == "epoch,loss,nll,kl,val_loss,val_nll,val_kl,seconds"
    columns = zip(*([float(cell) for cell in row.split(",")] for row in rows))
    history = {name: list(column) for name, column in zip(head.split(","), columns)}
    assert all(seconds > 0 for seconds in history.pop("seconds"))  # not in the model: equal models are equal files
    assert history == model.history_


def test_the_same_seed_gives_the_same_run(tinyae_says, pictures):
    tinyae_says("train", "vae", *QUICK, "--out", "a", "--seed", "3")
    tinyae_says("train", "vae", *QUICK, "--out", "b", "--seed", "3")
    tinyae_says("train", "vae", *QUICK, "--out", "c", "--seed", "4")
    a, b, c = (
        {k: v for k, v in np.load(f"{name}/model.npz").items() if k.startswith(("enc", "dec"))} for name in "abc"
    )
    assert len(a) == 8 and a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not all(np.array_equal(a[name], c[name]) for name in a)

    def losses(name):
        return [row.rpartition(",")[0] for row in Path(name, "history.csv").read_text().splitlines()]

    assert losses("a") == losses("b") != losses("c")
    assert Path("a/samples.png").read_bytes() == Path("b/samples.png").read_bytes()


def test_options_reach_the_model(tinyae_says):
    options = {
        "--code": ("n_components", "5", 5), "--hidden": ("hidden", "32,16", (32, 16)),
        "--seed": ("random_state", "7", 7), "--dtype": ("dtype", "float64", "float64"),
        "--lr": ("lr", "0.01", 0.01), "--optimizer": ("optimizer", "sgd", "sgd"),
        "--batch": ("batch_size", "100", 100), "--epochs": ("max_iter", "3", 3), "--loss": ("loss", "bce", "bce"),
        "--activation": ("activation", "tanh", "tanh"), "--code-activation": ("code_activation", "linear", "linear"),
        "--n-iter-no-change": ("n_iter_no_change", "2", 2), "--init": ("init", "he_normal", "he_normal"),
        "--output-activation": ("output_activation", "sigmoid", "sigmoid"),
    }  # fmt: skip
    argv = [word for flag, (_, text, _) in options.items() for word in (flag, text)]
    assert tinyae_says("train", "vanilla", *argv, "--early-stopping", "--out", "o")[0] == 0
    model = tinyae.load("o/model.npz")
    assert {name: getattr(model, name) for name, _, _ in options.values()} == {n: v for n, _, v in options.values()}
    assert model.early_stopping is True
    assert model.net_.encoder[0].weight.dtype == np.float64


def test_no_hidden_layers(tinyae_says):
    assert tinyae_says("train", "deep", *QUICK, "--hidden", "", "--out", "o")[0] == 0
    assert tinyae.load("o/model.npz").hidden == ()


@pytest.mark.parametrize(
    ("variant", "option", "value"),
    [("denoising", "noise", 0.1), ("beta-vae", "beta", 2.0), ("structured-vae", "sigma", 0.5)],
)
def test_a_variants_own_setting(variant, option, value, tinyae_says):
    assert tinyae_says("train", variant, *QUICK, f"--{option}", str(value), "--out", "o")[0] == 0
    assert json.loads(Path("o/summary.json").read_text())["settings"][option] == value


def test_what_the_data_decide(tinyae_says):
    assert tinyae_says("train", "gru", "--epochs", "1", "--batch", "500")[0] == 0
    assert tinyae.load("runs/gru/model.npz").channels == 8, "a row of the image is a step"
    assert tinyae_says("train", "gru", "--epochs", "1", "--batch", "500", "--channels", "4")[0] == 0
    assert tinyae.load("runs/gru/model.npz").channels == 4
    np.save("table.npy", table())
    assert tinyae_says("train", "gru", "--epochs", "1", "--data", "table.npy")[0] == 0
    assert tinyae.load("runs/gru/model.npz").channels == 1
    assert tinyae_says("train", "vanilla", "--data", "table.npy", "--batch", "3")[0] == 0
    assert tinyae.load("runs/vanilla/model.npz").n_iter_ == 575, "4,600 steps of 8 batches an epoch"


def test_pretraining_alone(tinyae_says):
    Path("o").mkdir()
    tinyae_says("train", "vanilla", *QUICK, "--out", "o")
    code, out, _ = tinyae_says("train", "sdae", "--epochs", "0", "--hidden", "9", "--pretrain-iter", "1", "--out", "o")
    assert code == 0
    assert {path.name for path in Path("o").iterdir()} == ALWAYS - {"loss.png"}
    assert "trained   0 epochs in" in out
    summary = json.loads(Path("o/summary.json").read_text())
    digits = tinyae.load_data("digits").split()
    model = tinyae.load("o/model.npz")
    assert (summary["epochs"], summary["epoch_kept"]) == (0, 0)
    assert summary["val_loss"] == -model.score(tinyae.data.as_float(digits.X_test, 16))
    assert summary["loss"] == -model.score(tinyae.data.as_float(digits.X, 16))
    assert Path("o/history.csv").read_text() == "epoch,loss,val_loss,seconds\n"


def test_an_alias_is_its_variant(tinyae_says):
    assert tinyae_says("train", "dae", *QUICK)[0] == 0
    assert json.loads(Path("runs/denoising/summary.json").read_text())["variant"] == "denoising"


def test_early_stopping_tells_and_keeps_the_best(tinyae_says):
    argv = ("--epochs", "40", "--lr", "0.2", "--batch", "64", "--early-stopping", "--n-iter-no-change", "2",
            "--out", "o")  # fmt: skip
    assert tinyae_says("train", "deep", *argv)[0] == 0
    summary = json.loads(Path("o/summary.json").read_text())
    model = tinyae.load("o/model.npz")
    assert summary["epoch_kept"] == summary["best_epoch"] == summary["epochs"] - 2 < 38
    assert summary["val_loss"] == min(model.history_["val_loss"])
    digits = tinyae.load_data("digits").split()
    assert -model.score(digits.X_test / 16) == pytest.approx(summary["val_loss"], rel=1e-4)


def test_files_are_replaced_whole(tinyae_says):
    tinyae_says("train", "vanilla", *QUICK, "--out", "o")
    Path("o/mine.txt").write_text("mine")
    before = Path("o/model.npz").read_bytes()
    assert tinyae_says("train", "vanilla", *QUICK, "--seed", "1", "--out", "o")[0] == 0
    assert Path("o/model.npz").read_bytes() != before
    assert Path("o/mine.txt").read_text() == "mine"
    assert {path.name for path in Path("o").iterdir()} == ALWAYS | {"mine.txt"}


def test_pictures_of_an_earlier_run_do_not_stay(tinyae_says):
    """latent.png of another model beside this one's numbers would be a lie. What tinyae did not write is let alone."""
    tinyae_says("train", "vae", *QUICK, "--code", "2", "--out", "o")
    assert Path("o/latent.png").exists() and Path("o/samples.png").exists()
    tinyae_says("train", "vanilla", *QUICK, "--out", "o")
    assert {path.name for path in Path("o").iterdir()} == ALWAYS
    Path("p").mkdir()
    Path("p/latent.png").write_text("mine")
    tinyae_says("train", "vanilla", *QUICK, "--out", "p")
    assert Path("p/latent.png").read_text() == "mine"


@pytest.mark.parametrize(("variant", "noisy"), [("vanilla", False), ("denoising", True)])
def test_what_the_encoder_saw_is_shown(variant, noisy, tinyae_says, monkeypatch):
    calls, true = [], cli.plot.reconstructions
    monkeypatch.setattr(cli.plot, "reconstructions", lambda *args: calls.append(args) or true(*args))
    tinyae_says("train", variant, *QUICK)
    ((_, shown, image_shape, seen),) = calls
    np.testing.assert_array_equal(shown, (tinyae.load_data("digits").split().X_test[:12] / 16).astype(np.float32))
    assert image_shape == (8, 8)
    assert (seen is not None) == noisy
    if noisy:
        assert seen.shape == shown.shape and 0.1 < np.abs(seen - shown).mean() < 0.5


def test_a_map_is_of_two_components(tinyae_says, monkeypatch):
    calls, true = [], cli.plot.latent
    monkeypatch.setattr(cli.plot, "latent", lambda *args: calls.append(args) or true(*args))
    tinyae_says("train", "vanilla", *QUICK, "--code", "1", "--out", "o")
    assert not Path("o/latent.png").exists() and not calls
    tinyae_says("train", "vanilla", *QUICK, "--code", "2", "--out", "o")
    ((_, X, y),) = calls
    digits = tinyae.load_data("digits").split()
    np.testing.assert_array_equal(X, digits.X_test / np.float32(16))
    np.testing.assert_array_equal(y, digits.y_test)


@pytest.mark.parametrize("out", ["", ".", "a/b c/d", "ü"])
def test_where_it_writes(out, tinyae_says):
    code, said, _ = tinyae_says("train", "vanilla", *QUICK, "--out", out)
    assert code == 0
    assert Path(out, "summary.json").is_file()
    hint = next(line for line in said.splitlines() if line.startswith("next"))
    model = eval(hint.partition("in Python: ")[2], {"tinyae": tinyae})
    assert type(model) is tinyae.Autoencoder and not model.verbose


def test_onehot_finds_binary_numbers(tinyae_says):
    code, out, _ = tinyae_says("train", "onehot")
    assert code == 0
    table = out[out.index("input ") :].splitlines()
    corners = [tuple(row.split()[-2:]) for row in table[1:5]]
    assert [row.split()[:4] for row in table[1:5]] == [list(map(str, row)) for row in np.eye(4, dtype=int)]
    assert len(set(corners)) == 4 and set("".join(map("".join, corners))) == {"0", "1"}
    model = tinyae.load("runs/onehot/model.npz")
    printed = np.array([row.split()[4:6] for row in table[1:5]], float)
    np.testing.assert_allclose(printed, model.transform(np.eye(4)), atol=0.0051)
    assert (printed.round() == np.array(corners, int)).all()
    assert "4 different corners" in out
    assert "on its own training rows" in out and "nothing held out" in out
    summary = json.loads(Path("runs/onehot/summary.json").read_text())
    assert summary["data"]["held_out"] == 0
    assert summary["val_loss"] == pytest.approx(summary["loss"], rel=1e-2)


def test_onehot_on_other_data(tinyae_says):
    code, out, _ = tinyae_says("train", "onehot", *QUICK, "--data", "digits")
    assert code == 0
    assert "corner" not in out


def test_onehot_says_when_it_does_not(tinyae_says):
    code, out, _ = tinyae_says("train", "onehot", "--epochs", "1")
    assert code == 0
    corners, distinct = tinyae.load("runs/onehot/model.npz").corners(np.eye(4))
    assert not distinct
    assert (
        f"Only {len(np.unique(corners, axis=0))} of 4 corners are taken: two inputs share a code. "
        "Another --seed usually works."
    ) in out
    assert "different corners" not in out

# -- train: every option --------------------------------------------------------------------------------------------

OTHER = {  # what else to give to an option, by its setting
    "n_components": ("2",), "hidden": ("6,4", "", "5"), "activation": ("tanh", "elu"), "code_activation": ("tanh",),
    "output_activation": ("linear", "sigmoid"), "optimizer": ("lbfgs", "adamw", *sorted(OPTIMIZERS)), "lr": (".01",),
    "max_iter": ("1", "2"), "batch_size": ("3", "1"), "early_stopping": ("yes",), "n_iter_no_change": ("1",),
    "random_state": ("5",), "dtype": ("float64",), "compile": ("no",), "init": ("he_normal", "orthogonal"),
    "decay": (".01",), "tied": ("yes",), "noise": (".1", "0"), "corruption": ("masking", "salt_and_pepper", "gaussian"),
    "fresh": ("no",), "penalty": (".1", "0"), "reduction": ("mean", "batch_sum"), "rho": (".2",), "beta": ("0", "2.5"),
    "sigma": (".5",), "image_shape": ("2,8", "1,8,2"), "kernel_size": ("1", "5"), "down": ("stride",),
    "channels": ("2", "16"), "padding_value": ("0", "-1"), "cell": ("gru",), "pretrain_iter": ("1", "0"),
    "pretrain_lr": (".01",), "pretrain_decay": ("0",), "schedule": ("cyclical", "constant"), "warmup": (".5",),
    "free_bits": ("0", "1"), "freeze": ("no",), "sigma_min": (".1",), "neighbourhood": ("0", "2"), "walkback": ("1", "2"),
    "persistence": ("0", ".5"),
}  # fmt: skip
OWN = {  # where a variant takes less
    "linear": {"activation": ("linear",), "code_activation": ("linear",), "output_activation": ("linear",)},
    "rbm": {"activation": ("sigmoid",), "code_activation": ("sigmoid",)},
    **{name: {"activation": ("tanh", "sigmoid"), "code_activation": ("tanh", "sigmoid")}
       for name in ("sparse-kl", "stacked-sparse")},
    "noise2noise": {"corruption": ("gaussian",)},
    **{name: {"activation": ("relu", "tanh")} for name in ("lstm", "gru", "teacher-forced")},
}  # fmt: skip


def values(variant, setting):
    """What to give to an option; "yes" and "no" stand for its two forms."""
    cls = ae.ZOO[variant]
    if setting == "loss":
        return tuple(cls.losses)
    return OWN.get(variant, {}).get(setting, OTHER[setting])


def words(setting, value):
    flag = cli._flag(setting)
    return {"yes": [flag], "no": [flag.replace("--", "--no-", 1)]}.get(value) or [flag, value]


def options(variant):
    """The settings that the command line offers for a variant."""
    return [name for name in ae.ZOO[variant].settings() if name not in cli._NOT_ON_THE_LINE and not (
        name == "code_activation" and ae.ZOO[variant].family in ("variational", "recurrent"))]  # fmt: skip


def trains(says, variant, chosen):
    """Run it on twenty small images; exit code, no traceback, and every file."""
    if "sigma" in chosen and "gaussian" in ae.ZOO[variant].losses:
        chosen["loss"] = "gaussian"
    if chosen.get("loss", ae.ZOO[variant].settings()["loss"]) in ("bce", "bernoulli"):
        chosen.pop("output_activation", None)  # a linear one gives no probabilities
    argv = [word for setting, value in chosen.items() for word in words(setting, value)]
    code, _, err = says("train", variant, "--data", "small.npz", "--out", "o", *argv)
    assert code == 0, (argv, err)
    written = {path.name for path in Path("o").iterdir()}
    drawn = ALWAYS | FURTHER.get(variant, set()) - {"latent.png"}
    assert written - {"latent.png"} == drawn - ({"loss.png"} if chosen.get("max_iter") == "0" else set()), argv
    assert ("latent.png" in written) == (tinyae.load("o/model.npz").n_components == 2)


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    np.savez("small.npz", X=rng.random((20, 4, 4)), y=np.arange(20) % 2)


@pytest.mark.parametrize("variant", ae.ZOO)
def test_every_option(variant, small, tinyae_says):
    """All of a variant's options at once, each with its first other value; then with its second."""
    for turn in range(2):
        chosen = {}
        for setting in options(variant):
            several = values(variant, setting)
            chosen[setting] = several[turn % len(several)]
        trains(tinyae_says, variant, chosen)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ae.ZOO)
def test_every_value_of_every_option_by_itself(variant, small, tinyae_says):
    for setting in options(variant):
        for value in values(variant, setting):
            trains(tinyae_says, variant, {"max_iter": "1", "n_components": "3", setting: value})


# -- train: data of one's own ---------------------------------------------------------------------------------------


def table(rows=30, columns=5, dtype=float):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(rows, 2)) @ rng.normal(size=(2, columns)) * 10 + 100).astype(dtype)


@pytest.mark.parametrize(("text", "options", "rows"), [
    ("0 1,5\n2 3\n4 5\n", ("--delimiter", "space", "--decimal", ","), [[0, 1.5], [2, 3], [4, 5]]),
    ("0,1\t2\n2,5\t1\n4\t2\n", ("--delimiter", "tab"), [[0.1, 2], [2.5, 1], [4, 2]]),
    ("0,1\n1,0\n1,1\n", ("--no-header",), [[0, 1], [1, 0], [1, 1]]),
    ("0,1\n1,0\n1,1\n", ("--header",), [[1, 0], [1, 1]]),
])  # fmt: skip
def test_a_csv_of_another_form(tinyae_says, monkeypatch, text, options, rows):
    Path("a.csv").write_text(text)
    found = []
    monkeypatch.setattr(cli, "load_data", lambda *args, **kwargs: found.append(load_data(*args, **kwargs)) or found[0])
    assert tinyae_says("train", "vanilla", *QUICK, "--data", "a.csv", "--out", "o", *options)[0] == 0
    assert found[0].X.tolist() == rows


def test_images_are_of_the_shape_that_they_have(tinyae_says):
    """Not as square as can be: 2 x 6 pixels, or colours that lie last."""
    for shape, image in (((8, 2, 6), [2, 6]), ((8, 2, 4, 3), [3, 2, 4])):
        np.savez("a.npz", np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
        assert tinyae_says("train", "conv", *QUICK, "--hidden", "2", "--data", "a.npz", "--out", "o")[0] == 0
        assert json.loads(Path("o/summary.json").read_text())["settings"]["image_shape"] == image


def test_a_csv_with_a_space_in_its_name(tinyae_says):
    np.savetxt("my table.csv", table(), delimiter=",", header="a,b,c,d,e", comments="")
    code, out, _ = tinyae_says("train", "vanilla", *QUICK, "--data", "my table.csv", "--out", "my run")
    assert code == 0
    assert out.startswith("vanilla on my table.csv: 24 rows of 5 features, 6 held out; code 2; ")
    assert {path.name for path in Path("my run").iterdir()} == ALWAYS | {"latent.png"}  # a code of 2 is a plane


@pytest.mark.parametrize("variant", ["vanilla", "denoising", "vae"])
def test_a_table_without_images(variant, tinyae_says, pictures):
    np.savez("table.npz", X=table(), y=np.linspace(0, 1, 30))
    extra = ("--loss", "gaussian") if variant == "vae" else ()
    code, *_ = tinyae_says("train", variant, *QUICK, "--data", "table.npz", "--code", "2", "--out", "o", *extra)
    assert code == 0
    assert {path.name for path in Path("o").iterdir()} == ALWAYS | {"latent.png"}, "samples are drawn of images only"


def test_bytes_are_scaled(tinyae_says):
    np.save("bytes.npy", np.random.default_rng(0).integers(0, 256, (40, 6), dtype=np.uint8))
    assert tinyae_says("train", "vanilla", *QUICK, "--data", "bytes.npy", "--out", "o")[0] == 0
    summary = json.loads(Path("o/summary.json").read_text())
    assert summary["data"]["scale"] == 255 and summary["val_loss"] < 0.5
    assert tinyae.load("o/model.npz").output_activation_ == "sigmoid"


def test_masks_of_bytes_are_not(tinyae_says):
    np.save("mask.npy", np.random.default_rng(0).integers(0, 2, (40, 6), dtype=np.uint8))
    assert tinyae_says("train", "vanilla", *QUICK, "--data", "mask.npy", "--out", "o")[0] == 0
    summary = json.loads(Path("o/summary.json").read_text())
    assert summary["data"]["scale"] == 1 and summary["val_loss"] > 0.05


def test_two_rows_of_one_feature(tinyae_says, pictures):
    np.save("tiny.npy", np.array([[1.0], [2.0]]))
    assert tinyae_says("train", "vanilla", *QUICK, "--data", "tiny.npy", "--code", "2", "--out", "o")[0] == 0
    assert json.loads(Path("o/summary.json").read_text())["data"]["rows"] == 1


def test_values_that_only_float64_holds(tinyae_says, pictures):
    np.save("large.npy", table() * 1e60)
    argv = ("train", "vanilla", *QUICK, "--data", "large.npy", "--out", "o", "--code", "2")
    assert "too large for float32" in fails(tinyae_says, *argv)
    assert tinyae_says(*argv, "--dtype", "float64")[0] == 0


def test_images_of_an_npz(tinyae_says):
    np.savez("pictures.npz", images=np.random.default_rng(0).random((20, 4, 3)))
    code, out, _ = tinyae_says("train", "vae", *QUICK, "--data", "pictures.npz", "--code", "2", "--out", "o")
    assert code == 0 and "16 rows of 12 features" in out
    assert {path.name for path in Path("o").iterdir()} == ALWAYS | {"samples.png", "latent.png"}


# -- train: what goes wrong -----------------------------------------------------------------------------------------


def idx(shape, body, rank=None):
    head = bytes([0, 0, 8, rank or len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return head + body


def object_array():
    stream = io.BytesIO()
    np.savez(stream, X=np.array([[1, "a"], [None, 2]], dtype=object))
    return stream.getvalue()


def bomb():
    """An npz of 128 MB of zeros, packed a thousand times smaller."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("X.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": "|u1", "fortran_order": False, "shape": (1 << 27, 1)}
            )
            for _ in range(128):
                member.write(bytes(1 << 20))
    return stream.getvalue()


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


BAD = {
    "missing.npz": (None, "no such file"),
    "truncated-idx": (idx((10, 4, 4), bytes(100)), "truncated or damaged"),
    "truncated-idx.gz": (gzip.compress(idx((10, 4, 4), bytes(160)))[:-9], "ends in the middle"),
    "endless-idx": (idx((10**6, 10**6, 10**6), bytes(100)), "promises shape (1000000, 1000000, 1000000)"),
    "endless-idx.gz": (gzip.compress(idx((10**6, 10**6, 10**6), bytes(100))), "the limit in memory is 8 GiB"),
    "bomb.gz": (lambda: gzip.compress(idx((100, 1000, 1000), bytes(10**8)), 1), "decompression bomb"),
    "bomb.npz": (bomb, "decompression bomb"),
    "text.csv": (b"a,b\n1,2\n3,four\n", "line 3, column 2 is 'four', not a number"),
    "objects.npz": (object_array, "Python objects, which are never unpickled"),
    "nan.csv": (b"1,2\n3,nan\n5,6\n", "line 2, column 2 is 'nan', a missing value"),
    "infinite.npy": (saved(np.array([[1.0, np.inf]])), "NaN or infinite"),
    "header.csv": (b"a,b\n", "has no rows"),
    "empty.csv": (b"", "is an empty file"),
    "no-rows.npy": (saved(np.empty((0, 3))), "has no rows"),
    "no-features.npy": (saved(np.empty((3, 0))), "has no features"),
    "one-row.csv": (b"1,2,3\n", "one row cannot be both trained on and held out"),
    "one-axis.npy": (saved(np.ones(5)), "(5,), one axis"),
    "unknown.bin": (b"what is this", "no known format"),
    "ragged.csv": (b"1,2\n3\n", "line 2 has 1 columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data(name, tinyae_says):
    content, expected = BAD[name]
    if content is not None:
        Path(name).write_bytes(content() if callable(content) else content)
    said = fails(tinyae_says, "train", "vanilla", "--data", name)
    assert expected in said and name in said or name == "one-row.csv"


def test_bad_data_takes_no_memory():
    """A bomb of 100 MB and a promise of 10**18 bytes, by the measure of the process."""
    pytest.importorskip("resource")
    Path("bomb.gz").write_bytes(BAD["bomb.gz"][0]())
    Path("endless-idx").write_bytes(BAD["endless-idx"][0])
    code = (
        "import sys, resource; from tinyae.cli import main\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "codes = [main(['train', 'vanilla', '--data', name]) for name in ('bomb.gz', 'endless-idx')]\n"
        "print(codes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes, _, grown = done.stdout.partition("] ")
    assert codes == "[2, 2"
    assert int(grown) < 20_000 * (1024 if sys.platform == "darwin" else 1), f"{grown} kB more"


def test_data_that_are_a_folder(tinyae_says):
    Path("folder").mkdir()
    assert "is a folder" in fails(tinyae_says, "train", "vanilla", "--data", "folder")
    assert "no such file" in fails(tinyae_says, "train", "vanilla", "--data", "")


def test_mnist_that_is_not_there(tinyae_says):
    assert "tinyae data get mnist" in fails(tinyae_says, "train", "vanilla", "--data", "mnist")


@pytest.mark.parametrize("out", ["file", "file/below", "file/far/below"])
def test_out_below_a_file(out, tinyae_says, monkeypatch):
    Path("file").write_text("mine")
    monkeypatch.setattr(cli, "load_data", lambda name, **_: pytest.fail("said too late"))
    said = fails(tinyae_says, "train", "vanilla", "--out", out)
    assert "is a file, not a folder" in said and f"--out {out}: " in said
    assert Path("file").read_text() == "mine"


def test_out_without_permission(tinyae_says, monkeypatch):
    """Root may write anywhere, and the tests may be root: the system's answer is given here."""
    Path("locked").mkdir()
    asked = []

    def denied(dir):
        asked.append(dir)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", denied)
    monkeypatch.setattr(cli, "load_data", lambda name, **_: pytest.fail("said too late"))
    said = fails(tinyae_says, "train", "vanilla", "--out", "locked/a/b")
    assert said.startswith("tinyae: train: --out locked/a/b: cannot write in ") and "(Permission denied)" in said
    assert asked == [str(Path("locked").absolute())]


def test_out_that_holds_folders_of_its_names(tinyae_says):
    Path("o/summary.json").mkdir(parents=True)
    assert "summary.json in it is a folder" in fails(tinyae_says, "train", "vanilla", "--out", "o")


def test_a_disk_that_fills_up(tinyae_says, monkeypatch):
    """What cannot be foreseen is one line, too, and leaves no part of a file."""

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    code, _, err = tinyae_says("train", "vanilla", *QUICK, "--out", "o")
    assert code == 2
    assert err.splitlines()[-1].startswith("tinyae: train: --out o: No space left on device. ")
    assert list(Path("o").iterdir()) == []


WRONG = {
    "--epochs x": "argument --epochs: invalid int value: 'x'",
    "--epochs 0": "train vanilla: --epochs 0. Give whole numbers of at least 1.",
    "--epochs -3": "--epochs -3.",
    "--batch 0": "--batch 0.",
    "--code 0": "'0' is not a width from 1 to 100,000,000",
    "--code 1.5": "argument --code: '1.5' is not a width",
    "--code 99999999999999999999": "is not a width from 1 to 100,000,000",
    "--hidden 32,nonsense": "argument --hidden: 'nonsense' is not a width",
    "--hidden 32;16": "'32;16' is not a width",
    "--hidden 32,": "'' is not a width",
    "--hidden 32,0": "'0' is not a width",
    "--lr 0.1.2": "argument --lr: invalid float value: '0.1.2'",
    "--lr nan": "--lr nan.",
    "--lr -1": "--lr -1.",
    "--seed -1": "--seed -1.",
    "--seed half": "invalid int value: 'half'",
    "--loss hinge": "--loss 'hinge'. Choose from: mse, bce.",
    "--optimizer addam": "--optimizer 'addam'. Choose from: adadelta, adagrad, adam",
    "--activation rleu": "--activation 'rleu'.",
    "--code-activation rleu": "--code-activation 'rleu'.",
    "--output-activation rleu": "--output-activation 'rleu'.",
    "--init none": "--init 'none'.",
    "--dtype float16": "--dtype 'float16'.",
    "--early-stopping --n-iter-no-change 0": "--n-iter-no-change 0.",
    "--bogus 3": "train vanilla: unrecognized arguments: --bogus 3. `tinyae train vanilla --help` shows what it takes.",
    "--lr": "argument --lr: expected one argument",
}


@pytest.mark.parametrize("options", WRONG)
def test_bad_options(options, tinyae_says):
    assert WRONG[options] in fails(tinyae_says, "train", "vanilla", *options.split())


def test_a_layer_too_large_for_the_memory(tinyae_says, monkeypatch):
    def no(*args, **kwargs):
        raise MemoryError("Unable to allocate 46.6 TiB")

    monkeypatch.setattr(ae.Autoencoder, "make_net", no)
    assert fails(tinyae_says, "train", "vanilla") == "tinyae: out of memory: Unable to allocate 46.6 TiB\n"


def test_data_and_loss_that_do_not_fit(tinyae_says):
    np.save("table.npy", table())
    said = fails(tinyae_says, "train", "vae", "--data", "table.npy")
    assert "train vae: --loss 'bernoulli' compares probabilities, and the data leave [0, 1]." in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train vanila", "train: there is no variant 'vanila'. Did you mean vanilla?"),
        ("train bva", "Did you mean bvae?"),
        ("train xyzzy", "There are: vanilla, deep,"),
        ("train --epochs 3 vanilla", "train: the variant comes first: tinyae train VARIANT [options]."),
        ("trian", "invalid choice: 'trian'"),
        ("--bogus", "command line: unrecognized arguments: --bogus. `tinyae --help` shows"),
        ("data got mnist", "data: argument COMMAND: invalid choice: 'got'"),
        ("data get", "data get: the following arguments are required: NAME"),
        ("data get digits", "'digits' is not offered for download. Give fashion-mnist or mnist"),
        ("info --xml", "info: unrecognized arguments: --xml"),
    ],
)
def test_bad_words(words, expected, tinyae_says):
    assert expected in fails(tinyae_says, *words.split())


def test_divergence(tinyae_says):
    argv = ("train", "vanilla", "--output-activation", "linear", "--out", "o")
    said = fails(tinyae_says, *argv, "--lr", "1e9")
    assert "the loss became inf in epoch 1, batch 2 (lr 1e+09). Lower lr" in said


def test_divergence_in_the_very_last_step(tinyae_says):
    argv = ("train", "vanilla", "--output-activation", "linear", "--out", "o", "--epochs", "1", "--batch", "2000")
    code, _, err = tinyae_says(*argv, "--lr", "1e30")
    assert code == 2
    assert re.match(r"tinyae: train: the validation loss became (inf|nan)\. Lower --lr", err.splitlines()[-1])
    assert not Path("o").exists()


def test_debugging_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("TINYAE_DEBUG", "1")
    with pytest.raises(tinyae.errors.DataNotFoundError):
        cli.main(["train", "vanilla", "--data", "missing.npz"])


def test_an_error_of_several_lines_is_one(tinyae_says, monkeypatch):
    def two(name, **_):
        raise tinyae.errors.DataError("load: one\n    two  three")

    monkeypatch.setattr(cli, "load_data", two)
    assert fails(tinyae_says, "train", "vanilla") == "tinyae: load: one two  three\n"


def test_a_bug_is_not_hidden(monkeypatch):
    """Only what is raised on purpose becomes one line: of a bug the traceback is wanted."""

    def bug(name, **_):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "load_data", bug)
    with pytest.raises(ZeroDivisionError):
        cli.main(["train", "vanilla"])


# -- train: interrupted ---------------------------------------------------------------------------------------------


def interrupt_after(monkeypatch, epochs, losses=None):
    """Ctrl-C when so many epochs are done, where the next validation would be; their losses may be given."""
    count, true = [], ae.Autoencoder._mean_terms

    def validate(self, *args):
        count.append(1)
        if len(count) > epochs:
            raise KeyboardInterrupt
        return true(self, *args) if losses is None else {"loss": losses[len(count) - 1]}

    monkeypatch.setattr(ae.Autoencoder, "_mean_terms", validate)


def test_ctrl_c_keeps_the_best_model(tinyae_says, monkeypatch):
    interrupt_after(monkeypatch, 3)
    code, out, err = tinyae_says("train", "vanilla", "--epochs", "50", "--out", "o")
    assert code == 130
    assert "Traceback" not in err
    assert "3 epochs in" in out and "interrupted: epoch 3, the best so far, was kept" in out
    assert {path.name for path in Path("o").iterdir()} == ALWAYS
    summary = json.loads(Path("o/summary.json").read_text())
    assert summary["interrupted"] is True
    assert summary["epochs"] == summary["epoch_kept"] == 3
    digits = tinyae.load_data("digits").split()
    model = tinyae.load("o/model.npz")
    assert -model.score(digits.X_test / 16) == pytest.approx(summary["val_loss"], rel=1e-4)


def test_ctrl_c_keeps_not_just_the_last(tinyae_says, monkeypatch):
    tinyae_says("train", "vanilla", "--epochs", "2", "--out", "two")
    interrupt_after(monkeypatch, 4, losses=[3.0, 1.0, 2.0, 1.5])
    assert tinyae_says("train", "vanilla", "--epochs", "50", "--out", "o")[0] == 130
    summary = json.loads(Path("o/summary.json").read_text())
    model, two = tinyae.load("o/model.npz"), tinyae.load("two/model.npz")
    assert (summary["epochs"], summary["epoch_kept"], summary["best_epoch"]) == (4, 2, 2)
    assert (summary["val_loss"], summary["loss"]) == (1.0, two.history_["loss"][1])
    assert np.array_equal(model.net_.encoder[0].weight.data, two.net_.encoder[0].weight.data)


def test_ctrl_c_before_there_is_anything_to_keep(tinyae_says, monkeypatch):
    interrupt_after(monkeypatch, 0)
    code, _, err = tinyae_says("train", "vanilla", "--out", "o")
    assert code == 130
    assert "tinyae: interrupted before the first epoch ended; nothing was kept." in err
    assert not Path("o").exists()


def test_ctrl_c_elsewhere(tinyae_says, monkeypatch):
    def interrupted(name, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_data", interrupted)
    code, _, err = tinyae_says("train", "vanilla")
    assert (code, err) == (130, "\ntinyae: interrupted.\n")


@pytest.mark.skipif(os.name != "posix", reason="a signal as a terminal sends it")
def test_a_true_ctrl_c():
    # A shell that runs the tests in the background has them ignore the signal, and so would the child.
    heard = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heard}; from tinyae.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program, "train", "vanilla", "--epochs", "100000", "--out", "o"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr.readline().startswith("epoch      1/100000  loss 0.1")
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()  # whatever happened, its pipes are closed
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "the best so far, was kept" in out
    assert {path.name for path in Path("o").iterdir()} == ALWAYS
    assert tinyae.load("o/model.npz").n_iter_ >= 1


@pytest.mark.skipif(os.name != "posix", reason="a signal as a terminal sends it")
@pytest.mark.parametrize("epochs", [0, 2])
def test_sigterm_ends_it_as_ctrl_c_does(epochs, tinyae_says, monkeypatch):
    """Within an epoch: with the best so far kept, or, in the first, with nothing; and the handler is put back."""
    count, true = [], ae.Autoencoder._mean_terms

    def validate(self, *args):
        count.append(1)
        if len(count) > epochs:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)  # Python hears of it at once
        return true(self, *args)

    monkeypatch.setattr(ae.Autoencoder, "_mean_terms", validate)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    code, out, err = tinyae_says("train", "vanilla", "--epochs", "50", "--out", "o")
    assert code == 143 and "Traceback" not in err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not epochs:
        assert err == "tinyae: terminated before the first epoch ended; nothing was kept.\n" and tree() == {}
        return
    assert "2 epochs in" in out and "terminated: epoch 2, the best so far, was kept" in out
    assert {path.name for path in Path("o").iterdir()} == ALWAYS
    assert json.loads(Path("o/summary.json").read_text())["interrupted"] is True
    assert tinyae.load("o/model.npz").n_iter_ == 2


@pytest.mark.skipif(os.name != "posix", reason="a signal as a terminal sends it")
def test_sigterm_while_a_file_is_written(tinyae_says, monkeypatch):
    def terminated(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    monkeypatch.setattr(np.lib.format, "write_array", terminated)
    code, _, err = tinyae_says("train", "vanilla", *QUICK, "--out", "o")
    assert code == 143 and err.splitlines()[-1] == "tinyae: terminated."
    assert list(Path("o").iterdir()) == [], "no half of a file"


@pytest.mark.skipif(os.name != "posix", reason="a signal as a terminal sends it")
def test_a_handler_of_somebody_elses_stays(tinyae_says, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "load_data", lambda *_, **__: seen.append(signal.getsignal(signal.SIGTERM)) or 1 / 0)
    for handler in (signal.SIG_IGN, lambda number, frame: None):
        before = signal.signal(signal.SIGTERM, handler)
        try:
            with pytest.raises(ZeroDivisionError):
                tinyae_says("train", "vanilla")
            assert seen.pop() is signal.getsignal(signal.SIGTERM) is handler
        finally:
            signal.signal(signal.SIGTERM, before)
    thread = threading.Thread(target=cli.main, args=(["zoo"],))  # where Python sets no handlers
    thread.start()
    thread.join()


# -- what stands around it ------------------------------------------------------------------------------------------

LONG = "9" * 5000  # more digits than Python makes a number of


@pytest.mark.parametrize(("name", "value", "text"), [
    ("TINYAE_NUM_THREADS", "x", "TINYAE_NUM_THREADS: 'x' is no number of threads"),
    ("TINYAE_NUM_THREADS", LONG, "TINYAE_NUM_THREADS: 9999999999 is no number of threads"),
    ("TINYAE_ISA", "sse9", "TINYAE_ISA: 'sse9'"), ("TINYAE_BACKEND", "x", "TINYAE_BACKEND='x' is no backend"),
])  # fmt: skip
def test_an_environment_that_asks_for_what_is_not_there(name, value, text):
    if name != "TINYAE_BACKEND" and kernels.info()["backend"] != "c":
        pytest.skip("the backend is NumPy: there is no C to test")
    env = {name: value}
    done = child("info", env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tinyae: {text}") and done.stderr.count("\n") == 1
    script = Path("tinyae")  # as pip installs it
    script.write_text("import sys; from tinyae.cli import main; sys.exit(main())")
    again = subprocess.run([sys.executable, script, "info"], capture_output=True, text=True, env={**os.environ, **env})
    assert (again.returncode, again.stderr) == (2, done.stderr)
    asked = subprocess.run([sys.executable, "-c", "import tinyae"], capture_output=True, text=True,
                           env={**os.environ, **env})  # fmt: skip
    assert asked.returncode == 1 and "Traceback" in asked.stderr, "who imports it wants to know from where"


def test_a_number_of_threads_for_openmp_that_is_no_number():
    assert child("info", env={"OMP_NUM_THREADS": LONG}).returncode == 0


def test_a_matplotlib_that_does_not_start():
    done = child("train", "vanilla", *QUICK, "--out", "o", env={"MPLBACKEND": "nope"})
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "left out  pictures: matplotlib is installed and does not start: Key backend: 'nope'" in done.stdout
    assert {path.name for path in Path("o").iterdir()} == {"model.npz", "history.csv", "summary.json"}
    shown = child("show", "pca", env={"MPLBACKEND": "nope"})
    assert shown.returncode == 2 and shown.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes as in a shell")
@pytest.mark.parametrize(("closed", "words", "code"), [
    (">&-", "zoo", 0), ("<&-", "zoo", 0), ("2>&-", "bad", 2), (">&-", "bad", 2),
    (">&- 2>&-", f"train vanilla {' '.join(QUICK)} --out o", 0),
])  # fmt: skip
def test_closed_streams(closed, words, code):
    """As a daemon has them: nothing is shown there, and all is done."""
    command = f"'{sys.executable}' -m tinyae {words} {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == code and "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert (">&-" not in closed.split() or done.stdout == "") and ("2>&-" not in closed or done.stderr == "")
    if words.startswith("train"):
        assert {path.name for path in Path("o").iterdir()} == ALWAYS


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this platform lacks /dev/full")
def test_streams_to_a_full_disk():
    """What stdout cannot hold is lost, and said; without a place for the progress all is done."""
    train = f"train vanilla {' '.join(QUICK)} --out o"
    for words, code, said in (("zoo >/dev/full", 2, "tinyae: [Errno 28] No space left on device\n"),
                              (f"{train} 2>/dev/full", 0, "")):  # fmt: skip
        command = f"'{sys.executable}' -m tinyae {words}"
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (code, said)
    assert {path.name for path in Path("o").iterdir()} == ALWAYS


@pytest.mark.parametrize("flag", ["--seed", "--epochs", "--code", "--hidden", "--batch", "--no-such"])
def test_thousands_of_digits(flag, tinyae_says):
    assert len(fails(tinyae_says, "train", "vanilla", flag, LONG)) < 300


def test_a_batch_larger_than_any_array(tinyae_says):
    assert tinyae_says("train", "vanilla", "--epochs", "1", "--batch", str(10**30), "--out", "o")[0] == 0


# -- train: what it needs not ---------------------------------------------------------------------------------------


def test_without_matplotlib(tinyae_says, monkeypatch):
    without(monkeypatch, "matplotlib")
    code, out, err = tinyae_says("train", "vae", *QUICK, "--out", "o")
    assert code == 0
    assert {path.name for path in Path("o").iterdir()} == {"model.npz", "history.csv", "summary.json"}
    assert (out + err).count("matplotlib") == 1
    assert 'left out  pictures: matplotlib is not installed. pip install "tinyae[plot]"' in out


def test_without_tqdm(tinyae_says, monkeypatch):
    without(monkeypatch, "tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, _, err = tinyae_says("train", "vanilla", *QUICK)
    assert code == 0
    assert [line[:16] for line in err.splitlines()] == ["epoch 1/2  loss ", "epoch 2/2  loss "]
    assert "\r" not in err


def test_the_bar_of_a_terminal(tinyae_says, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = tinyae_says("train", "vanilla", *QUICK)
    assert code == 0
    last = err.rpartition("\r")[2]
    assert "epoch 2/2: 100%" in last and ", loss=0.1" in last and ", val_loss=0.1" in last
    assert "<00:00" in last, "the time left"
    assert "epoch" not in out.partition("trained")[0], "results go to stdout, progress to stderr"


def test_plain_lines_elsewhere(tinyae_says):
    _, out, err = tinyae_says("train", "vanilla", *QUICK)
    assert [line.split("  ")[0] for line in err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert all(" loss 0." in line and " val_loss 0." in line and line.endswith(" s left") for line in err.splitlines())
    assert "\r" not in out + err


def test_numpy_alone_says_so_and_agrees(tinyae_says, tmp_path):
    argv = ("train", "vanilla", "--epochs", "3", "--out")
    assert tinyae_says(*argv, "here")[0] == 0
    # An installation without a compiler has no tinyae._kernels.
    Path(tmp_path, "sitecustomize.py").write_text("import sys; sys.modules['tinyae._kernels'] = None")
    done = child(*argv, "there", env={"PYTHONPATH": str(tmp_path), "TINYAE_BACKEND": "", "TINYAE_ISA": ""})
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("epoch") and "raise max_iter" not in line]
    assert len(said) == 1, said
    assert said[0].startswith(
        "tinyae: training on NumPy alone, which is slower: the compiled module is not installed: "
    )
    assert "install a C compiler and run pip install" in said[0]
    asked = child(*argv, "asked", env={"TINYAE_BACKEND": "numpy"}).stderr
    assert "NumPy" not in asked, "who asks for NumPy need not be told"
    assert done.stdout.splitlines()[0].endswith("; NumPy")
    here, there = (json.loads(Path(name, "summary.json").read_text()) for name in ("here", "there"))
    assert (there["backend"], there["isa"]) == ("numpy", None)
    assert there["val_loss"] == pytest.approx(here["val_loss"], rel=1e-4)


# -- info, zoo, ops, data -------------------------------------------------------------------------------------------


def test_info(tinyae_says):
    code, out, err = tinyae_says("info")
    assert (code, err) == (0, "")
    facts = dict(line.split(None, 1) for line in out.splitlines())
    info = kernels.info()
    assert facts["tinyae"] == tinyae.__version__
    assert facts["backend"] == info["backend"] and facts["why"] == info["why"]
    assert facts["ISAs"] == (" ".join(info["isas_supported"]) or "-")
    facts = json.loads(tinyae_says("info", "--json")[1])
    assert {name: facts[name] for name in info} == info
    assert facts["data"] == os.environ["TINYAE_DATA"]


def test_info_without_a_kernel():
    facts = json.loads(child("info", "--json", env={"TINYAE_BACKEND": "numpy"}).stdout)
    assert facts["backend"] == "numpy" and facts["isa"] is None
    assert facts["why"] == "TINYAE_BACKEND=numpy asks for it"


def test_zoo(tinyae_says):
    head, *rows = tinyae_says("zoo")[1].splitlines()
    assert head.split()[:6] == ["name", "aliases", "class", "family", "lines", "paper"]
    assert [row.split()[0] for row in rows] == list(ae.ZOO)
    assert all(row[head.index("paper") :].startswith(cls.paper) for row, cls in zip(rows, ae.ZOO.values()))
    markdown = tinyae_says("zoo", "--markdown")[1].splitlines()
    assert markdown[1] == "| --- | --- | --- | --- | --- | --- | --- |"
    assert [row.count("|") for row in markdown] == [8] * (2 + len(ae.ZOO))
    assert [line.split(" | ")[2] for line in markdown[2:]] == [cls.__name__ for cls in ae.ZOO.values()]
    assert [line.split(" | ")[6] for line in markdown[2:]] == [f"{cls.proof} |" for cls in ae.ZOO.values()]


def test_lines_are_those_of_code():
    class Example:
        """A docstring

        of three lines.
        """

        # a comment
        x: int = 1

        def f(self):
            """Another."""
            return """two
            lines"""

    assert cli._lines(Example) == 5


def test_ops(tinyae_says):
    """Every op once: its call, its formula, a line per argument that has a derivative, what is kept, who computes."""
    text = tinyae_says("ops")[1]
    blocks = {block.split("(")[0].split("\n")[-1]: block for block in text.split("\n\n") if "(" in block}
    assert set(blocks) == {name for name in OPS if not name.startswith("_")}
    for name, block in blocks.items():
        labels = re.findall(r"^    (shape|keeps|d\w\S*) ", block, re.MULTILINE)
        assert labels == ["shape", *(f"d{argument or 'x[index]'}" for argument in OPS[name].rules), "keeps"], name
    with_c = kernels.info()["backend"] == "c"
    assert blocks["sigmoid"].splitlines() == [
        "sigmoid(x)", "    1 / (1 + exp(-x)), without overflow.", "    shape   any -> same",
        "    dx      g * y * (1.0 - y)",
        f"    keeps   y                    in C   {'forward, backward' if with_c else '-'}"]  # fmt: skip
    assert "    da      g * b\n    db      g * a\n    keeps   b, a " in blocks["mul"]
    assert "dx      g * s * (1.0 + x * (1.0 - s))   where s = sigmoid(x)" in blocks["silu"]
    assert "keeps   -  " in blocks["argmax"] and "keeps   x's shape" in blocks["sum"]
    assert "dx      0\n    keeps   nothing" in blocks["sign"]


def test_ops_by_name_and_as_markdown(tinyae_says):
    only = tinyae_says("ops", "relu")[1]
    assert only.count("keeps") == 1 and only.split("\n\n")[1].rstrip() in tinyae_says("ops")[1]
    head, rule, row = tinyae_says("ops", "abs", "--markdown")[1].splitlines()
    assert head == "| op | formula | derivative | keeps | shape | in C |" and rule.count("---") == 6
    assert row == "| abs | \\|x\\|, with derivative 0 at 0. | dx: g * sign(x) | x | any -> same | - |"
    assert "there is no no_such" in fails(tinyae_says, "ops", "relu", "no_such")


def test_ops_on_a_terminal(tinyae_says, monkeypatch):
    plain = tinyae_says("ops")[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    wrapped = tinyae_says("ops")[1]
    assert max(map(len, plain.splitlines())) > max(len(line) for line in wrapped.splitlines() if line[:1] == " ") <= 80
    assert wrapped.split() == plain.split()


def test_data(tinyae_says):
    rows = {row.split()[0]: row for row in tinyae_says("data")[1].splitlines()}
    assert list(rows) == ["name", "digits", "fashion-mnist", "mnist", "onehot"]
    assert "45 kB" in rows["digits"] and "in the package" in rows["digits"]
    assert rows["mnist"].endswith("not here")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A web server with small files in place of MNIST's; its address."""
    web = tmp_path / "web"
    web.mkdir()
    shapes = {"train-images-idx3-ubyte.gz": (30, 5, 5), "train-labels-idx1-ubyte.gz": (30,),
              "t10k-images-idx3-ubyte.gz": (10, 5, 5), "t10k-labels-idx1-ubyte.gz": (10,)}  # fmt: skip
    files, rng = {}, np.random.default_rng(0)
    for name, shape in shapes.items():
        values = rng.integers(0, 10 if len(shape) == 1 else 256, shape, dtype=np.uint8)
        packed = gzip.compress(idx(shape, values.tobytes()))
        (web / name).write_bytes(packed)
        files[name] = (len(packed), hashlib.sha256(packed).hexdigest())
    monkeypatch.setitem(SOURCES, "mnist", Source(files, ("http://127.0.0.1:9/",), (), "CC BY-SA 3.0", ""))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(web))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_download_then_train(mirror, tinyae_says, tmp_path):
    cache = tmp_path / "cache" / "tinyae" / "mnist"
    code, out, err = tinyae_says("data", "get", "mnist", "--mirror", mirror)
    assert (code, out, err) == (0, f"mnist is in {cache}\n", "")
    assert len(list(cache.iterdir())) == 4
    assert next(row for row in tinyae_says("data")[1].splitlines() if row.startswith("mnist")).endswith(str(cache))
    code, out, _ = tinyae_says("train", "vanilla", *QUICK, "--data", "mnist", "--out", "o")
    assert code == 0 and "mnist: 30 rows of 25 features, 10 held out" in out


def test_a_second_mirror_is_tried(mirror, tinyae_says):
    assert tinyae_says("data", "get", "mnist", "--mirror", "http://127.0.0.1:9", "--mirror", mirror)[0] == 0


def test_no_network(mirror, tinyae_says, tmp_path):
    code, out, err = tinyae_says("data", "get", "mnist")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and "http://127.0.0.1:9/ cannot be reached" in err and "Check the network" in err
    assert list((tmp_path / "cache").rglob("*.gz*")) == []


def test_a_wrong_checksum(mirror, tinyae_says, tmp_path):
    file = tmp_path / "web" / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    code, out, err = tinyae_says("data", "get", "mnist", "--mirror", mirror)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and "sha256" in err and "t10k-images-idx3-ubyte.gz could not be fetched" in err
    assert not any("images-idx3" in path.name and "t10k" in path.name for path in (tmp_path / "cache").rglob("*"))


# -- show -----------------------------------------------------------------------------------------------------------


def test_the_claims_are_listed(tinyae_says):
    code, out, err = tinyae_says("show")
    assert (code, err) == (0, "")
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    assert rows == [["name", "claim"], *([name, sentence] for name, (sentence, _) in show.CLAIMS.items())]


def test_a_claim_is_shown(tinyae_says, pictures):
    code, out, err = tinyae_says("show", "sparsity", "--epochs", "2", "--seed", "3")
    assert (code, err) == (0, "")
    sentence, line, verdict, wrote = out.splitlines()
    assert sentence == show.CLAIMS["sparsity"][0] and wrote == "wrote sparsity.png"
    finding = show.examine("sparsity", seed=3, epochs=2)
    assert (line, verdict) == (finding.line, finding.verdict) and line != show.examine("sparsity", seed=4, epochs=2).line
    assert [str(path) for path in tree()] == ["sparsity.png"]
    assert Path("sparsity.png").read_bytes().startswith(PNG)


def test_where_a_claim_is_written(tinyae_says):
    np.savez("a.npz", X=np.random.default_rng(0).random((30, 4, 4)), y=np.arange(30) % 3)
    assert tinyae_says("show", "sparsity", "--epochs", "1", "--data", "a.npz", "--out", "b.png")[0] == 0
    assert Path("b.png").read_bytes() == PNG


@pytest.mark.parametrize(("words", "text"), [
    (("bad",), "show: there is no claim 'bad'. There are: latent-maps, "),
    (("pca", "--epochs", "0"), "show: epochs=0. Give a whole number of at least 1."),
    (("pca", "--seed", "x"), "show: argument --seed: invalid int value: 'x'."),
    (("pca", "--data", "onehot"), "show: onehot has no grey images with labels. Give digits, mnist or fashion-mnist."),
    (("pca", "--data", "mnist"), "load_data('mnist'): not in "),
    (("pca", "--markdown"), "show: --markdown is for errata. Give `tinyae show errata --markdown`."),
    (("pca", "--out", "."), "show: --out . is a folder. Give a file."),
    (("pca", "--out", "x.txt"), "show: --out x.txt: the picture is a PNG. Give a name that ends in .png."),
    (("pca", "--out", "nowhere/x.png"), "show: --out nowhere/x.png: No such file or directory. Give another file."),
])  # fmt: skip
def test_what_show_refuses(words, text, tinyae_says):
    assert fails(tinyae_says, "show", *words).startswith(f"tinyae: {text}")


def test_show_without_matplotlib(tinyae_says, monkeypatch):
    without(monkeypatch, "matplotlib")
    assert 'pip install "tinyae[plot]"' in fails(tinyae_says, "show", "pca")


# -- help, and the process ------------------------------------------------------------------------------------------

COMMANDS = ["", "train", "show", "info", "zoo", "ops", "data", "data get", *(f"train {name}" for name in ae.ZOO)]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_into_80_columns(command, tinyae_says):
    code, out, err = tinyae_says(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: tinyae {command}".rstrip())
    assert max(map(len, out.splitlines())) <= 80
    assert "(default: no) (default" not in out and "%(" not in out and "None" not in out


def test_the_help_of_a_variant(tinyae_says):
    out = tinyae_says("train", "beta-vae", "--help")[1]
    text = " ".join(out.split())
    assert "The beta-VAE: minimises E[-log p(x | z)] + beta * KL(q(z | x) || N(0, 1)); beta = 1 is the `VAE`." in text
    for flag, name in {
        "--code": "n_components", "--epochs": "max_iter", "--batch": "batch_size", "--seed": "random_state",
    }.items():  # fmt: skip
        assert f"  {flag} N" in out and name not in out
    assert "bernoulli or gaussian (default: bernoulli)" in text
    assert "--lr X step size (default: the optimizer's own)" in text
    assert "(default: 20, or as many as make 4,600 steps if that is more)" in text
    assert "(default: runs/beta-vae)" in text and "(default: digits)" in text
    assert "\nexample:\n  tinyae train beta-vae --seed 1 --out runs/seed-1\n" in out
    assert (
        "\n  tinyae train vae --data mnist --code 2 --hidden 256 --epochs 10 --out runs/map\n"
        in tinyae_says("--help")[1]
    )
    assert "default: onehot" in tinyae_says("train", "onehot", "--help")[1]


def test_every_setting_has_an_option_with_a_text(tinyae_says):
    for name, cls in ae.ZOO.items():
        out = " ".join(tinyae_says("train", name, "--help")[1].split())
        for setting in cls.settings():
            if setting in ("encoder", "decoder", "verbose", "validation_fraction"):
                assert f"--{setting}" not in out
            else:
                hidden = setting == "code_activation" and cls.family in ("variational", "recurrent")
                assert (cli._flag(setting) in out) != hidden, "what is always refused is not offered"
                assert setting == "loss" or setting in cli._HELP, "a new setting wants a line in _HELP"


@pytest.mark.parametrize("words", [[], ["train"]])
def test_a_command_without_its_word_shows_help(words, tinyae_says):
    code, out, err = tinyae_says(*words)
    assert (code, out) == (2, "")
    assert err.startswith("usage: tinyae")
    assert "vanilla" in err or "commands:" in err


def test_version(tinyae_says):
    assert tinyae_says("--version")[:2] == (0, f"tinyae {tinyae.__version__}\n")


def test_as_a_module():
    done = child("--version")
    assert (done.returncode, done.stdout) == (0, f"tinyae {tinyae.__version__}\n")
    assert child("train", "vanila").returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="pipes as in a shell")
@pytest.mark.parametrize(("words", "code"), [(["zoo"], 0), (["ops"], 0), (["train", "vanilla"], 1)])
def test_a_reader_that_goes_away(words, code):
    read, write = os.pipe()
    os.close(read)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "tinyae", *words], stdout=pipe, stderr=subprocess.PIPE, text=True, env=env
        )
    assert (done.returncode, done.stderr) == (code, "")
    assert tree() == {}


def test_a_name_that_the_terminal_cannot_show():
    np.save("zähl.npy", table())
    done = child("train", "vanilla", *QUICK, "--data", "zähl.npy", "--out", "o",
                 env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "z\\xe4hl.npy" in done.stdout
