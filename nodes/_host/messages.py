"""What is said in one line under the node that runs, in the log and, of warnings, in a toast."""

import logging

from comfy_execution.utils import get_executing_context
from server import PromptServer

_logger = logging.getLogger(__name__)


def warn(text: str) -> None:
    """Says what the user should change; `js/messages.js` shows it as a toast."""
    _logger.warning("Imprint: %s", text)
    show(text)
    context = get_executing_context()
    if context is not None and getattr(PromptServer, "instance", None) is not None:
        said = {"node": context.node_id, "text": text}
        PromptServer.instance.send_sync("imprint.warning", said, PromptServer.instance.client_id)


def tell(text: str) -> None:
    """Says what happened."""
    _logger.info("Imprint: %s", text)
    show(text)


def show(text: str) -> None:
    """Shows a line under the node, without the log."""
    context = get_executing_context()
    if context is not None and getattr(PromptServer, "instance", None) is not None:
        PromptServer.instance.send_progress_text(text, context.node_id)
