"""What is chosen where nobody has chosen, and how one sees that it, or what somebody chose, was not enough.

Functions of numbers: they must not know models, which ask them, as the command line does through the models.

Ring 7. Read after ``base.py``.
"""

import sys

import numpy as np

from ..data import batches
from ..engine import no_grad
from ..errors import ConvergenceWarning
from ..tensor import Tensor

__all__ = ["code_length", "convergence_warning", "epochs", "falls_steeply", "hidden_widths", "no_better", "of_mean_row"]

EPOCHS, STEPS = 20, 4600  # at least, of the data and of the optimizer: of small data 20 epochs are next to nothing
MOST = 100_000  # steps, minutes for a usual net; of more than 320,000 rows it takes fewer epochs to learn as much
CODE, NARROWEST, WIDEST = 16, 64, 256
STEEP = 0.5  # of what has been learned
IDLE = 1e-4  # of the yardstick
_MEASURED = 50_000_000  # values by which the yardstick is measured; of more, every second row, or third, and so on
_ROWS = 1024


def epochs(max_iter, rows, batch_size):
    """max_iter; for None as many as make 4,600 steps, and 20 at least unless these were more than 100,000 steps."""
    if max_iter is not None:
        return int(max_iter)
    steps = -(-rows // batch_size)
    return max(-(-STEPS // steps), min(EPOCHS, max(1, MOST // steps)))


def code_length(n_features):
    """16, or half a row's length if that is less: a code as long as the row may copy it, and learn nothing."""
    return max(1, min(CODE, n_features // 2))


def hidden_widths(n_features):
    """One hidden layer, twice as wide as a row, from 64 to 256."""
    return (min(WIDEST, max(NARROWEST, 2 * n_features)),)


def falls_steeply(losses, baseline):
    """Whether at the pace of the last fifth, as many epochs again would take off half as much as was learned.

    What was learned is the distance from the baseline (or what lacks to it: then the loss is soon below it). The pace is the slope of a straight line through the last fifth
    of the losses, five at least, less twice its standard error: a loss that goes up and down does not fall.
    """
    n = len(losses)
    y = np.asarray(losses[-max(5, n // 5) :], np.float64)
    if len(y) < 2:
        return False
    t = np.arange(len(y)) - (len(y) - 1) / 2
    slope = t @ y / (t @ t)
    rest = y - y.mean() - slope * t
    error = np.sqrt(rest @ rest / (t @ t) / (len(y) - 2)) if len(y) > 2 else 0.0
    return bool(-(slope + 2 * error) * n > STEEP * abs(baseline - y[-1]))


def of_mean_row(X, dtype, compare, counts=None):
    """The mean over rows x of compare(mean row, x) -> {name: (batch,)}; counts(x) is 0 where a value is not one."""
    X = X[:: -(-X.size // _MEASURED)]
    total = number = 0.0
    for x in batches(X, _ROWS, dtype=dtype):
        real = np.ones(x.shape, bool) if counts is None else counts(x)
        total = total + np.sum(x, axis=0, where=real, dtype=np.float64)
        number = number + np.sum(real, axis=0)
    mean = (total / np.maximum(number, 1)).astype(dtype)
    loss = 0.0
    with no_grad():
        for x in batches(X, _ROWS, dtype=dtype):
            terms = compare(Tensor(np.broadcast_to(mean, x.shape)), x).values()
            loss += sum(float(np.sum(np.asarray(term), dtype=np.float64)) for term in terms)
    return loss / len(X)


def no_better(loss, baseline):
    """Whether a loss is not even a hundredth below the baseline."""
    return bool(loss > baseline - 0.01 * abs(baseline))


def convergence_warning():
    """ConvergenceWarning; where scikit-learn is loaded, one that is also scikit-learn's."""
    if "sklearn" not in sys.modules:
        return ConvergenceWarning
    from sklearn import exceptions

    return type("ConvergenceWarning", (ConvergenceWarning, exceptions.ConvergenceWarning), {})
