"""Training programs as users write them, drawn by a seed: the text of a script, for runs.py and for reading.

    print(program(17))

A program is put together of a *task* (what goes in, what net, which loss: tasks.py, nets.py), a *regulariser*, an
*optimizer*, an *update* (clipping, several small batches, where zero_grad stands), *extras* (averages and counters kept
by assign), what the loop does *between* steps (schedules, freezing, evaluation, loading, numbers that change), how
*batches* are cut (strides, orders, a short last one, other layouts later on), and a *form* (script, functions in a
function, a class with a compiled method). ``$name`` in a template is the program's own name, which in a class is an
attribute.

What cannot be drawn: lists as arguments, several threads, programs that print or write files, `fit` and the models of
`tinyae.ae`, which tests of their own compile.
"""

import re

from . import tasks
from .nets import Draw


class Program:
    """What is put together: lines by section."""

    def __init__(self, seed):
        self.draw = draw = Draw(seed)
        self.float = "float64" if draw.maybe(0.1) else "float32"
        self.n = draw.pick(16, 17, 24, 30)  # rows of data
        self.classes, self.setup, self.data = [], [], []  # of the whole program
        self.arguments, self.settings, self.numbers = [], [], []  # of the step: arrays, keywords, numbers
        self.forward, self.extras, self.returns = [], [], ["loss"]
        self.whole = None  # the step as a whole, of a task that has an update of its own
        self.params, self.state = [], []
        self.before, self.after, self.changed = [], [], set()  # lines of the loop, and names that they set
        self.kinds = set()  # what must be known of it elsewhere
        self.names, self.width, self.hidden, self.rule = 0, 0, "loss", None

    def new(self, prefix):
        self.names += 1
        return f"{prefix}{self.names}"

    def net(self, expression, name="net"):
        self.setup.append(f"${name} = {expression}")
        self.params.append(f"${name}.parameters()")
        self.state.append(f"${name}")

    @property
    def cast(self):
        """What makes a library's layer one of the program's precision."""
        return ".astype(FLOAT)" if self.float == "float64" else ""

    @property
    def every(self):
        """An expression for all parameters."""
        return f"[{', '.join('*' + one for one in self.params)}]"

    @property
    def nets(self):
        return [name for name in self.state if f"{name}.parameters()" in self.params]

    def argument(self, name, of):
        """An argument of the step, and all its rows."""
        self.data.append(f"{name.upper()} = {of}")
        self.arguments.append(name)

    def number(self, value):
        """A number: as such, or one that changes as epochs go by, of the surroundings or an argument."""
        draw = self.draw
        if "beta" in self.changed or not draw.maybe(0.25):
            return repr(value)
        if draw.maybe(0.3):
            self.numbers.append(("rate", draw.pick(repr(value), f"{value} * (i + 1)", f"np.float32({value})", "1")))
            return "rate"
        self.setup.append(f"$beta = {value}")
        self.changed.add("beta")
        self.before.append(draw.pick("if i % 8 == 0:\n    $beta = round(0.1 * (i // 8) + 0.1, 2)",
                                     "if i == 11:\n    $beta *= 0.5", "if i == 3:\n    $beta = 0"))  # fmt: skip
        return "$beta"


# -- what every program has -----------------------------------------------------------------------------------------

RATES = {"SGD": [0.01, 0.05, 0.1], "Adadelta": [1.0, 0.5]}
RULES = {
    "SGD": ["", ", momentum=0.9", ", momentum=0.9, nesterov=True", ", weight_decay=0.01",
            ", momentum=0.5, dampening=0.1", ", momentum=0.9, weight_decay=0.1", ", momentum=0.9, maximize=False"],
    "Adam": ["", "", ", amsgrad=True", ", betas=(0.5, 0.9)", ", weight_decay=0.01", ", eps=1e-4", ", betas=(0.0, 0.9)",
             ", betas=(0.0, 0.0)"],
    "AdamW": ["", ", weight_decay=0.1", ", amsgrad=True"],
    "RMSprop": ["", ", momentum=0.9", ", centered=True", ", alpha=0.9", ", weight_decay=0.01"],
    "Adagrad": ["", ", lr_decay=0.1", ", initial_accumulator_value=0.1", ", weight_decay=0.01"],
    "Adadelta": ["", ", rho=0.8", ", weight_decay=0.01"],
}  # fmt: skip


