"""Rows of stacks, deep nets pretrained layer by layer, linear nets, and classifiers on them."""

import numpy as np

from . import Check, Fit, Recipe, reconstructions, squared_error

_NOTES = {"loss": "half_sse", "penalty": 3.0, "output_activation": "sigmoid"}
_FEW = {"max_iter": 60, "rows": 2000}


# -- sparse by KL ---------------------------------------------------------------------------------------------------


def patches(run):
    """10,000 patches of 8x8 of two whitened photographs: without mean, cut at 3 standard deviations, in [.1, .9].

    The notes' ten whitened photographs of nature are not at hand; these two come with scikit-learn.
    """
    from sklearn.datasets import load_sample_images

    from tinyae.data import Dataset

    rng, rows = np.random.default_rng(run.seed), []
    for image in load_sample_images().images:
        image = _whitened(image.mean(axis=2))
        for _ in range(5000):
            i, j = (rng.integers(n - 7) for n in image.shape)
            rows.append(image[i : i + 8, j : j + 8].ravel())
    X = np.array(rows)
    X -= X.mean(axis=1, keepdims=True)
    bound = 3.0 * X.std()
    return Dataset((np.clip(X, -bound, bound) / bound * 0.4 + 0.5).astype(np.float32), name="patches",
                   image_shape=(8, 8))  # fmt: skip


def _whitened(image):
    """All frequencies as strong, but the highest (Olshausen and Field 1997): f exp(-(f / f0)^4)."""
    f = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1]))
    return np.fft.ifft2(np.fft.fft2(image - image.mean()) * f * np.exp(-((f / 0.4) ** 4))).real


def mean_activity(run, name):
    """Mean over all training rows and units of the code."""
    return run.models[name].transform(run.data.X[: _rows(run, name)]).mean(dtype=np.float64)


def _rows(run, name):
    fit = run.recipe.models[name]
    return fit.quick.get("rows", fit.rows) if run.quick else fit.rows


def filters(run):
    """The inputs of bounded length that excite each unit most: its weights, scaled alike."""
    from matplotlib.figure import Figure

    model = next(iter(run.models.values()))
    weights = model.net_.encoder[0].weight.data.T
    weights = weights - weights.mean(axis=1, keepdims=True)
    side = round(len(weights) ** 0.5)
    height, width = run.data.image_shape
    tiles = weights[: side * side] / np.abs(weights[: side * side]).max(axis=1, keepdims=True)
    tiles = np.pad(tiles.reshape(side, side, height, width), ((0, 0), (0, 0), (0, 1), (0, 1)))
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(tiles.transpose(0, 2, 1, 3).reshape(side * (height + 1), -1), cmap="gray", vmin=-1, vmax=1)
    axes.set_axis_off()
    return figure


# -- linear ---------------------------------------------------------------------------------------------------------


def few(run):
    """The first 1,000 images: principal components that are to be met to 1e-3 take thousands of steps."""
    from tinyae.data import Dataset, load_data

    mnist = load_data("mnist")
    return Dataset(mnist.X[: 200 if run.quick else 1000], name="mnist", image_shape=mnist.image_shape, scale=255)


def _pca(run):
    """(mean, the 32 principal components, squared error per pixel) of the training rows."""
    X = run.data.X / run.data.scale
    mean = X.mean(axis=0)
    components = np.linalg.svd(X - mean, full_matrices=False)[2][:32]
    left = X - mean - (X - mean) @ components.T @ components
    return mean, components, np.mean(left**2)


def largest_angle(run, name):
    """The largest principal angle between the decoder's plane and PCA's."""
    _, components, _ = _pca(run)
    found = run.models[name].components_
    return float(np.arcsin(min(1.0, np.linalg.norm(found - found @ components.T @ components, 2))))


def error_ratio(run, name):
    """Squared error on the training rows, over PCA's."""
    X = run.data.X / run.data.scale
    return np.mean((run.models[name].reconstruct(run.data.X) - X) ** 2) / _pca(run)[2]


