"""What pyproject.toml cannot say: the C extension, one wheel for all CPythons, and what the sdist must carry."""

import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.sdist import sdist


class SdistWithSources(sdist):
    """setuptools packs the .c files; the headers, templates, tests and benchmarks beside them count as well."""

    def add_defaults(self):
        super().add_defaults()
        here = Path(__file__).resolve().parent
        for folder in ("csrc", "tests", "bench"):
            for path in sorted((here / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    self.filelist.append(path.relative_to(here).as_posix())


class WheelOfWhatIsThere(bdist_wheel):
    """Without a compiler the extension is left out, and the wheel is NumPy alone: it serves every platform."""

    def get_tag(self):
        if any(path.suffix in (".so", ".pyd") for path in Path(self.bdist_dir).rglob("*")):
            return super().get_tag()
        self.root_is_pure = True
        return "py3", "none", "any"


limited = not sysconfig.get_config_var("Py_GIL_DISABLED")  # free-threaded builds have no limited API yet

setup(
    cffi_modules=["csrc/build_ffi.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if limited else {},
    cmdclass={"bdist_wheel": WheelOfWhatIsThere, "sdist": SdistWithSources},
)