def optimizer(p):
    """The names of one or two optimizers."""
    draw = p.draw
    rule = p.rule = draw.weighted(SGD=3, Adam=4, AdamW=2, RMSprop=1.2, Adagrad=1, Adadelta=0.7)
    lr, extra = draw.choice(RATES.get(rule, [0.001, 0.01, 0.02])), draw.choice(RULES[rule])
    first, rest = p.params[0], f"[{', '.join('*' + one for one in p.params[1:])}]"
    p.state.append("$opt")
    way = draw.weighted(one=8, groups=1, two=0.8) if len(p.params) > 1 else "one"
    if way == "two":
        p.setup += [f"$opt = optim.{rule}({first}, lr={lr}{extra})",
                    f"$opt2 = optim.{draw.pick('SGD', 'Adam', 'RMSprop')}({rest}, lr=0.01)"]  # fmt: skip
        p.state.append("$opt2")
        return ["$opt", "$opt2"]
    over = p.params[0] if len(p.params) == 1 else p.every
    if way == "groups":
        over = f"[{{'params': {first}, 'lr': 0.003}}, {{'params': {rest}}}]"
    p.setup.append(f"$opt = optim.{rule}({over}, lr={lr}{extra})")
    return ["$opt"]


def regulariser(p):
    draw, h = p.draw, p.hidden
    kind = draw.weighted(none=7, l2=1.5, l1=1, activity=1, orthogonal=0.4, entropy=0.4)
    if kind == "none":
        return
    c = p.number(0.001)
    p.forward += {
        "l2": [f"loss = loss + {c} * sum((p ** 2).sum() for p in {p.every})"],
        "l1": [draw.pick(f"loss = loss + {c} * sum(ops.sum(ops.abs(p)) for p in {p.every})",
                         f"for p in {p.every}:\n    loss = loss + {c} * abs(p).mean()")],
        "activity": [f"loss = loss + {c} * " + draw.pick(f"ops.mean({h} ** 2)", f"abs({h}).sum()",
                     f"ops.mean(ops.square({h}.mean(axis=0)))", f"ops.sum({h}.var(axis=0))")],
        "orthogonal": [f"for p in {p.every}:", "    if p.ndim == 2:", "        g = p.T @ p",
                       f"        loss = loss + {c} * (ops.square(g).sum() - 2.0 * g.diagonal().sum())"],
        "entropy": [f"loss = loss + {c} * ops.mean(ops.softplus({h}) * ops.sigmoid({h}))"],
    }[kind]  # fmt: skip


def clipping(p):
    draw = p.draw
    kind = draw.weighted(none=7, norm=2, value=0.7, inf=0.3, part=0.4, scaled=0.3)
    return {
        "none": [],
        "norm": [f"optim.clip_grad_norm_({p.every}, {draw.pick(0.1, 1.0, 5.0)})"],
        "value": [f"optim.clip_grad_value_({p.every}, 0.1)"],
        "inf": [f"optim.clip_grad_norm_({p.every}, 1.0, norm_type=float('inf'))"],
        "part": [f"optim.clip_grad_norm_({p.params[0]}, 0.5)"],
        "scaled": [f"for p in {p.every}:", "    if p.grad is not None:", "        p.grad = p.grad * 0.5"],
    }[kind]


