"""Saved models: written whole or not at all, and read without trusting a byte."""

import io
import json
import os
import pickle
import random
import re
import stat
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tinyae
from tinyae import ae, files, nn
from tinyae.errors import ModelFileError, NotFittedError, SettingError
from tinyae.files import writing

X = np.random.default_rng(0).random((40, 6)).astype(np.float32)


@pytest.fixture
def saved(tmp_path):
    return tinyae.VAE(2, hidden=(4,), max_iter=2, random_state=0).fit(X).save(tmp_path / "model.npz")


def entries(path):
    """{name: bytes} of the file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """The file with its entries changed by `change`, in place."""
    content = entries(path)
    content = change(content) or content
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return path


def describe(path, change):
    """The file with its description changed by `change`, in place."""

    def edit(content):
        description = json.loads(content["model.json"])
        change(description)
        content["model.json"] = json.dumps(description).encode()

    return rewrite(path, edit)


def npy(array, **kwargs):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **kwargs)
    return stream.getvalue()


def refused(path, match=None, **kwargs):
    """ModelFileError, in one sentence that names the file; the memory stays small."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match=match) as caught:
            tinyae.load(path, **kwargs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith("load: ")
    assert len(message) < 600
    assert peak < 20e6
    return message


# -- writing --------------------------------------------------------------------------------------------------------


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "a.txt"
    with writing(path, "w", encoding="utf-8") as file:
        file.write("é")
        assert not path.exists()
        assert len(list(tmp_path.iterdir())) == 1, "it grows beside its place, on the same disk"
    assert path.read_bytes() == "é".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("problem", [OSError("disk full"), KeyboardInterrupt(), ValueError("a bug")])
def test_a_failing_write_leaves_the_old_file(tmp_path, problem):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(problem)), writing(str(path)) as file:
        file.write(b"new")
        raise problem
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_rename_leaves_no_litter(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="^no$"), writing(tmp_path / "a") as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_save_leaves_the_old_model(saved, monkeypatch):
    before, model = saved.read_bytes(), tinyae.load(saved)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space left"):
        model.save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["model.npz"]


def test_places_that_cannot_be_written(tmp_path):
    model = tinyae.Autoencoder(2).build(6)
    with pytest.raises(FileNotFoundError, match="missing'$"):
        model.save(tmp_path / "missing" / "model.npz")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file'$"):
        model.save(tmp_path / "file" / "model.npz")
    with pytest.raises(OSError, match="."):
        model.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert not [p for p in tmp_path.parent.iterdir() if p.name.endswith(".part")]


posix = pytest.mark.skipif(os.name != "posix", reason="this platform has no permissions, links or devices")


@posix
@pytest.mark.parametrize(("umask", "old", "new"), [
    (0o022, None, 0o644), (0o077, None, 0o600), (0o022, 0o600, 0o600), (0o077, 0o664, 0o664), (0o022, 0o4755, 0o755),
])  # fmt: skip
def test_permissions(tmp_path, umask, old, new):
    """A file that is replaced keeps its own, and is at no time more open than it was; a new one gets the umask's."""
    path = tmp_path / "a"
    if old is not None:
        path.write_bytes(b"old")
        path.chmod(old)
    before = os.umask(umask)
    try:
        with writing(path) as file:
            assert os.fstat(file.fileno()).st_mode & 0o777 == new
            file.write(b"new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == new


@posix
def test_links_and_devices(tmp_path, saved):
    """A link in the file's place is replaced, so that nobody can aim it; what is no file is left alone."""
    other, path = tmp_path / "other", tmp_path / "a"
    other.write_bytes(b"other")
    other.chmod(0o600)
    for target in (other, tmp_path / "nowhere"):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        with writing(path) as file:
            file.write(b"new")
        assert not path.is_symlink() and path.read_bytes() == b"new"
    assert other.read_bytes() == b"other" and not (tmp_path / "nowhere").exists()
    model = tinyae.load(saved)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    for place in (os.devnull, tmp_path / "pipe", tmp_path / "null"):
        with pytest.raises(OSError, match="Not a regular file"):
            model.save(place)
    assert not os.path.isfile(os.devnull)
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path)


@posix
def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    """Should somebody guess the partial name after all, nothing is written through what lies there."""
    monkeypatch.setattr(os, "urandom", lambda n: b"guessed!"[:n])
    victim, planted = tmp_path / "victim", tmp_path / f".{b'guessed!'.hex()}.part"
    victim.write_bytes(b"old")
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError), writing(tmp_path / "a") as file:
        file.write(b"new")
    assert victim.read_bytes() == b"old" and not (tmp_path / "a").exists()


def test_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda h: (done.append(stat.S_IFMT(os.fstat(h).st_mode)), fsync(h)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(os.path.getsize(a)), replace(a, b)))
    with writing(tmp_path / "a", "w") as file:
        file.write("12345")  # Python still holds it back
    assert done[:2] == [stat.S_IFREG, 5]
    assert done[2:] == ([stat.S_IFDIR] if os.name == "posix" else [])


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("a" * 255)
    with writing(os.fsencode(path)) as file:
        file.write(b"new")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
import tinyae
path, width = sys.argv[1], int(sys.argv[2])
model = tinyae.Autoencoder(2, hidden=(width,), random_state=0).build(50)
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(3) as pool:
    list(pool.map(lambda _: model.save(path), range(36)))  # raises what a thread raised
