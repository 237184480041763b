"""Schedules: each against its closed form and against PyTorch's, together, resumed, and what they refuse."""

import copy
import io
import math
import pickle

import numpy as np
import pytest

from tinyae import Tensor, nn, optim
from tinyae.errors import SettingError

STEPS = 50


def leaf(value=1.0, dtype=np.float64):
    return Tensor([value], dtype=dtype, requires_grad=True)


def adam():
    """Two groups, at 0.1 and 0.02."""
    return optim.Adam([{"params": [leaf()]}, {"params": [leaf()], "lr": 0.02}], lr=0.1)


def rates(schedule, steps=STEPS):
    """The rates of both groups at step 0, 1, ...; shape (steps + 1, groups)."""
    rows = [schedule.get_last_lr()]
    for _ in range(steps):
        schedule.step()
        rows.append(schedule.get_last_lr())
        assert rows[-1] == [group["lr"] for group in schedule.optimizer.param_groups]
    return np.array(rows)


# name: (made for tinyae's optim or torch.optim.lr_scheduler alike, closed form of t and the initial rate or None)
MAKE = {
    "LambdaLR": (lambda o, s: s.LambdaLR(o, lambda t: 0.9**t), lambda t, lr: lr * 0.9**t),
    "LambdaLR, zero": (lambda o, s: s.LambdaLR(o, lambda t: t % 3), lambda t, lr: lr * (t % 3)),
    "LambdaLR, one per group": (
        lambda o, s: s.LambdaLR(o, [lambda t: 1 / (1 + t), lambda t: 2.0]),
        lambda t, lr: lr / (1 + t) if lr == 0.1 else 2 * lr,
    ),
    "StepLR": (lambda o, s: s.StepLR(o, 7, 0.5), lambda t, lr: lr * 0.5 ** (t // 7)),
    "StepLR, 1": (lambda o, s: s.StepLR(o, step_size=1), lambda t, lr: lr * 0.1**t),
    "MultiStepLR": (
        lambda o, s: s.MultiStepLR(o, [30, 5, 12, 12], gamma=0.3),
        lambda t, lr: lr * 0.3 ** sum(t >= m for m in (30, 5, 12, 12)),
    ),
    "ExponentialLR": (lambda o, s: s.ExponentialLR(o, 0.8), lambda t, lr: lr * 0.8**t),
    "LinearLR": (lambda o, s: s.LinearLR(o), lambda t, lr: lr * (1 / 3 + 2 / 3 * min(t, 5) / 5)),
    "LinearLR, down": (
        lambda o, s: s.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=20),
        lambda t, lr: lr * (1 - min(t, 20) / 20),
    ),
    "CosineAnnealingLR": (
        lambda o, s: s.CosineAnnealingLR(o, 50),
        lambda t, lr: lr * (1 + math.cos(math.pi * t / 50)) / 2,
    ),
    "CosineAnnealingLR, up again": (
        lambda o, s: s.CosineAnnealingLR(o, 9, eta_min=0.004),
        lambda t, lr: 0.004 + (lr - 0.004) * (1 + math.cos(math.pi * t / 9)) / 2,
    ),
    "OneCycleLR": (lambda o, s: s.OneCycleLR(o, 0.3, 50), None),
    "OneCycleLR, linear": (
        lambda o, s: s.OneCycleLR(o, [0.3, 0.2], 60, pct_start=0.25, anneal_strategy="linear", base_momentum=0.5),
        None,
    ),
    "OneCycleLR, three phases": (
        lambda o, s: s.OneCycleLR(o, 0.3, 50, three_phase=True, div_factor=10.0, final_div_factor=5.0), None,
    ),
    "OneCycleLR, no momentum": (lambda o, s: s.OneCycleLR(o, 0.3, 55, cycle_momentum=False), None),
    "SequentialLR": (
        lambda o, s: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 20, 1e-3)], [5]),
        None,
    ),
    "SequentialLR of three": (
        lambda o, s: s.SequentialLR(
            o, [s.LambdaLR(o, lambda t: 0.5 + t), s.StepLR(o, 3), s.OneCycleLR(o, 1.0, 40)], milestones=[4, 15]
        ),
        None,
    ),
    "ChainedScheduler": (
        lambda o, s: s.ChainedScheduler([s.LinearLR(o, 0.2, total_iters=8), s.ExponentialLR(o, 0.95)]),
        lambda t, lr: lr * (0.2 + 0.8 * min(t, 8) / 8) * 0.95**t,
    ),
    "ChainedScheduler with a cosine": (
        lambda o, s: s.ChainedScheduler([s.LinearLR(o, 0.2), s.CosineAnnealingLR(o, 60, eta_min=1e-3), s.StepLR(o, 9)]),
        None,
    ),
}  # fmt: skip
each = pytest.mark.parametrize("name", MAKE)


