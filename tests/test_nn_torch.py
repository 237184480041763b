"""Every layer and loss beside PyTorch's of that name: value, gradient under a random upstream gradient, shape, dtype.

How one library's weights become the other's stands here as code. Skipped where PyTorch is not installed.
"""

import numpy as np
import pytest

from tinyae import Tensor, nn

torch = pytest.importorskip("torch")
F = torch.nn.functional

RTOL = {np.float64: 1e-9, np.float32: 2e-4}
dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


def close(ours, theirs, dtype):
    """Equal shape and dtype, and values that differ by little, relative to the largest."""
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=RTOL[dtype] * max(1.0, np.abs(theirs).max(initial=0)))


def compare(ours, theirs, arrays, dtype, parameters=()):
    """ours(*tensors) against theirs(*tensors): values, and gradients of inputs and of pairs of parameters."""
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    mine = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    other = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y, t = ours(*mine), theirs(*other)
    y, t = (v if isinstance(v, tuple) else (v,) for v in (y, t))
    rng = np.random.default_rng(9)
    total, total_t = 0.0, 0.0
    for a, b in zip(y, t, strict=True):
        close(a.data, b, dtype)
        g = rng.standard_normal(a.shape).astype(dtype)
        total, total_t = total + (a * g).sum(), total_t + (b * torch.tensor(g)).sum()
    total.backward()
    total_t.backward()
    for a, b in [*zip(mine, other), *((p, q) for p, q, _ in parameters)]:
        if b.requires_grad:
            transposed = any(p is a and flip for p, _, flip in parameters)
            close(a.grad.data, b.grad.mT if transposed and b.ndim == 2 else b.grad, dtype)


def pairs(ours, theirs):
    """PyTorch's parameters, after it was given the values of ours: (ours, theirs, whether one is transposed)."""
    made = []
    for p, q in zip(ours, theirs, strict=True):
        flip = p.ndim == 2 and q.ndim == 2 and type(q) is torch.nn.Parameter and p.shape == tuple(q.shape)[::-1]
        with torch.no_grad():
            q.copy_(torch.tensor(p.data.T.copy() if flip else p.data))
        made.append((p, q, flip))
    return made


def random_parameters(module):
    rng = np.random.default_rng(3)
    for p in module.parameters():
        p.data = rng.standard_normal(p.shape)


# -- layers without parameters --------------------------------------------------------------------------------------

PLAIN = {
    "ELU": (nn.ELU(0.7), torch.nn.ELU(0.7)),
    "Flatten": (nn.Flatten(), torch.nn.Flatten()),
    "GELU": (nn.GELU(), torch.nn.GELU()),
    "GELU, tanh": (nn.GELU("tanh"), torch.nn.GELU("tanh")),
    "Hardtanh": (nn.Hardtanh(-0.5, 0.8), torch.nn.Hardtanh(-0.5, 0.8)),
    "Identity": (nn.Identity(), torch.nn.Identity()),
    "Lambda": (nn.Lambda(lambda x: x * 2.0), lambda x: x * 2.0),
    "LeakyReLU": (nn.LeakyReLU(0.2), torch.nn.LeakyReLU(0.2)),
    "LogSigmoid": (nn.LogSigmoid(), torch.nn.LogSigmoid()),
    "LogSoftmax": (nn.LogSoftmax(), torch.nn.LogSoftmax(-1)),
    "LogSoftmax, axis": (nn.LogSoftmax(axis=1), torch.nn.LogSoftmax(1)),
    "ReLU": (nn.ReLU(), torch.nn.ReLU()),
    "Reshape": (nn.Reshape(4, -1), torch.nn.Unflatten(1, (4, 5))),
    "SELU": (nn.SELU(), torch.nn.SELU()),
    "SiLU": (nn.SiLU(), torch.nn.SiLU()),
    "Sigmoid": (nn.Sigmoid(), torch.nn.Sigmoid()),
    "Softmax": (nn.Softmax(), torch.nn.Softmax(-1)),
    "Softplus": (nn.Softplus(), torch.nn.Softplus(threshold=1000)),
    "Tanh": (nn.Tanh(), torch.nn.Tanh()),
    "Dropout": (nn.Dropout(0.5).eval(), torch.nn.Dropout(0.5).eval()),
    "GaussianNoise": (nn.GaussianNoise().eval(), torch.nn.Identity()),
    "Sequential": (nn.Sequential(nn.Tanh(), nn.ReLU()), torch.nn.Sequential(torch.nn.Tanh(), torch.nn.ReLU())),
}


