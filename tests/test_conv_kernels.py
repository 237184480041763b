"""csrc/conv.c, conv.inc and pool.inc on every instruction set: values, bits, edges, bounds.

Calls the C functions themselves, with guard bands around every array. Whole numbers make sums exact, so that what is
compared with the NumPy definition must be equal. `test_ops.py` and `test_conv.py` cover the ops above.
"""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyae import kernels
from tinyae.engine import OPS
from tinyae.ops import conv as module

pytestmark = pytest.mark.skipif(kernels.info()["backend"] != "c", reason="the backend is NumPy: there is no C to test")
if kernels.info()["backend"] == "c":
    from tinyae._kernels import ffi, lib

    ACTIVATIONS = kernels.library.reported(lib.tae_unary_name)

DTYPES = [np.float32, np.float64]


class Sides(NamedTuple):
    """What `tae_windows` holds, as the ops say it; padding is ((before, after), (before, after))."""

    images: int
    groups: int
    big: tuple
    small: tuple
    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple

    @property
    def windows(self):
        before = [before for before, _ in self.padding]
        return ffi.new("tae_windows *", (*self[:6], before, self.dilation))

    @property
    def shapes(self):
        """Of big, small and weight."""
        weight = self.small[0], self.big[0] // self.groups, *self.kernel
        return (self.images, *self.big), (self.images, *self.small), weight

    @property
    def settings(self):
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}


