"""What is said in one line under the node that runs, in the log and, of warnings, in a toast."""

import logging
from collections.abc import Callable

from comfy_execution.utils import get_executing_context
from server import PromptServer

_logger = logging.getLogger(__name__)


def warn(text: str) -> None:
    """Says what the user should change; `js/messages.js` shows it as a toast."""
    _logger.warning("Imprint: %s", text)
    show(text)

    def toast(server: PromptServer, node: str) -> None:
        said = {"node": node, "text": text}
        server.send_sync("imprint.warning", said, server.client_id)

    _to_browser(toast)


def tell(text: str) -> None:
    """Says what happened."""
    _logger.info("Imprint: %s", text)
    show(text)


def show(text: str) -> None:
    """Shows a line under the node, without the log."""
    _to_browser(lambda server, node: server.send_progress_text(text, node))


def _to_browser(send: Callable[[PromptServer, str], None]) -> None:
    """Calls `send` with the server and the node that runs, where there are both."""
    context, server = get_executing_context(), getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        send(server, context.node_id)