def component_match(run, name):
    """Right singular vectors of the reconstructions against PCA's components: the least absolute cosine of the first 8.

    Later ones have nearly equal variances, and so no direction of their own.
    """
    mean, components, _ = _pca(run)
    found = np.linalg.svd(run.models[name].reconstruct(run.data.X) - mean, full_matrices=False)[2]
    return np.abs(np.sum(found[:8] * components[:8], axis=1)).min()


# -- pretrained -----------------------------------------------------------------------------------------------------


def pca_squared_error(run):
    """As `squared_error`, of PCA with as many components as the code has."""
    X, T = run.data.X / np.float32(run.data.scale), run.data.X_test / np.float32(run.data.scale)
    mean = X.mean(axis=0)
    components = np.linalg.eigh(np.cov((X - mean).T))[1][:, -30:]
    return np.square((T - mean) - (T - mean) @ components @ components.T).sum(axis=1).mean()


def accuracy(run, name):
    """Share of the test rows that are given their digit."""
    return run.models[name].score(run.data.X_test, run.data.y_test)


def test_error(run, name):
    """Share of the test rows that are not, in per cent."""
    return 100.0 - 100.0 * accuracy(run, name)


def improvement(run, name, other):
    """Test error of the other less that of this one, in per cent of the rows."""
    return test_error(run, other) - test_error(run, name)


def softmax_on_codes(run):
    """A softmax layer alone, on the codes of the stack."""
    from tinyae import Classifier

    rows = 2000 if run.quick else None
    model = Classifier(run.models["stack"], freeze=True, optimizer="lbfgs", max_iter=400, random_state=run.seed)
    return model.fit(run.data.X[:rows], run.data.y[:rows])


def softmax_fine_tuned(run):
    """The same with the stack, from where that ended."""
    import copy

    rows = 2000 if run.quick else None
    model = copy.deepcopy(run.models["before"])
    model.set_params(warm_start=True, freeze=False, optimizer="adam", batch_size=100, max_iter=8)
    return model.fit(run.data.X[:rows], run.data.y[:rows])


def _deep(run, encoder):
    """Fine-tuned on all digits, the last epochs by small steps."""
    from tinyae import Classifier

    rows = 2000 if run.quick else None
    X, y = run.data.X[:rows], run.data.y[:rows]
    model = Classifier(encoder, batch_size=100, lr=1e-3, max_iter=8, warm_start=True, random_state=run.seed).fit(X, y)
    return model.set_params(lr=1e-4, max_iter=3).fit(X, y)


def pretrained_net(run):
    """From the stack's weights."""
    return _deep(run, run.models["stack"])


def fresh_net(run):
    """The same net from fresh weights."""
    from tinyae.ae import ZOO

    return _deep(run, ZOO["stacked-denoising"](**_DENOISING, random_state=run.seed).build(784))


_DENOISING = {"n_components": 1000, "hidden": (1000, 1000), "activation": "sigmoid", "loss": "bce",
              "noise": (0.1, 0.2, 0.3), "pretrain_iter": 8, "max_iter": 0, "batch_size": 100}  # fmt: skip

