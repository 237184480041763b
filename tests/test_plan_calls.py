"""tinyae/plan: what a compiled step is given, call by call, and what must be noticed between two calls."""

import gc

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops, optim
from tinyae.errors import PlanError
from tinyae.plan import capture

BACKENDS = ["numpy", *["c"] * (kernels.info()["backend"] == "c")]
X = np.random.default_rng(0).random((8, 6), dtype=np.float32)


def trainer(rule=optim.Adam, backend=None, **settings):
    """(a net, its optimizer, a plain step, the same compiled), always from the same start."""
    net, start = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6)), np.random.default_rng(1)
    for p in net.parameters():
        p.data = start.uniform(-0.5, 0.5, p.shape).astype(np.float32)
    optimizer = rule(net.parameters(), lr=0.01, **settings)

    def step(x):
        optimizer.zero_grad()
        loss = nn.mse(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

    return net, optimizer, step, tinyae.compile(step, backend=backend)


def weights(net):
    return np.concatenate([value.ravel() for value in net.state_dict().values()])


# -- what is given --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_any_layout_are_the_same_batch(backend):
    """The other order of bytes, strides, an odd address: what is computed are the values."""
    odd = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    odd[...] = X
    given = [X, X.astype(">f4"), np.asfortranarray(X), odd, X.copy(), tinyae.Tensor(X), X[::-1][::-1], X.tolist()]
    (_, _, step, _), (net, _, _, compiled) = trainer(), trainer(backend=backend)
    for x in (X, X, X, *given):
        x = np.array(x, np.float32) if isinstance(x, list) else x
        assert compiled(x).item() == pytest.approx(step(tinyae.Tensor(X)).item(), rel=1e-5)
    assert len(compiled.plans) == 1


def test_data_of_the_other_order_of_bytes_is_gone_over():
    (net, _, _, compiled), (other, _, _, reference) = trainer(), trainer()
    for run, data in ((compiled, X.astype(">f4")), (reference, X)):
        for _ in range(4):
            for _ in run.over(tinyae.data.batches(data, 2)):
                pass
    assert np.allclose(weights(net), weights(other), rtol=1e-5)
    assert len(compiled.plans) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_state_with_strides_is_refused(backend):
    outside = tinyae.Tensor(np.ones((6, 6), np.float32))
    outside = (outside * np.triu(np.ones((6, 6), np.float32))).T.detach()
    step = tinyae.compile(lambda x: ops.sum(x @ outside), backend=backend)
    with pytest.raises(PlanError, match=r"test_plan_calls.py:\d+ .*ops.sum.* shape \(6, 6\).*np.ascontiguousarray"):
        step(X)
    outside = tinyae.Tensor(np.ascontiguousarray(outside.data))
    for _ in range(3):
        assert step(X).item() == pytest.approx(float((X @ outside.data).sum()), rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_that_are_not_finite_agree(backend):
    """A scale of NaN would find nothing near, and one of infinity everything."""
    batch = np.where(X > 0.5, X, np.float32(np.nan))
    step = tinyae.compile(lambda x: (ops.exp(x * 3), ops.sum(ops.tanh(x), axis=0)), backend=backend)
    expected = np.exp(batch * 3)
    for _ in range(3):
        np.testing.assert_allclose(step(batch)[0].data, expected, rtol=1e-5)
    changing = iter([1.0, 2.0])
    step = tinyae.compile(lambda x: x * next(changing), backend=backend)
    batch = np.where(X > 0.5, X, np.float32(np.inf))
    step(batch)
    with pytest.raises(PlanError, match="changes from call to call"):
        step(batch)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_that_are_not_finite_agree(backend):
    net, _, _, compiled = trainer(optim.SGD, backend)
    net[2].bias._data[0] = np.nan
    for _ in range(3):
        assert np.isnan(compiled(X).item())
    net, _, _, compiled = trainer(optim.SGD, backend)
    compiled(X)
    ((plan,),) = compiled.plans.values()
    run = plan.run

    def spoilt(arrays):
        values = run(arrays)
        net[0].weight._data[0, 0] = np.nan  # what the step as ever does not say
        return values

    plan.run = spoilt
    with pytest.raises(PlanError, match=r"0.weight, \(6, 3\), went .* and ends nan off"):
        compiled(X)


def test_what_is_declared_is_not_kept():
    before = len(capture._declared)
    table = tinyae.constant(np.ones(6, np.float32))
    assert len(capture._declared) == before + 1
    del table
    gc.collect()
    assert len(capture._declared) == before
