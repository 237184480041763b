"""What every test shares: the installed package, warnings as errors, hypothesis profiles, no leaked modes.

Where does my test go?

    an op                        nowhere, or a row in cases/: test_ops.py asks the same of every op
    the tape, backward, threads  test_engine.py, by name; any order of calls at random: test_state_machine.py
    Tensor's NumPy manners       test_tensor.py
    the gradient checker itself  test_gradcheck.py, with a planted bug
    the same by PyTorch          nowhere, or a row TORCH in cases/: test_torch.py asks it of every op
    a law that must hold         test_truths.py: no other implementation, but mathematics
    a function of tinyae.h       beside its Python test, a check in kernels_check.c: test_kernels_check.py runs it
                                 under sanitizers, for ARM and with its work counted (-m slow)
    imports, names, docstrings   test_architecture.py
    README                       test_readme.py runs what it shows
    a compiled step              test_plan*.py; what users write: a template in plans/, from which test_plan_users.py
                                 draws programs; what may change between two calls: a way in test_plan_stale.py
    how far two orders may lie   tolerances.py derives it: from eps, the length of a sum, the condition of a matrix
    anything else                the file named after its module

    pytest                                     20 random examples per property
    pytest --hypothesis-profile=ci             the same examples in every run (or HYPOTHESIS_PROFILE=ci)
    pytest --hypothesis-profile=deep -m proof  500 examples of every test that draws them at random
    pytest -m mutation                         breaks every rule in every small way, and expects a failure each time
    pytest -m slow                             what takes long
"""

import collections
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]


def _is_editable():
    try:
        record = importlib.metadata.distribution("tinyae").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return False
    return bool(json.loads(record or "{}").get("dir_info", {}).get("editable"))


# `python -m pytest` puts the repository first on the path. Its tinyae/ has no compiled module unless the install is an
# editable one, so the tests would silently run on NumPy alone: make way for the installed package.
_here = [entry for entry in sys.path if Path(entry or ".").resolve() == ROOT]
sys.path[:] = [entry for entry in sys.path if entry not in _here]
if _is_editable():
    sys.path.extend(_here)
sys.path.append(str(ROOT / "tests"))  # for `cases/`, which is no test
try:
    import tinyae
    from tinyae import kernels
    from tinyae.mode import mode
except ImportError as problem:
    raise pytest.UsageError(
        f"tests: {problem}. They run against the installed package: pip install '.[test]'"
    ) from None

_profile = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # a busy machine is no failure
settings.register_profile("dev", max_examples=20, **_profile)
settings.register_profile("ci", max_examples=20, derandomize=True, print_blob=True, **_profile)
settings.register_profile("deep", max_examples=500, print_blob=True, **_profile)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    """Every test that draws random examples carries the marker `proof`: more examples prove more."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("proof")


def pytest_report_header(config):
    info = kernels.info()
    return (
        f"tinyae {tinyae.__version__} from {Path(tinyae.__file__).parent}, backend {info['backend']}, ISA {info['isa']}"
    )


# Every reason for which a test may be left out. With CI set, a run that leaves one out for another reason fails: a test
# that is silently never run proves nothing.
SKIPS = (
    "the backend is NumPy: there is no C to test",
    "the backend is C",
    "this CPU lacks",
    "got empty parameter set",  # the instruction sets of a backend that has none
    "this platform",  # lacks named pipes, or a long double, or does not fork
    "mprotect is POSIX's",
    "a signal as a terminal sends it",
    "pipes as in a shell",
    "TINYAE_DATA is not set",
    "bench/ is not beside tests/",
    "csrc/ is not beside tests/",
    "there is no C compiler here",
    "there is no README.md here",
    "could not import",  # an extra that is not installed
)
_skipped = collections.Counter()


def _note_skip(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1


pytest_runtest_logreport = pytest_collectreport = _note_skip


def _unlisted():
    return [reason for reason in _skipped if not reason.startswith(SKIPS)]


def pytest_terminal_summary(terminalreporter):
    for reason, count in sorted(_skipped.items()):
        mark = "   NOT IN THE TABLE of tests/conftest.py" if reason in _unlisted() else ""
        terminalreporter.write_line(f"skipped {count:4}: {reason}{mark}")


def pytest_sessionfinish(session):
    if os.environ.get("CI") and _unlisted():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def no_leaks():
    """A test that leaves the recording mode or NumPy's error mode changed would bend the tests after it."""
    errors = np.geterr()
    yield
    recording, mode.recording = mode.recording, True
    changed, _ = np.geterr(), np.seterr(**errors)
    assert recording, "the test left recording switched off"
    assert changed == errors, "the test left NumPy's error handling changed"


ARM = platform.machine().lower() in ("aarch64", "arm64")


@pytest.fixture(params=["scalar", "neon"] if ARM else ["scalar", "avx2", "avx512"], scope="module")
def isa(request):
    """Every instruction set that this CPU has, in force while the test runs."""
    if request.param not in kernels.info()["isas_supported"]:
        pytest.skip(f"this CPU lacks {request.param}")
    with kernels.use_isa(request.param):
        yield request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)
