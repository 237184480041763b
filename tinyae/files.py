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
from .errors import ModelFileError, SettingError, TinyaeError
from .nn import activation

__all__ = ["load", "save", "writing"]

_FORMAT = 1
_DESCRIPTION = "model.json"
_FITTED = ("n_features_in_", "output_activation_", "unit_interval_", "bits_", "n_iter_", "best_epoch_", "kept_epoch_",
           "max_iter_", "baseline_", "history_", "pretraining_")  # fmt: skip
_DESCRIPTION_LIMIT = 64 << 20  # bytes; a history of a million epochs fits


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


def save(model, path):
    """Write a fitted model; returns the path.

    The arrays stand under their names in ``net_``; the settings, the fitted attributes and the history in model.json.
    Settings that are not plain values (a callable optimizer, a generator) are left out: they matter to ``fit`` only.

    Raises SettingError for a class that is not in the registry: nobody could load it.
    """
    import json  # here and below: not part of what `import tinyae` costs
    import zipfile

    if "zoo_name" not in vars(type(model)):  # inherited is the parent's
        raise SettingError(f"save: {type(model).__name__} is not in ZOO. Enter it by the decorator tinyae.ae.variant.")
    fitted = {name: getattr(model, name) for name in _FITTED if hasattr(model, name)}
    fitted["noise"] = [model.noise_.key, model.noise_.counter]
    built = model.fitted_settings_  # those of today may have been changed since
    settings = {name: _plain(value) for name, value in built.items() if name != "verbose"}
    description = {
        "format": _FORMAT,
        "tinyae": __version__,
        "model": model.zoo_name,
        "settings": {name: value for name, value in settings.items() if value is not _left_out},
        "own": [which for which in ("encoder", "decoder") if built[which] is not None],
        "fitted": fitted,
    }
    # ZipInfo has a fixed date: equal models are equal files.
    with writing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in model.net_.state_dict().items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
        archive.writestr(zipfile.ZipInfo(_DESCRIPTION), json.dumps(description))
    return path


def load(path, zoo, encoder=None, decoder=None):
    """The model that `save` wrote, its class looked up in zoo; see ``tinyae.load``."""
    import zipfile

    path = os.fspath(path)
    if not os.path.isfile(path):  # asked before opening, because opening a pipe would wait for its writer
        what = f"{path} is not a file" if os.path.exists(path) else f"there is no file {path}"
        raise ModelFileError(f"load: {what}.")
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            description = _describe(archive, path)
            model = _make(description, zoo, path, encoder, decoder)
            # Of the file that is open: another may have its path by now. Not what the directory says: that may lie.
            _check_size(model, description, len(archive.infolist()), os.fstat(file.fileno()).st_size, path)
            model.build(description["fitted"]["n_features_in_"])
            state = {name: _read(archive, name, path) for name in model.net_.state_dict()}
            model.net_.load_state_dict(state)
            _restore(model, description["fitted"])
    except TinyaeError as problem:
        raise problem if isinstance(problem, ModelFileError) else ModelFileError(f"load: {path}: {problem}") from None
    except OSError as problem:
        raise ModelFileError(f"load: {path} cannot be read: {problem.strerror or problem}.") from None
    except Exception as problem:  # of damaged bytes zipfile, json and NumPy's header parser complain in a dozen ways
        detail = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise ModelFileError(f"load: {path} is not a model saved by tinyae: {detail}") from problem
    model.net_.eval()
    return model


_left_out = object()


def _plain(value):
    """value as JSON can say it, NumPy's scalars as Python's; `_left_out` if it cannot."""
    if isinstance(value, (tuple, list)):
        parts = [_plain(v) for v in value]
        return _left_out if any(part is _left_out for part in parts) else parts
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.dtype):
        value = value.name
    return value if value is None or type(value) in (bool, int, float, str) else _left_out


