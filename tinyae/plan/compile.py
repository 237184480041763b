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
A plan runs only while everything that the step read when it was captured is as it was then: guards.py.

Ring 4. Read after capture.py and guards.py; then lower.py.

Note [Checks]
    At its 2nd, 10th, 100th, 1,000th ... call, and now and then when something that it depends on was another object of
    equal value, a plan runs beside the step, from the same state: the step must do the same operations as when it was
    captured, and both must come to the same. So what no guard can see does not stay unseen: the error names what
    differs, and with ``fallback`` the step is captured anew. At the 2nd call it is captured anew in any case, once: a
    step may have made something at its first call, such as its buffers.
"""

import collections
import functools
import time

import numpy as np

from .. import kernels
from ..engine import Var, _wrap
from ..errors import BackendError, PlanError, SettingError
from ..mode import capturing, mode
from ..source import at
from ..tensor import Tensor
from ..transforms import _leaves, _like
from .agree import TOLERANCES, compare, nudged
from .capture import Recorder
from .explain import describe, measure
from .guards import Guards, Identity, Reads, Same, global_noise, hooks_of
from .machine import Machine
from .program import Update
from .rules import RULES, rule_of

__all__ = ["Compiled", "Plan", "compile"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_TENSOR = object()
_KEPT, _KINDS = 8, 64  # plans for arguments of one kind, of different settings; kinds of arguments
_RESTLESS = 3  # captures of one kind, each made useless by a change before it could run, until that is an error


def compile(step=None, /, *, precision="highest", backend=None, after=0, fallback=False, watch=None):
    """The step as a function that captures itself at its first call and then runs as a plan. Also a decorator.

    Parameters
    ----------
    step : callable
        Of arrays, positional; it computes, calls ``backward``, lets an optimizer step, and returns tensors in lists,
        tuples or dictionaries, or nothing. Its arguments become Tensors, Python numbers floats of 0 axes, which are
        float64 beside float64 arrays only. Keywords are plain settings.
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
        () -> a value; while it is another than at a plan's capture, that plan does not run. For what the step depends
        on and cannot be found: what it, and whatever it calls, reads from closures, globals, defaults, objects, lists
        and dictionaries is watched without being asked, and `explain` lists it.

    Returns
    -------
    Compiled
        Called like step. ``explain()`` shows what it does, ``profile()`` where the time goes. After a run by plan the
        parameters' ``grad`` is None: the gradients were never outside. What the step does beside computing, such as
        ``print``, happens only where the step itself runs: at the first two calls, the 10th, the 100th and so on.
        Of a method, there is one per object, with plans of its own.

    Raises PlanError, with the line of the step, for what a plan could not repeat, and when a plan is found to differ
    from the step, which is looked at now and then: at the 2nd, 10th, 100th ... call.
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
        self._seen, self._restless, self._failed = {}, {}, {}
        self._latest = self._largest = None  # (plan, its arguments)
        self._name = getattr(step, "__name__", None)  # under which a class has it

    # -- of a method ------------------------------------------------------------------------------------------------

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, thing, owner=None):
        """The step of one object, kept in the object itself, so that both live and end together."""
        if thing is None:
            return self
        try:
            held = vars(thing).get(self._name)
        except TypeError:
            raise PlanError(
                f"compile: {self._name} is a method of {type(thing).__name__}, whose objects have no __dict__ to keep "
                f"its plans in. Compile it per object: step = tinyae.compile(thing.{self._name}), of a plain method."
            ) from None
        if held is None or (isinstance(held, Compiled) and getattr(held.step, "__self__", thing) is not thing):
            step = self.step.__get__(thing)  # the first time, or in a copy of an object, which brought the other's
            held = Compiled(step, self.precision, self.backend, self.after, self.fallback, self.watch)
            vars(thing)[self._name] = held
        return held

    def __set__(self, thing, value):
        vars(thing)[self._name] = value

    # -- calls ------------------------------------------------------------------------------------------------------

    def __call__(self, *arrays, **settings):
        if capturing and mode.capture is not None:
            mode.capture.refuse_another()
        arrays = [a if a.__class__ is np.ndarray else a._data if isinstance(a, Var) else _array(a, arrays) for a in arrays]
        if self._latest is not None:  # nearly always: without a key
            plan, _ = self._latest
            if plan.takes(arrays, settings) and plan.fits():
                self._latest = plan, arrays
                plan.left -= 1
                if plan.left > 0:
                    return plan(arrays)
                return self._check(plan, self._key(arrays, settings), arrays, settings)
        arrays = [a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("=")) for a in arrays]
        key = self._key(arrays, settings)
        plan = self._find(key)
        if plan is not None and plan.agreed:
            self._remember(plan, arrays)
            plan.left -= 1
            return plan(arrays) if plan.left > 0 else self._check(plan, key, arrays, settings)
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if seen <= self.after or key in self.refused:
            return self.step(*_tensors(arrays), **settings)
        try:
            if plan is None:
                return self._capture(key, arrays, settings)
            return self._check(plan, key, arrays, settings)
        except PlanError as problem:
            if not self.fallback:
                raise
            self._refuse(key, problem)
            return problem.result if hasattr(problem, "result") else self.step(*_tensors(arrays), **settings)

    def _key(self, arrays, settings):
        return (mode.recording, *[(a.shape, a.dtype) for a in arrays], *_typed(settings))

    def _remember(self, plan, arrays):
        self._latest = plan, arrays
        if self._largest is None or plan.rows() >= self._largest[0].rows():
            self._largest = self._latest

    def _check(self, plan, key, arrays, settings):
        """A run that is compared with the step: Note [Checks]."""
        try:
            with plan.machine.lock:
                result = plan.check(self._record, arrays, settings)
            self._remember(plan, arrays)
            return result
        except PlanError as problem:
            if not hasattr(problem, "result"):  # the step's own
                raise
            self.plans[key] = [p for p in self.plans.get(key, ()) if p is not plan]
            self._latest = None
            failed = self._failed[key] = self._failed.get(key, 0) + 1
            # A step may have done at its first call what it does once, such as making its buffers.
            once = plan.calls == 1 and failed == 1 and not problem.sure
            if not self.fallback and not once:
                raise
            if self.fallback and (problem.sure or failed == _RESTLESS):
                self._refuse(key, problem)
            return problem.result  # and the next call captures anew

    def _refuse(self, key, problem):
        self.refused[key] = str(problem)
        self.plans.pop(key, None)
        import logging  # only now: it takes time to load

        logging.getLogger("tinyae").info("tinyae: a step runs without a plan: %s", problem)

    def over(self, batches, seconds=0.05):
        """Run over all batches of an epoch, in slices of about so many seconds within C where that can be.

        batches: as `tinyae.data.batches` returns them. Yields, slice after slice, a list of (how many rows, what the
        step returned) per batch; of a slice in C the values are Python floats.
        """
        order, size, whole = batches.order(), batches.batch_size, batches.whole
        kind = (mode.recording, *(((size, int(np.prod(X.shape[1:]))), dtype) for X, _, dtype in batches.sources))
        start, count = 0, 1
        while start < len(order):
            plan = self._find(kind) if start < whole else None
            if plan is not None and plan.agreed and plan.left > 1 and plan.machine.takes(batches.sources):
                count = min(count, (whole - start) // size, plan.left - 1)
                plan.left -= count
                begin = time.perf_counter()
                values = plan.machine.epoch(count, batches.sources, order[start : start + count * size])
                yield [(size, plan.nest(row)) for row in zip(*[v.tolist() for v in values])]
                start += count * size
                count = max(1, int(count * min(seconds / max(time.perf_counter() - begin, 1e-9), 64)))
            else:
                end = batches.after(start)
                arrays = batches.take(order[start:end] if batches.generator else slice(start, end))
                yield [(end - start, self(*(arrays if isinstance(arrays, tuple) else (arrays,))))]
                start = end

    def explain(self):
        """Print every plan: the program before and after each pass, its instructions, and its memory."""
        name = getattr(self, "__qualname__", "step")
        if not any(self.plans.values()):
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
            plan.machine.set_anew = True
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

    def _record(self, arrays, settings):
        """Run the step once, written down: (Recorder, Program, what the step returns)."""
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
                return recorder, recorder.program([recorder.output(v) for v in outputs]), result
            except BaseException:
                recorder.undo()
                raise

    def _capture(self, key, arrays, settings):
        self._count_changes(key)
        with Reads() as reads:
            recorder, program, result = self._record(arrays, settings)
        guards = Guards(self.step, reads, recorder.is_result, recorder.modules, recorder.looked.values())
        leaves = _leaves(result)
        nested = _like(result, iter([leaf if leaf is None else _TENSOR for leaf in leaves]))
        modules, result = list(recorder.modules), _detached(result)
        program.outputs += [recorder.output(place[key]) for place, key in guards.left]
        del recorder, reads, leaves  # before the plan takes its memory: they hold the step's arrays
        try:
            plan = Plan(program, settings, nested, modules, guards, self)
        except PlanError as problem:
            problem.result = result  # of the step, which has been made
            raise
        plan.born = self._run_last()
        plans = self.plans.setdefault(key, [])
        plans.insert(0, plan)
        del plans[_KEPT:]
        while len(self.plans) > _KINDS:
            del self.plans[next(iter(self.plans))]
        return result

    def _run_last(self):
        """Another value after every run by plan."""
        return None if self._latest is None else (id(self._latest[0]), self._latest[0].left)

    def _count_changes(self, key):
        """PlanError when every capture of these arguments is made useless before it can run."""
        waiting = next((plan for plan in self.plans.get(key, ()) if not plan.agreed), None)
        if waiting is None or waiting.born != self._run_last():  # something ran by plan meanwhile
            self._restless[key] = 0
            return
        restless = self._restless[key] = self._restless.get(key, 0) + 1
        names = waiting.moved()
        if restless >= _RESTLESS and names:
            raise PlanError(
                f"compile: {_listed(names)}, which the step reads, changes from call to call. Pass it as an argument, "
                "by keyword if it has few values, or keep it in a Tensor and change that with tinyae.assign."
            )

    # Plans belong to the tensors they were captured with. A copy of an object with a compiled method makes its own.

    def __deepcopy__(self, memo):
        if not hasattr(self.step, "__self__"):
            raise PlanError(
                "compile: a compiled step belongs to the tensors it was captured with. Compile the copy anew."
            )
        return self  # until it is asked for: `__get__`

    def __reduce__(self):
        thing = getattr(self.step, "__self__", None)
        if thing is None or getattr(type(thing), self.__name__, None).__class__ is not Compiled:
            raise PlanError("compile: a compiled step cannot be pickled. Compile it anew where it is needed.")
        return getattr, (thing, self.__name__)


class Plan:
    """One captured step for arrays of one kind, and how it is run."""

    def __init__(self, program, keywords, nested, modules, guards, compiled):
        self.program, self.precision, self.agreed = program, compiled.precision, False
        self.done = program.signature()
        self.guards, self.recording = guards, mode.recording
        # Note [Checks]: at which call the next one is, in how many calls, and in how many if another comes before it.
        self.calls, self.left, self.later = 1, 1, 0
        self.watch, self.watched = compiled.watch, compiled.watch and compiled.watch()
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
        self.written = {i.result.cell.var: i.where for i in program.instructions if i.result.cell is not None}
        self.same = same = Same()
        for cell in program.cells:
            same.leaf(cell.var, cell.array, cell.var.requires_grad, hooks_of(cell.var))
        for optimizer in self.updates:
            same.content(optimizer.param_groups)
            same.attribute(optimizer, "state", optimizer.state)  # else it is loaded from elsewhere,
            for p, kept in optimizer.state.items():
                same.entry(optimizer.state, p, kept)  # begun anew,
                for name, value in kept.items():
                    if isinstance(value, np.ndarray):
                        same.entry(kept, name, value)  # or in other memory
        for generator in program.generators:
            same.equal(functools.partial(getattr, generator, "key"), generator.key)
        self.settings = self._optimizer_settings()
        self._remember_groups()
        self.machine = Machine(program, compiled.precision, compiled.backend)
        self.run = self.machine.run

    def _optimizer_settings(self):
        return [_group(optimizer, group) for optimizer in self.updates for group in optimizer.param_groups]

    def _remember_groups(self):
        """The optimizers' groups as they are, so that one look tells whether anything in them has changed."""
        self.groups = [(group, dict(group), group["params"], [*map(id, group["params"])])
                       for optimizer in self.updates for group in optimizer.param_groups]  # fmt: skip

    def takes(self, arrays, keywords):
        """Whether it is a plan for arguments like these."""
        if not self.agreed or len(arrays) != len(self.kinds) or mode.recording is not self.recording:
            return False
        if (keywords or self.keywords) and _typed(keywords) != _typed(self.keywords):
            return False
        for a, (shape, dtype) in zip(arrays, self.kinds):
            if a.shape != shape or a.dtype is not dtype:  # an equal dtype that is another object goes by its key
                return False
        return True

    def fits(self):
        """Whether everything that was frozen into the plan is as it was."""
        for group, before, parameters, ids in self.groups:
            if group["params"] is not parameters or [*map(id, parameters)] != ids or group != before:
                if self._optimizer_settings() != self.settings:
                    return False
                self._remember_groups()
                self.machine.set_anew = True
                break
        if not self.same.check():
            return False
        renewed = self.guards.renewed
        if not self.guards.fits():
            return False
        if self.guards.renewed != renewed and str(self.guards.renewed).strip("0") == "1":  # 1, 10, 100, ...
            if not self.later:
                self.left, self.later = 1, self.left - 1
        return self.watch is None or self.watch() == self.watched

    def moved(self):
        """The names of what is not as it was at the capture."""
        names = self.guards.moved()
        if self.watch is not None and self.watch() != self.watched:
            names.append("watch()")
        return names

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
        if self.guards.left:
            for (place, key), value in zip(self.guards.left, values[-len(self.guards.left) :]):
                place[key] = _wrap(Tensor, value, None, None)
        if self.nested is _TENSOR:
            return _wrap(Tensor, values[0], None, None)
        return self.nest([_wrap(Tensor, value, None, None) for value in values])

    def nest(self, values):
        """Values in the nest that the step returns."""
        values = iter(values)
        return _like(self.nested, iter([leaf if leaf is None else next(values) for leaf in _leaves(self.nested)]))

    def check(self, record, arrays, settings):
        """Run the step as ever and as a plan, from the same state; PlanError unless both agree, in what the step did
        and in what came of it.

        record : callable
            (arrays, settings) -> (Recorder, Program, result). An error in it leaves everything as it was before.
        """
        before, noise = self._state(), global_noise()
        program, result = record(arrays, settings)[1:]
        expected = [np.array(v._data if isinstance(v, Var) else v) for v in _leaves(result) if v is not None]
        expected += [np.array(place[key]._data) for place, key in self.guards.left]
        after = self._state()
        sure = True
        try:
            self._check_itself(noise)
            sure = False
            self._check_done(program)
            self._restore(before)
            self.machine.set_anew = True  # nobody has looked since the step
            values = self.run(arrays)
            now = self._state()
            compare(self, arrays, expected, values, before, after, now, functools.partial(self._run_beside, before, arrays))
            self._restore(now)
        except BaseException as problem:
            self._restore(after)
            problem.result, problem.sure = result, sure
            raise
        self.agreed = True
        self.left, self.later = self.later, 0
        if self.left < 1:
            self.calls = 10 if self.calls < 10 else 10 * self.calls
            self.left = self.calls - (2 if self.calls == 10 else self.calls // 10)
        for cell in self.program.cells:  # a run by plan leaves none
            if cell.var.requires_grad:
                cell.var.grad = None
        for optimizer in self.updates:
            optimizer.zero_grad()
        return self._outputs(values)

    def _run_beside(self, state, arrays, number):
        """(values, state) of a run from nearly that state: parameters and arguments are an ulp beside."""
        cells, *rest = state
        draw = np.random.default_rng(number)
        weights = [cell.var.requires_grad for cell in self.program.cells]
        self._restore(([nudged(a, draw) if weight else a for a, weight in zip(cells, weights)], *rest))
        values = self.run([nudged(a, draw) if np.any(a % 1) else a for a in arrays])  # not class numbers, masks
        return values, self._state()

    def _check_done(self, program):
        """Did the step the same as when it was captured?"""
        then, now = collections.Counter(self.done), program.signature()
        new, missing = collections.Counter(now) - then, then - collections.Counter(now)
        if new or missing:
            rows = zip(program.instructions, now)
            row = next((i for i, what in rows if what in new), program.instructions[-1])
            raise PlanError(
                f"compile: the step does something else than when it was captured, {row.name} at "
                f"{at(row.where)}. It depends on something that is no argument, no state, and not among what "
                "`explain` says is watched. Pass it as an argument, or as watch=."
            )

    def _check_itself(self, noise):
        """The step has just run: has it changed what it reads?"""
        if global_noise() != noise:
            raise PlanError(
                "compile: the step draws from the generator of `random` or `np.random`: a plan would draw the same for "
                "ever. Draw with tinyae.ops, from a tinyae.Generator, or outside, and pass it as an argument."
            )
        if names := self.moved():
            raise PlanError(
                f"compile: {_listed(names)} changes from call to call: the step itself changes it, and a plan would "
                "not. Do that outside of the step, return it, or keep it in a Tensor and change that with tinyae.assign."
            )

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


def _listed(names):
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _group(optimizer, group):
    """What of an optimizer's group is frozen: whose it is, whether numbers are 0, which a rule is told before a run."""
    rule = rule_of(optimizer, group)
    told = () if rule is None else RULES[rule].settings
    return [Identity(p) for p in group["params"]], [
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


def _array(x, others):
    """An argument as an array. Python's numbers are weak: they take the precision that the others have."""
    if x.__class__ not in (int, float):
        return np.asarray(x)
    wide = any(hasattr(a, "dtype") and a.dtype == np.float64 for a in others)
    return np.array(x, np.float64 if wide else np.float32)


def _tensors(arrays):
    """The step's arguments as it sees them: the same memory, if it is of a dtype that tinyae computes in."""
    return [_wrap(Tensor, a, None, None) if a.dtype.kind in "biu" or a.dtype in _FLOATS else Tensor(a) for a in arrays]


def _detached(result):
    return _like(result, iter([v if v is None else v.detach() for v in _leaves(result)]))