def mine(name, optimizer=None):
    return MAKE[name][0](optimizer or adam(), optim)


@pytest.mark.parametrize("name", [name for name in MAKE if MAKE[name][1]])
def test_closed_forms(name):
    expected = [[MAKE[name][1](t, lr) for lr in (0.1, 0.02)] for t in range(STEPS + 1)]
    np.testing.assert_allclose(rates(mine(name)), expected, rtol=1e-10, atol=1e-15)


@each
def test_equal_to_torch(name):
    torch = pytest.importorskip("torch")
    parameters = [torch.ones(1, requires_grad=True) for _ in range(2)]
    theirs = torch.optim.Adam([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.02}], lr=0.1)
    theirs.step()
    reference = MAKE[name][0](theirs, torch.optim.lr_scheduler)
    schedule = mine(name)
    for _ in range(STEPS):
        groups = schedule.optimizer.param_groups
        assert [g["lr"] for g in groups] == pytest.approx([g["lr"] for g in theirs.param_groups], rel=1e-12, abs=1e-12)
        assert [g["betas"] for g in groups] == [pytest.approx(g["betas"], rel=1e-12) for g in theirs.param_groups]
        theirs.step()
        reference.step()
        schedule.step()
    assert groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12, abs=1e-12)


def test_one_cycle():
    optimizer = optim.SGD([leaf()], lr=7.0, momentum=0.3)
    schedule = optim.OneCycleLR(optimizer, 1.0, 40, pct_start=0.25, div_factor=10.0, final_div_factor=100.0)
    rows = [(optimizer.lr, optimizer.momentum)]
    for _ in range(39):
        schedule.step()
        rows.append((optimizer.lr, optimizer.momentum))
    lr, momentum = np.array(rows).T
    assert rows[0] == pytest.approx((0.1, 0.95)) and rows[9] == pytest.approx((1.0, 0.85))
    assert rows[39] == pytest.approx((1e-3, 0.95))
    assert (np.diff(lr[:10]) > 0).all() and (np.diff(lr[9:]) < 0).all()
    assert (np.diff(momentum[:10]) < 0).all() and (np.diff(momentum[9:]) > 0).all()
    schedule.step()  # as often as there are batches
    with pytest.raises(SettingError, match="all 40 steps are done"):
        schedule.step()
    optim.OneCycleLR(optimizer, 1.0, 10, pct_start=0.1)  # the top is step 0
    assert optimizer.lr == pytest.approx(1.0)


# -- plateaus -------------------------------------------------------------------------------------------------------

MEASURES = np.concatenate([np.linspace(3, 1, 12), np.ones(15), [np.nan] * 3, np.linspace(1, 0.9, 10), [5.0] * 10])
PLATEAUS = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 3},
    {"patience": 3, "threshold": 0.1, "factor": 0.5},
    {"patience": 3, "threshold": 0.1, "threshold_mode": "abs", "factor": 0.5},
    {"mode": "max", "patience": 4, "threshold": 0.01, "min_lr": 0.03},
    {"mode": "max", "patience": 1, "threshold": 0.5, "threshold_mode": "abs", "min_lr": [0.0, 1e-3], "factor": 0.7},
    {"patience": 1, "eps": 1e-3},
]


@pytest.mark.parametrize("settings", PLATEAUS, ids=lambda s: ",".join(s))
def test_plateaus_equal_torch(settings):
    torch = pytest.importorskip("torch")
    parameters = [torch.ones(1, requires_grad=True) for _ in range(2)]
    theirs = torch.optim.Adam([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.02}], lr=0.1)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **settings)
    schedule = optim.ReduceLROnPlateau(adam(), **settings)
    for measure in MEASURES:
        reference.step(measure)
        schedule.step(measure)
        expected = [group["lr"] for group in theirs.param_groups]
        assert schedule.get_last_lr() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert expected[0] < 0.1


def test_a_plateau():
    schedule = optim.ReduceLROnPlateau(adam(), factor=0.5, patience=2)
    for measure, lr in [(3, 0.1), (2, 0.1), (2, 0.1), (2, 0.1), (Tensor([2.0]), 0.05), (1, 0.05), (9, 0.05), (9, 0.05),
                        (np.float32(9), 0.025)]:  # fmt: skip
        schedule.step(measure)
        assert schedule.get_last_lr() == [pytest.approx(lr), pytest.approx(lr / 5)]


