"""``python -m bench`` lists the benchmarks; ``python -m bench NAME [options]`` runs one."""

import argparse
import importlib
import os
import pkgutil
import signal
import sys

import bench
from bench import Failed, Refused


def benchmarks():
    """{name: module} of every file here that has a ``run``."""
    names = [module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_")]
    modules = {name: importlib.import_module(f"bench.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "run")}


def main(arguments):
    """Returns the exit code: 0, 1 failed, 2 refused or misused, 130 interrupted."""
    known = benchmarks()
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m bench NAME [options]      (NAME --help shows its options)\n")
        for name, module in known.items():
            print(f"  {name:10}{module.__doc__.splitlines()[0]}")
        return 0
    name = arguments[0]
    if name not in known:
        print(f"bench: there is no benchmark {name!r}. There are: {', '.join(known)}.", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=known[name].__doc__.splitlines()[0])
    known[name].options(parser)
    options = parser.parse_args(arguments[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # gigabytes of a temporary folder must not stay behind
    try:
        return known[name].run(options) or 0
    except (Refused, Failed) as problem:
        print(f"bench {name}: {problem}", file=sys.stderr)
        return 2 if isinstance(problem, Refused) else 1
    except BrokenPipeError:  # `python -m bench train | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"\nbench {name}: interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
