"""What is chosen where nobody has chosen, and what is said where that, or what somebody chose, was not enough.

    setting        where it is None, the data decide
    n_components   16, or half a row's length if that is less
    hidden         one layer, twice as wide as a row, but from 64 to 256; the code is then linear
    max_iter       as many epochs as make 4,600 steps, and at least 20, unless these were more than 100,000 steps

    said                           where
    is no better than the mean     the loss is not a hundredth below ``baseline_``
    still falls steeply            at its last pace as many epochs again would take off half of what was learned
    does nothing                   a weighted term was never more than a ten-thousandth of the mean row's error

Files of models hold the settings, not what they came to: a rule for widths that changes makes old files unreadable.

Ring 6. Must not know one variant from another. Read after ``base.py``.
"""

import numpy as np

from ..data import batches
from ..engine import no_grad
from ..errors import ConvergenceWarning
from ..estimator import also_sklearns
from ..tensor import Tensor

__all__ = ["code_length", "doubts", "epochs", "falls_steeply", "hidden_widths", "mean_row_loss"]

EPOCHS, STEPS = 20, 4600  # at least, of the data and of the optimizer: of small data 20 epochs are next to nothing
MOST = 100_000  # steps, minutes for a usual net: of more than 320,000 rows fewer epochs teach as much
CODE, NARROWEST, WIDEST = 16, 64, 256
BETTER, STEEP, IDLE = 0.01, 0.5, 1e-4
_MEASURED = 10_000_000  # values by which the mean row is measured; of more, every second row, or third, and so on
_ROWS = 1024


def epochs(max_iter, rows, batch_size):
    """max_iter, if it is not None."""
    if max_iter is not None:
        return int(max_iter)
    steps = -(-rows // batch_size)
    return max(-(-STEPS // steps), min(EPOCHS, max(1, MOST // steps)))


def code_length(n_features):
    """A code as long as the row may copy it, and learn nothing: hence half of it."""
    return max(1, min(CODE, n_features // 2))


def hidden_widths(n_features):
    """From the input to the code."""
    return (min(WIDEST, max(NARROWEST, 2 * n_features)),)


def mean_row_loss(X, dtype, compare, is_value):
    """The mean over rows x of the terms of compare(mean row, x); is_value(x) says which values make the mean."""
    X = X[:: -(-X.size // _MEASURED)]
    total = number = 0.0
    for x in batches(X, _ROWS, dtype=dtype):
        values = np.broadcast_to(is_value(x), x.shape)
        total = total + np.sum(x, axis=0, where=values, dtype=np.float64)
        number = number + np.sum(values, axis=0)
    mean = (total / np.maximum(number, 1)).astype(dtype)
    loss = 0.0
    with no_grad():
        for x in batches(X, _ROWS, dtype=dtype):
            terms = compare(Tensor(np.broadcast_to(mean, x.shape)), x).values()
            loss += sum(float(np.sum(np.asarray(term), dtype=np.float64)) for term in terms)
    return loss / len(X)


def falls_steeply(losses, baseline):
    """Whether at its last pace, as many epochs again would take off half of what was learned, the distance from the
    baseline.

    The pace is the slope of a straight line through the last fifth of the losses, five at least, less twice its
    standard error: a loss that goes up and down does not fall.
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


def doubts(model, error):
    """Pairs (category, sentence) of a model that was trained. error: how much of ``baseline_`` is the mean row's error.

    Without an error all rows are alike, and there was nothing to learn.
    """
    losses, baseline = model.history_["loss"], model.baseline_
    if not error or not np.isfinite(baseline):
        return
    n, loss = len(losses), losses[model.kept_epoch_ - 1]
    most = {  # that each weighted term came to
        f"{setting}={getattr(model, setting)!r}": max(map(abs, model.history_[term]))
        for term, setting in model.penalties.items() if term in model.history_ and getattr(model, setting)
    }  # fmt: skip
    falls = n == model.max_iter_ and falls_steeply(losses, baseline)
    after = f"after {n} epoch{'s' if n != 1 else ''}"
    further = f"raise max_iter (max_iter={model.max_iter}{f', {n} epochs' if model.max_iter is None else ''})"
    if n < model.max_iter_ and not model.early_stopping:
        pass  # a callback had seen enough, or L-BFGS had
    elif loss > baseline - BETTER * error:
        advice = [further] if falls else [*(f"lower {setting}" for setting in most), further, "choose another lr"]
        yield also_sklearns(ConvergenceWarning), (
            f"the model is no better than the mean row: {after} its loss is {loss:.4g}, and the mean of all "
            f"rows as the answer for each gives {baseline:.4g}: {', or '.join(advice)}."
        )
    elif falls:
        yield also_sklearns(ConvergenceWarning), (
            f"the loss still falls steeply: {after} it is {loss:.4g}, and as many again at the pace of the "
            f"last would take off more than half of what was learned: {further}."
        )
    for setting, term in most.items():
        if 0 < term < IDLE * error:
            yield RuntimeWarning, (
                f"{setting} does nothing: its term of the loss was never more than {term:.2g}, beside {error:.2g} of "
                "the mean row. Raise it, or give 0."
            )
