"""tinyae/download.py against a local HTTP server: what arrives is whole, or nothing arrives and the reason is said."""

import contextlib
import hashlib
import http.server
import importlib
import io
import os
import re
import sys
import threading
import types

import pytest

from tinyae import data
from tinyae.errors import DownloadError, SettingError

# By its full name: tinyae.download may also be the function.
download_module = importlib.import_module("tinyae.download")
FILES = {"train-images.gz": b"images" * 100_000, "labels.gz": b"labels"}


def download(name="small", *args, **kwargs):
    return download_module.download(name, *args, **kwargs)


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A dataset of two small files, a cache of its own, no proxy between the test and its server."""
    files = {name: (len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in FILES.items()}
    source = data.Source(files, ("http://127.0.0.1:9/",), (), "MIT", "nobody")
    monkeypatch.setitem(data.SOURCES, "small", source)
    monkeypatch.setattr(download_module, "cache_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers by the first part of the path: /good, /wrong, /cut, /chunked, /long, /short, /stall,
    /trickle; else 404.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        _, how, name = self.path.split("/")
        raw = FILES[name]
        if how not in ("good", "wrong", "cut", "chunked", "long", "short", "stall", "trickle"):
            self.send_error(404)
            return
        self.close_connection = True
        self.send_response(200)
        if how == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b" % (len(raw), raw[: len(raw) // 2]))
            return
        body = {"wrong": raw[:-1] + b"?", "long": raw + b"?", "short": raw[:-1]}.get(how, raw)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if how == "stall":
            self.server.release.wait(10)
            return
        if how == "trickle":
            with contextlib.suppress(OSError):  # of a client that has gone
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    if self.server.release.wait(0.05):
                        return
            return
        self.wfile.write(body[: len(body) // 2] if how == "cut" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        server.asked, server.release = [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


def listing(folder):
    return sorted(os.listdir(folder))


def failure(*args, **kwargs):
    with pytest.raises(DownloadError) as caught:
        download(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("download") and message.endswith(".")
    return message


def test_download(server, tmp_path):
    folder = download(mirrors=[server.url + "good/"])
    assert folder == str(tmp_path / "cache" / "small")
    assert listing(folder) == sorted(FILES)
    for name, raw in FILES.items():
        with open(os.path.join(folder, name), "rb") as file:
            assert file.read() == raw
            if os.name == "posix":  # not private, as a temporary file would be
                umask = os.umask(0)
                os.umask(umask)
                assert os.fstat(file.fileno()).st_mode & 0o777 == 0o666 & ~umask
    assert server.asked == [f"/good/{name}" for name in FILES]


def test_a_given_folder_and_one_mirror_as_text(server, tmp_path):
    assert download("small", tmp_path / "a" / "b", mirrors=server.url + "good") == str(tmp_path / "a" / "b")
    assert listing(tmp_path / "a" / "b") == sorted(FILES)


def test_what_is_there_is_kept(server, tmp_path):
    download(mirrors=[server.url + "good"])
    server.asked.clear()
    download(mirrors=[server.url + "good"])
    assert server.asked == []


def test_what_is_corrupt_is_fetched_again(server, tmp_path):
    folder = download(mirrors=[server.url + "good"])
    target = os.path.join(folder, "labels.gz")
    with open(target, "wb") as file:
        file.write(b"lxbels")
    server.asked.clear()
    download(mirrors=[server.url + "good"])
    assert server.asked == ["/good/labels.gz"]
    with open(target, "rb") as file:
        assert file.read() == b"labels"


def test_next_mirror(server):
    mirrors = [server.url + how for how in ("missing", "wrong", "cut", "good")]
    assert listing(download(mirrors=mirrors)) == sorted(FILES)
    assert [path.split("/")[1] for path in server.asked] == ["missing", "wrong", "cut", "good"] * 2


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "answered 404 Not Found"),
        ("cut", "broke off after 300000 of 600000 bytes"),
        ("chunked", r"broke off after \d+ of 600000 bytes"),
        ("long", "sends more than the 600000 bytes"),
    ],
)
def test_broken_mirror(server, tmp_path, how, reason):
    message = failure(mirrors=[server.url + how])
    folder = str(tmp_path / "cache" / "small")
    assert re.search(f"train-images.gz could not be fetched: {server.url}{how} {reason}", message)
    assert f"put it into {folder!r}" in message
    assert listing(folder) == []


@pytest.mark.parametrize(("how", "body"), [("wrong", lambda raw: raw[:-1] + b"?"), ("short", lambda raw: raw[:-1])])
def test_wrong_checksum(server, tmp_path, how, body):
    message = failure(mirrors=[server.url + how])
    right = FILES["train-images.gz"]
    wrong = body(right)
    for raw in (right, wrong):
        assert hashlib.sha256(raw).hexdigest() in message
    assert f"gave {len(wrong)} bytes" in message
    assert listing(tmp_path / "cache" / "small") == []


def test_corrupt_file_outlives_a_failure_and_is_not_taken_for_good(server, tmp_path):
    """Nothing is deleted before its replacement is whole."""
    folder = tmp_path / "cache" / "small"
    folder.mkdir(parents=True)
    (folder / "train-images.gz").write_bytes(b"old")
    failure(mirrors=[server.url + "cut"])
    assert listing(folder) == ["train-images.gz"] and (folder / "train-images.gz").read_bytes() == b"old"


def test_no_network(tmp_path):
    message = failure()  # the mirror of `small` is a port on which nobody listens
    assert "http://127.0.0.1:9/ cannot be reached (" in message
    assert "Check the network, or fetch it by other means and put it into" in message
    assert listing(tmp_path / "cache" / "small") == []
    assert "cannot be reached" in failure(mirrors=["http://nowhere.invalid/"])
    assert "broke off" in failure(mirrors=["no address"])


def test_silent_mirror(server):
    assert "said nothing for 0.1 s after 0 bytes" in failure(mirrors=[server.url + "stall"], timeout=0.1)


def test_trickling_mirror(server, tmp_path, monkeypatch):
    """Never silent for long, and never done: given up by the time that the whole file may take."""
    monkeypatch.setattr("tinyae.download.SLOWEST", 10**9)
    assert "sent only" in failure(mirrors=[server.url + "trickle"], timeout=0.3)
    assert listing(tmp_path / "cache" / "small") == []


def test_ctrl_c_leaves_nothing(server, tmp_path):
    def interrupt(file, done, total):
        if done:
            assert len(listing(tmp_path / "cache" / "small")) == 1  # the part is there while it grows
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(mirrors=[server.url + "good"], progress=interrupt)
    assert listing(tmp_path / "cache" / "small") == []


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "cannot write to" in failure("small", tmp_path / "file" / "below", mirrors=[server.url + "good"])
    (tmp_path / "a" / "train-images.gz").mkdir(parents=True)  # a folder where the file belongs
    assert "cannot write to" in failure("small", tmp_path / "a", mirrors=[server.url + "good"])
    assert listing(tmp_path / "a") == ["train-images.gz"]


def test_full_disk(server, tmp_path, monkeypatch):
    """An error of the disk is not blamed on the mirror, nor is the next one tried."""

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "(No space left on device)" in failure(mirrors=[server.url + "good", server.url + "good"])
    assert len(server.asked) == 1 and listing(tmp_path / "cache" / "small") == []


def test_names_that_are_not_offered():
    for name in ("digits", "onehot", "cifar", ""):
        with pytest.raises(SettingError, match="fashion-mnist or mnist"):
            download(name)


def test_well_known_mirrors():
    for name in ("mnist", "fashion-mnist"):
        source = data.SOURCES[name]
        assert len(source.mirrors) == 2
        assert all(url.startswith("https://") and url.endswith("/") for url in source.mirrors)
        assert len(source.files) == 4
        assert all(size > 0 and len(bytes.fromhex(sha256)) == 32 for size, sha256 in source.files.values())


# ------------------------------------------------------------------------------------------------ progress


def test_progress(server):
    calls = []
    download(mirrors=[server.url + "good"], progress=lambda *call: calls.append(call))
    assert calls[0] == ("train-images.gz", 0, 600_000) and calls[-1] == ("labels.gz", 6, 6)
    done = [done for file, done, _ in calls if file == "train-images.gz"]
    assert done == sorted(done) and done[-1] == 600_000 and len(done) > 2


def test_silent_without_a_terminal(server, capsys):
    download(mirrors=[server.url + "good"])
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_percentage_without_tqdm(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    download(mirrors=[server.url + "good"])
    text = sys.stderr.getvalue()
    assert text.startswith("\rtrain-images.gz   0 %") and text.endswith("\rlabels.gz 100 %\n") and text.count("\n") == 2


def test_bar_with_tqdm(server, monkeypatch):
    bars = []

    class tqdm:
        def __init__(self, desc, total, **_):
            self.desc, self.total, self.n, self.closed = desc, total, 0, False
            bars.append(self)

        def update(self, n):
            self.n += n

        def close(self):
            self.closed = True

    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=tqdm))
    monkeypatch.setattr(sys, "stderr", Terminal())
    download(mirrors=[server.url + "cut", server.url + "good"])
    assert [(bar.desc, bar.n) for bar in bars] == [
        ("train-images.gz", 300_000),
        ("train-images.gz", 600_000),
        ("labels.gz", 3),
        ("labels.gz", 6),
    ]
    assert all(bar.closed for bar in bars)
