from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Init: TypeAlias = (
    Literal[
        "constant",
        "dirac",
        "glorot_normal",
        "glorot_uniform",
        "he_normal",
        "he_uniform",
        "identity",
        "kaiming_normal",
        "kaiming_uniform",
        "lecun_normal",
        "lecun_uniform",
        "normal",
        "ones",
        "orthogonal",
        "pytorch_linear",
        "sparse",
        "truncated_normal",
        "uniform",
        "xavier_normal",
        "xavier_uniform",
        "zeros",
    ]
    | Callable[..., Any]
)

__all__ = [
    "INITIALISERS",
    "as_rng",
    "constant",
    "dirac",
    "gain",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "initialise",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "pytorch_linear",
    "sparse",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

def as_rng(generator: np.random.Generator | int | None) -> np.random.Generator: ...
def initialise(
    how: Init,
    shape: Sequence[int],
    generator: np.random.Generator | int | None = None,
    dtype: npt.DTypeLike = "float32",
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def gain(activation: str, slope: float = 0.01) -> float: ...
def variance_scaling(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    scale: float = 1.0,
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in",
    distribution: Literal["uniform", "normal", "truncated_normal"] = "uniform",
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def glorot_uniform(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    gain: float = 1.0,
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def glorot_normal(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    gain: float = 1.0,
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def he_uniform(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    gain: float = ...,
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in",
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def he_normal(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    gain: float = ...,
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in",
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def lecun_uniform(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def lecun_normal(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...
def pytorch_linear(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    fans: tuple[int, int] | None = None,
) -> npt.NDArray[Any]: ...

xavier_uniform: Callable[..., npt.NDArray[Any]]
xavier_normal: Callable[..., npt.NDArray[Any]]
kaiming_uniform: Callable[..., npt.NDArray[Any]]
kaiming_normal: Callable[..., npt.NDArray[Any]]

def uniform(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    low: float = -0.05,
    high: float = 0.05,
) -> npt.NDArray[Any]: ...
def normal(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    std: float = 0.01,
    mean: float = 0.0,
) -> npt.NDArray[Any]: ...
def truncated_normal(
    shape: Sequence[int], rng: np.random.Generator | int | None, dtype: npt.DTypeLike = "float32", *, std: float = 0.01
) -> npt.NDArray[Any]: ...
def orthogonal(
    shape: Sequence[int], rng: np.random.Generator | int | None, dtype: npt.DTypeLike = "float32", *, gain: float = 1.0
) -> npt.NDArray[Any]: ...
def identity(
    shape: Sequence[int],
    rng: np.random.Generator | int | None = None,
    dtype: npt.DTypeLike = "float32",
    *,
    gain: float = 1.0,
) -> npt.NDArray[Any]: ...
def dirac(
    shape: Sequence[int], rng: np.random.Generator | int | None = None, dtype: npt.DTypeLike = "float32"
) -> npt.NDArray[Any]: ...
def sparse(
    shape: Sequence[int],
    rng: np.random.Generator | int | None,
    dtype: npt.DTypeLike = "float32",
    *,
    sparsity: float = 0.9,
    std: float = 0.01,
) -> npt.NDArray[Any]: ...
def zeros(
    shape: Sequence[int], rng: np.random.Generator | int | None = None, dtype: npt.DTypeLike = "float32"
) -> npt.NDArray[Any]: ...
def ones(
    shape: Sequence[int], rng: np.random.Generator | int | None = None, dtype: npt.DTypeLike = "float32"
) -> npt.NDArray[Any]: ...
def constant(
    shape: Sequence[int],
    rng: np.random.Generator | int | None = None,
    dtype: npt.DTypeLike = "float32",
    *,
    value: float = 0.1,
) -> npt.NDArray[Any]: ...

INITIALISERS: dict[str, Callable[..., npt.NDArray[Any]]]
