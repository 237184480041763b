"""The training loop. It knows batches, an objective and an optimizer; not what is being learned.

    train(objective, optimizer, lambda: batches(X, 64, generator=rng), epochs=20)

``objective(x, target)`` returns the loss as a dictionary of named 0-d Tensors which add up to it. Anything that does so
can be trained here: an autoencoder, or ten lines of your own. An optimizer that evaluates the loss several times per
step, L-BFGS, gets all rows as one batch, and an epoch is one of its iterations.

Ring 5. Must not know models, files or terminals beyond the `Progress` it may be handed.
"""

import sys
import time
from contextlib import suppress

import numpy as np

from . import kernels, plan
from .data import Batches
from .engine import no_grad
from .errors import DivergedError, SettingError

__all__ = ["PATIENT", "Progress", "Snapshot", "mean_terms", "total", "train"]


PATIENT = 8  # steps of a kind that run as ever before one is captured: making a plan costs some ten of them


class Snapshot:
    """The best state met so far: which epoch, which score, and copies of the arrays. Epoch 0 is the start."""

    def __init__(self, module):
        self.module = module
        self.score = np.inf
        self.epoch = 0
        self.state = module.state_dict()

    def offer(self, score, epoch):
        """Keep the present state if its score is lower than the best; True if so."""
        if not score < self.score:
            return False
        self.score, self.epoch, self.state = score, epoch, self.module.state_dict()
        return True

    def restore(self):
        """Put the best state back."""
        self.module.load_state_dict(self.state)


def train(
    objective, optimizer, epoch_batches, *, module, epochs, validate=None, patience=None, callbacks=(), progress=None,
    compile=False
):  # fmt: skip
    """Minimise objective; returns (history, the best epoch's `Snapshot`).

    Parameters
    ----------
    objective : callable
        (x, target) -> {name: 0-d Tensor}; the loss is their sum.
    optimizer : Optimizer
        Anything with zero_grad() and step(); or, as `LBFGS`, with ``iterations``, for epochs of one batch.
    epoch_batches : callable
        () -> iterable over one epoch of x or (x, target) arrays; x alone is its own target.
    module : Module
        What is trained: put into training mode for the steps and into evaluation mode for ``validate``.
    epochs : int
        How many passes at most.
    validate : callable, optional
        () -> {name: float}; its "loss" is recorded as val_loss. Without it the training loss tells the best epoch.
    patience : int, optional
        Stop after this many epochs without a better score, and put the best state back.
    callbacks : sequence of callable
        Each is called with the epoch's row, a dict; one that returns True ends the training after this epoch.
    progress : Progress, optional
        Shown per batch and per epoch.
    compile : bool
        Run repeated steps as a plan (`tinyae.compile`), whole slices of an epoch in C; what cannot be, and everything
        on NumPy alone, runs as ever. L-BFGS, too: of a step whose evaluations are not known before there is no plan.

    L-BFGS ends before its last epoch where no step makes the loss smaller. Its row of the history is of the parameters
    after the iteration; that of others is the mean over the epoch, each batch before its step.

    Raises DivergedError when a loss is not finite. After that, and after Ctrl-C, the module holds the best state so far
    (Ctrl-C in the first epoch leaves what was learned of it); the history is the exception's ``history``, the snapshot
    its ``best``. Ctrl-C before the first step or after the last may find an exception without them.
    """
    kernels.say_why_once()
    history, best = [], Snapshot(module)
    try:
        if hasattr(optimizer, "iterations"):
            rows = _iterations(objective, optimizer, epoch_batches, epochs, progress)
        else:
            step = _stepper(objective, optimizer)
            if compile and kernels.info()["backend"] == "c":  # NumPy would gain nothing, and hold more
                step = plan.compile(step, after=PATIENT, fallback=True)
            rows = (_one_epoch(step, epoch_batches(), number, optimizer, progress) for number in range(1, epochs + 1))
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            module.train()
            with np.errstate(all="ignore"):  # what is not finite is found there, and said once
                terms = next(rows, None)
            if terms is None:  # nothing is left to be gained
                break
            row = {"epoch": epoch, **terms}
            if validate is not None:
                module.eval()
                with no_grad(), np.errstate(all="ignore"):
                    row |= {f"val_{name}": value for name, value in validate().items()}
            row["seconds"] = time.perf_counter() - started
            history.append(row)
            best.offer(row.get("val_loss", row["loss"]), epoch)
            if progress is not None:
                progress.epoch(row)
            stop = [callback(row) for callback in callbacks]
            if any(s is True or s is np.True_ for s in stop) or (
                patience is not None and epoch - best.epoch >= patience
            ):
                break
        if patience is not None:
            best.restore()
    except (KeyboardInterrupt, DivergedError) as interruption:
        if best.epoch or isinstance(interruption, DivergedError):
            best.restore()
        interruption.history, interruption.best = history, best
        raise
    finally:
        module.eval()
        if progress is not None:
            progress.close()
    return history, best


