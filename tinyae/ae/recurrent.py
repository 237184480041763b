"""Recurrent nets: a row is a sequence, read step by step into one code and told again from it."""

import numpy as np

from .. import nn, ops
from ..errors import SettingError
from ..tensor import Tensor
from .base import Autoencoder, variant

__all__ = ["GRUAutoencoder", "LSTMAutoencoder", "TeacherForcedAutoencoder"]


class _Reader(nn.Module):
    """Recurrent layers one after another; the last one's output at each row's last real step.

    Shape: (n, steps * channels) -> (n, n_components).
    """

    def __init__(self, layers, channels, padding_value):
        self.layers, self.channels, self.padding_value = layers, channels, padding_value

    def forward(self, x):
        """What is known after the last real step."""
        x = y = _steps(x, self.channels)
        for layer in self.layers:
            y, _ = layer(y)
        if self.padding_value is None:
            return ops.getitem(y, index=(slice(None), -1))
        # What was read after the end is in later outputs only, and they are not asked.
        return ops.sum(y * ops.unsqueeze(_ends(x, self.padding_value), axis=2), axis=1)


class _Teller(nn.Module):
    """The code at every step (Srivastava et al. 2015) through recurrent layers and a dense one.

    Shape: (n, n_components) -> (n, steps * channels).
    """

    def __init__(self, layers, dense, steps):
        self.layers, self.dense, self.steps = layers, dense, steps

    def forward(self, z):
        """The whole sequence."""
        first, *others = self.layers
        y, _ = first(z, steps=self.steps)
        for layer in others:
            y, _ = layer(y)
        return _flat(self.dense(y))


class _ForcedTeller(_Teller):
    """At every step the code beside the values of the step before, through recurrent layers and a dense one.

    Shape: (n, n_components), target (n, steps * channels) -> (n, steps * channels).
    """

    def forward(self, z, target):
        """The whole sequence, each step told what the target was before it."""
        x = _steps(target, self.dense.weight.shape[1])
        before = ops.pad(x, widths=((0, 0), (1, 0), (0, 0)))
        return self.go_on(z, ops.getitem(before, index=(slice(None), slice(-1))))[0]

    def go_on(self, z, before, states=None):
        """(what is told, the layers' states), from the steps before and the states until there.

        Shape: z (n, n_components), before (n, steps, channels) -> (n, steps * channels).
        """
        n, steps, _ = before.shape
        y = ops.concat(before, ops.broadcast_to(ops.unsqueeze(z, axis=1), shape=(n, steps, z.shape[1])), axis=2)
        after = []
        for layer, state in zip(self.layers, states or [None] * len(self.layers)):
            y, state = layer(y, state)
            after.append(state)
        return _flat(self.dense(y)), after


