"""``ops/pool.py``. The truth lists each window's places and asks NumPy for their maximum or mean."""

from itertools import product

import numpy as np
from hypothesis import strategies as st

from tinyae.errors import SettingError, ShapeError

from .arrays import distinct, laid_out, row_into, values
from .conv import _flat, operands


ROWS, TRUTH, TORCH = {}, {}, {}
row = row_into(ROWS)


# -- pooling --------------------------------------------------------------------------------------------------------


def pooled(draw, dilated):
    """A shape, and settings for pooling its last one or two axes, whose number an int leaves to (N, C, ...)."""
    n = draw(st.integers(1, 2))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n))
    settings = {
        "stride": draw(st.sampled_from([None, tuple(draw(st.integers(1, 3)) for _ in kernel)])),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
    }
    if dilated:
        settings["dilation"] = draw(st.integers(1, 2))
    d = settings.get("dilation", 1)
    # Not below d: a dilated window could lie in the padding altogether, whose maximum is -inf.
    size = [max(d, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 3)) for k, p in zip(kernel, settings["padding"])]
    shape = draw(st.sampled_from([(), (2,), (2, 1), (1, 2), (0, 2)]))
    if len(shape) == 2 and len(set(kernel)) == 1 and draw(st.booleans()):
        kernel = kernel[0]
    return (*shape, *size), {"kernel_size": kernel, **settings}


def lengths_of(value, ndim):
    return (value,) * (ndim - 2) if isinstance(value, int) else tuple(value)


