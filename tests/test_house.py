"""The sizes that keep a reader in the picture, and no passage written twice."""

import subprocess
from collections.abc import Callable

import house
import in_host
import pytest


def sources() -> dict[str, str]:
    """Every module of the repository by its path, also one that is not committed yet."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.check_output(asked, cwd=in_host.ROOT, text=True).split("\n")
    paths = {name: in_host.ROOT / name for name in names if name}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.exists()}


def breaches(rule: Callable[[str, str], list[str]]) -> list[str]:
    return [breach for path, text in sources().items() for breach in rule(path, text)]


def test_all_rooms_are_seen():
    rooms = {path.split("/")[0] for path in sources()}
    assert rooms >= {"__init__.py", "inversion", "nodes", "demo", "tests", "tools", "benchmarks"}


def test_modules_have_at_most_250_lines():
    assert breaches(house.long_modules) == []


def test_functions_have_at_most_40_lines_and_execute_15():
    assert breaches(house.long_functions) == []


def test_no_six_lines_stand_twice_in_nodes_and_inversion():
    rooms = {p: text for p, text in sources().items() if p.startswith(("nodes/", "inversion/"))}
    assert house.repetitions(rooms) == []


def test_only_the_door_to_the_host_imports_its_internals():
    assert breaches(house.forbidden_imports) == []


class TestRulesCanFail:
    def test_long_module(self):
        assert house.long_modules("a.py", "x = 1\n" * 250) == []
        assert house.long_modules("a.py", "x = 1\n" * 251) == ["a.py has 251 lines"]

    @pytest.mark.parametrize(("name", "limit"), [("act", 40), ("execute", 15)])
    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_long_function(self, name, limit, kind):
        def method(lines):
            body = "        x = 1\n" * (lines - 2)
            return f"class A:\n    @wraps\n    {kind} {name}(\n        self):\n{body}"

        assert house.long_functions("a.py", method(limit)) == []
        (breach,) = house.long_functions("a.py", method(limit + 1))
        assert breach == f"a.py:3 {name} has {limit + 1} lines"

    def test_repetition_in_another_file_at_another_depth(self):
        lines = [f"x = {i}" for i in range(6)]
        one, other = "\n".join(lines), "if x:\n" + "\n\n".join(f"    {line}" for line in lines)
        (breach,) = house.repetitions({"a.py": one, "b.py": other})
        assert breach.startswith("b.py:2 repeats a.py:1")
        assert house.repetitions({"a.py": "\n".join(lines[1:]), "b.py": other}) == []

    def test_repetition_in_the_same_file(self):
        lines = "\n".join(f"x = {i}" for i in range(6))
        assert len(house.repetitions({"a.py": f"{lines}\n{lines}"})) == 1

    def test_imports_are_no_repetition(self):
        imports = "from a import (\n" + "\n".join(f"    b{i}," for i in range(9)) + "\n)\n"
        assert house.repetitions({"a.py": imports, "b.py": imports}) == []

    @pytest.mark.parametrize(
        "path",
        ["inversion/walk.py", "__init__.py", "nodes/ddim.py", "demo/world.py"],
    )
    @pytest.mark.parametrize(
        "line",
        [
            "import comfy",
            "import comfy.samplers as s",
            "from comfy import sample",
            "def f():\n    import latent_preview",
            "from server import PromptServer",
            "import torch, comfy_extras.nodes_sag",
            "importlib.import_module('comfy.utils')",
            "__import__('server')",
        ],
    )
    def test_internals_outside_of_the_door(self, path, line):
        assert len(house.forbidden_imports(path, line)) == 1

    @pytest.mark.parametrize("line", ["import folder_paths", "from comfy_api.latest import io"])
    def test_any_of_the_host_in_the_mathematics(self, line):
        assert house.forbidden_imports("inversion/walk.py", line) != []
        assert house.forbidden_imports("nodes/ddim.py", line) == []

    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("nodes/ddim.py", "from comfy.cli_args import args"),
            ("nodes/files.py", "from comfy import samplers"),
            ("nodes/ddim.py", "from comfy_execution import caching"),
            ("nodes/ddim.py", "from comfy_execution.utils import get_executing_context"),
            ("nodes/host.py", "import comfy"),
        ],
    )
    def test_more_of_the_host_than_a_node_needs(self, path, line):
        assert len(house.forbidden_imports(path, line)) == 1

    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("nodes/_host/models.py", "import comfy.samplers"),
            ("nodes/files.py", "from comfy.cli_args import args"),
            ("nodes/ddim.py", "from comfy_execution.graph_utils import ExecutionBlocker"),
            ("demo/model.py", "from comfy import model_base"),
            ("demo/training/train.py", "import comfy.utils"),
            ("nodes/ddim.py", "from .nodes import x"),
            ("inversion/walk.py", "import torch"),
        ],
    )
    def test_what_the_rule_allows(self, path, line):
        assert house.forbidden_imports(path, line) == []
