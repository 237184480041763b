"""Optimizers turn gradients into better parameters, in place; schedules move their learning rate.

    optimizer = Adam(net.parameters(), lr=1e-3)
    schedule = CosineAnnealingLR(optimizer, 20)
    for epoch in range(20):
        for x in batches(X, 64):
            optimizer.zero_grad()
            nn.mse(net(x), x).backward()
            clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        schedule.step()

Gradients add up until ``zero_grad``: a batch too large for memory is cut into k parts, each with ``(loss / k)
.backward()``, and one step after the last is the step of the whole batch.

Ring 4. Must not know modules, losses or models. Read ``base.py`` and ``rules.py``; the others when they are wanted.
"""

from .base import Optimizer, Setting
from .clip import clip_grad_norm_, clip_grad_value_
from .lbfgs import LBFGS
from .rules import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop, optimizer
from .schedules import (
    ChainedScheduler,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "ChainedScheduler", "CosineAnnealingLR", "ExponentialLR", "LBFGS",
           "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "OneCycleLR", "Optimizer", "RMSprop",
           "ReduceLROnPlateau", "SGD", "SequentialLR", "Setting", "StepLR", "clip_grad_norm_", "clip_grad_value_",
           "optimizer"]  # fmt: skip