def update(p, opts):
    """The lines of the step."""
    draw = p.draw
    zero, move, clip = [f"{o}.zero_grad()" for o in opts], [f"{o}.step()" for o in opts], clipping(p)
    forward = lines(p.forward)
    text = "\n".join(forward)
    way = draw.weighted(plain=9, parts=0.8, late=1.2, twice=0.4, early=2, net=0.5, flag=0.5)
    if way == "parts" and len(p.arguments) < 4 and "BatchNorm" not in "".join([*p.setup, *p.classes]):
        p.kinds.add("parts")
        names = {name: f"{name}_" for name in p.arguments}
        cut = f"    {', '.join(names.values())} = {', '.join(f'{name}[part]' for name in names)}"
        inner = [re.sub(rf"\b({'|'.join(names)})\b(?!=)", lambda m: names[m[0]], line) for line in forward]
        p.returns, p.hidden = ["total"], "total"
        return [*zero, "total = 0.0", "for part in (slice(0, 2), slice(2, None)):", cut, *indent(inner),
                "    (loss / 2).backward()", "    total = total + loss.detach()", *clip, *move]  # fmt: skip
    if way == "twice" and "x = " not in text and "requires_grad_" not in text:
        return ["for _ in range(2):", *indent([*zero, *forward, "loss.backward()", *move])]
    if way == "flag":
        p.settings.append(("train", draw.pick("True", "i % 5 != 4", "i < 9 or i > 13")))
        return [*zero, *forward, "if train:", *indent(["loss.backward()", *clip, *move])]
    if way == "late":
        return [*forward, "loss.backward()", *clip, *move, *zero]
    if way == "net" and len(p.params) == len(p.nets):
        zero = [f"{net}.zero_grad()" for net in p.nets]
    if way == "early":
        return [*forward, *zero, "loss.backward()", *clip, *move]
    return [*zero, *forward, "loss.backward()", *clip, *move]


SCHEDULES = [
    "optim.StepLR($opt, 5, gamma=0.5)", "optim.ExponentialLR($opt, 0.9)", "optim.CosineAnnealingLR($opt, 10)",
    "optim.LambdaLR($opt, lambda e: 1.0 / (1 + e))", "optim.LinearLR($opt, 0.1, total_iters=6)",
    "optim.MultiStepLR($opt, [4, 9])", "optim.OneCycleLR($opt, 0.02, 30)",
    "optim.OneCycleLR($opt, 0.02, 30, cycle_momentum=False)", "optim.ReduceLROnPlateau($opt, patience=1)",
    "optim.ChainedScheduler([optim.ExponentialLR($opt, 0.95), optim.LinearLR($opt, 0.3, total_iters=5)])",
    "optim.SequentialLR($opt, [optim.LinearLR($opt, 0.1, total_iters=4), optim.CosineAnnealingLR($opt, 20)], [4])",
]  # fmt: skip


def loop(p):
    """What the program does around its step."""
    draw, nets = p.draw, p.nets
    if draw.maybe(0.25):
        schedule = draw.choice(SCHEDULES)
        if "OneCycleLR($opt, 0.02, 30)" in schedule and p.rule not in ("Adam", "AdamW"):
            schedule = "optim.ExponentialLR($opt, 0.9)"
        p.setup.append(f"$schedule = {schedule}")
        step = f"$schedule.step({'float(i % 3)' if 'Plateau' in schedule else ''})"
        p.after.append(draw.pick(step, f"if i % 3 == 2:\n    {step}"))
    if draw.maybe(0.1):
        decay = "if i == 6:\n    $opt.param_groups[0]['weight_decay'] = 0.02"
        p.before.append(draw.pick("if i % 5 == 4:\n    for group in $opt.param_groups:\n        group['lr'] *= 0.7",
                                  "if i == 10:\n    $opt.lr = 0.002", decay))  # fmt: skip
    if not nets:
        return
    net = draw.choice(nets)
    if draw.maybe(0.12):
        some = draw.pick(f"{net}.requires_grad_({{}})", f"next({net}.parameters()).requires_grad_({{}})")
        if len(p.params) > 1 or "next" in some:
            p.before.append("if i in (6, 14):\n    " + some.format("i == 14"))
    if draw.maybe(0.12):
        p.before.append(f"if i % 8 in (5, 6):\n    {net}.train(i % 8 != 5)")
    if draw.maybe(0.1):
        change = draw.pick(f"if i == 9:\n    {net}.load_state_dict({net}.state_dict())",
                           f"if i == 5:\n    $saved = {net}.state_dict(), $opt.state_dict()\nif i == 13:\n"
                           f"    {net}.load_state_dict($saved[0])\n    $opt.load_state_dict($saved[1])",
                           f"if i == 7:\n    for p in {net}.parameters():\n        p.data = p.data * 0.5",
                           "if i == 7:\n    with tinyae.no_grad():\n"
                           f"        for p in {net}.parameters():\n            p *= 0.5")  # fmt: skip
        p.before.append(change)
        if "$saved" in change:
            p.setup.append("$saved = None")
            p.changed.add("saved")
    if draw.maybe(0.08) and "nn.Linear(" in "".join([*p.setup, *p.classes]):
        how = draw.pick("lambda w: w * 0.5", "lambda w: ops.tanh(w)", "nn.unit_norm", "lambda w: w - w.mean(axis=0)")
        layer = f"next((m for m in {net}.modules() if isinstance(m, nn.Linear)), None)"
        position = next(i for i, line in enumerate(p.setup) if line.startswith("$opt ="))
        p.setup.insert(position,
                       f"$first = {layer}\nif $first is not None:\n    nn.parametrise($first, 'weight', {how})")
    if draw.maybe(0.05):
        p.before.append(f"if i == 5:\n    {net}.register_forward_hook(lambda m, given, y: y)")
    if draw.maybe(0.03) and "saved" not in p.changed:  # a notebook's cell, run again
        p.kinds.add("anew")
    if draw.maybe(0.12) and p.arguments[0] == "x":
        p.kinds.add("evaluate")
    if draw.maybe(0.06):
        p.kinds.add("second")