@dtypes
@pytest.mark.parametrize("name", PLAIN)
def test_layer_without_parameters(name, dtype):
    ours, theirs = PLAIN[name]
    x = np.random.default_rng(0).standard_normal((3, 20) if name == "Reshape" else (3, 4, 5)) * 2
    compare(ours, theirs, [x], dtype)


# -- layers with parameters -----------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(5,), (2, 5), (0,)])
def test_linear(dtype, bias, lead):
    """PyTorch's weight is (n_out, n_in): ours, transposed."""
    ours, theirs = nn.Linear(4, 3, bias=bias, dtype=dtype), torch.nn.Linear(4, 3, bias=bias, dtype=torch_dtype(dtype))
    random_parameters(ours)
    x = np.random.default_rng(0).standard_normal((*lead, 4))
    compare(ours, theirs, [x], dtype, pairs(ours.parameters(), theirs.parameters()))


def torch_dtype(dtype):
    return {np.float64: torch.float64, np.float32: torch.float32}[dtype]


@dtypes
def test_tied(dtype):
    half, theirs = nn.Linear(4, 3, dtype=dtype), torch.nn.Linear(4, 3, dtype=torch_dtype(dtype))
    back, bias = nn.Tied(half), torch.nn.Parameter(torch.zeros(4, dtype=torch_dtype(dtype)))
    random_parameters(half)
    both = pairs(half.parameters(), theirs.parameters()) + pairs([back.bias], [bias])
    x = np.random.default_rng(0).standard_normal((5, 4))
    compare(lambda x: back(half(x).tanh()), lambda x: torch.tanh(theirs(x)) @ theirs.weight + bias, [x], dtype, both)


@dtypes
def test_unit_norm(dtype):
    w = np.random.default_rng(0).standard_normal((5, 4))
    for axis in (0, 1):
        compare(lambda w: nn.unit_norm(w, axis=axis), lambda w: F.normalize(w, dim=axis), [w], dtype)


@dtypes
def test_embedding(dtype):
    ours, theirs = nn.Embedding(6, 3, dtype=dtype), torch.nn.Embedding(6, 3, dtype=torch_dtype(dtype))
    rows = np.array([[1, 4, 1], [0, 5, 1]])
    compare(ours, theirs, [rows], dtype, pairs(ours.parameters(), theirs.parameters()))


NORMS = {
    "BatchNorm1d": (nn.BatchNorm1d, torch.nn.BatchNorm1d, (3,), (6, 3)),
    "BatchNorm1d, long": (nn.BatchNorm1d, torch.nn.BatchNorm1d, (3,), (6, 3, 5)),
    "BatchNorm2d": (nn.BatchNorm2d, torch.nn.BatchNorm2d, (3,), (4, 3, 2, 5)),
    "LayerNorm": (nn.LayerNorm, torch.nn.LayerNorm, (5,), (4, 3, 5)),
    "LayerNorm, two axes": (nn.LayerNorm, torch.nn.LayerNorm, ((3, 5),), (4, 3, 5)),
    "GroupNorm": (nn.GroupNorm, torch.nn.GroupNorm, (2, 4), (3, 4, 5)),
}


