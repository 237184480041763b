"""Worst errors of the element-wise functions, in units of the last place, over every float32.

Each bit pattern of a float32 is an input (4.3 billion: minutes per function), compared with the function in float64,
whose own error is a millionth of a unit. A float64 has too many: random ones, compared in the longer float of the C
compiler where that is longer. Claims are for normal inputs and results, as tinyae counts subnormals as zero.
"""

import contextlib
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench import Failed, Refused, runner
from bench.peers import PEERS

CHUNK = 1 << 20  # inputs per request
PIECE = 1 << 16  # inputs at a time: what is made of them stays in the second cache, which is three times as fast
PROMISED = {"float32": 2.0, "float64": 4.0}
DRAWN = 100_000_000  # random float64
REFERENCE = {
    "float32": "NumPy in float64; erf, erfc and gelu: Taylor series in float64 around values of math.erf and math.erfc",
    "float64": "NumPy in the longer float of the C compiler",
}

# -- the functions, wider -------------------------------------------------------------------------------------------


def _tabulated(end, derivatives, f):
    """f on [0, end] in float64: Taylor series around places 1/64 apart, where f is known by Python's own functions.

    derivatives(x, known) is the next derivative at x, from those known so far, f itself the first.
    """
    grid = np.arange(end * 64 + 1) / 64
    terms = [np.array([f(x) for x in grid.tolist()])]
    for _ in range(6):
        terms.append(derivatives(grid, terms))
    terms = [term / math.factorial(k) for k, term in enumerate(terms)]

    def series(x):
        place = np.rint(x * 64).astype(np.intp)
        d, total = x - grid[place], terms[-1][place]
        for term in terms[-2::-1]:
            total *= d
            total += term[place]
        return total

    return series


def _mills_derivative(a, known):  # from mills' = a mills - 1 / sqrt(2 pi)
    k = len(known)
    return a * known[-1] - 1 / math.sqrt(2 * math.pi) if k == 1 else a * known[-1] + (k - 1) * known[-2]


def _erf_derivative(x, known):  # from erf' = 2 / sqrt(pi) exp(-x^2), hence erf'' = -2 x erf'
    k = len(known)
    if k == 1:
        return 2 / math.sqrt(math.pi) * np.exp(-x * x)
    return -2 * x * known[-1] - (2 * (k - 2) * known[-2] if k > 2 else 0)


# mills(a) = Phi(-a) exp(a^2 / 2)
_mills = _tabulated(15, _mills_derivative, lambda a: math.erfc(a * math.sqrt(0.5)) / 2 * math.exp(a * a / 2))
_erf_table = _tabulated(6, _erf_derivative, math.erf)


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _gelu(x):
    a = np.minimum(np.abs(x), 15)
    return np.maximum(x, 0) - a * np.exp(-a * a / 2) * _mills(a)


def _erf(x):
    return np.copysign(_erf_table(np.minimum(np.abs(x), 6)), x)


def _erfc(x):
    a = np.minimum(np.abs(x), 10.6)
    far = 2 * np.exp(-a * a) * _mills(a * math.sqrt(2))
    return np.where(x > 0, far, 2 - far)


FUNCTIONS = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x), "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "erf": _erf, "erfc": _erfc, "gelu": _gelu,
}  # fmt: skip
SINGLE = ("erf", "erfc", "gelu")  # their wider form is float64 itself

# -- in the worker --------------------------------------------------------------------------------------------------


