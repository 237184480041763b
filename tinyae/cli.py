"""The command line: ``tinyae train VARIANT``, ``show CLAIM``, ``info``, ``zoo``, ``ops``, ``data``.

Options of ``train`` are read off the variant's settings, so that a new setting or a new variant needs nothing here.
Every error that tinyae raises on purpose is one line on stderr and exit code 2; TINYAE_DEBUG=1 shows the traceback.

Ring 8: nothing imports this.
"""

import argparse
import contextlib
import os
import re
import shutil
import sys
import textwrap
import time

import numpy as np

from . import files, kernels, plot
from . import show as claims
from ._version import __version__
from .ae import ZOO
from .data import NAMES, as_float, load_data, status
from .errors import DataError, DivergedError, MissingExtraError, SettingError, TinyaeError

__all__ = ["main"]

_RENAMED = {"n_components": "code", "max_iter": "epochs", "batch_size": "batch", "random_state": "seed"}
_NOT_ON_THE_LINE = ("encoder", "decoder", "verbose", "validation_fraction")  # something is always held out here
_HELP = {
    "n_components": "length of the code (default: 16, or half a row's length if that is less)",
    "hidden": "widths of the hidden layers, as 128,64; \"\" for none (default: one, by the data's width)",
    "activation": "of the hidden layers", "code_activation": "of the code (default: as --activation)",
    "output_activation": "of the output; auto is sigmoid for data in [0, 1], else linear",
    "optimizer": "adam, adamw, sgd, momentum, nesterov, rmsprop, adagrad, adadelta or lbfgs",
    "lr": "step size (default: the optimizer's own)",
    "max_iter": "passes over the data (default: 20, or as many as make 4,600 steps if that is more)",
    "batch_size": "rows per step", "early_stopping": "stop when the validation loss falls no more, and keep the best",
    "n_iter_no_change": "epochs without a better validation loss after which --early-stopping stops",
    "random_state": "of weights, batches and noise", "dtype": "float32 or float64",
    "init": "initialiser of the weights", "noise": "standard deviation or share of the noise on the input",
    "compile": "train by a plan: the same numbers to rounding, sooner",
    "corruption": "gaussian, masking or salt_and_pepper", "fresh": "draw noise anew at every step",
    "beta": "weight of the KL term", "sigma": "standard deviation of loss gaussian's likelihood (default: learned)",
    "image_shape": "height,width or channels,height,width (default: as square as can be)",
    "kernel_size": "of the convolutions, odd", "down": "pool or stride", "cell": "lstm or gru",
    "channels": "values per step (default: an image's width; else 1)",
    "padding_value": "of steps after a sequence's end (default: there are none)",
    "pretrain_iter": "epochs of pretraining, of each part (default: as --epochs)",
    "pretrain_lr": "its step size (default: --lr)",
    "pretrain_decay": "weight of its squared weights",
    "schedule": "of the KL term's weight: linear, cyclical or constant", "warmup": "epochs in which it rises",
    "free_bits": "nats per component that cost nothing",
    "freeze": "keep the mean of the first training and learn the covariance alone",
    "sigma_min": "least standard deviation that is learned",
    "neighbourhood": "how far the errors of pixels depend on each other",
    "walkback": "steps of the chain that are taught",
    "persistence": "weight of a step of the chain against the one before",
    "tied": "the decoder's weights are the encoder's, transposed",
    "decay": "weight of the squared weights", "penalty": "weight of the further term of the loss",
    "reduction": "batch_mean, batch_sum or mean, of |z|; keras or keras_sum", "rho": "how often a unit should be awake",
}  # fmt: skip
_FILES = ("model.npz", "history.csv", "summary.json", "loss.png", "reconstructions.png", "samples.png", "latent.png")
_TRAINING = ("loss", "optimizer", "lr", "max_iter", "batch_size", "early_stopping", "n_iter_no_change", "random_state",
             "dtype", "compile", "init")  # fmt: skip