@dtypes
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("settings", [{}, {"eps": 0.1}, {"momentum": 0.3}, {"track_running_stats": False}], ids=str)
@pytest.mark.parametrize("affine", [True, False])
def test_norm(name, dtype, settings, affine):
    """Three batches, then evaluation: so the running statistics are compared as well."""
    ours, theirs, arguments, shape = NORMS[name]
    if not name.startswith("Batch") and set(settings) - {"eps"}:
        return
    which = "elementwise_affine" if name.startswith("Layer") else "affine"
    ours = ours(*arguments, affine=affine, dtype=dtype, **settings)
    theirs = theirs(*arguments, **{which: affine}, dtype=torch_dtype(dtype), **settings)
    if affine:
        random_parameters(ours)
    both = pairs(ours.parameters(), theirs.parameters())
    rng = np.random.default_rng(0)
    for training in (True, True, True, False):
        ours.train(training), theirs.train(training)
        ours.zero_grad(), theirs.zero_grad()
        compare(ours, theirs, [rng.normal(1.0, 2.0, shape)], dtype, both)
    running = [name for name in theirs.state_dict() if name.startswith("running")]
    assert running == [name for name, _ in ours.named_buffers()]
    for which in running:
        close(ours.state_dict()[which], theirs.state_dict()[which], dtype)


# -- recurrent layers -----------------------------------------------------------------------------------------------

CELL = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def recurrent_pairs(ours, theirs):
    """The map that the docstring of ``tinyae.nn.recurrent`` states."""
    mine, other = [], []
    for k, layer in enumerate(ours.layers):
        for direction, cell in layer.items():
            suffix = f"_l{k}" + "_reverse" * (direction == "reverse")
            for which in CELL:
                if getattr(cell, which) is not None:
                    mine.append(getattr(cell, which))
                    other.append(getattr(theirs, which + suffix))
    assert len(mine) == len(list(ours.parameters())) == len(list(theirs.parameters()))
    return transposed_pairs(mine, other)


def transposed_pairs(mine, other):
    """As `pairs`, where matrices are always transposed, square ones too."""
    made = []
    for p, q in zip(mine, other, strict=True):
        with torch.no_grad():
            q.copy_(torch.tensor(p.data.T.copy()))
        made.append((p, q, True))
    return made


@dtypes
@pytest.mark.parametrize("kind", ["RNN", "RNN, relu", "LSTM", "GRU"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, {"n_layers": 2, "bias": False}, {"n_layers": 3, "bidirectional": True}], ids=str
)
@pytest.mark.parametrize("started", [False, True])
def test_recurrent(kind, dtype, padded, settings, started):
    kind, _, activation = kind.partition(", ")
    chosen = {"activation": activation} if activation else {}
    ours = getattr(nn, kind)(3, 4, dtype=dtype, generator=0, **chosen, **settings)
    random_parameters(ours)
    settings = {"num_layers" if k == "n_layers" else k: v for k, v in settings.items()}
    settings |= {"nonlinearity": activation} if activation else {}
    theirs = getattr(torch.nn, kind)(3, 4, batch_first=True, dtype=torch_dtype(dtype), **settings)
    both = recurrent_pairs(ours, theirs)
    if kind == "RNN":  # keep the sum of many steps within float32's reach
        with torch.no_grad():
            for p, q, _ in both:
                p.data = p.data * 0.3
                q.mul_(0.3)
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((4, 6, 3)), [6, 2, 1, 4]
    cells = sum(map(len, ours.layers))
    starts = [rng.standard_normal((cells, 4, 4)) for _ in range(1 + (kind == "LSTM"))] if started else []

    def state_of(given):
        return None if not given else given if kind == "LSTM" else given[0]

    def flat(y, state):
        return (y, *state) if isinstance(state, tuple) else (y, state)

    def mine(x, *given):
        return flat(*ours(x, state_of(given), lengths=lengths if padded else None))

    def other(x, *given):
        if not padded:
            return flat(*theirs(x, state_of(given)))
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, state = theirs(packed, state_of(given))
        return flat(torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=6)[0], state)

    compare(mine, other, [x, *starts], dtype, both)


