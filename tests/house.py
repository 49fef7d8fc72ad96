"""The house rules as functions on source text, so that tests can show that each can fail."""

import ast
from collections.abc import Iterator

LONGEST_MODULE, LONGEST_FUNCTION, LONGEST_EXECUTE, LONGEST_REPETITION = 250, 40, 15, 5

HOST = {
    "app",
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "latent_preview",
    "nodes",
    "node_helpers",
    "server",
}
# What a node may use of the host, which keeps it stable; everything else is for `nodes/_host`.
PUBLIC = "comfy_api", "comfy_execution.graph_utils", "folder_paths"
# What is for developers runs inside a host as it likes.
DEVELOPERS = "benchmarks/", "tests/", "tools/"
# The demo model is made of the host's own classes, and its training runs them.
DEMO = "demo/model.py", "demo/text.py", "demo/training/"


def long_modules(path: str, text: str) -> list[str]:
    count = len(text.splitlines())
    return [f"{path} has {count} lines"] if count > LONGEST_MODULE else []


def long_functions(path: str, text: str) -> list[str]:
    """From `def` to the last line; `execute` is the one method of a node that the host calls."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            limit = LONGEST_EXECUTE if node.name == "execute" else LONGEST_FUNCTION
            count = node.end_lineno - node.lineno + 1
            if count > limit:
                found.append(f"{path}:{node.lineno} {node.name} has {count} lines")
    return found


def repetitions(texts: dict[str, str]) -> list[str]:
    """Places at which a run of lines stands that stands at another place too; without blank lines,
    imports and indentation.
    """
    length, seen, found = LONGEST_REPETITION + 1, dict[tuple[str, ...], str](), []
    for path, text in texts.items():
        lines = [*_lines(text)]
        for start in range(len(lines) - length + 1):
            part = lines[start : start + length]
            run, place = tuple(line for _, line in part), f"{path}:{part[0][0]}"
            if run in seen:
                found.append(f"{place} repeats {seen[run]}: {run[0]} ...")
            seen.setdefault(run, place)
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, stripped, of a module without its imports."""
    imports = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, node.end_lineno + 1)
    }
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and number not in imports:
            yield number, line.strip()


def forbidden_imports(path: str, text: str) -> list[str]:
    """Imports of the host where the import rule does not allow them."""
    return [
        f"{path}:{line} imports {name}"
        for line, name in _imported(text)
        if name.split(".")[0] in HOST and not _allowed(path, name)
    ]


def _allowed(path: str, name: str) -> bool:
    if path.startswith(("nodes/_host/", *DEMO, *DEVELOPERS)):
        return True
    if not path.startswith("nodes/"):
        return False
    public = *PUBLIC, *(["comfy.cli_args"] if path == "nodes/files.py" else [])
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in public)


def _imported(text: str) -> Iterator[tuple[int, str]]:
    """Modules by absolute name, also by `importlib.import_module("...")` and `from a import b`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _is_import_call(node.func) and node.args:
            if isinstance(node.args[0], ast.Constant):
                yield node.lineno, str(node.args[0].value)


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")
