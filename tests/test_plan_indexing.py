"""tinyae/plan/indexing.py: an index that is given or computed is read anew in every run, and never frozen."""

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops
from tinyae.errors import PlanError

BACKENDS = ["numpy", *["c"] * (kernels.info()["backend"] == "c")]
X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
Y = np.array([2, 0, 1, 2])

INDEXED = {
    "rows": lambda x, i: x[i],
    "rows from the end": lambda x, i: x[i - 3],
    "columns": lambda x, i: x[:, i],
    "columns of some rows": lambda x, i: x[1:, i, ::-1],
    "behind dots": lambda x, i: x[..., [1, 0, 1]],
    "one of each row": lambda x, i: x[np.arange(len(i)), i],
    "one of each row of one column": lambda x, i: x[..., 1][range(4), i],
    "pairs": lambda x, i: x[i, i],
    "a grid": lambda x, i: x[i[:, None], i],
    "numbers of two axes": lambda x, i: x[i.reshape(2, 2)],
    "a list": lambda x, i: x[[2, 0]],
    "a list of columns": lambda x, i: x[:, [0, 2, 2]],
    "lists of pairs": lambda x, i: x[[0, 1], [2, 1]],
    "what was computed": lambda x, i: x[ops.argmax(x[:, :, 0] * 1.0, axis=1)],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", INDEXED)
def test_an_index_is_of_this_run(name, backend):
    def step(x, i):
        x.requires_grad_(True)
        value = INDEXED[name](x, i)
        return value, tinyae.grad(ops.sum(ops.square(value)), x)

    compiled = tinyae.compile(step, backend=backend)
    for k in range(4):
        x, i = X + k, np.roll(Y, k)
        for got, expected in zip(compiled(x, i), step(tinyae.Tensor(x), tinyae.Tensor(i))):
            np.testing.assert_array_equal(got.data, expected.data)
    assert len(compiled.plans) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_number_out_of_range_is_refused_in_a_later_run_too(backend):
    compiled = tinyae.compile(lambda x, i: x[np.arange(4), i].sum(), backend=backend)
    for _ in range(3):
        compiled(X, Y)
    with pytest.raises(IndexError):
        compiled(X, Y + 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_table_of_weights(backend):
    """Rows of a parameter: those that are not read have the gradient 0, those read twice that of both."""
    table = nn.Parameter(X[:, :, 0])

    def step(i):
        table.grad = None
        table[i].sum().backward()
        return table.grad

    compiled = tinyae.compile(step, backend=backend)
    for k in range(4):
        expected = np.zeros((4, 3), np.float32)
        np.add.at(expected, np.roll(Y, k)[:3], 1.0)
        np.testing.assert_array_equal(compiled(np.roll(Y, k)[:3]).data, expected)


@pytest.mark.parametrize("index", [np.array([2, 0]), np.array([True, False, True, True])], ids=["numbers", "mask"])
def test_an_array_from_outside_is_no_index_that_a_plan_knows(index):
    with pytest.raises(PlanError, match=r"index holds an array of shape"):
        tinyae.compile(lambda x: x[index])(X)


def test_a_mask_that_changes_is_refused():
    """How much it leaves is not known before it is looked at."""
    with pytest.raises(PlanError, match="an index"):
        tinyae.compile(lambda x: x[x > 3])(X)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_of_what_is_not_used_is_zero_in_every_run(backend):
    weight = nn.Parameter(np.ones((3, 2)))

    def step(x):
        x.requires_grad_(True)
        return tinyae.grad(x.sum() * 2.0, [weight, x], allow_unused=True)

    compiled = tinyae.compile(step, backend=backend)
    for _ in range(3):
        unused, used = compiled(np.asfortranarray(X[0]))
        assert np.array_equal(unused.data, np.zeros((3, 2))) and np.array_equal(used.data, np.full((3, 2), 2.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_view_of_a_declared_array_is_declared(backend):
    """As the gradient of a product with it needs; whatever it is itself a view of."""
    weight = nn.Parameter(np.ones((4, 3), np.float32))
    mix = tinyae.constant(np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)[:, ::2].T)
    assert not mix.flags.writeable

    def step(x):
        weight.grad = None
        loss = ops.sum(ops.square((x @ weight) @ mix * mix[0]))
        loss.backward()
        return weight.grad

    compiled, x = tinyae.compile(step, backend=backend), X[:, :, 0].T
    for _ in range(3):
        np.testing.assert_allclose(compiled(x).data, step(tinyae.Tensor(x)).data, rtol=1e-5)
