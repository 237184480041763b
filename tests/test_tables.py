"""What users give as a table: its columns' names, units and range, what is missing, masked, or lost in float32."""

import json
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

import tinyae
from tinyae import VAE, ZOO, AnomalyDetector, Autoencoder, Classifier, LSTMAutoencoder, tables
from tinyae.errors import DataError, DtypeError, SettingError, ShapeError

# Two epochs do for what is asked here, and are too few for a model to be good.
pytestmark = pytest.mark.filterwarnings("ignore::tinyae.errors.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.random((40, 3)).astype(np.float32)
BYTES = rng.integers(0, 256, (60, 8), dtype=np.uint8)
BITS = (BYTES > 127).astype(np.uint8)
LABELS = np.arange(40) % 2


def small(cls=Autoencoder, **settings):
    return cls(**{"n_components": 2, "max_iter": 2, "random_state": 0, **settings})


# -- columns by name ------------------------------------------------------------------------------------------------


def frame(columns="abc", index=range(100, 140)):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=list(columns), index=index)


def users():
    """(name, call of a table) of every method that reads one, of models fitted on a frame."""
    model, df = small(VAE).fit(frame()), frame()
    yield from ((name, getattr(model, name)) for name in (
        "transform", "reconstruct", "score_samples", "score", "posterior", "log_density", "log_likelihood",
        "active_units", "activity", "compress", "rate_distortion", "code_histogram", "fraction_of_zero_codes",
    ))  # fmt: skip
    yield "neighbours", lambda T: model.neighbours(df, T)
    yield "validation_data", lambda T: small().fit(df, validation_data=T)
    detector = AnomalyDetector(small()).fit(df)
    yield from ((name, getattr(detector, name)) for name in ("score_samples", "predict", "decision_function"))
    classifier = Classifier(max_iter=1, random_state=0).fit(df, LABELS)
    yield from ((name, getattr(classifier, name)) for name in ("predict", "predict_proba", "predict_log_proba"))
    yield "classifier validation", lambda T: Classifier(max_iter=1).fit(df, LABELS, validation_data=(T, LABELS))
    yield "classifier on an encoder", lambda T: Classifier(model, max_iter=1).fit(T, LABELS)


def test_columns_are_known_by_name():
    df, other, lacking = frame(), frame("abx"), frame().iloc[:, :2]
    for name, call in users():
        call(df)
        with pytest.raises(ValueError, match="Feature names must be in the same order as they were in fit"):
            call(df[["c", "b", "a"]])
        with pytest.raises(DataError, match=r"unseen at fit time:\n- x\nFeature names seen at .* now missing:\n- c\n"):
            call(other)
        with pytest.raises(DataError, match=r"yet now missing:\n- c\n"):
            call(lacking)
        with pytest.warns(UserWarning, match="does not have valid feature names, but .* was fitted with") as warned:
            call(X)
        assert {w.filename for w in warned} == {__file__}, name


def test_names_that_fit_did_not_see():
    model = small().fit(X)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but Autoencoder was fitted without feature names"):
        model.transform(frame())
    assert list(model.fit(frame()).feature_names_in_) == ["a", "b", "c"]
    assert model.feature_names_in_.dtype == object
    assert not hasattr(model.fit(frame(range(3))), "feature_names_in_"), "numbers are no names"
    model.fit(frame())
    assert not hasattr(model.build(5), "feature_names_in_")
    for mixed in (["a", "b", 0], [1, "b", "c"]):
        with pytest.raises(TypeError, match="column names of int and str. Make all of them strings"):
            model.fit(frame(mixed))


def test_a_refused_fit_keeps_the_names():
    model = small().fit(frame())
    with pytest.raises(DataError):
        model.fit(np.full((3, 3), np.nan))
    assert list(model.feature_names_in_) == ["a", "b", "c"]


def test_a_target_in_another_order_is_refused():
    df = frame()
    for call in (lambda T: small().fit(df, target=T), lambda T: small().fit(df).score_samples(df, target=T)):
        call(df.rename(columns={"a": "clean"}))
        with pytest.raises(DataError, match="target: .*\n.*same order"):
            call(df[["c", "b", "a"]])


