"""Models to files and back: one .npz of plain arrays and a JSON description; nothing is pickled or unpickled.

A file is written beside its place and renamed into it, so a crash, a full disk or Ctrl-C leaves the old file or none. A
file that is read is not trusted: sizes are compared before anything is allocated, classes come from the registry only.

Ring 5. Must not know any model class: the registry is handed in.
"""

import errno
import os
import stat
from contextlib import contextmanager, suppress

import numpy as np

from ._version import __version__
from .errors import ModelFileError, SettingError, TinyaeError, excerpt
from .nn import Module, activation

__all__ = ["CLASSES", "load", "save", "saved", "writing"]

_FORMAT = 1
_DESCRIPTION = "model.json"
_FITTED = ("n_features_in_", "output_activation_", "unit_interval_", "bits_", "n_iter_", "best_epoch_", "kept_epoch_",
           "max_iter_", "baseline_", "history_", "pretraining_", "classes_", "offset_", "lowest_", "scale_",
           "target_scale_", "feature_names_in_")  # fmt: skip
_DESCRIPTION_LIMIT = 4 << 20  # bytes; what may be long, a history or names, are arrays
_DESCRIPTION_ITEMS = 200_000  # of lists and dictionaries: two bytes of text may become a hundred of memory


@contextmanager
def writing(path, mode="wb", **kwargs):
    """``with writing(path) as file``: path appears, whole, when the block ends without an error;
    else nothing changes.

    Everything that the package writes is written here. The partial file has a name that nobody can foresee, so that
    writers of one path cannot meet in it and no link can lie in wait; it is on the disk before it is renamed. A file
    that is replaced hands its permissions on, a new one gets the umask's; a link is replaced, not followed.

    Raises OSError, of the folder if nothing can be made in it; what is a folder, pipe or device is not replaced.
    """
    path = os.fsdecode(path)
    permissions = _permissions(path)
    folder = os.path.dirname(path) or os.curdir
    partial = os.path.join(folder, f".{os.urandom(8).hex()}.part")  # of no name's length: that may be at its limit

    def exclusively(name, flags):
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o666 if permissions is None else permissions)

    try:
        try:
            file = open(partial, mode.replace("w", "x"), opener=exclusively, **kwargs)
        except OSError as problem:
            problem.filename = folder  # the passing name would tell nobody anything
            raise
        with file:
            if permissions is not None:
                os.chmod(partial, permissions)  # the umask took away from them
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.remove(partial)
        raise
    _sync_folder(folder)


def _permissions(path):
    """Those of a file that will be replaced, None without one."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return None if os.path.islink(path) else mode & 0o777


def _sync_folder(folder):
    """The new name on the disk, too, where folders can be opened (not on Windows) and their disk knows how."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


CLASSES = {}  # what can be saved beside the zoo: models around a model


def saved(name, *parts):
    """Class decorator: files know it by this name; parts are the attributes that hold an autoencoder, or a Module.

    A part that is a setting may be fitted or not; one that ends in _ is. The class has ``_own_arrays()``, {name: array}
    beside those of the parts, and ``_restore(parts, fitted, read)``, which checks and sets what was learned.
    """

    def enter(cls):
        cls.saved_name, cls.saved_parts = name, parts
        CLASSES[name] = cls
        return cls

    return enter


def save(model, path):
    """Write a fitted model; returns the path.

    The arrays stand under their names in ``net_``, those of a model within a model under ``model_/``; settings and what
    was fitted in model.json, columns of the history as arrays again. What takes another time each time is left out, the
    history's seconds: equal models are equal files. So are settings that are not plain values (a callable optimizer, a
    generator), with a warning: they matter to ``fit`` only.

    Raises SettingError for a class that is not in the registry: nobody could load it.
    """
    import json  # here and below: not part of what `import tinyae` costs
    import warnings
    import zipfile

    arrays, left_out = {}, []
    description = {"format": _FORMAT, "tinyae": __version__, **_dump(model, "", arrays, left_out)}
    # ZipInfo has a fixed date: equal models are equal files.
    with writing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
        archive.writestr(zipfile.ZipInfo(_DESCRIPTION), json.dumps(description))
    if left_out:
        warnings.warn(
            f"save: {', '.join(dict.fromkeys(left_out))} cannot be written to a file; a loaded model has the default "
            "instead, which matters to fit only. Set it again before another fit.", UserWarning, stacklevel=3,
        )  # fmt: skip
    return path


