"""What a help page quotes and claims, read off its text, and what the source says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ANYTHING = "…"
SAYING = {"tell", "warn", "show", "ExecutionBlocker"}


def tables(page: str) -> Iterator[list[dict[str, str]]]:
    """Each table as rows by the heads of its columns."""
    for block in re.findall(r"(?:^\|.*\n)+", page + "\n", re.MULTILINE):
        lines = [line.removeprefix("|").removesuffix("|").split("|") for line in block.splitlines()]
        head, _, *rows = [[cell.strip() for cell in line] for line in lines]
        yield [dict(zip(head, row, strict=True)) for row in rows]


def quotations(page: str) -> list[str]:
    """What stands in double quotes in the tables of what can go wrong."""
    seen = [row["What you see"] for table in tables(page) for row in table if "What you see" in row]
    return [quotation for cell in seen for quotation in re.findall(r'"([^"]+)"', cell)]


def defaults(page: str) -> dict[tuple[str, str], str]:
    """Defaults by input and, for the settings of a menu, by the choice that has them ("" else).

    A row may explain several inputs or choices, with one default for all or one for each.
    """
    found = {}
    for row in [row for table in tables(page) for row in table if "Default" in row]:
        names = row["Name"].split(" (")[0].split(", ")
        choices = (row.get("Operation") or row.get("Method") or "").split(", ")
        keys = [(name, choice) for name in names for choice in choices]
        values = row["Default"].split(", ")
        values = values * len(keys) if len(values) == 1 else values
        found |= dict(zip(keys, values, strict=True))
    return found


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
