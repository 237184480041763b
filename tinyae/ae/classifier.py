"""A classifier on an encoder: what an autoencoder has learned from many rows serves to learn classes of few.

    stack = StackedDenoisingAutoencoder(1000, hidden=(1000, 1000), noise=(0.1, 0.2, 0.3), max_iter=0).fit(X)
    model = Classifier(stack).fit(X[:1000], y[:1000])

Ring 6. Read after ``base.py``.
"""

import copy
import sys
import warnings

import numpy as np

from .. import files, nn, ops, optim
from ..data import batches
from ..engine import no_grad
from ..errors import DataError, DivergedError, SettingError, ShapeError, excerpt
from ..estimator import Estimator
from ..nn.module import _evaluating
from ..nn.norm import _least_rows
from ..ops.random import Generator
from ..optim.rules import OPTIMIZERS
from ..tensor import Tensor
from ..train import mean_terms, train
from . import defaults
from .base import _ROWS, Autoencoder, Net, _plain
from .latent import numpy_generator

__all__ = ["Classifier"]


@files.saved("classifier", "encoder", "encoder_")
class Classifier(Estimator):
    """A softmax layer on an encoder: p(class | x) = softmax(z W + b), where z is the code of x.

    ``loss = mean over rows of -log p(the row's class | x) + decay * (sum of all weights squared)``.

    Parameters
    ----------
    encoder : Autoencoder or Module, optional
        Copied, never changed. An autoencoder that is not fitted is first fitted to the rows, by this model's
        random_state if it has none. None: z is x itself, and the model is softmax regression.
    freeze : bool
        Learn W and b only, from codes that are computed once; False: the encoder learns too (fine-tuning).
    warm_start : bool
        Begin where the last ``fit`` ended, perhaps with other settings: first freeze, then fine-tune.
    optimizer, lr, max_iter, batch_size, early_stopping, validation_fraction, n_iter_no_change, random_state, verbose,
    dtype, compile, init, decay : as of `Autoencoder`

    Attributes
    ----------
    classes_ : array of the labels, sorted
    net_ : Module with ``encoder`` and ``decoder``, the softmax layer
    encoder_ : the autoencoder (or Module) whose encoder is trained, None without
    history_ : dict of lists, one entry per epoch; val_loss and val_accuracy with validation
    baseline_ : float
        The cross-entropy, were every row given the classes' shares as probabilities.
    n_iter_, best_epoch_, n_features_in_ : int

    Warns (ConvergenceWarning) as `Autoencoder` does.

    Shape: X (rows, features), y (rows,) of any labels -> classes (rows,). Bytes are divided by 255 as by `Autoencoder`.

    Hinton and Salakhutdinov 2006; Vincent et al. 2010.
    """

    encoder: object = None
    freeze: bool = False
    warm_start: bool = False
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

    def get_params(self, deep=True):
        """The settings; deep adds those of an autoencoder, as encoder__lr and so on."""
        own = super().get_params()
        if deep and hasattr(self.encoder, "get_params") and not isinstance(self.encoder, type):
            own |= {f"encoder__{name}": value for name, value in self.encoder.get_params().items()}
        return own

    def set_params(self, **params):
        """Change settings, those of the autoencoder by encoder__lr and so on. Returns self."""
        inner = {name: value for name, value in params.items() if name.startswith("encoder__")}
        super().set_params(**{name: value for name, value in params.items() if name not in inner})
        if inner:
            self.encoder.set_params(**{name.removeprefix("encoder__"): value for name, value in inner.items()})
        return self

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags  # only scikit-learn calls this

        return Tags(estimator_type="classifier", target_tags=TargetTags(required=True), input_tags=InputTags(),
                    classifier_tags=ClassifierTags(), non_deterministic=False)  # fmt: skip

    # -- fitting ----------------------------------------------------------------------------------------------------

    def fit(self, X, y, *, validation_data=None, callbacks=None):
        """Train on rows and their labels; returns self.

        Parameters
        ----------
        X : array (rows, features)
        y : array (rows,)
            Labels: integers, strings, booleans.
        validation_data : (X, y), optional
            Evaluated after every epoch, as val_loss and val_accuracy.
        callbacks : sequence of callable, optional
            Each called with (model, row of the history) after every epoch; returning True ends the training.
        """
        with self._unless_refused():
            self._fit(X, y, validation_data, [callbacks] if callable(callbacks) else callbacks or ())
        self._say_doubts()
        return self

    def _fit(self, X, y, validation_data, callbacks):
        self._check_settings()
        again = self.warm_start and hasattr(self, "net_")
        names = None if again else self._learn_names(X)
        X = self._read(X, "fit") if again else self._check_table(X, "fit")
        classes, numbers = self._labels(y, len(X), "fit")
        if again:
            if not np.array_equal(classes, self.classes_):
                raise DataError(f"Classifier.fit: warm_start with classes {classes}, but it knows {self.classes_}.")
            self._copy()
        else:
            X = self._build(X, names, classes)
        kept = None
        if validation_data is not None:
            kept = self._check_pair(validation_data)
        elif self.early_stopping:
            X, numbers, kept = self._hold_out(X, numbers)
        through = type(self)._scores
        if self.freeze:
            X, through = self._apply(X, type(self)._codes), lambda model, codes: model.net_.decoder(codes)
            kept = kept and (self._apply(kept[0], type(self)._codes), kept[1])
        validate = None if kept is None else lambda: self._validation(through, *kept)
        learning = self.net_.decoder if self.freeze else self.net_
        parameters = list(learning.parameters())
        optimizer = self.optimizer(parameters) if callable(self.optimizer) else optim.optimizer(
            self.optimizer, parameters, lr=self.lr)  # fmt: skip
        size = len(X) if hasattr(optimizer, "iterations") else int(self.batch_size)
        weights = [p for p in parameters if p.ndim > 1]

        def objective(x, t):
            terms = {"cross_entropy": nn.cross_entropy(through(self, x), t)}
            if self.decay:
                terms["decay"] = self.decay * sum(ops.sum(ops.square(w)) for w in weights)
            return terms

        def epoch_batches():
            return batches(X, size, generator=self._batch_rng, dtype=self.dtype, target=target,
                           least=_least_rows(learning))  # fmt: skip

        target = np.eye(len(self.classes_), dtype=self.dtype)[numbers]
        shares = target.mean(axis=0, dtype=np.float64)
        self.baseline_ = -float(np.sum(shares * np.log(np.where(shares > 0, shares, 1.0))))
        self.max_iter_ = defaults.epochs(self.max_iter, len(X), int(self.batch_size))
        try:
            history, best = train(
                objective, optimizer, epoch_batches, module=learning, epochs=self.max_iter_, validate=validate,
                patience=self.n_iter_no_change if self.early_stopping else None,
                callbacks=self._told(callbacks), progress=self._progress(epoch_batches),
                compile=self.compile,
            )  # fmt: skip
        except (KeyboardInterrupt, DivergedError) as interruption:
            if hasattr(interruption, "best"):  # else it came before the training, which leaves all as it was
                self.kept_epoch_ = interruption.best.epoch
                self._remember(interruption.history, interruption.best.epoch)
            raise
        self.kept_epoch_ = best.epoch if self.early_stopping else len(history)
        self._remember(history, best.epoch)
        return self

    def _build(self, X, names, classes):
        """Fresh weights, on a copy of the encoder; an autoencoder that has learned nothing yet is fitted. X as read."""
        self._init_rng, self._batch_rng = numpy_generator(self.random_state).spawn(2)
        encoder = copy.deepcopy(self.encoder)
        if isinstance(encoder, Autoencoder):
            if hasattr(encoder, "net_"):
                encoder._compare_names(names, "fit", "X")
                self._doubt_precision(X, names)
            else:
                if encoder.random_state is None:
                    encoder.random_state = self._init_rng
                encoder.fit(X).random_state = self.encoder.random_state
            X = encoder._read(X, "fit", named=False)
            self.unit_interval_, self.bits_, self.scale_ = encoder.unit_interval_, encoder.bits_, encoder.scale_
            encoder.net_ = encoder.net_.astype(self.dtype)
            inner = encoder.net_.encoder
        else:
            self._doubt_precision(X, names)
            X = self._learn_scale(X)
            inner = nn.Sequential() if encoder is None else encoder.astype(self.dtype)
        self.encoder_, self.classes_, self.n_features_in_ = encoder, classes, X.shape[1]
        self.net_ = Net(inner, None)
        width = self._apply(X[:1], type(self)._codes).shape[1]
        self.net_.decoder = nn.Linear(width, len(classes), init=self.init, generator=self._init_rng, dtype=self.dtype)
        self.net_.eval()  # a frozen encoder stays so
        return X

    def _copy(self):
        """A copy of all that a warm start changes, of today's dtype: what it began with stays, should it be refused."""
        parts = self.net_, self.encoder_, self._init_rng, self._batch_rng
        self.net_, self.encoder_, self._init_rng, self._batch_rng = copy.deepcopy(parts)  # at once: they share weights
        for net in (self.net_, getattr(self.encoder_, "net_", None)):
            if net is not None:
                net.astype(self.dtype)

    def _hold_out(self, X, numbers):
        held = max(1, round(self.validation_fraction * len(X)))
        if held >= len(X):
            raise SettingError(
                f"Classifier.fit: {len(X)} row(s) cannot be split for early stopping. "
                "Pass validation_data, or early_stopping=False."
            )
        order = self._init_rng.permutation(len(X))
        kept, out = np.sort(order[held:]), np.sort(order[:held])
        return X[kept], numbers[kept], (X[out], numbers[out])

    def _validation(self, through, X, numbers):
        p = self._apply(X, lambda model, x: ops.log_softmax(through(model, x)))
        loss = -float(np.mean(p[np.arange(len(p)), numbers], dtype=np.float64))
        return {**mean_terms({"loss": loss}, 1), "accuracy": float(np.mean(p.argmax(axis=1) == numbers))}

    # -- using ------------------------------------------------------------------------------------------------------

    def predict_proba(self, X):
        """The classes' probabilities, in the order of ``classes_``. Shape: (rows, features) -> (rows, classes)."""
        return self._of_rows(X, "predict_proba", lambda model, x: ops.softmax(model._scores(x)))

    def predict_log_proba(self, X):
        """Their logarithms, exact where probabilities round to 0. Shape: (rows, features) -> (rows, classes)."""
        return self._of_rows(X, "predict_log_proba", lambda model, x: ops.log_softmax(model._scores(x)))

    def predict(self, X):
        """The likeliest class. Shape: (rows, features) -> (rows,)."""
        numbers = self._of_rows(X, "predict", lambda model, x: model._scores(x)).argmax(axis=1)
        return self.classes_[numbers]

    def score(self, X, y):
        """The share of the rows that are given their own class."""
        predicted = self.predict(X)
        return float(np.mean(predicted == self._labelled(y, len(predicted), "score")))

    def save(self, path):
        """Write settings, weights, classes and history, and the encoder's model, to an .npz file for `tinyae.load`.

        A Module as encoder is the caller's code: ``load(path, encoder=...)``. A warm start after loading draws its
        batches anew. Returns the path.
        """
        self._check_fitted("save")
        return files.save(self, path)

    # -- the parts of the above -------------------------------------------------------------------------------------

    def _own_arrays(self):
        """Of a Module as encoder, and of the softmax layer; an autoencoder's are its own."""
        shared = isinstance(self.encoder_, Autoencoder)
        return {k: v for k, v in self.net_.state_dict().items() if not (shared and k.startswith("encoder."))}

    def _restore(self, parts, fitted, read):
        """What `save` wrote; see ``files.saved``."""
        self._check_settings()
        self._init_rng, self._batch_rng = numpy_generator(self.random_state).spawn(2)
        self.encoder_ = parts.get("encoder_")
        own = isinstance(self.encoder, nn.Module) and self.encoder_ is None
        if own:
            self.encoder_ = copy.deepcopy(self.encoder).astype(self.dtype)
        shared = isinstance(self.encoder_, Autoencoder)
        inner = self.encoder_.net_.encoder if shared else self.encoder_ if own else nn.Sequential()
        self.net_ = Net(inner, None)
        self.classes_, self.bits_ = fitted["classes_"], bool(fitted["bits_"])
        self.unit_interval_ = bool(fitted.get("unit_interval_", True))
        self._restore_columns(fitted)
        for name in ("n_features_in_", "n_iter_", "best_epoch_", "kept_epoch_", "max_iter_", "baseline_", "history_"):
            setattr(self, name, fitted[name])
        state = {name: read(name) for name in (*self._own_arrays(), "decoder.weight", "decoder.bias")}
        classes, weight, bias = self.classes_, state["decoder.weight"], state["decoder.bias"]
        features = self.encoder_.n_features_in_ if shared else self.n_features_in_
        if features != self.n_features_in_ or (self.encoder_ is None and features != len(weight)):
            raise ShapeError(f"Classifier: n_features_in_={excerpt(self.n_features_in_)} does not fit its arrays.")
        if not isinstance(classes, np.ndarray) or classes.ndim != 1 or not np.all(classes[1:] > classes[:-1]):
            raise DataError("Classifier: classes_ is no sorted array of different labels. The file is damaged.")
        width = self._apply(np.zeros((1, features), np.int8), type(self)._codes).shape[1]
        if weight.shape != (width, len(classes)) or bias.shape != (len(classes),):
            raise ShapeError(
                f"Classifier: decoder.weight has shape {weight.shape}, decoder.bias {bias.shape}; the codes' length is "
                f"{width}, and there are {len(classes)} classes."
            )
        self.net_.decoder = nn.Linear(width, len(classes), generator=self._init_rng, dtype=self.dtype)
        self.net_.load_state_dict(state, strict=not shared)
        self.net_.eval()

    penalties = Autoencoder.penalties
    _progress, _remember, _say_doubts = Autoencoder._progress, Autoencoder._remember, Autoencoder._say_doubts
    _told = Autoencoder._told

    def _doubts(self):
        return defaults.doubts(self, self.baseline_)

    def _codes(self, x):
        if isinstance(self.encoder_, Autoencoder):
            return self.encoder_.embed(self.encoder_.encode(x))
        return self.net_.encoder(x)

    def _scores(self, x):
        return self.net_.decoder(self._codes(x))

    def _of_rows(self, X, action, function):
        self._check_fitted(action)
        return self._apply(self._read(X, action), function)

    def _apply(self, X, function):
        """function(model, x) over X in batches, without a graph, as one array; model is self in evaluation mode: it
        shares the weights, and nothing writes to them or to self.
        """
        model = copy.copy(self)
        model.net_ = _evaluating(self.net_)
        if isinstance(self.encoder_, Autoencoder):
            model.encoder_ = self.encoder_._asked()
        with no_grad():
            return np.concatenate([_plain(function(model, Tensor(x))) for x in batches(X, _ROWS, dtype=self.dtype)])

    def _labelled(self, y, rows, where):
        """y as one label per row."""
        where = f"Classifier.{where}"
        if y is None:
            raise DataError(f"{where} requires y to be passed, but the target y is None. Give a label for every row.")
        try:
            y = np.asarray(y)
        except ValueError as problem:
            raise ShapeError(f"{where}: y is no array: {problem} Give one label per row: ({rows},).") from None
        if y.ndim == 2 and y.shape[1] == 1:
            _warn_of_column()
            y = y[:, 0]
        if y.shape != (rows,):
            raise ShapeError(f"{where}: y has shape {y.shape}, X has {rows} row(s). Give one label per row: ({rows},).")
        return y

    def _labels(self, y, rows, where):
        """(the classes, each row's number among them)"""
        y = self._labelled(y, rows, where)
        if y.dtype.kind in "fc":
            if not np.isfinite(y).all():
                raise DataError(f"Classifier.{where}: y holds NaN or infinity. Give a label for every row.")
            if np.any(y != np.rint(y.real)):
                raise DataError(f"Classifier.{where}: Unknown label type: continuous. y has fractions. Give classes.")
        elif y.dtype.kind == "O" and any(label is None or label != label for label in y):
            raise DataError(f"Classifier.{where}: y holds NaN or None. Give a label for every row.")
        try:
            return np.unique(y, return_inverse=True)
        except TypeError as problem:
            raise DataError(f"Classifier.{where}: y has labels without an order: {problem}. Give one kind.") from None

    def _check_pair(self, pair):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ShapeError("Classifier.fit: validation_data is no pair. Give (X, y).")
        X = self._read(pair[0], "fit", "validation_data")
        classes, numbers = self._labels(pair[1], len(X), "fit: validation_data")
        known = {label: number for number, label in enumerate(self.classes_.tolist())}
        found = [known.get(label) for label in classes.tolist()]
        if None in found:
            raise DataError("Classifier.fit: validation_data has classes that y has not.")
        return X, np.array(found)[numbers]

    def _check_settings(self):
        if self.encoder is not None and not isinstance(self.encoder, (Autoencoder, nn.Module)):
            raise SettingError(
                f"Classifier: encoder is a {type(self.encoder).__name__}. Give an autoencoder, a tinyae.nn.Module or "
                "None."
            )
        for name in ("max_iter", "batch_size", "n_iter_no_change"):
            if name != "max_iter" or self.max_iter is not None:
                self._check_count(name)
        for name in ("freeze", "warm_start", "early_stopping", "compile"):
            self._check_flag(name)
        self._check_dtype()
        if not callable(self.optimizer):
            self._check_choice("optimizer", tuple(OPTIMIZERS))
        self._check_number("validation_fraction", lambda value: 0 < value < 1, "a number between 0 and 1")
        self._check_number("decay", lambda value: value >= 0, "a number of at least 0")


def _warn_of_column():
    """As scikit-learn does, by its own warning if it is there."""
    category = UserWarning
    if "sklearn" in sys.modules:
        from sklearn.exceptions import DataConversionWarning as category
    warnings.warn(
        "A column-vector y was passed when a 1d array was expected. Give y.ravel().", category, stacklevel=5
    )
