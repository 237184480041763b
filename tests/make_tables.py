"""Prints the tables of csrc/math.inc: `python tests/make_tables.py` (needs mpmath). Not run by the tests.

A function is cut into 16 intervals; on each of them stands a polynomial in d = a - centre. The centre is that float
near the middle where the function is closest to a float, so that the constant term, rounded, is exact to about 2^-34;
the other coefficients follow by weighted least squares on Chebyshev's points at 40 digits, then are rounded to float32.
"""

import textwrap

import mpmath as mp
import numpy as np

mp.mp.dps = 40
POINTS = 40
OUTSIDE = 0.2  # of less weight: exp goes there at its upper end only


def single(x):
    return np.float32(float(x))


def fit(f, low, high, degree, centre=None, slope=0, size=None):
    """[centre, c0, c1, ...] as float32, and the error of slope d + their polynomial relative to `size` or f."""
    size = size or f
    middle, half = (low + high) / 2, (high - low) / 2
    if centre is None:
        near = single(middle)
        candidates = [near + single(half * k / 2000) for k in range(-100, 101)]
        values = [f(mp.mpf(float(c))) for c in candidates]
        lost = [abs(mp.mpf(float(single(v))) / v - 1) for v in values]
        centre = candidates[lost.index(min(lost))]
    centre = mp.mpf(float(centre))
    c0 = mp.mpf(float(single(f(centre))))
    x = [middle + half * mp.cos(mp.pi * (2 * k + 1) / (2 * POINTS)) for k in range(POINTS)]
    x = [v for v in x if v != centre]
    rows = mp.matrix(len(x), degree)
    right = mp.matrix(len(x), 1)
    for i, v in enumerate(x):
        d, weight = v - centre, 1 / size(v) / mp.sqrt(mp.sin(mp.acos((v - middle) / half)))
        right[i] = (f(v) - c0 - slope * d) * weight
        for k in range(degree):
            rows[i, k] = d ** (k + 1) * weight
    solved = mp.lu_solve(rows, right)
    c = [c0] + [mp.mpf(float(single(v))) for v in solved]
    error = max(abs((mp.polyval(c[::-1], v - centre) + slope * (v - centre) - f(v)) / size(v)) for v in x)
    return [centre] + c, float(error)


QUARTERS = [((127 + octave) % 4 * 4 + quarter, mp.mpf(2) ** octave * (4 + quarter) / 4, mp.mpf(2) ** octave / 4)
            for octave in range(4) for quarter in range(4)]  # of [1, 16), by the lowest bits of the exponent
SIXTEENTHS = [(k, 1 + mp.mpf(k) / 16, mp.mpf(1) / 16) for k in range(16)]  # of [1, 2)


def table(name, f, of_v, degree, near_0=None, slope=0, size=None, intervals=QUARTERS):
    """A column for each interval of v."""
    columns, worst = {}, 0
    for index, start, width in intervals:
        low, high = of_v(start), of_v(start + width)
        columns[index], error = fit(f, low, high, degree, near_0 if low == 0 else None, slope, size)
        worst = max(worst, error)
    print(f"/* {name}: degree {degree}, error {worst:.2g} */")
    for row in range(degree + 2):
        numbers = [literal(columns[i][row]) for i in range(16)]
        lines = textwrap.wrap(", ".join(numbers), 112, break_long_words=False)
        print("    {" + "\n     ".join(lines) + "},")


def literal(v):
    if float(v).is_integer():
        return str(int(float(v)))
    mantissa, exponent = float(v).hex().split("p")
    return mantissa.rstrip("0").rstrip(".") + "p" + exponent


def powers():
    """2^(j / 16): the bits, less j << 19, which shifting t brings back, and what rounding took, relative.

    And P in exp(r) = 1 + r + r^2 P, for r from minus half a step to a whole one, and for half a step either way.
    """
    exact = [mp.mpf(2) ** (mp.mpf(j) / 16) for j in range(16)]
    words = [f"{int(single(v).view(np.uint32)) - (j << 19):#x}" for j, v in enumerate(exact)]
    lost = [literal(single(v / mp.mpf(float(single(v))) - 1)) for v in exact]
    print("\n".join(textwrap.wrap(", ".join(words), 112) + textwrap.wrap(", ".join(lost), 112)))
    for steps, degree in ((16, 3), (8, 4)):
        half = mp.log(2) / steps / 2
        x = [half / 2 + 3 * half / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * POINTS)) for k in range(POINTS)]
        rows, right = mp.matrix(POINTS, degree - 1), mp.matrix(POINTS, 1)
        for i, v in enumerate(x):
            weight = (1 if v <= half else OUTSIDE) / mp.sqrt(mp.sin(mp.acos((v - half / 2) / half / 1.5)))
            right[i] = (mp.exp(v) - 1 - v) * weight
            for k in range(degree - 1):
                rows[i, k] = v ** (k + 2) * weight
        c = [mp.mpf(float(single(v))) for v in mp.lu_solve(rows, right)]
        errors = [(abs((1 + v + v * v * mp.polyval(c[::-1], v)) / mp.exp(v) - 1), v) for v in x]
        inside = max(e for e, v in errors if v <= half)
        print(steps, [literal(v) for v in c], f"errors {float(max(errors)[0]):.2g}, {float(inside):.2g}")


