"""Recurrent layers: against loops over rows and steps, their lengths, states and directions, gradients, errors."""

import copy
import pickle

import numpy as np
import pytest

from tinyae import Tensor, gradcheck, nn, ops
from tinyae.errors import AxisError, DtypeError, SettingError, ShapeError
from tinyae.ops import recurrent

KINDS = ("RNN", "LSTM", "GRU")
each = pytest.mark.parametrize("kind", KINDS)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def stepped(kind, cell, x, state, act):
    """One step of one row, gate by gate. x (n_in,), state a tuple of (n_hidden,)."""
    n = cell.n_hidden
    columns = [slice(k, k + n) for k in range(0, cell.weight_hh.shape[1], n)]
    bias_ih, bias_hh = (np.zeros(4 * n) if b is None else b.data for b in (cell.bias_ih, cell.bias_hh))
    of_x = [x @ cell.weight_ih.data[:, c] + bias_ih[c] for c in columns]
    of_h = [state[0] @ cell.weight_hh.data[:, c] + bias_hh[c] for c in columns]
    if kind == "RNN":
        return (act(of_x[0] + of_h[0]),)
    if kind == "GRU":
        r, z = logistic(of_x[0] + of_h[0]), logistic(of_x[1] + of_h[1])
        return ((1 - z) * act(of_x[2] + r * of_h[2]) + z * state[0],)
    i, f, g, o = (a + b for a, b in zip(of_x, of_h))
    c = logistic(f) * state[1] + logistic(i) * act(g)
    return logistic(o) * act(c), c


def by_hand(kind, layer, x, states, lengths, act):
    """(outputs, states) row by row: each row is cut to its length, so nothing here knows of masks."""
    n, steps, _ = x.shape
    finals = [s.copy() for s in states]
    inputs = [x[row, : lengths[row]] for row in range(n)]
    number = 0
    for directions in layer.layers:
        outputs = [[] for _ in range(n)]
        for direction, cell in directions.items():
            for row in range(n):
                state, found = tuple(s[number, row] for s in states), []
                for t in range(lengths[row])[:: -1 if direction == "reverse" else 1]:
                    state = stepped(kind, cell, inputs[row][t], state, act)
                    found.append(state[0])
                outputs[row].append(np.array(found[:: -1 if direction == "reverse" else 1]).reshape(-1, cell.n_hidden))
                for final, s in zip(finals, state):
                    final[number, row] = s
            number += 1
        inputs = [np.concatenate(parts, axis=1) for parts in outputs]
    y = np.zeros((n, steps, inputs[0].shape[1]))
    for row in range(n):
        y[row, : lengths[row]] = inputs[row]
    return y, finals


def made(kind, *arguments, **settings):
    """A float64 layer whose biases are not 0."""
    layer = getattr(nn, kind)(*arguments, generator=0, dtype=np.float64, **settings)
    rng = np.random.default_rng(1)
    for name, p in layer.named_parameters():
        if "bias" in name:
            p.data = rng.standard_normal(p.shape)
    return layer


def as_user(states):
    return states[0] if len(states) == 1 else tuple(states)


# -- values ---------------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("lengths", [None, [5, 1, 0, 3]])
@pytest.mark.parametrize(
    "settings", [{}, {"n_layers": 2}, {"bidirectional": True}, {"n_layers": 2, "bidirectional": True, "bias": False}],
    ids=str,
)  # fmt: skip
def test_layer_is_its_loop(rng, kind, settings, lengths, activation):
    layer = made(kind, 3, 2, activation=activation, **settings)
    n_states, n_cells = 1 + (kind == "LSTM"), sum(map(len, layer.layers))
    x = rng.standard_normal((4, 5, 3))
    act = np.tanh if activation == "tanh" else lambda x: np.maximum(x, 0)
    for start in (None, [rng.standard_normal((n_cells, 4, 2)) for _ in range(n_states)]):
        zeros = [np.zeros((n_cells, 4, 2))] * n_states
        expected, finals = by_hand(kind, layer, x, start or zeros, lengths or [5] * 4, act)
        y, state = layer(Tensor(x), start and as_user(start), lengths=lengths)
        np.testing.assert_allclose(y.data, expected, rtol=1e-10, atol=1e-12)
        states = state if kind == "LSTM" else (state,)
        assert len(states) == len(finals)
        for s, f in zip(states, finals):
            np.testing.assert_allclose(s.data, f, rtol=1e-10, atol=1e-12)


