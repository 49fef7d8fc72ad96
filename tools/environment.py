"""Python environments in the user's cache, each made to its end by one process, with uv.

`$XDG_CACHE_HOME/imprint/<key>/`, where the key hashes everything that decides what gets installed:
two checkouts with the same pins share a folder, and new pins make a new one. Linux and macOS.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMFY_CLI = ROOT / "tools" / "comfy_cli.txt"
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input"]
STOPPED = (
    "Packages could not be installed: check the network (and UV_DEFAULT_INDEX, where a mirror is "
    "needed), then run this again; it goes on where it stopped."
)


def cache_folder() -> Path:
    pyproject = (ROOT / "pyproject.toml").read_text()  # Python 3.10 reads no TOML
    tools = pyproject.partition("[dependency-groups]")[2].partition("\n]")[0]
    return keyed_folder((ROOT / "tools").glob("*.txt"), tools)


def keyed_folder(pins: Iterable[Path], more: str = "") -> Path:
    """The folder of whatever is installed by the files `pins` and by `more`."""
    key = hashlib.sha256(f"{sys.version_info[:2]} {sysconfig.get_platform()}".encode())
    for path in sorted(pins):
        key.update(path.read_bytes())
    key.update(more.encode())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).resolve() / "imprint" / key.hexdigest()[:12]


def make_once(folder: Path, install: Callable[[Path], None], made: str = "bin/python") -> Path:
    """The file `made` in `folder`, after `install` unless that has ended before."""
    product, ready = folder / made, folder.with_suffix(".ready")
    # A Python is a link, which dangles once the Python it was made from is gone.
    if not (ready.exists() and product.exists()):
        with _locked(folder.with_suffix(".lock")):
            if not (ready.exists() and product.exists()):
                install(folder)
                ready.touch()
    return product


def comfy_cli() -> Path:
    """A Python with comfy-cli and, among what that needs, uv and pip."""
    return make_once(cache_folder() / "cli", _install_comfy_cli)


def uv(*arguments: str | Path) -> None:
    """Runs uv, which keeps what a stopped set-up had downloaded whole."""
    folder = cache_folder()
    run([folder / "cli" / "bin" / "uv", "--cache-dir", folder.with_name("uv"), *arguments])


def run(command: list[str | Path], failure: str = STOPPED) -> None:
    # Standard output is what a shell evaluates. Children inherit the lock, so that a killed
    # set-up's uv keeps others out.
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, close_fds=False).returncode:
        raise RuntimeError(failure)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Says what is being done, and afterwards how long it took."""
    say(f"{text} ...")
    started = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work; waiting for it to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install_comfy_cli(folder: Path) -> None:
    with step("Installing uv, and comfy-cli to read workflow files (80 MB)"):
        failure = "Python could not make an environment; does it have its venv module?"
        run([sys.executable, "-m", "venv", "--clear", folder], failure)
        python = folder / "bin" / "python"
        run([python, *PIP, "install", "--quiet", "--constraint", COMFY_CLI, "uv"])
        options = ["--quiet", "--no-deps", "--requirement", COMFY_CLI]
        uv("pip", "install", "--python", python, *options)
