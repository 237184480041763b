"""The house rules that a reader relies on: which way imports run, what an import costs, that names are documented."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinyae
from tinyae.engine import OPS

PACKAGE = Path(tinyae.__file__).parent

# The ring of every module; a folder stands for what is in it. A module imports only from rings below its own, or, as
# long as there is no cycle, from its own folder. tinyae/__init__.py hands out names and is imported by nobody.
RINGS = [
    ["hooks", "kernels", "mode", "source", "_version"],
    ["engine"],
    ["ops"],
    ["tensor", "transforms", "tree", "gradcheck"],
    ["nn", "optim"],
    ["plan"],
    ["train", "data", "formats", "delimited", "download", "files", "tables", "estimator", "metrics"],
    ["ae"],
    ["detect", "plot", "report", "errata", "show", "export", "learn"],
    ["cli", "__main__"],
]
RING = {name: ring for ring, names in enumerate(RINGS) for name in names} | {"errors": -1}  # which everything may raise


def modules():
    """{dotted name without "tinyae.": path} of every Python file in the package but its __init__."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


def imports(name, path, known):
    """The tinyae modules that a file imports anywhere in it, functions included; "" is `import tinyae` itself."""
    package = ["tinyae", *name.split(".")]
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            full = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            full = [f"{base}.{alias.name}" for alias in node.names]
            full = [f if f.removeprefix("tinyae.") in {*known, "_kernels"} else base for f in full]
        else:
            continue
        for f in full:
            if f == "tinyae" or f.startswith("tinyae."):
                yield f.removeprefix("tinyae").removeprefix("."), node.lineno


MODULES = modules()
FOLDERS = {name for name, path in MODULES.items() if path.name == "__init__.py"}
GRAPH = {name: sorted(set(imports(name, path, MODULES))) for name, path in MODULES.items()}


def complaints(graph):
    """Every import that breaks a rule, as one sentence each."""
    for name, found in graph.items():
        top = name.partition(".")[0]
        if top not in RING:
            yield f"{name} is in no ring: add it to RINGS"
            continue
        for target, line in found:
            at = f"{name}, line {line}"
            if target == "":
                yield f"{at}: imports tinyae itself; import the module that defines the name"
                continue
            below = target.partition(".")[0]
            if below == "_kernels":
                if top != "kernels":
                    yield f"{at}: only kernels/ sees the compiled module"
            elif below not in RING:
                yield f"{at}: imports {target}, which is in no ring"
            elif RING[below] > RING[top] or (RING[below] == RING[top] and below != top and FOLDERS & {below, top}):
                yield f"{at}: ring {RING[top]} imports {target} of ring {RING[below]}"


def cycle(graph):
    """Some cycle of modules, or None."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in graph:
            return None
        path.append(name)
        for target, _ in graph[name]:
            if found := visit(target):
                return found
        done.add(path.pop())
        return None

    return next((found for name in graph if (found := visit(name))), None)


def test_imports_run_downward():
    assert list(complaints(GRAPH)) == []


def test_there_is_no_import_cycle():
    assert cycle(GRAPH) is None


def test_these_tests_bite():
    assert any("no ring" in c for c in complaints({"new": []}))
    assert any("itself" in c for c in complaints({"engine": [("", 1)]}))
    assert any("ring 1 imports tensor of ring 3" in c for c in complaints({"engine": [("tensor", 1)]}))
    assert any("ring 4 imports optim of ring 4" in c for c in complaints({"nn.losses": [("optim", 1)]}))
    assert any("compiled" in c for c in complaints({"engine": [("_kernels", 1)]}))
    assert cycle({"ops.a": [("ops.b", 1)], "ops.b": [("ops.a", 1)]}) == ["ops.a", "ops.b", "ops.a"]
    lazy = "def f():\n    import tinyae\n    from .. import nn\n    from ..tensor import Tensor\n"
    path = PACKAGE / "ops" / "x.py"
    assert list(imports("ops.x", _Text(path, lazy), {"nn": 0, "tensor": 0})) == [("", 2), ("nn", 3), ("tensor", 4)]


class _Text:
    def __init__(self, path, text):
        self.name, self.read_text = path.name, lambda: text


def test_import_is_light(tmp_path):
    """numpy, cffi's runtime part, the compiled module and the standard library; nothing slow of the latter."""
    code = "import sys, numpy; before = set(sys.modules); import tinyae; print(*sorted(set(sys.modules) - before))"
    new = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout.split()
    foreign = {name.partition(".")[0] for name in new} - set(sys.stdlib_module_names)
    assert foreign <= {"tinyae", "numpy", "_cffi_backend"}
    slow = {"argparse", "asyncio", "bz2", "concurrent", "csv", "email", "gzip", "http", "inspect", "json", "logging",
            "lzma",
            "multiprocessing", "shutil", "subprocess", "tempfile", "unittest", "urllib.request", "zipfile"}  # fmt: skip
    assert not slow & set(new)