def test_a_plateau_waits_after_a_reduction():
    """For two steps nothing is counted, so that patience 0 does not fire; and a reduction too small is not made."""
    optimizer = optim.SGD([leaf()], lr=1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, cooldown=2)
    got = []
    for _ in range(8):
        schedule.step(1.0)
        got.append(optimizer.lr)
    assert got == [1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    optimizer = optim.SGD([leaf()], lr=1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, eps=0.3)
    for _ in range(5):
        schedule.step(1.0)
    assert optimizer.lr == 0.5


def test_a_cosine_does_not_fall_below_zero():
    """A rate set by hand below eta_min is led away from it on the way up, but not below 0."""
    optimizer = optim.SGD([leaf()], lr=1.0)
    schedule = optim.CosineAnnealingLR(optimizer, 5, eta_min=0.1)
    rates(schedule, 6)
    optimizer.lr = 0.0
    schedule.step()
    assert optimizer.lr == 0.0


# -- together -------------------------------------------------------------------------------------------------------


def test_two_schedules_multiply_and_a_rate_set_by_hand_is_respected():
    optimizer = optim.SGD([leaf()], lr=1.0)
    first, second = optim.StepLR(optimizer, 2, 0.5), optim.ExponentialLR(optimizer, 0.9)
    for _ in range(4):
        first.step()
        second.step()
    assert optimizer.lr == pytest.approx(0.25 * 0.9**4)
    optimizer.lr = 8.0
    second.step()
    assert optimizer.lr == pytest.approx(7.2)


def test_a_group_that_comes_later():
    optimizer = optim.SGD([leaf()], lr=1.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    schedule.step()
    optimizer.add_param_group({"params": [leaf()], "lr": 3.0})
    schedule.step()
    assert schedule.get_last_lr() == [0.25, 1.5]
    optimizer = optim.SGD([leaf()], lr=1.0, momentum=0.5)
    made = [optim.LambdaLR(optimizer, lambda t: 0.5), optim.OneCycleLR(optimizer, 2.0, 9),
            optim.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.25)]  # fmt: skip
    optimizer.add_param_group({"params": [leaf()], "lr": 3.0})
    made[0].step()
    assert made[0].get_last_lr() == [0.5, 1.5]
    made[1].step()
    assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"] > 2.0 / 25
    assert optimizer.param_groups[0]["momentum"] == optimizer.param_groups[1]["momentum"] < 0.95
    optimizer.lr = 1.0
    made[2].step(1.0)
    made[2].step(1.0)
    assert made[2].get_last_lr() == [0.25, 0.25]


def test_a_schedule_starts_from_the_initial_rate():
    optimizer = optim.SGD([leaf()], lr=1.0)
    optim.LinearLR(optimizer, 0.1)
    assert optimizer.lr == pytest.approx(0.1)
    optim.LambdaLR(optimizer, lambda t: 0.5)
    assert optimizer.lr == 0.5 and optimizer.param_groups[0]["initial_lr"] == 1.0


def test_one_cycle_leaves_the_start_of_other_schedules_alone():
    optimizer = optim.SGD([leaf()], lr=1.0, momentum=0.5)
    cycle = optim.OneCycleLR(optimizer, 3.0, 10)
    both = optim.SequentialLR(optimizer, [optim.LinearLR(optimizer, 0.5), cycle], [2])
    got = [lr for (lr,) in rates(both, 2)]
    assert got == pytest.approx([0.5, 0.6, 3.0 / 25])


def test_nested():
    """A chain as a part of a sequence starts anew from the initial rates, as a single schedule does."""
    optimizer = optim.SGD([leaf()], lr=1.0)
    inner = optim.ChainedScheduler([optim.LinearLR(optimizer, 0.5, total_iters=2), optim.ExponentialLR(optimizer, 0.9)])
    outer = optim.SequentialLR(optimizer, [optim.StepLR(optimizer, 1, 0.1), inner], [3])
    got = [lr for (lr,) in rates(outer, 6)]
    assert got == pytest.approx([1.0, 0.1, 0.01, 0.5, 0.75 * 0.9, 0.9**2, 0.9**3])


def test_with_the_training_of_a_model(rng):
    """An optimizer of one's own making, and a callback that steps its schedule."""
    from tinyae import Autoencoder

    made = []

    def make(parameters):
        made.append(optim.ExponentialLR(optim.Adam(parameters, lr=0.1), 0.5))
        return made[0].optimizer

    model = Autoencoder(n_components=2, optimizer=make, max_iter=3, random_state=0)
    model.fit(rng.uniform(size=(20, 4)), callbacks=[lambda model, row: made[0].step()])
    assert made[0].get_last_lr() == [pytest.approx(0.1 / 8)]


def test_a_schedule_of_ones_own():
    class Inverse(optim.LRScheduler):
        """initial / (1 + t)."""

        def _lr(self, i, lr, base):
            return base / (1 + self.last_epoch)

    assert rates(Inverse(adam()), 2).tolist() == [[0.1, 0.02], [0.05, 0.01], [0.1 / 3, 0.02 / 3]]
    with pytest.raises(NotImplementedError, match="Define _lr"):
        optim.LRScheduler(adam())


# -- state ----------------------------------------------------------------------------------------------------------


def from_file(state):
    """state as a file gives it back: arrays, nothing pickled."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


class Plateau(optim.ReduceLROnPlateau):
    """A plateau that is told its measure by the number of its step."""

    def step(self):
        super().step(MEASURES[self.last_epoch])


def training(name, dtype=np.float32):
    """(net, optimizer, schedule)"""
    net = nn.Sequential(nn.Linear(4, 3, generator=0, dtype=dtype), nn.Tanh(), nn.Linear(3, 4, generator=1, dtype=dtype))
    first, *rest = net.parameters()
    optimizer = optim.Adam([{"params": [first]}, {"params": rest, "lr": 0.02}], lr=0.1)
    if name == "plateau":
        return net, optimizer, Plateau(optimizer, patience=0, factor=0.9, cooldown=3)
    return net, optimizer, mine(name, optimizer)


def go(net, optimizer, schedule, steps):
    x = np.linspace(0, 1, 24, dtype=next(net.parameters()).dtype).reshape(6, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.mse(net(x), x).backward()
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("name", [*MAKE, "plateau"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("schedule_first", [True, False])
@pytest.mark.parametrize("before", [5, 17])
def test_resuming_gives_the_same_bits(name, dtype, schedule_first, before):
    one = training(name, dtype)
    go(*one, before)
    saved = [from_file(part.state_dict()) for part in one]
    go(*one, 8)
    other = training(name, dtype)
    go(*other, 1)  # nothing of what it was before is left
    for part, state in list(zip(other, saved))[:: -1 if schedule_first else 1]:
        part.load_state_dict(state)
    assert other[2].last_epoch == before and type(other[1].lr) is float
    go(*other, 8)
    for part, twin in zip(one, other):
        a, b = part.state_dict(), twin.state_dict()
        assert list(a) == list(b) and all(np.array_equal(a[key], b[key]) for key in a)


@each
def test_a_fresh_schedule_over_a_loaded_optimizer(name):
    """The schedule is made after the optimizer was loaded, so it starts from the wrong rates; its state corrects it."""
    optimizer = adam()
    schedule = mine(name, optimizer)
    rates(schedule, 12)
    resumed = adam()
    resumed.load_state_dict(optimizer.state_dict())
    again = mine(name, resumed)
    again.load_state_dict(schedule.state_dict())
    assert [{k: v for k, v in g.items() if k != "params"} for g in resumed.param_groups] == [
        {k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups
    ]
    assert np.array_equal(rates(again, 8), rates(schedule, 8))


def test_copies_go_their_own_way():
    optimizer = adam()
    pair = optimizer, optim.StepLR(optimizer, 1)
    for duplicate in (copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        other, schedule = duplicate(pair)
        schedule.step()
        assert schedule.optimizer is other and other.lr == pytest.approx(0.01) and optimizer.lr == 0.1


def test_load_state_dict_refuses_what_does_not_fit_and_changes_nothing():
    schedule = mine("SequentialLR")
    rates(schedule, 3)
    before = schedule.state_dict()
    for change, text in [
        ({"lrs": [0.1]}, "lrs has 1 values for 2 groups"),
        ({"lrs": 0.1}, "lrs=0.1"),
        ({"lrs": ["a", "b"]}, "lrs="),
        ({"schedulers.1.last_epoch": "a"}, "schedulers.1.last_epoch='a'"),
        ({"best": 3.0}, "the state last_epoch, lrs, .*best"),
    ]:
        with pytest.raises(SettingError, match=text):
            schedule.load_state_dict({**before, "last_epoch": 9, **change})
        assert schedule.state_dict() == before
    with pytest.raises(SettingError, match="the state nothing"):
        schedule.load_state_dict({})


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda o: optim.StepLR(None, 3), "StepLR: optimizer is a NoneType. Give an Optimizer"),
        (lambda o: optim.OneCycleLR([o], 1.0, 3), "optimizer is a list"),
        (lambda o: optim.LambdaLR(3, abs), "optimizer is a int"),
        (lambda o: optim.ReduceLROnPlateau(3), "optimizer is a int"),
        (lambda o: optim.StepLR(o, 0), "step_size=0. Give a whole number of at least 1"),
        (lambda o: optim.StepLR(o, 2.0), "step_size=2.0"),
        (lambda o: optim.StepLR(o, True), "step_size=True"),
        (lambda o: optim.StepLR(o, 2, gamma=-1), "gamma=-1"),
        (lambda o: optim.MultiStepLR(o, 5), "milestones=5"),
        (lambda o: optim.MultiStepLR(o, [5, 0]), "milestone=0"),
        (lambda o: optim.ExponentialLR(o, np.nan), "gamma=nan"),
        (lambda o: optim.LinearLR(o, 0), "start_factor=0"),
        (lambda o: optim.LinearLR(o, 1.5), "start_factor=1.5"),
        (lambda o: optim.LinearLR(o, end_factor=-1), "end_factor"),
        (lambda o: optim.LinearLR(o, total_iters=0), "total_iters=0"),
        (lambda o: optim.CosineAnnealingLR(o, 0), "T_max=0"),
        (lambda o: optim.CosineAnnealingLR(o, 3, -1), "eta_min=-1"),
        (lambda o: optim.LambdaLR(o, 0.5), "lr_lambda=0.5. Give a function"),
        (lambda o: optim.LambdaLR(o, [abs, abs, abs]), "lr_lambda has 3 values for 2 parameter groups"),
        (lambda o: optim.LambdaLR(o, lambda t: -1.0), "LambdaLR: at step 0, lr=-0.1"),
        (lambda o: optim.OneCycleLR(o, [1.0], 5), "max_lr has 1 values for 2"),
        (lambda o: optim.OneCycleLR(o, 1.0, 5, pct_start=1.5), "pct_start=1.5"),
        (lambda o: optim.OneCycleLR(o, 1.0, 5, anneal_strategy="sin"), "anneal_strategy='sin'. Give 'cos' or 'linear'"),
        (lambda o: optim.OneCycleLR(optim.Adadelta([leaf()]), 1.0, 5), "Adadelta has no momentum"),
        (lambda o: optim.OneCycleLR(o, 1.0, 5, max_momentum=1.0), "max_momentum=1.0"),
        (lambda o: optim.OneCycleLR(o, 1.0, 5, div_factor=0), "div_factor=0"),
        (lambda o: optim.ReduceLROnPlateau(o, "least"), "mode='least'. Give 'min' or 'max'"),
        (lambda o: optim.ReduceLROnPlateau(o, threshold_mode="a"), "threshold_mode='a'"),
        (lambda o: optim.ReduceLROnPlateau(o, factor=1.0), "factor=1.0"),
        (lambda o: optim.ReduceLROnPlateau(o, patience=-1), "patience=-1"),
        (lambda o: optim.ReduceLROnPlateau(o, min_lr=[1, 2, 3]), "min_lr has 3 values"),
        (lambda o: optim.ChainedScheduler([]), "no schedules"),
        (lambda o: optim.ChainedScheduler([o]), "a Adam is no schedule"),
        (lambda o: optim.ChainedScheduler([optim.ReduceLROnPlateau(o)]), "a ReduceLROnPlateau is no schedule whose"),
        (lambda o: optim.ChainedScheduler([optim.StepLR(o, 1), optim.StepLR(adam(), 1)]), "all of the same optimizer"),
        (lambda o: optim.ChainedScheduler([optim.StepLR(o, 1)] * 2), "give different schedules"),
        (lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1)], [1]), r"milestones=\[1\] for 1 schedules. Give 0"),
        (lambda o: optim.SequentialLR(adam(), [optim.StepLR(o, 1)], []), "of another optimizer"),
    ],
)
def test_refusals(make, text):
    with pytest.raises(SettingError, match=text):
        make(adam())


def test_a_rate_that_makes_no_sense_is_refused_when_it_comes():
    schedule = optim.LambdaLR(adam(), lambda t: 1.0 if t < 3 else math.nan)
    schedule.step()
    schedule.step()
    with pytest.raises(SettingError, match="LambdaLR: at step 3, lr=nan"):
        schedule.step()


def test_one_cycle_may_be_stepped_as_often_as_it_says():
    """The loop that steps after every batch ends one behind the last knot: there a line stays at its lowest."""
    optimizer = optim.SGD([Tensor([1.0], requires_grad=True)], lr=0.1, momentum=0.9)
    schedule = optim.OneCycleLR(optimizer, 1.0, 10, anneal_strategy="linear")
    rates = []
    for _ in range(10):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates[-1] == rates[-2] == pytest.approx(0.04 / 1e4)
