"""What `import` costs: time, memory, disk.

Each import runs in a fresh process, NumPy's first, so that the library's own share can be told from NumPy's.
"""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from bench import Failed, runner

LIBRARIES = ("numpy", "tinyae", "torch", "jax")
DEFLATED = 50  # MB; larger ones would take a minute to compress

SCRIPT = """
import time
a = time.perf_counter()
import numpy
b = time.perf_counter()
import {name}
c = time.perf_counter()
import json
try:
    status = open("/proc/self/status").read()
    rss = int(status.partition("VmRSS:")[2].split()[0]) / 1024
except OSError:
    rss = None
print(json.dumps([(b - a) * 1e6, (c - b) * 1e6, rss]))
"""


def options(parser):
    """The command line."""
    present = {name: distribution(name) is not None for name in LIBRARIES}
    parser.add_argument("--libraries", type=runner.installed(present), default=[n for n in present if present[n]],
                        metavar="L,L", help=f"of {', '.join(LIBRARIES)}; default: those installed")  # fmt: skip
    parser.add_argument("--json", type=runner.writable, metavar="FILE", help="write machine, versions and rows to FILE")
    parser.add_argument("--quick", action="store_true", help="two imports of each: shows that it works")


def run(options):
    """Measure and print; returns None, or raises Failed."""
    header, samples = {"benchmark": "import", **runner.machine(options)}, {name: [] for name in options.libraries}
    for number in range(2 if options.quick else 11):
        for name in samples:
            runner.progress(f"import {name}: {number + 1}")
            samples[name].append(_import(name))
    runner.progress("")
    rows = []
    for name, values in samples.items():
        own = [value[name != "numpy"] for value in values]
        q1, median, q3 = np.percentile(own, (25, 50, 75))
        resident = None if values[0][2] is None else float(np.median([value[2] for value in values]))
        disk, wheel = _on_disk(name)
        rows.append({"case": "import", "batch": None, "peer": name, "threads": None, "median_us": median, "q1_us": q1,
                     "q3_us": q3, "rss_mb": resident, "disk_mb": disk, "deflated_kb": wheel})  # fmt: skip
    _show(header, rows)
    if options.json:
        runner.write_json(options.json, header, rows)


def _import(name):
    """[microseconds of NumPy, of the library after it, MB resident] in a fresh process."""
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    entries = [entry for entry in entries if Path(entry).resolve() != runner.ROOT]  # its tinyae/ is not the installed
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entries)}
    with tempfile.TemporaryDirectory() as folder:  # the current folder is where `python -c` looks first
        done = subprocess.run([sys.executable, "-c", SCRIPT.format(name=name)], cwd=folder, env=environment,
                              capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        raise Failed(f"import {name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def distribution(name):
    """The installed distribution, or None."""
    path = [entry for entry in sys.path if Path(entry or ".").resolve() != runner.ROOT]
    return next(iter(importlib.metadata.distributions(name=name, path=path)), None)


def _on_disk(name):
    """(MB of the library and all it needs beyond NumPy, kB of its own files deflated as a wheel does, or None)."""
    numpys = set() if name == "numpy" else _needs("numpy", set())
    total = sum(file.stat().st_size for one in _needs(name, set()) - numpys for file in _files(one))
    own = [file for file in _files(name) if file.suffix != ".pyc"]
    if sum(file.stat().st_size for file in own) > DEFLATED * 2**20:
        return total / 2**20, None
    return total / 2**20, sum(len(zlib.compress(file.read_bytes())) for file in own) / 1024


def _needs(name, found):
    """The library and, by their names, all distributions that it requires, but for extras."""
    if distribution(name) and name not in found:
        found.add(name)
        for requirement in distribution(name).requires or ():
            if "extra" not in requirement.partition(";")[2]:
                _needs(re.match(r"[\w.-]+", requirement).group().lower(), found)
    return found


def _files(name):
    files = distribution(name).files or ()
    return [place for place in (Path(file.locate()) for file in files) if place.is_file()]


def _show(header, rows):
    print("import: what it costs beyond NumPy, in fresh processes\n")
    print(f"machine       {header['cpu']}, {header['cores']} cores, {header['system']}")
    print(f"versions      python {header['python']}, numpy {header['numpy']}\n")
    base = next((row["rss_mb"] for row in rows if row["peer"] == "numpy"), None)
    cells = []
    for row in rows:
        resident = "-" if row["rss_mb"] is None else f"{row['rss_mb']:.0f}"
        beyond = "-" if None in (row["rss_mb"], base) or row["peer"] == "numpy" else f"{row['rss_mb'] - base:+.1f}"
        deflated = "-" if row["deflated_kb"] is None else f"{row['deflated_kb']:,.0f}"
        q1, median, q3 = (f"{row[name] / 1e3:.1f}" for name in ("q1_us", "median_us", "q3_us"))
        cells.append([row["peer"], median, f"{q1} - {q3}", resident, beyond, f"{row['disk_mb']:,.1f}", deflated])
    runner.print_table(["library", "median ms", "quartiles", "MB", "beyond NumPy", "MB on disk", "kB deflated"], cells)
    print("\nmedian       of the import after NumPy's; NumPy's own for numpy")
    print("MB           resident after the import, Python and NumPy included")
    print("MB on disk   installed files, with all it requires but NumPy")
    print(f"kB deflated  its own files compressed, about what its wheel weighs; left out above {DEFLATED} MB")
