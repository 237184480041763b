"""Recurrent layers: RNN, LSTM and GRU over sequences, and the cells that make one step of them.

    lstm = LSTM(3, 16)                          batch first: x is (n, steps, 3)
    y, (h, c) = lstm(x)                         y (n, steps, 16), the final states h and c (1, n, 16)
    y, (h, c) = lstm(x, lengths=[5, 2, 7])      rows of different length, padded to one array
    y, _ = decoder(h[0], steps=28)              one input, (n, 16), for all of so many steps

**Lengths.** A row's padding changes nothing: its state stays what it was, outputs there are 0, whatever stands there
(NaN too) is not read, and the final state is that after the row's last real step. Running backwards starts at each
row's own end.

**PyTorch's numbers.** Equations, gate order (LSTM: i f g o, GRU: r z n, the reset gate after the product) and the two
biases are PyTorch's; matrices are transposed, as everywhere here. To take weights over, for layer k

    layers.k.forward.weight_ih = weight_ih_l{k}.T       layers.k.reverse.weight_ih = weight_ih_l{k}_reverse.T
    layers.k.forward.bias_ih = bias_ih_l{k}             and so on for weight_hh and bias_hh

**Starts.** Per gate, weight_ih is Glorot-uniform and weight_hh orthogonal (Saxe et al. 2014), as in Keras, where
PyTorch's are uniform in +-1 / sqrt(n_hidden). Biases are 0, but bias_ih of the LSTM's forget gate is 1 (Gers et al.
2000), so that it remembers until it has learned to forget.

Ring 4. Read after ``layers.py``.
"""

from functools import partial

import numpy as np

from .. import ops
from ..engine import Var, cast
from ..errors import AxisError, DtypeError, SettingError, ShapeError
from ..mode import fixed
from ..ops.state import within
from .init import as_rng, initialise, zeros
from .layers import _affine, _size
from .module import Module, Parameter

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell"]

_ACTIVATIONS = ("relu", "tanh")


# -- one step -------------------------------------------------------------------------------------------------------


class _Cell(Module):
    """What the cells share: four parameters, all gates side by side in each. A state is a tuple of (n, n_hidden)."""

    _gates = 1
    _n_states = 1

    def __init__(
        self, n_in, n_hidden, *, activation="tanh", bias=True, init="glorot_uniform", recurrent_init="orthogonal",
        generator=None, dtype="float32"
    ):  # fmt: skip
        name, rng = type(self).__name__, as_rng(generator)
        self.n_in, self.n_hidden = _size(name, "n_in", n_in), _size(name, "n_hidden", n_hidden)
        if activation not in _ACTIVATIONS:
            raise SettingError(f"{name}: activation={activation!r}. Give one of {', '.join(_ACTIVATIONS)}.")
        self.activation = activation
        for which, how, n in (("weight_ih", init, self.n_in), ("weight_hh", recurrent_init, self.n_hidden)):
            gates = [initialise(how, (n, self.n_hidden), rng, dtype) for _ in range(self._gates)]
            setattr(self, which, Parameter(np.concatenate(gates, axis=1)))
        for which in ("bias_ih", "bias_hh"):
            setattr(self, which, Parameter(zeros(self._gates * self.n_hidden, dtype=dtype)) if bias else None)

    def forward(self, x, state=None):
        """The next state, from an input and the state before (None: zeros)."""
        if x.ndim != 2 or x.shape[1] != self.n_in:
            raise ShapeError(f"cell: x {x.shape}, expected (n, {self.n_in}).")
        state = self._unpacked(state, x.shape[:1])
        states = [ops.getitem(s, index=0) for s in self._run(ops.getitem(x, index=None), state)]  # of one step
        return tuple(states) if len(states) > 1 else states[0]

    def _run(self, x, state, steps=None, **settings):
        """The states after every step, each (steps, n, n_hidden), of inputs (steps, n, n_in), or one for all steps."""
        z = _repeated(_affine(x, self.weight_ih, None if self.bias_ih is None else self.bias_ih + self.bias_hh), steps)
        return (self._recurrence(z, self.weight_hh, *state, activation=self.activation, **settings),)

    def _unpacked(self, state, lead):
        """A user's state as a tuple of (*lead, n_hidden)."""
        dtype, shape = self.weight_hh.dtype, (*lead, self.n_hidden)
        if state is None:
            return (fixed(np.zeros(shape, dtype)),) * self._n_states
        state = tuple(state) if isinstance(state, (tuple, list)) else (state,)
        state = tuple(s if isinstance(s, Var) else fixed(np.asarray(s, dtype), of=s) for s in state)
        if len(state) != self._n_states or any(s.shape != shape for s in state):
            wanted = " and ".join([str(shape)] * self._n_states)
            raise ShapeError(f"state: {' and '.join(str(s.shape) for s in state)}, expected {wanted}.")
        return state

    def extra_repr(self):
        """n_in, n_hidden, and the settings that are not the default ones."""
        text = f"{self.n_in}, {self.n_hidden}" + (f", activation={self.activation!r}" * (self.activation != "tanh"))
        return text + ", bias=False" * (self.bias_ih is None)


