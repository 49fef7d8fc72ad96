"""What a help page quotes and claims, read off its text, and what the source says."""

import ast
import re
from pathlib import Path

ANYTHING = "…"
NO_DEFAULT = "\N{EN DASH}"
# A list item that explains names: - `name` (default, other notes), `other_name`: what it does
_NAME = r"`[^`]+`(?: \([^)]*\))?"
_COLON = "[:\N{FULLWIDTH COLON}]"
TERMS = re.compile(rf"^- ({_NAME}(?:, {_NAME})*){_COLON}", re.MULTILINE)
TERM = re.compile(r"`([^`]+)`(?: \(([^)]*)\))?")
SAYING = {"tell", "warn", "show", "ExecutionBlocker"}


def explained(page: str) -> list[dict[tuple[str, str], str]]:
    """Sections that explain names, in whatever language: inputs first, outputs second.

    A name, and the choice of a menu that has it ("" else), leads to its default or `NO_DEFAULT`.
    Raises ValueError where a section explains one twice.
    """
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    return [found for section in sections if (found := _explained(section))]


def _explained(section: str) -> dict[tuple[str, str], str]:
    found = {}
    first, *others = re.split(r"^### (.*)\n", section, flags=re.MULTILINE)
    for choice, text in [("", first), *zip(others[::2], others[1::2], strict=True)]:
        for line in TERMS.findall(text):
            for name, notes in TERM.findall(line):
                if (name, choice) in found:
                    raise ValueError(f"{name} is explained twice")
                found[name, choice] = notes.split(", ")[0] or NO_DEFAULT
    return found


def quotations(page: str) -> list[str]:
    """The messages that list items begin with, in double quotes."""
    items = re.findall(r'^- ((?:"[^"]+"(?:, )?)+)', page, re.MULTILINE)
    return [quotation for item in items for quotation in re.findall(r'"([^"]+)"', item)]


def texts(source: str) -> list[str]:
    """All texts of a module but docstrings, with what is filled in as `ANYTHING`."""
    nodes = [*ast.walk(ast.parse(source))]
    skipped = {node.value for node in nodes if isinstance(node, ast.Expr)}
    skipped |= {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    return [text for node in nodes if node not in skipped and (text := _text(node))]


def messages(source: str) -> list[str]:
    """The texts among them that a user is told: errors, and lines under a node."""
    found = []
    for node in ast.walk(ast.parse(source)):
        call = node.exc if isinstance(node, ast.Raise) else node
        said = (
            isinstance(node, ast.Raise) or getattr(getattr(node, "func", None), "id", "") in SAYING
        )
        if said and isinstance(call, ast.Call) and call.args:
            found.append(_text(call.args[0]))
    return [text for text in found if text]


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or ANYTHING for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def quotes(quotation: str, message: str) -> bool:
    """Whether a message can read so: the parts between `ANYTHING` stand in it in this order."""
    parts = [re.escape(part.strip()) for part in quotation.split(ANYTHING)]
    return re.search(".*".join(parts), message, re.DOTALL) is not None


def sources(root: Path) -> list[str]:
    """The modules whose words reach a user."""
    rooms = "inversion", "nodes", "demo"
    return [path.read_text("utf-8") for room in rooms for path in (root / room).rglob("*.py")]
