"""tinyae/plan: what once was lowered to something that never ended, read other memory, or counted wrongly."""

import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import tinyae
from tinyae import kernels, nn, ops, optim

BACKENDS = ["numpy", *["c"] * (kernels.info()["backend"] == "c")]


def grid(*shape):
    return np.linspace(-1.5, 2.0, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def same_as_eager(function, *arrays, backend, rtol=1e-5):
    """What a plan gives for arrays is what eager gives; asked three times, and of the values at the third call."""
    step = tinyae.compile(function, backend=backend)
    expected = function(*map(tinyae.Tensor, arrays)).data
    for _ in range(3):
        np.testing.assert_allclose(step(*arrays).data, expected, rtol=rtol, atol=rtol * np.abs(expected).max())
    return next(iter(step.plans.values()))[0]


# -- chains ---------------------------------------------------------------------------------------------------------

NORM = nn.LayerNorm(5)
CLASHES = {
    "two kinds of broadcast": (lambda x, b: ops.broadcast_to(x, shape=(2, 2, 3)) + b, (2, 3), (3,)),
    "a row and a column": (lambda x, b: x[:, None] * b, (4,), (6,)),
    "three lengths": (lambda x, b: (x[:, None, None] + b[None, :, None]) * 2 + x, (4,), (4,)),
    "layer norm, then the mean over the batch": (lambda x, w: (NORM(x) * w).mean(axis=0), (4, 3, 5), (5,)),
    "a repeated middle": (lambda x, b: ops.broadcast_to(x[:, None], shape=(2, 3, 4)) - b[:, None], (2, 4), (3,)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CLASHES)
def test_operands_of_different_lengths_end(name, backend):
    function, *shapes = CLASHES[name]
    same_as_eager(function, *[grid(*shape) for shape in shapes], backend=backend)


def test_a_chain_that_takes_nothing_in_is_computed_by_python(monkeypatch):
    """The bound of the loop over what is to be placed: whoever takes nothing in is placed alone."""
    from tinyae.plan import chains

    monkeypatch.setattr(chains.Chain, "take", lambda *_: False)
    plan = same_as_eager(lambda x: ops.exp(x) + 1, grid(3), backend=BACKENDS[-1])
    assert {item.kind for item in plan.machine.lowered.items} == {"host"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_operands_and_results_than_a_chain_has_room_for(backend):
    def wide(*xs):
        y = xs[0] * 2
        for x in xs[1:]:
            y = y + x * 1.5
        return y

    same_as_eager(wide, *[grid(3, 2) + k for k in range(60)], backend=backend)

    def many(x):
        return ops.stack(*[x * float(k) for k in range(60)])

    same_as_eager(many, grid(3), backend=backend)


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3)])
def test_it_ends_for_every_pair_of_broadcasts(shape):
    """In a process of its own, which may take a minute and 6 GB, since what is asked is whether it ends."""
    code = f"""if True:
        import itertools, numpy as np, tinyae
        from tinyae import ops
        full = (2, *{shape}, 3)
        cut = [tuple(n if keep else 1 for n, keep in zip(full, bits)) for bits in itertools.product((0, 1), repeat=len(full))]
        for a, b in itertools.product(cut, cut):
            f = tinyae.compile(lambda x, y, z: ops.tanh(ops.broadcast_to(x, shape=full) + y) * z + x)
            arrays = [np.full(s, k + .5, np.float32) for k, s in enumerate((a, b, full))]
            for _ in range(3):
                y = f(*arrays)
            assert np.allclose(y.data, np.tanh(2.0) * 2.5 + .5), (a, b)
        """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# -- memory ---------------------------------------------------------------------------------------------------------


def layouts(x):
    """x in every layout that an array can have, by name."""
    twice = np.repeat(x, 2, axis=-1)
    twice[..., 1::2] += 7
    padded = np.full([n + 2 for n in x.shape], 9, x.dtype)
    inner = padded[tuple(slice(1, -1) for _ in x.shape)]
    inner[...] = x
    odd = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    yield from {
        "every other": twice[..., ::2], "reversed": x[..., ::-1].copy()[..., ::-1], "inside": inner, "unaligned": odd,
        "columns first": np.asfortranarray(x), "read-only": frozen, "other bytes": x.astype(x.dtype.newbyteorder()),
        "transposed": np.ascontiguousarray(x.T).T, "plain": x,
    }.items()  # fmt: skip