@each
def test_a_layer_is_its_cell_at_every_step(rng, kind):
    layer = made(kind, 3, 2)
    cell, x = layer.layers[0]["forward"], rng.standard_normal((4, 5, 3))
    state, outputs = None, []
    for t in range(5):
        state = cell(Tensor(x[:, t]), state)
        outputs.append((state[0] if kind == "LSTM" else state).data)
    y, final = layer(Tensor(x))
    np.testing.assert_allclose(y.data, np.stack(outputs, axis=1), rtol=1e-12)
    for a, b in zip(final if kind == "LSTM" else [final], state if kind == "LSTM" else [state]):
        np.testing.assert_allclose(a.data[0], b.data, rtol=1e-12)


@each
def test_a_sequence_in_two_pieces(rng, kind):
    layer, x = made(kind, 3, 2, n_layers=2), rng.standard_normal((4, 6, 3))
    whole, final = layer(Tensor(x))
    first, state = layer(Tensor(x[:, :2]))
    second, state = layer(Tensor(x[:, 2:]), state)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], axis=1), whole.data, rtol=1e-12)
    for mine, theirs in zip(*([*s] if isinstance(s, tuple) else [s] for s in (state[-1], final[-1]))):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-12)


@each
def test_what_stands_in_the_padding_is_not_read(rng, kind):
    layer = made(kind, 3, 2, n_layers=2, bidirectional=True)
    x, lengths = rng.standard_normal((3, 5, 3)), np.array([2, 5, 0])
    spoilt = np.where(np.arange(5)[:, None] < lengths[:, None, None], x, np.nan)
    results = []
    for values in (x, spoilt):
        leaf = Tensor(values, requires_grad=True)
        layer.zero_grad()
        y, _ = layer(leaf, lengths=lengths)
        (y * np.arange(60).reshape(y.shape)).sum().backward()
        results.append([y.data, leaf.grad.data, *(p.grad.data for p in layer.parameters())])
    for a, b in zip(*results):
        assert np.array_equal(a, b) and np.isfinite(a).all()
    assert not results[0][1][0, 2:].any() and not results[0][0][0, 2:].any()


@each
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_any_number_of_steps_and_no_rows(kind, steps):
    layer = made(kind, 3, 2, bidirectional=True)
    for lengths in (None, []):
        y, state = layer(np.zeros((0, steps, 3)), lengths=lengths)
        assert y.shape == (0, steps, 4) and np.shape(state[-1])[-2:] == (0, 2)
    assert layer(np.zeros((1, steps, 3)))[0].shape == (1, steps, 4)


@each
@pytest.mark.parametrize("lengths", [None, [5, 1, 0, 3]])
def test_one_input_for_all_steps(rng, kind, lengths):
    """steps=5 is the same input five times, in values and in gradients."""
    layer, x = made(kind, 3, 2, n_layers=2, bidirectional=True), rng.standard_normal((4, 3))
    code, results = Tensor(x, requires_grad=True), []
    for settings, given in (({"steps": 5}, code), ({}, ops.broadcast_to(code[:, None], shape=(4, 5, 3)))):
        layer.zero_grad()
        code.grad = None
        y, _ = layer(given, lengths=lengths, **settings)
        (y * np.arange(80.0).reshape(y.shape)).sum().backward()
        results.append([y.data, code.grad.data, *(p.grad.data for p in layer.parameters())])
    for one, repeated in zip(*results):
        np.testing.assert_allclose(one, repeated, rtol=1e-10, atol=1e-10)
    with pytest.raises(ShapeError, match=r"x \(4, 5, 3\), expected \(n, 3\) for steps=5"):
        layer(np.zeros((4, 5, 3)), steps=5)
    with pytest.raises(SettingError, match="steps"):
        layer(x, steps=0)


