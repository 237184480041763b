"""tinyae: a reverse-mode autograd tensor small enough to read in an evening, and every autoencoder on top of it.

    import tinyae
    Z = tinyae.VAE(n_components=8).fit(X).transform(X)

Read in this order: ``errors``, ``engine``, ``ops/math``, ``tensor``, ``gradcheck``, ``nn``, ``optim``, ``train``,
``ae/base``. The README says how long each takes.
"""

import os as _os
import sys as _sys

from . import errors

try:
    from . import kernels
except errors.TinyaeError as _problem:  # of TINYAE_BACKEND and its like: whoever typed a command is told in one line
    _words = ["-m", *_sys.orig_argv[_sys.orig_argv.index("-m") + 1 :][:1]] if _sys.argv[:1] == ["-m"] else _sys.argv
    _command = _words[:2] == ["-m", "tinyae"] or _os.path.basename(_words[0]).partition(".")[0] == "tinyae"
    if not _command or _os.environ.get("TINYAE_DEBUG"):
        raise
    print(f"tinyae: {str(_problem).removeprefix('tinyae: ')}", file=_sys.stderr)
    _sys.exit(2)

from . import ae, metrics, nn, ops, optim, plot
from ._version import __version__
from .ae import (
    ZOO, AnnealedVAE, Autoencoder, BetaVAE, Classifier, ContractiveAutoencoder, ConvolutionalAutoencoder,
    ConvolutionalDenoisingAutoencoder, ConvolutionalVAE, DeepAutoencoder, DenoisingAutoencoder, FreeBitsVAE,
    GRUAutoencoder, LSTMAutoencoder, LinearAutoencoder, Noise2NoiseAutoencoder, OneHotAutoencoder, RBMAutoencoder,
    SparseAutoencoder,
    SparseKLAutoencoder, StackedAutoencoder, StackedConvolutionalAutoencoder, StackedDenoisingAutoencoder,
    StackedSparseAutoencoder, StructuredVAE, TeacherForcedAutoencoder, TiedAutoencoder, VAE, WalkbackAutoencoder, load,
)  # fmt: skip
from .data import load_data
from .detect import AnomalyDetector
from .engine import OPS, Op, grad, no_grad, op
from .gradcheck import GradcheckError, gradcheck
from .ops.random import Generator
from .ops.state import assign
from .plan import compile, constant
from .tensor import Tensor
from .transforms import checkpoint, custom_op, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__all__ = [
    "AnnealedVAE",
    "AnomalyDetector",
    "Autoencoder",
    "BetaVAE",
    "Classifier",
    "ContractiveAutoencoder",
    "ConvolutionalAutoencoder",
    "ConvolutionalDenoisingAutoencoder",
    "ConvolutionalVAE",
    "DeepAutoencoder",
    "DenoisingAutoencoder",
    "FreeBitsVAE",
    "GRUAutoencoder",
    "Generator",
    "GradcheckError",
    "LSTMAutoencoder",
    "LinearAutoencoder",
    "Noise2NoiseAutoencoder",
    "OPS",
    "OneHotAutoencoder",
    "Op",
    "RBMAutoencoder",
    "SparseAutoencoder",
    "SparseKLAutoencoder",
    "StackedAutoencoder",
    "StackedConvolutionalAutoencoder",
    "StackedDenoisingAutoencoder",
    "StackedSparseAutoencoder",
    "StructuredVAE",
    "TeacherForcedAutoencoder",
    "Tensor",
    "TiedAutoencoder",
    "VAE",
    "WalkbackAutoencoder",
    "ZOO",
    "__version__",
    "ae",
    "assign",
    "checkpoint",
    "compile",
    "constant",
    "custom_op",
    "errors",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "kernels",
    "load",
    "load_data",
    "metrics",
    "nn",
    "no_grad",
    "op",
    "ops",
    "optim",
    "plot",
    "value_and_grad",
    "vjp",
]