HOST = {  # operations that Python does between two pieces of a plan, and one that C does
    "roll": lambda x: ops.roll(x, shift=1, axis=0),
    "cumsum": lambda x: ops.cumsum(x, axis=0),
    "topk": lambda x: ops.topk(x, k=2, axis=0)[0],
    "sum": lambda x: ops.sum(ops.exp(x), axis=0) * 1.0,
    "itself": lambda x: x,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 6), (4, 5), (2, 3, 2)])
@pytest.mark.parametrize("name", HOST)
def test_an_argument_of_any_layout_is_read_as_it_is(name, shape, backend):
    if shape[0] < 2 and name == "topk":
        return
    step, x = tinyae.compile(HOST[name], backend=backend), grid(*shape)
    for _ in range(3):
        step(x)
    for k, (layout, _) in enumerate(layouts(x)):
        now = dict(layouts(x + k))[layout]
        expected = HOST[name](tinyae.Tensor(x + k)).data
        np.testing.assert_allclose(step(now).data, expected, rtol=1e-6, err_msg=layout)
    zero = np.broadcast_to(np.float32(3), shape)
    np.testing.assert_allclose(step(zero).data, HOST[name](tinyae.Tensor(zero.copy())).data, rtol=1e-6)


WRITES = {
    "reversed": (..., lambda b: b[::-1]), "shifted up": (slice(1, None), lambda b: b[:-1]),
    "shifted down": (slice(None, -1), lambda b: b[1:]), "every other": (slice(0, 2), lambda b: b[::2]),
    "repeated": (..., lambda b: ops.broadcast_to(b[1], shape=b.shape)),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("shape", [(4,), (4, 4)])
def test_a_write_that_reads_what_it_writes_over(name, shape, backend):
    index, value = WRITES[name]
    start = grid(*shape)
    planned, eager = tinyae.Tensor(start), tinyae.Tensor(start)
    step = tinyae.compile(lambda x: (tinyae.assign(planned, value(planned), index), planned * x)[1], backend=backend)
    for k in range(4):
        x = np.float32(k)
        tinyae.assign(eager, value(eager), index)
        np.testing.assert_array_equal(step(x).data, (eager * float(x)).data)
        np.testing.assert_array_equal(planned.data, eager.data)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_matrix_becomes_its_transpose_in_place(backend):
    b = tinyae.Tensor(start := grid(3, 3))
    step = tinyae.compile(lambda x: (tinyae.assign(b, b.T), b + x)[1], backend=backend)
    for k in range(5):
        np.testing.assert_array_equal(step(np.float32(0)).data, start.T if k % 2 == 0 else start)


# -- optimizers -----------------------------------------------------------------------------------------------------

COUNTING = [optim.Adam, optim.AdamW, lambda p, lr: optim.Adagrad(p, lr=lr, lr_decay=0.1)]


def run(rule, compiled, backend=None):
    """A trunk and two heads over 24 steps: heads by keyword, a layer frozen and thawed, a second step over the same
    optimizer, two updates in one."""
    trunk, a, b = (nn.Linear(4, 4, generator=k) for k in range(3))
    optimizer = rule([*trunk.parameters(), *a.parameters(), *b.parameters()], lr=0.05)
    x = grid(4, 4)

    def step(x, *, head):
        optimizer.zero_grad()
        loss = nn.mse((a if head == "a" else b)(ops.tanh(trunk(x))), x)
        loss.backward()
        optimizer.step()
        return loss

    def twice(x):
        for _ in range(2):
            optimizer.zero_grad()
            loss = nn.mse(a(ops.tanh(trunk(x))), x)
            loss.backward()
            optimizer.step()
        return loss

    if compiled:
        step, twice = (tinyae.compile(f, backend=backend) for f in (step, twice))
    for i in range(24):
        if i in (9, 15):
            trunk.requires_grad_(i == 15)
        if i % 4 == 3:
            twice(x if compiled else tinyae.Tensor(x))
        else:
            step(x if compiled else tinyae.Tensor(x), head="ab"[i // 3 % 2])
    arrays = [p.data for p in optimizer.parameters]
    return arrays, [optimizer.state[p]["step"] for p in optimizer.parameters]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", COUNTING)
def test_steps_are_counted_per_parameter(rule, backend):
    (expected, steps), (found, counted) = run(rule, False), run(rule, True, backend)
    assert counted == steps and len(set(steps)) == 3
    for a, b in zip(found, expected):  # 30 updates, each of which may round otherwise
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.0, 1e-3, 0.5])
def test_adam_with_small_betas_forgets(beta, dtype):
    """v + (g g - v) would leave the rounding error of a large v in a small one."""
    p = tinyae.Tensor(np.zeros(5, dtype), requires_grad=True)
    optimizer = optim.Adam([p], lr=1.0, betas=(beta, beta))
    m = v = x = 0.0
    for t, g in enumerate((1.0, 1e-4, 1e-4, 1e-8), 1):
        p.grad = np.full(5, g, dtype)
        optimizer.step()
        m, v = beta * m + (1 - beta) * g, beta * v + (1 - beta) * g * g
        x -= m / (1 - beta**t) / (np.sqrt(v / (1 - beta**t)) + 1e-8)
    # each step is of the order of 1, and exact to a few roundings of what it is made of
    np.testing.assert_allclose(p.data, x, rtol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, np.inf])