def test_rows_and_codes_need_no_names():
    model, df = small(VAE).fit(frame()), frame()
    model.interpolate(df.iloc[0], df.iloc[1])
    model.traverse(df.iloc[0])
    model.inverse_transform(model.transform(df))
    small(ZOO["walkback"]).fit(df).sample(2, steps=2)
    small(ZOO["stacked"], pretrain_iter=1).fit(df).transform(df)


def test_copies_know_the_names(tmp_path):
    sklearn = pytest.importorskip("sklearn")
    model, df = small().fit(frame()), frame()
    model.save(tmp_path / "m.npz")
    for again in (pickle.loads(pickle.dumps(model)), tinyae.load(tmp_path / "m.npz")):
        np.testing.assert_array_equal(again.feature_names_in_, model.feature_names_in_)
        np.testing.assert_array_equal(again.transform(df), model.transform(df))
        with pytest.raises(DataError, match="same order"):
            again.transform(df[["b", "a", "c"]])
    assert not hasattr(sklearn.base.clone(model), "feature_names_in_")


class Frame:
    """A frame of another library: column names, and an array on request."""

    columns = ["a", "b", "c"]

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def test_frames_of_other_libraries():
    model = small().fit(Frame(X))
    assert list(model.feature_names_in_) == Frame.columns
    np.testing.assert_array_equal(model.transform(Frame(X)), small().fit(X).transform(X))
    polars = pytest.importorskip("polars")
    assert isinstance(model.set_output(transform="polars").transform(Frame(X)), polars.DataFrame)


# -- frames as results ----------------------------------------------------------------------------------------------


def test_output_as_frames():
    pandas = pytest.importorskip("pandas")
    model, df = small(), frame()
    assert model.set_output(transform="pandas") is model
    codes = model.fit_transform(df)
    assert isinstance(codes, pandas.DataFrame)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"]
    assert list(codes.index) == list(df.index)
    np.testing.assert_array_equal(codes, small().fit(X).transform(X))
    assert list(small().set_output(transform="pandas").fit(X).transform(X).index) == list(range(40))
    for plain in (model.reconstruct(df), model.interpolate(X[0], X[1]), model.compress(df)[0], model.activity(df)[0]):
        assert type(plain) is np.ndarray
    assert model.set_output().transform(df).equals(codes)
    assert type(model.set_output(transform="default").transform(df)) is np.ndarray
    with pytest.raises(SettingError, match="transform='numpy'. Choose from: default, pandas, polars"):
        model.set_output(transform="numpy")


def test_output_by_scikit_learns_settings():
    sklearn, pandas = pytest.importorskip("sklearn"), pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    df = frame()
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(small().fit(df).transform(df), pandas.DataFrame)
        stack = small(ZOO["stacked"], pretrain_iter=1).fit(df)  # its parts take arrays from each other
        assert type(stack.set_output(transform="default").transform(df)) is np.ndarray
    pipeline = make_pipeline(MinMaxScaler(), small(VAE)).set_output(transform="pandas")
    assert list(pipeline.fit_transform(df).columns) == ["vae0", "vae1"]
    assert list(pipeline.fit_transform(df).index) == list(df.index)
    both = make_column_transformer((small(n_components=1), ["a", "b"]), remainder="passthrough")
    codes = both.set_output(transform="pandas").fit_transform(df)
    assert list(codes.columns) == ["autoencoder__autoencoder0", "remainder__c"]
    assert sklearn.base.clone(small().set_output(transform="pandas")).fit(df).transform(df).index[0] == 100