@dtypes
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
def test_cell(kind, dtype, bias):
    ours = getattr(nn, kind)(3, 4, bias=bias, dtype=dtype, generator=0)
    random_parameters(ours)
    theirs = getattr(torch.nn, kind)(3, 4, bias=bias, dtype=torch_dtype(dtype))
    both = transposed_pairs([getattr(ours, w) for w in CELL[: 4 if bias else 2]], list(theirs.parameters()))
    rng = np.random.default_rng(0)
    states = [rng.standard_normal((5, 4)) for _ in range(1 + (kind == "LSTMCell"))]

    def of(cell):
        return lambda x, *s: cell(x, s if len(s) > 1 else s[0])

    compare(of(ours), of(theirs), [rng.standard_normal((5, 3)), *states], dtype, both)


# -- losses ---------------------------------------------------------------------------------------------------------


def soft(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


LABELS = np.array([2, 0, 1, 1, 2, 0])
LOSSES = {  # operands from a generator, ours, PyTorch's
    "mse": (lambda r: (r.normal(size=(6, 3)), r.normal(size=(6, 3))), nn.mse, F.mse_loss),
    "l1": (lambda r: (r.normal(size=(6, 3)), r.normal(size=(6, 3))), nn.l1, F.l1_loss),
    "huber": (
        lambda r: (r.normal(size=(6, 3)) * 2, r.normal(size=(6, 3))),
        lambda a, b, **s: nn.huber(a, b, delta=0.7, **s), lambda a, b, **s: F.huber_loss(a, b, delta=0.7, **s),
    ),
    "smooth_l1": (
        lambda r: (r.normal(size=(6, 3)) * 2, r.normal(size=(6, 3))),
        lambda a, b, **s: nn.smooth_l1(a, b, beta=0.7, **s), lambda a, b, **s: F.smooth_l1_loss(a, b, beta=0.7, **s),
    ),
    "log_cosh": (
        lambda r: (r.normal(size=(6, 3)), r.normal(size=(6, 3))),
        nn.log_cosh, lambda a, b, reduction: reduced(torch.log(torch.cosh(a - b)), reduction),
    ),
    "cosine_distance": (
        lambda r: (r.normal(size=(6, 3)), r.normal(size=(6, 3))),
        nn.cosine_distance, lambda a, b, reduction: reduced(1 - F.cosine_similarity(a, b, dim=-1), reduction),
    ),
    "bce": (lambda r: (r.uniform(0.05, 0.95, (6, 3)), r.uniform(0, 1, (6, 3))), nn.bce, F.binary_cross_entropy),
    "bce_with_logits": (
        lambda r: (r.normal(size=(6, 3)) * 3, r.uniform(0, 1, (6, 3))),
        nn.bce_with_logits, F.binary_cross_entropy_with_logits,
    ),
    "bce_with_logits, pos_weight": (
        lambda r: (r.normal(size=(6, 3)) * 3, r.uniform(0, 1, (6, 3))),
        lambda z, x, **s: nn.bce_with_logits(z, x, pos_weight=[0.5, 1.0, 3.0], **s),
        lambda z, x, **s: F.binary_cross_entropy_with_logits(
            z, x, pos_weight=torch.tensor([0.5, 1.0, 3.0], dtype=z.dtype), **s),
    ),
    "cross_entropy": (lambda r: (r.normal(size=(6, 3)), LABELS), nn.cross_entropy, F.cross_entropy),
    "cross_entropy, soft": (
        lambda r: (r.normal(size=(6, 3)), soft(r.normal(size=(6, 3)))), nn.cross_entropy, F.cross_entropy),
    "cross_entropy, smoothed": (
        lambda r: (r.normal(size=(6, 3)), LABELS),
        lambda z, y, **s: nn.cross_entropy(z, y, label_smoothing=0.2, ignore_index=1, **s),
        lambda z, y, **s: F.cross_entropy(z, y, label_smoothing=0.2, ignore_index=1, **s),
    ),
    "cross_entropy, class weights": (
        lambda r: (r.normal(size=(6, 3)), LABELS),
        lambda z, y, **s: nn.cross_entropy(z, y, weight=np.array([1.0, 5.0, 0.5])[LABELS], **s),
        lambda z, y, **s: F.cross_entropy(z, y, weight=torch.tensor([1.0, 5.0, 0.5], dtype=z.dtype), **s),
    ),
    "nll": (
        lambda r: (np.log(soft(r.normal(size=(6, 3)))), LABELS),
        lambda z, y, **s: nn.nll(z, y, ignore_index=0, **s), lambda z, y, **s: F.nll_loss(z, y, ignore_index=0, **s),
    ),
    "kl_div": (
        lambda r: (np.log(soft(r.normal(size=(6, 3)))), soft(r.normal(size=(6, 3)))),
        nn.kl_div, lambda q, p, reduction: reduced(F.kl_div(q, p, reduction="none"), reduction),
    ),
    "kl_div, log_target": (
        lambda r: (np.log(soft(r.normal(size=(6, 3)))), np.log(soft(r.normal(size=(6, 3))))),
        lambda q, p, **s: nn.kl_div(q, p, log_target=True, **s),
        lambda q, p, reduction: reduced(F.kl_div(q, p, reduction="none", log_target=True), reduction),
    ),
    "gaussian_nll": (
        lambda r: (r.normal(size=(6, 3)), r.normal(size=(6, 3)), r.normal(size=(6, 3))),
        nn.gaussian_nll, lambda x, mu, v, **s: F.gaussian_nll_loss(mu, x, torch.exp(v), full=True, eps=1e-30, **s),
    ),
    "kl_normal": (
        lambda r: (r.normal(size=(6, 3)), r.normal(size=(6, 3))),
        nn.kl_normal, lambda mu, v, reduction: reduced(normal_divergence(mu, v), reduction),
    ),
}  # fmt: skip


def reduced(terms, reduction):
    return {"none": lambda t: t, "sum": torch.sum, "mean": torch.mean}[reduction](terms)


def normal_divergence(mu, logvar):
    normal = torch.distributions.Normal
    zero, one = torch.zeros((), dtype=mu.dtype), torch.ones((), dtype=mu.dtype)
    return torch.distributions.kl_divergence(normal(mu, torch.exp(logvar / 2)), normal(zero, one))


@dtypes
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_loss(name, dtype, reduction):
    operands, ours, theirs = LOSSES[name]
    arrays = operands(np.random.default_rng(0))
    compare(lambda *a: ours(*a, reduction=reduction), lambda *a: theirs(*a, reduction=reduction), arrays, dtype)


@dtypes
def test_weighted_mean(dtype):
    """PyTorch's mse_loss divides by the weights' sum as well; its other losses have no weights, or divide by n."""
    r = np.random.default_rng(0)
    a, b, w = r.normal(size=(6, 3)), r.normal(size=(6, 3)), r.uniform(0.1, 2, (6, 3))
    compare(lambda a, b, w: nn.mse(a, b, weight=w), lambda a, b, w: F.mse_loss(a, b, weight=w), [a, b, w], dtype)


@dtypes
def test_kl_div_over_the_batch(dtype):
    arrays = LOSSES["kl_div"][0](np.random.default_rng(0))
    arrays[1][0] = [0.0, 1.0, 0.0]
    arrays[1][1, 2] = 0.0

    def ours(log_q):
        return nn.kl_div(log_q, arrays[1], reduction="batch")

    def theirs(log_q):
        return F.kl_div(log_q, torch.tensor(arrays[1].astype(dtype)), reduction="batchmean")

    compare(ours, theirs, arrays[:1], dtype)


def test_nothing_is_left_out():
    """Each layer and loss of these files is compared above; convolutions have a file of their own."""
    tested = {name.partition(",")[0] for name in (*PLAIN, *NORMS, *LOSSES)}
    tested |= {"Linear", "Tied", "Embedding", "unit_norm", "RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"}
    without = {"activation", "ModuleList", "ModuleDict", "Parametrised", "parametrise", "unparametrise"}
    files = (nn.activations, nn.containers, nn.layers, nn.losses, nn.norm, nn.parametrisation, nn.recurrent)
    assert {name for file in files for name in file.__all__} - without == tested - {"GELU, tanh"}