def extras(p):
    """What the step keeps by assign."""
    draw = p.draw
    way = draw.weighted(none=8, slow=1, count=0.5, history=0.5, bounds=0.6, norm=0.3)
    still = ["with tinyae.no_grad():"]
    if way == "slow":
        p.setup.append(f"$slow = [Tensor(p.data) for p in {p.every}]")
        p.state.append("*$slow")
        new = draw.pick("0.9 * s + 0.1 * p", "s + (p - s) * 0.05")
        p.extras += [*still, f"    for s, p in zip($slow, {p.every}):", f"        tinyae.assign(s, {new})"]
    elif way == "count":
        p.setup.append("$count = Tensor(np.zeros((), 'f'))")
        p.state.append("$count")
        p.extras.append("tinyae.assign($count, $count + 1.0)")
    elif way == "history":
        p.setup.append("$losses = Tensor(np.zeros(5, FLOAT))")
        p.state.append("$losses")
        value = f"{p.returns[0]}.detach()"
        p.extras += draw.pick([*still, "    tinyae.assign($losses, $losses[:-1], slice(1, None))",
                               f"    tinyae.assign($losses, {value}, 0)"],
                              [*still, "    tinyae.assign($losses, ops.roll($losses, shift=1))",
                               f"    tinyae.assign($losses, {value}, 0)"],
                              [*still, f"    tinyae.assign($losses, ops.concat($losses[1:], {value}.reshape(1)))"])
    elif way == "bounds":
        p.extras += [*still, f"    for p in {p.every}:", "        tinyae.assign(p, ops.clip(p, low=-0.8, high=0.8))"]
    elif way == "norm":
        p.extras += [*still, f"    for p in {p.every}:", "        if p.ndim == 2:",
                     "            tinyae.assign(p, p / (ops.norm(p, axis=0, keepdims=True) + 1e-3))"]  # fmt: skip


LAYOUTS = {
    "fortran": "np.asfortranarray({a})", "first": "np.stack([{a}, {a}], axis=-1)[..., 0]",
    "second": "np.stack([{a}, {a}], axis=-1)[..., 1]", "twice": "{a}[::-1][::-1]", "tensor": "Tensor({a})",
    "frozen": "frozen({a})", "zero": "np.broadcast_to({a}[:1], {a}.shape)", "columns": "np.ascontiguousarray({a}.T).T",
    "swapped": "{a}.astype({a}.dtype.newbyteorder())", "reversed": "{a}[::-1]",
    "every": "np.concatenate([{a}, {a}])[::2]", "wide": "{a}.astype('f8') if {a}.dtype.kind == 'f' else {a}",
}  # fmt: skip