def _restore(model, fitted):
    """The fitted attributes, each by name: a file cannot set others."""
    output, choices = fitted["output_activation_"], [model.output_activation_]  # of data in [0, 1], as built
    activation(output)  # raises if there is no such
    if model.loss in model._unbounded_losses():
        choices.append(model._resolve_output(False))
    if output not in choices:
        raise ValueError(f"output_activation_={output!r} is not what its settings lead to")
    before = fitted.get("pretraining_", [])  # of one net, or of one after another
    histories = [fitted.get("history_", {}), *(before if isinstance(before, list) else [before])]
    if any(type(value) not in (int, float) for history in histories for column in history.values() for value in column):
        raise ValueError("the history holds what is no number")
    model.noise_.key, model.noise_.counter = (int(n) % 2**64 for n in fitted["noise"])
    for name in _FITTED:
        if name in fitted:
            setattr(model, name, fitted[name])


def _describe(archive, path):
    import json
    import zipfile

    if _DESCRIPTION not in archive.namelist():
        raise ModelFileError(f"load: {path} is an archive without {_DESCRIPTION}, not a model saved by tinyae.")
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise ModelFileError(f"load: {path}: {info.filename} is compressed; tinyae's own files are not.")
    if archive.getinfo(_DESCRIPTION).file_size > _DESCRIPTION_LIMIT:
        raise ModelFileError(f"load: {path}: {_DESCRIPTION} is larger than {_DESCRIPTION_LIMIT >> 20} MB.")
    description = json.loads(archive.read(_DESCRIPTION))
    if description["format"] != _FORMAT:
        raise ModelFileError(
            f"load: {path} has format {description['format']}, written by tinyae {description['tinyae']}; this is "
            f"tinyae {__version__}, which reads format {_FORMAT}. Upgrade, or save the model again."
        )
    return description


def _make(description, zoo, path, encoder, decoder):
    cls = zoo.get(description["model"])
    if cls is None:
        raise ModelFileError(
            f"load: {path} holds a {description['model']!r} model. Known are: {', '.join(sorted(zoo))}."
        )
    own = {"encoder": encoder, "decoder": decoder}
    for which, module in own.items():
        if which in description["own"] and module is None:
            raise ModelFileError(
                f"load: this model was trained with an {which} of its own. Pass one: load(path, {which}=...)."
            )
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in description["settings"].items()}
    unknown = sorted(set(settings) - set(cls.settings()))
    if unknown:
        raise ModelFileError(f"load: {path}: {cls.__name__} has no setting {', '.join(unknown)}.")
    return cls(**{**settings, **{k: own[k] for k in description["own"]}})


def _check_size(model, description, entries, size, path):
    """Refuse settings that ask for more weights than the file has bytes, before a net of that size is made."""
    if set(description["own"]) == {"encoder", "decoder"}:
        return  # the caller's nets are there already
    n_features = int(description["fitted"]["n_features_in_"])
    wanted, widest = model.least_size(n_features)
    if max(wanted, widest) * 4 > size or len(model._hidden(n_features)) + 2 > entries:
        raise ModelFileError(f"load: {path}: its layers would need more weights than the file has. It is damaged.")


def _read(archive, name, path):
    entry = f"{name}.npy"
    if entry not in archive.namelist():
        raise ModelFileError(f"load: {path} lacks the array {name}. It is damaged, or from another version.")
    info = archive.getinfo(entry)
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(member)
        if dtype.hasobject or dtype.kind != "f" or fortran:
            raise ModelFileError(f"load: {path}: {name} has dtype {dtype}. Weights are plain float arrays.")
        data = member.read()
    size = int(np.prod(shape, dtype=object))
    if size * dtype.itemsize != len(data):
        raise ModelFileError(f"load: {path}: {name} promises shape {shape} and holds {len(data)} bytes. It is damaged.")
    array = np.frombuffer(data, dtype).reshape(shape)
    if not np.isfinite(array).all():
        raise ModelFileError(f"load: {path}: {name} holds values that are NaN or infinite. It is damaged.")
    return array
