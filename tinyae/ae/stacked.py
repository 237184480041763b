"""Greedy layer-wise pretraining: every layer learns alone to encode the codes of the one before, then all together.

Together they learn to reconstruct, here; or to tell classes, as in most of the papers: with ``max_iter=0`` they are
only pretrained, and `tinyae.Classifier` goes on from there.
"""

from .. import nn, ops, optim
from ..engine import no_grad
from ..errors import DivergedError, SettingError
from .base import Autoencoder, variant
from .convolutional import ConvolutionalAutoencoder
from .denoising import DenoisingAutoencoder
from .linear import TiedAutoencoder
from .sparse import HalfSquares, SparseKLAutoencoder

__all__ = [
    "RBMAutoencoder", "StackedAutoencoder", "StackedConvolutionalAutoencoder", "StackedDenoisingAutoencoder",
    "StackedSparseAutoencoder",
]  # fmt: skip

_WITH_WEIGHTS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)

_PASSED_ON = ("optimizer", "batch_size", "dtype", "compile", "init", "decay")  # to the parts


@variant("stacked", family="stacked", paper="Bengio, Lamblin, Popovici and Larochelle 2007",
         proof="before fine-tuning it is its parts in a row, to the bit; a better start")  # fmt: skip
class StackedAutoencoder(Autoencoder):
    """The stacked autoencoder: layer after layer z_i = f(z_(i-1) W_i + b_i) is pretrained, then the whole by its loss.

    Part i is an autoencoder of one hidden layer for the codes of part i - 1; its decoder becomes the whole's layer
    that leads back. ``loss`` and history are those of the fine-tuning, as of `Autoencoder`; ``pretraining_`` holds the
    histories of the parts.

    Parameters (besides those of `Autoencoder`)
    ----------
    max_iter : int or None
        Epochs of the fine-tuning; 0: none. None: as of `Autoencoder`.
    pretrain_iter : int
        Epochs for every part; 0: none.
    pretrain_lr : float or None
        The parts' step size; None takes ``lr``.

    Differs from the paper: the parts' decoders are kept and fine-tuned for reconstruction, not a classifier.

    Shape: as `Autoencoder`.
    """

    hidden: tuple = (64, 32)
    pretrain_iter: int = 5
    pretrain_lr: float = None

    def prepare(self, X, target):
        """Pretrain the layers, one after another."""
        self.pretraining_ = []
        if self.encoder is not None or self.decoder is not None or not self.pretrain_iter:
            return X, target
        halves = [_with_weights(half) for half in (self.net_.encoder, self.net_.decoder)]
        codes = X
        for number, (down, up) in enumerate(zip(halves[0], halves[1][::-1])):
            last = number == len(halves[0]) - 1
            bounded = self.activation == "sigmoid" if number else self.unit_interval_
            part = self.make_part(
                number,
                n_components=down.weight.shape[1],
                hidden=(),
                activation=self._code_activation() if last else self.activation,
                output_activation=self.activation if number else self.output_activation,
                loss=self.loss if bounded else "mse",
                max_iter=self.pretrain_iter,
                lr=self.lr if self.pretrain_lr is None else self.pretrain_lr,
                **{name: getattr(self, name) for name in _PASSED_ON},
                random_state=self._init_rng,
            )
            try:
                part._fit(codes, None, None, ())
            except DivergedError as problem:
                text = str(problem).removeprefix("train: ").replace("Lower lr", "Lower pretrain_lr")
                told = DivergedError(f"{type(self).__name__}: while pretraining layer {number + 1}: {text}")
                told.history, told.best = problem.history, problem.best
                raise told from problem
            self.pretraining_.append(part.history_)
            self.take_over(part, down, up)
            codes = part._codes(codes, "transform", named=False)
        return X, target

    def make_part(self, number, **settings):
        """The model that pretrains a layer, 0 being the first."""
        return Autoencoder(**settings)

    def take_over(self, part, down, up):
        """A pretrained part's weights into the layers they are for."""
        for mine, half in ((down, part.net_.encoder), (up, part.net_.decoder)):
            (layer,) = _with_weights(half)
            mine.weight.data, mine.bias.data = layer.weight.data, layer.bias.data

    def _counts(self):
        return {name: n for name, n in super()._counts().items() if name != "max_iter"}

    def _check_settings(self):
        super()._check_settings()
        if self.max_iter is not None:
            self._check_count("max_iter", least=0)
        self._check_count("pretrain_iter", least=0)
        if self.pretrain_lr is not None:
            self._check_number("pretrain_lr", lambda value: value > 0, "a positive number, or None for lr's")


def _with_weights(half):
    return [layer for layer in half if isinstance(layer, _WITH_WEIGHTS)]