def _dump(model, prefix, arrays, left_out):
    """model as JSON can say it; its arrays are added under prefix, the settings that cannot be said to left_out."""
    cls = type(model)
    name = vars(cls).get("zoo_name") or vars(cls).get("saved_name")  # inherited is the parent's
    if name is None:
        raise SettingError(f"save: {cls.__name__} is not in ZOO. Enter it by the decorator tinyae.ae.variant.")
    parts = getattr(cls, "saved_parts", ())
    built = getattr(model, "fitted_settings_", None) or model.get_params(deep=False)  # those of today may have changed
    settings = {k: _plain(v) for k, v in built.items() if k not in ("verbose", "encoder", "decoder", *parts)}
    left_out += [
        f"{prefix.replace('_/', '.').replace('/', '.')}{k}" for k, value in settings.items() if value is _left_out
    ]
    own = [which for which in ("encoder", "decoder") if isinstance(built.get(which), Module)]
    description = {"model": name, "settings": {k: v for k, v in settings.items() if v is not _left_out}, "own": own}
    if parts:
        models = {part: getattr(model, part, None) for part in parts}
        description["parts"] = {
            part: _dump(value, f"{prefix}{part}/", arrays, left_out)
            for part, value in models.items() if value is not None and not isinstance(value, Module)
        }  # fmt: skip
        own_arrays = model._own_arrays()
    elif hasattr(model, "net_"):
        own_arrays = model.net_.state_dict()
    else:
        return description  # settings of a model that is not fitted
    arrays.update({f"{prefix}{name}": array for name, array in own_arrays.items()})
    fitted = {k: getattr(model, k) for k in _FITTED if hasattr(model, k)}
    description["fitted"] = {k: _pack(value, f"{prefix}{k}", arrays) for k, value in fitted.items()}
    if hasattr(model, "noise_"):
        description["fitted"]["noise"] = [model.noise_.key, model.noise_.counter]
    return description


def load(path, zoo, encoder=None, decoder=None):
    """The model that `save` wrote, its class looked up in zoo or in `CLASSES`; see ``tinyae.load``."""
    import zipfile

    path = os.fspath(path)
    if not os.path.isfile(path):  # asked before opening, because opening a pipe would wait for its writer
        what = f"{path} is not a file" if os.path.exists(path) else f"there is no file {path}"
        raise ModelFileError(f"load: {what}.")
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            # Of the file that is open: another may have its path by now. Not what the directory says: that may lie.
            reader = _Reader(archive, os.fstat(file.fileno()).st_size, path, {"encoder": encoder, "decoder": decoder})
            description = _describe(archive, path)
            return reader.model(description, {**CLASSES, **zoo})
    except TinyaeError as problem:
        raise problem if isinstance(problem, ModelFileError) else ModelFileError(
            f"load: {path}: {excerpt(str(problem), 250)}") from None  # fmt: skip
    except OSError as problem:
        raise ModelFileError(f"load: {path} cannot be read: {problem.strerror or problem}.") from None
    except Exception as problem:  # of damaged bytes zipfile, json and NumPy's header parser complain in a dozen ways
        detail = excerpt(str(problem) or type(problem).__name__, 100)
        raise ModelFileError(f"load: {path} is not a model saved by tinyae: {detail}") from problem


