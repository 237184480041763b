"""The optimizers' rules as a plan knows them: what C is told of each, and what it keeps.

Ring 4. Must not know programs or memory. Another rule is another entry here, and one of csrc/plan.c's.
"""

from typing import NamedTuple

from ..optim.rules import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop

__all__ = ["RULES", "rule_of"]


_FLAGS = ("nesterov", "decoupled")


class Rule(NamedTuple):
    """One rule of csrc/plan.c."""

    kinds: tuple  # the classes whose rule it is; the first can stand for all
    settings: tuple  # what C is told before a run, in its order: settings of a group, or attributes of the class
    slots: tuple  # what is kept of each parameter; a velocity only where there is momentum
    given: dict = {}  # settings without which it is not the rule

    def numbers(self, optimizer, group):
        """What C is told."""
        values = [group[name] if name in group else getattr(optimizer, name) for name in self.settings]
        return tuple(float(v) for value in values for v in (value if isinstance(value, tuple) else (value,)))

    def kept(self, group):
        """The names of what is kept of each parameter."""
        return tuple(name for name in self.slots if name != "velocity" or group["momentum"])

    def alone(self, numbers, work):
        """(an optimizer without parameters that has these numbers, the names of what it keeps): what they mean."""
        kind, numbers = self.kinds[0], iter(numbers)
        optimizer, group = kind.__new__(kind), {"lr": None, **kind.__init__.__kwdefaults__, **self.given}
        for name in self.settings:
            value = (next(numbers), next(numbers)) if name == "betas" else next(numbers)
            (group if name in group else vars(optimizer))[name] = bool(value) if name in _FLAGS else value
        optimizer._group, optimizer._work = group, work
        return optimizer, self.kept(group)


RULES = {
    "sgd": Rule((SGD,), ("lr", "momentum", "nesterov", "weight_decay"), ("velocity",), {"dampening": 0.0}),
    "adam": Rule((Adam, AdamW), ("lr", "betas", "eps", "weight_decay", "decoupled"), ("m", "v"), {"amsgrad": False}),
    "rmsprop": Rule((RMSprop,), ("lr", "alpha", "eps", "momentum", "weight_decay"), ("v", "velocity"),
                    {"centered": False}),
    "centered_rmsprop": Rule((RMSprop,), ("lr", "alpha", "eps", "momentum", "weight_decay"), ("v", "m", "velocity"),
                             {"centered": True}),
    "adagrad": Rule((Adagrad,), ("lr", "lr_decay", "eps", "weight_decay"), ("v",)),
    "adadelta": Rule((Adadelta,), ("lr", "rho", "eps", "weight_decay"), ("v", "u")),
}  # fmt: skip


def rule_of(optimizer, group):
    """The name of the rule by which a group is updated; None if C has not that one."""
    for name, rule in RULES.items():
        if type(optimizer) in rule.kinds and all(group[k] == v for k, v in rule.given.items()):
            return None if group.get("maximize") else name
    return None