def _steps(x, channels):
    return ops.reshape(x, shape=(x.shape[0], x.shape[1] // channels, channels))


def _flat(y):
    return ops.reshape(y, shape=(y.shape[0], y.shape[1] * y.shape[2]))


def _left(x, padding_value):
    """(whether a step has a value that is no padding, how many such steps there are from it on); (n, steps) twice."""
    real = ops.max(ops.cast(ops.ne(x, padding_value), dtype=x.dtype), axis=2)
    return real, ops.flip(ops.cumsum(ops.flip(real, axis=1), axis=1), axis=1)


def _ends(x, padding_value):
    """1 at each row's last real step, else 0. Shape: (n, steps, channels) -> (n, steps)."""
    real, left = _left(x, padding_value)
    return real * ops.cast(ops.eq(left, 1.0), dtype=x.dtype)


@variant("lstm", family="recurrent", paper="Srivastava, Mansimov and Salakhutdinov 2015", aliases=("seq2seq",),
         proof="padding of any length changes nothing; learns a sequence by heart")  # fmt: skip
class LSTMAutoencoder(Autoencoder):
    """The LSTM autoencoder: z = the last output of LSTM(x), x_hat = dense(LSTM(z at every step)).

    ``loss = mean over real steps and channels of (x_hat - x)**2``, or of the binary cross-entropy. ``hidden`` are the
    widths of further recurrent layers between input and code; the decoder mirrors them.

    Parameters (besides those of `Autoencoder`)
    ----------
    activation : str
        "tanh" or "relu", within the cells.
    channels : int
        How many values a step has.
    padding_value : float or None
        Sequences may end before the row does: the last steps whose values all equal this are not read and not
        compared. None: every step counts. It is a value as X has it: of bytes that are divided by 255, from 0 to 255.
        One outside [0, 1] makes "auto" choose a linear output.

    Differs from the paper: the sequence is told from its first step on, not from its last.

    Shape: as `Autoencoder`; a row is a sequence flattened as (steps, channels).
    """

    hidden: tuple = ()
    activation: str = "tanh"
    channels: int = 1
    padding_value: float = None

    _layer = nn.LSTM

    def make_encoder(self):
        """Recurrent layers, read at the end. Shape: (batch, features) -> (batch, n_components)."""
        layers = self._layers((int(self.channels), *self._hidden(), self._encoder_width()))
        return _Reader(layers, int(self.channels), self._padding())

    def make_decoder(self, encoder):
        """The code repeated through recurrent layers. Shape: (batch, n_components) -> (batch, features)."""
        return _Teller(*self._told_by(self.n_components_))

    def compare(self, a, target):
        """The reconstruction's loss per row, the mean over its real steps."""
        if self.padding_value is None:
            return super().compare(a, target)
        x = _steps(target, int(self.channels))
        _, left = _left(x, self._padding())
        real = ops.broadcast_to(ops.unsqueeze(ops.clip(left, high=1.0), axis=2), shape=x.shape)
        weighted = self._feature_loss(a, target) * _flat(real)
        return {self.loss: ops.sum(weighted, axis=1) / ops.clip(ops.sum(real, axis=(1, 2)), low=1.0)}

    def _is_value(self, x):
        if self.padding_value is None:
            return True
        left = _left(_steps(Tensor(x), int(self.channels)), self._padding())[1].data
        return np.repeat(left > 0, int(self.channels), axis=1)

    def _padding(self):
        """padding_value in the net's units: of bytes it is divided as they are, in the same dtype."""
        if self.padding_value is None or self.scale_ is None:
            return self.padding_value
        number = np.dtype(self.dtype).type
        return float(number(self.padding_value) / number(self.scale_))

    def _set_scale(self, scale):
        super()._set_scale(scale)
        if isinstance(self.net_.encoder, _Reader):  # not one of the user's
            self.net_.encoder.padding_value = self._padding()

    def least_size(self, n_features):
        """The first gate's weights, at least."""
        widths = [int(width) for width in (self.channels, *self.hidden, self._code_length(n_features))]
        return sum(a * b for a, b in zip(widths, widths[1:])), max(widths[1:])

    def _told_by(self, n_in):
        """The decoder's parts: recurrent layers, the dense one, how many steps."""
        widths = self.n_components_, *self._hidden()[::-1]
        dense = nn.Linear(
            widths[-1], int(self.channels), init=self.init, generator=self._init_rng, dtype=self.dtype
        )  # fmt: skip
        return self._layers((n_in, *widths)), dense, self.n_features_in_ // int(self.channels)

    def _layers(self, widths):
        settings = {"activation": self.activation, "init": self.init, "generator": self._init_rng, "dtype": self.dtype}
        return [self._layer(n_in, n_hidden, **settings) for n_in, n_hidden in zip(widths, widths[1:])]

    def build(self, n_features):
        """As `Autoencoder`; refuses rows that are no whole number of steps."""
        self._check_settings()
        if isinstance(n_features, (int, np.integer)) and n_features % self.channels:
            raise SettingError(
                f"{type(self).__name__}: channels={self.channels!r} does not divide the {n_features} values of a row."
                " Give a divisor."
            )
        return super().build(n_features)

    def _counts(self):
        return {**super()._counts(), "channels": self.channels}

    def _check_settings(self):
        super()._check_settings()
        self._check_choice("activation", ("tanh", "relu"))
        if self.padding_value is not None:
            self._check_number("padding_value", lambda value: True, "a number, or None")
        if self.code_activation is not None:
            raise SettingError(
                f"{type(self).__name__}: code_activation={self.code_activation!r}, but the code is the cell's output. "
                "Give None."
            )


@variant("gru", family="recurrent", paper="Cho et al. 2014",
         proof="padding of any length changes nothing; learns a sequence by heart")  # fmt: skip
class GRUAutoencoder(LSTMAutoencoder):
    """The GRU autoencoder: z = the last output of GRU(x), x_hat = dense(GRU(z at every step)); else `LSTMAutoencoder`.

    Differs from the paper: numbers for words, and the code at every step without the step before.

    Shape: as `LSTMAutoencoder`.
    """

    _layer = nn.GRU


@variant("teacher-forced", family="recurrent", paper="Williams and Zipser 1989; Sutskever, Vinyals and Le 2014",
         proof="one pass of training equals steps fed by hand; told freely it needs no target")  # fmt: skip
class TeacherForcedAutoencoder(LSTMAutoencoder):
    """Teacher forcing: x_hat_t = dense(LSTM(z, x_(t-1))), the true step before while training, else the one told.

    The loss is that of the next step given the true ones; ``reconstruct`` and ``inverse_transform`` tell the whole
    sequence from the code alone, and their error is larger.

    Parameters (besides those of `LSTMAutoencoder`)
    ----------
    cell : str
        "lstm" or "gru".

    Differs from the papers: the code is given at every step, not as the first state.

    Shape: as `LSTMAutoencoder`.
    """

    cell: str = "lstm"

    def make_decoder(self, encoder):
        """Recurrent layers that read the code and the step before."""
        return _ForcedTeller(*self._told_by(self.n_components_ + int(self.channels)))

    def unfold(self, z, target):
        """The decoder's output, each step told what the target was before it."""
        return self.net_.decoder(z, target)

    def decode(self, z):
        """The decoder's output, step by step from its own. Shape: (batch, n_components) -> (batch, features)."""
        shape = z.shape[0], 1, int(self.channels)
        before, states, told = np.zeros(shape, self.dtype), None, []
        for _ in range(self.net_.decoder.steps):
            a, states = self.net_.decoder.go_on(z, before, states)
            told.append(a)
            before = ops.reshape(self._output(a), shape=shape)
        return ops.concat(*told, axis=1)

    @property
    def _layer(self):
        return {"lstm": nn.LSTM, "gru": nn.GRU}[self.cell]

    def _check_settings(self):
        super()._check_settings()
        self._check_choice("cell", ("lstm", "gru"))
        if self.decoder is not None:
            raise SettingError(f"{type(self).__name__}: your decoder cannot be told the step before. Give None.")
