"""The sentence that every autoencoder is: corrupt, encode, code, decode, compare, penalise.

`Autoencoder` says it once, in ``loss_terms``, and is itself the plain one. A variant is a subclass that overrides the
words it changes and lists the settings it adds:

    corrupt(x)          what the encoder gets to see                     (denoising: noise)
    encode(x)           the encoder's output h                           (variational: mean and log-variance)
    code(h)             the code z that is decoded while training        (variational: a draw)
    embed(h)            the deterministic code, what ``transform`` gives (variational: the mean)
    decode(z)           the decoder's output, before its activation
    unfold(z, target)   the same while training                          (teacher forcing: given the step before)
    compare(a, target)  the reconstruction's loss, one value per row
    penalise(h, z)      further named terms, one value per row

The loss is the sum of the named terms, each averaged over the batch: no hidden weights, and they add up exactly.
What is done with codes afterwards stands in ``latent.py``.

A word that needs noise draws it from ``noise_``, a stream that goes on. Whatever else a fitted model is asked, by any
number of threads, writes nothing to it (``_asked``).

Ring 6. Read after ``train.py``; then any other file of this folder, in any order.
"""

import copy
from binascii import crc32

import numpy as np

from .. import files, nn, ops, optim
from ..data import IN_MEMORY, batches
from ..engine import no_grad
from ..errors import DivergedError, SettingError, ShapeError
from ..estimator import Transformer
from ..nn.module import _evaluating
from ..nn.norm import _least_rows
from ..ops.random import Generator
from ..optim.rules import OPTIMIZERS
from ..tables import column_names, extremes, first_beyond, in_unit_interval, scale_of, spot, warn, widened
from ..tensor import Tensor
from ..train import Progress, mean_terms, train
from . import defaults
from .latent import Latent, numpy_generator

__all__ = ["Autoencoder", "Net", "ZOO", "load", "variant"]

ZOO = {}
_ROWS = 1024  # rows per batch where nothing is learned


def variant(name, *, family, paper, aliases=(), proof=""):
    """Class decorator: enter a model into ``ZOO`` under its name, with the paper that it comes from.

    proof says in a few words what a test knows of it beyond what all variants are asked.
    """

    def enter(cls):
        cls.zoo_name, cls.family, cls.paper, cls.aliases, cls.proof = name, family, paper, tuple(aliases), proof
        ZOO[name] = cls
        return cls

    return enter


def load(path, *, encoder=None, decoder=None):
    """The model that ``save`` wrote: an autoencoder, a `Classifier` or an `AnomalyDetector`.

    Only classes in ``ZOO`` and these two are made, and nothing is unpickled.

    encoder, decoder : Module
        The nets of a model that was given its own: the file holds their weights, not their code.
    """
    return files.load(path, ZOO, encoder=encoder, decoder=decoder)