# What is inside kernels/ and plan/ is nobody's but the house's.
INSIDE = re.compile(r"(^|\.)_|^(kernels|plan)\.")
PUBLIC = ["tinyae", *(f"tinyae.{name}" for name in MODULES if not INSIDE.search(name))]


def test_every_module_is_importable_and_listed():
    found = {m.name for m in pkgutil.walk_packages(tinyae.__path__, "tinyae.")}
    assert {f"tinyae.{name}" for name in MODULES} <= found


@pytest.mark.parametrize("name", PUBLIC)
def test_all(name):
    """__all__ is sorted, without doubles, resolvable, and holds nothing private; each name has a docstring."""
    module = importlib.import_module(name)
    names = list(module.__all__)
    kinds = sorted(set(names), key=lambda n: (0 if n.isupper() and len(n) > 1 else 1 if n[0].isupper() else 2, n))
    assert names in (sorted(set(names)), kinds), (
        f"{name}.__all__ is not sorted: by letter, or CONSTANTS, Classes, functions"
    )
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    for n in names:
        thing = getattr(module, n)
        assert not n.startswith("_") or n == "__version__", f"{name}.{n} is private"
        if callable(thing):
            assert (thing.__doc__ or "").strip(), f"{name}.{n} has no docstring"
            if inspect.isclass(thing):
                assert thing.__doc__ != object.__doc__


@pytest.mark.parametrize("name", PUBLIC)
def test_public_methods_are_documented(name):
    module = importlib.import_module(name)
    for n in module.__all__:
        cls = getattr(module, n)
        if inspect.isclass(cls) and cls.__module__.startswith("tinyae"):
            for method, value in vars(cls).items():
                if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    assert inspect.getdoc(getattr(cls, method)), f"{name}.{n}.{method} has no docstring"


def test_a_public_name_is_not_forgotten():
    """What a module defines without an underscore is in its __all__."""
    for name, path in MODULES.items():
        if path.name == "__init__.py" or f"tinyae.{name}" not in PUBLIC:
            continue
        defined = {
            node.name for node in ast.parse(path.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        }
        hidden = {n for n in defined if not n.startswith("_")} - set(importlib.import_module(f"tinyae.{name}").__all__)
        assert not hidden, f"{name} defines {sorted(hidden)}: private, or in __all__?"


def test_ops_state_their_shapes():
    """`Shape:` in the docstring, unless the op is element-wise, whose module says it for all."""
    silent = {name for name, op in OPS.items() if not op.elementwise and "Shape:" not in op.__doc__}
    assert silent <= {"max", "min", "argmax", "argmin", "bernoulli", "normal", "uniform"}, "these say it in words"
    for module in ("math", "activations"):
        assert "so for every" in "".join(op.__doc__ for op in OPS.values() if op.__module__ == f"tinyae.ops.{module}")


def test_sizes():
    """The core fits an evening: lines of code, without blanks, comments and docstrings."""

    def lines(*names):
        total = 0
        for name in names:
            text = MODULES[name].read_text()
            tree = ast.parse(text)
            strings = set()
            for node in ast.walk(tree):
                if (
                    isinstance(node, ast.Expr)
                    and isinstance(node.value, ast.Constant)
                    and isinstance(node.value.value, str)
                ):
                    strings |= set(range(node.lineno, node.end_lineno + 1))
            rows = enumerate(text.splitlines(), 1)
            total += sum(bool(row.strip()) and not row.strip().startswith("#") and i not in strings for i, row in rows)
        return total

    assert lines("engine") < 450
    assert lines("errors", "engine", "tensor", "ops.math") < 1500


@pytest.mark.skipif(sys.platform == "win32", reason="there, CC does not name the compiler")
def test_a_wheel_without_the_extension_is_for_every_platform(tmp_path):
    """Its tag says what is in it: an abi3 wheel of one platform that holds nothing compiled would promise kernels."""
    pytest.importorskip("setuptools.command.bdist_wheel")
    source = Path(__file__).parents[1]
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(source / name, tmp_path)
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    for name in ("tinyae", "csrc"):
        shutil.copytree(source / name, tmp_path / name, ignore=ignored)
    subprocess.run([sys.executable, "setup.py", "-q", "bdist_wheel", "-d", "out"], cwd=tmp_path, check=True,
                   capture_output=True, env={**os.environ, "CC": "false", "PYTHONPATH": ""})  # fmt: skip
    (wheel,) = (tmp_path / "out").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
