"""The child's side: one peer at work in its own process, told what to do by lines of JSON on stdin.

    {"task": "bench.train", "peer": "bench.peers.numpy", "settings": {...}}     first: makes bench.train.Task(peer, ...)
    {"call": "turn", "arguments": [20]}                                         then: any method of it

and each is answered by a line: {"result": ...}, {"refused": a sentence} or {"unavailable": a sentence}. What tinyae
raises on purpose is a sentence too, such as of data that are not there. Any other error ends the worker.

Run as a file, not with ``-m``: so neither the current folder nor the repository is on the path, whose ``tinyae/`` lacks
the compiled module and would shadow the installed package. An editable install puts itself there, and is found.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def adopt_bench():
    """Make ``bench`` importable without its parent folder on the path, nor its own,
    where ``train`` would be a module.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    spec = importlib.util.spec_from_file_location("bench", HERE / "__init__.py")
    sys.modules["bench"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["bench"])


def start(task, peer, settings):
    """(the Task, what the peer says about itself)."""
    from bench import Refused

    try:
        peer = importlib.import_module(peer) if peer else None
    except ModuleNotFoundError as problem:
        name = problem.name.partition(".")[0]
        what = HERE.parent if name == "tinyae" else name
        raise Refused(f"{problem.name} is not installed for {sys.executable}. Run: pip install {what}") from None
    about = peer and peer.about()  # which may refuse, so before the work
    return importlib.import_module(task).Task(peer, **settings), about


def raised_on_purpose():
    """The class of tinyae's errors, if this worker has loaded it: where others are measured it is not imported."""
    errors = sys.modules.get("tinyae.errors")
    return (errors.TinyaeError,) if errors else ()


def main():
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a peer prints must not land among the answers
    adopt_bench()
    from bench import Refused, Unavailable

    worker = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if worker is None:
                worker, result = start(**request)
            else:
                result = getattr(worker, request["call"])(*request["arguments"])
            answer = {"result": result}
        except Unavailable as problem:
            answer = {"unavailable": str(problem)}
        except (Refused, *raised_on_purpose()) as problem:
            answer = {"refused": str(problem)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the parent is gone, and so is the work
        main()
