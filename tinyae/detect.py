"""Anomaly detection: what an autoencoder that knows only the normal reconstructs badly is not normal.

    detector = AnomalyDetector(Autoencoder(8, hidden=(64,)), contamination=0.01).fit(X)
    detector.predict(new)           # 1 normal, -1 not, as scikit-learn's outlier detectors say it

Any variant will do: what counts is its ``score_samples``, minus the loss of every row.

Note [Beyond the range]
    A cross-entropy knows values in [0, 1] only. Outside, it is no likelihood and may even fall: a model that asks for
    such data refuses to score others. A detector must not: in use a value beyond the range is just what it is there to
    find, and one such row must not stop the others. It scores the row at the nearest values that the loss knows, and
    lowers that score, by how far away these are (summed over the features) and towards ``lowest_``, the lowest
    score of ``calibrate``, which is reached at a tenth of the range. So a value beyond the range never makes a row look
    more normal, a little beyond costs little, and more than that is an anomaly whatever the model thinks.

Ring 7. Must not know one variant from another.
"""

import copy

import numpy as np

from . import files
from .ae import Autoencoder
from .errors import NotFittedError, SettingError
from .estimator import Estimator

__all__ = ["AnomalyDetector"]

_MARGIN = 0.1


@files.saved("anomaly-detector", "model", "model_")
class AnomalyDetector(Estimator):
    """Calls a row anomalous if ``model.score_samples`` of it is below ``offset_``, a quantile of those of normal rows.

    Japkowicz, Myers and Gluck 1995; Hawkins et al. 2002. Scikit-learn's contract for outlier detectors.

    Parameters
    ----------
    model : Autoencoder or None
        Any variant, with its settings. ``fit`` trains a new one of the same settings, ``model_``, and leaves this one
        alone; ``calibrate`` of a detector that was not fitted takes it as it is, if it is fitted. None: `Autoencoder`.
    contamination : float
        Which share of the rows of ``fit`` shall be called anomalous, from 0 to 0.5. 0: none of them.

    Attributes
    ----------
    model_ : the fitted autoencoder
    offset_ : float, the score below which a row is an anomaly
    lowest_ : float, the lowest score of a row that the threshold was set by

    A model knows the rows that it was trained on, and scores new ones somewhat lower: to have no more than that share
    of new normal rows called anomalous, give some that it has not seen to ``calibrate``.
    """

    model: object = None
    contamination: float = 0.1

    def fit(self, X, y=None, **fit_params):
        """Train a model of ``model``'s settings on X, mostly normal rows, and set the threshold by them; returns self.

        fit_params go to the model's ``fit``. Shape: X (rows, features); y is ignored.
        """
        self._check_contamination()
        model = Autoencoder() if self.model is None else self.model
        if not isinstance(model, Autoencoder):
            raise SettingError(f"{type(self).__name__}: model is a {type(model).__name__}. Give an autoencoder.")
        with self._unless_refused():
            self._take(type(model)(**model.get_params()).fit(X, y, **fit_params))
            return self.calibrate(X)

    def _take(self, model):
        self.model_, self.n_features_in_ = model, model.n_features_in_
        if hasattr(model, "feature_names_in_"):
            self.feature_names_in_ = model.feature_names_in_
        else:
            vars(self).pop("feature_names_in_", None)

    def calibrate(self, X):
        """Set the threshold by these normal rows, which are better not those of ``fit``; returns self.

        Without ``fit`` before, ``model`` must be fitted; ``model_`` is then a copy of it.
        """
        self._check_contamination()
        with self._unless_refused():
            if not hasattr(self, "model_") and isinstance(self.model, Autoencoder) and hasattr(self.model, "net_"):
                self._take(copy.deepcopy(self.model))
            self._check_fitted("calibrate")
            scores, beyond = self._scored(X, "calibrate")
            self.lowest_ = float(scores.min())
            self.offset_ = float(np.quantile(self._lowered(scores, beyond).astype(np.float64), self.contamination))
        return self

    def score_samples(self, X):
        """The model's: minus the loss of every row, the lower the stranger. Shape: (rows, features) -> (rows,).

        Rows that the model's loss cannot express, Note [Beyond the range], come below all rows of ``calibrate``.
        """
        self._check_fitted("score_samples")
        return self._lowered(*self._scored(X, "score_samples"))

    def _scored(self, X, action):
        """(the model's score of every row, brought into the range of its loss; how far it was beyond, in all)"""
        X, beyond = self.model_._within_range(self.model_._check_input(X, action))
        return self.model_._scores(X), beyond

    def _lowered(self, scores, beyond):
        """Scores, those of rows beyond the range below lowest_: Note [Beyond the range]."""
        if beyond is None:
            return scores
        share = np.minimum(beyond / _MARGIN, 1.0)
        lowered = (1.0 - share) * scores + share * np.minimum(scores, self.lowest_) - beyond
        return np.where(beyond > 0, lowered, scores).astype(scores.dtype)

    def decision_function(self, X):
        """``score_samples(X) - offset_``: below 0 for anomalies. Shape: (rows, features) -> (rows,)."""
        return self.score_samples(X).astype(np.float64) - self.offset_

    def predict(self, X):
        """1 for normal rows, -1 for anomalies. Shape: (rows, features) -> (rows,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X, y=None, **fit_params):
        """``fit(X).predict(X)``."""
        return self.fit(X, y, **fit_params).predict(X)

    def save(self, path):
        """Write the detector with its model to an .npz file, for `tinyae.load`. Returns the path."""
        self._check_fitted("save")
        return files.save(self, path)

    def get_params(self, deep=True):
        """The settings as a dictionary; deep: the model's too, as ``model__n_components``."""
        params = super().get_params()
        if deep and isinstance(self.model, Estimator):
            params |= {f"model__{name}": value for name, value in self.model.get_params().items()}
        return params

    def set_params(self, **params):
        """Change settings, the model's as ``model__n_components``; takes effect at the next ``fit``. Returns self."""
        inner = {name: value for name, value in params.items() if name.startswith("model__")}
        super().set_params(**{name: value for name, value in params.items() if name not in inner})
        if inner:
            if self.model is None:
                self.model = Autoencoder()
            self.model.set_params(**{name.removeprefix("model__"): value for name, value in inner.items()})
        return self

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags  # only scikit-learn calls this

        return Tags(
            estimator_type="outlier_detector", target_tags=TargetTags(required=False), input_tags=InputTags(),
            non_deterministic=False,
        )  # fmt: skip

    def _own_arrays(self):
        return {}

    def _restore(self, parts, fitted, read):
        """What `save` wrote; see ``files.saved``."""
        self._check_contamination()
        self._take(parts["model_"])
        self.offset_, self.lowest_ = fitted["offset_"], fitted.get("lowest_", fitted["offset_"])
        for name in ("offset_", "lowest_"):
            if type(vars(self)[name]) is not float or not np.isfinite(vars(self)[name]):
                raise SettingError(f"AnomalyDetector: {name} is no finite number. The file is damaged.")

    def _check_contamination(self):
        self._check_number("contamination", lambda value: 0 <= value <= 0.5, "a share from 0 to 0.5")

    def _check_fitted(self, action):
        if not hasattr(self, "model_"):
            raise NotFittedError(f"{type(self).__name__}.{action}: this model is not fitted. Call fit(X) first.")