@variant("stacked-denoising", family="stacked", aliases=("sdae",),
         paper="Vincent, Larochelle, Lajoie, Bengio and Manzagol 2010",
         proof="parts are denoising ones; without noise it is `stacked` to the bit")  # fmt: skip
class StackedDenoisingAutoencoder(StackedAutoencoder):
    """The stacked denoising autoencoder: part i minimises |x_hat(corrupt(z_(i-1))) - z_(i-1)|; without noise then.

    Parameters (besides those of `StackedAutoencoder`)
    ----------
    corruption, noise : as of `DenoisingAutoencoder`
        Of the parts' inputs; codes are passed on clean. A sequence of noises has one for every part.

    Differs from the paper: weights are not tied; fine-tuned for reconstruction (see `Classifier` for the paper's).

    Shape: as `Autoencoder`.
    """

    noise: float = 0.2
    corruption: str = "masking"

    def make_part(self, number, **settings):
        """A denoising one."""
        return DenoisingAutoencoder(noise=self._noises()[number], corruption=self.corruption, **settings)

    def _noises(self):
        layers = len(self.hidden) + 1
        return tuple(self.noise) if isinstance(self.noise, (tuple, list)) else (self.noise,) * layers

    def _check_settings(self):
        super()._check_settings()
        if len(self._noises()) != len(self.hidden) + 1:
            raise SettingError(
                f"{type(self).__name__}: noise={self.noise!r} for {len(self.hidden) + 1} layers. Give one for each."
            )
        for noise in self._noises():
            self._check_noise(noise)

    def _check_noise(self, noise):
        """Refuse what a part would."""
        try:
            DenoisingAutoencoder(noise=noise, corruption=self.corruption)._check_noise()
        except SettingError as problem:
            message = str(problem).removeprefix(DenoisingAutoencoder.__name__)
            raise SettingError(f"{type(self).__name__}{message}") from None


@variant("stacked-sparse", family="stacked", paper="Ng 2011 (CS294A lecture notes); Ng et al. 2013 (UFLDL tutorial)",
         proof="parts are sparse-kl ones; pretrained alone, a softmax on the codes reads digits")  # fmt: skip
class StackedSparseAutoencoder(HalfSquares, StackedAutoencoder):
    """The stacked sparse autoencoder: part i minimises its loss + penalty * sum_j KL(rho || rho_j) of its codes.

    Parameters (besides those of `StackedAutoencoder`)
    ----------
    loss : str
        "half_sse" is half the sum of squares, as of `SparseKLAutoencoder`.
    rho, penalty : float, as of `SparseKLAutoencoder`
        The same for all parts.

    Differs from the paper: the whole is fine-tuned for reconstruction, without the penalty (see `Classifier` for the
    paper's).

    Shape: as `Autoencoder`.
    """

    activation: str = "sigmoid"
    loss: str = "half_sse"
    rho: float = 0.05
    penalty: float = 0.5

    losses = {name: text.partition(" + ")[0] for name, text in SparseKLAutoencoder.losses.items()}

    _check_sparsity = SparseKLAutoencoder._check_sparsity

    def make_part(self, number, **settings):
        """A sparse one."""
        if self.loss == "half_sse":
            settings["loss"] = self.loss
        return SparseKLAutoencoder(rho=self.rho, penalty=self.penalty, **settings)

    def _check_settings(self):
        super()._check_settings()
        self._check_sparsity()


@variant("stacked-convolutional", family="stacked", aliases=("scae",),
         paper="Masci, Meier, Ciresan and Schmidhuber 2011",
         proof="before fine-tuning it is its parts in a row, to the bit")  # fmt: skip
class StackedConvolutionalAutoencoder(StackedAutoencoder, ConvolutionalAutoencoder):
    """The stacked convolutional autoencoder: z_i = pool(f(conv(z_(i-1)))) is pretrained, layer after layer.

    Part i is a `ConvolutionalAutoencoder` of one layer, for the maps of part i - 1; the last part, unless n_components
    is None, is the dense one of the code.

    Parameters: those of `StackedAutoencoder` and of `ConvolutionalAutoencoder`.

    Differs from the paper: halved maps are passed on, by pooling or strides; fine-tuned for reconstruction (see
    `Classifier` for the paper's).

    Shape: as `ConvolutionalAutoencoder`.
    """

    hidden: tuple = (16, 8)

    def make_part(self, number, **settings):
        """A convolutional one, or the dense one of the code."""
        if number == len(self.hidden):
            return super().make_part(number, **settings)
        sizes, channels = self._sizes()
        return ConvolutionalAutoencoder(**{
            **settings, "n_components": None, "hidden": (channels[number + 1],), "kernel_size": self.kernel_size,
            "down": self.down, "image_shape": (channels[number], *sizes[number]),
        })  # fmt: skip