def main(argv=None):
    """Run a command; returns the exit code: 0 done, 2 a problem said in one line, 130 interrupted, 143 terminated."""
    argv = sys.argv[1:] if argv is None else list(argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # `tinyae ... >&-`: print would not notice, or take the other one
            setattr(sys, name, open(os.devnull, "w"))
    try:
        with _terminable():
            return _run(argv)
    except KeyboardInterrupt as interruption:
        how, code = _ended(interruption)
        _say(f"{how}.")
        return code
    except BrokenPipeError:  # `tinyae ops | head -1`
        return 1 if argv[:1] == ["train"] else 0  # a table that nobody reads on is done; a training is not
    except (TinyaeError, OSError, MemoryError) as problem:
        if os.environ.get("TINYAE_DEBUG"):
            raise
        text = f"out of memory: {problem}" if isinstance(problem, MemoryError) else str(problem)
        _say(f"tinyae: {' '.join(line.strip() for line in text.splitlines())}")
        return 2
    finally:
        _settle(sys.stdout)
        _settle(sys.stderr)


def _run(argv):
    if hasattr(sys.stdout, "reconfigure"):  # a file name that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    _suggest(argv)
    arguments, unknown = _parser().parse_known_args(argv)
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    code = arguments.run(arguments) or 0
    sys.stdout.flush()  # here, where a closed pipe or a full disk is expected, and not while Python ends
    return code


def _say(line):
    with contextlib.suppress(OSError):  # the exit code says it, too
        print(line, file=sys.stderr, flush=True)


def _settle(stream):
    """What a stream holds back that cannot be written goes nowhere, and not into Python's face while it ends."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Terminated(KeyboardInterrupt):
    """SIGTERM: it ends a command as Ctrl-C does, with what was learned kept and no half of a file."""


def _ended(interruption):
    """(how a line about it begins, the exit code: 128 and the signal's number, as shells have it)"""
    return ("tinyae: terminated", 143) if isinstance(interruption, _Terminated) else ("\ntinyae: interrupted", 130)


@contextlib.contextmanager
def _terminable():
    """``with _terminable():`` SIGTERM raises `_Terminated`; not where somebody handles or ignores it already."""
    import signal
    import threading

    def terminate(number, frame):
        raise _Terminated

    main_thread = threading.current_thread() is threading.main_thread()  # no other one may set a handler
    ours = main_thread and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _suggest(argv):
    """An unknown variant gets the nearest known one named; argparse would list them all."""
    import difflib

    if argv[:1] == ["train"] and len(argv) > 1 and argv[1].startswith("-") and argv[1] not in ("-h", "--help"):
        raise SettingError("train: the variant comes first: tinyae train VARIANT [options]. `tinyae zoo` lists them.")
    known = {name: name for name in ZOO} | {alias: name for name, cls in ZOO.items() for alias in cls.aliases}
    if argv[:1] == ["train"] and len(argv) > 1 and not argv[1].startswith("-") and argv[1] not in known:
        near = difflib.get_close_matches(argv[1], known, 1, 0.4)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(ZOO)}."
        raise SettingError(f"train: there is no variant {argv[1]!r}. {hint} `tinyae zoo` lists them.")


class _Format(argparse.HelpFormatter):
    """Wraps text to the terminal, at most 88 columns; indented lines, the examples, stay as they are."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=30, width=min(88, shutil.get_terminal_size().columns - 2))

    def _fill_text(self, text, width, indent):
        return "\n".join(line if line.startswith(" ") else textwrap.fill(line, width) for line in text.splitlines())


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line; a command without what it needs shows its help."""

    def __init__(self, **settings):
        super().__init__(formatter_class=_Format, **settings)
        self.set_defaults(parser=self, run=_help)

    def error(self, message):
        where = self.prog.removeprefix("tinyae").strip() or "command line"
        message = re.sub(r"\S{120,}", lambda word: f"{word[0][:60]}...", message)
        raise SettingError(f"{where}: {message}. `{self.prog} --help` shows what it takes.")


def _help(arguments):
    arguments.parser.print_help(sys.stderr)
    return 2


def _parser():
    parser = _Parser(
        prog="tinyae", description="Train autoencoders, look at them, and see what tinyae is made of.",
        epilog="example:\n  tinyae train vae --data mnist --code 2 --hidden 256 --epochs 10 --out runs/map",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"tinyae {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    train = commands.add_parser("train", help="train a variant; writes the model, its numbers and its pictures",
                                description="Train a variant. "
                                            "`tinyae train VARIANT --help` shows its settings.")  # fmt: skip
    variants = train.add_subparsers(title="variants", metavar="VARIANT")
    for name, cls in ZOO.items():
        summary = cls.__doc__.splitlines()[0]
        variant = variants.add_parser(
            name, aliases=list(cls.aliases), help=summary.partition(":")[0].rstrip("."), description=summary,
            usage="%(prog)s [options]",  # of which there are too many for a line
            epilog=f"example:\n  tinyae train {name} --seed 1 --out runs/seed-1",
        )  # fmt: skip
        _add_settings(variant, name, cls)
        variant.set_defaults(run=_train, variant=name)

    show = _add_command(commands, "show", "what is said about autoencoders, shown: a picture and its numbers", _show)
    show.description = ("What is said about autoencoders, shown: trains, writes a picture, prints the numbers and "
                        "whether the claim holds here. One that does not is a finding: the exit code is 0.")  # fmt: skip
    show.epilog = "examples:\n  tinyae show latent-maps --out maps.png\n  tinyae show errata"
    show.add_argument("name", nargs="?", metavar="NAME", help="which claim; without one, all are listed; errata: what "
                      "is often said and is not so, with the right form and the test that shows it")  # fmt: skip
    show.add_argument("--markdown", action="store_true", help="errata as the table of the README")
    show.add_argument("--out", metavar="FILE", help="the picture, a PNG (default: NAME.png)")
    show.add_argument("--data", default="digits", metavar="NAME|FILE", help="images with labels (default: digits)")
    show.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, batches and noise (default: 0)")
    show.add_argument("--epochs", type=int, metavar="N", help="passes over the data (default: the claim's own)")
    info = _add_command(commands, "info", "version, backend, instruction set, and why", _info)
    info.add_argument("--json", action="store_true", help="as JSON")
    zoo = _add_command(commands, "zoo", "the variants: class, lines of code, paper, what is proven", _zoo)
    zoo.add_argument("--markdown", action="store_true", help="as the table of the README")
    ops = _add_command(commands, "ops", "the operations: formula, derivative, what is kept, shapes, kernel", _ops)
    ops.add_argument("name", nargs="*", help="only these; default: all")
    ops.add_argument("--markdown", action="store_true", help="as one table")
    data = _add_command(commands, "data", "the datasets, and where they are; `data get NAME` downloads one", _data)
    data.usage = "tinyae data [-h] [get NAME]"
    actions = data.add_subparsers(title="commands", metavar="COMMAND", prog="tinyae data")
    get = _add_command(actions, "get", "download mnist or fashion-mnist into the cache folder", _get)
    get.add_argument("name", metavar="NAME", help="mnist or fashion-mnist")
    get.add_argument("--mirror", action="append", metavar="URL", help="fetch from here instead of the known mirrors")
    return parser


def _add_command(commands, name, text, run):
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(run=run)
    return parser


def _add_settings(parser, name, cls):
    data = parser.add_argument_group("data and output")
    default = "onehot" if name == "onehot" else "digits"
    data.add_argument("--data", default=default, metavar="NAME|FILE",
                      help=f"{', '.join(NAMES)}, or an IDX, npz, npy or CSV file (default: {default})")  # fmt: skip
    data.add_argument("--delimiter", type=_delimiter, metavar="CHAR",
                      help="what stands between the cells of a CSV: a character, tab or space (default: as it shows)")
    data.add_argument("--decimal", choices=(".", ","), help="a CSV's decimal sign (default: as it shows)")
    data.add_argument("--header", action=argparse.BooleanOptionalAction,
                      help="whether a CSV's first line holds names (default: if nothing in it looks like a number)")
    data.add_argument("--out", default=os.path.join("runs", name), metavar="DIR",
                      help=f"folder for the results (default: runs/{name})")  # fmt: skip
    model, training = parser.add_argument_group("model"), parser.add_argument_group("training")
    annotations = {key: kind for base in reversed(cls.__mro__[:-1]) for key, kind in base.__annotations__.items()}
    for setting, value in cls.settings().items():
        if setting in _NOT_ON_THE_LINE:
            continue
        kind = annotations[setting]
        text, _, none = _HELP.get(setting, "").partition(" (default: ")  # in words, what None stands for
        if setting == "loss":
            text = " or ".join(cls.losses)
        if setting == "random_state":
            value = 0
        if setting == "channels":  # for `_fill_in`, which knows the data
            value = None
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else "no" if value is False else value
        if value is None and none:
            shown = none.rstrip(")")
        text = f"{text} (default: {'none' if shown in ('', None) else shown})".strip()
        options = {"dest": setting, "default": value}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = _widths if kind is tuple else _width if setting == "n_components" else kind
            options["metavar"] = {int: "N", float: "X", tuple: "N,N"}.get(kind, "NAME")
        action = (training if setting in _TRAINING else model).add_argument(_flag(setting), **options)
        if setting == "code_activation" and cls.family in ("variational", "recurrent"):  # there is nothing to choose
            action.help = argparse.SUPPRESS
            continue
        # Now, because up to 3.12 a BooleanOptionalAction adds its default once more.
        action.help = text.replace("%", "%%")


def _flag(setting):
    return "--" + _RENAMED.get(setting, setting).replace("_", "-")


def _delimiter(text):
    return {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)


def _width(text):
    """How wide a layer is. The bound, because of twenty digits NumPy would not even say that memory is short."""
    if text.strip().isdecimal() and len(text) < 100 and 1 <= int(text) <= 10**8:  # int refuses thousands of digits
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a width from 1 to {10**8:,}")


def _widths(text):
    """ "128,64" -> (128, 64); "" -> ()"""
    return tuple(map(_width, text.split(","))) if text.strip() else ()


# -- train ----------------------------------------------------------------------------------------------------------


def _train(arguments):
    cls = ZOO[arguments.variant]
    arguments.out = arguments.out or os.curdir
    settings = {name: getattr(arguments, name) for name in cls.settings() if name not in _NOT_ON_THE_LINE}
    _check_out(arguments.out)
    data = load_data(arguments.data, delimiter=arguments.delimiter, decimal=arguments.decimal,
                     header=arguments.header).split()  # fmt: skip
    X, X_test = (_as_fit_wants(part, data.scale) for part in (data.X, data.X_test))
    nothing_held_out = data.X_test is data.X
    model = cls(**_fill_in(settings, cls, data.image_shape), verbose=True)
    backend = kernels.info()
    held = "nothing held out" if nothing_held_out else f"{len(X_test):,} held out"
    interrupted, code = None, 0
    started = time.perf_counter()
    try:
        print(f"{arguments.variant} on {data.name}: {len(X):,} rows of {X.shape[1]} features, {held}; code "
              f"{model.build(X.shape[1]).n_components_}; {backend['isa'] or 'NumPy'}", flush=True)  # fmt: skip
        model.fit(X, validation_data=X_test)
    except KeyboardInterrupt as interruption:
        interrupted, code = _ended(interruption)
        if not getattr(model, "n_iter_", 0):
            _say(f"{interrupted} before the first epoch ended; nothing was kept.")
            return code
    except SettingError as problem:
        raise SettingError(f"train {arguments.variant}: {_as_typed(str(problem), cls)}") from problem
    seconds = time.perf_counter() - started
    kept = model.kept_epoch_
    if kept:
        loss, val_loss = (model.history_[name][kept - 1] for name in ("loss", "val_loss"))
    else:  # nothing but pretraining
        loss, val_loss = -model.score(X), -model.score(X_test)
    if not np.isfinite(val_loss):
        raise DivergedError(f"train: the validation loss became {val_loss}. Lower --lr, or scale the data.")
    summary = {
        "variant": arguments.variant, "settings": _plain(model.get_params()), "seed": model.random_state,
        "resolved": {name: getattr(model, f"{name}_") for name in ("n_components", "hidden", "max_iter")},
        "data": {"name": data.name, "source": data.source, "rows": len(X), "features": X.shape[1],
                 "held_out": 0 if nothing_held_out else len(X_test), "scale": data.scale},
        "loss_definition": cls.losses[model.loss], "val_loss": val_loss, "baseline": model.baseline_,
        "loss": loss, "seconds": seconds, "epochs": model.n_iter_, "epoch_kept": kept,
        "best_epoch": model.best_epoch_, "interrupted": interrupted is not None, "parameters": _count(model),
        "versions": _versions(), "backend": backend["backend"], "isa": backend["isa"],
    }  # fmt: skip
    try:
        written, left_out = _write_run(arguments.out, model, data, summary)
    except OSError as problem:
        raise DataError(f"train: --out {arguments.out}: {problem.strerror or problem}. Files that are there are whole; "
                        "make room, or give another folder.") from problem  # fmt: skip
    what = "on its own training rows" if nothing_held_out else f"on {len(X_test):,} held-out rows"
    if arguments.variant == "onehot" and data.name == "onehot":
        _print_corners(model, X)
    print(f"val_loss  {summary['val_loss']:.4g}   {summary['loss_definition']}, {what}")
    print(f"trained   {model.n_iter_:,} epoch{'s' if model.n_iter_ != 1 else ''} in {seconds:.1f} s" + (
        f", {interrupted.split()[-1]}: epoch {kept}, the best so far, was kept" if interrupted else ""))  # fmt: skip
    print(f"wrote     {os.path.join(arguments.out, '')}: {', '.join(written)}")
    if left_out:
        print(f"left out  {left_out}")
    path = os.path.join(arguments.out, "model.npz")
    print(f"next      tinyae zoo, for other variants; in Python: tinyae.load({path!r})")
    return code


def _fill_in(settings, cls, image_shape):
    """The settings, with those that were left to the data."""
    filled = dict(settings)
    if settings.get("channels", 0) is None:
        filled["channels"] = cls.settings()["channels"] if image_shape is None else image_shape[-1]
    if settings.get("image_shape", 0) is None:
        filled["image_shape"] = image_shape
    return filled


def _check_out(out):
    """The results' folder can be made and written to, said before the training and not after it."""
    import tempfile

    place = os.path.abspath(out)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise DataError(f"train: --out {out}: {place} is a file, not a folder. Give another folder.")
    try:  # a file without a name: permissions, read-only disks and /proc each say no in their own way
        tempfile.TemporaryFile(dir=place).close()
    except OSError as problem:
        raise DataError(f"train: --out {out}: cannot write in {place} ({problem.strerror or problem}). "
                        "Give another folder.") from None  # fmt: skip
    for name in _FILES:
        if os.path.isdir(os.path.join(out, name)):
            raise DataError(f"train: --out {out}: {name} in it is a folder. Give another folder.")


def _as_typed(text, cls):
    """A complaint about max_iter=0 as one about --epochs 0."""
    names = "|".join(name for name in cls.settings() if name not in _NOT_ON_THE_LINE)
    return re.sub(rf"\b({names})=", lambda found: _flag(found[1]) + " ", text.removeprefix(f"{cls.__name__}: "))


def _as_fit_wants(X, scale):
    """fit divides bytes by 255 itself, batch by batch; any other scale is applied here, to the whole."""
    return X if scale == (255 if X.dtype == np.uint8 else 1) else as_float(X, scale)


def _write_run(out, model, data, summary):
    """Write the folder of a run; returns (names written, why pictures were left out or None)."""
    import json

    os.makedirs(out, exist_ok=True)
    if os.path.exists(os.path.join(out, "summary.json")):  # an earlier run's pictures would pass for this one's
        for name in _FILES[3:]:
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(out, name))
    model.save(os.path.join(out, "model.npz"))
    columns = model.history_ or dict.fromkeys(("epoch", "loss", "val_loss", "seconds"), ())
    rows = [",".join(columns), *(",".join(map(repr, row)) for row in zip(*columns.values()))]
    texts = {"history.csv": "\n".join(rows) + "\n", "summary.json": json.dumps(summary, indent=2) + "\n"}
    for name, text in texts.items():
        with files.writing(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(text)
    written = ["model.npz", *texts]
    for name, draw in _pictures(model, data):
        try:
            picture = plot.png(draw())
        except MissingExtraError as problem:
            return written, f"pictures: {str(problem).partition(': ')[2]}"
        with files.writing(os.path.join(out, name)) as file:
            file.write(picture)
        written.append(name)
    return written, None


def _pictures(model, data):
    """(file name, function that draws it) of every picture that suits this model and these data."""
    shown = as_float(data.X_test[:12], data.scale, model.dtype)
    seen = model.corrupt(shown)  # by the encoder while training
    noisy = None if seen is shown else np.asarray(seen)
    if model.history_:
        yield "loss.png", lambda: plot.loss(model)
    yield "reconstructions.png", lambda: plot.reconstructions(model, shown, data.image_shape, noisy)
    if hasattr(model, "sample") and data.image_shape is not None:
        yield "samples.png", lambda: plot.samples(model, data.image_shape)
    if model.n_components_ == 2:
        rows = slice(0, 10_000)
        labels = None if data.y_test is None else data.y_test[rows]
        yield "latent.png", lambda: plot.latent(model, as_float(data.X_test[rows], data.scale, model.dtype), labels)


def _print_corners(model, X):
    codes = model.transform(X)
    corners, distinct = model.corners(X)
    print("\ninput      code          corner")
    for x, z, corner in zip(np.asarray(X, int), codes, corners):
        print(f"{' '.join(map(str, x)):9}  {'  '.join(f'{v:.2f}' for v in z):12}  {' '.join(map(str, corner))}")
    found = len({tuple(c) for c in corners.tolist()})
    if distinct:
        print(f"The {len(X)} codes stand in {len(X)} different corners: the network has found binary numbers.\n")
    else:
        print(f"Only {found} of {len(X)} corners are taken: two inputs share a code. Another --seed usually works.\n")


def _plain(settings):
    return {k: v for k, v in settings.items() if k not in _NOT_ON_THE_LINE}


def _count(model):
    return sum(p.size for p in model.net_.parameters())


def _versions():
    import platform

    return {"tinyae": __version__, "python": platform.python_version(), "numpy": np.__version__}


# -- show, info, zoo, ops, data -------------------------------------------------------------------------------------


def _show(arguments):
    if arguments.name == "errata":
        _errata(arguments.markdown)
        return
    if arguments.markdown:
        raise SettingError("show: --markdown is for errata. Give `tinyae show errata --markdown`.")
    if arguments.name is None:
        _print_table(("name", "claim"), [(name, sentence) for name, (sentence, _) in claims.CLAIMS.items()])
        return
    out = arguments.out or f"{arguments.name}.png"
    if os.path.isdir(out):
        raise DataError(f"show: --out {out} is a folder. Give a file.")
    if not out.lower().endswith(".png"):
        raise SettingError(f"show: --out {out}: the picture is a PNG. Give a name that ends in .png.")
    try:
        with files.writing(out) as file:  # opened before the training: what cannot be written costs none
            finding = claims.examine(arguments.name, arguments.data, arguments.seed, arguments.epochs)
            file.write(plot.png(finding.figure))
    except TinyaeError:
        raise
    except OSError as problem:
        raise DataError(f"show: --out {out}: {problem.strerror or problem}. Give another file.") from problem
    print(finding.sentence, finding.line, finding.verdict, f"wrote {out}", sep="\n")


def _errata(markdown):
    from .errata import ERRATA

    if markdown:
        _print_markdown(("said", "right", "shown by, in `tests/test_errata.py`"), ERRATA)
        return
    for number, erratum in enumerate(ERRATA):
        print(end="\n" if number else "")
        for label, text in (("said   ", erratum.said), ("right  ", erratum.right), ("test   ", erratum.test)):
            _print_indented(label, text)


def _info(arguments):
    facts = _versions() | kernels.info() | {"data": os.environ.get("TINYAE_DATA")}
    if arguments.json:
        import json

        print(json.dumps(facts, indent=2))
        return
    labels = {"isa": "ISA", "isas_supported": "ISAs", "path": "module", "data": "TINYAE_DATA"}
    for name, value in facts.items():
        value = " ".join(value) if isinstance(value, list) else value
        print(f"{labels.get(name, name):12} {'-' if value in (None, '') else value}")


def _zoo(arguments):
    rows = [(name, ", ".join(cls.aliases) or "-", cls.__name__, cls.family, str(_lines(cls)), cls.paper, cls.proof)
            for name, cls in ZOO.items()]  # fmt: skip
    head = ("name", "aliases", "class", "family", "lines", "paper", "proven beyond what all are asked")
    if arguments.markdown:
        _print_markdown(head, rows)
    else:
        _print_table(head, rows)


def _lines(cls):
    """Lines of code that a variant adds: its class without blank lines, comments and docstrings."""
    import ast
    import inspect

    source = textwrap.dedent(inspect.getsource(cls))
    skipped = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            skipped.update(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and i not in skipped for i, line in lines)


def _ops(arguments):
    from .ops.table import rows

    chosen = [row for row in rows() if not arguments.name or row.name in arguments.name]
    unknown = set(arguments.name) - {row.name for row in chosen}
    if unknown:
        raise SettingError(f"ops: there is no {', '.join(sorted(unknown))}. `tinyae ops` lists what there is.")
    if arguments.markdown:
        _print_markdown(
            ("op", "formula", "derivative", "keeps", "shape", "in C"),
            [(row.name, row.formula, "; ".join(f"d{a}: {rule}" for a, rule in row.derivative.items()) or "none",
              row.keeps, row.shape, row.kernel) for row in chosen])  # fmt: skip
        return
    file = None
    for row in chosen:
        if row.file != file:
            file = row.file
            print(f"{'' if row is chosen[0] else chr(10)}{file} {'-' * (79 - len(file))}")
        print(f"\n{row.call}")
        _print_indented("", row.formula)
        _print_indented("shape   ", row.shape)
        for argument, rule in row.derivative.items():
            _print_indented(f"d{argument}".ljust(7) + " ", rule)
        _print_indented("keeps   ", f"{row.keeps:20} in C   {row.kernel}")


def _print_markdown(head, rows):
    for row in (head, ("---",) * len(head), *rows):
        print(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")


def _print_indented(label, text):
    width = max(60, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 120
    lines = textwrap.wrap(text, width - 4 - len(label), break_long_words=False) or [""]
    print(textwrap.indent(f"{label}" + f"\n{' ' * len(label)}".join(lines), "    "))


def _data(arguments):
    rows = [(name, f"{size / 1e3:,.0f} kB" if size else "-", licence, where) for name, where, size, licence in status()]
    _print_table(("name", "size", "licence", "where"), rows)


def _get(arguments):
    from .download import download

    print(f"{arguments.name} is in {download(arguments.name, mirrors=arguments.mirror)}")


def _print_table(head, rows):
    """In columns; on a terminal the last one is wrapped."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])
    room = max(30, shutil.get_terminal_size().columns - indent) if sys.stdout.isatty() else widths[-1]
    for *cells, last in (head, *rows):
        start = "".join(cell.ljust(width + 2) for cell, width in zip(cells, widths))
        print((start + f"\n{' ' * indent}".join(textwrap.wrap(last, room, break_long_words=False))).rstrip())