class _Reader:
    """An open file, and the models that its description and its arrays make."""

    def __init__(self, archive, size, path, own):
        self.archive, self.size, self.path, self.own = archive, size, path, own
        self.names = set(archive.namelist())  # of what is not yet read
        self.entries = len(self.names)

    def model(self, description, classes, prefix="", fitted=True, dtype=None):
        """The model of a description, its arrays under prefix; without its fitted part only if that may be missing.

        dtype is that of the model around it, to which an encoder was converted.
        """
        cls = classes.get(description["model"])
        if cls is None:
            raise ModelFileError(
                f"load: {self.path} holds a '{excerpt(description['model'])}' model. "
                f"Known are: {', '.join(sorted(classes))}."
            )
        names = getattr(cls, "saved_parts", ())
        inner = {name: text for name, text in classes.items() if name not in CLASSES}
        dtypes = {part: description["settings"].get("dtype") if part.endswith("_") else None for part in names}
        parts = {
            part: self.model(description["parts"][part], inner, f"{prefix}{part}/", part.endswith("_"), dtypes[part])
            for part in names if part in description["parts"]
        }  # fmt: skip
        model = self._make(cls, description, {k: part for k, part in parts.items() if not k.endswith("_")})
        if not fitted and "fitted" not in description:
            return model
        unpacked = {k: self._unpack(description["fitted"][k]) for k in _FITTED if k in description["fitted"]}
        _check_history(unpacked)
        if names:
            model._restore(parts, unpacked, lambda name: self.array(prefix + name))
        else:
            _check_size(model, description, self.entries, self.size, self.path)
            model.build(description["fitted"]["n_features_in_"])
            state = {name: self.array(prefix + name) for name in model.net_.state_dict()}
            if dtype is not None:
                model.net_ = model.net_.astype(dtype)
            model.net_.load_state_dict(state)
            _restore(model, unpacked, description["fitted"]["noise"])
            model.net_.eval()
        return model

    def _make(self, cls, description, parts):
        for which in description["own"]:
            if self.own[which] is None:
                raise ModelFileError(
                    f"load: this model was trained with an {which} of its own. Pass one: load(path, {which}=...)."
                )
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in description["settings"].items()}
        unknown = sorted(set(settings) - set(cls.settings()).difference(getattr(cls, "saved_parts", ())))
        if unknown:
            raise ModelFileError(f"load: {self.path}: {cls.__name__} has no setting {excerpt(', '.join(unknown))}.")
        return cls(**{**settings, **{k: self.own[k] for k in description["own"]}, **parts})

    def array(self, name, kinds="f", finite=True):
        """An array of the archive, once: a file cannot have a large one read many times. Its header is compared with
        its bytes before anything is believed.
        """
        entry, shown = f"{name}.npy", excerpt(name)
        if entry not in self.names:
            raise ModelFileError(f"load: {self.path} lacks the array {shown}. It is damaged, or from another version.")
        self.names.remove(entry)
        with self.archive.open(entry) as member:
            version = np.lib.format.read_magic(member)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read_header(member)
            if dtype.hasobject or dtype.kind not in kinds or fortran:
                raise ModelFileError(f"load: {self.path}: {shown} has dtype {dtype}. Weights are plain float arrays.")
            data = member.read()
        size = int(np.prod(shape, dtype=object))
        if size * dtype.itemsize != len(data):
            raise ModelFileError(
                f"load: {self.path}: {shown} promises shape {shape} and holds {len(data)} bytes. It is damaged."
            )
        array = np.frombuffer(data, dtype).reshape(shape)
        if finite and not np.isfinite(array).all():
            raise ModelFileError(f"load: {self.path}: {shown} holds values that are NaN or infinite. It is damaged.")
        return array

    def _unpack(self, value):
        """What `_pack` was given."""
        if isinstance(value, list):
            return [self._unpack(part) for part in value]
        if not isinstance(value, dict):
            return value
        if set(value) != {"array", "as"}:
            return {name: self._unpack(part) for name, part in value.items()}
        array = self.array(value["array"], "biuf" if value["as"] == "list" else "biufU", finite=False).copy()
        return {"list": array.tolist, "array": lambda: array, "objects": lambda: array.astype(object)}[value["as"]]()


