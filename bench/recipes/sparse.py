"""Rows of codes made sparse by L1, beside plain ones."""

from . import Check, Fit, Recipe, mean_code, mean_code_falls, test_loss
from .plain import adadelta, pooled

_ONE = {"max_iter": 1}
_FEW = {"max_iter": 1, "rows": 6000}


def fraction_of_zero_codes(run, name):
    """The share of zeros among the codes of the test set."""
    return run.models[name].fraction_of_zero_codes(run.data.X_test)


def warned(run, name):
    """1 if the fit warned of dead units."""
    return float(any("dead" in text for text in run.warned[name]))


def code_histograms(run):
    """The codes' values, of the first two models."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    for name in list(run.models)[:2]:
        axes.hist(run.models[name].transform(run.data.X_test).ravel(), bins=60, histtype="step", label=name)
    axes.set_yscale("log")
    axes.set_xlabel("value of a code's component")
    axes.set_ylabel("test images x components")
    axes.legend(frameon=False)
    return figure


_L1 = {"n_components": 32, "max_iter": 15, "batch_size": 128, "penalty": 1e-4}
_BCE = {"n_components": 32, "loss": "bce"}

RECIPES = [
    Recipe(
        "R6", "sparse 784-32-784, L1, MSE", "Keras notebook of five autoencoders",
        {"mean": Fit("sparse", {**_L1, "reduction": "mean"}, quick=_ONE),
         "sum": Fit("sparse", {**_L1, "reduction": "batch_sum"})},
        (Check("mean over all: test", test_loss, ("mean",), ".0099", high=0.0108, quick=(None, 0.035)),
         Check("batch sum: share of zeros", fraction_of_zero_codes, ("sum",), "all", low=0.999, quick=(0.999, None)),
         Check("batch sum: a warning", warned, ("sum",), low=1.0, quick=(1.0, None))),
        picture=code_histograms,
    ),
    Recipe(
        "R9", "784-32-784 beside L1, BCE", "Keras notebooks, activity 1e-5 summed over a batch of 32",
        {"shallow": Fit("vanilla", {**_BCE, "max_iter": 20, "batch_size": 32}, quick=_ONE),
         "sparse": Fit("sparse", {**_BCE, "max_iter": 20, "batch_size": 32, "penalty": 1e-5,
                                  "reduction": "batch_sum"}, quick=_ONE)},
        (Check("shallow: test", test_loss, ("shallow",), ".0920", high=0.094, quick=(None, 0.122)),
         Check("sparse: test", test_loss, ("sparse",), ".1019", high=0.104, quick=(None, 0.15)),
         Check("mean code falls, times", mean_code_falls, ("shallow", "sparse"), "8.5", low=6.0, quick=(2.8, None))),
        picture=code_histograms,
    ),
    Recipe(
        "R11", "784-32-784, sparse, deep, convolutional, BCE", "Keras notebooks, batches of 256",
        {"simple": Fit("vanilla", {**_BCE, "max_iter": 50, "batch_size": 256}, quick=_ONE),
         "sparse": Fit("sparse", {**_BCE, "max_iter": 100, "batch_size": 256, "penalty": 1e-4,
                                  "optimizer": adadelta}, quick=_ONE),
         "deep": Fit("deep", {**_BCE, "hidden": (128, 64), "max_iter": 100, "batch_size": 256}, quick=_ONE),
         "convolutional": Fit("vanilla", {"n_components": 128, "loss": "bce", "max_iter": 50, "batch_size": 128},
                              nets=pooled, quick={"max_iter": 1, "rows": 20000})},
        (Check("simple: test", test_loss, ("simple",), ".09", high=0.095, quick=(None, 0.205)),
         Check("sparse: mean code", mean_code, ("sparse",), "3.33", low=2.64, high=3.96, quick=(1.7, 2.6)),
         Check("deep: test", test_loss, ("deep",), ".08", high=0.085, quick=(None, 0.178)),
         Check("convolutional: test", test_loss, ("convolutional",), ".094", high=0.098, quick=(None, 0.21))),
        seeds=1, picture=code_histograms,
    ),
]  # fmt: skip