RECIPES = [
    Recipe(
        "R15", "sparse by KL, 64-25-64, 8x8 patches", "Ng, CS294A lecture notes, 2011",
        {"sparse": Fit("sparse-kl", {**_NOTES, "n_components": 25, "rho": 0.01, "decay": 5e-5, "optimizer": "lbfgs",
                                     "max_iter": 400}, quick={"max_iter": 100})},
        (Check("mean activity", mean_activity, ("sparse",), ".01", 0.008, 0.012, quick=(0.007, 0.014)),),
        data=patches, picture=filters,
        differs="patches of the two photographs that come with scikit-learn, whitened as the notes' ten are",
    ),
    Recipe(
        "R16", "sparse by KL, 784-196-784, digits", "UFLDL tutorial, vectorised exercise",
        {"sparse": Fit("sparse-kl", {**_NOTES, "n_components": 196, "rho": 0.1, "decay": 1.5e-3, "optimizer": "lbfgs",
                                     "max_iter": 400}, rows=10000, quick=_FEW)},
        (Check("mean activity", mean_activity, ("sparse",), ".1", 0.08, 0.12, quick=(0.05, 0.2)),),
        seeds=1, picture=filters,
    ),
    Recipe(
        "R17", "stacked sparse and softmax, 784-200-200-10", "UFLDL tutorial, stacked autoencoders exercise",
        {"stack": Fit("stacked-sparse", {"n_components": 200, "hidden": (200,), "rho": 0.1, "penalty": 3.0,
                                         "decay": 1.5e-3, "pretrain_iter": 8, "batch_size": 100, "max_iter": 0},
                      quick={"rows": 2000}),
         "before": softmax_on_codes, "after": softmax_fine_tuned},
        (Check("accuracy before", accuracy, ("before",), ".877", low=0.86, quick=(0.7, None)),
         Check("accuracy after", accuracy, ("after",), ".976", low=0.972, quick=(0.8, None))),
        seeds=1,
        differs="parts and fine-tuning by Adam, 8 epochs each, where the source takes 400 iterations of L-BFGS",
    ),
    Recipe(
        "R18", "linear 784-32-784 is PCA", "Baldi and Hornik 1989; Bourlard and Kamp 1988",
        {"linear": Fit("linear", {"n_components": 32, "optimizer": "lbfgs", "max_iter": 4000, "dtype": "float64"},
                       quick={"max_iter": 300}),
         "sigmoid": Fit("vanilla", {"n_components": 32, "activation": "sigmoid", "output_activation": "linear",
                                    "optimizer": "lbfgs", "max_iter": 2000, "dtype": "float64"},
                        quick={"max_iter": 300})},
        (Check("largest principal angle", largest_angle, ("linear",), "0", high=1e-3, quick=(None, 1.2)),
         Check("error over PCA's", error_ratio, ("linear",), "1", high=1.001, quick=(None, 1.1)),
         Check("components by SVD", component_match, ("linear",), "1", low=0.9999, quick=(0.9, None)),
         Check("sigmoid: error over PCA's", error_ratio, ("sigmoid",), "1", high=1.001, quick=(None, 1.1))),
        data=few, seeds=1,
    ),
    Recipe(
        "R19", "deep, pretrained, 784-1000-500-250-30", "Hinton and Salakhutdinov 2006",
        {"deep": Fit("rbm", {"n_components": 30, "hidden": (1000, 500, 250), "pretrain_iter": 5, "pretrain_lr": 0.05,
                             "max_iter": 14, "batch_size": 100}, quick={"rows": 4000, "max_iter": 3})},
        (Check("squared error, test", squared_error, ("deep",), "3.00", high=4.0, quick=(None, 45.0)),
         Check("PCA's, 30 components", pca_squared_error, (), "13.87", 13.5, 14.3, quick=(13.5, 14.3))),
        seeds=1, picture=reconstructions,
        differs="5 epochs for each machine instead of 50, step .05; fine-tuned by 14 epochs of Adam",
    ),
    Recipe(
        "R20", "stacked denoising, 784-1000-1000-1000-10", "Vincent et al. 2010; deeplearning.net's tutorial",
        {"stack": Fit("stacked-denoising", _DENOISING, quick={"rows": 2000, "pretrain_iter": 1}),
         "pretrained": pretrained_net, "fresh": fresh_net},
        (Check("test error, %", test_error, ("pretrained",), "1.3", high=1.6, quick=(None, 25.0)),
         Check("less than without, %", improvement, ("pretrained", "fresh"), "> 0", low=0.0, quick=(-5.0, None))),
        seeds=1,
        differs="Adam, 8 epochs a layer instead of 15, 11 of fine-tuning; all 60,000 rows and no early stopping",
    ),
]  # fmt: skip
