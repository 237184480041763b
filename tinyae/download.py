"""Fetch a dataset: what ``tinyae data get mnist`` does. The only module that speaks to the network.

    download("mnist")        # -> ~/.cache/tinyae/mnist, where load_data("mnist") finds it

What it must not know: what is inside the files; it knows them by size and sha256 (``data.SOURCES``). Ring 5, above
``data.py``, and nothing needs it for reading on.

Note [Whole or not at all]
    A file is written beside its target under another name and renamed when its checksum is right, so that a file of
    the right name is always whole: after Ctrl-C, a cut connection, a full disk, or two downloads at once.
"""

import os
import sys

from .data import SOURCES, cache_dir
from .errors import DownloadError, SettingError
from .files import writing

__all__ = ["download"]

CHUNK = 1 << 18
SLOWEST = 20_000  # bytes per second, on the average of a file: a mirror that trickles is given up, too


def download(name, folder=None, *, mirrors=None, progress=None, timeout=30.0):
    """Fetch the files of a dataset ("mnist" or "fashion-mnist") and return the folder that holds them.

    folder        where to; None is ``cache_dir()/name``. A file that is there with the right checksum is kept
    mirrors       base addresses to try in turn for each file; None is the well-known ones
    progress      called as progress(file, bytes so far, bytes in all); None draws a bar if stderr is a terminal
    timeout       seconds without an answer after which a mirror is given up; a file has as long and 1 s per 20 kB

    Errors: SettingError for a name that is not on the web; DownloadError if no mirror gives a file (each one's
    reason: not reachable, refused, cut, wrong checksum with both sums), or if the folder cannot be written.
    """
    source = SOURCES.get(name)
    if source is None:
        known = " or ".join(sorted(SOURCES))
        raise SettingError(
            f"download: {name!r} is not offered for download. Give {known}; digits and onehot are built in."
        )
    folder = os.path.join(cache_dir(), name) if folder is None else os.fspath(folder)
    mirrors = source.mirrors if mirrors is None else [mirrors] if isinstance(mirrors, str) else mirrors
    progress = progress or _Terminal()
    try:
        os.makedirs(folder, exist_ok=True)
        for file, (size, sha256) in source.files.items():
            target = os.path.join(folder, file)
            if _sha256(target) != sha256:
                _fetch(file, target, size, sha256, mirrors, progress, timeout)
    except DownloadError:
        raise
    except OSError as error:  # of the disk; those of the network end as _MirrorError
        raise DownloadError(
            f"download({name!r}): cannot write to {folder!r} ({error.strerror or error}). "
            "Make room there, or give another folder."
        ) from None
    finally:
        if isinstance(progress, _Terminal):
            progress.close()
    return folder


class _MirrorError(Exception):
    """One mirror failed; its text is the reason. The next one is tried."""


def _fetch(file, target, size, sha256, mirrors, progress, timeout):
    reasons = []
    for mirror in mirrors:
        try:
            return _fetch_from(f"{mirror.rstrip('/')}/{file}", target, size, sha256, progress, timeout)
        except _MirrorError as error:
            reasons.append(f"{mirror} {error}")
    raise DownloadError(
        f"download: {file} could not be fetched: {'; '.join(reasons)}. "
        f"Check the network, or fetch it by other means and put it into {os.path.dirname(target)!r}."
    )


def _fetch_from(url, target, size, sha256, progress, timeout):
    """Stream `url` into `target`. See Note [Whole or not at all]."""
    import hashlib

    digest, done = hashlib.sha256(), 0
    with writing(target) as out:
        progress(os.path.basename(target), 0, size)
        for chunk in _stream(url, size, timeout):
            out.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(os.path.basename(target), done, size)
        if digest.hexdigest() != sha256:
            raise _MirrorError(f"gave {done} bytes with sha256 {digest.hexdigest()} instead of {size} with {sha256}")


def _stream(url, size, timeout):
    """The bytes behind `url`, in chunks. Everything that goes wrong on the way is a _MirrorError."""
    import http.client
    import time
    import urllib.error
    import urllib.request

    done, limit = 0, timeout + size / SLOWEST
    end = time.monotonic() + limit
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "tinyae"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            promised = response.headers.get("Content-Length")
            while chunk := response.read1(CHUNK):  # what is there: read would wait for the whole of a trickle
                done += len(chunk)
                if done > size:
                    raise _MirrorError(f"sends more than the {size} bytes that the file has")
                if time.monotonic() > end:
                    raise _MirrorError(f"sent only {done} of {size} bytes in {limit:.3g} s")
                yield chunk
        # Up to Python 3.11, read(n) ends at a cut connection as if all were there.
        if promised is not None and done != int(promised):
            raise _MirrorError(f"broke off after {done} of {promised} bytes")
    except urllib.error.HTTPError as error:
        error.close()  # it is also the response, with an open socket
        raise _MirrorError(f"answered {error.code} {error.reason}") from None
    except http.client.IncompleteRead as error:
        raise _MirrorError(f"broke off after {done + len(error.partial)} of {size} bytes") from None
    except urllib.error.URLError as error:
        raise _MirrorError(f"cannot be reached ({error.reason})") from None
    except TimeoutError:
        raise _MirrorError(f"said nothing for {timeout:g} s after {done} bytes") from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise _MirrorError(f"broke off after {done} bytes ({error or type(error).__name__})") from None


def _sha256(path):
    """The checksum of a file, None without one."""
    import hashlib

    if not os.path.isfile(path):
        return None
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class _Terminal:
    """Progress on stderr: tqdm's bar where it is installed, else a percentage; nothing if stderr is not a terminal."""

    def __init__(self):
        self.quiet = not (sys.stderr and sys.stderr.isatty())
        self.bar = self.tqdm = None
        self.inside = False  # a line, without tqdm
        if not self.quiet:
            try:
                import tqdm

                self.tqdm = tqdm.tqdm
            except ImportError:
                pass

    def __call__(self, file, done, total):
        if self.quiet:
            return
        if self.tqdm is None:
            print(
                f"\r{file} {100 * done // total:3d} %", end="\n" if done == total else "", file=sys.stderr, flush=True
            )
            self.inside = done < total
            return
        if done == 0:
            self.close()  # the bar of a mirror that failed
            self.bar = self.tqdm(desc=file, total=total, unit="B", unit_scale=True)
        self.bar.update(done - self.bar.n)
        if done == total:
            self.close()

    def close(self):
        """End the line of a download that did not: what is said next begins a new one."""
        if self.bar is not None:
            self.bar.close()
        elif self.inside:
            print(file=sys.stderr)
        self.bar, self.inside = None, False
