"""The training loop, with an objective of ten lines that knows no model; and what it shows while it runs."""

import io
import sys

import numpy as np
import pytest

from tinyae import nn, ops
from tinyae.data import batches
from tinyae.errors import DivergedError, SettingError
from tinyae.optim import SGD, Adam, optimizer
from tinyae.train import Progress, Snapshot, mean_terms, total, train


class Line(nn.Module):
    """y = w x + b: the ten lines of one's own that the loop is for."""

    def __init__(self):
        self.w, self.b = nn.Parameter([0.0]), nn.Parameter([0.0])
        self.modes = []

    def objective(self, x, y):
        self.modes.append(self.training)
        return {"error": ops.mean((self.w * x + self.b - y) ** 2.0), "size": 1e-4 * ops.sum(self.w * self.w)}


X = np.linspace(-1, 1, 50, dtype=np.float32).reshape(-1, 1)
Y = 3 * X + 1


def run(line, epochs=3, lr=0.1, size=20, **settings):
    optimizer = settings.pop("optimizer", None) or SGD(line.parameters(), lr=lr)
    return train(line.objective, optimizer, lambda: batches(X, size, target=Y), module=line, epochs=epochs, **settings)


def scripted(values):
    """A validation whose losses are given: what the loop does with them is then known."""
    left = iter(values)
    return lambda: {"loss": next(left)}


# -- the loop -------------------------------------------------------------------------------------------------------


def test_trains_anything():
    line = Line()
    history, best = run(line, epochs=60, optimizer=Adam(line.parameters(), lr=0.1))
    assert line.w.item() == pytest.approx(3, abs=0.02)
    assert line.b.item() == pytest.approx(1, abs=0.02)
    assert len(history) == 60
    assert list(history[0]) == ["epoch", "loss", "error", "size", "seconds"]
    assert all(row["loss"] == row["error"] + row["size"] for row in history)
    assert all(row["seconds"] > 0 for row in history)
    assert best.score == min(row["loss"] for row in history)
    assert history[best.epoch - 1]["loss"] == best.score


def test_a_small_last_batch_counts_by_its_rows():
    line = Line()
    history, _ = run(line, epochs=1, lr=0.0)
    assert history[0]["error"] == pytest.approx(np.mean(Y.astype(float) ** 2), rel=1e-6)
    assert len(line.modes) == 3


def test_x_alone_is_its_own_target():
    seen = []

    def objective(x, target):
        seen.append(x is target)
        return {"loss": ops.mean((line.w * x - target) ** 2.0)}

    line = Line()
    train(objective, SGD(line.parameters(), lr=0.1), lambda: batches(X, 25), module=line, epochs=1)
    assert seen == [True, True]


def test_every_epoch_asks_for_its_own_batches():
    asked = []

    def epoch_batches():
        asked.append(1)
        return batches(X, 50, target=Y)

    line = Line()
    train(line.objective, SGD(line.parameters(), lr=0.1), epoch_batches, module=line, epochs=4)
    assert len(asked) == 4


def test_gradients_do_not_add_up_over_steps():
    """One step per batch from its own gradient: the same as by hand."""
    line, w, b = Line(), 0.0, 0.0
    run(line, epochs=2)
    for _ in range(2):
        for x, y in batches(X, 20, target=Y):
            error = w * x + b - y
            w, b = w - 0.1 * (2 * np.mean(error * x) + 2e-4 * w), b - 0.1 * 2 * np.mean(error)
    assert line.w.item() == pytest.approx(w, rel=1e-5)
    assert line.b.item() == pytest.approx(b, rel=1e-5)


def test_modes_while_training_validating_and_after():
    line, validating = Line(), []

    def validate():
        validating.append((line.training, (line.w * 2.0).requires_grad))
        return {"loss": 1.0}

    run(line, epochs=2, validate=validate)
    assert line.modes == [True] * 6
    assert validating == [(False, False)] * 2
    assert not line.training


def test_validation_is_recorded_and_tells_the_best():
    line, states = Line(), []
    history, best = run(
        line, epochs=4, validate=scripted([3, 1, 2, 5]), callbacks=[lambda row: states.append(line.state_dict())]
    )
    assert [row["val_loss"] for row in history] == [3, 1, 2, 5]
    assert (best.epoch, best.score) == (2, 1)
    assert best.state["w"] == states[1]["w"]
    assert line.w.item() == states[3]["w"], "without patience the last state stays"