class _Machine(TiedAutoencoder):
    """A restricted Boltzmann machine: visible units v and hidden ones h, p(v, h) = exp(-E(v, h)) / Z.

    Trained by contrastive divergence: F(v) - F(v1) falls, where F is the free energy, -log of the sum of p(v, h) over
    h up to a constant, and v1 what the machine makes of v by drawing h and taking v's mean (Hinton 2002). Its gradient,
    v1 held fixed, is the rule v h - v1 h1. ``transform`` gives the probabilities of h. Momentum is .5 for five epochs,
    then .9: while the weights are still far from anything, long strides go astray.

    Units are binary, or normal of variance 1 where the activation is linear: visible ones by output_activation, hidden
    ones by activation.
    """

    hidden: tuple = ()

    def make_optimizer(self, parameters):
        """Plain steps, at first with little momentum."""
        self._rule = optim.SGD(parameters, lr=self.lr, momentum=0.5)
        return self._rule

    def _fit(self, X, target, validation_data, callbacks):
        def hurry(model, row):
            if row["epoch"] == 5:
                self._rule.momentum = 0.9

        return super()._fit(X, target, validation_data, [*callbacks, hurry])

    def loss_terms(self, x, target):
        """The contrastive divergence per row: no loss, and not bounded below; only its gradient means something."""
        return {"divergence": self.free_energy(x) - self.free_energy(self.dream(x))}

    def free_energy(self, v):
        """F(v), up to what does not depend on v. Shape: (batch, visible) -> (batch,)."""
        b, a = self.net_.decoder[0].bias, self.net_.encoder[0](v)
        if self.activation == "linear":
            hidden = 0.5 * ops.sum(ops.square(a), axis=1)
        else:
            hidden = ops.sum(ops.softplus(a), axis=1)
        if self.output_activation_ == "linear":
            return 0.5 * ops.sum(ops.square(v - b), axis=1) - hidden
        return -ops.sum(v * b, axis=1) - hidden

    def dream(self, v):
        """v's mean, given h drawn given v. Shape: (batch, visible) -> same."""
        with no_grad():
            a = self.net_.encoder[0](v)
            if self.activation == "linear":
                h = a + ops.normal(a, generator=self.noise_)
            else:
                h = ops.cast(ops.lt(ops.uniform(a, generator=self.noise_), ops.sigmoid(a)), dtype=a.dtype)
            return self._output(self.net_.decoder[0](h))


@variant("rbm", family="stacked", paper="Hinton and Salakhutdinov 2006", aliases=("deep-belief", "rbm-pretrained"),
         proof="free energies sum over all hidden states; their gradient is v h - v1 h1")  # fmt: skip
class RBMAutoencoder(StackedAutoencoder):
    """The deep autoencoder pretrained by restricted Boltzmann machines of energy ``E(v, h) = -v b - h c - v W h``.

    Each layer is a machine trained by contrastive divergence on the hidden probabilities of the one before; unrolled,
    W.T leads back. Hidden units are binary (sigmoid), the code's are normal (linear); data beyond [0, 1] get normal
    visible units. Then the whole is fine-tuned by its loss.

    Parameters (besides those of `StackedAutoencoder`)
    ----------
    pretrain_lr : float
        The machines' step size; one with normal units gets a hundredth of it, as the paper's.
    pretrain_decay : float
        The machines' ``decay``: half of the paper's 2e-4, of which the gradient has no factor of 2.

    Differs from the paper: fine-tuned by Adam, not conjugate gradients.

    Shape: as `Autoencoder`.
    """

    activation: str = "sigmoid"
    code_activation: str = "linear"
    loss: str = "bce"
    pretrain_lr: float = 0.02
    pretrain_decay: float = 1e-4

    def make_part(self, number, **settings):
        """A Boltzmann machine."""
        normal = "linear" in (settings["activation"], settings["output_activation"])
        lr = self.pretrain_lr / (100 if normal else 1)
        return _Machine(**{**settings, "loss": "mse", "lr": lr, "decay": self.pretrain_decay})

    def take_over(self, part, down, up):
        """Its matrix for both ways."""
        down.weight.data, down.bias.data = part.net_.encoder[0].weight.data, part.net_.encoder[0].bias.data
        up.weight.data, up.bias.data = part.net_.encoder[0].weight.data.T, part.net_.decoder[0].bias.data

    def _check_settings(self):
        super()._check_settings()
        self._check_choice("activation", ("sigmoid",))
        self._check_choice("code_activation", ("sigmoid", "linear"))
        self._check_choice("output_activation", ("auto", "sigmoid", "linear"))
        self._check_number("pretrain_lr", lambda value: value > 0, "a positive number")
        self._check_number("pretrain_decay", lambda value: value >= 0, "a number of at least 0")