def test_without_pandas_it_is_said():
    code = ("import sys, numpy; sys.modules['pandas'] = None; import tinyae; "
            "tinyae.Autoencoder(1, max_iter=1).set_output(transform='pandas').fit_transform(numpy.eye(3))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'MissingExtraError: set_output(transform="pandas") needs pandas. Install it' in done.stderr


# -- what is no table -----------------------------------------------------------------------------------------------


def refuses(bad, error, match):
    """fit, and what comes after it, by the same words."""
    model = small(n_components=1).fit(frame() if hasattr(bad, "columns") else X)
    for call in (small().fit, model.transform, model.score, AnomalyDetector(small()).fit):
        with pytest.raises(error, match=match) as caught:
            call(bad)
        assert str(caught.value).startswith("Autoencoder.") and len(str(caught.value)) < 400
    with pytest.raises(error, match=match):
        small().fit(X, target=bad)
    with pytest.raises(error, match=match):
        small().fit(frame() if hasattr(bad, "columns") else X, validation_data=bad)
    with pytest.raises(error, match=match):
        Classifier().fit(bad, LABELS)


def masked(values):
    return np.ma.masked_array(values, mask=values > 0.9)


@pytest.mark.parametrize(("bad", "error", "match"), [
    (masked(X), DataError, rf"{(X > 0.9).sum()} masked value\(s\)"),
    (list(masked(X)), DataError, r"masked value\(s\)"),
    ([[1.0, 2.0, 3.0], [3.0]], ShapeError, r"no table: row 0 has 3 value\(s\), row 1 has 1. Give rows of one length"),
    ([[1.0, 2.0], 3.0], ShapeError, r"row 0 has 2 value\(s\), row 1 has 0"),
    ([[[1], [2, 3]], [[1], [2, 3]]], ShapeError, r"is no table: "),
    (np.array([[1.0, 2.0], [3.0]], object), ShapeError, r"row 0 has 2 value\(s\), row 1 has 1"),
    (np.array([np.ones(3), np.ones(3), None], object)[:2], ShapeError, r"objects of 3 value\(s\) each.*numpy.stack"),
    (np.array([[1, 2, "three"], [4, 5, 6]], object), DtypeError, r"'three', in row 0, column 2\. Give numbers"),
    (np.array([["1", "2", "three"]]), DtypeError, r"dtype <U5\. Give numbers\. 'three' is in row 0, column 2\."),
    (np.array([[1, 2, 10**400]], object), DtypeError, r"too large .*row 0, column 2"),
    (np.array([[1, 2, "x" * 999]], object), DtypeError, r"\.\.\., in row 0, column 2"),
    (np.zeros(3, [("a", float), ("b", float)]), DtypeError, r"structured_to_unstructured\(\w+\)"),
])  # fmt: skip
def test_no_table(bad, error, match):
    refuses(bad, error, match)


def test_frames_name_what_is_wrong():
    pandas = pytest.importorskip("pandas")
    for dtype in ("Int64", "Float64", "boolean"):
        gaps = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": pandas.array([1, None, 0], dtype=dtype), "c": 0})
        refuses(gaps, DataError, r"missing value in row 1, column 1 \(b\); \w+ has 1 of them")
    objects = frame().astype(object)
    objects.iloc[2, 1] = "many"
    refuses(objects, DtypeError, r"'many', in row 2, column 1 \(b\)")
    objects.iloc[2, 1] = np.nan
    refuses(objects, DataError, r"the first, nan, in row 2, column 1 \(b\)")
    whole = pandas.DataFrame({"a": pandas.array([1, 2, 3], dtype="Int64"), "b": pandas.array([True, False, True])})
    assert small().fit(whole).transform(whole).shape == (3, 2)


@pytest.mark.parametrize("convert", [
    lambda x: np.ma.masked_array(x, mask=False), lambda x: x.astype(">f4"), lambda x: list(map(tuple, x.tolist())),
    lambda x: x.view(np.matrix), list,
], ids=["nothing masked", "big-endian", "tuples", "matrix", "list of rows"])  # fmt: skip
def test_forms_of_the_same_table(convert):
    np.testing.assert_array_equal(small().fit(convert(X)).transform(convert(X)), small().fit(X).transform(X))


# -- units ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [
    lambda x: x.astype(np.int64), lambda x: x.astype(np.float32), lambda x: x.astype(np.int16).tolist(), lambda x: x * 0.9,
])  # fmt: skip
@pytest.mark.parametrize("fitted", [BYTES, BYTES / 255])
def test_other_units_are_warned_of(fitted, convert):
    model, detector, calls = small().fit(fitted), AnomalyDetector(small()).fit(fitted), 0
    assert model.scale_ == (255 if fitted is BYTES else 1)
    y = np.arange(60) % 2
    for call in (model.transform, model.reconstruct, model.score, model.score_samples, model.activity, model.compress,
                 detector.predict, Classifier(max_iter=1).fit(fitted, y).predict, Classifier(model, max_iter=1).fit(fitted, y).predict,
                 lambda x: small().fit(fitted, validation_data=x)):  # fmt: skip
        with pytest.warns(
            RuntimeWarning, match=r"values from 0 to [\d.]+, but fit saw .*by X / 255|validation_data / 255"
        ):
            call(convert(BYTES))
        calls += 1
    np.testing.assert_array_equal(model.transform(BYTES), model.transform(BYTES / np.float32(255)))
    np.testing.assert_array_equal(model.transform(np.eye(8, dtype=bool)), model.transform(np.eye(8)))


