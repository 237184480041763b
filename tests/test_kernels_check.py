"""The C library without Python: under sanitizers, by other compilers, for 64-bit ARM in an emulator, its work counted.

`kernels_check.c` calls every public function; `products.c` asks the matrix product and the worker pool for their bits.

    pytest -m slow tests/test_kernels_check.py      some ten minutes on two cores
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent / "csrc"
pytestmark = pytest.mark.skipif(not CSRC.is_dir(), reason="csrc/ is not beside tests/")
COMPILE = ["-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-Wall", "-Wextra", "-Wconversion"]

# name: compiler, flags, what products.c shall do beside. Under a sanitizer no thread can be started after a fork: gcc
# 12's AddressSanitizer then waits for ever for locks of its own, which another thread held at the fork. clang 14 is not
# asked for sanitizers: with them it takes more than nine minutes to compile the matrix products.
BUILDS = {
    "gcc": ("gcc", ["-O3"], ["forks"]),
    "clang": ("clang", ["-O2"], ["forks"]),
    "address": ("gcc", ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], []),
    "tiles": ("gcc", ["-O2", "-DTAE_TILE_MODEL"], ["forks"]),
    "thread": ("gcc", ["-O1", "-g", "-fsanitize=thread"], []),
    "aarch64": ("aarch64-linux-gnu-gcc", ["-O2", "-static"], ["forks"]),
}


def test_every_public_function_is_checked():
    declared = (CSRC / "tinyae.h").read_text().split("/* cdef begin */")[1]
    functions = set(re.findall(r"\b(tae_\w+)\(", re.sub(r"/\*.*?\*/", "", declared, flags=re.S)))
    assert len(functions) > 20
    called = set(re.findall(r"\b(tae_\w+)\(", (HERE / "kernels_check.c").read_text()))
    assert functions <= called, f"give {functions - called} a row in tests/kernels_check.c"


def test_products_by_pieces_on_a_model_of_the_tile_unit(tmp_path):
    """The unit itself is rarely at hand; all but its nine macros is proved on plain C."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip("there is no C compiler here")
    flags = [*COMPILE, "-O2", "-DTAE_TILE_MODEL", f"-I{CSRC}"]
    subprocess.run([*compiler, *flags, HERE / "tiles_check.c", "-o", tmp_path / "check", "-lm"], check=True)
    highest, high, medium, fma = map(float, ends_well(tmp_path / "check").split())
    assert highest <= fma < 1e-6 < high < 6e-6 and 1e-4 < medium < 4e-3


def compiled(folder, compiler, flags, *sources):
    """The object files of some C sources, without a warning."""
    objects = []
    for source in sources:
        objects.append(folder / f"{source.stem}.o")
        built = subprocess.run(
            [compiler, *COMPILE, *flags, f"-I{CSRC}", "-c", source, "-o", objects[-1]], capture_output=True, text=True
        )
        assert built.returncode == 0 and not built.stderr, built.stderr
    return objects


def linked(program, compiler, flags, objects):
    subprocess.run([compiler, *flags, *objects, "-o", program, "-lm", "-pthread"], check=True)
    return program


def ends_well(*command):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0 and "wrong" not in ran.stdout and not ran.stderr, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
def test_without_python(tmp_path, build):
    """On every instruction set of the processor, real or emulated."""
    compiler, flags, forks = BUILDS[build]
    emulator = ["qemu-aarch64-static"] if build == "aarch64" else []
    for tool in (compiler, *emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"this platform lacks {tool}")
    library = compiled(tmp_path, compiler, flags, *sorted(CSRC.glob("*.c")))
    for name, arguments in (("kernels_check", []), ("products", forks)):
        main = compiled(tmp_path, compiler, flags, HERE / f"{name}.c")
        said = ends_well(*emulator, linked(tmp_path / name, compiler, flags, library + main), *arguments)
        assert not emulator or "neon: ok" in said


@pytest.mark.slow
def test_products_by_pieces_stay_in_their_buffers(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("this platform lacks gcc")
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DTAE_TILE_MODEL"]
    check = compiled(tmp_path, "gcc", flags, HERE / "tiles_check.c")
    ends_well(linked(tmp_path / "check", "gcc", flags, check))


@pytest.mark.slow
def test_work_grows_as_it_should(tmp_path):
    """Counted in basic blocks that the library runs through, not in seconds."""
    if shutil.which("gcc") is None:
        pytest.skip("this platform lacks gcc")
    flags = ["-O1", "-fsanitize-coverage=trace-pc", "-DTAE_TILE_MODEL"]
    library = compiled(tmp_path, "gcc", flags, *sorted(CSRC.glob("*.c")))
    check = compiled(tmp_path, "gcc", ["-O1", "-DWORK"], HERE / "kernels_check.c")
    ends_well(linked(tmp_path / "work", "gcc", [], library + check))