def _stepper(objective, optimizer):
    """One step: (x, target or nothing) -> the loss and its terms."""

    def step(x, target=None):
        optimizer.zero_grad()
        terms = objective(x, x if target is None else target)
        loss = total(terms)
        loss.backward()
        optimizer.step()
        return loss, terms

    return step


def _slices(step, batches):
    """[(how many rows, (loss, terms)), ...] of some batches after another: as many as the step takes at once."""
    if isinstance(batches, Batches) and hasattr(step, "over"):
        return step.over(batches)
    return ([(len(b[0] if isinstance(b, tuple) else b), step(*(b if isinstance(b, tuple) else (b,))))] for b in batches)


def _one_epoch(step, batches, epoch, optimizer, progress):
    """One pass; returns the mean of every term over the samples, and their sum as "loss"."""
    sums, samples, number = {}, 0, 0
    for done in _slices(step, batches):
        for rows, (loss, terms) in done:
            number += 1
            value = _finite(float(loss), f"epoch {epoch}, batch {number}", optimizer)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term) * rows
            samples += rows
            if progress is not None:
                progress.batch(value)
    return mean_terms(sums, samples)


def _iterations(objective, optimizer, epoch_batches, epochs, progress):
    """Yields every term's value after each of L-BFGS's iterations over all rows, and their sum as "loss"."""
    first, *others = epoch_batches()
    if others:
        raise SettingError(f"train: {type(optimizer).__name__} takes all rows at once. Make one batch of an epoch.")
    x, target = first if isinstance(first, tuple) else (first, first)
    met = {}  # {loss: its terms} of what a line search has tried: it may come back to any of them

    def closure():
        optimizer.zero_grad()
        terms = objective(x, target)
        loss = total(terms)
        loss.backward()
        value = float(loss)
        if not met:
            _finite(value, "its first evaluation", optimizer)
        met[value] = {name: float(term) for name, term in terms.items()}
        return loss

    for loss in optimizer.iterations(closure, epochs):
        terms = met[loss]
        met.clear()
        met[loss] = terms
        if progress is not None:
            progress.batch(loss)
        yield mean_terms(terms, 1)


def _finite(loss, where, optimizer):
    """loss; DivergedError if it is not finite."""
    if not np.isfinite(loss):
        raise DivergedError(
            f"train: the loss became {loss} in {where} (lr {optimizer.lr:g}). "
            "Lower lr, or scale the data to about [0, 1] or unit variance."
        )
    return loss


def total(terms):
    """The loss: the sum of its named terms."""
    values = iter(terms.values())
    loss = next(values)
    for term in values:
        loss = loss + term
    return loss


def mean_terms(sums, samples):
    """{"loss": the sum, name: value, ...}; a single term is the loss and is not named again."""
    means = {name: value / samples for name, value in sums.items()}
    return {"loss": sum(means.values()), **(means if len(means) > 1 else {})}


class Progress:
    """What training shows: a bar on a terminal (tqdm, if it is installed), else a plain line per epoch; nothing where
    there is no stderr.

    Long runs print at most about twenty plain lines. Nothing here changes what is computed. baseline, the loss of the
    mean row, is shown beside the others, if it is known.
    """

    def __init__(self, epochs, batches_per_epoch, stream=None, bar=None, baseline=None):
        self.stream = sys.stderr if stream is None else stream
        self.epochs, self.every = epochs, max(1, epochs // 20)
        self.baseline = {} if baseline is None else {"mean_row": baseline}
        self.started = time.perf_counter()
        self.tqdm = None
        if (self.stream is not None and self.stream.isatty()) if bar is None else bar:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self.tqdm = tqdm(total=epochs * batches_per_epoch, unit="batch", file=self.stream, dynamic_ncols=True,
                             desc=f"epoch 0/{epochs}", mininterval=0.1)  # fmt: skip

    def batch(self, loss):
        """One batch is done."""
        if self.tqdm is not None:
            self.tqdm.update(1)

    def epoch(self, row):
        """One epoch is done; row is its line of the history."""
        losses = {name: row[name] for name in ("loss", "val_loss") if name in row} | self.baseline
        shown = {name: f"{value:.4g}" for name, value in losses.items()}
        if self.tqdm is not None:
            self.tqdm.set_description(f"epoch {row['epoch']}/{self.epochs}", refresh=False)
            # Drawn with the next batch: drawing may cost more than an epoch.
            self.tqdm.set_postfix(shown, refresh=False)
        elif self.stream is not None and (row["epoch"] % self.every == 0 or row["epoch"] in (1, self.epochs)):
            elapsed = time.perf_counter() - self.started
            left = elapsed / row["epoch"] * (self.epochs - row["epoch"])
            text = "  ".join(f"{name} {value}" for name, value in shown.items())
            with suppress(OSError):  # of a full disk or a reader that went away: no reason to learn less
                print(f"epoch {row['epoch']:>{len(str(self.epochs))}}/{self.epochs}  {text}  {left:.0f} s left",
                      file=self.stream, flush=True)  # fmt: skip

    def close(self):
        """Leave the terminal tidy."""
        if self.tqdm is not None:
            self.tqdm.close()
            self.tqdm = None