class RNNCell(_Cell):
    """h' = activation(x @ weight_ih + bias_ih + h @ weight_hh + bias_hh). Elman 1990.

    Parameters
    ----------
    n_in, n_hidden : int
        The lengths of x and of the state.
    activation : str
        "tanh" or "relu".
    bias : bool
        Whether there are biases.
    init, recurrent_init : str or callable
        How each gate's part of ``weight_ih`` and of ``weight_hh`` starts, as in `Linear`.
    generator, dtype : as in `Linear`

    Shape: x (n, n_in), h (n, n_hidden) -> (n, n_hidden).
    """

    _recurrence = staticmethod(ops.rnn)


class LSTMCell(_Cell):
    """c' = f * c + i * g and h' = o * tanh(c'), where i, f, o are sigmoids, g a tanh of a sum as in `RNNCell`.

    Hochreiter and Schmidhuber 1997, with the forget gate f of Gers et al. 2000. The gates stand side by side in every
    parameter: i, f, g, o. ``activation="relu"`` takes the place of both tanh, as in Keras.

    Parameters
    ----------
    n_in, n_hidden, activation, bias, init, recurrent_init, generator, dtype : as in `RNNCell`

    Shape: x (n, n_in), (h, c) each (n, n_hidden) -> (h, c).
    """

    _gates = 4
    _n_states = 2
    _recurrence = staticmethod(ops.lstm)

    def __init__(self, n_in, n_hidden, **settings):
        super().__init__(n_in, n_hidden, **settings)
        if self.bias_ih is not None:
            self.bias_ih._data[self.n_hidden : 2 * self.n_hidden] = 1.0

    def _run(self, x, state, **settings):
        (y,) = super()._run(x, state, **settings)
        return tuple(ops.getitem(y, index=index) for index in range(2))


class GRUCell(_Cell):
    """h' = (1 - z) * n + z * h, where r, z are sigmoids of sums as in `RNNCell`, and, with r inside the sum,
    n = tanh(x @ weight_in + bias_in + r * (h @ weight_hn + bias_hn)).

    Cho et al. 2014, with the reset gate r applied after the product, as in PyTorch (and in Keras by default). The gates
    stand side by side in every parameter: r, z, n.

    Parameters
    ----------
    n_in, n_hidden, bias, init, recurrent_init, generator, dtype : as in `RNNCell`
    activation : str
        "tanh" or "relu", n's.

    Shape: x (n, n_in), h (n, n_hidden) -> (n, n_hidden).
    """

    _gates = 3

    def _run(self, x, state, steps=None, **settings):
        z, bias = _repeated(_affine(x, self.weight_ih, self.bias_ih), steps), self.bias_hh
        bias = fixed(zeros(z.shape[-1], dtype=self.weight_hh.dtype)) if bias is None else bias
        return (ops.gru(z, self.weight_hh, bias, *state, activation=self.activation, **settings),)


# -- sequences ------------------------------------------------------------------------------------------------------