@pytest.mark.parametrize(("losses", "patience", "epochs", "best"), [
    ([3, 2, 4, 5, 1, 1], 2, 4, 2),
    ([3, 2, 4, 1, 5, 6, 0], 2, 6, 4),
    ([3, 3, 3, 3], 2, 3, 1),  # as good is not better
    ([5, 4, 3, 2], 1, 4, 4),
    ([np.nan, 2, np.nan, np.nan], 2, 4, 2),
    ([np.nan, np.nan, 1], 2, 2, 0),
])  # fmt: skip
def test_patience(losses, patience, epochs, best):
    line, states = Line(), [None]
    states[0] = line.state_dict()
    history, snapshot = run(line, epochs=len(losses), validate=scripted(losses), patience=patience,
                            callbacks=[lambda row: states.append(line.state_dict())])  # fmt: skip
    assert (len(history), snapshot.epoch) == (epochs, best)
    assert line.w.item() == states[best]["w"], "the best state is put back"


@pytest.mark.parametrize(
    ("answer", "stops"), [(True, True), (np.True_, True), (None, False), (False, False), (1, False), ([0], False)]
)
def test_a_callback_stops_by_true_only(answer, stops):
    rows = []

    def second(row):
        rows.append(row)

    history, _ = run(Line(), callbacks=[lambda row: answer, second])
    assert len(history) == (1 if stops else 3)
    assert rows == history, "the others are still called"


def test_interrupted_after_an_epoch():
    """Ctrl-C: the best state so far, the history, and the interruption itself."""
    line, states = Line(), []

    def interrupt(row):
        states.append(line.state_dict())
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(line, epochs=9, validate=scripted([3, 1, 2]), callbacks=[interrupt])
    assert [row["val_loss"] for row in caught.value.history] == [3, 1, 2]
    assert caught.value.best.epoch == 2
    assert line.w.item() == states[1]["w"] != states[2]["w"]
    assert not line.training


def test_interrupted_in_the_first_epoch():
    """What was learned of it stays: there is no score yet to prefer another state by."""
    line = Line()

    def epoch_batches():
        yield X, Y
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train(line.objective, SGD(line.parameters(), lr=0.1), epoch_batches, module=line, epochs=2)
    assert caught.value.history == []
    assert line.w.item() != 0


def test_diverged():
    line = Line()
    with pytest.raises(
        DivergedError, match=r"^train: the loss became (inf|nan) in epoch 1, batch \d+ \(lr 1e\+15\)\. Lower lr"
    ) as caught:
        run(line, lr=1e15, size=5)
    assert isinstance(caught.value, FloatingPointError)
    assert line.w.item() == 0, "back to the start: nothing was better"
    assert not line.training
    assert caught.value.history == []


def test_diverged_later():
    line = Line()
    optimizer, states = SGD(line.parameters(), lr=0.1), []

    def spoil(row):
        states.append(line.state_dict())
        if row["epoch"] == 2:
            optimizer.lr = 1e30

    with pytest.raises(DivergedError, match="epoch 3") as caught:
        run(line, epochs=5, optimizer=optimizer, callbacks=[spoil])
    assert len(caught.value.history) == caught.value.best.epoch == 2
    assert line.w.item() == states[1]["w"]


def test_another_error_passes_as_it_is():
    def fail(row):
        raise ZeroDivisionError("mine")

    line = Line()
    with pytest.raises(ZeroDivisionError, match="^mine$"):
        run(line, callbacks=[fail])
    assert not line.training


def test_overflow_while_validating_is_silent():
    def validate():
        return {"loss": float(np.square(np.float32(1e30)))}

    history, _ = run(Line(), epochs=1, validate=validate)
    assert history[0]["val_loss"] == np.inf


def test_the_parts():
    a, b = nn.Parameter([2.0]), nn.Parameter([3.0])
    assert total({"a": a, "b": b}).item() == 5
    assert total({"a": a}) is a
    assert mean_terms({"a": 6.0, "b": 3.0}, 3) == {"loss": 3.0, "a": 2.0, "b": 1.0}
    assert mean_terms({"a": 6.0}, 3) == {"loss": 2.0}
    line = Line()
    snapshot = Snapshot(line)
    assert snapshot.offer(2.0, 1)
    line.w.data = np.array([9.0], np.float32)
    assert not snapshot.offer(2.0, 2)
    assert not snapshot.offer(np.nan, 3)
    snapshot.restore()
    assert line.w.item() == 0
    assert (snapshot.epoch, snapshot.score) == (1, 2.0)


