"""Expressions as users write them, drawn by a seed: the text of a function of arrays, its values and its gradients.

    print(program(17))

A line is drawn from templates and tried on values: what eager tinyae refuses (shapes that do not fit) is left out, so a
template need not know what it may be given. What is asked of a plan: the same values and gradients, at later calls with
arrays of other layouts, too.
"""

import random
import re
import warnings
from contextlib import nullcontext

import numpy as np

import tinyae
from tinyae import Tensor, nn, ops

# a, b: values of fractions; i: of indices; c: of bools; AX: an axis, AXES: one or more; KEEP: keepdims or not;
# N: a number; S: a size
TEMPLATES = """
a + b;a - b;a * b;a / (1.5 + b * b);ops.maximum(a, b);ops.minimum(a, b);ops.where(a > b, a, b);N * a + b;a - N * b
a + N;N - a;a * N;a / 2;N / (2.0 + a * a);a ** 2;(a * a + 0.5) ** 0.5;2.0 ** ops.tanh(a);(1.0 + a * a) ** ops.tanh(b)
ops.exp(-a * a);ops.log(a * a + 0.1);ops.log1p(abs(a));ops.sqrt(a * a + 0.1);ops.rsqrt(a * a + 0.3);ops.tanh(a)
ops.sin(a);ops.cos(a);ops.sigmoid(a);ops.relu(a);ops.gelu(a);ops.silu(a);ops.softplus(a);ops.erf(a);ops.erfc(a)
ops.expm1(-abs(a));ops.elu(a);ops.leaky_relu(a);ops.selu(a);ops.hardtanh(a);ops.logsigmoid(a);ops.sign(a) * b;abs(a)
-a;ops.square(a);+a;ops.clip(a, low=-0.5, high=0.7);ops.clip(a, low=0.1);np.exp(-abs(a));np.tanh(a) + np.cos(b)
np.sum(a, axis=AX);np.square(a);np.where(a > N, a, b);np.maximum(a, N);np.mean(a);np.concatenate([a, a], axis=AX)
a.sum();a.sum(axis=AXES, keepdims=KEEP);a.mean(axis=AXES, keepdims=KEEP);ops.max(a, axis=AXES, keepdims=KEEP)
ops.min(a, axis=AX, keepdims=KEEP);a.var(axis=AXES, keepdims=KEEP)
(a.var(axis=AX, ddof=0, keepdims=KEEP) + 0.1).sqrt();a.std(axis=AX, keepdims=KEEP)
ops.norm(a, axis=AX, keepdims=KEEP);ops.norm(a);ops.norm(a, ord=1, axis=AX)
ops.logsumexp(a, axis=AXES, keepdims=KEEP);ops.prod(a * 0.5 + 1, axis=AX);a.max();a.mean();ops.sum(a * b, axis=AXES)
ops.mean(a * b);ops.sum(ops.square(a - b), axis=AX, keepdims=KEEP);ops.norm(a, ord=float('inf'), axis=AX)
ops.softmax(a, axis=AXES);ops.log_softmax(a, axis=AX);ops.softmax(a);ops.softmax(a, axis=AX) * b
ops.softmax(a + b, axis=AX);a - a.mean(axis=AXES, keepdims=True)
(a - a.mean(axis=AXES, keepdims=True)) / (a.var(axis=AXES, keepdims=True) + 0.1).sqrt()
a / (ops.norm(a, axis=AX, keepdims=True) + 0.1);a - ops.logsumexp(a, axis=AX, keepdims=True)
a / (abs(a).sum(axis=AX, keepdims=True) + 1);a * ops.rsqrt((a * a).mean(axis=AXES, keepdims=True) + 0.1) * b
(a - a.min(axis=AX, keepdims=True)) / (a.max() - a.min() + 0.1);ops.softmax(a @ b.mT, axis=-1) @ b;a @ b;a @ b.mT
a.mT @ b;a.T @ b;ops.matmul(a, b) + N;0.3 * (a @ a.mT);a @ a;(a @ b.mT) * N;(a.unsqueeze(-1) @ b.unsqueeze(-2))
(a.unsqueeze(-1) * b.unsqueeze(-2)).sum(axis=AX);ops.outer(a, b);a @ b + a.sum();ops.linear(a, b, N * b.sum(axis=0))
a[None];a[..., None];a.unsqueeze(AX);a.squeeze();ops.broadcast_to(a, shape=(S, *a.shape))
a + ops.broadcast_to(b, shape=a.shape);ops.broadcast_to(a.mean(axis=AX, keepdims=True), shape=a.shape)
ops.sum_to(a, shape=b.shape);a.T;a.mT;a.transpose();a.swapaxes(0, AX);ops.moveaxis(a, source=AX, destination=0)
a.reshape(-1);a.reshape(a.shape[::-1]);a.flatten();a.flatten(1);a.reshape(S, -1);a.reshape(-1, S)
a.reshape(a.shape[0], -1);a[0];a[-1];a[1:];a[:-1];a[::2];a[::-1];a[..., 0];a[..., 1:];a[..., ::-1];a[:, 0];a[:, None]
a[1:, :-1];a[..., :1];a[:, ::-1];a[None, ..., None];a[[0, -1]];a[..., [0]];a[[1, 0, 1]];a[1:] - a[:-1]
a[..., 1:] * a[..., :-1];ops.flip(a, axis=AX);ops.flip(a);ops.roll(a, shift=S, axis=AX);ops.roll(a, shift=1)
ops.roll(a, shift=(1, 2), axis=(0, 1));ops.concat(a, b, axis=AX);ops.stack(a, b, axis=AX)
ops.concat(a, a * N, axis=AX);ops.stack(a, a + b);ops.concat(a[1:], a[:1]);ops.pad(a, widths=1)
ops.pad(a, widths=[(0, 0)] * (a.ndim - 1) + [(2, 1)]);ops.pad(a, widths=1, mode='reflect')
ops.pad(a, widths=1, mode='edge');ops.pad(a, widths=(1,), mode='circular');ops.pad(a, widths=1, value=N);ops.tril(a)
ops.triu(a, k=1);a.diagonal();ops.diag_embed(a);ops.diag_embed(a, offset=1);ops.split(a, lengths=1, axis=AX)[0]
sum(ops.split(a, lengths=1, axis=AX));ops.cumsum(a, axis=AX);ops.cumsum(a);ops.cumsum(a, axis=AX, reverse=True)
ops.topk(a, k=S, axis=AX)[0];ops.topk(a, k=1)[0];a.topk(2)[0].sum(axis=-1)
ops.gather(a, ops.argmax(a, axis=AX, keepdims=True), axis=AX);ops.take(a, i, axis=AX);a.take(i);a[i]
ops.gather(a, i, axis=AX);ops.gather(a, ops.argtopk(a, k=1, axis=AX), axis=AX);ops.one_hot(i, n=8) * N
ops.one_hot(i, n=8) @ ops.one_hot(i, n=8).T * 1.0;ops.scatter_add(a, i, b, axis=AX)
ops.one_hot(ops.argmax(a, axis=-1), n=a.shape[-1]) * a;ops.where(c, a, b);ops.where(c, a, 0.0);ops.where(c, N, a)
a * c;a * (1.0 - c);ops.where(a > 0, a, N * a);ops.where(ops.eq(a, a.max(axis=AX, keepdims=True)), a, 0.0)
a * (a > b);a * (a >= N) * (b < N);ops.where(c, a, b).sum(axis=AX);(a * c).sum(axis=AXES) / (c.sum(axis=AXES) + 1.0)
ops.where(a < N, b, a) - b;ops.cast(i, dtype='float32') * a;i * N;a + i;i * 0.5 + a;c * 1.0
ops.cast(c, dtype=a.dtype) + a;(a > 0).mean();(a > b).sum(axis=AX) * N;(a.argmax(axis=AX) * 1.0)
ops.stop_gradient(a) * a;a.detach() + b;ops.straight_through(ops.sign(a), a);a + (ops.sign(a) - a).detach()
tinyae.checkpoint(lambda t: ops.tanh(t) * t, a);nn.mse(a, b);nn.l1(a, a * N);nn.mse(a, b, reduction='none')
nn.huber(a, b, reduction='batch');nn.mse(a, b, mask=c);nn.cosine_distance(a, a * a + N);nn.kl_normal(a, b)
nn.cross_entropy(a, i);nn.cross_entropy(a, ops.softmax(b));nn.bce_with_logits(a, ops.sigmoid(b))
nn.gaussian_nll(a, b, ops.tanh(a));nn.log_cosh(a, b);nn.mse(a, b, weight=abs(a) + 1)
ops.log(ops.softmax(a, axis=AX) + 0.01);a.exp().sum(axis=AX, keepdims=True).log()
ops.sqrt(ops.square(a).sum(axis=AXES) + 0.01);1 / (1 + ops.exp(-a))
((a.unsqueeze(1) - a.unsqueeze(0)) ** 2).sum(axis=-1)
(a ** 2).sum(axis=-1, keepdims=True) + (a ** 2).sum(axis=-1) - 2 * a @ a.mT;ops.stack(*[t * 2 for t in a])
ops.solve(a @ a.mT + 3 * ops.diag_embed(a[..., 0] * 0 + 1), a)
ops.logdet(a.mT @ a + 2.0 * ops.diag_embed(a[0] * 0 + 1));ops.inv(ops.diag_embed(a * a + 1.0))
ops.cholesky(ops.diag_embed(a * a + 0.5));layer(a);norm(a);layer(a).mean(axis=0);norm(layer(a)).mean(axis=AX)
ops.tanh(layer(a)) + layer(a);ops.avg_pool(a, kernel_size=2);ops.max_pool(a, kernel_size=2, stride=1)
ops.upsample(a, scale_factor=2);ops.unfold(a, kernel_size=2);ops.upsample(a, scale_factor=2, mode='bilinear')
ops.conv2d(a, b);ops.conv2d(a, b, padding=1);ops.conv1d(a, b, padding='same');ops.conv_transpose2d(a, b)
ops.conv2d(a[None, None], b[None, None], padding=1);ops.max_pool(a[None], kernel_size=2);w * a;a + w;a @ w;w @ a
ops.tanh(w).sum() * a;w.mean() + a;a - w.sum(axis=AX);w[0] * a;a * w.T;ops.broadcast_to(w, shape=(2, *w.shape)) * a
ops.softmax(w, axis=AX);w * w;w[i];i + i;i * 2 - 1;i - 1 > 0;i.sum(axis=AX) * 0.5;i.max() * a;i / 2;i * i * 1.0
abs(i - 1) * a;(i > 0) * (i < 2) * a;i.mean();ops.maximum(i, 1) * a;ops.cumsum(i, axis=AX) * 0.5
ops.where(i > 0, a, b);ops.eq(i, 1) * a;ops.clip(i, low=0, high=1) * a;i.reshape(-1) * N;i.T * N;i[0] * a;c[0] * a
c.sum() * a;ops.one_hot(c * 1, n=2);ops.where(c, i, 0) * N;c.mean(axis=AX);i.astype(FLOAT) @ w
ops.cast(a, dtype='float64').sum() * N;ops.cast(a, dtype='float32') * N;a[:, i];a[..., i]
ops.where(c, a, -1e9).max(axis=AX);ops.softmax(ops.where(c, a, -1e9), axis=AX) * b
ops.logsumexp(ops.where(c, a, -30.0), axis=AX)
(a * b).sum(axis=AX) / (ops.norm(a, axis=AX) * ops.norm(b, axis=AX) + 0.1)
ops.exp(a - a.max(axis=AX, keepdims=True)) / ops.exp(a - a.max(axis=AX, keepdims=True)).sum(axis=AX, keepdims=True)
a.sum(axis=AXES) + b.sum(axis=AXES);a.mean(axis=AXES) * b.mean();(a - b.mean(axis=0)) / (b.std(axis=0) + 0.1)
(a + b) * (a - b) + (a + b);a.flatten() @ a.flatten();ops.sum(a, axis=AXES) - ops.max(a, axis=AXES)
a.mean(axis=AX).reshape(-1) @ a.mean(axis=AX).reshape(-1);ops.tanh(a).T @ ops.tanh(a);(a.T * N).T + b
a.reshape(-1)[::2];a[..., ::2].sum(axis=AX);a[::-1].T;ops.flip(a.T, axis=0);a.swapaxes(-1, -2)[..., ::-1]
ops.pad(a.T, widths=1);ops.roll(a, shift=(1,), axis=(0,));ops.concat(a.T, a.T);ops.stack(a[0], a[-1])
ops.concat(a[..., :1], b[..., -1:], axis=-1);ops.broadcast_to(a.sum(), shape=(2, 3)) * N
ops.broadcast_to(a[0], shape=a.shape) - a;norm(a).mean(axis=(0, 1));norm(a)[::-1].sum(axis=0);norm(a.T.T) * a
"""  # fmt: skip
TEMPLATES = [t.strip() for line in TEMPLATES.strip().split("\n") for t in line.split(";") if t.strip()]
LAYOUTS = [
    "{a}", "{a}[::-1]", "np.asfortranarray({a})", "np.stack([{a}, 7 + 0 * {a}], axis=-1)[..., 0]",
    "np.stack([7 + 0 * {a}, {a}], axis=-1)[..., 1]", "np.broadcast_to({a}[:1], {a}.shape)",
    "np.repeat({a}, 2, axis=0)[::2]", "frozen({a})", "np.ascontiguousarray({a}.T).T", "{a}[..., ::-1]", "inside({a})",
    "np.broadcast_to({a}.ravel()[:1].reshape((1,) * {a}.ndim), {a}.shape)", "Tensor({a})", "odd({a})",
    "{a}.astype({a}.dtype.newbyteorder())", "np.ascontiguousarray({a}[::-1])[::-1]",
]  # fmt: skip
HELPERS = '''

def frozen(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def inside(a):
    """The same numbers in the middle of an array of others."""
    big = np.full([n + 2 for n in a.shape], 9, a.dtype)
    big[(slice(1, -1),) * a.ndim] = a
    return big[(slice(1, -1),) * a.ndim]


def odd(a):
    """The same numbers at an odd address."""
    b = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b
'''
WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9]