"""


@posix  # Windows lets nobody replace a file that is being read
def test_threads_and_processes_save_to_one_path(tmp_path):
    """Whoever reads finds a whole model of one of them, at any time; nothing is left over."""
    path = str(tmp_path / "m.npz")
    widths = (3, 40)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, str(width)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True) for width in widths]  # fmt: skip
    try:
        assert [w.stdout.readline() for w in writers] == ["ready\n"] * 2
        tinyae.Autoencoder(2, hidden=(3,), random_state=0).build(50).save(path)
        for w in writers:
            w.stdin.write("\n")
            w.stdin.close()
        while any(w.poll() is None for w in writers):
            model = tinyae.load(path)  # a torn file would be refused
            assert model.hidden in [(width,) for width in widths]
    finally:
        for w in writers:
            w.kill()
            w.wait()
            w.stdin.close()
            w.stdout.close()
    assert [w.returncode for w in writers] == [0, 0]
    assert os.listdir(tmp_path) == ["m.npz"]


def test_only_one_place_opens_files_for_writing():
    """Every writer of the package goes through `writing`."""
    package = Path(tinyae.__file__).parent
    opens = {
        path.name: found for path in sorted(package.rglob("*.py"))
        if (found := re.findall(r"\bopen\([^()\n]*[\"'][wax]b?\+?[\"']|mkstemp|write_text|write_bytes|np\.savez?\(",
                                re.sub(r"archive\.open\(.*|``.*?``", "", path.read_text())))
    }  # fmt: skip
    assert opens == {"cli.py": ['open(os.devnull, "w"']}  # in place of a closed stdout


# -- what is in the file --------------------------------------------------------------------------------------------


def test_the_file_is_plain(saved):
    """Any NumPy reads it; nothing in it is pickled; equal models are equal files."""
    with np.load(saved, allow_pickle=False) as arrays:
        state = tinyae.load(saved).net_.state_dict()
        history = {f"history_/{name}" for name in ("epoch", "loss", "nll", "kl")}
        assert {name for name in arrays.files if name != "model.json"} == set(state) | history
        for name, value in state.items():
            np.testing.assert_array_equal(arrays[name], value)
    description = json.loads(entries(saved)["model.json"])
    assert list(description) == ["format", "tinyae", "model", "settings", "own", "fitted"]
    assert (description["format"], description["model"], description["tinyae"]) == (1, "vae", tinyae.__version__)
    again = tinyae.load(saved)
    again.save(saved.with_name("again.npz"))
    assert saved.with_name("again.npz").read_bytes() == saved.read_bytes()


def test_path_as_text_and_without_suffix(tmp_path):
    model = tinyae.Autoencoder(2).build(6)
    path = str(tmp_path / "model")
    assert model.save(path) == path
    assert os.listdir(tmp_path) == ["model"]
    np.testing.assert_array_equal(tinyae.load(path).transform(X), model.transform(X))


def test_settings_survive(tmp_path):
    """NumPy's scalars as Python's, sequences as tuples; what is no plain value is left to its default."""
    model = tinyae.VAE(
        np.int64(3), hidden=[np.int32(5), 4], loss="gaussian", sigma=np.float32(0.5), lr=np.float64(0.01),
        dtype=np.dtype("float64"), early_stopping=np.True_,
        optimizer=lambda parameters: tinyae.optim.SGD(parameters, lr=0.01), max_iter=2,
        random_state=np.random.default_rng(0), init=lambda shape, rng, dtype: rng.standard_normal(shape),
        output_activation=None,
    ).fit(X)  # fmt: skip
    with pytest.warns(UserWarning, match="^save: optimizer, random_state, init cannot be written to a file; .*default"):
        path = model.save(tmp_path / "m")
    again = tinyae.load(path)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert again.transform(X).dtype == np.float64
    settings = again.get_params()
    plain = {"n_components": 3, "hidden": (5, 4), "loss": "gaussian", "sigma": 0.5, "lr": 0.01, "dtype": "float64",
             "early_stopping": True, "max_iter": 2, "output_activation": None}  # fmt: skip
    assert {name: settings[name] for name in plain} == plain
    assert all(type(settings[name]) is type(value) for name, value in plain.items())
    assert (settings["optimizer"], settings["random_state"], settings["init"]) == ("adam", None, "glorot_uniform")


def test_a_model_that_was_only_built(tmp_path):
    model = tinyae.DenoisingAutoencoder(2, random_state=3).build(6)
    again = tinyae.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.reconstruct(X), model.reconstruct(X))
    assert not hasattr(again, "history_")


def test_what_the_data_were_like_survives(tmp_path):
    model = tinyae.DenoisingAutoencoder(2, max_iter=1, noise=2.0).fit(X - 3)
    again = tinyae.load(model.save(tmp_path / "m"))
    assert (again.output_activation_, again.unit_interval_) == ("linear", False)
    assert np.asarray(again.corrupt(X - 3)).min() < -4


def test_not_finite_history_survives(tmp_path):
    model = tinyae.Autoencoder(2, max_iter=1, random_state=0).fit(X)
    model.history_["loss"] = [np.nan, np.inf]
    again = tinyae.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.history_["loss"], [np.nan, np.inf])


def test_a_loaded_model_trains_like_a_new_one(saved):
    again, fresh = tinyae.load(saved), tinyae.VAE(2, hidden=(4,), max_iter=2, random_state=0)
    np.testing.assert_array_equal(again.fit(X).transform(X), fresh.fit(X).transform(X))


def test_not_in_the_registry(tmp_path):
    class Mine(tinyae.Autoencoder):
        """Its inherited name would load as another class."""

    with pytest.raises(SettingError, match=r"^save: Mine is not in ZOO\. .*variant"):
        Mine(2).build(6).save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_variant_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(ae.base, "ZOO", dict(tinyae.ZOO))

    @ae.variant("mine", family="test", paper="none 2000")
    class Mine(tinyae.Autoencoder):
        """A setting more."""

        weight: float = 2.0

    path = Mine(2, weight=3.0).build(6).save(tmp_path / "m")
    assert tinyae.load(path).weight == 3.0


def test_own_modules(tmp_path):
    def encoder():
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))

    def decoder():
        return nn.Sequential(nn.Linear(2, 6), nn.Sigmoid())

    model = tinyae.Autoencoder(2, encoder=encoder(), decoder=decoder(), max_iter=2, random_state=0).fit(X)
    path = model.save(tmp_path / "m")
    refused(path, r"encoder of its own.*load\(path, encoder=\.\.\.\)")
    refused(path, "decoder of its own", encoder=encoder())
    mine = encoder()
    before = mine.state_dict()
    again = tinyae.load(path, encoder=mine, decoder=decoder())
    np.testing.assert_array_equal(again.reconstruct(X), model.reconstruct(X))
    np.testing.assert_array_equal(mine.state_dict()["0.weight"], before["0.weight"])
    refused(
        path,
        r"lacks the array encoder\.1\.weight|needs|shape",
        encoder=nn.Sequential(nn.Linear(6, 2)),
        decoder=decoder(),
    )
    refused(path, r"\(6, 5\).*\(6, 9\)|\(6, 9\).*\(6, 5\)",
            encoder=nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2)), decoder=decoder())  # fmt: skip
    refused(path, "expected", encoder=nn.Linear(6, 3), decoder=decoder())
    refused(path, "not a tinyae.nn.Module", encoder="encoder", decoder=decoder())


def test_small_own_modules_over_many_features(tmp_path):
    """The size check is of the layers that a file makes; nets handed in are there already."""

    class Ends(nn.Module):
        def forward(self, x):
            return x[:, :2]

    class Repeat(nn.Module):
        def forward(self, z):
            return z[:, [0] * 5000]

    model = tinyae.Autoencoder(2, encoder=Ends(), decoder=Repeat()).build(5000)
    again = tinyae.load(model.save(tmp_path / "m"), encoder=Ends(), decoder=Repeat())
    assert again.transform(np.zeros((1, 5000))).shape == (1, 2)


@pytest.mark.parametrize("cls", [tinyae.VAE, tinyae.StackedAutoencoder, tinyae.StructuredVAE])
def test_equal_models_are_equal_files(tmp_path, cls):
    """Fitted twice by one seed, at other times: the same bytes."""
    for name in "ab":
        cls(2, hidden=(4,), max_iter=2, random_state=0).fit(X, validation_data=X[:9]).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    again = tinyae.load(tmp_path / "a")
    assert again.history_["epoch"] == [1, 2] and "val_loss" in again.history_ and "seconds" not in again.history_
    assert all(type(epoch) is int for epoch in again.history_["epoch"])
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("refit", [False, True])
def test_a_checkpoint_made_in_a_callback_is_whole(tmp_path, refit):
    """What is saved between two epochs is a model like any other, of the epochs so far."""
    seen = {}

    def checkpoint(model, row):
        path = model.save(tmp_path / str(row["epoch"]))
        seen[row["epoch"]] = model.score_samples(X) if hasattr(model, "score_samples") else model.predict_proba(X)
        again = tinyae.load(path)
        assert again.history_["epoch"] == [*range(1, row["epoch"] + 1)] and again.n_iter_ == row["epoch"]
        assert again.history_["loss"][-1] == row["loss"]
        assert again.best_epoch_ == 1 + int(np.argmin(again.history_["loss"]))

    for model, fit in ((tinyae.VAE(2, hidden=(4,), max_iter=3, random_state=0), (X,)),
                       (tinyae.Classifier(max_iter=3, random_state=0), (X, np.arange(40) % 3))):  # fmt: skip
        if refit:
            model.set_params(max_iter=5).fit(*fit).set_params(max_iter=3)
        model.fit(*fit, callbacks=checkpoint)
        for epoch, values in seen.items():
            again = tinyae.load(tmp_path / str(epoch))
            found = again.score_samples(X) if hasattr(again, "score_samples") else again.predict_proba(X)
            np.testing.assert_array_equal(found, values)
        assert not np.array_equal(seen[1], seen[3])


def test_nets_of_a_fitted_model_keep_the_output_activation(tmp_path):
    """The decoder of a net ends before the activation: as a decoder of one's own it brings its model's along."""
    for data, settings in ((X, {}), (X - 3, {}), (X, {"output_activation": "tanh"}), (X, {"loss": "bce"})):
        model = tinyae.Autoencoder(2, hidden=(4,), max_iter=2, random_state=0, **settings).fit(data)
        nets = {"encoder": model.net_.encoder, "decoder": model.net_.decoder}
        again = tinyae.Autoencoder(2, loss=model.loss, **nets).build(6)
        np.testing.assert_array_equal(again.reconstruct(data), model.reconstruct(data))
        np.testing.assert_array_equal(again.score_samples(data), model.score_samples(data))
        again.set_params(max_iter=1, lr=1e-9).fit(data)
        np.testing.assert_allclose(again.reconstruct(data), model.reconstruct(data), atol=1e-6)
        path = again.save(tmp_path / "m")
        loaded = tinyae.load(path, **nets)
        assert loaded.output_activation_ == model.output_activation_
        np.testing.assert_array_equal(loaded.reconstruct(data), again.reconstruct(data))


# -- models around models -------------------------------------------------------------------------------------------

LABELS = {
    "integers": np.arange(40) % 3 - 1, "text": np.array(["cat", "dog", "owl"])[np.arange(40) % 3],
    "objects": np.array(["cat", "dog", "é\n"], object)[np.arange(40) % 3], "truth": np.arange(40) % 2 == 0,
    "bytes": (np.arange(40) % 3).astype(np.uint8), "floats": np.arange(40) % 3 * 1.0,
}  # fmt: skip


def encoders():
    small = {"max_iter": 2, "random_state": 0}
    return {
        "none": None,
        "new": tinyae.Autoencoder(2, hidden=(4,), **small),
        "fitted": tinyae.VAE(2, hidden=(4,), **small).fit(X),
        "stacked": tinyae.StackedDenoisingAutoencoder(2, hidden=(4,), **small).fit(X),
        "convolutional": tinyae.ConvolutionalAutoencoder(2, image_shape=(2, 3), hidden=(2,), **small).fit(X),
    }


@pytest.mark.parametrize("labels", LABELS)
def test_classes_survive(tmp_path, labels):
    model = tinyae.Classifier(max_iter=2, random_state=0).fit(X, LABELS[labels])
    again = tinyae.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X), strict=True)
    np.testing.assert_array_equal(again.classes_, model.classes_, strict=True)
    assert again.score(X, LABELS[labels]) == model.score(X, LABELS[labels])


@pytest.mark.parametrize("which", ["none", "new", "fitted", "stacked", "convolutional"])
@pytest.mark.parametrize("settings", [{}, {"freeze": True, "dtype": "float64"}], ids=["fine-tuned", "frozen"])
def test_a_classifier_survives(tmp_path, which, settings):
    y = LABELS["integers"]
    model = tinyae.Classifier(encoders()[which], max_iter=2, random_state=0, **settings).fit(X, y)
    path = model.save(tmp_path / "m")
    again = tinyae.load(path)
    assert type(again) is tinyae.Classifier and repr(again) == repr(model)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(getattr(again, method)(X), getattr(model, method)(X), strict=True)
    assert {k: v for k, v in model.history_.items() if k != "seconds"} == again.history_
    assert (again.n_iter_, again.best_epoch_, again.n_features_in_) == (2, model.best_epoch_, 6)
    if which != "none":
        assert type(again.encoder_) is type(model.encoder_)
        np.testing.assert_array_equal(again.encoder_.transform(X), model.encoder_.transform(X))
        shared = again.net_.encoder is again.encoder_.net_.encoder
        assert shared, "one encoder, as before"
    again.save(tmp_path / "b")
    assert path.read_bytes() == (tmp_path / "b").read_bytes()
    np.testing.assert_array_equal(again.fit(X, y).predict_proba(X), model.fit(X, y).predict_proba(X))
    again.set_params(warm_start=True).fit(X, y)


def test_a_classifier_on_a_net_of_ones_own(tmp_path):
    def net():
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())

    model = tinyae.Classifier(net(), max_iter=2, random_state=0).fit(X, LABELS["text"])
    path = model.save(tmp_path / "m")
    refused(path, r"encoder of its own.*load\(path, encoder=\.\.\.\)")
    mine = net()
    again = tinyae.load(path, encoder=mine)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.encoder is mine and again.encoder_ is not mine
    refused(path, "lacks the array encoder.weight", encoder=nn.Linear(6, 5))
    refused(path, "does not fit|shape", encoder=tinyae.Autoencoder(2).build(6))
    inner = tinyae.Autoencoder(2, encoder=nn.Linear(6, 2), max_iter=1).fit(X)
    model = tinyae.Classifier(inner, max_iter=2, random_state=0).fit(X, LABELS["text"])
    again = tinyae.load(model.save(path), encoder=nn.Linear(6, 2))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("given", [None, "new", "fitted", "stacked", "convolutional"])
def test_a_detector_survives(tmp_path, given):
    model = encoders().get(given)
    detector = tinyae.AnomalyDetector(model, contamination=0.2)
    detector = detector.calibrate(X) if given == "fitted" else detector.fit(X)
    path = detector.save(tmp_path / "m")
    again = tinyae.load(path)
    assert type(again) is tinyae.AnomalyDetector and repr(again) == repr(detector)
    for method in ("predict", "score_samples", "decision_function"):
        np.testing.assert_array_equal(getattr(again, method)(X), getattr(detector, method)(X), strict=True)
    assert (again.offset_, again.n_features_in_) == (detector.offset_, 6)
    again.save(tmp_path / "b")
    assert path.read_bytes() == (tmp_path / "b").read_bytes()
    if given not in (None, "stacked"):
        np.testing.assert_array_equal(again.fit(X).score_samples(X), detector.fit(X).score_samples(X))


def test_what_is_not_fitted_is_not_saved(tmp_path):
    for model in (tinyae.Classifier(), tinyae.AnomalyDetector(encoders()["fitted"])):
        with pytest.raises(NotFittedError, match="save"):
            model.save(tmp_path / "m")
    mixed = np.array([1, "a"] * 20, object)
    model = tinyae.Classifier(max_iter=1).fit(X, np.arange(40) % 2)
    model.classes_ = mixed[:2]
    with pytest.raises(SettingError, match="classes_ has dtype object"):
        model.save(tmp_path / "m")
    model = tinyae.AnomalyDetector(tinyae.Autoencoder(2, max_iter=1, optimizer=tinyae.optim.SGD, lr=None))
    with pytest.warns(UserWarning, match="^save: model.optimizer cannot be written"):
        model.fit(X).save(tmp_path / "m")
    assert os.listdir(tmp_path) == ["m"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    model = tinyae.Classifier(encoders()["fitted"], max_iter=2, random_state=0).fit(X, LABELS["text"])
    detector = tinyae.AnomalyDetector(encoders()["new"]).fit(X)
    folder = tmp_path_factory.mktemp("whole")
    return {"classifier": model.save(folder / "c").read_bytes(), "detector": detector.save(folder / "d").read_bytes()}


@pytest.fixture
def around(tmp_path, whole):
    """A classifier and a detector, in files."""
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in whole}


@pytest.mark.parametrize(("which", "change", "match"), [
    ("classifier", lambda d: d["parts"].pop("encoder_"), "does not fit"),
    ("classifier", lambda d: d["parts"]["encoder_"].update(model="classifier"), "holds a 'classifier' model"),
    ("classifier", lambda d: d["parts"]["encoder_"].update(model="evil"), "holds a 'evil' model"),
    ("classifier", lambda d: d["parts"]["encoder_"].pop("fitted"), None),
    ("classifier", lambda d: d["parts"]["encoder_"]["settings"].update(n_components=10**9), "more weights than"),
    ("classifier", lambda d: d["parts"]["encoder_"]["settings"].update(n_components=3), "shape|lacks"),
    ("classifier", lambda d: d.update(parts=3), None),
    ("classifier", lambda d: d.pop("parts"), None),
    ("classifier", lambda d: d["settings"].update(dtype="object"), "object. Ask for float32"),
    ("classifier", lambda d: d["settings"].update(max_iter="x"), "max_iter='x'"),
    ("classifier", lambda d: d["settings"].update(encoder="x"), None),
    ("classifier", lambda d: d["fitted"].update(classes_=["a", "b", "c"]), "no sorted array"),
    ("classifier", lambda d: d["fitted"].update(classes_={"array": "history_/loss", "as": "array"}), None),
    ("classifier", lambda d: d["fitted"].update(classes_={"array": "encoder_/encoder.0.weight", "as": "array"}), None),
    ("classifier", lambda d: d["fitted"].update(classes_={"array": "../etc/passwd", "as": "array"}), "lacks the array"),
    ("classifier", lambda d: d["fitted"]["classes_"].update({"as": "__class__"}), None),
    ("classifier", lambda d: d["fitted"].pop("classes_"), None),
    ("classifier", lambda d: d["fitted"].pop("history_"), "lacks history_"),
    ("classifier", lambda d: d["fitted"].update(n_iter_="x"), "n_iter_ is no whole number"),
    ("classifier", lambda d: d["fitted"].update(n_features_in_=7), "does not fit"),
    ("detector", lambda d: d["parts"].pop("model_"), None),
    ("detector", lambda d: d["parts"]["model_"].update(model="anomaly-detector"), "holds a 'anomaly-detector' model"),
    ("detector", lambda d: d["settings"].update(contamination=3), "contamination=3"),
    ("detector", lambda d: d["settings"].update(model=3), "no setting model"),
    ("detector", lambda d: d["fitted"].update(offset_="0"), "offset_ is no finite number"),
    ("detector", lambda d: d["fitted"].update(offset_=float("nan")), "offset_ is no finite number"),
    ("detector", lambda d: d["fitted"].pop("offset_"), None),
    ("detector", lambda d: d.update(own=["encoder"]), "encoder of its own"),
])  # fmt: skip
def test_a_hostile_description_around_a_model(around, which, change, match):
    refused(describe(around[which], change), match)


@pytest.mark.parametrize(("array", "match"), [
    (np.zeros((2, 4), np.float32), r"decoder\.weight has shape \(2, 4\)"),
    (np.zeros((3, 3), np.float32), r"decoder\.weight has shape \(3, 3\)"),
    (np.full((2, 3), np.inf, np.float32), "NaN or infinite"),
    (np.zeros((2, 3), np.int64), "dtype int64"),
])  # fmt: skip
def test_a_wrong_array_around_a_model(around, array, match):
    refused(rewrite(around["classifier"], lambda content: content.update({"decoder.weight.npy": npy(array)})), match)


@pytest.mark.parametrize("classes", [
    np.array(["dog", "cat", "owl"]), np.array(["cat", "cat", "owl"]), np.array(["cat", "dog"]),
    np.array([1.0, np.nan, 3.0]), np.array([["cat", "dog", "owl"]]), np.array([b"cat", b"dog", b"owl"]),
], ids=["unsorted", "twice", "few", "nan", "2-d", "bytes"])  # fmt: skip
def test_wrong_classes(around, classes):
    refused(rewrite(around["classifier"], lambda content: content.update({"classes_.npy": npy(classes)})))


@pytest.mark.parametrize("which", ["classifier", "detector"])
def test_any_changed_byte_around_a_model(around, which):
    path, rng = around[which], random.Random(0)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 20):
        path.write_bytes(whole[:length])
        refused(path)
    for _ in range(200):
        spoiled = bytearray(whole)
        for _ in range(rng.choice([1, 1, 8])):
            spoiled[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(spoiled)
        try:
            model = tinyae.load(path)
        except ModelFileError as problem:
            assert str(problem).isprintable()
        else:
            assert model.predict(X).shape == (40,)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_not_there(tmp_path):
    assert refused(tmp_path / "missing.npz", "there is no file")
    assert refused(tmp_path, "is not a file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is not a file")


def test_no_permission(saved, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(saved))

    monkeypatch.setattr(zipfile, "ZipFile", denied)
    refused(saved, "cannot be read: Permission denied")


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x93NUMPY", pickle.dumps({"a": 1}), bytes(5000)])
def test_no_archive(tmp_path, content):
    (tmp_path / "m.npz").write_bytes(content)
    refused(tmp_path / "m.npz", "is not a model saved by tinyae")


def test_another_archive(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.zeros(3))
    refused(tmp_path / "m.npz", r"without model\.json")


def test_truncated(saved):
    whole = saved.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 40):
        saved.write_bytes(whole[:length])
        refused(saved)


def test_any_changed_byte_is_refused_or_harmless(saved):
    """Never another error, never another shape: a checksum guards the arrays, and the rest is looked at."""
    whole, rng = saved.read_bytes(), random.Random(0)
    for _ in range(400):
        spoiled = bytearray(whole)
        for _ in range(rng.choice([1, 1, 8])):
            spoiled[rng.randrange(len(whole))] = rng.randrange(256)
        saved.write_bytes(spoiled)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = tinyae.load(saved)
        except ModelFileError as problem:
            assert "\n" not in str(problem)
        else:
            assert model.transform(X).shape == (40, 2)


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members(saved, kind):
    """A kilobyte may hold a gigabyte; ours are stored as they are."""
    refused(rewrite(saved, lambda content: None, kind), "is compressed")


def test_a_missing_array(saved):
    refused(
        rewrite(saved, lambda content: content.pop("encoder.0.weight.npy") and None),
        r"lacks the array encoder\.0\.weight",
    )


@pytest.mark.parametrize(("array", "match"), [
    (np.zeros((4, 6), np.float32), r"encoder\.0\.weight has shape \(6, 4\), the state \(4, 6\)"),
    (np.zeros((6, 5), np.float32), "shape"),
    (np.zeros((6, 4), np.int32), "dtype int32"),
    (np.zeros((6, 4), "S4"), r"dtype \|S4"),
    (np.zeros((6, 4), np.complex64), "dtype complex64"),
    (np.zeros((6, 4), [("a", "f4")]), "dtype"),
    (np.full((6, 4), np.nan, np.float32), r"encoder\.0\.weight holds values that are NaN or infinite"),
    (np.full((6, 4), np.inf, np.float32), "NaN or infinite"),
])  # fmt: skip
def test_a_wrong_array(saved, array, match):
    refused(rewrite(saved, lambda content: content.update({"encoder.0.weight.npy": npy(array)})), match)


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


def test_pickles_are_not_opened(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    array = np.array([[Bomb()] * 4] * 6, dtype=object)
    refused(
        rewrite(saved, lambda content: content.update({"encoder.0.weight.npy": npy(array, allow_pickle=True)})),
        "dtype object",
    )
    refused(rewrite(saved, lambda content: content.update({"encoder.0.weight.npy": pickle.dumps(Bomb())})))
    refused(rewrite(saved, lambda content: content.update({"model.json": pickle.dumps(Bomb())})))
    assert not (tmp_path / "exploded").exists()


def header(shape, dtype="'<f4'", order=False):
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("head", [
    header((6, 10**15)), header((10**18, 10**18)), header((-6, -4)), header((6, 4), order=True), header((6, 4), "'|O'"),
    header("x"), header((6, 4), "'<f4', 'more': 1"), header("(6, 4" * 9000), b"\x93NUMPY\x09\x00", b"\x93NUMPY", b"",
    header((6, 4)) + bytes(95), header((6, 4)) + bytes(97), header((6, 4), "'>f9'"), header("(" * 3000),
])  # fmt: skip
def test_a_hostile_header(saved, head):
    body = bytes(96) if len(head) in (128, 64) else b""
    refused(rewrite(saved, lambda content: content.update({"encoder.0.weight.npy": head + body})))


@pytest.mark.parametrize(("change", "match"), [
    (lambda d: d.update(model="../../etc/passwd"), "Known are: .*vae"),
    (lambda d: d.update(model="Unknown"), "holds a 'Unknown' model"),
    (lambda d: d.update(model=["vae"]), None),
    (lambda d: d.update(format=2, tinyae="9.1"), r"has format 2, written by tinyae 9\.1.*reads format 1.*Upgrade"),
    (lambda d: d.update(format="1"), "format"),
    (lambda d: d.pop("format"), None),
    (lambda d: d.pop("model"), None),
    (lambda d: d.pop("own"), None),
    (lambda d: d.pop("fitted"), None),
    (lambda d: d.pop("settings"), None),
    (lambda d: d.update(own=["encoder"]), "encoder of its own"),
    (lambda d: d.update(own="x"), None),
    (lambda d: d.update(own=["net_"]), None),
    (lambda d: d["settings"].update(evil=1, more=2), "VAE has no setting evil, more"),
    (lambda d: d["settings"].update(__init__=1), "no setting __init__"),
    (lambda d: d["settings"].update(n_components=10**15), "more weights than the file has"),
    (lambda d: d["settings"].update(hidden=[10**6, 10**6]), "more weights than the file has"),
    (lambda d: d["settings"].update(hidden=[60, 60, 60]), "more weights than the file has"),
    (lambda d: d["settings"].update(hidden=[1] * 10**5), "more weights than the file has"),
    (lambda d: d["settings"].update(hidden=[1] * 100), "more weights than the file has"),
    (lambda d: d["settings"].update(n_components=1e400), None),
    (lambda d: d["settings"].update(n_components=-3), "n_components=-3"),
    (lambda d: d["settings"].update(n_components="2"), "n_components='2'"),
    (lambda d: d["settings"].update(n_components=None), "shape"),
    (lambda d: d["settings"].update(hidden=None), "shape"),
    (lambda d: (d["settings"].update(hidden=None), d["fitted"].update(n_features_in_=10**12)), "more weights than"),
    (lambda d: d["settings"].update(n_components={"a": 1}), None),
    (lambda d: d["settings"].update(n_components=3), "shape"),
    (lambda d: d["settings"].update(hidden=5), None),
    (lambda d: d["settings"].update(hidden="aaaa"), None),
    (lambda d: d["settings"].update(activation="__class__"), "activation='__class__'"),
    (lambda d: d["settings"].update(loss="nonsense"), "loss='nonsense'"),
    (lambda d: d["settings"].update(sigma="1"), "sigma='1'"),
    (lambda d: d["settings"].update(random_state=-1), "random_state=-1"),
    (lambda d: d["settings"].update(encoder="x"), "encoder is a str"),
    (lambda d: d["settings"].update(dtype="object"), "dtype='object'"),
    (lambda d: d["fitted"].update(n_features_in_=10**12), "more weights than the file has"),
    (lambda d: d["fitted"].update(n_features_in_=6.0), "n_features=6.0"),
    (lambda d: d["fitted"].update(n_features_in_=7), "shape"),
    (lambda d: d["fitted"].update(n_features_in_=0), "n_features=0"),
    (lambda d: d["fitted"].pop("n_features_in_"), None),
    (lambda d: d["fitted"].pop("noise"), None),
    (lambda d: d["fitted"].update(noise=[1]), None),
    (lambda d: d["fitted"].update(noise=["a", "b"]), None),
    (lambda d: d["fitted"].update(output_activation_="nonsense"), "activation='nonsense'"),
    (lambda d: d["fitted"].update(output_activation_=["relu"]), "activation="),
    (lambda d: d["fitted"].update(output_activation_=None), "output_activation_=None is not what its settings"),
    (lambda d: d["fitted"].update(output_activation_="linear"), "output_activation_='linear' is not"),
    (lambda d: d["fitted"].update(history_=[1, 2]), None),
    (lambda d: d["fitted"].update(history_={"loss": ["<script>"]}), "no number"),
    (lambda d: d["fitted"].update(history_={"loss": 3}), None),
    (lambda d: d["fitted"].pop("history_"), "lacks history_"),
    (lambda d: d["fitted"].pop("n_iter_"), "lacks n_iter_"),
    (lambda d: d["fitted"].pop("best_epoch_"), "lacks best_epoch_"),
    (lambda d: d["fitted"].update(kept_epoch_="1"), "kept_epoch_ is no whole number"),
    (lambda d: d.update(model="\x1b[31m" + "x" * 10**4), r"holds a '\\x1b\[31mxxx"),
    (lambda d: d.update(format="\x1b" * 10**4), r"has format \\x1b"),
    (lambda d: d["settings"].update(activation="\x1b[31m" + "x" * 10**4), r"activation='\\x1b\[31mxxx"),
    (lambda d: d["settings"].update({"\x1b[31m" + "x" * 10**4: 1}), r"no setting \\x1b\[31mxxx"),
    (lambda d: d["fitted"].update(output_activation_="\x1b[31m" + "x" * 10**4), r"\\x1b\[31mxxx"),
    (lambda d: d["fitted"].update(history_=[{"array": "encoder.0.weight", "as": "list"}] * 99), "lacks the array"),
    (lambda d: d["fitted"].update(history_=[[]] * 10**6), "more than 200000 items"),
    (lambda d: d["fitted"].update(history_={"loss": [0.5] * 300_000}), "more than 200000 items"),
])  # fmt: skip
def test_a_hostile_description(saved, change, match):
    refused(describe(saved, change), match)


@pytest.mark.parametrize(("cls", "settings"), [
    (tinyae.StructuredVAE, {"neighbourhood": 10**7}),
    (tinyae.ConvolutionalAutoencoder, {"n_components": 10**7}),
    (tinyae.ConvolutionalAutoencoder, {"n_components": 10**5, "hidden": []}),
    (tinyae.StackedConvolutionalAutoencoder, {"n_components": 10**7}),
])  # fmt: skip
def test_a_hostile_image_model(tmp_path, cls, settings):
    """Refused before a list, or a layer, of that size is made."""
    saved = cls(2, image_shape=(2, 3), hidden=(1,)).build(6).save(tmp_path / "m")
    assert tinyae.load(saved).n_features_in_ == 6
    refused(describe(saved, lambda d: d["settings"].update(settings)), "more weights than the file has")


def test_many_features_of_a_convolutional_model(tmp_path):
    saved = tinyae.ConvolutionalAutoencoder(2, hidden=(1,)).build(6).save(tmp_path / "m")
    refused(describe(saved, lambda d: d["fitted"].update(n_features_in_=10**10)), "more weights than the file has")


def test_an_output_without_activation_survives(tmp_path):
    for settings in ({"output_activation": None}, {"output_activation": "tanh"}, {"decoder": nn.Linear(2, 6)}):
        model = tinyae.Autoencoder(2, max_iter=1, **settings).fit(X)
        own = {k: v for k, v in settings.items() if k == "decoder"}
        assert tinyae.load(model.save(tmp_path / "m"), **own).output_activation_ == model.output_activation_


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"3", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}']
)
def test_a_description_that_is_none(saved, text):
    refused(rewrite(saved, lambda content: content.update({"model.json": text})), "is not a model saved by tinyae")


def test_a_huge_description(saved, monkeypatch):
    monkeypatch.setattr(files, "_DESCRIPTION_LIMIT", 1 << 20)
    refused(
        rewrite(saved, lambda content: content.update({"model.json": b" " * (1 << 20) + content["model.json"]})),
        "larger than 1 MB",
    )


@pytest.mark.parametrize("text", [b"[],", b"{},", b'"a",', b"0.5,", "é,".encode(), b'"\\ud83d",'])
def test_a_description_costs_no_more_memory_than_the_file(saved, text):
    """Megabytes of JSON may become a hundred times as much in lists and texts."""
    for size in (3 << 20, 37 << 20):
        content = b'{"format": 1, "more": [' + text * (size // len(text)) + b"0]}"
        saved.write_bytes(b"")
        with zipfile.ZipFile(saved, "w") as archive:
            archive.writestr("model.json", content)
        refused(saved, "items|larger than 4 MB")


def test_a_long_history_survives(tmp_path):
    model = tinyae.Autoencoder(2, max_iter=1, random_state=0).fit(X)
    model.history_ = {name: [float(i) for i in range(300_000)] for name in ("epoch", "loss", "val_loss")}
    assert tinyae.load(model.save(tmp_path / "m")).history_ == model.history_


def test_a_history_in_the_description_is_read(saved):
    """As files had it before: with its seconds."""
    old = {"epoch": [1, 2], "loss": [0.5, 0.25], "seconds": [0.1, 0.2]}
    assert tinyae.load(describe(saved, lambda d: d["fitted"].update(history_=old))).history_ == old


def test_sizes_in_the_directory_are_not_believed(saved):
    """A directory that promises a terabyte does not buy a terabyte of weights."""
    describe(saved, lambda d: d["settings"].update(hidden=[3000, 3000]))
    whole = bytearray(saved.read_bytes())
    at = whole.index(b"PK\x01\x02")  # the first entry's row in the directory: sizes stand at 20 and 24
    whole[at + 20 : at + 28] = (0xFFFF_FFF0).to_bytes(4, "little") * 2
    saved.write_bytes(whole)
    refused(saved, "more weights than the file has")


def test_a_file_sets_no_attribute_of_its_choice(saved):
    describe(saved, lambda d: d["fitted"].update(transform="x", net_="y", evil_=1, lr=99))
    model = tinyae.load(saved)
    assert callable(model.transform)
    assert not hasattr(model, "evil_")
    assert model.lr is None
    assert model.transform(X).shape == (40, 2)


def test_names_of_paths_are_harmless(saved, tmp_path):
    rewrite(saved, lambda content: content.update({"../../evil.npy": b"x", "/tmp/evil": b"x", "C:\\evil": b"x"}))
    before = sorted(p.name for p in tmp_path.parent.iterdir())
    assert tinyae.load(saved).transform(X).shape == (40, 2)
    assert sorted(p.name for p in tmp_path.parent.iterdir()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_a_half_of_ones_own_does_not_excuse_the_other(tmp_path):
    """With an encoder handed in, the file still decides how large the decoder is."""
    model = tinyae.Autoencoder(2, encoder=nn.Linear(6, 2)).build(6)
    path = describe(model.save(tmp_path / "m"), lambda d: d["settings"].update(hidden=[300, 3 * 10**4]))
    refused(path, "more weights than the file has", encoder=nn.Linear(6, 2))