def sides(images=2, groups=1, big=(3, 8, 8), out=4, kernel=(3, 3), stride=(1, 1), padding=((1, 1), (1, 1)),
          dilation=(1, 1)):  # fmt: skip
    ends = zip(big[1:], kernel, stride, padding, dilation)
    small = (out, *((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in ends))
    # The way back ends where big does, whose last places may be in no window.
    return Sides(images, groups, big, small, kernel, stride, padding, dilation)


@st.composite
def any_sides(draw, channels=4):
    kernel, stride, dilation = (
        tuple(draw(st.integers(1, most)) for _ in range(2)) for most in (5, 3, 2)
    )  # fmt: skip
    padding = tuple((draw(st.integers(-1, 3)), draw(st.integers(-1, 3))) for _ in range(2))
    ends = zip(kernel, padding, dilation)
    lengths = (max(1, d * (k - 1) + 1 - sum(p)) + draw(st.integers(0, 9)) for k, p, d in ends)
    groups = draw(st.integers(1, 3))
    n_in, n_out = (groups * draw(st.integers(1, channels)) for _ in range(2))
    return sides(draw(st.integers(1, 3)), groups, (n_in, *lengths), n_out, kernel, stride, padding, dilation)


def whole(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


def guarded(x):
    """x among NaNs, off any boundary but its own: whatever is read beyond it spoils the result."""
    memory = np.full(x.size + 131, np.nan, x.dtype)
    memory[65 : 65 + x.size] = x.ravel()
    return memory[65 : 65 + x.size]


SENTINEL = 12345.0


def written(shape, dtype, call):
    """What call writes into an array of that shape; nothing beside it. Returns (status, array)."""
    size = int(np.prod(shape))
    memory = np.full(size + 131, SENTINEL, dtype)
    out = memory[65 : 65 + size]
    status = call(ffi.from_buffer(out))
    assert np.all(memory[:65] == SENTINEL) and np.all(memory[65 + size :] == SENTINEL), "written outside"
    return status, out.reshape(shape)


def code(x):
    return int(x.dtype == np.float64)


def conv(s, x, weight, bias=None, transposed=False, activation=None, param=0.0):
    """Either direction."""
    run = lib.tae_conv2d_transposed if transposed else lib.tae_conv2d
    read = [guarded(a) for a in (x, weight)] + ([] if bias is None else [guarded(bias)])
    at = [ffi.from_buffer(a) for a in read] + ([ffi.NULL] if bias is None else [])
    number = -1 if activation is None else ACTIVATIONS.index(activation)
    shape = s.shapes[0 if transposed else 1]
    status, y = written(shape, x.dtype, lambda y: run(code(x), s.windows, *at, number, param, y))
    assert status == lib.TAE_DONE
    return y


def weights(s, big, small):
    """The third side."""
    at = [ffi.from_buffer(guarded(a)) for a in (big, small)]
    size = lib.tae_conv2d_weight_room(s.windows)

    def call(weight):
        run = lib.tae_conv2d_weight
        return written((size,), big.dtype, lambda room: run(code(big), s.windows, *at, weight, room))[0]

    status, weight = written(s.shapes[2], big.dtype, call)
    assert status == lib.TAE_DONE
    return weight


def expected(s, big, small, weight, bias=(None, None)):
    """small, big and weight, each from the other two by the definitions in NumPy."""
    biases = [() if b is None else (b,) for b in bias]
    exact = module._exact(s.big[1:], s.kernel, s.stride, s.padding, s.dilation)
    back = {**s.settings, "padding": exact, "output_padding": 0}
    return (OPS["conv2d"].definition(big, weight, *biases[0], **s.settings),
            OPS["conv_transpose2d"].definition(small, weight, *biases[1], **back),
            OPS["_conv2d_weight"].definition(big, small, kernel_size=s.kernel, **s.settings))  # fmt: skip


def all_three(s, big, small, weight, bias=(None, None)):
    return (conv(s, big, weight, bias[0]), conv(s, small, weight, bias[1], transposed=True), weights(s, big, small))


def same_bits(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def check(s, dtype):
    big, small, weight = (whole(shape, dtype, i) for i, shape in enumerate(s.shapes))
    bias = whole(s.small[0], dtype, 3), whole(s.big[0], dtype, 4)
    for y, right in zip(all_three(s, big, small, weight, bias), expected(s, big, small, weight, bias)):
        assert np.abs(right).max(initial=0) < 2**24 and np.array_equal(y, right)


# -- values ---------------------------------------------------------------------------------------------------------


@given(s=any_sides(), dtype=st.sampled_from(DTYPES))
def test_whole_numbers_equal_the_definition(isa, s, dtype):
    check(s, dtype)


@given(s=any_sides(channels=70))
def test_many_channels(isa, s):
    check(s, np.float32)


@pytest.mark.parametrize("s", [
    sides(1, 1, (3, 90, 150), 2),  # bands of rows
    sides(2, 1, (1, 1, 9000), 3, (1, 9), padding=((0, 0), (4, 4))),  # strips of a row
    sides(1, 1, (2, 3, 9000), 3, (2, 9), stride=(1, 2)),
    sides(1, 2, (140, 9, 10), 6),  # several tables of taps
    sides(1, 1, (40, 30, 30), 2, (5, 5)),
    sides(40, 1, (2, 5, 5), 3),  # blocks of images
    sides(3, 1, (1, 1, 1), 1, (1, 1), padding=((0, 0), (0, 0))),
    sides(1, 1, (2, 2, 40), 1, (1, 3), stride=(1, 50)),  # places that no window holds
    sides(2, 1, (2, 20, 20), 3, (3, 3), stride=(4, 6), dilation=(2, 3)),  # residues that no tap has
], ids=str)  # fmt: skip
def test_every_way_of_cutting(isa, s):
    check(s, np.float32)
    check(s, np.float64)


def test_float32_is_as_exact_as_a_sum_in_sequence(isa, rng):
    s = sides(4, 1, (40, 7, 9), 20)
    arrays = [rng.standard_normal(shape) for shape in s.shapes]
    sizes = expected(s, *map(np.abs, arrays))
    narrow = [a.astype(np.float32) for a in arrays]
    right = expected(s, *(a.astype(np.float64) for a in narrow))
    for y, exact, size in zip(all_three(s, *narrow), right, sizes):
        assert np.all(np.abs(y - exact) <= 40 * np.finfo(np.float32).eps * size)


def test_products_are_summed_in_sequence(isa, rng):
    """Note [Bits of convolutions], written down again: over channels, rows and columns of the kernel."""
    s = sides(1, 1, (5, 6, 7), 3)
    big, _, weight = (rng.standard_normal(shape).astype(np.float32) for shape in s.shapes)
    padded = np.pad(big, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    total = np.zeros(s.shapes[1], np.float32)
    for c, k, l in np.ndindex(5, 3, 3):
        product = weight[:, c, k, l].astype(np.float64)[:, None, None] * padded[:, c, None, k : k + 6, l : l + 7]
        if isa == "scalar":
            product = product.astype(np.float32)
        total = (total + product.astype(np.float64)).astype(np.float32)
    assert same_bits(conv(s, big, weight), total)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_activation_is_folded_in(isa, rng, transposed, stride):
    s = sides(2, 1, (3, 9, 8), 40, stride=(stride, stride))
    big, small, weight = (rng.standard_normal(shape).astype(np.float32) for shape in s.shapes)
    bias = rng.standard_normal(s.big[0] if transposed else s.small[0]).astype(np.float32)
    x = small if transposed else big
    for name, param in (("relu", 0.0), ("leaky_relu", 0.2), ("tanh", 0.0)):
        folded = conv(s, x, weight, bias, transposed, name, param)
        apart = conv(s, x, weight, bias, transposed)
        assert lib.tae_unary(ACTIVATIONS.index(name), 0, apart.size, *[ffi.from_buffer(apart.ravel())] * 2, param) == 0
        assert same_bits(folded, apart)


# -- pooling --------------------------------------------------------------------------------------------------------


@st.composite
def poolings(draw):
    """Sides of equally many channels, with padding as pooling may have it."""
    kernel, stride, dilation = (tuple(draw(st.integers(1, most)) for _ in range(2)) for most in (4, 3, 2))
    padding = tuple((draw(st.integers(-1, k // 2)), draw(st.integers(-1, k // 2))) for k in kernel)
    ends = zip(kernel, padding, dilation)
    lengths = (max(1, d * (k - 1) + 1 - sum(p)) + draw(st.integers(0, 40)) for k, p, d in ends)
    channels = draw(st.integers(1, 3))
    images = draw(st.integers(1, 3))
    return sides(images, 1, (channels, *lengths), channels, kernel, stride, padding, dilation)


def met(s, big, outside):
    """(places of the kernel, *small): what each window holds."""
    padded = np.pad(big, ((0, 0), (0, 0), *((max(b, 0), max(a, 0)) for b, a in s.padding)), constant_values=outside)
    rows, columns = (
        np.arange(n)[:, None] * stride + np.arange(k) * d - min(before, 0)
        for n, stride, k, d, (before, _) in zip(s.small[1:], s.stride, s.kernel, s.dilation, s.padding)
    )
    windows = padded[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # (n, c, i, j, k, l)
    return np.moveaxis(windows.reshape(*windows.shape[:4], -1), -1, 0)


def pooled(s, x, run, *rest):
    """Of small's shape; status checked."""
    at = ffi.from_buffer(guarded(x))
    status, y = written(s.shapes[1], x.dtype, lambda y: run(code(x), s.windows, at, *rest, y))
    assert status == lib.TAE_DONE
    return y


def max_pooled(s, x):
    """(the largest, its place), also asked for one by one."""
    x, winner = guarded(x), np.full(int(np.prod(s.shapes[1])) + 2, 77, np.uint8)
    at, place = ffi.from_buffer(x), ffi.from_buffer("unsigned char[]", winner[1:-1])
    both = written(s.shapes[1], x.dtype, lambda y: lib.tae_max_pool(code(x), s.windows, at, y, place))
    alone = written(s.shapes[1], x.dtype, lambda y: lib.tae_max_pool(code(x), s.windows, at, y, ffi.NULL))
    assert both[0] == alone[0] == lib.TAE_DONE and np.array_equal(both[1], alone[1], equal_nan=True)
    assert winner[0] == winner[-1] == 77
    again = winner.copy()
    again[1:-1] = 99
    place = ffi.from_buffer("unsigned char[]", again[1:-1])
    assert lib.tae_max_pool(code(x), s.windows, at, ffi.NULL, place) == lib.TAE_DONE and np.array_equal(again, winner)
    return both[1], winner[1:-1].reshape(s.shapes[1])


@given(s=poolings(), dtype=st.sampled_from(DTYPES), nans=st.booleans())
def test_the_largest_of_every_window_and_its_place(isa, s, dtype, nans):
    x = whole(s.shapes[0], dtype)
    x[x == 3] = np.nan if nans else -np.inf
    y, winner = max_pooled(s, x)
    windows = met(s, x, -np.inf)
    assert np.array_equal(y, np.max(windows, axis=0), equal_nan=True)
    assert np.array_equal(winner, np.argmax(windows, axis=0))  # the first of equal ones; a NaN before all
    g = whole(s.shapes[1], dtype, 1)
    at, place = ffi.from_buffer(guarded(g)), ffi.from_buffer("unsigned char[]", guarded_bytes(winner))
    run = lib.tae_max_pool_backward
    status, out = written(s.shapes[0], dtype, lambda out: run(code(g), s.windows, at, place, out))
    assert status == lib.TAE_DONE
    right = spread_by_hand(s, [g * (winner == k) for k in range(len(windows))])
    assert np.array_equal(out, right)


def guarded_bytes(x):
    memory = np.full(x.size + 20, 255, np.uint8)
    memory[10:-10] = x.ravel()
    return memory[10:-10]


def spread_by_hand(s, values):
    """values[k] added to place k of every window: the transpose of `met`."""
    big = np.zeros(s.shapes[0], values[0].dtype)
    number = np.arange(big[0, 0].size, dtype=float).reshape(1, 1, *s.big[1:])
    for value, places in zip(values, met(s, number, -1)[:, 0, 0].astype(int)):
        for n, c in np.ndindex(*big.shape[:2]):
            np.add.at(big[n, c].reshape(-1), places[places >= 0], value[n, c][places >= 0])
    return big


@given(s=poolings(), dtype=st.sampled_from(DTYPES))
def test_sums_of_windows_and_their_transpose(isa, s, dtype):
    x, g = whole(s.shapes[0], dtype), whole(s.shapes[1], dtype, 1)
    assert np.array_equal(pooled(s, x, lib.tae_sum_pool, 4.0), met(s, x, 0).sum(axis=0) / 4)
    at = ffi.from_buffer(guarded(g))
    status, out = written(s.shapes[0], dtype, lambda out: lib.tae_spread(code(g), s.windows, at, 4.0, out))
    assert status == lib.TAE_DONE and np.array_equal(out, spread_by_hand(s, [g / 4] * np.prod(s.kernel)))


@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (3, 2), (1, 3), (2, 5)])
@pytest.mark.parametrize("width", [1, 3, 4, 7, 8, 9, 15, 16, 17, 33])
def test_windows_side_by_side_repeat_values(isa, factors, width):
    s = sides(3, 1, (2, 3 * factors[0], width * factors[1]), 2, factors, factors, ((0, 0), (0, 0)))
    x = whole(s.shapes[1], np.float32)
    at = ffi.from_buffer(guarded(x))
    status, out = written(s.shapes[0], x.dtype, lambda out: lib.tae_spread(0, s.windows, at, 1.0, out))
    assert status == lib.TAE_DONE and np.array_equal(out, x.repeat(factors[0], axis=2).repeat(factors[1], axis=3))


def test_pooling_has_the_same_bits_for_any_number_of_threads(isa, rng):
    s = sides(40, 1, (3, 9, 9), 3, (3, 3), (2, 2))
    x, results = rng.standard_normal(s.shapes[0]).astype(np.float32), []
    before = kernels.get_num_threads()
    try:
        for n in (1, 2, 3):
            kernels.set_num_threads(n)
            results.append((pooled(s, x, lib.tae_sum_pool, 9.0), *max_pooled(s, x)))
    finally:
        kernels.set_num_threads(before)
    assert all(same_bits(a, b) for result in results[1:] for a, b in zip(result, results[0]))


# -- bits -----------------------------------------------------------------------------------------------------------

SHAPES = [sides(9, 1, (3, 11, 7), 5), sides(9, 1, (40, 6, 6), 20), sides(9, 2, (4, 9, 9), 6, stride=(2, 2))]


@pytest.mark.parametrize("s", SHAPES, ids=str)
def test_same_bits_for_any_number_of_threads(isa, rng, s):
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in s.shapes]
    before, results = kernels.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            kernels.set_num_threads(n)
            results.append(all_three(s, *arrays))
    finally:
        kernels.set_num_threads(before)
    for result in results[1:]:
        assert all(map(same_bits, result, results[0]))


@pytest.mark.parametrize("s", SHAPES, ids=str)
def test_an_image_has_the_same_bits_alone(isa, rng, s):
    big, small, weight = (rng.standard_normal(shape).astype(np.float32) for shape in s.shapes)
    one = s._replace(images=1)
    for x, transposed in ((big, False), (small, True)):
        together = conv(s, x, weight, transposed=transposed)
        alone = [conv(one, x[i : i + 1], weight, transposed=transposed) for i in (0, 4, 8)]
        assert same_bits(together[[0, 4, 8]], np.concatenate(alone))


def test_nan_and_inf_go_where_their_windows_are(isa):
    s = sides(2, 1, (2, 7, 9), 3, padding=((0, 0), (0, 0)))
    big, small, weight = (np.ones(shape, np.float32) for shape in s.shapes)
    big[0, 1, 2, 3], big[1, 0, 6, 8], small[0, 0, 0, 0] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        for y, right in zip(all_three(s, big, small, weight), expected(s, big, small, weight)):
            assert np.array_equal(y, right, equal_nan=True)
    big[...], small[...], small[0, 1, 4, 6] = 1, 1, np.nan
    big[0, 0, 0, 0] = np.inf  # meets the first place of the kernel alone
    third = weights(s, big, small)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(third, expected(s, big, small, weight)[2], equal_nan=True)
    assert np.isinf(third).sum() == 2 and np.isnan(third[1]).all() and np.isfinite(third[0]).sum() == 17


def test_subnormals_are_zero(isa):
    s = sides(1, 1, (1, 5, 5), 1)
    tiny = np.full(s.shapes[0], 1e-40, np.float32)
    weight = np.ones(s.shapes[2], np.float32)
    assert not any(y.any() for y in all_three(s, tiny, tiny, weight * np.float32(1e-3)))


# -- what C is given ------------------------------------------------------------------------------------------------

ONES = np.ones((2, 2, 4, 4), np.float32)
DEFAULT = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}
CALLS = {  # arrays that fit, settings as an op gives them
    "conv2d": ((ONES, ONES, ONES[0, 0, 0, :2]), DEFAULT),
    "conv_transpose2d": ((ONES, ONES, ONES[0, 0, 0, :2]), DEFAULT | {"output_padding": 0}),
    "_conv2d_weight": ((ONES, ONES), DEFAULT | {"kernel_size": (3, 3)}),
    "max_pool": ((ONES,), {"kernel_size": 2, "stride": None, "padding": 0, "dilation": 1}),
    "avg_pool": ((ONES,), {"kernel_size": 2, "stride": 1, "padding": 1, "count_include_pad": True}),
    "_avg_pool_spread": ((ONES,), {"shape": (2, 2, 8, 8), "kernel_size": 2, "stride": 2, "padding": 0,
                                   "count_include_pad": False}),
    "upsample": ((ONES,), {"scale_factor": 2, "mode": "nearest"}),
    "_upsample_back": ((ONES,), {"scale_factor": (2, 2), "mode": "nearest"}),
}  # fmt: skip
WRONG_SHAPES = {"max_pool": [(), (4,), (2, 4), (0, 2, 4, 4), (1, 1, 4, 1), (1, 2, 2, 2, 2)],
                "_avg_pool_spread": [(), (2, 2, 8, 8), (2, 4, 4)], "upsample": [(), (4,), (2, 4), (0, 2, 4, 4)],
                "_upsample_back": [(), (4,), (2, 2, 3, 4), (0, 2, 4, 4)]}  # fmt: skip


def test_every_kernel_is_called_here():
    assert set(CALLS) == {*kernels.conv.FORWARD, *kernels.pool.FORWARD}
    assert {name for name, _ in kernels.pool.BACKWARD} == {"max_pool"}


@pytest.mark.parametrize("name", CALLS)
def test_any_memory_gives_the_same_bits(rng, name):
    arrays, settings = CALLS[name]
    arrays = [rng.standard_normal(a.shape).astype(a.dtype) for a in arrays]
    run = kernels.FORWARD[name]
    right = run(*arrays, **settings)
    for i, x in enumerate(arrays):
        reversed_, wide, off = x[::-1].copy()[::-1], np.repeat(x, 2, axis=-1)[..., ::2], bytearray(x.nbytes + 1)
        unaligned = np.frombuffer(off, x.dtype, offset=1).reshape(x.shape)
        unaligned[...] = x
        for other in (np.asarray(x, order="F"), reversed_, wide, unaligned):
            y = run(*arrays[:i], other, *arrays[i + 1 :], **settings)
            assert same_bits(y, right) and y.flags.c_contiguous and y.flags.writeable


@pytest.mark.parametrize("name", CALLS)
def test_what_c_cannot_take_is_not_its_case(name):
    arrays, settings = CALLS[name]
    run = kernels.FORWARD[name]
    assert run(*arrays, **settings) is not None
    kinds = [lambda x: x.astype(np.float16), lambda x: x.astype(np.float64), lambda x: x.astype(int), np.ma.asarray,
             lambda x: x.astype(x.dtype.newbyteorder()), lambda x: x[:0], lambda x: 1.5]  # fmt: skip
    shapes = {0: [(4, 4), (2, 3, 4, 4)], 1: [(4, 4), (3, 3, 9, 9)], 2: [(3,), (2, 1), ()]}
    if len(arrays) == 1:
        shapes = {0: WRONG_SHAPES.get(name, [()])}
        del kinds[1]  # it need not be another array's dtype
    for i, x in enumerate(arrays):
        for other in [change(x) for change in kinds] + [np.ones(shape, np.float32) for shape in shapes[i]]:
            if (name, i, np.shape(other)[1:]) != ("_conv2d_weight", 0, (3, 4, 4)):  # which it may have
                assert run(*arrays[:i], other, *arrays[i + 1 :], **settings) is None
    bad = [{"stride": 0}, {"stride": 1.0}, {"stride": (1, 1, 1)}, {"stride": True}, {"padding": -1}, {"dilation": 0},
           {"padding": "full"}, {"padding": ((0, 0),)}, {"padding": ((0, 0), (0, 0.5))}, {"groups": 0}, {"groups": 3},
           {"padding": 9 if name == "conv_transpose2d" else ((-2, -2), (-2, -2))}, {"groups": 2.0}, {"padding": None},
           {"kernel_size": 0}, {"kernel_size": 9}, {"kernel_size": (3, 3, 3)}, {"kernel_size": True},
           {"scale_factor": 0}, {"scale_factor": (1, 2, 3)}, {"scale_factor": 1.5}, {"mode": "bilinear"},
           {"shape": (2, 2, 2)}, {"kernel_size": 2, "padding": 2}, {"count_include_pad": False},
           *({"output_padding": p} for p in (1, -1, (0, 0, 0)))]  # fmt: skip
    for setting in bad:
        if not set(setting) <= set(settings) or (name == "_avg_pool_spread" and "count_include_pad" in setting):
            continue
        assert run(*arrays, **{**settings, **setting}) is None, setting


# -- what is refused ------------------------------------------------------------------------------------------------


def test_unsound_sizes_are_refused():
    x = np.ones(4096, np.float32)
    s = sides()
    bad = [s._replace(images=-1), s._replace(groups=0), s._replace(groups=2), s._replace(big=(3, 0, 8)),
           s._replace(small=(4, 8, 2**40)), s._replace(kernel=(0, 3)), s._replace(stride=(1, 0)),
           s._replace(dilation=(0, 1)), s._replace(padding=((2**40, 0), (0, 0))), s._replace(images=2**60),
           s._replace(big=(2**31, 2**31, 2**31))]  # fmt: skip
    at = [ffi.from_buffer(x)] * 2
    for wrong in bad:
        for run in (lib.tae_conv2d, lib.tae_conv2d_transposed):
            status, y = written((512,), np.float32, lambda y: run(0, wrong.windows, *at, ffi.NULL, -1, 0.0, y))
            assert status == lib.TAE_BAD_ARGUMENT and np.all(y == SENTINEL)
        status, y = written((512,), np.float32, lambda y: lib.tae_conv2d_weight(0, wrong.windows, *at, y, ffi.NULL))
        assert status == lib.TAE_BAD_ARGUMENT and np.all(y == SENTINEL)
        assert lib.tae_conv2d_weight_room(wrong.windows) == -1
    for args in ((2, s.windows, *at, ffi.NULL, -1), (0, s.windows, *at, ffi.NULL, 999)):
        assert lib.tae_conv2d(*args, 0.0, ffi.from_buffer(x)) == lib.TAE_NOT_MINE
    assert lib.tae_conv2d(0, ffi.NULL, *at, ffi.NULL, -1, 0.0, at[0]) == lib.TAE_BAD_ARGUMENT
    assert lib.tae_conv2d(0, s.windows, at[0], ffi.NULL, ffi.NULL, -1, 0.0, at[0]) == lib.TAE_BAD_ARGUMENT
    assert lib.tae_conv2d_weight(0, s.windows, *at, at[0], ffi.NULL) == lib.TAE_BAD_ARGUMENT  # room is due
    p = sides(1, 1, (2, 4, 4), 2, (2, 2), (2, 2), ((0, 0), (0, 0)))
    winner = ffi.from_buffer("unsigned char[]", np.full(8, 4, np.uint8))  # of places 0 to 3
    for wrong in (p._replace(images=-1), p._replace(small=(1, 2, 2))):
        for run, rest in ((lib.tae_sum_pool, (1.0,)), (lib.tae_spread, (1.0,)), (lib.tae_max_pool, ())):
            last = (ffi.NULL,) if run == lib.tae_max_pool else ()
            status, y = written((99,), np.float32, lambda y: run(0, wrong.windows, at[0], *rest, y, *last))
            assert status == lib.TAE_BAD_ARGUMENT and np.all(y == SENTINEL)
    status, y = written((32,), np.float32, lambda y: lib.tae_max_pool_backward(0, p.windows, at[0], winner, y))
    assert status == lib.TAE_BAD_ARGUMENT and np.all(y == SENTINEL)
    assert lib.tae_max_pool(0, p.windows, at[0], ffi.NULL, ffi.NULL) == lib.TAE_BAD_ARGUMENT
    assert lib.tae_sum_pool(0, p._replace(kernel=(20, 20)).windows, at[0], 1.0, at[1]) == lib.TAE_NOT_MINE


@pytest.mark.parametrize("s", [
    sides(big=(1, 300, 300), kernel=(17, 17)), sides(big=(1, 300, 8), stride=(257, 1)),
    sides(big=(1, 9000, 9000), kernel=(3, 256), images=1, dilation=(4000, 1)),
], ids=["places", "stride", "reach"])  # fmt: skip
def test_what_does_not_fit_into_the_cache_is_left_to_others(s):
    """Where that is said before anything is read or written."""
    at = [ffi.from_buffer(np.ones(1, np.float32))] * 3
    run = lib.tae_conv2d_transposed if s.stride[0] > 256 else lib.tae_conv2d
    assert run(0, s.windows, at[0], at[1], ffi.NULL, -1, 0.0, at[2]) == lib.TAE_NOT_MINE


def test_no_images():
    s = sides(images=0)
    assert conv(s, np.empty(s.shapes[0]), whole(s.shapes[2], np.float64)).shape == s.shapes[1]
    assert not weights(s, np.empty(s.shapes[0]), np.empty(s.shapes[1])).any()