# -- gradients ------------------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("lengths", [None, [3, 1]])
def test_gradients(rng, kind, lengths):
    layer = made(kind, 2, 2, n_layers=2, bidirectional=True)
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *values):
        y, state = nn.functional_call(layer, dict(zip(names, values)), x, lengths=lengths)
        states = state if kind == "LSTM" else [state]
        return y.sum(axis=(1, 2)) + sum(s.sum(axis=(0, 2)) for s in states)

    gradcheck(function, rng.standard_normal((2, 3, 2)), *[p.data for p in layer.parameters()], order=2, directions=1)


@each
def test_gradient_of_the_start(rng, kind):
    layer, x = made(kind, 2, 3), rng.standard_normal((2, 4, 2))
    starts = [rng.standard_normal((1, 2, 3)) for _ in range(1 + (kind == "LSTM"))]
    gradcheck(lambda *s: layer(x, as_user(s), lengths=[4, 2])[0], *starts, order=2, directions=1)


@each
def test_cell_gradients(rng, kind):
    cell = getattr(nn, f"{kind}Cell")(3, 2, generator=0, dtype=np.float64)
    states = [rng.standard_normal((4, 2)) for _ in range(1 + (kind == "LSTM"))]
    names = [name for name, _ in cell.named_parameters()]

    def function(x, *rest):
        given, values = rest[: len(states)], rest[len(states) :]
        y = nn.functional_call(cell, dict(zip(names, values)), x, as_user(given))
        return y[0] * y[1] if kind == "LSTM" else y

    gradcheck(function, rng.standard_normal((4, 3)), *states, *[p.data for p in cell.parameters()], order=2)


def test_long_sequences_cost_in_proportion():
    """Steps are cut out by halves: a cut that fills zeros around every step alone would cost steps squared."""
    parts = recurrent._parts(Tensor(np.arange(48.0).reshape(12, 4), requires_grad=True), 12, 0)
    depth = {}

    def depth_of(node):
        return 0 if node.op is None else 1 + depth_of(node.parents[0])

    for part in parts:
        depth[part.shape] = max(depth.get(part.shape, 0), depth_of(part._node))
    assert depth == {(1, 4): 4}
    assert [p.data[0, 0] for p in parts] == list(range(0, 48, 4))
    assert [p.shape for p in recurrent._parts(np.zeros((2, 9)), 3, -1)] == [(2, 3)] * 3


# -- parameters -----------------------------------------------------------------------------------------------------


def test_names():
    assert [name for name, _ in nn.GRU(3, 2, bidirectional=True).named_parameters()][4:] == [
        f"layers.0.reverse.{which}" for which in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]  # fmt: skip
    assert len(list(nn.LSTM(3, 2, 3, bias=False).parameters())) == 6


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("LSTM", 4), ("GRU", 3)])
def test_starts(kind, gates):
    cell = getattr(nn, f"{kind}Cell")(40, 30, generator=0, dtype=np.float64)
    assert cell.weight_ih.shape == (40, gates * 30) and cell.weight_hh.shape == (30, gates * 30)
    assert cell.bias_ih.shape == cell.bias_hh.shape == (gates * 30,)
    for part in np.split(cell.weight_hh.data, gates, axis=1):
        np.testing.assert_allclose(part.T @ part, np.eye(30), atol=1e-12)
    bound = np.sqrt(6 / 70)
    assert 0.98 * bound < np.abs(cell.weight_ih.data).max() <= bound
    assert not cell.bias_hh.data.any()
    expected = np.zeros(gates * 30)
    if kind == "LSTM":
        expected[30:60] = 1  # the forget gate's
    assert np.array_equal(cell.bias_ih.data, expected)
    other = getattr(nn, kind)(4, 3, init="zeros", recurrent_init="identity", generator=0)
    assert not other.layers[0]["forward"].weight_ih.data.any()
    assert other.layers[0]["forward"].weight_hh.tolist() == np.tile(np.eye(3), gates).tolist()