def pool_windows(shape, kernel_size, stride, padding, dilation=1):
    """{place of a window: its places in the last axes of shape, None where there is padding}, in order."""
    kernel = lengths_of(kernel_size, len(shape))
    n = len(kernel)
    stride = kernel if stride is None else lengths_of(stride, n + 2)
    padding, dilation = lengths_of(padding, n + 2), lengths_of(dilation, n + 2)
    places = [[[o if 0 <= (o := i * s + k * d - p) < m else None for k in range(w)]
               for i in range((m + 2 * p - d * (w - 1) - 1) // s + 1)]
              for m, w, s, p, d in zip(shape[-n:], kernel, stride, padding, dilation)]  # fmt: skip
    return {i: [at if None not in at else None for at in product(*(axis[j] for axis, j in zip(places, i)))]
            for i in product(*(range(len(axis)) for axis in places))}  # fmt: skip


def small_array(windows, shape):
    last = max(windows)
    return np.zeros((*shape[: len(shape) - len(last)], *(i + 1 for i in last)))


def _max_pool(x, **settings):
    windows = pool_windows(x.shape, **settings)
    y = small_array(windows, x.shape)
    for i, places in windows.items():
        y[(..., *i)] = np.max([x[(..., *at)] for at in places if at is not None], axis=0)
    return y


def _avg_pool(x, *, count_include_pad, **settings):
    windows = pool_windows(x.shape, **settings)
    y = small_array(windows, x.shape)
    for i, places in windows.items():
        real = [x[(..., *at)] for at in places if at is not None]
        y[(..., *i)] = sum(real) / (len(places) if count_include_pad else len(real))
    return y


@row
def max_pool_row(draw):
    shape, settings = pooled(draw, dilated=True)
    return [laid_out(draw, distinct(draw, shape), repeat=False)], settings


@row
def avg_pool_row(draw):
    shape, settings = pooled(draw, dilated=False)
    return operands(draw, shape), {**settings, "count_include_pad": draw(st.booleans())}


@row
def _avg_pool_spread_row(draw):
    (x,), settings = avg_pool_row(draw)
    return operands(draw, _avg_pool(x, **settings).shape), {"shape": x.shape, **settings}


def winners(draw, shape, settings):
    """A random place of each window, by number; places in the padding too."""
    windows = pool_windows(shape, **settings)
    choose = np.random.default_rng(draw(st.integers(0, 99)))
    return choose.integers(0, len(next(iter(windows.values()))), small_array(windows, shape).shape, np.uint8)


@row
def _max_pool_winner_row(draw):
    shape, settings = pooled(draw, dilated=True)
    x = laid_out(draw, values(draw, shape).round())  # ties
    return [x, _max_pool(x, **settings)], settings


@row
def _max_pool_pick_row(draw):
    shape, settings = pooled(draw, dilated=True)
    return [*operands(draw, shape), winners(draw, shape, settings)], settings


@row
def _max_pool_place_row(draw):
    shape, settings = pooled(draw, dilated=True)
    winner = winners(draw, shape, settings)
    return [*operands(draw, winner.shape), winner], {"shape": shape, **settings}


def _max_pool_winner(x, y, **settings):
    winner = np.zeros(y.shape, np.uint8)
    for i, places in pool_windows(x.shape, **settings).items():
        outside = np.full(x.shape[: x.ndim - len(i)], -np.inf)
        winner[(..., *i)] = np.argmax([outside if at is None else x[(..., *at)] for at in places], axis=0)
    return winner


def _max_pool_pick(x, winner, **settings):
    y = np.zeros(winner.shape)
    for i, places in pool_windows(x.shape, **settings).items():
        for k, at in enumerate(places):
            if at is not None:
                y[(..., *i)] += np.where(winner[(..., *i)] == k, x[(..., *at)], 0.0)
    return y


def _max_pool_place(g, winner, *, shape, **settings):
    x = np.zeros(shape)
    for i, places in pool_windows(shape, **settings).items():
        for k, at in enumerate(places):
            if at is not None:
                x[(..., *at)] += np.where(winner[(..., *i)] == k, g[(..., *i)], 0.0)
    return x


def _avg_pool_spread(g, *, shape, count_include_pad, **settings):
    x = np.zeros(shape)
    for i, places in pool_windows(shape, **settings).items():
        real = [at for at in places if at is not None]
        for at in real:
            x[(..., *at)] += g[(..., *i)] / (len(places) if count_include_pad else len(real))
    return x


TRUTH |= {
    "max_pool": _max_pool, "_max_pool_winner": _max_pool_winner, "_max_pool_pick": _max_pool_pick,
    "_max_pool_place": _max_pool_place, "avg_pool": _avg_pool, "_avg_pool_spread": _avg_pool_spread,
}  # fmt: skip


# -- upsampling -----------------------------------------------------------------------------------------------------


@row
def upsample_row(draw):
    n = draw(st.integers(1, 2))
    settings = {"mode": draw(st.sampled_from(["nearest", {1: "linear", 2: "bilinear"}[n]]))}
    shape = (*draw(st.sampled_from([(2,), (2, 2), (0, 1)])), *(draw(st.integers(1, 4)) for _ in range(n)))
    factors = tuple(draw(st.integers(1, 4)) for _ in range(n))
    if len(shape) == n + 2 and len(set(factors)) == 1 and draw(st.booleans()):
        factors = factors[0]
    return operands(draw, shape), {"scale_factor": factors, **settings}


@row
def _upsample_back_row(draw):
    (x,), settings = upsample_row(draw)
    return operands(draw, _upsample(x, **settings).shape), settings


def _upsample(x, *, scale_factor, mode):
    factors = lengths_of(scale_factor, x.ndim)
    for axis, s in zip(range(x.ndim - len(factors), x.ndim), factors):
        rows = np.moveaxis(x, axis, -1)
        n = rows.shape[-1]
        if mode == "nearest":
            new = [rows[..., i // s] for i in range(n * s)]
        else:
            middle = (np.arange(n * s) + 0.5) / s - 0.5
            new = np.moveaxis(np.apply_along_axis(lambda row: np.interp(middle, range(n), row), -1, rows), -1, 0) \
                if rows.size else np.zeros((n * s, *rows.shape[:-1]))  # fmt: skip
        x = np.moveaxis(np.stack(list(new), axis=-1), -1, axis)
    return x


def _upsample_back(g, *, scale_factor, mode):
    """The matrix of `_upsample`, column by column, transposed."""
    factors = lengths_of(scale_factor, g.ndim)
    size = [n // s for n, s in zip(g.shape[-len(factors) :], factors)]
    x = np.zeros((*g.shape[: -len(factors)], *size))
    for at in product(*map(range, size)):
        one = np.zeros((1, 1, *size))
        one[(0, 0, *at)] = 1.0
        x[(..., *at)] = (g * _upsample(one, scale_factor=factors, mode=mode)[0, 0]).sum(tuple(range(-len(factors), 0)))
    return x


TRUTH |= {"upsample": _upsample, "_upsample_back": _upsample_back}


# -- as PyTorch says it ---------------------------------------------------------------------------------------------


def _torch_pool(kind):
    def pool(torch, x, *, kernel_size, **settings):
        kernel = lengths_of(kernel_size, x.ndim)
        n = len(kernel)
        function = getattr(torch.nn.functional, f"{kind}_pool{n}d")
        x_flat = _flat(x, n)[:, None] if x.ndim - n != 2 else x
        y = function(x_flat, kernel, **settings)
        return y.reshape(*x.shape[:-n], *y.shape[-n:])

    return pool


def _torch_upsample(torch, x, *, scale_factor, mode):
    factors = lengths_of(scale_factor, x.ndim)
    n = len(factors)
    settings = {} if mode == "nearest" else {"align_corners": False}
    y = torch.nn.functional.interpolate(_flat(x, n)[:, None], scale_factor=factors, mode=mode, **settings)
    return y.reshape(*x.shape[:-n], *y.shape[-n:])


TORCH |= {
    "max_pool": _torch_pool("max"), "avg_pool": _torch_pool("avg"), "upsample": _torch_upsample,
    "_max_pool_winner": None, "_max_pool_pick": None, "_max_pool_place": None, "_avg_pool_spread": None,
    "_upsample_back": None,
}  # fmt: skip


# -- what must be refused -------------------------------------------------------------------------------------------

x344 = np.ones((3, 4, 4))
BAD = [
    (ShapeError, "upsample", (np.ones((4, 4)),), {"scale_factor": 2}),
    (ShapeError, "upsample", (x344,), {"scale_factor": 2, "mode": "bilinear"}),
    (ShapeError, "upsample", (x344,), {"scale_factor": (2, 2), "mode": "linear"}),
    (SettingError, "upsample", (x344,), {"scale_factor": 2, "mode": "cubic"}),
    (SettingError, "upsample", (x344,), {"scale_factor": 1.5}),
    (SettingError, "upsample", (x344,), {"scale_factor": 0}),
]
for name in ("max_pool", "avg_pool"):
    BAD += [
        (ShapeError, name, (np.ones((4, 4)),), {"kernel_size": 2}),
        (ShapeError, name, (np.ones(4),), {"kernel_size": (2, 2)}),
        (ShapeError, name, (x344,), {"kernel_size": (5, 5)}),
        (ShapeError, name, (np.ones((2, 0, 4)),), {"kernel_size": (2, 2), "padding": 1}),
        (SettingError, name, (x344,), {"kernel_size": (2, 2), "padding": 2}),
        (SettingError, name, (x344,), {"kernel_size": (2, 2), "padding": "same"}),
        (SettingError, name, (x344,), {"kernel_size": 0}),
        (SettingError, name, (x344,), {"kernel_size": (2, 2), "stride": 0}),
    ]