def test_gradients_are_clipped_alike_however_large(norm_type, backend):
    ps = [tinyae.Tensor(np.zeros(n, dtype), requires_grad=True)
          for n, dtype in ((3, np.float32), (4, np.float64), (0, np.float32))]  # fmt: skip

    def step(x):
        for p in ps:
            p.grad = None
        loss = (ps[0] * x).sum() + (ps[1] * ops.cast(x[0], dtype=np.float64)).sum() + ps[2].sum()
        loss.backward()
        norm = optim.clip_grad_norm_(ps, 0.5, norm_type)
        return norm if isinstance(norm, tinyae.Tensor) else tinyae.Tensor(norm), [p.grad for p in ps]

    compiled = tinyae.compile(step, backend=backend)
    for x in (1.0, 1.0, 1.0, 1e-3, 1e30, 1e-30, 0.0):
        x = np.array([x, 2 * x, -3 * x], np.float32)
        norm, gradients = compiled(x)
        expected, others = step(tinyae.Tensor(x))
        np.testing.assert_allclose(norm.item(), expected.item(), rtol=1e-6)
        for a, b in zip(gradients, others):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a.data, b.data, rtol=1e-6)


NUMBERS = {
    "sum": lambda y: ops.sum(y, axis=0), "mean": lambda y: ops.mean(y, axis=-1), "max": lambda y: ops.max(y, axis=0),
    "argmax": lambda y: ops.argmax(y, axis=0) * y, "softmax": lambda y: ops.softmax(y) * y,
    "log_softmax": lambda y: ops.log_softmax(y, axis=0) + y, "logsumexp": lambda y: ops.logsumexp(y, axis=0),
    "cumsum": ops.cumsum, "pad": lambda y: ops.pad(y, widths=1), "var": lambda y: ops.var(y, axis=0),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_said_to_have_an_axis(name, backend):
    """As NumPy takes it, so do the ops, and so does a plan, forward and back."""

    def step(y):
        y.requires_grad_(True)
        value = NUMBERS[name](y)
        return value, tinyae.grad(ops.sum(value * 1.5), y)

    compiled = tinyae.compile(step, backend=backend)
    for y in np.float32([0.5, -1.0, 2.0]):
        for a, b in zip(compiled(y), step(tinyae.Tensor(y))):
            assert a.shape == b.shape and a.dtype == b.dtype and np.allclose(a.data, b.data, rtol=1e-6, atol=1e-7)


# -- a fork ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_child_of_a_fork_goes_on_with_a_plan_that_another_thread_was_running():
    w = nn.Parameter(np.ones(64, np.float32))
    optimizer = optim.SGD([w], lr=1e-3)

    @tinyae.compile
    def step(x):  # without a product: NumPy's BLAS has threads of its own, which a fork may stop for ever
        optimizer.zero_grad()
        loss = nn.mse(ops.tanh(x * w), x)
        loss.backward()
        optimizer.step()
        return loss

    x, stop = grid(512, 64), threading.Event()
    for _ in range(12):
        step(x)

    def work():
        while not stop.is_set():
            step(x)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(8):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python 3.12 and later say that a fork beside threads is unwise
                child = os.fork()
            if not child:
                signal.alarm(20)  # ends a child that waits for ever
                step(x)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
