"""Sums of losses' terms, and their gradients: ops/losses.py."""

import numpy as np

from .arrays import address, common, dense, ndarray
from .library import ffi, lib


def _summed(run):
    def forward(a, b):
        if (code := common(a, b)) is None:
            return None
        loss = ffi.new("double *")
        nothing = (ffi.NULL,) * (1 if run is lib.tae_bce_with_logits else 2)
        if run(code, a.size, address(dense(a)), address(dense(b)), 1.0, loss, *nothing):
            return None
        return np.array(loss[0], a.dtype)

    return forward


def _gradients(run, count):
    def backward(g, a, b):
        if (code := common(a, b)) is None or g.__class__ is not ndarray or g.shape or g.dtype != a.dtype:
            return None
        loss, outs = ffi.new("double *"), [np.empty(a.shape, a.dtype) for _ in range(count)]
        if run(code, a.size, address(dense(a)), address(dense(b)), float(g), loss, *map(address, outs)):
            return None
        return outs[0] if count == 1 else tuple(outs)

    return backward


FORWARD, BACKWARD = {}, {}
if lib is not None:
    FORWARD = {"_bce_sum": _summed(lib.tae_bce_with_logits), "_kl_sum": _summed(lib.tae_gaussian_kl)}
    BACKWARD["_bce_sum", "logits"] = _gradients(lib.tae_bce_with_logits, 1)
    BACKWARD["_kl_sum", "mu"] = _gradients(lib.tae_gaussian_kl, 2)