# -- all rows at once -----------------------------------------------------------------------------------------------


def test_lbfgs_iterates_over_all_rows():
    """An epoch is an iteration; its row is of the parameters after it; it ends where nothing is left to be gained."""
    line, met = Line(), []

    def look(row):
        terms = {name: term.item() for name, term in line.objective(X, Y).items()}
        met.append({"loss": sum(terms.values()), **terms})

    history, best = run(line, epochs=50, size=50, optimizer=optimizer("lbfgs", line.parameters()), callbacks=[look])
    slope = 3 * np.mean(X**2) / (np.mean(X**2) + 1e-4)
    assert (line.w.item(), line.b.item()) == pytest.approx((slope, 1), abs=1e-5)
    assert 2 <= len(history) < 20
    for row, there in zip(history, met):
        assert {name: row[name] for name in there} == there
    assert best.epoch in (len(history), len(history) - 1)


def test_lbfgs_refuses_parts_of_the_rows():
    line = Line()
    with pytest.raises(SettingError, match="^train: LBFGS takes all rows at once. Make one batch"):
        run(line, size=20, optimizer=optimizer("lbfgs", line.parameters()))
    assert not line.training


def test_lbfgs_diverged():
    line = Line()
    line.w.data = np.array([1e30], np.float32)
    with pytest.raises(DivergedError, match=r"loss became inf in its first evaluation \(lr 1\)"):
        run(line, size=50, optimizer=optimizer("lbfgs", line.parameters()))


def test_lbfgs_moves_the_bar():
    pytest.importorskip("tqdm")
    line, terminal = Line(), Terminal()
    run(line, epochs=2, size=50, optimizer=optimizer("lbfgs", line.parameters()), progress=Progress(2, 1, terminal))
    assert "2/2" in terminal.getvalue()


# -- what it shows --------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal():
    pytest.importorskip("tqdm")
    terminal = Terminal()
    run(Line(), epochs=2, progress=Progress(2, 3, terminal), validate=scripted([0.5, 0.25]))
    shown = terminal.getvalue()
    assert "epoch 2/2" in shown
    assert "val_loss=0.25" in shown
    assert "6/6" in shown, "batches are counted"
    assert "\r" in shown


def test_a_terminal_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    run(Line(), epochs=2, progress=Progress(2, 3, terminal))
    assert len(terminal.getvalue().splitlines()) == 2
    assert "\r" not in terminal.getvalue()


def test_plain_lines_elsewhere():
    stream = io.StringIO()
    run(Line(), epochs=10, progress=Progress(10, 3, stream), validate=scripted(np.arange(10) / 8))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("epoch  1/10  loss ")
    assert lines[2].endswith(" s left")
    assert "val_loss 0.25" in lines[2]
    assert lines[-1].startswith("epoch 10/10")
    assert lines[-1].endswith("  0 s left")
    assert "\r" not in stream.getvalue()


def test_long_trainings_print_few_lines():
    stream = io.StringIO()
    progress = Progress(3010, 1, stream)
    for epoch in range(1, 3011):
        progress.batch(0.1)
        progress.epoch({"epoch": epoch, "loss": 0.1})
    progress.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 22
    assert lines[0].startswith("epoch    1/3010")
    assert lines[1].startswith("epoch  150/3010")
    assert lines[-1].startswith("epoch 3010/3010")


def test_the_bar_is_closed_after_an_interruption():
    pytest.importorskip("tqdm")

    def interrupt(row):
        raise KeyboardInterrupt

    progress = Progress(5, 3, Terminal())
    with pytest.raises(KeyboardInterrupt):
        run(Line(), epochs=5, progress=progress, callbacks=[interrupt])
    assert progress.tqdm is None


def test_a_bar_can_be_forced_and_forbidden():
    pytest.importorskip("tqdm")
    forced = Progress(1, 1, io.StringIO(), bar=True)
    assert forced.tqdm is not None
    forced.close()
    assert Progress(1, 1, Terminal(), bar=False).tqdm is None


def test_nothing_is_printed_unless_asked(capsys):
    run(Line())
    assert capsys.readouterr() == ("", "")
    run(Line(), progress=Progress(3, 3))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 3