class Task:
    """Wants no more of a peer than that it is tinyae in C."""

    def __init__(self, peer, isa, dtype):
        from tinyae import kernels

        self.isas = kernels.info()["isas_supported"]
        if isa is not None and isa not in self.isas:
            raise Refused(f"{isa!r} is not an instruction set here. There are: {', '.join(self.isas)}.")
        self.kernels, self.isa, self.dtype = kernels, isa or kernels.info()["isa"], np.dtype(dtype)

    def which(self):
        """The instruction set that is asked."""
        return self.isa

    def worst(self, name, first, every):
        """[ulp, input, result] of the worst of the next CHUNK inputs; a NaN where none is due is infinitely wrong."""
        with np.errstate(all="ignore"), self.kernels.use_isa(self.isa):
            return max(self._worst(name, first + i * every, every) for i in range(0, CHUNK, PIECE))

    def _worst(self, name, first, every):
        if self.dtype == np.float32:
            bits = first + np.arange(PIECE, dtype=np.uint64) * np.uint64(every)
            x = bits[bits < 2**32].astype(np.uint32).view(np.float32)
        else:
            x = np.random.default_rng(first).integers(0, 2**64, PIECE, np.uint64).view(np.float64)
        limits = np.finfo(self.dtype)
        x = x[(np.abs(x) >= limits.tiny) | (x == 0)]  # neither NaN nor subnormal
        if not x.size:
            return [0.0, 0.0, 0.0]
        got = self.kernels.FORWARD[name](x)
        want = FUNCTIONS[name](x.astype(np.float64 if self.dtype == np.float32 else np.longdouble))
        _, exponent = np.frexp(want)
        unit = np.ldexp(np.ones((), want.dtype), exponent - limits.nmant - 1)
        far = np.abs(got.astype(want.dtype) - want) / unit
        unfit = (np.isnan(got) != np.isnan(want)) | (np.isinf(got) & (np.abs(want) < limits.max))
        claimed = (np.abs(want) >= limits.tiny) & (np.abs(want) <= limits.max)
        far = np.where(unfit, np.inf, np.where(claimed, far, 0))
        i = int(far.argmax())
        return [float(far[i]), float(x[i]), float(got[i])]


# -- in the parent --------------------------------------------------------------------------------------------------


def options(parser):
    """The command line."""
    parser.add_argument("functions", nargs="*", help=f"of {', '.join(FUNCTIONS)}; default: all")
    parser.add_argument("--isa", metavar="NAME", help="default: the one in force")
    parser.add_argument("--dtype", choices=PROMISED, default="float32")
    parser.add_argument("--every", type=lambda text: runner.numbers(text)[0], default=1, metavar="N",
                        help="take every N-th input only")  # fmt: skip


def run(options):
    """Measure and print; raises Failed if a function is further off than is promised."""
    names = options.functions or list(FUNCTIONS)
    for name in names:
        if name not in FUNCTIONS:
            raise Refused(f"there is no {name!r}; there are: {', '.join(FUNCTIONS)}.")
        if options.dtype == "float64" and name in SINGLE:
            if options.functions:
                raise Refused(f"{name}: nothing wider than float64 to compare with.")
            names = [n for n in names if n not in SINGLE]
    total = max((2**32 if options.dtype == "float32" else DRAWN) // options.every, 1)
    settings = {"isa": options.isa, "dtype": options.dtype}
    with contextlib.ExitStack() as stack:
        workers = []
        for _ in range(min(runner.CORES, -(-total // CHUNK))):
            workers.append(runner.Process("tinyae", PEERS["tinyae"], "bench.ulp", 1, settings))
            stack.callback(workers[-1].close)
        for worker in workers:
            worker.ready()
        print(f"ulp: the worst of {total:,} {options.dtype} inputs, {workers[0].call('which')}")
        print(f"compared with {REFERENCE[options.dtype]}\n")
        rows = [(name, *_sweep(workers, name, total, options)) for name in names]
    cells = [[name, f"{ulp:.3f}", f"{x:.9g}", f"{y:.9g}"] for name, ulp, x, y in rows]
    runner.print_table(["function", "ulp", "at", "result"], cells)
    wrong = [f"{name} is off by {ulp:.3f} ulp at {x!r}." for name, ulp, x, _ in rows if ulp > PROMISED[options.dtype]]
    if wrong:
        raise Failed("\n".join([f"promised are {PROMISED[options.dtype]:g} ulp.", *wrong]))


def _sweep(workers, name, total, options):
    """The worst of all, each worker taking its share of the inputs at the same time."""

    def share(i):
        found = [0.0, 0.0, 0.0]
        for done in range(i * CHUNK, total, len(workers) * CHUNK):
            first = done * options.every if options.dtype == "float32" else done
            found = max(found, workers[i].call("worst", name, first, options.every))
            if i == 0:
                runner.progress(f"{name}: {done / total:.0%}")
        return found

    with ThreadPoolExecutor(len(workers)) as pool:  # threads that wait for their workers' answers
        found = max(pool.map(share, range(len(workers))))
    runner.progress("")
    return found
