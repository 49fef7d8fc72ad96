"""A client of a running ComfyUI server: prompts in API format in, history and pictures out."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

# Without a proxy: the server is on this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Server:
    """A running ComfyUI: `url`, the folders `input` and `output`, the file `log`."""

    def __init__(self, url: str, base: Path, process: subprocess.Popen):
        self.url, self.process = url, process
        self.input, self.output, self.log = base / "input", base / "output", base / "server.log"

    def get(self, path: str):
        """The JSON answer of GET."""
        return json.loads(self._request(path) or "null")

    def post(self, path: str, payload: object = None):
        """The JSON answer of POST; the server's refusal is a RuntimeError."""
        data = json.dumps({} if payload is None else payload).encode()
        return json.loads(self._request(path, data) or "null")

    def submit(self, prompt: dict) -> str:
        """Queues a prompt in API format; returns its id."""
        return self.post("/prompt", {"prompt": prompt})["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = 600) -> dict:
        """The prompt's entry in the history, once it has succeeded, failed or been interrupted."""
        deadline = time.monotonic() + seconds
        while not (entry := self.get(f"/history/{prompt_id}").get(prompt_id)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"The prompt did not end within {seconds:.0f} s.{self.tail()}")
            time.sleep(0.05)
        return entry

    def run(self, prompt: dict) -> dict:
        """Outputs by node id of a prompt in API format; a node's error is a RuntimeError."""
        entry = self.wait(self.submit(prompt))
        if entry["status"]["status_str"] != "success":
            raise RuntimeError(_failure(entry["status"]["messages"]))
        return entry["outputs"]

    def image(self, item: dict) -> bytes:
        """The file behind one item of an output's `images`."""
        return self._request(f"/view?{urllib.parse.urlencode(item)}")

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f" The end of {self.log}:", *lines])

    def _request(self, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        try:
            with OPENER.open(request, timeout=60) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(_refusal(path, error.code, error.read())) from None
        except OSError as error:
            if self.process.poll() is None:
                raise
            raise RuntimeError(f"The server has ended.{self.tail()}") from error


def _failure(messages: list) -> str:
    """One line about what ended a prompt early."""
    kind, details = next(
        (kind, details)
        for kind, details in messages
        if kind in ("execution_error", "execution_interrupted")
    )
    node = f"node {details['node_id']} ({details['node_type']})"
    if kind == "execution_interrupted":
        return f"Interrupted at {node}."
    return (
        f"{details['exception_type']} in {node}: {' '.join(details['exception_message'].split())}"
    )


def _refusal(path: str, code: int, body: bytes) -> str:
    """One line about a request that the server refused, with the nodes that it objects to."""
    try:
        answer = json.loads(body)
        error = answer["error"]
        kind = error["extra_info"].get("class_type")
        texts = [error["message"] + (f" ({kind})" if kind else "")]
        for node, problem in (answer.get("node_errors") or {}).items():
            for error in problem["errors"]:
                texts.append(
                    f"node {node} ({problem['class_type']}): {error['message']}: {error['details']}"
                )
    except (ValueError, KeyError, TypeError):
        texts = [body.decode(errors="replace")[:300]]
    return f"The server refused {path} with {code}: {' '.join('; '.join(texts).split())}"
