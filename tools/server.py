"""Runs workflows on a real ComfyUI server with this checkout linked in.

    python3 -m tools.server example_workflows/a.json   runs files, prints what they saved
    python3 -m tools.server                            starts a server and waits for Ctrl-C

Both keep input, output and log in out/server.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .client import Server
from .environment import ROOT, comfy_cli
from .host import Host, has_gpu, set_up

START_LIMIT, STOP_LIMIT = 180, 10  # seconds
TO_PROMPT = """
import json, sys
from comfy_cli.workflow_to_api import convert_ui_to_api
workflow, object_info = json.load(sys.stdin)
json.dump(convert_ui_to_api(workflow, object_info), sys.stdout)
"""


@contextmanager
def serve(
    host: Host, *, base: Path | None = None, arguments: Sequence[str] = ()
) -> Iterator[Server]:
    """A server on a free loopback port, with this checkout as its only custom nodes.

    `base` holds its input, output and log; without one, a temporary folder that is deleted.
    """
    if base is None:
        with (
            tempfile.TemporaryDirectory(prefix="imprint-") as folder,
            serve(host, base=Path(folder), arguments=arguments) as server,
        ):
            yield server
        return
    base = base.resolve()
    for name in ("input", "output", "custom_nodes"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link = base / "custom_nodes" / ROOT.name
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT, target_is_directory=True)
    port = _free_port()
    with _terminable(), (base / "server.log").open("w") as log:
        process = subprocess.Popen(
            [host.python, "main.py", *_arguments(host, base, port), *arguments],
            cwd=host.comfyui,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes here alone, and the server ends in good order
        )
        try:
            server = Server(f"http://127.0.0.1:{port}", base, process)
            _wait_until_ready(server)
            yield server
        finally:
            _stop(process)


def run_workflow(server: Server, path: Path) -> dict:
    """Outputs by node id of a workflow file, in API format or as the browser saves it."""
    workflow = json.loads(path.read_text())
    return server.run(to_prompt(server, workflow) if "nodes" in workflow else workflow)


def to_prompt(server: Server, workflow: dict) -> dict:
    """A workflow as the browser saves it, in API format, by the server's table of nodes."""
    converted = subprocess.run(
        [comfy_cli(), "-c", TO_PROMPT],
        input=json.dumps([workflow, server.get("/object_info")]),
        capture_output=True,
        text=True,
        env=_environment() | {"DO_NOT_TRACK": "1"},
    )
    # The converter logs a node that it cannot convert and leaves it out.
    if converted.returncode or converted.stderr:
        raise RuntimeError(f"comfy-cli could not convert the workflow: {converted.stderr.strip()}")
    return json.loads(converted.stdout)


def _environment() -> dict[str, str]:
    cores = os.cpu_count() or 1
    # Default threads of two processes on two cores make torch 20 to 60 times slower.
    threads = {"OMP_NUM_THREADS": str(max(1, cores // 2))}
    # A search path from outside could hide the host's modules. Bytecode is kept: torch is big.
    return threads | {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    }


def _arguments(host: Host, base: Path, port: int) -> list[str]:
    arguments = ["--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)]
    arguments += [
        "--database-url",
        "sqlite:///:memory:",
        "--disable-auto-launch",
        "--disable-api-nodes",
    ]
    return arguments if has_gpu(host) else [*arguments, "--cpu"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"The server ended while it started.{server.tail()}")
        try:
            server.get("/system_stats")
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"The server was not up within {START_LIMIT} s.{server.tail()}")


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _terminable() -> Iterator[None]:
    """A SIGTERM unwinds like Ctrl-C, so that it leaves no server behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit("Terminated."))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Runs workflow files on a real ComfyUI; without one, serves until Ctrl-C."
    )
    parser.add_argument("workflow", nargs="*", type=Path)
    workflows = parser.parse_args().workflow
    try:
        with serve(set_up(), base=ROOT / "out" / "server") as server:
            if not workflows:
                print(f"ComfyUI with this checkout is at {server.url}. Ctrl-C ends it.", flush=True)
                server.process.wait()
            for path in workflows:
                outputs = run_workflow(server, path)
                print(path, flush=True)
                for item in (item for out in outputs.values() for item in out.get("images", [])):
                    print(f"  {item['type']}/{Path(item['subfolder'], item['filename'])}")
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
