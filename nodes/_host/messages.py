"""What is said in one line under the node that runs, in the log and, of warnings, in a toast."""

import logging
from collections.abc import Callable

from comfy_execution.utils import get_executing_context
from server import PromptServer

_logger = logging.getLogger(__name__)


class _Said:
    """What the node that runs has said so far."""

    def __init__(self, context: object = None):
        self.context, self.lines, self.warnings = context, list[str](), list[str]()


_said = _Said()


def warn(text: str) -> None:
    """Says what the user should change; `js/messages.js` shows it as a toast and a badge."""
    _logger.warning("Imprint: %s", text)
    _note(text).warnings.append(text)
    show(text)

    def toast(server: PromptServer, node: str) -> None:
        said = {"node": node, "text": text}
        server.send_sync("imprint.warning", said, server.client_id)

    _to_browser(toast)


def tell(text: str) -> None:
    """Says what happened."""
    _logger.info("Imprint: %s", text)
    _note(text)
    show(text)


def show(text: str) -> None:
    """Shows a line under the node, without the log."""
    _to_browser(lambda server, node: server.send_progress_text(text, node))


def said() -> dict[str, list[str]]:
    """All that the node that runs has told and warned, as its `ui`: the host keeps it with the
    outputs and sends it again where they come out of its cache. For nodes whose schema has an
    intermediate output.
    """
    global _said
    found, _said = _of_this_run(), _Said()
    return {"imprint_said": found.lines, "imprint_warnings": found.warnings}


def _note(text: str) -> _Said:
    global _said
    _said = _of_this_run()
    _said.lines.append(text)
    return _said


def _of_this_run() -> _Said:
    """What was said, but for the words of a node that ended in an error."""
    context = get_executing_context()
    return _said if _said.context == context else _Said(context)


def _to_browser(send: Callable[[PromptServer, str], None]) -> None:
    """Calls `send` with the server and the node that runs, where there are both."""
    context, server = get_executing_context(), getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        send(server, context.node_id)