def test_strange_rows_are_no_other_units():
    """What a detector is there for is not warned of: warnings are errors here."""
    model = small().fit(X)
    model.score_samples(X * 4)
    model.transform(X - 0.5)
    small().build(3).transform(100 * X)


def test_bytes_are_what_they_were_when_fitted():
    for fitted in (BITS, BITS.astype(np.float32), BITS.astype(bool)):
        model = small().fit(fitted)
        np.testing.assert_array_equal(model.transform(BITS), model.transform(BITS.astype(np.float32)))
        with pytest.warns(RuntimeWarning, match="uint8 and values from 0 to 255, but fit saw only 0 and 1"):
            codes = model.transform(BYTES)
        with pytest.warns(RuntimeWarning, match="fit saw only 0 and 1"):
            np.testing.assert_array_equal(codes, model.transform(BYTES.astype(np.float32)))
    far = small().fit(BYTES.astype(np.int64))
    np.testing.assert_array_equal(far.transform(BYTES), far.transform(BYTES.astype(np.float64)))
    np.testing.assert_array_equal(far.transform(BYTES // 4), far.transform((BYTES // 4).astype(np.float64)))


@pytest.mark.parametrize(("rows", "target"), [(BYTES, BITS), (BITS, BYTES), (BYTES / 3, BYTES), (BYTES, BYTES / 3)])
def test_a_target_has_units_of_its_own(rows, target):
    def plain(x):
        return x / np.float32(255) if x is BYTES else x.astype(np.float32)

    model, other = small().fit(rows, target=target), small().fit(plain(rows), target=plain(target))
    np.testing.assert_array_equal(model.reconstruct(rows), other.reconstruct(plain(rows)))
    scores = other.score_samples(plain(rows), target=plain(target))
    np.testing.assert_array_equal(model.score_samples(rows, target=target), scores)
    held = small().fit(rows, target=target, validation_data=(rows, target)).history_["val_loss"][-1]
    assert held == pytest.approx(-scores.mean(), rel=1e-6)  # float32 scores, summed in another order


def test_files_keep_the_units(tmp_path):
    for rows in (BYTES, BITS, BYTES.astype(float)):
        model = small().fit(rows, target=BITS)
        again = tinyae.load(model.save(tmp_path / "m.npz"))
        assert (again.scale_, again.target_scale_) == (model.scale_, model.target_scale_)
        np.testing.assert_array_equal(again.transform(BYTES // 128), model.transform(BYTES // 128))
        np.testing.assert_array_equal(again.score_samples(rows, BITS), model.score_samples(rows, BITS))


def changed(path, change):
    """The model file with another description."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    description = json.loads(members["model.json"])
    change(description["fitted"])
    with zipfile.ZipFile(path, "w") as new:
        for name, content in {**members, "model.json": json.dumps(description)}.items():
            new.writestr(name, content)
    return path


def test_files_of_before_and_files_that_lie(tmp_path):
    model = small().fit(BYTES)
    path = changed(model.save(tmp_path / "old.npz"), lambda fitted: [fitted.pop(name) for name in ("scale_", "target_scale_")])
    np.testing.assert_array_equal(tinyae.load(path).transform(BYTES), model.transform(BYTES))
    for lie in ({"scale_": 7}, {"target_scale_": "x"}, {"feature_names_in_": ["a"]},
                {"feature_names_in_": list(range(8))}, {"feature_names_in_": 3}):  # fmt: skip
        with pytest.raises(tinyae.errors.ModelFileError):
            tinyae.load(changed(model.save(tmp_path / "lie.npz"), lambda fitted, lie=lie: fitted.update(lie)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("padding", [255, 77])
def test_padding_is_a_value_of_the_rows(tmp_path, padding, dtype):
    rows = rng.integers(80, 200, (20, 12), dtype=np.uint8)
    for row in rows:
        row[rng.integers(3, 12) :] = padding
    longer = np.concatenate([rows, np.full((20, 4), padding, np.uint8)], axis=1)
    settings = {"padding_value": padding, "dtype": dtype}
    short, long = (small(LSTMAutoencoder, **settings).fit(T) for T in (rows, longer))
    # Two steps more of padding are neither read nor compared; float32 sums of other lengths differ by roundings.
    np.testing.assert_allclose(long.transform(longer), short.transform(rows), atol=1e-6)
    np.testing.assert_allclose(long.score_samples(longer), short.score_samples(rows), atol=1e-6)
    again = tinyae.load(short.save(tmp_path / "m.npz"))
    np.testing.assert_array_equal(again.transform(rows), short.transform(rows))
    np.testing.assert_array_equal(again.score_samples(rows), short.score_samples(rows))
    scale = np.dtype(dtype).type(255)
    plain = small(LSTMAutoencoder, padding_value=float(np.dtype(dtype).type(padding) / scale), dtype=dtype)
    np.testing.assert_array_equal(plain.fit(rows / scale).transform(rows / scale), short.transform(rows))


# -- the range of a loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [
    small(VAE), small(loss="bce"), small(ZOO["walkback"]), small(ZOO["conv-vae"]), small(LSTMAutoencoder, loss="bce"),
    small(ZOO["rbm"], pretrain_iter=1),
], ids=lambda model: model.zoo_name)  # fmt: skip
def test_what_the_loss_cannot_express_is_refused_everywhere(model):
    words = r"compares probabilities, and the data leave \[0, 1\]\..*The first beyond is 1.5 in row 3"
    model.fit(X)
    beyond = X.copy()
    beyond[3, 1] = 1.5
    calls = [type(model)(**model.get_params()).fit, model.score, model.score_samples,
             lambda T: model.score_samples(X, target=T), lambda T: small(loss="bce").fit(X, validation_data=T),
             lambda T: small(loss="bce").fit(X, target=T)]  # fmt: skip
    calls += [getattr(model, name) for name in ("log_density", "log_likelihood") if hasattr(model, name)]
    for call in calls:
        with pytest.raises(SettingError, match=words):
            call(beyond)
    assert np.isfinite(model.transform(beyond)).all()
    model.score(np.clip(beyond, -1e-7, 1 + 1e-7))  # a scaler's rounding


@pytest.mark.parametrize("model", [small(VAE, max_iter=20), small(loss="bce", hidden=(8,)), None])
def test_beyond_the_range_a_detector_finds_anomalies(model):
    normal = np.clip(0.7 + 0.1 * np.random.default_rng(1).standard_normal((300, 6)), 0, 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "VAE.fit: the posterior collapsed")
        detector = AnomalyDetector(model, contamination=0.05).fit(normal)
    scores = detector.score_samples(normal)
    assert np.mean(detector.predict(normal) == -1) == 0.05
    if model is None:
        return  # squared errors need nothing of this kind
    for far in (1.5, -0.5, 40.0, 1e30):
        strange = normal.copy()
        strange[:50, 2] = far
        assert detector.score_samples(strange)[:50].max() < scores.min()
        assert (detector.predict(strange)[:50] == -1).all()
    near = np.sort(normal[:50], axis=1)
    levels = [detector.score_samples(np.hstack([near[:, :5], np.full((50, 1), v)])) for v in (1.0, 1.01, 1.05, 1.2, 3)]
    assert all((worse < better).all() for better, worse in zip(levels, levels[1:])), "the farther, the stranger"
    np.testing.assert_allclose(levels[0], levels[1], atol=0.11 * np.ptp([levels[0].max(), scores.min()]) + 0.011)
    np.testing.assert_array_equal(detector.score_samples(strange)[50:], scores[50:])


# -- what float32 loses ---------------------------------------------------------------------------------------------


TIMES = 1.7e9 + np.arange(50.0).reshape(25, 2)


@pytest.mark.parametrize("rows", [
    TIMES, TIMES * 1000, TIMES.astype(np.int64), 1e9 + rng.random((500, 2)), 2**24 + np.arange(100).reshape(2, 50).T,
    np.hstack([rng.random((25, 3)), TIMES]),
])  # fmt: skip
def test_values_that_become_equal_are_warned_of(rows):
    model = small()
    with pytest.warns(RuntimeWarning, match=r'column \d and 1 further.*Subtract .*dtype="float64"') as warned:
        model.fit(rows)
    assert {w.filename for w in warned} == {__file__}
    small(dtype="float64").fit(rows)
    with pytest.warns(RuntimeWarning, match="are left in float32"):
        Classifier(max_iter=1).fit(rows, np.arange(len(rows)) % 2)
    small().fit(rows - rows.mean(axis=0))


def test_the_column_is_named():
    pandas = pytest.importorskip("pandas")
    df = pandas.DataFrame({"a": rng.random(25), "time": TIMES[:, 0]})
    with pytest.warns(RuntimeWarning, match=r"column 1 \(time\): of 25 different values 1 are left"):
        small().fit(df)


@pytest.mark.parametrize("rows", [
    rng.random((5000, 2)), rng.standard_normal((5000, 2)) + 100, np.full((20, 2), 1.7e9), 1.7e9 + 86400 * np.arange(60.0)[:, None],
    rng.random((500, 2)) * 1e-30, np.hstack([rng.random((99, 1)), 1e9 * rng.random((99, 1))]), BYTES, BYTES.astype(np.int32),
])  # fmt: skip
def test_roundings_that_do_no_harm_are_not(rows):
    assert tables.lost_columns(rows, "float32") == []


# -- manners of other libraries -------------------------------------------------------------------------------------


def test_clean_rows_as_y():
    noisy = np.clip(X + 0.1, 0, 1)
    for call in (small().fit, small().fit_transform, AnomalyDetector(small()).fit):
        with pytest.warns(UserWarning, match=r"y has the shape of X and is ignored.*fit\(X, target=y\)") as warned:
            call(noisy, X)
        assert {w.filename for w in warned} == {__file__}
    small().fit(X, X)
    small().fit(X, X.tolist())
    small().fit(X, LABELS)
    small().fit(X, [[1], [2, 3]])


def test_numpys_own_for_settings(tmp_path):
    for settings in ({"dtype": np.float64}, {"dtype": np.float32}, {"hidden": np.array([5, 4])}, {"hidden": range(4, 6)},
                     {"hidden": np.array([], int)}):  # fmt: skip
        model = small(**settings).fit(X)
        plain = small(**{name: np.dtype(v).name if name == "dtype" else tuple(v) for name, v in settings.items()}).fit(
            X
        )
        np.testing.assert_array_equal(model.transform(X), plain.transform(X))
        again = tinyae.load(model.save(tmp_path / "m.npz"))
        assert again.transform(X).dtype == model.transform(X).dtype
        np.testing.assert_array_equal(again.transform(X), model.transform(X))
    Classifier(max_iter=1, dtype=np.float64).fit(X, LABELS).predict(X)
    small(ZOO["convolutional"], hidden=np.array([3, 2])).fit(X)
    for bad in (np.array(5), np.array([[5]]), np.array([5.0]), np.array([0])):
        with pytest.raises(SettingError, match="hidden"):
            small(hidden=bad).fit(X)
    for bad in (np.float16, np.int32, complex, np.dtype(">f4")):
        with pytest.raises(SettingError, match="dtype=.*Choose from: float32, float64"):
            small(dtype=bad).fit(X)
