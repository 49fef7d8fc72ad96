"""What is said in one line under the node that runs, and in the log."""

import logging

from comfy_execution.utils import get_executing_context
from server import PromptServer

_logger = logging.getLogger(__name__)


def warn(text: str) -> None:
    """Says what the user should change."""
    _logger.warning("Imprint: %s", text)
    show(text)


def tell(text: str) -> None:
    """Says what happened."""
    _logger.info("Imprint: %s", text)
    show(text)


def show(text: str) -> None:
    """Shows a line under the node, without the log."""
    context = get_executing_context()
    if context is not None and getattr(PromptServer, "instance", None) is not None:
        PromptServer.instance.send_progress_text(text, context.node_id)
