from typing import Literal, TypeAlias

from ..ops import TensorLike
from ..tensor import Tensor

Reduction: TypeAlias = Literal["none", "sum", "mean", "batch"]

__all__ = [
    "bce",
    "bce_with_logits",
    "cosine_distance",
    "cross_entropy",
    "gaussian_nll",
    "huber",
    "kl_div",
    "kl_normal",
    "l1",
    "log_cosh",
    "mse",
    "nll",
    "smooth_l1",
]

def mse(
    x_hat: TensorLike,
    x: TensorLike,
    *,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def l1(
    x_hat: TensorLike,
    x: TensorLike,
    *,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def huber(
    x_hat: TensorLike,
    x: TensorLike,
    *,
    delta: float = 1.0,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def smooth_l1(
    x_hat: TensorLike,
    x: TensorLike,
    *,
    beta: float = 1.0,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def log_cosh(
    x_hat: TensorLike,
    x: TensorLike,
    *,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def cosine_distance(
    x_hat: TensorLike,
    x: TensorLike,
    *,
    eps: float = 1e-08,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def bce(
    x_hat: TensorLike,
    x: TensorLike,
    *,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def bce_with_logits(
    logits: TensorLike,
    x: TensorLike,
    *,
    pos_weight: TensorLike | None = None,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def cross_entropy(
    logits: TensorLike,
    target: TensorLike,
    *,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def nll(
    log_p: TensorLike,
    target: TensorLike,
    *,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def kl_div(
    log_q: TensorLike,
    p: TensorLike,
    *,
    log_target: bool = False,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def gaussian_nll(
    x: TensorLike,
    mu: TensorLike,
    logvar: TensorLike,
    *,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
def kl_normal(
    mu: TensorLike,
    logvar: TensorLike,
    *,
    reduction: Reduction = "mean",
    weight: TensorLike | None = None,
    mask: TensorLike | None = None,
) -> Tensor: ...