def logarithm():
    """Of m in [root, 2 root), cut into 16 intervals of equal steps of its bits: 1 / m, nearly, and its -log.

    Where m may be 1, which stands in the middle, they are 1 and 0; else the former is one whose -log is nearly a float.
    P in log(1 + r) = r + r^2 P serves all; its error is relative there, absolute elsewhere.
    """
    step = 1 << 19
    root = 0x3F800000 - 9 * step - 2 * step // 3
    edges = [mp.mpf(float(np.uint32(root + j * step).view(np.float32))) for j in range(17)]
    inverses, logs, r = [], [], {True: [], False: []}
    for low, high in zip(edges, edges[1:]):
        near = single(2 / (low + high))
        candidates = [near + single(mp.mpf(k) / 2**24) for k in range(-2000, 2001)]
        lost = lambda c: abs(mp.mpf(float(single(-mp.log(c)))) / -mp.log(c) - 1)
        c = mp.mpf(1) if low < 1 < high else min((mp.mpf(float(c)) for c in candidates), key=lost)
        inverses.append(c), logs.append(single(-mp.log(c))), r[c == 1].extend([low * c - 1, high * c - 1])
    print(f"{root:#x}", *(textwrap.fill(", ".join(map(literal, x)), 112) for x in (inverses, logs)), sep="\n")
    f, end = lambda v: (mp.log1p(v) - v) / v**2 if v else mp.mpf(-0.5), max(map(abs, r[False]))
    centre = max(map(abs, r[True]))
    x = [end * mp.cos(mp.pi * (2 * k + 1) / (2 * POINTS)) for k in range(POINTS)]
    rows, right = mp.matrix(POINTS, 4), mp.matrix(POINTS, 1)
    for i, v in enumerate(x):
        weight = v**2 / max(abs(v), centre) / mp.sqrt(mp.sin(mp.acos(v / end)))
        right[i] = f(v) * weight
        for k in range(4):
            rows[i, k] = v**k * weight
    c = [mp.mpf(float(single(v))) for v in mp.lu_solve(rows, right)]
    error = lambda v: abs(v + v * v * mp.polyval(c[::-1], v) - mp.log1p(v))
    near = max(float(error(v) / abs(v)) for v in mp.linspace(-centre, centre, 1000) if v)
    print([literal(v) for v in c], f"errors {near:.2g}, {max(float(error(v)) for v in x):.2g}")


def inverse_root():
    """The bits from which half of x's are taken, and P in (1 + z)^(-1/2) = 1 + z P for the z that remains."""
    x = np.linspace(1, 4, 100_001).astype(np.float32)

    def remaining(start):
        y = (np.uint32(start) - (x.view(np.uint32) >> 1)).view(np.float32).astype(np.float64)
        return x * y * y - 1

    start = min(range(0x5F300000, 0x5F400000, 0x400), key=lambda b: np.abs(remaining(b)).max())
    end = mp.mpf(np.abs(remaining(start)).max())
    z = [end * mp.cos(mp.pi * (2 * k + 1) / (2 * POINTS)) for k in range(POINTS)]
    rows, right = mp.matrix(POINTS, 4), mp.matrix(POINTS, 1)
    for i, v in enumerate(z):
        weight = mp.sqrt(1 + v) / mp.sqrt(mp.sin(mp.acos(v / end)))
        right[i] = ((1 + v) ** mp.mpf(-0.5) - 1) * weight
        for k in range(4):
            rows[i, k] = v ** (k + 1) * weight
    c = [mp.mpf(float(single(v))) for v in mp.lu_solve(rows, right)]
    error = max(abs((1 + v * mp.polyval(c[::-1], v)) * mp.sqrt(1 + v) - 1) for v in z)
    print(f"{start:#x}", [literal(v) for v in c], f"error {float(error):.2g}")


def mills(a):
    """Phi(-a) exp(a^2 / 2)."""
    return mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a * a / 2)


def bell(a):
    """a times the normal density, less exp(-a^2 / 2)."""
    return a / mp.sqrt(2 * mp.pi)


def silu_slope(a):
    """At -a, over exp(-a)."""
    d = 1 + mp.exp(-a)
    return (d - a) / d**2


if __name__ == "__main__":
    powers()
    logarithm()
    inverse_root()
    table("tanh", mp.tanh, lambda v: (v - 1) / mp.mpf("1.625"), 5, near_0=0)
    table("erf", mp.erf, lambda v: (v - 1) / mp.mpf("3.75"), 6, near_0=0, slope=1)
    table("gelu", lambda a: a * mills(a), lambda v: v - 1, 6, near_0=0)
    larger = lambda a: max(mills(a), bell(a))
    table("gelu_slope", lambda a: mills(a) - bell(a), lambda v: v - 1, 6, size=larger)
    table("erfc", lambda a: mp.erfc(a) * mp.exp(a * a), lambda v: (v - 1) / mp.mpf("1.6"), 6, near_0=0)
    size = lambda a: (1 + a) / 2
    table("silu_slope", silu_slope, lambda v: (v - 1) / mp.mpf("0.78"), 6, near_0=0, size=size)
    rest = lambda e: (e - mp.log1p(e)) / e**2 if e else mp.mpf(0.5)
    table("log1p_unit", rest, lambda v: v - 1, 3, intervals=SIXTEENTHS)
