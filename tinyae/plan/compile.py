"""compile: a step that is repeated runs as a plan.

    @tinyae.compile
    def step(x):
        optimizer.zero_grad()
        loss = mse(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

The first call with arrays of some shapes runs as ever, and is captured. The second runs twice, once as ever and once as
a plan, and both must agree. From then on the plan runs. Other shapes, dtypes or settings are other plans, kept beside.

Ring 4. Read after capture.py; then lower.py.
"""

import functools
import time

import numpy as np

from .. import kernels
from ..engine import Var, _wrap
from ..errors import BackendError, PlanError, SettingError
from ..mode import capturing, mode
from ..nn.module import Module
from ..tensor import Tensor
from ..transforms import _leaves, _like
from .agree import TOLERANCES, compare
from .capture import Recorder
from .explain import describe, measure
from .machine import Machine
from .program import Update
from .rules import RULES, rule_of

__all__ = ["Compiled", "Plan", "compile"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_TENSOR = object()
_PLAIN = (bool, int, float, str, type(None))
_KEPT, _KINDS = 8, 64  # plans for arguments of one kind, of different settings; kinds of arguments



def compile(step=None, /, *, precision="highest", backend=None, after=0, fallback=False, watch=None):
    """The step as a function that captures itself at its first call and then runs as a plan. Also a decorator.

    Parameters
    ----------
    step : callable
        Of arrays, positional; it computes, calls ``backward``, lets an optimizer step, and returns tensors in lists,
        tuples or dictionaries, or nothing. Its arguments become Tensors. Keywords are plain settings.
    precision : str
        Of matrix products in float32: "highest" multiplies as ever; "high" and "medium" may take the processor's unit
        for short numbers (AMX) where that is faster, as `ops.matmul` does, whose own ``precision`` goes before this.
        Without such a unit the three are the same. A plan of lower precision is held to the step less tightly.
    backend : str, optional
        "c" or "numpy"; default: C where it is installed.
    after : int
        How many calls of each kind run as ever before one is captured: a plan has to pay for its making.
    fallback : bool
        Whether a step that cannot be compiled runs as ever, said once in the log, instead of raising.
    watch : callable, optional
        () -> a value; while it is another than at a plan's capture, that plan does not run. For settings that the step
        reads from an object of yours. Those of modules and optimizers are watched, and so are numbers that the step's
        own code reads from its closure and globals.

    Returns
    -------
    Compiled
        Called like step. ``explain()`` shows what it does, ``profile()`` where the time goes. After a run by plan the
        parameters' ``grad`` is None: the gradients were never outside. What the step does beside computing, such as
        ``print``, happens until its plan has agreed with it, at the second call, and not in later ones.

    Raises PlanError, with the line of the step, for what a plan could not repeat.
    """
    if step is None:
        return functools.partial(compile, precision=precision, backend=backend, after=after, fallback=fallback,
                                 watch=watch)  # fmt: skip
    if precision not in TOLERANCES:
        raise SettingError(f"compile: precision={precision!r}. Choose from: {', '.join(TOLERANCES)}.")
    if backend not in (None, "c", "numpy"):
        raise SettingError(f"compile: backend={backend!r}. Choose 'c', 'numpy' or None.")
    if backend == "c" and kernels.info()["backend"] != "c":
        raise BackendError(f"compile: backend='c', but {kernels.info()['why']}.")
    return Compiled(step, precision, backend or kernels.info()["backend"], after, fallback, watch)


class Compiled:
    """What `compile` returns."""

    def __init__(self, step, precision, backend, after, fallback, watch):
        functools.update_wrapper(self, step)
        self.watch = watch
        self.step, self.precision, self.backend, self.after, self.fallback = step, precision, backend, after, fallback
        self.plans = {}  # {shapes, dtypes and keywords: [Plan, the latest first]}
        self.refused = {}  # {the same: why there is none}
        self._seen = {}
        self._latest = self._largest = None  # (plan, its arguments)

    def __call__(self, *arrays, **settings):
        if capturing and mode.capture is not None:
            mode.capture.refuse_another()
        arrays = [a if a.__class__ is np.ndarray else a._data if isinstance(a, Var) else np.asarray(a) for a in arrays]
        if self._latest is not None:  # nearly always: without a key
            plan, _ = self._latest
            if plan.takes(arrays, settings) and plan.fits():
                self._latest = plan, arrays
                return plan(arrays)
        arrays = [a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("=")) for a in arrays]
        key = (*[(a.shape, a.dtype) for a in arrays], *_typed(settings))
        plan = self._find(key)
        if plan is not None and plan.agreed:
            self._latest = plan, arrays
            if self._largest is None or plan.rows() >= self._largest[0].rows():
                self._largest = self._latest
            return plan(arrays)
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if seen <= self.after or key in self.refused:
            return self.step(*_tensors(arrays), **settings)
        try:
            result = self._capture(key, arrays, settings) if plan is None else plan.check(self.step, arrays, settings)
        except PlanError as problem:
            if not self.fallback:
                raise
            self.refused[key] = str(problem)
            self.plans.pop(key, None)
            import logging  # only now: it takes time to load

            logging.getLogger("tinyae").info("tinyae: a step runs without a plan: %s", problem)
            return problem.result if plan is not None else self.step(*_tensors(arrays), **settings)
        return result

    def over(self, batches, seconds=0.05):
        """Run over all batches of an epoch, in slices of about so many seconds within C where that can be.

        batches: as `tinyae.data.batches` returns them. Yields, slice after slice, a list of (how many rows, what the
        step returned) per batch; of a slice in C the values are Python floats.
        """
        order, size = batches.order(), batches.batch_size
        kind = tuple(((size, int(np.prod(X.shape[1:]))), dtype) for X, _, dtype in batches.sources)
        start, whole, count = 0, len(order) - len(order) % size, 1
        while start < len(order):
            plan = self._find(kind) if start < whole else None
            if plan is not None and plan.agreed and plan.machine.takes(batches.sources):
                count = min(count, (whole - start) // size)
                begin = time.perf_counter()
                values = plan.machine.epoch(count, batches.sources, order[start : start + count * size])
                yield [(size, plan.nest(row)) for row in zip(*[v.tolist() for v in values])]
                start += count * size
                count = max(1, int(count * min(seconds / max(time.perf_counter() - begin, 1e-9), 64)))
            else:
                rows = order[start : start + size] if batches.generator else slice(start, min(start + size, len(order)))
                arrays = batches.take(rows)
                yield [(min(size, len(order) - start), self(*(arrays if isinstance(arrays, tuple) else (arrays,))))]
                start += size

    def explain(self):
        """Print every plan: the program before and after each pass, its instructions, and its memory."""
        name = getattr(self, "__qualname__", "step")
        if not self.plans:
            print(f"{name}: no plan yet" + "".join(f"\n  {why}" for why in self.refused.values()))
        for plans in self.plans.values():
            for plan in plans:
                print(describe(plan, name))

    def profile(self, repeats=30):
        """Print the time per instruction, with GFLOP/s or GB/s, of the plan for the largest arguments that has run; the
        state is put back afterwards.
        """
        if self._largest is None:
            raise PlanError("profile: no plan has run yet. Call the step three times.")
        plan, arrays = self._largest
        state = plan._state()
        try:
            seconds = plan.machine.profile(arrays, repeats)
        finally:
            plan._restore(state)
        print(measure(plan, seconds, getattr(self, "__qualname__", "step")))

    def _find(self, key):
        plans = self.plans.get(key, ())
        for i, plan in enumerate(plans):
            if plan.fits():
                if i:
                    plans.insert(0, plans.pop(i))
                return plan
        return None

    def _capture(self, key, arrays, settings):
        for name in {name for plan in self.plans.get(key, ()) if not plan.agreed for name in plan.changed()}:
            raise PlanError(
                f"compile: {name}, a number that the step reads, changes from call to call. Pass it as an argument, or "
                "by keyword if it has few values."
            )
        inputs = _tensors([a.view() for a in arrays])  # one array may be two arguments, or state, too
        with Recorder() as recorder:
            try:
                for x in inputs:
                    recorder.input(x)
                result = self.step(*inputs, **settings)
                leaves = _leaves(result)
                for leaf in leaves:
                    if leaf is not None and not isinstance(leaf, Var):
                        raise PlanError(
                            f"compile: the step returns a {type(leaf).__name__}, which would be the same for ever. "
                            "Return tensors, and turn them into numbers outside."
                        )
                outputs = [v for v in leaves if v is not None]
                recorder.check_gradients(outputs)
                program = recorder.program([recorder.output(v) for v in outputs])
            except BaseException:
                recorder.undo()
                raise
        nested = _like(result, iter([leaf if leaf is None else _TENSOR for leaf in leaves]))
        modules, result = list(recorder.modules), _detached(result)
        del recorder, inputs, leaves, outputs  # before the plan takes its memory: they hold every array of the step
        plan = Plan(program, settings, nested, modules, self)
        plans = self.plans.setdefault(key, [])
        plans.insert(0, plan)
        del plans[_KEPT:]
        while len(self.plans) > _KINDS:
            del self.plans[next(iter(self.plans))]
        return result

    def __deepcopy__(self, memo):
        raise PlanError("compile: a compiled step belongs to the tensors it was captured with. Compile the copy anew.")

    def __reduce__(self):
        raise PlanError("compile: a compiled step cannot be pickled. Compile it anew where it is needed.")


class Plan:
    """One captured step for arrays of one kind, and how it is run."""

    def __init__(self, program, keywords, nested, modules, compiled):
        self.program, self.precision, self.agreed = program, compiled.precision, False
        self.watch, self.watched = compiled.watch, compiled.watch and compiled.watch()
        self.numbers = list(_numbers(compiled.step))
        self.kinds, self.keywords = [(value.shape, value.dtype) for value in program.inputs], keywords
        self.nested = nested  # what the step returns, its tensors forgotten
        self.modules = modules
        names = {}
        for module in self.modules:
            for name, value in (*module.named_parameters(), *module.named_buffers()):
                names.setdefault(value, name)
        for cell in program.cells:
            cell.name = names.get(cell.var, cell.name)
        self.updates = list(dict.fromkeys(i.op.optimizer for i in program.instructions if isinstance(i.op, Update)))
        self.cells = [(cell.var, cell.array, not cell.var.requires_grad) for cell in program.cells]
        self.written = {i.result.cell.var: i.where for i in program.instructions if i.result.cell is not None}
        self.states = [(o, o.state) for o in self.updates]
        self.slots = [(o.state, p, kept) for o in self.updates for p, kept in o.state.items()]
        self.kept = [(kept, name, value) for _, _, kept in self.slots for name, value in kept.items()
                     if isinstance(value, np.ndarray)]  # fmt: skip
        self.keys = [(generator, generator.key) for generator in program.generators]
        self.settings, self.changes = self._settings(), Module.changes
        self._remember_groups()
        self.machine = Machine(program, compiled.precision, compiled.backend)
        self.run = self.machine.run

    def _settings(self):
        """Whatever of the modules and optimizers that took part is frozen into the plan."""
        return [_attributes(module) for module in self.modules], self._optimizer_settings()

    def _optimizer_settings(self):
        return [_group(optimizer, group) for optimizer in self.updates for group in optimizer.param_groups]

    def _remember_groups(self):
        """The optimizers' groups as they are, so that one look tells whether anything in them has changed."""
        self.groups = [(group, dict(group), group["params"], [*map(id, group["params"])])
                       for optimizer in self.updates for group in optimizer.param_groups]  # fmt: skip

    def takes(self, arrays, keywords):
        """Whether it is a plan for arguments like these."""
        if not self.agreed or len(arrays) != len(self.kinds):
            return False
        if (keywords or self.keywords) and _typed(keywords) != _typed(self.keywords):
            return False
        for a, (shape, dtype) in zip(arrays, self.kinds):
            if a.shape != shape or a.dtype is not dtype:  # an equal dtype that is another object goes by its key
                return False
        return True

    def fits(self):
        """Whether everything that was frozen into the plan is as it was."""
        if self.changes != Module.changes:
            if self._settings() != self.settings:
                return False
            self.changes = Module.changes
        for group, before, parameters, ids in self.groups:
            if group["params"] is not parameters or [*map(id, parameters)] != ids or group != before:
                if self._optimizer_settings() != self.settings[1]:
                    return False
                self._remember_groups()
                break
        for optimizer, state in self.states:
            if optimizer.state is not state:
                return False  # loaded from elsewhere
        for state, p, kept in self.slots:
            if state.get(p) is not kept:
                return False  # begun anew
        for kept, name, value in self.kept:
            if kept.get(name) is not value:
                return False  # in other memory
        for generator, key in self.keys:
            if generator.key != key:
                return False
        for var, array, frozen in self.cells:
            if var._data is not array or (var._node is None) is not frozen:
                return False
        if self.numbers and self.changed():
            return False
        return self.watch is None or self.watch() == self.watched

    def changed(self):
        """The names of the step's numbers that are not what they were."""
        now = ((name, read(), value) for name, read, value in self.numbers)
        return [name for name, new, value in now if new is not value and new != value]

    def rows(self):
        """How many numbers it is given."""
        return sum(value.size for value in self.program.inputs)

    def __call__(self, arrays):
        return self._outputs(self.run(arrays))

    def _outputs(self, values):
        for var, where in self.written.items():
            if var._writes is not None:  # somebody may keep it for a walk back
                var._writes[0] += 1
                var._writes[1] = where
        if self.nested is _TENSOR:
            return _wrap(Tensor, values[0], None, None)
        return self.nest([_wrap(Tensor, value, None, None) for value in values])

    def nest(self, values):
        """Values in the nest that the step returns."""
        values = iter(values)
        return _like(self.nested, iter([leaf if leaf is None else next(values) for leaf in _leaves(self.nested)]))

    def check(self, step, arrays, settings):
        """Run the step as ever and as a plan, from the same state; PlanError unless both agree."""
        before = self._state()
        result = step(*_tensors(arrays), **settings)
        expected = [np.array(v._data if isinstance(v, Var) else v) for v in _leaves(result) if v is not None]
        after = self._state()
        self._restore(before)
        try:
            values = self.run(arrays)
            compare(self, expected, values, before, after, self._state())
        except BaseException as problem:
            self._restore(after)
            problem.result = result
            raise
        self.agreed = True
        for cell in self.program.cells:  # a run by plan leaves none
            if cell.var.requires_grad:
                cell.var.grad = None
        for optimizer in self.updates:
            optimizer.zero_grad()
        return self._outputs(values)

    def _state(self):
        slots = {(o, p, name): value.copy() if isinstance(value, np.ndarray) else value
                 for o in self.updates for p, kept in o.state.items() for name, value in kept.items()}  # fmt: skip
        return ([cell.array.copy() for cell in self.program.cells], slots,
                {g: g.counter for g in self.program.generators})  # fmt: skip

    def _restore(self, state):
        arrays, slots, counters = state
        for cell, array in zip(self.program.cells, arrays):
            cell.array[...] = array
        for (optimizer, p, name), value in slots.items():
            kept = optimizer.state[p]
            if isinstance(value, np.ndarray):
                kept[name][...] = value
            else:
                kept[name] = value
        for generator, counter in counters.items():
            generator.counter = counter


class _Same:
    """Equal to what holds the very same object."""

    __slots__ = ("it",)

    def __init__(self, it):
        self.it = it

    def __eq__(self, other):
        return other.__class__ is _Same and other.it is self.it

    __hash__ = None


def _attributes(module):
    """What a step may read of a module: its mode, its hooks, and every attribute: plain values, and which objects.

    Results that forward left there are none.
    """
    hooks = [_Same(hook) for hooks in (module._pre_hooks, module._forward_hooks) for hook in (hooks or {}).values()]
    values = [(name, _frozen(value)) for name, value in vars(module).items()
              if name not in ("training", "_pre_hooks", "_forward_hooks") and not _is_result(value)]  # fmt: skip
    return module.training, hooks, values


def _frozen(value):
    if isinstance(value, _PLAIN):
        return value.__class__, value
    if isinstance(value, (list, tuple)):
        return [_frozen(v) for v in value]
    if isinstance(value, dict):
        return [(_frozen(k), _frozen(v)) for k, v in value.items()]
    return _Same(value)


def _is_result(value):
    return isinstance(value, Var) and not value.is_leaf


def _group(optimizer, group):
    """What of an optimizer's group is frozen: whose it is, whether numbers are 0, which a rule is told before a run."""
    rule = rule_of(optimizer, group)
    told = () if rule is None else RULES[rule].settings
    return [_Same(p) for p in group["params"]], [
        (name, bool(value) if name in told else value) for name, value in group.items() if name not in ("lr", "params")
    ]


def _typed(keywords):
    """Keywords as a key, in which 1 is not True. SettingError for what cannot be one."""
    try:
        hash(key := tuple((name, keywords[name].__class__, keywords[name]) for name in sorted(keywords)))
    except TypeError:
        raise SettingError(
            f"compile: keywords {', '.join(sorted(keywords))}: one of them is no plain setting. Pass arrays by "
            "position; numbers, strings and tuples of them by keyword."
        ) from None
    return key


def _numbers(step):
    """(name, how to read it, its value) of every number that the step's own code takes from its closure and globals."""
    function = getattr(step, "__func__", step)
    code = getattr(function, "__code__", None)
    if code is None:
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        read = functools.partial(getattr, cell, "cell_contents", None)
        if isinstance(read(), (bool, int, float, np.generic)):
            yield name, read, read()
    names, codes = set(), [code]
    while codes:  # with the functions that it defines within
        one = codes.pop()
        names.update(one.co_names)
        codes += [constant for constant in one.co_consts if isinstance(constant, type(code))]
    for name in sorted(names & function.__globals__.keys()):
        if isinstance(function.__globals__[name], (bool, int, float, np.generic)):
            yield name, functools.partial(function.__globals__.get, name), function.__globals__[name]


def _tensors(arrays):
    """The step's arguments as it sees them: the same memory, if it is of a dtype that tinyae computes in."""
    return [_wrap(Tensor, a, None, None) if a.dtype.kind in "biu" or a.dtype in _FLOATS else Tensor(a) for a in arrays]


def _detached(result):
    return _like(result, iter([v if v is None else v.detach() for v in _leaves(result)]))