class _Recurrent(Module):
    """What RNN, LSTM and GRU share: layers of cells, each run over the steps in one direction or both."""

    _cell = None

    def __init__(self, n_in, n_hidden, n_layers=1, *, bidirectional=False, generator=None, **settings):
        n_layers, rng = _size(type(self).__name__, "n_layers", n_layers), as_rng(generator)
        directions = ("forward", "reverse") if bidirectional else ("forward",)
        self.layers = []
        for k in range(n_layers):
            width = n_in if k == 0 else n_hidden * len(directions)
            self.layers.append({d: self._cell(width, n_hidden, generator=rng, **settings) for d in directions})

    def forward(self, x, state=None, *, lengths=None, steps=None):
        """(the last layer's outputs, the final state of every layer and direction); see the class."""
        cells = [(k, direction, cell) for k, layer in enumerate(self.layers) for direction, cell in layer.items()]
        first = cells[0][2]
        if steps is not None:
            steps = _size("recurrent", "steps", steps)
            if x.ndim != 2 or x.shape[1] != first.n_in:
                raise ShapeError(f"recurrent: x {x.shape}, expected (n, {first.n_in}) for steps={steps}.")
            x = ops.getitem(x, index=None)
        elif x.ndim != 3 or x.shape[2] != first.n_in or not x.shape[1]:
            raise ShapeError(f"recurrent: x {x.shape}, expected (n, steps, {first.n_in}) with at least one step.")
        else:
            x = ops.transpose(x, axes=(1, 0, 2))  # steps first: each step is one piece of memory
        mask = None
        if lengths is not None:
            length = steps or x.shape[0]
            lengths = _checked(lengths, x.shape[1], length)
            mask = ops.getitem(ops.lt(fixed(np.arange(length)[:, None]), lengths), index=(..., None))  # what is real
            x = ops.where(ops.getitem(mask, index=slice(x.shape[0])), x, 0.0)
            lengths = lengths._data if isinstance(lengths, Var) else lengths
        states = first._unpacked(state, (len(cells), x.shape[1]))
        finals, outputs = [], []
        for number, (k, direction, cell) in enumerate(cells):
            start = tuple(ops.getitem(s, index=number) for s in states)
            backwards = direction == "reverse"
            after = cell._run(x, start, steps=None if k else steps, lengths=lengths, reverse=backwards)
            finals.append([ops.getitem(s, index=0 if backwards else -1) for s in after])
            outputs.append(after[0] if mask is None else ops.where(mask, after[0], 0.0))
            if len(outputs) == len(self.layers[k]):
                x, outputs = outputs[0] if len(outputs) == 1 else ops.concat(*outputs, axis=-1), []
        state = tuple(ops.stack(*parts, axis=0) for parts in zip(*finals))
        return ops.transpose(x, axes=(1, 0, 2)), state if len(state) > 1 else state[0]

    def extra_repr(self):
        """n_in, n_hidden, and the settings that are not the default ones."""
        text, n = self.layers[0]["forward"].extra_repr(), len(self.layers)
        return text + f", n_layers={n}" * (n > 1) + ", bidirectional=True" * (len(self.layers[0]) > 1)


class RNN(_Recurrent):
    """`RNNCell` at every step of a sequence. Elman 1990.

    Parameters
    ----------
    n_in, n_hidden : int
        The lengths of a step's input and of the state.
    n_layers : int
        Each layer reads the outputs of the one before.
    bidirectional : bool
        Whether every layer has a second cell that runs from the end; outputs are both, side by side.
    activation : str
        "tanh" or "relu".
    bias, init, recurrent_init, generator, dtype : as in `RNNCell`

    ``layer(x, state=None, lengths=None, steps=None)`` returns (outputs, final state). state is what to start from
    (None: zeros), lengths how many steps of each row are real (None: all). With steps, x is one input for so many
    steps, as the decoder of a sequence autoencoder reads its code (Srivastava et al. 2015): one step's product.

    Shape: x (n, steps, n_in), or (n, n_in) with steps; lengths (n,) of integers -> outputs
    (n, steps, n_hidden * directions), state (n_layers * directions, n, n_hidden), ordered by layer, then forward,
    reverse.
    """

    _cell = RNNCell


class LSTM(_Recurrent):
    """`LSTMCell` at every step of a sequence. Hochreiter and Schmidhuber 1997.

    Parameters
    ----------
    n_in, n_hidden, n_layers, bidirectional, bias, init, recurrent_init, generator, dtype : as in `RNN`
    activation : str
        "tanh" or "relu", in place of both of the cell's tanh.

    ``layer(x, state=None, lengths=None, steps=None)`` returns (outputs, (h, c)), and takes such a pair as state.

    Shape: as `RNN`; h and c each as its state.
    """

    _cell = LSTMCell


class GRU(_Recurrent):
    """`GRUCell` at every step of a sequence. Cho et al. 2014.

    Parameters
    ----------
    n_in, n_hidden, n_layers, bidirectional, activation, bias, init, recurrent_init, generator, dtype : as in `RNN`

    ``layer(x, state=None, lengths=None, steps=None)`` returns (outputs, final state).

    Shape: as `RNN`.
    """

    _cell = GRUCell


def _repeated(z, steps):
    """z (1, n, gates) for all steps, or, if that is None, z."""
    return z if steps is None else ops.broadcast_to(z, shape=(steps, *z.shape[1:]))


def _checked(lengths, n, steps):
    """How many steps of each row are real, (n,)."""
    lengths = lengths if isinstance(lengths, Var) else fixed(np.asarray(lengths), of=lengths)
    if lengths.shape != (n,):
        raise ShapeError(f"recurrent: lengths {lengths.shape} for a batch of {n} rows, expected ({n},).")
    if n and lengths.dtype.kind not in "iu":
        raise DtypeError(f"recurrent: lengths of dtype {lengths.dtype}. Steps are counted by integers.")
    lengths = within(lengths, low=0, high=steps, error=partial(_no_lengths, steps))
    return lengths if lengths.dtype == np.int64 else cast(lengths, dtype=np.int64)


def _no_lengths(steps, lengths, outside):
    return AxisError(f"recurrent: lengths from {lengths.min()} to {lengths.max()} for rows of {steps} steps.")
