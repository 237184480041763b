"""Random small training steps, as ever and as a plan: element-wise chains, broadcasts, reductions, products, views,
assigns and noise. At least 95 % of them run wholly in C; the share is printed (``pytest -s``).
"""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import tinyae
from tinyae import kernels, nn, ops, optim

BACKENDS = ["numpy", *(["c"] if kernels.info()["backend"] == "c" else [])]
UNARY = [ops.exp, ops.tanh, ops.sigmoid, ops.relu, ops.softplus, ops.square, ops.neg, ops.abs, ops.gelu, ops.silu,
         ops.erf, ops.sin, ops.log_softmax, ops.softmax]  # fmt: skip
BINARY = [ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum, lambda a, b: a / (1.5 + ops.sigmoid(b)),
          lambda a, b: ops.where(a > b, a, 2.0 * b)]  # fmt: skip
NUMBERS = [0.5, -1.25, 2, 3.0]
WHAT = ["unary", "binary", "number", "product", "transpose", "cut", "reshape", "sum", "keep", "noise", "assign", "join",
        "max"]  # fmt: skip


class Net(nn.Module):
    def __init__(self, generator):
        draw = np.random.default_rng(generator)
        self.row = nn.Parameter(draw.uniform(-1, 1, 6))
        self.column = nn.Parameter(draw.uniform(-1, 1, (4, 1)))
        self.matrix = nn.Parameter(draw.uniform(-1, 1, (6, 6)))
        self.running = nn.Buffer(np.zeros(6), dtype="float64")
        self.noise = tinyae.Generator(generator)
        self.astype("float64")


@st.composite
def programs(draw):
    """A list of (what, which operands, which detail), to be read by `evaluate`."""
    which = st.integers(0, 99)
    return draw(st.lists(st.tuples(st.sampled_from(WHAT), which, which, which), min_size=2, max_size=14))


def evaluate(program, net, x):
    """Every value of the program, each made of earlier ones where shapes allow."""
    values = [x, net.row, net.column, net.matrix, net.running * 1.0]  # a copy, since backward may need it
    for what, i, j, k in program:
        a, b = values[i % len(values)], values[j % len(values)]
        if what == "unary":
            f = UNARY[k % len(UNARY)]
            if a.ndim or f not in (ops.softmax, ops.log_softmax):
                values.append(ops.tanh(f(ops.clip(a, low=-3.0, high=3.0))))
        elif what == "binary":
            try:
                np.broadcast_shapes(a.shape, b.shape)
            except ValueError:
                continue
            values.append(ops.tanh(BINARY[k % len(BINARY)](a, b)))
        elif what == "number":
            values.append(BINARY[k % 3](a, NUMBERS[j % 4]) if k % 2 else BINARY[k % 3](NUMBERS[j % 4], a))
        elif what == "product" and a.ndim == 2 and b.ndim == 2 and a.shape[1] == b.shape[0]:
            values.append(0.2 * (a @ b))
        elif what == "transpose" and a.ndim == 2:
            values.append(a.T)
        elif what == "cut" and a.ndim and a.shape[0] > 1:
            values.append(a[1:] if k % 3 == 0 else a[::-1] if k % 3 == 1 else a[k % a.shape[0]])
        elif what == "reshape" and a.ndim == 2:
            values.append(a.reshape((a.shape[1], a.shape[0])))
        elif what == "sum" and a.ndim:
            values.append(ops.mean(a, axis=k % a.ndim))
        elif what == "keep" and a.ndim:
            values.append(ops.sum(a, axis=k % a.ndim, keepdims=True) * 0.1)
        elif what == "max" and a.ndim and a.size:
            values.append(ops.max(a, axis=k % a.ndim))
        elif what == "noise":
            kind = (ops.normal, ops.uniform, ops.bernoulli)[k % 3]
            values.append(a * kind(a, generator=net.noise))
        elif what == "assign" and a.shape == (6,):
            with tinyae.no_grad():
                tinyae.assign(net.running, 0.9 * net.running + 0.1 * a.detach())
        elif what == "join" and a.shape == b.shape and a.ndim:
            values.append(ops.concat(a, b, axis=k % a.ndim) if k % 2 else ops.stack(a, b))
    return values


def trainer(program):
    """A step of the program, and its net."""
    net = Net(3)
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.5)

    def step(x):
        optimizer.zero_grad()
        values = evaluate(program, net, x)
        loss = sum((ops.mean(v) for v in values[5:]), ops.mean(net.row * x))
        loss.backward()
        optimizer.step()
        return loss, values[-1]

    return step, net


def run(program, backend, steps=4):
    """(losses, final state) as ever, and the same as a plan."""
    x = np.random.default_rng(7).uniform(-1, 1, (4, 6))
    results = []
    for compiled in (False, True):
        step, net = trainer(program)
        run = tinyae.compile(step, backend=backend) if compiled else lambda x, step=step: step(tinyae.Tensor(x))
        outputs = [run(x) for _ in range(steps)]
        results.append(([loss.item() for loss, _ in outputs], outputs[-1][1].data, net.state_dict(), net.noise.counter))
    return results


@pytest.mark.parametrize("backend", BACKENDS)
@given(program=programs())
def test_random_steps(backend, program):
    (losses, last, state, counter), (planned, last2, state2, counter2) = run(program, backend)
    np.testing.assert_allclose(planned, losses, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(last2, last, rtol=1e-8, atol=1e-10)
    for name in state:
        np.testing.assert_allclose(state2[name], state[name], rtol=1e-8, atol=1e-10, err_msg=name)
    assert counter == counter2


def test_nearly_all_of_them_run_wholly_in_one_piece():
    """Python has nothing to do between two pieces of the plan: captured is enough to know it."""
    draw, whole = np.random.default_rng(11), []
    for _ in range(80):
        numbers = draw.integers(0, 100, (draw.integers(2, 15), 3)).tolist()
        compiled = tinyae.compile(trainer([(str(draw.choice(WHAT)), *row) for row in numbers])[0])
        compiled(draw.uniform(-1, 1, (4, 6)))
        ((plan,),) = compiled.plans.values()
        whole.append(all(item.kind != "host" for item in plan.machine.lowered.items))
    print(f"\nrandom steps that run wholly in one piece: {sum(whole)} of {len(whole)}")
    assert sum(whole) >= 0.95 * len(whole)
