"""The way into the C library: each function answers "done", or "not my case" and then NumPy does it.

Ring 0, and the only package that sees the compiled module. It must not know what an op means, what a gradient is,
or who calls: it looks up arrays' dtype, shape and memory, and passes pointers. Read it when you want to know what C
is given (`arrays.py` first, then one file per kind of kernel); `csrc/tinyae.h` says what C does with it.

    FORWARD[op](*arrays, **settings)               a new array, or None: not my case
    BACKWARD[op, argument](g, *kept)               the same; kept is what the op's vjp names after g
                                                   (a tuple of them, where one rule serves several arguments)
    gemm(a, b, bias, activation, param, ...)       the same
    sgd(...), adam(...), noise(...), gather(...)   True: done in place, or False: not my case
    rmsprop(...), adagrad(...), adadelta(...)      the same
    info(), use_isa(name)                          which backend and which instruction set
    get_num_threads(), set_num_threads(n)          how many threads a call may use
    plan.Program(buffers, instructions, ...)       a whole training step in one call

Both tables are empty on the NumPy backend. `TINYAE_BACKEND=numpy` forces it, `TINYAE_BACKEND=c` refuses to start
without C, `TINYAE_ISA=scalar|neon|avx2|avx512` forces an instruction set. `TINYAE_NUM_THREADS`, else `OMP_NUM_THREADS`,
says how many threads to use; else there are as many as processors that this process may use.
"""

from . import cells, conv, elementwise, losses, pool, products
from .inplace import adadelta, adagrad, adam, gather, noise, rmsprop, sgd
from .library import get_num_threads, info, say_why_once, set_num_threads, use_isa
from .products import gemm

__all__ = ["BACKWARD", "FORWARD", "adadelta", "adagrad", "adam", "gather", "gemm", "get_num_threads", "info", "noise",
           "rmsprop", "say_why_once", "set_num_threads", "sgd", "use_isa"]  # fmt: skip

FORWARD = elementwise.FORWARD | products.FORWARD | cells.FORWARD | conv.FORWARD | pool.FORWARD | losses.FORWARD
BACKWARD = elementwise.BACKWARD | cells.BACKWARD | pool.BACKWARD | losses.BACKWARD
