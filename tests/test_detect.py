"""Anomaly detection: the threshold, scikit-learn's contract, and that what is strange is found: digits, letters."""

import copy
import pickle

import numpy as np
import pytest

import tinyae
from tinyae import AnomalyDetector, Autoencoder, data
from tinyae.errors import NotFittedError, SettingError, ShapeError
from tinyae.metrics import roc_auc

X = np.random.default_rng(0).random((200, 6))
SMALL = {"max_iter": 2, "random_state": 0}


@pytest.mark.parametrize("contamination", [0.0, 0.1, 0.5])
def test_as_many_as_asked_for_are_called_anomalous(contamination):
    detector = AnomalyDetector(Autoencoder(2, **SMALL), contamination=contamination).fit(X)
    assert np.sum(detector.predict(X) == -1) == contamination * 200
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(scores, Autoencoder(2, **SMALL).fit(X).score_samples(X))
    np.testing.assert_allclose(detector.decision_function(X), scores.astype(np.float64) - detector.offset_, rtol=1e-12)
    np.testing.assert_array_equal(detector.predict(X), np.where(scores < detector.offset_, -1, 1))
    np.testing.assert_array_equal(detector.fit_predict(X), detector.predict(X))


def test_calibration_by_rows_that_the_model_has_not_seen():
    rows = np.random.default_rng(1).random((300, 30))
    seen, new, more = rows[:50], rows[50:150], rows[150:]
    detector = AnomalyDetector(Autoencoder(25, lr=0.02, max_iter=150, random_state=0), contamination=0.1).fit(seen)
    assert np.mean(detector.predict(new) == -1) > 0.25, "learned by heart"
    weights = detector.model_.net_.state_dict()
    assert detector.calibrate(new) is detector
    assert np.mean(detector.predict(new) == -1) == 0.1
    assert np.mean(detector.predict(more) == -1) < 0.2
    for name, value in detector.model_.net_.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])


def test_calibration_of_a_model_that_is_fitted():
    model = Autoencoder(2, **SMALL).fit(X)
    detector = AnomalyDetector(model)
    with pytest.raises(ShapeError):
        detector.calibrate(X[:, :3])
    assert not hasattr(detector, "model_"), "what is refused changes nothing"
    assert detector.calibrate(X) is detector and detector.n_features_in_ == 6 and detector.model_ is not model
    scores = model.score_samples(X)
    model.fit(X[:50])
    np.testing.assert_array_equal(detector.score_samples(X), scores)
    assert np.sum(detector.predict(X) == -1) == 20
    with pytest.raises(SettingError, match="contamination=2"):
        AnomalyDetector(model, contamination=2).calibrate(X)


def test_the_model_given_is_not_touched():
    model = Autoencoder(2, **SMALL)
    detector = AnomalyDetector(model).fit(X)
    assert not hasattr(model, "net_") and detector.model is model and detector.n_features_in_ == 6
    assert AnomalyDetector().model is None
    assert detector.get_params()["model__n_components"] == 2
    assert set(detector.get_params(deep=False)) == {"model", "contamination"}
    assert detector.set_params(model__n_components=3, contamination=0.2) is detector
    assert detector.model_.transform(X).shape == (200, 2)
    assert detector.fit(X, validation_data=X).model_.transform(X).shape == (200, 3)
    assert "val_loss" in detector.model_.history_
    assert AnomalyDetector().set_params(model__max_iter=1).fit(X).model_.n_iter_ == 1
    assert repr(AnomalyDetector(model, contamination=0.3)) == f"AnomalyDetector(model={model!r}, contamination=0.3)"
    for again in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        np.testing.assert_array_equal(again.decision_function(X), detector.decision_function(X))


@pytest.mark.parametrize("settings", [
    {"contamination": -0.1}, {"contamination": 0.6}, {"contamination": "auto"}, {"model": Autoencoder},
])  # fmt: skip
def test_bad_settings(settings):
    with pytest.raises(SettingError, match=r"^AnomalyDetector: .*Give "):
        AnomalyDetector(**settings).fit(X)


