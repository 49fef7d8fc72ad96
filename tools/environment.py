"""One folder of the cache with a Python environment in it, made by one process at a time.

`$XDG_CACHE_HOME/imprint/<key>/`, where the key hashes everything that decides what gets installed:
two checkouts with the same pins share a folder, and new pins make a new one. Linux and macOS.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# What of pip's output is worth a line while it works: the big files, and an index that is silent.
PIP_NEWS = re.compile(r"Downloading .*\(\d{3,}[\d.]* [MG]B\)|Installing collected|Retrying")
PIP_UNREACHED = re.compile(r"No matching distribution|Retrying|Could not fetch|ConnectionError")


def cache_folder(*pins: Path) -> Path:
    """The folder for what the files `pins` list."""
    key = hashlib.sha256(f"{sys.version_info[:2]} {sysconfig.get_platform()}".encode())
    for pin in pins:
        key.update(pin.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).resolve() / "imprint" / key.hexdigest()[:12]


def python(folder: Path) -> Path:
    return folder / "venv" / "bin" / "python"


def make_once(folder: Path, install: Callable[[Path], None]) -> None:
    """Runs `install` unless it has run to its end before."""
    if not _is_ready(folder):
        with locked(folder):
            if not _is_ready(folder):
                install(folder)
                (folder / "ready").touch()


def _is_ready(folder: Path) -> bool:
    # The Python is a link, which dangles once the Python it was made from is gone.
    return (folder / "ready").exists() and python(folder).exists()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; children inherit it, so a killed set-up's pip keeps others out."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work; waiting for it to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_venv(folder: Path) -> None:
    """An environment with pip; what an earlier run installed into it is kept."""
    venv = folder / "venv"
    if (venv / "made").exists() and python(folder).exists():
        return
    shutil.rmtree(venv, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(venv)]
    _run(folder, command, "Python could not make an environment; does it have its venv module?")
    (venv / "made").touch()


def pip(folder: Path, command: str, *arguments: str) -> None:
    # INSTALLER is the last file that pip writes of a package. Without it the package was being
    # unpacked when a run was killed, and pip would take it for installed.
    for info in (folder / "venv" / "lib").glob("python*/site-packages/*.dist-info"):
        if not (info / "INSTALLER").exists():
            shutil.rmtree(info)
    options = ["--no-input", "--disable-pip-version-check", command, "--progress-bar", "off"]
    _run(folder, [str(python(folder)), "-m", "pip", *options, *arguments], f"pip {command} failed.")


def _run(folder: Path, command: list[str], failure: str) -> None:
    """Runs a command with its output in set_up.log; an error carries the last lines of it."""
    tail: deque[str] = deque(maxlen=8)
    with (folder / "set_up.log").open("a") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            close_fds=False,  # the lock
        )
        for line in process.stdout:
            log.write(line)
            tail.append(f"    {line.rstrip()[:200]}")
            if PIP_NEWS.search(line):
                say(f"    {line.strip()[:90]}")
    if process.wait() == 0:
        return
    text = "\n".join(tail)
    if PIP_UNREACHED.search(text):
        failure = (
            "The package index cannot be reached or lacks a pinned version: check the network and "
            "pip's settings, then run this again; it goes on where it stopped."
        )
    raise RuntimeError(f"{failure} The end of {folder / 'set_up.log'}:\n{text}")


@contextmanager
def step(text: str) -> Iterator[None]:
    """Says what is being done, and afterwards how long it took."""
    say(f"  {text} ...")
    started = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