def _pack(value, name, arrays):
    """value as JSON can say it; arrays, and lists of numbers, which may be long, go to arrays under name."""
    if isinstance(value, np.ndarray):
        texts = value.dtype.hasobject
        arrays[name] = value.astype(str) if texts else value
        if value.dtype.kind not in "biufU" and not all(isinstance(v, str) for v in value.flat):
            raise SettingError(f"save: {name} has dtype {value.dtype}. Only numbers and texts can be saved.")
        return {"array": name, "as": "objects" if texts else "array"}
    if isinstance(value, dict):
        return {k: _pack(v, f"{name}/{k}", arrays) for k, v in value.items() if k != "seconds"}
    if isinstance(value, list) and value and not any(isinstance(v, (dict, list)) for v in value):
        arrays[name] = np.array(value)
        return {"array": name, "as": "list"}
    if isinstance(value, list):
        return [_pack(v, f"{name}/{i}", arrays) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


_left_out = object()


def _plain(value):
    """value as JSON can say it, NumPy's scalars as Python's; `_left_out` if it cannot."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (tuple, list, range)):
        parts = [_plain(v) for v in value]
        return _left_out if any(part is _left_out for part in parts) else parts
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.floating)):
        value = np.dtype(value).name
    return value if value is None or type(value) in (bool, int, float, str) else _left_out


def _check_history(fitted):
    """Numbers in every column, and all of what a training leaves, or nothing of it."""
    before = fitted.get("pretraining_", [])  # of one net, or of one after another
    histories = [fitted.get("history_", {}), *(before if isinstance(before, list) else [before])]
    if any(type(value) not in (int, float) for history in histories for column in history.values() for value in column):
        raise ValueError("the history holds what is no number")
    lacking = [name for name in ("history_", "n_iter_", "best_epoch_") if name not in fitted]
    if "offset_" not in fitted and 0 < len(lacking) < 3:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    for name in ("n_iter_", "best_epoch_", "kept_epoch_"):
        if type(fitted.get(name, 0)) is not int:
            raise ValueError(f"{name} is no whole number")


def _restore(model, fitted, noise):
    """The fitted attributes, each by name: a file cannot set others."""
    output, choices = fitted["output_activation_"], [model.output_activation_]  # of data in [0, 1], as built
    activation(output)  # raises if there is no such
    if model.loss in model._unbounded_losses():
        choices.append(model._resolve_output(False))
    if output not in choices and model.decoder is None:
        raise ValueError(f"output_activation_={output!r} is not what its settings lead to")
    model.noise_.key, model.noise_.counter = (int(n) % 2**64 for n in noise)
    for name, value in fitted.items():
        if name not in ("classes_", "offset_", "lowest_", "scale_", "feature_names_in_"):
            setattr(model, name, value)
    if model.target_scale_ not in (None, 1, 255):
        raise ValueError("target_scale_ is neither 1 nor 255")
    model._restore_columns(fitted)


def _describe(archive, path):
    import json
    import zipfile

    if _DESCRIPTION not in archive.namelist():
        raise ModelFileError(f"load: {path} is an archive without {_DESCRIPTION}, not a model saved by tinyae.")
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise ModelFileError(f"load: {path}: {excerpt(info.filename)} is compressed; tinyae's own files are not.")
    if archive.getinfo(_DESCRIPTION).file_size > _DESCRIPTION_LIMIT:
        raise ModelFileError(f"load: {path}: {_DESCRIPTION} is larger than {_DESCRIPTION_LIMIT >> 20} MB.")
    text = archive.read(_DESCRIPTION)
    if sum(map(text.count, (b",", b"[", b"{"))) > _DESCRIPTION_ITEMS:
        raise ModelFileError(f"load: {path}: {_DESCRIPTION} has more than {_DESCRIPTION_ITEMS} items. It is damaged.")
    description = json.loads(text)
    if description["format"] != _FORMAT:
        raise ModelFileError(
            f"load: {path} has format {excerpt(description['format'], 20)}, written by tinyae "
            f"{excerpt(description['tinyae'], 20)}; this is "
            f"tinyae {__version__}, which reads format {_FORMAT}. Upgrade, or save the model again."
        )
    return description


def _check_size(model, description, entries, size, path):
    """Refuse settings that ask for more weights than the file has bytes, before a net of that size is made."""
    if set(description["own"]) == {"encoder", "decoder"}:
        return  # the caller's nets are there already
    n_features = int(description["fitted"]["n_features_in_"])
    wanted, widest = model.least_size(n_features)
    if max(wanted, widest) * 4 > size or len(model._hidden(n_features)) + 2 > entries:
        raise ModelFileError(f"load: {path}: its layers would need more weights than the file has. It is damaged.")