def shapes(draw):
    """A few shapes that broadcast with each other, mostly."""
    ndim = draw.choices([0, 1, 2, 3, 4], [0.5, 2, 5, 4, 1])[0]
    base = tuple(draw.choice(WIDTHS + [17, 33, 65, 129] * (ndim < 3)) for _ in range(ndim))
    found = [base]
    for _ in range(3):
        shape = tuple(1 if draw.random() < 0.2 else n for n in base)
        shape = shape[draw.choice([0, 0, 0, 1, 1, 2]) :]
        if draw.random() < 0.15:
            shape = shape[::-1]
        if draw.random() < 0.1:
            shape = tuple(draw.choice([1, 2, 3, 4]) for _ in shape)
        if draw.random() < 0.03 and shape:
            shape = (0, *shape[1:])
        found.append(shape)
    return found


def program(seed):
    """The text of an expression, as a program for runs.py."""
    draw = random.Random(seed)
    dtype = draw.choice(["float32"] * 5 + ["float64"])
    sizes = shapes(draw)
    last = sizes[0][-1] if sizes[0] else 3
    over = draw.choice([last, sizes[0][-2:] or last])
    setup = [f"w = nn.Parameter(rng.standard_normal({sizes[3]}), dtype=FLOAT)",
             f"layer = nn.Linear({last}, {draw.choice([1, 2, 5])}, generator=1).astype(FLOAT)",
             f"norm = nn.LayerNorm({over}).astype(FLOAT)"]  # fmt: skip
    kept = draw.random() < 0.25  # a tensor that the expression assigns to
    if kept:
        setup.append(f"s = Tensor(rng.standard_normal({draw.choice(sizes[:2])}), dtype=FLOAT)")
    arguments = arrays(draw, sizes)
    names = [name for name in arguments if name in "xyz"]
    wanted = draw.random() < 0.5  # gradients of the arguments, too
    first = [f"{name}.requires_grad_(True)" for name in names] if wanted else []
    scope = fresh(dtype, setup, arguments, first)
    body = assignments(draw, scope, [*names, *(["s"] if kept else [])], ASSIGNS if kept else [])
    made = [line.partition(" = ")[0] for line in body if line.startswith("v")] or names
    loss = " + ".join(_mean(draw, v) for v in draw.sample(made, min(len(made), draw.choice([1, 2, 3]))))
    returned = [made[-1], *draw.sample(made, draw.choice([0, 0, 1]) if len(made) > 1 else 0)]
    body, backward, slopes = [*first, *body], *gradients(draw, ["w", *(names if wanted else [])])
    if works(dtype, setup, arguments, [*body, f"loss = {loss}", *backward]):
        body += [f"loss = {loss}", *backward]
        returned += ["loss", *slopes]
    given = ", ".join(arguments)
    other = {name: _other(expression, sizes[0]) for name, expression in arguments.items()}
    two = draw.random() < 0.3 and other != arguments and works(dtype, setup, other, body)  # batches of two sizes
    calls = [f"{name} = {expression}" for name, expression in arguments.items()]
    if two:
        calls = [f"{line} if turn % 3 != 1 else {o}" if a != o else line
                 for line, a, o in zip(calls, arguments.values(), other.values())]  # fmt: skip
    calls += [line for name in arguments for line in layouts(draw, name, scope[name].ndim)]
    if len(names) > 1 and scope["x"].shape == scope["y"].shape and draw.random() < 0.3:
        calls.append(draw.choice(["y = x", "y = x[::-1] if x.ndim else x", "if turn % 2:\n        y = x"]))
    state = "[s]" if any("tinyae.assign(" in line for line in body) else "[]"
    return "\n".join([
        f"# seed {seed}", "import numpy as np", "import tinyae", "from tinyae import Tensor, nn, ops", "",
        f'FLOAT = "{dtype}"', "rng = np.random.default_rng(7)", *setup, HELPERS, "", "@tinyae.compile",
        f"def step({given}):", *[f"    {line}" for line in body], f"    return {', '.join(returned)}", "", "",
        "def call(turn):", *[f"    {line}" for line in calls], f"    return step({given})", "", "", f"state = {state}",
        "",
    ])  # fmt: skip


