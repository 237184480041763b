"""The reproduction's table: what a source trained, what it reports, and between which bounds ours must lie.

A row of the table is a `Recipe`; the rows stand in the modules of this folder, by family, each in a list ``RECIPES``.
`Fit`s say what is trained: a name of the zoo and its settings. `Check`s say what is measured: a function of the `Run`,
which holds the data and the trained models, and the bounds. Whatever stands here is data or a short function, so that
`Recipe.digest` can tell whether a stored result belongs to the recipe as it now is.

No module here imports tinyae at its head: the command reads the table, its workers train.
"""

import dataclasses
import hashlib
import importlib
import inspect
import json
import pkgutil
import warnings

import numpy as np

__all__ = ["Check", "Fit", "Recipe", "Run", "by_id"]


@dataclasses.dataclass(frozen=True)
class Fit:
    """``fit`` of the zoo's model with these settings.

    rows : how many of the first training rows; None: all.
    nets : a function from the seed to (encoder, decoder), where the source's nets are not the zoo's.
    quick : settings (and ``rows``) that ``--quick`` changes.
    """

    model: str
    settings: dict
    rows: int = None
    nets: object = None
    quick: dict = dataclasses.field(default_factory=dict)

    def __call__(self, run):
        """The fitted model."""
        from tinyae.ae import ZOO

        changed = dict(self.quick) if run.quick else {}
        rows = changed.pop("rows", self.rows)
        own = dict(zip(("encoder", "decoder"), self.nets(run.seed))) if self.nets else {}
        cls = ZOO[self.model]
        none = {"hidden": ()} if cls.settings()["hidden"] is None else {}  # a recipe names the layers that it has
        return cls(**{**none, **self.settings, **own, **changed, "random_state": run.seed}).fit(run.data.X[:rows])


@dataclasses.dataclass(frozen=True)
class Check:
    """One number of a row: ``measure(run, *of)``, and low <= its mean over the seeds <= high.

    published : what the source reports, as text.
    quick : the bounds (low, high) of ``--quick``, measured with its shorter training.
    """

    name: str
    measure: object
    of: tuple = ()
    published: str = ""
    low: float = None
    high: float = None
    quick: tuple = (None, None)

    def bounds(self, quick):
        """(low, high); None: open."""
        return self.quick if quick else (self.low, self.high)

    def passes(self, value, quick):
        """Whether the value lies within; NaN never does."""
        low, high = self.bounds(quick)
        return value == value and (low is None or value >= low) and (high is None or value <= high)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One row.

    models : {name: Fit, or a function of the Run that returns something trained}, made in this order.
    data : name of a dataset, or a function of the Run that returns a ``tinyae.data.Dataset``.
    seeds : 3 where one takes less than a minute, else 1.
    picture : a function of the Run that returns a matplotlib Figure; drawn for the first seed.
    differs : what is not as in the source, in a sentence.
    """

    id: str
    title: str
    source: str
    models: dict
    checks: tuple
    data: object = "mnist"
    seeds: int = 3
    picture: object = None
    differs: str = ""

    def digest(self):
        """Eight digits that change with anything that stands in the recipe, its functions' text included, but for what
        is for ``--quick`` alone, which stores nothing.
        """
        text = json.dumps(_described(dataclasses.asdict(self)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


class Run:
    """A recipe at work: ``data``, ``models[name]`` as trained with this seed, ``warned[name]``: what was said then."""

    def __init__(self, recipe, seed, quick):
        from tinyae.data import load_data

        self.recipe, self.seed, self.quick, self.models, self.warned = recipe, seed, quick, {}, {}
        self.data = recipe.data(self) if callable(recipe.data) else load_data(recipe.data)
        for name, fit in recipe.models.items():
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                self.models[name] = fit(self)
            self.warned[name] = [str(warning.message) for warning in said]

    def values(self):
        """{check's name: value}."""
        return {check.name: float(check.measure(self, *check.of)) for check in self.recipe.checks}


def by_id():
    """{id: Recipe} in the order of their numbers."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    recipes = [recipe for module in modules for recipe in getattr(module, "RECIPES", ())]
    return {recipe.id: recipe for recipe in sorted(recipes, key=lambda recipe: (int(recipe.id[1:]), recipe.id))}


def _described(value):
    if isinstance(value, dict):
        return {str(key): _described(item) for key, item in value.items() if key != "quick"}
    if isinstance(value, (list, tuple)):
        return [_described(item) for item in value]
    return inspect.getsource(value) if callable(value) else value


# -- what is measured, where several rows measure it ----------------------------------------------------------------


def test_loss(run, name):
    """The model's own loss, mean over the test set."""
    return -run.models[name].score(run.data.X_test)


def train_loss(run, name):
    """The loss of the last epoch, mean over its batches, as they were met."""
    return run.models[name].history_["loss"][-1]


def mean_code(run, name):
    """Mean over test rows and units of the code."""
    return run.models[name].transform(run.data.X_test).mean(dtype=np.float64)


def mean_code_falls(run, name, other):
    """How many times smaller the other's mean code is."""
    return mean_code(run, name) / mean_code(run, other)


def squared_error(run, name):
    """Squared error summed over the pixels, mean over test rows; pixels in [0, 1]."""
    X = run.data.X_test[:] / run.data.scale
    return np.square(run.models[name].reconstruct(run.data.X_test) - X).sum(axis=1).mean(dtype=np.float64)


# -- what is drawn --------------------------------------------------------------------------------------------------


def reconstructions(run):
    """Test images and what the first model makes of them."""
    from tinyae import plot

    model = next(iter(run.models.values()))
    return plot.reconstructions(model, run.data.X_test[:12] / run.data.scale, run.data.image_shape)


def cleaned(run):
    """Test images, spoiled ones, and what the first model makes of those."""
    from tinyae import plot

    model, X = next(iter(run.models.values())), run.data.X_test[:12] / np.float32(run.data.scale)
    return plot.reconstructions(model, X, run.data.image_shape, corrupted=np.asarray(model.spoil(X)))


def filters(run):
    """The first layer's weights of every model, an image per unit."""
    from tinyae import plot

    return plot.filters(run.models, run.data.image_shape)