def batches(p):
    """Lines that cut the arguments of call i, the same rows of each."""
    draw, n = p.draw, p.n
    size = draw.pick(4, 5, 8) if "parts" in p.kinds else draw.pick(2, 3, 4, 5, 8, 8, 15)
    if "carried" in p.kinds:  # whose state has four rows
        size = 4
    way = draw.weighted(slices=4, last=2, whole=1, shuffled=2, strided=1, reversed=0.8, same=1)
    way = "slices" if "carried" in p.kinds else way
    if way == "last":  # not of one row, over which no norm can be taken, and in parts each of two
        least = 4 if "parts" in p.kinds else 2
        size = next((s for s in draw.sample([4, 5, 6, 7, 8, 9, 11], 7) if n % s == 0 or n % s >= least), 8)
    made = {
        "slices": f"start = i * {size} % {n - size + 1}\nrows = slice(start, start + {size})",
        "last": f"start = i * {size} % {n + -n % size}\nrows = slice(start, start + {size})",
        "whole": "rows = slice(None)", "shuffled": f"rows = rng.permutation({n})[:{size}]",
        "strided": "rows = slice(i % 3, None, 3)", "same": f"rows = slice(0, {size})",
        "reversed": "rows = slice(None, None, -1) if i % 2 else slice(None)",
    }[way].split("\n")  # fmt: skip
    for name in p.arguments:
        made.append(f"{name} = {name.upper()}[rows]")
        if draw.maybe(0.25):
            layout = draw.choice([*LAYOUTS])
            if layout == "wide" and (p.float == "float64" or draw.maybe(0.7)):
                layout = "second"
            if layout == "frozen":
                p.kinds.add("frozen")
            line = f"{name} = {LAYOUTS[layout].format(a=name)}"
            when = "if i % 3 == 1:" if layout == "wide" else f"if i >= {draw.pick(3, 4, 7)}:"
            made += [when, f"    {line}"] if draw.maybe(0.6) or layout == "wide" else [line]
    return made


FROZEN = ["", "", "def frozen(a):", "    a = a.copy()", "    a.flags.writeable = False", "    return a"]


def program(seed, task=None):
    """The text of a program."""
    p = Program(seed)
    draw = p.draw
    task = task or draw.weighted(**{t.__name__: share for t, share in tasks.TASKS.items()})
    getattr(tasks, task)(p)
    if p.whole is None:
        opts = optimizer(p)
        regulariser(p)
        loop(p)
        step = update(p, opts)
        extras(p)
        step += lines(p.extras)
    else:
        step = lines(p.whole)
    cut = batches(p)
    if draw.maybe(0.15) and p.hidden in "".join(step) and p.hidden not in p.returns and "total" not in p.returns:
        p.returns.append(p.hidden)
    form = draw.pick("tuple", "tuple", "dict", "list") if len(p.returns) > 1 else draw.weighted(one=8, dict=1, none=1)
    if "evaluate" in p.kinds and form == "none":
        form = "one"
    names = ", ".join(p.returns)
    pairs = ", ".join(f"{name!r}: {name}" for name in p.returns)
    answer = {"tuple": names, "list": f"[{names}]", "dict": f"{{{pairs}}}", "one": names, "none": "None"}[form]
    return text(p, [*step, f"return {answer}"], cut, seed, task)


# -- as text --------------------------------------------------------------------------------------------------------


def lines(parts):
    return [line for part in parts for line in part.split("\n")]


def indent(parts, depth=1):
    return ["    " * depth + line if line else line for line in parts]


def text(p, step, cut, seed, task):
    """The program: as a script, as functions in a function, or as a class with a compiled method."""
    draw = p.draw
    form = "function" if "anew" in p.kinds else draw.weighted(script=5, function=2.5, trainer=2.5)
    given = ", ".join([*p.arguments, *[value for _, value in p.numbers], *[f"{k}={v}" for k, v in p.settings]])
    names = [*p.arguments, *[name for name, _ in p.numbers]]
    taken = ", ".join([*names, *["*"][: len(p.settings)], *[name for name, _ in p.settings]])
    setup = lines(p.setup)
    functions = {"step": (taken, step)}
    call = f"result = {{step}}({given})"
    if "second" in p.kinds:  # another step of the same net and optimizer
        functions["other"] = taken, [re.sub(r"^(\s*)loss\.backward\(\)", r"\1(loss * 0.5).backward()", s) for s in step]
        call = f"result = {{other}}({given}) if i % 3 == 1 else {{step}}({given})"
    around = [*lines(p.before), *cut, call, *lines(p.after)]
    if "evaluate" in p.kinds:
        net = p.nets[0]
        functions["evaluate"] = "x", [*([] if "x = " not in (first := p.forward[0]) else [first]), _first_use(p, net)]
        if functions["evaluate"][1][-1]:
            around += ["if i % 5 == 4:", f"    {net}.eval()", "    result = result, {evaluate}(x)",
                       f"    {net}.train()"]
        else:
            del functions["evaluate"]
    around.append("return result")
    head = [f"# {'raises, ' if 'raises' in p.kinds else ''}seed {seed}: {task}, as a {form}", "import numpy as np",
            "import tinyae", "from tinyae import Tensor, nn, ops, optim", "", f'FLOAT = "{p.float}"',
            "rng = np.random.default_rng(7)", *p.data, *(FROZEN if "frozen" in p.kinds else [])]  # fmt: skip
    classes = [line for c in p.classes for line in ["", "", *c.rstrip().split("\n")]]
    if p.float == "float64":  # what layers are made of by hand
        classes = [line.replace("'f')", "FLOAT)") for line in classes]
    state = f"[{', '.join(p.state)}]"
    body = {"script": _script, "function": _function, "trainer": _trainer}[form](p, setup, functions, around, state)
    return "\n".join([*head, *classes, "", "", *body, ""])


