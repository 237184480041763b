"""What C can take of NumPy's arrays, and how it is told where they are.

Note [Safe pointers]
C gets addresses by `ffi.from_buffer` alone, which takes C-contiguous memory only, and only after the checks here: an
ndarray of native float32 or float64, aligned, of a size that Python computed, and writeable if it is written. Results
are allocated here. `ffi.cast` of `a.ctypes.data` would be unchecked, and slower (2.8 us against 0.1).
"""

import numpy as np

from .library import ffi

address = ffi.from_buffer if ffi else None
ndarray = np.ndarray
# Native byte order only; by value, for unpickled dtypes.
dtype_code = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}.get
ALIGNED = 0x100  # bits of flags.num
DENSE = 0x101  # C-contiguous and aligned
WRITEABLE = 0x501  # that, and writeable


def dense(x):
    """x, or a copy of it, as C reads it. Layout and size never decide who computes: other code has other last bits."""
    return x if x.flags.num & DENSE == DENSE else np.array(x, order="C")


def common(x, y):
    """The dtype's code if both are arrays of one shape and one dtype that C knows, else None."""
    if x.__class__ is not ndarray or y.__class__ is not ndarray or x.shape != y.shape:
        return None
    code = dtype_code(x.dtype)
    return code if dtype_code(y.dtype) == code else None


def writeable(x):
    """Whether C may write into x as it stands."""
    return x.flags.num & WRITEABLE == WRITEABLE


def matrix(x, itemsize):
    """(pointer to element 0, 0; row stride; column stride) of a 2-d array, in elements, without a copy."""
    flags = x.flags.num
    if flags & DENSE == DENSE:
        return address(x), x.shape[1], 1
    t = x.T
    if t.flags.num & DENSE == DENSE:
        return address(t), 1, x.shape[0]
    rows, columns = x.strides
    if not flags & ALIGNED or rows % itemsize or columns % itemsize:
        return matrix(np.array(x, order="C"), itemsize)
    # A buffer is contiguous: a strided array lends its first element, and C finds the others by strides, as NumPy does.
    return address(x[:1, :1]), rows // itemsize, columns // itemsize


def strided(x, itemsize):
    """(pointer to the first element, strides in elements) of an array, which is copied only if C could not read it."""
    if not x.flags.num & ALIGNED or any(step % itemsize for step in x.strides):
        x = np.array(x, order="C")
    return address(x[(slice(0, 1),) * x.ndim]), [step // itemsize for step in x.strides]
