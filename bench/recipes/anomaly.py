"""Rows of anomalies, told by reconstruction error."""

import numpy as np

from . import Check, Recipe


def a_detector_per_digit(run):
    """Ten detectors, each trained on the images of one digit."""
    from tinyae import AnomalyDetector, Autoencoder

    epochs = 5 if run.quick else 20
    model = Autoencoder(16, hidden=(64,), lr=2e-3, max_iter=epochs, random_state=run.seed)
    return [AnomalyDetector(model).fit(run.data.X[run.data.y == digit]) for digit in range(10)]


def areas(run, name):
    """The ROC area of each detector over all test images."""
    from tinyae.metrics import roc_auc

    detectors, y = run.models[name], run.data.y_test
    return [roc_auc(y != digit, -each.score_samples(run.data.X_test)) for digit, each in enumerate(detectors)]


def mean_area(run, name):
    """Over the ten digits."""
    return np.mean(areas(run, name))


def least_area(run, name):
    """Of the ten digits."""
    return np.min(areas(run, name))


RECIPES = [
    Recipe(
        "R25", "one digit against nine, 784-64-16-64-784, MSE", "Japkowicz, Myers and Gluck 1995; Hawkins et al. 2002",
        {"detectors": a_detector_per_digit},
        (Check("mean of ten ROC areas", mean_area, ("detectors",), low=0.90, quick=(0.9, None)),
         Check("least of them", least_area, ("detectors",), low=0.80, quick=(0.7, None))),
    ),
]  # fmt: skip