def _first_use(p, net):
    """The line of a step that returns what its first net makes of x alone."""
    found = next((re.search(rf"\{net}\(([^()]*)\)", line) for line in p.forward if f"{net}(" in line), None)
    return f"return {net}({found[1]})" if found and found[1] in ("x", "x * 1.0", "x / 255.0") else ""


def _own(parts, prefix):
    return [part.replace("$", prefix) for part in parts]


def _script(p, setup, functions, around, state):
    made = [line for name, (taken, body) in functions.items()
            for line in ["", "", "@tinyae.compile", f"def {name}({taken}):", *indent(body)]]  # fmt: skip
    declared = [f"global {', '.join(sorted(p.changed))}"] if p.changed else []
    loop = [line.format(step="step", other="other", evaluate="evaluate") if "{" in line else line for line in around]
    return _own([*setup, *made, "", "", "def call(i):", *indent([*declared, *loop]), "", "", f"state = {state}"], "")


def _function(p, setup, functions, around, state):
    made = [line for name, (taken, body) in functions.items()
            for line in ["", f"def train_{name}({taken}):", *indent(body), "",
                         f"{name} = tinyae.compile(train_{name})"]]  # fmt: skip
    changed = {*p.changed, *(["step", *_names(p)] if "anew" in p.kinds else [])}
    declared = [f"nonlocal {', '.join(sorted(changed))}"] if changed else []
    loop = [line.format(step="step", other="other", evaluate="evaluate") if "{" in line else line for line in around]
    if "anew" in p.kinds:
        again = [line for line in setup if line.startswith("$") or line.startswith(" ") or line.startswith("if ")]
        loop = ["if i == 9:", *indent(again), *loop]
        declared = [f"nonlocal {', '.join(sorted({*p.changed, *_names(p)}))}"]
    inner = [*setup, *made, "", "def call(i):", *indent([*declared, *loop]), "", f"return call, lambda: {state}"]
    return _own(["def main():", *indent(inner), "", "", "call, state = main()"], "")


def _names(p):
    return [m[1] for line in lines(p.setup) if (m := re.match(r"\$(\w+) = ", line))]


def _trainer(p, setup, functions, around, state):
    how = p.draw.pick("decorated", "bound", "inside")
    here = [f"self.{name} = tinyae.compile(self.{name})" for name in functions] if how == "inside" else []
    made = [line for name, (taken, body) in functions.items()
            for line in ["", *["@tinyae.compile"][: how == "decorated"], f"def {name}(self, {taken}):",
                         *indent(body)]]  # fmt: skip
    bound = [f"{name} = tinyae.compile(trainer.{name})" for name in functions] if how == "bound" else []
    calls = {name: name if how == "bound" else f"trainer.{name}" for name in ("step", "other", "evaluate")}
    loop = [line.format(**calls) if "{" in line else line for line in around]
    inside = _own(["def __init__(self):", *indent([*setup, *here]), *made], "self.")
    outside = _own([*bound, "", "", "def call(i):", *indent(loop), "", "", f"state = {state}"], "trainer.")
    return ["class Trainer:", *indent(inside), "", "", "trainer = Trainer()", *outside]