def test_not_fitted():
    for action in ("score_samples", "decision_function", "predict", "calibrate"):
        with pytest.raises(NotFittedError, match="Call fit"):
            getattr(AnomalyDetector(), action)(X)


@pytest.mark.filterwarnings("ignore:Estimator .* does not inherit from:UserWarning")
def test_check_estimator():
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.base import clone
    from sklearn.utils.estimator_checks import check_estimator

    detector = AnomalyDetector(Autoencoder(2, dtype="float64", **SMALL))
    again = clone(detector)
    assert again.model is not detector.model and repr(again) == repr(detector)
    expected = {"check_estimators_unfitted": "the error is tinyae's NotFittedError, not scikit-learn's"}
    checks = check_estimator(detector, on_skip=None, on_fail=None, expected_failed_checks=expected)
    assert [(check["check_name"], check["exception"]) for check in checks if check["status"] == "failed"] == []
    assert any("outlier" in check["check_name"] for check in checks)


def test_one_digit_and_the_others():
    digits = data.load_data("digits")
    rows = data.as_float(digits.X, scale=16)
    seen = (digits.y == 0) & (np.arange(len(rows)) < 1000)
    detector = AnomalyDetector(Autoencoder(8, max_iter=40, lr=5e-3, batch_size=16, random_state=0)).fit(rows[seen])
    assert roc_auc(digits.y[1000:] != 0, -detector.score_samples(rows[1000:])) > 0.95


# Written for this test. Letters and spaces only, so that random text has the same alphabet.
ENGLISH = """
the old lighthouse stood at the end of the long grey pier and every evening when the fishing boats came home the keeper
climbed the narrow stairs to light the lamp he had done so for more than thirty years and in all that time there had
been only one night on which the light had failed it was in the winter of the great storm when the wind tore the roof
from the boat house and threw the waves across the road and into the gardens of the village the keeper remembered that
he had sat in the dark with a candle and a box of matches listening to the sea and that he had thought of the men who
were still out there looking for a light that they could not find in the morning the water was calm again and one after
another the boats came back into the harbour with broken masts and torn sails but not one of them was missing the
people of the village stood on the pier and counted them and then they went home to have their breakfast nobody spoke
of the light and nobody asked the keeper what had happened but from that day on he kept a second lamp beside the first
and every evening before he went to bed he walked up the stairs once more to see that both of them were burning
"""
ALPHABET = "abcdefghijklmnopqrstuvwxyz "


def windows(text, length=4):
    """Each run of so many characters as one row, one of 27 switched on per character."""
    places = np.array([ALPHABET.index(letter) for letter in " ".join(text.split())])
    runs = np.lib.stride_tricks.sliding_window_view(np.eye(27)[places], length, axis=0)
    return runs.transpose(0, 2, 1).reshape(len(runs), -1)


def test_english_and_random_letters():
    """What has been learned from the first lines is that th, he and in are common, and xq is not."""
    rows = windows(ENGLISH)
    seen, held = rows[:800], rows[800:]
    letters = np.random.default_rng(0).integers(0, 27, len(held) + 3)
    random = windows("".join(ALPHABET[i] for i in letters).replace("  ", " e").strip())
    shuffled = windows("".join(np.random.default_rng(1).permutation(list(ENGLISH.replace("\n", " ")))))
    model = Autoencoder(24, hidden=(64,), loss="bce", lr=5e-3, max_iter=30, random_state=0)
    detector = AnomalyDetector(model).fit(seen)
    calm = detector.score_samples(held)
    for others, least in ((random, 0.85), (shuffled, 0.6)):
        strange = np.r_[np.zeros(len(held)), np.ones(len(others))]
        area = roc_auc(strange, -np.r_[calm, detector.score_samples(others)])
        assert area > least, area