@each
def test_float32_stays_and_copies_compute_the_same(rng, kind):
    layer = getattr(nn, kind)(3, 2, 2, bidirectional=True, generator=0)
    x = Tensor(rng.standard_normal((2, 4, 3)), dtype=np.float32)
    y, state = layer(x, lengths=[4, 2])
    assert y.dtype == state[-1].dtype == np.float32
    y.sum().backward()
    for duplicate in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert np.array_equal(duplicate(x, lengths=[4, 2])[0].data, y.data)
    assert layer.astype(np.float64)(x.astype(np.float64))[0].dtype == np.float64


def test_repr_and_summary():
    assert repr(nn.RNNCell(3, 2)) == "RNNCell(3, 2)"
    assert repr(nn.GRUCell(3, 2, activation="relu", bias=False)) == "GRUCell(3, 2, activation='relu', bias=False)"
    layer = nn.LSTM(3, 2, n_layers=2, bidirectional=True)
    assert repr(layer).startswith("LSTM(3, 2, n_layers=2, bidirectional=True)\n".replace(")\n", "\n"))
    assert "(layers.1.reverse): LSTMCell(4, 2)" in repr(layer)
    assert "output (n, 5, 4), (4, 2, 2), (4, 2, 2)" in layer.summary((5, 3))


def test_computed_weights_of_a_recurrent_layer_are_computed_once_a_call():
    net, calls = nn.RNN(2, 3, generator=0), []

    def counted(w):
        calls.append(1)
        return nn.unit_norm(w)

    nn.parametrise(net.layers[0]["forward"], "weight_hh", counted)
    calls.clear()
    net(np.ones((1, 20, 2), np.float32))
    assert len(calls) <= 2  # once for its dtype


# -- what they refuse -----------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize(
    ("x", "settings", "error", "text"),
    [
        ((4, 3), {}, ShapeError, r"recurrent: x \(4, 3\), expected \(n, steps, 3\)"),
        ((4, 5, 2), {}, ShapeError, r"x \(4, 5, 2\)"),
        ((4, 0, 3), {}, ShapeError, "at least one step"),
        ((4, 5, 3), {"lengths": [5, 5]}, ShapeError, r"lengths \(2,\) for a batch of 4 rows, expected \(4,\)"),
        ((4, 5, 3), {"lengths": 5}, ShapeError, r"lengths \(\)"),
        ((4, 5, 3), {"lengths": [5, 5, 5, 6]}, AxisError, "from 5 to 6 for rows of 5 steps"),
        ((4, 5, 3), {"lengths": [-1, 5, 5, 5]}, AxisError, "from -1 to 5"),
        ((4, 5, 3), {"lengths": [1.0, 5, 5, 5]}, DtypeError, "lengths of dtype float64"),
        ((4, 5, 3), {"state": np.zeros((4, 2))}, ShapeError, r"state: .*, expected \(1, 4, 2\)"),
        ((4, 5, 3), {"state": (np.zeros((1, 4, 2)), np.zeros((1, 4, 1)))}, ShapeError, r"expected \(1, 4, 2\)"),
    ],
)
def test_refusals(kind, x, settings, error, text):
    with pytest.raises(error, match=rf"{kind}\(3, 2\): .*{text}"):
        getattr(nn, kind)(3, 2)(np.zeros(x, np.float32), **settings)


@each
def test_settings_are_checked(kind):
    make, cell = getattr(nn, kind), getattr(nn, f"{kind}Cell")
    for bad in ({"activation": "sigmoid"}, {"activation": None}, {"generator": -1}, {"init": "xavier"}):
        with pytest.raises(SettingError):
            make(3, 2, **bad)
    for arguments in ((0, 2), (3, 0), (3, 2, 0), (3, 2.0)):
        with pytest.raises(SettingError, match="at least 1"):
            make(*arguments)
    with pytest.raises(ShapeError, match=rf"{kind}Cell\(3, 2\): cell: x \(4, 2\), expected \(n, 3\)"):
        cell(3, 2)(np.zeros((4, 2)))
    with pytest.raises(ShapeError, match=r"state: .*, expected \(4, 2\)"):
        cell(3, 2)(np.zeros((4, 3)), np.zeros((3, 2)))
