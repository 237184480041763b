"""Every error that tinyae raises on purpose, and how to read one.

A message has one form: ``where: what happened, with shapes. What to do.`` Each class also inherits the builtin that a
caller would have caught, so ``except ValueError`` keeps working in code that has never heard of tinyae.

    TinyaeError
    |-- ShapeError          (ValueError)              shapes that do not fit
    |-- DtypeError          (TypeError)               a dtype that makes no sense here
    |-- AxisError           (ValueError, IndexError)  no such axis or index
    |-- MatrixError         (ValueError)              a matrix that has no inverse, or no Cholesky factor
    |-- GraphError          (RuntimeError)            backward asked of a graph that cannot give it
    |-- PlanError           (RuntimeError)            a step that cannot be compiled
    |-- SettingError        (ValueError)              a setting of an op, a layer, an optimizer or a model
    |-- NotFittedError      (ValueError, AttributeError)  a model used before ``fit``
    |-- DivergedError       (FloatingPointError)      training met a loss that is not finite
    |-- DataError           (ValueError)              a dataset that cannot be used
    |   |-- DataNotFoundError (FileNotFoundError)     ... because it is not there
    |   `-- DownloadError   (OSError)                 ... because it could not be fetched
    |-- ModelFileError      (ValueError)              a file that is not a saved model
    |-- MissingExtraError   (ImportError)             an optional library is not installed
    `-- BackendError        (RuntimeError)            the compiled kernels that were demanded are not there

and two warnings, both UserWarnings: ConvergenceWarning of a training that was not enough, GradientWarning of gradients
that add up, or are missing, by what looks like an oversight.

Ring 0. Imports nothing. Read ``engine.py`` next.
"""

__all__ = [
    "AxisError",
    "BackendError",
    "ConvergenceWarning",
    "DataError",
    "DataNotFoundError",
    "DivergedError",
    "DownloadError",
    "DtypeError",
    "GradientWarning",
    "GraphError",
    "MatrixError",
    "MissingExtraError",
    "ModelFileError",
    "NotFittedError",
    "PlanError",
    "SettingError",
    "ShapeError",
    "TinyaeError",
    "excerpt",
]


def excerpt(value: object, limit: int = 60) -> str:
    """value as a message shows what it did not write: on one line, at most `limit` characters, no control characters.

    Messages go to terminals and logs, and a file may hold megabytes, or bytes that a terminal obeys.
    """
    text = " ".join((value if isinstance(value, str) else repr(value))[: 4 * limit].split())
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


class TinyaeError(Exception):
    """The root: ``except tinyae.errors.TinyaeError`` catches everything raised on purpose."""


class ShapeError(TinyaeError, ValueError):
    """Operands whose shapes do not fit together; the message shows all of them."""


class DtypeError(TinyaeError, TypeError):
    """A dtype without a meaning for this operation, such as a gradient of integers."""


class AxisError(TinyaeError, ValueError, IndexError):
    """An axis, or an index, that the array does not have."""


class MatrixError(TinyaeError, ValueError):
    """A matrix that is singular, or not symmetric and positive definite, where that is needed."""


class GraphError(TinyaeError, RuntimeError):
    """The recorded graph cannot answer: freed, never recorded, or a kept array has changed since."""


class PlanError(TinyaeError, RuntimeError):
    """A step cannot be compiled, or a plan does not do what the step does."""


class SettingError(TinyaeError, ValueError):
    """A setting outside what its docstring allows."""


class NotFittedError(TinyaeError, ValueError, AttributeError):
    """A fitted attribute was asked of a model before ``fit`` or ``build``."""


class DivergedError(TinyaeError, FloatingPointError):
    """A training loss became NaN or infinite."""


class DataError(TinyaeError, ValueError):
    """A dataset whose content cannot be used; the message names the file and the reason."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A dataset that is in none of the places that were searched; the message lists them."""

    # OSError formats itself from (errno, strerror); the message is wanted as it was written.
    __str__ = Exception.__str__


class DownloadError(DataError, OSError):
    """A dataset that could not be fetched: no network, a cut connection or a wrong checksum."""

    __str__ = Exception.__str__


class ModelFileError(TinyaeError, ValueError):
    """A file that ``tinyae.load`` cannot turn into a model."""


class MissingExtraError(TinyaeError, ImportError):
    """An optional library is missing; the message ends with the command that installs it."""


class BackendError(TinyaeError, RuntimeError):
    """``TINYAE_BACKEND`` or ``TINYAE_ISA`` demands what this installation or this CPU does not have."""


class ConvergenceWarning(UserWarning):
    """A training ended while its loss still fell steeply, or with a model that is no better than the mean row."""


class GradientWarning(UserWarning):
    """A gradient is summed over two states of a parameter, or a step found none: likely a forgotten line."""