def fresh(dtype, setup, arguments, lines):
    """A scope in which lines have been run."""
    scope = {"np": np, "tinyae": tinyae, "nn": nn, "ops": ops, "Tensor": Tensor, "FLOAT": dtype}
    scope["rng"] = np.random.default_rng(7)
    for line in setup:
        exec(line, scope)
    scope |= {name: Tensor(eval(expression, scope)) for name, expression in arguments.items()}
    for line in lines:
        exec(line, scope)
    return scope


def works(dtype, setup, arguments, lines):
    """Whether eager tinyae takes them, and comes to numbers that are finite."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scope = fresh(dtype, setup, arguments, lines)
        return bool(np.isfinite(scope["loss"].data).all()) if "loss" in scope else True
    except Exception:
        return False


def gradients(draw, leaves):
    """Lines that differentiate the loss, and what is returned of it."""
    if draw.random() < 0.6:
        return [f"grads = tinyae.grad(loss, [{', '.join(leaves)}], allow_unused=True)"], ["grads"]
    more = "[p.grad for p in [*layer.parameters(), *norm.parameters()]]"
    return (["w.grad = None", "layer.zero_grad()", "norm.zero_grad()", "loss.backward()"],
            [*[f"{leaf}.grad" for leaf in leaves], more])  # fmt: skip


def _other(expression, shape):
    """The same array with other rows."""
    if not shape or not (found := re.search(rf"\({shape[0]}(?=,)", expression)):
        return expression
    return f"{expression[: found.start()]}({shape[0] + 2}{expression[found.end() :]}"


def arrays(draw, sizes):
    """{name: expression} of the arguments: fractions x, y, z; indices i; bools c."""
    names = ["x", "y", "z"][: draw.choice([1, 2, 2, 3])]
    made = {name: f"rng.standard_normal({shape}).astype(FLOAT)" for name, shape in zip(names, sizes)}
    if draw.random() < 0.5:
        long = draw.choice(sizes[0]) if sizes[0] and draw.random() < 0.6 else sizes[draw.randrange(3)]
        kind = draw.choice(["", "", ".astype(np.int32)", ".astype(np.uint8)"])
        made["i"] = f"np.asarray(rng.integers(0, {draw.choice([1, 2, 3])}, {long})){kind}"
    if draw.random() < 0.5:
        made["c"] = f"np.asarray(rng.random({draw.choice(sizes[:3])}) < 0.6)"
    if all(0 in shape for shape in sizes[: len(names)]):
        made["x"] = "rng.standard_normal((2, 3)).astype(FLOAT)"
    return made


ASSIGNS = ["s, s[::-1]", "s, s.T", "s, ops.roll(s, shift=1)", "s, s[:-1], slice(1, None)", "s, s[1:], slice(0, -1)",
           "s, ops.tanh(a)", "s, 0.5 * s + 0.1 * b", "s, ops.flip(s)", "s, ops.tanh(a), 0", "s, 0.0", "s, s * N",
           "s, a, (slice(None), 0)", "s, s[..., ::-1] * 0.5", "s, s.mean(axis=0)", "s, s - s.mean()",
           "s, ops.tanh(a), (..., slice(0, 1))", "s, s.reshape(s.shape[::-1]).T", "s, s[0], -1"]  # fmt: skip


def assignments(draw, scope, names, assigns):
    """Lines that make values of values, each tried in scope."""
    values, made = list(names), []
    length = draw.choice([2, 3, 4, 5, 6, 8])
    for _ in range(60):
        if len(made) == length:
            break
        ndim = max((scope[v].ndim for v in values), default=1)
        known = {
            "a": draw.choice(values[-3:] if draw.random() < 0.7 else values), "b": draw.choice(values),
            "N": draw.choice(["0.5", "1.5", "2", "-0.7", "3.0"]), "S": draw.choice("1234"),
            "AXES": draw.choice(["0", "-1", "1", "(0, 1)", "(-2, -1)", "(0, -1)", "(1, 2)", "None", "(0, 2)", "-2"]),
            "AX": str(draw.randrange(-ndim, ndim) if ndim else 0), "KEEP": draw.choice(["True", "False"]),
        }  # fmt: skip
        assign = assigns and draw.random() < 0.25
        template = f"tinyae.assign({draw.choice(assigns)})" if assign else draw.choice(TEMPLATES)
        line = re.sub(rf"\b({'|'.join(known)})\b", lambda m, known=known: known[m[0]], template)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with tinyae.no_grad() if assign else nullcontext():
                    value = eval(line, scope)
        except Exception:
            continue
        if assign and _moderate(value.data):
            made.append(f"with tinyae.no_grad(): {line}")
            continue
        if isinstance(value, Tensor) and value.dtype.kind == "f" and value.size < 20_000 and _moderate(value.data):
            name = f"v{len(values) + 1}"
            scope[name] = value
            values.append(name)
            made.append(f"{name} = {line}")
    return made


def _moderate(array):
    return bool(np.all(abs(array) < 60))


def _mean(draw, value):
    return f"ops.mean(ops.sin({draw.choice(['1.3 * ', ''])}{value}))" if draw.random() < 0.7 else f"{value}.sum() * 0.1"


def layouts(draw, name, ndim):
    """Lines that lay an argument out in other ways, from a call on; an array of no axes has but one."""
    if not ndim or draw.random() < 0.2:
        return []
    ways = ", ".join(f"lambda: {draw.choice(LAYOUTS).format(a=name)}" for _ in range(4))
    return [f"if turn >= {draw.choice([0, 3, 3, 3, 3])}:", f"    {name} = [{ways}][turn % 4]()"]
