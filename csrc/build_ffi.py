"""How the C library becomes the module ``tinyae._kernels``: run by setup.py through cffi, never imported by tinyae.

The cdef is the marked part of tinyae.h, so there is one declaration of each function. API mode against the limited
API: one wheel serves CPython 3.10 and later. ``optional``: without a C compiler the install succeeds without the
module, and tinyae/kernels/library.py says why NumPy serves.
"""

import sys
from pathlib import Path

from cffi import FFI

# No -ffast-math: NaN, inf and the order of sums mean what they say. No -march=native: the ISA is chosen at run time.
# -ffp-contract=off: FMA is written where it is meant, so that two compilers give the same bits.
UNIX = ["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-fvisibility=hidden", "-g0"]
UNIX += ["-Wall", "-Wextra"]
WINDOWS = ["/O2", "/std:c11", "/fp:precise"]

csrc = Path(__file__).resolve().parent
header = (csrc / "tinyae.h").read_text(encoding="utf-8")

ffibuilder = FFI()
ffibuilder.cdef(header.split("/* cdef begin */")[1].split("/* cdef end */")[0])
ffibuilder.set_source(
    "tinyae._kernels",
    '#include "tinyae.h"',
    include_dirs=["csrc"],
    sources=sorted(f"csrc/{path.name}" for path in csrc.glob("*.c")),
    # Templates are not sources; without this a change in one would not rebuild the module.
    depends=sorted(f"csrc/{path.name}" for path in csrc.iterdir() if path.suffix in {".h", ".inc", ".def", ".py"}),
    extra_compile_args=WINDOWS if sys.platform == "win32" else UNIX,
    extra_link_args=[] if sys.platform == "win32" else ["-pthread"],  # the C library has it since glibc 2.34 only
    optional=True,
)