class Net(nn.Module):
    """What a model owns: an encoder, a decoder, and whatever further parameters its likelihood has."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x):
        """Shape: (batch, features) -> (batch, features), before the output activation."""
        return self.decoder(self.encoder(x))


@variant("vanilla", family="deterministic", paper="Rumelhart, Hinton and Williams 1986", aliases=("autoencoder",),
         proof="losses are their formulas; linear units give PCA's error and subspace")  # fmt: skip
class Autoencoder(Latent, Transformer):
    """The plain autoencoder: x_hat = decoder(encoder(x)), trained to reproduce x.

    ``loss = mean over rows and features of (x_hat - x)**2``, or of the binary cross-entropy.

    Parameters
    ----------
    n_components : int or None
        The code's length. None: 16, or half a row's length if that is less; beside nets of your own always 16.
    hidden : sequence of int or None
        Widths of the hidden layers from the input to the code; the decoder mirrors them. (): none. None: one, twice as
        wide as a row, but from 64 to 256.
    activation, code_activation, output_activation : str
        Names as in ``tinyae.nn.activation``. The code's default (None) is ``activation``, but linear if hidden is
        None. The output's default "auto" is sigmoid if the data lie in [0, 1], else linear.
    loss : str
        "mse", or "bce" for data in [0, 1].
    optimizer : str or callable
        "adam", "sgd", "momentum", ... or a function from parameters to an Optimizer. "lbfgs" takes all rows at once,
        whatever batch_size says; noise is then drawn once, before the training.
    lr : float or None
        Step size; None takes the optimizer's own default (Adam's is 1e-3).
    max_iter : int or None
        Epochs; L-BFGS's iterations. None: as many as make 4,600 steps of batch_size rows, and at least 20, unless
        these were more than 100,000 steps.
    batch_size : int
        Rows per step; the last batch is smaller. A single last row joins the batch before it where your nets hold a
        batch norm, for which one row has no variance.
    early_stopping : bool
        Hold out ``validation_fraction`` of the rows (unless validation_data is given), stop after ``n_iter_no_change``
        epochs without a better validation loss, and restore the best state.
    random_state : int, numpy.random.Generator, numpy.random.RandomState or None
        Seeds the weights, the order of the batches and the noise. Same seed, same bits.
    verbose : bool
        Show progress on stderr.
    dtype : str
        "float32" or "float64".
    compile : bool
        Train by a plan (`tinyae.compile`): the same numbers to rounding, sooner. False: every step as it is written.
    init : str or callable
        The weights' initialiser, as in ``tinyae.nn.Linear``.
    decay : float
        While training, ``decay * (sum of all weights squared)`` is added to the loss; biases are left out.
    encoder, decoder : Module, optional
        Your own nets, copied into ``net_``; a decoder of your own ends in its own output activation, that of a fitted
        model (``model.net_.decoder``) keeps that model's.

    Attributes
    ----------
    net_ : Module with ``encoder`` and ``decoder``
    n_components_, hidden_, max_iter_ : what these settings came to
    history_ : dict of lists, one entry per epoch
    n_iter_, best_epoch_, kept_epoch_ : int
        Epochs trained; that of the lowest loss; that whose state the model holds: the last, unless stopped early.
    baseline_ : float
        The loss if every row were reconstructed as the mean row: what a model must be better than.
    n_features_in_ : int
    feature_names_in_ : array of str, the columns' names; there only if X was a frame whose columns have names
    scale_ : float
        What X was divided by: 255 if it was bytes, else 1.

    Every method asks of its rows what ``fit`` asked: as many columns of the same names in the same order, finite
    numbers, in the same units. Where the loss knows values in [0, 1] only, what reads it refuses others.

    ``fit`` warns (ConvergenceWarning) of a loss that still falls steeply at the end, and of a model that is no better
    than the mean row; (RuntimeWarning) of a penalty too small to do anything.

    Shape: X (rows, features) -> codes (rows, n_components). uint8 data are divided by 255 on the fly, unless fit saw
    nothing but 0 and 1, or numbers beyond [0, 1].
    """

    n_components: int = None
    hidden: tuple = None
    activation: str = "relu"
    code_activation: str = None
    output_activation: str = "auto"
    loss: str = "mse"
    optimizer: str = "adam"
    lr: float = None
    max_iter: int = None
    batch_size: int = 64
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    random_state: int = None
    verbose: bool = False
    dtype: str = "float32"
    compile: bool = True
    init: str = "glorot_uniform"
    decay: float = 0.0
    encoder: object = None
    decoder: object = None

    penalties = {"decay": "decay"}  # terms of the loss, and the settings that weigh them

    losses = {
        "mse": "mean over rows and features of (x_hat - x)**2",
        "bce": "mean over rows and features of the binary cross-entropy",
    }

    # -- the sentence -----------------------------------------------------------------------------------------------

    def loss_terms(self, x, target):
        """The loss as named terms, one value per row each. Shape: x, target (batch, features) -> {name: (batch,)}."""
        h = self.encode(self.corrupt(x))
        z = self.code(h)
        return {**self.compare(self.unfold(z, target), target), **self.penalise(h, z)}

    def corrupt(self, x):
        """What the encoder gets to see in place of x."""
        return x

    def encode(self, x):
        """The encoder's output h. Shape: (batch, features) -> (batch, n_components)."""
        return self.net_.encoder(x)

    def code(self, h):
        """The code that is decoded while training."""
        return self.embed(h)

    def embed(self, h):
        """The deterministic code of h: what ``transform`` returns."""
        return h

    def decode(self, z):
        """The decoder's output a; the reconstruction is output_activation(a).

        Shape: (batch, n_components) -> (batch, features).
        """
        return self.net_.decoder(z)

    def unfold(self, z, target):
        """The decoder's output while training, for decoders that may look at the target."""
        return self.decode(z)

    def compare(self, a, target):
        """The reconstruction's loss per row, the mean over its features."""
        return {self.loss: self._feature_loss(a, target).mean(axis=1)}

    def penalise(self, h, z):
        """Further terms of the loss, {name: one value per row}."""
        return {}

    # -- fitting ----------------------------------------------------------------------------------------------------

    def build(self, n_features):
        """Make ``net_`` with fresh weights for rows of n_features, without training. Returns self."""
        self._check_settings()
        if not isinstance(n_features, (int, np.integer)) or n_features < 1:
            raise SettingError(f"{type(self).__name__}.build: n_features={n_features!r}. Give a positive whole number.")
        self.n_features_in_ = int(n_features)
        if len(getattr(self, "feature_names_in_", ())) != n_features:  # of another table
            vars(self).pop("feature_names_in_", None)
        self.hidden_, self.n_components_ = self._hidden(), self._code_length()
        self.unit_interval_, self.bits_, self.scale_, self.target_scale_ = True, False, None, None
        self.fitted_settings_ = self.get_params()
        self._init_rng, self._batch_rng, noise = numpy_generator(self.random_state).spawn(3)
        self.noise_ = Generator(noise)
        self.output_activation_ = self._resolve_output(True)
        self.net_ = self.make_net()
        self.net_.decoder.output_activation = self.output_activation_
        return self

    def make_net(self):
        """The encoder and the decoder: mirrored dense layers, or copies of the user's own."""
        encoder, decoder = self._own("encoder"), self._own("decoder")
        encoder = self.make_encoder() if encoder is None else encoder
        decoder = self.make_decoder(encoder) if decoder is None else decoder
        self._check_width(encoder, self.n_features_in_, self._encoder_width(), "encoder")
        self._check_width(decoder, self.n_components_, self.n_features_in_, "decoder")
        return Net(encoder, decoder)

    def make_encoder(self):
        """Shape: (batch, features) -> (batch, n_components)."""
        return self._dense((self.n_features_in_, *self._hidden(), self._encoder_width()), self._code_activation())

    def make_decoder(self, encoder):
        """The encoder's mirror image. Shape: (batch, n_components) -> (batch, features)."""
        return self._dense((self.n_components_, *self._hidden()[::-1], self.n_features_in_), "linear")

    def prepare(self, X, target):
        """What is to be done before the training, and the (X, target) that is trained on."""
        return X, target

    def make_optimizer(self, parameters):
        """The one that the settings name."""
        if callable(self.optimizer):
            return self.optimizer(parameters)
        return optim.optimizer(self.optimizer, parameters, lr=self.lr)

    def fit(self, X, y=None, *, target=None, validation_data=None, callbacks=None):
        """Train on X; returns self.

        Parameters
        ----------
        X : array (rows, features)
            May be memory-mapped: only the rows of a batch are read at a time.
        y : ignored
            Present for scikit-learn's pipelines.
        target : array (rows, features), optional
            What is to be reconstructed, if it is not X.
        validation_data : array or (X, target), optional
            Evaluated after every epoch, as val_loss.
        callbacks : sequence of callable, optional
            Each called with (model, row of the history) after every epoch; returning True ends the training.
        """
        with self._unless_refused():
            names, table = self._learn_names(X), self._check_table(X, "fit")
            self._check_settings()
            self._doubt_table(table, names)
            self._doubt_y(X, table, y)
            self._fit(table, target, validation_data, [callbacks] if callable(callbacks) else callbacks or ())
        self._say_doubts()
        return self

    def _fit(self, X, target, validation_data, callbacks):
        self.build(X.shape[1])
        X, bounded = self._learn_scale(X), self.unit_interval_
        if target is not None:
            self.target_scale_, bounded = scale_of(self._check_table(target, "fit", what="target"))
            target = self._check_target(X, target, "fit")
        if not bounded:
            self._check_range(X if target is None else target)
        self.output_activation_ = self.net_.decoder.output_activation = self._resolve_output(bounded)
        X, target, validation = self._split(X, target, validation_data)
        validate = None if validation is None else lambda: self._mean_terms(*validation)
        self.baseline_ = self._mean_row_loss(X if target is None else target)
        X, target = self.prepare(X, target)
        optimizer = self.make_optimizer(list(self.net_.parameters()))
        whole = hasattr(optimizer, "iterations")
        self.max_iter_ = defaults.epochs(self.max_iter, len(X), int(self.batch_size))
        batch_size, noise = len(X) if whole else int(self.batch_size), self.noise_.counter

        def objective(x, t):
            if whole:  # one function of the parameters, or there is nothing to search along
                self.noise_.counter = noise
            return {name: ops.mean(term) for name, term in self.loss_terms(x, t).items()} | self._decay_term()

        def epoch_batches():
            return batches(X, batch_size, generator=self._batch_rng, dtype=self.dtype, target=target,
                           least=_least_rows(self.net_))  # fmt: skip

        try:
            history, best = train(
                objective,
                optimizer,
                epoch_batches,
                module=self.net_,
                epochs=self.max_iter_,
                validate=validate,
                patience=self.n_iter_no_change if self.early_stopping else None,
                callbacks=self._told(callbacks),
                progress=self._progress(epoch_batches),
                compile=self.compile,
            )
        except (KeyboardInterrupt, DivergedError) as interruption:
            if hasattr(interruption, "best"):  # else it came before the training, which leaves all as it was
                self.kept_epoch_ = interruption.best.epoch
                self._remember(interruption.history, interruption.best.epoch)
            raise
        self.kept_epoch_ = best.epoch if self.early_stopping else len(history)
        self._remember(history, best.epoch)
        return self

    def _progress(self, epoch_batches):
        return Progress(self.max_iter_, len(epoch_batches()), baseline=self.baseline_) if self.verbose else None

    def _mean_row_loss(self, X):
        """The loss if every row of X were reconstructed as their mean: what ``baseline_`` is."""
        model = copy.copy(self)
        model.output_activation_ = "linear"  # the mean row is the output itself
        return defaults.mean_row_loss(X, self.dtype, model.compare, self._is_value)

    def _is_value(self, x):
        """Which values of rows are compared at all. Shape: (batch, features) -> same, or ()."""
        return True

    def _mean_row_error(self):
        """The part of ``baseline_`` that is error and no constant of a likelihood: other terms are small beside it."""
        return abs(self.baseline_)

    def _doubts(self):
        """What there is to say of a training that has ended: pairs (category, sentence)."""
        return defaults.doubts(self, self._mean_row_error())

    def _say_doubts(self):
        if self.history_:
            for category, text in self._doubts():
                warn(f"{type(self).__name__}.fit: {text}", category)

    def _told(self, callbacks):
        """The callbacks as the training calls them: with the model, which holds the history so far, fit to be saved."""
        rows = []

        def remember(row):
            rows.append(row)
            self.kept_epoch_ = len(rows)
            self._remember(rows, 1 + int(np.argmin([row.get("val_loss", row["loss"]) for row in rows])))

        return [*([remember] if callbacks else ()), *(lambda row, f=f: f(self, row) for f in callbacks)]

    def _remember(self, history, best_epoch):
        self.n_iter_, self.best_epoch_ = len(history), best_epoch
        # At last: by a new history `_unless_refused` knows that the model is whole.
        self.history_ = {name: [row[name] for row in history] for name in (history[0] if history else ())}

    # -- using ------------------------------------------------------------------------------------------------------

    def fit_transform(self, X, y=None, **fit_params):
        """``fit(X, y).transform(X)``."""
        return self.fit(X, y, **fit_params).transform(X)

    def transform(self, X, layer=None):
        """The codes of X, deterministically. Shape: (rows, features) -> (rows, n_components).

        layer, an index into ``net_.encoder``, gives the output of that layer instead.
        """
        if layer is None:
            return self._contained(self._codes(X, "transform"), X)
        X = self._check_input(X, "transform")
        modules = list(self.net_.encoder) if isinstance(self.net_.encoder, nn.Sequential) else [self.net_.encoder]
        if not isinstance(layer, (int, np.integer)) or not -len(modules) <= layer < len(modules):
            raise SettingError(f"transform: layer={layer!r}; the encoder has layers 0 to {len(modules) - 1}.")
        part = nn.Sequential(*modules[: layer % len(modules) + 1])
        return self._apply(X, lambda _, x: _evaluating(part)(x))

    def inverse_transform(self, Z):
        """The reconstructions of codes. Shape: (rows, n_components) -> (rows, features)."""
        self._check_fitted("inverse_transform")
        Z = self._check_table(Z, "inverse_transform", self.n_components_, "Z")
        return self._apply(Z, lambda model, z: model._output(model.decode(z)))

    def reconstruct(self, X):
        """``inverse_transform(transform(X))`` in one pass. Shape: (rows, features) -> same."""
        X = self._check_input(X, "reconstruct")
        return self._apply(X, lambda model, x: model._output(model.decode(model.embed(model.encode(x)))))

    def score_samples(self, X, target=None):
        """Minus the loss of every row: the higher, the better it is reconstructed. Shape: (rows, features) -> (rows,).

        Noise in the loss is drawn anew, but always alike for equal rows: the same row has the same score anywhere.
        """
        X = self._check_input(X, "score_samples")
        target = self._check_target(X, target, "score_samples")
        self._check_range(X if target is None else target)
        return self._scores(X, target)

    def _scores(self, X, target=None):
        return -sum(self._row_terms(X, target).values())

    def score(self, X, y=None):
        """The mean of ``score_samples``: minus the loss. y is ignored."""
        return float(np.mean(self.score_samples(X), dtype=np.float64))

    def save(self, path):
        """Write settings, weights and history to an .npz file without pickled objects, for `load`. Returns the path."""
        self._check_fitted("save")
        return files.save(self, path)

    def get_feature_names_out(self, input_features=None):
        """Names of the code's components, for scikit-learn: autoencoder0, autoencoder1, ..."""
        self._check_fitted("get_feature_names_out")
        return np.array([f"{type(self).__name__.lower()}{i}" for i in range(self.n_components_)], dtype=object)

    # -- the parts of the above -------------------------------------------------------------------------------------

    def _feature_loss(self, a, target):
        """The loss per feature. Shape: (batch, features) twice -> same."""
        if self.loss == "mse":
            return nn.mse(self._output(a), target, reduction="none")
        if self.output_activation_ == "sigmoid":
            return nn.bce_with_logits(a, target, reduction="none")
        return nn.bce(self._output(a), target, reduction="none")

    def _decay_term(self):
        """{"decay": decay * (sum of all weights squared)}, nothing without decay."""
        if not self.decay:
            return {}
        return {"decay": self.decay * sum(ops.sum(ops.square(p)) for p in self.net_.parameters() if p.ndim > 1)}

    def _output(self, a):
        return a if self.output_activation_ == "linear" else nn.activation(self.output_activation_)(a)

    def _hidden(self, n_features=None):
        widths = self.hidden
        if widths is None:
            widths = defaults.hidden_widths(n_features or self.n_features_in_)
        return tuple(map(int, widths))  # NumPy's integers would overflow

    def _code_activation(self):
        if self.code_activation is not None:
            return self.code_activation
        # Of a few relus all may be dead, on rows far from 0; deep codes of the user's own are as they always were.
        return "linear" if self.hidden is None else self.activation

    def _code_length(self, n_features=None):
        if self.n_components is not None:
            return int(self.n_components)
        if self.encoder is not None or self.decoder is not None:
            return defaults.CODE
        return defaults.code_length(n_features or self.n_features_in_)

    def _encoder_width(self):
        return self.n_components_

    def least_size(self, n_features):
        """(the least number of weights, the widest layer) for rows of n_features: files that hold fewer are damaged."""
        widths = [int(width) for width in (n_features, *self._hidden(n_features), self._code_length(n_features))]
        return sum(a * b for a, b in zip(widths, widths[1:])), max(widths)

    def _dense(self, widths, last):
        """Linear layers through widths, self.activation between them and `last` at the end."""
        layers = []
        for i, (n_in, n_out) in enumerate(zip(widths, widths[1:])):
            layers.append(nn.Linear(n_in, n_out, init=self.init, generator=self._init_rng, dtype=self.dtype))
            name = last if i == len(widths) - 2 else self.activation
            if name != "linear":
                layers.append(nn.activation(name))
        return nn.Sequential(*layers)

    def _own(self, which):
        module = getattr(self, which)
        if module is None:
            return None
        if not isinstance(module, nn.Module):
            raise SettingError(f"{type(self).__name__}: {which} is a {type(module).__name__}, not a tinyae.nn.Module.")
        return copy.deepcopy(module).astype(self.dtype)

    def _check_width(self, module, n_in, n_out, which):
        """One row through a net tells whether it fits; only the user's own can be wrong."""
        if getattr(self, which) is None:
            return
        module.eval()
        with no_grad():
            shape = module(Tensor(np.zeros((1, n_in)), dtype=self.dtype)).shape
        if shape != (1, n_out):
            raise ShapeError(
                f"{type(self).__name__}: your {which} maps a row of {n_in} to {shape[1:]}, expected ({n_out},). "
                f"n_components is {self.n_components_}, the data have {self.n_features_in_} features."
            )

    def _left_open(self, setting):
        """Whether a setting is None where None is its default: then the data decide."""
        return getattr(self, setting) is None is self.settings()[setting]

    def _counts(self):
        """The settings that count something, and their values."""
        counts = ("n_components", "max_iter", "batch_size", "n_iter_no_change")
        return {name: getattr(self, name) for name in counts if not self._left_open(name)}

    def _check_settings(self):
        name = type(self).__name__
        hidden = () if self._left_open("hidden") else self.hidden
        single = not isinstance(hidden, (tuple, list, range, np.ndarray)) or np.shape(hidden) == ()
        widths = [hidden] if single else hidden
        for setting, value in [*self._counts().items(), *(("hidden", width) for width in widths)]:
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise SettingError(f"{name}: {setting}={value!r}. Give whole numbers of at least 1.")
        if single:
            raise SettingError(f"{name}: hidden={self.hidden!r}. Give a sequence of widths, ({self.hidden!r},).")
        self._check_choice("loss", tuple(self.losses))
        self._check_dtype()
        self._check_number("decay", lambda value: value >= 0, "a number of at least 0")
        self._check_flag("early_stopping")
        if not callable(self.optimizer):
            self._check_choice("optimizer", tuple(OPTIMIZERS))
        self._check_flag("compile")
        self._check_number("validation_fraction", lambda value: 0 < value < 1, "a number between 0 and 1")
        for setting in ("activation", "code_activation", "output_activation"):
            if (setting, getattr(self, setting)) == ("output_activation", "auto"):
                continue
            try:
                nn.activation(getattr(self, setting))
            except SettingError as problem:
                raise SettingError(f"{name}: {setting}{str(problem).removeprefix('activation')}") from None

    def _resolve_output(self, bounded):
        """The output activation's name, for data that lie in [0, 1] or do not."""
        if self.decoder is not None:
            return getattr(self.decoder, "output_activation", "linear")
        if self.output_activation != "auto":
            return self.output_activation
        return "sigmoid" if bounded else "linear"

    def _check_range(self, X):
        """Refuse data that leave [0, 1] if the loss cannot express them: there its value would mean nothing."""
        if self.loss in self._unbounded_losses() or in_unit_interval(X):
            return
        others, first = " or ".join(map(repr, self._unbounded_losses())), first_beyond(X)
        raise SettingError(
            f"{type(self).__name__}: loss={self.loss!r} compares probabilities, and the data leave [0, 1]. For "
            f"what was measured use loss={others}, after sklearn.preprocessing.StandardScaler; divide by their largest "
            f"value (or MinMaxScaler) what are shares or shades, as of pixels. The first beyond is {X[first]:g} in "
            f"{spot(*first)}."
        )

    def _within_range(self, X):
        """(X, or the nearest values that the loss can express; by how much every row leaves them, None if none does)"""
        if self.loss in self._unbounded_losses() or in_unit_interval(X):
            return X, None
        near = np.clip(X, 0, 1)
        return near, np.abs(np.subtract(X, near, dtype=np.float64)).sum(axis=1)

    def _unbounded_losses(self):
        return ("mse",)

    def _check_input(self, X, action):
        self._check_fitted(action)
        return self._read(X, action)

    def _codes(self, X, action, named=True):
        """``transform``'s array, whatever container is asked for."""
        self._check_fitted(action)
        return self._encoded(self._read(X, action, named=named))

    def _encoded(self, X):
        return self._apply(X, lambda model, x: model.embed(model.encode(x)))

    def _doubt_table(self, X, names):
        """Warn of what may not be meant: bytes that end far below 255, as those of 16 or 32 greys do; columns that
        float32 blurs.
        """
        top = extremes(X)[1] if X.dtype == np.uint8 else 0
        if 1 < top < 64:
            warn(
                f"{type(self).__name__}.fit: X is uint8 with values up to {top} and is divided by 255; "
                f"if {top} is white, pass X / {top}."
            )
        self._doubt_precision(X, names)

    def _doubt_y(self, X, table, y):
        """Warn of clean rows that were given as y, as other libraries want them."""
        if y is None or y is X:
            return
        try:
            y = np.asarray(y)
        except (TypeError, ValueError):
            return  # it is ignored, whatever it is
        if y.shape == table.shape and not np.array_equal(y, table):
            warn(
                f"{type(self).__name__}.fit: y has the shape of X and is ignored. To reconstruct it from X, write "
                "fit(X, target=y).",
                UserWarning,
            )

    def _check_target(self, X, target, where):
        if target is None:
            return None
        names, known = column_names(target, where, "target"), getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and set(names) == set(known):  # else they are of its own
            self._compare_names(names, where, "target")
        target = self._check_table(target, where, what="target")
        if target.shape != X.shape:
            raise ShapeError(
                f"{type(self).__name__}.{where}: target has shape {target.shape}, X has {X.shape}. They must be equal."
            )
        divided = self._divides_bytes() if self.target_scale_ is None else self.target_scale_ > 1
        return target if divided else widened(target)

    def _split(self, X, target, validation_data):
        """(X, target, validation pair or None)"""
        if validation_data is not None:
            pair = validation_data if isinstance(validation_data, tuple) else (validation_data, None)
            if len(pair) != 2:
                what = f"validation_data is a tuple of {len(pair)}"
                raise ShapeError(f"{type(self).__name__}.fit: {what}. Give (X, target).")
            X_val = self._read(pair[0], "fit", "validation_data")
            target_val = self._check_target(X_val, pair[1], "fit: validation_data")
            self._check_range(X_val if target_val is None else target_val)
            return X, target, (X_val, target_val)
        if not self.early_stopping:
            return X, target, None
        held = max(1, round(self.validation_fraction * len(X)))
        if held >= len(X):
            raise SettingError(
                f"{type(self).__name__}.fit: {len(X)} row(s) cannot be split for early stopping. "
                "Pass validation_data, or early_stopping=False."
            )
        if X.nbytes > IN_MEMORY:  # perhaps memory-mapped: cut, not copied
            kept, out = slice(len(X) - held), slice(len(X) - held, None)
        else:
            order = self._init_rng.permutation(len(X))
            kept, out = np.sort(order[held:]), np.sort(order[:held])
        pick = (lambda rows: None) if target is None else (lambda rows: target[rows])
        return X[kept], pick(kept), (X[out], pick(out))

    def _asked(self, noise=None):
        """This model as one call asks it: in evaluation mode, with noise of its own. It shares the weights, and nothing
        writes to them or to self, so that threads may ask one model at once.
        """
        model = copy.copy(self)
        model.net_, model.noise_ = _evaluating(self.net_), copy.copy(self.noise_) if noise is None else noise
        return model

    def _apply(self, X, function, noise=None):
        """function(model, x) over X in batches, without a graph, as one array; model is self as one call asks it."""
        model = self._asked(noise)
        with no_grad():
            return np.concatenate([_plain(function(model, Tensor(x))) for x in batches(X, _ROWS, dtype=self.dtype)])

    def _row_terms(self, X, target=None):
        """The loss terms of every row, {name: (rows,)}, with the noise of evaluation."""
        model, parts = self._asked(), []
        with no_grad():
            for batch in batches(X, _ROWS, dtype=self.dtype, target=target):
                x, t = batch if target is not None else (batch, batch)
                model.noise_ = _RowNoise(x)
                parts.append({name: _plain(term) for name, term in model.loss_terms(x, t).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _mean_terms(self, X, target=None):
        sums = {name: float(np.sum(term, dtype=np.float64)) for name, term in self._row_terms(X, target).items()}
        return mean_terms(sums, len(X))


class _RowNoise(Generator):
    """The noise of evaluation, keyed by each row's content: a row's score depends on nothing but the row."""

    def __init__(self, x):
        super().__init__(0)
        self.key = np.array([crc32(row) for row in x], np.uint64)  # 32 bits: far from the keys of training, of 63


def _plain(value):
    return value.data if isinstance(value, Tensor) else np.asarray(value)
