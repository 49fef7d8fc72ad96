"""Help pages say what the nodes say: every error they quote exists, every default is the node's."""

import importlib
import re

import help_pages
import in_host
import pytest
from PIL import Image

PAGES = {
    page.stem: page.read_text(encoding="utf-8")
    for page in sorted((in_host.ROOT / "js" / "docs").glob("*.md"))
}
SOURCES = help_pages.sources(in_host.ROOT)
pictures = importlib.import_module("imprint_pack.tools.help_pictures")


@pytest.mark.parametrize("page", PAGES)
def test_every_quoted_message_exists(page):
    texts = [text for source in SOURCES for text in help_pages.texts(source)]
    quotations = help_pages.quotations(PAGES[page])
    assert [q for q in quotations if not any(help_pages.quotes(q, text) for text in texts)] == []


def test_every_message_stands_on_a_page():
    quotations = [q for page in PAGES.values() for q in help_pages.quotations(page)]
    messages = [message for source in SOURCES for message in help_pages.messages(source)]
    assert len(messages) > 50
    assert [m for m in messages if not any(help_pages.quotes(q, m) for q in quotations)] == []


def shown(value) -> str:
    """A default as a page writes it; what has none is a socket or a list that depends on files."""
    if isinstance(value, float):
        return f"{value:.5f}".rstrip("0").ljust(len(f"{value:.0f}") + 2, "0")
    return help_pages.NO_DEFAULT if value is None else str(value) or "empty"


def default_of(declared) -> str:
    options = getattr(declared, "options", None)
    if getattr(declared, "default", None) is None and options and hasattr(options[0], "key"):
        return options[0].key  # a menu's first choice
    return shown(getattr(declared, "default", None))


def declared_defaults(schema) -> dict[tuple[str, str], str]:
    found = {(declared.id, ""): default_of(declared) for declared in schema.inputs}
    for declared in schema.inputs:
        for option in getattr(declared, "options", None) or []:
            for nested in getattr(option, "inputs", []):
                found[nested.id, option.key] = default_of(nested)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_input_output_and_default_is_the_nodes_own(nodes_by_id, page):
    schema = nodes_by_id[page.removeprefix("Imprint")].GET_SCHEMA()
    inputs, *outputs = help_pages.explained(PAGES[page])
    assert inputs == declared_defaults(schema)
    named = {(output.display_name, ""): help_pages.NO_DEFAULT for output in schema.outputs}
    assert outputs == ([named] if named else [])


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_the_panel(page):
    """The panel shows 282 pixels of a table, about one column and a half."""
    assert [line for line in PAGES[page].splitlines() if line.startswith("|")] == []


def test_every_picture_that_is_made_is_shown_and_no_other():
    pages = [page.read_text("utf-8") for page in (in_host.ROOT / "js" / "docs").rglob("*.md")]
    shown = {name for page in pages for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)}
    made = {path.name for path in pictures.FOLDER.iterdir()}
    assert shown == {f"pictures/{name}" for name in made}
    assert made == {f"{name}.png" for name in pictures.STRIPS}


def test_pictures_are_those_of_the_benchmarks():
    for name, strip in pictures.strips():
        with Image.open(pictures.FOLDER / f"{name}.png") as saved:
            same = saved.tobytes() == strip.tobytes()
        assert same, name


class TestRulesCanFail:
    @pytest.mark.parametrize(
        ("quotation", "message", "quoted"),
        [
            ("eta is …, but must", "eta is …, but must lie", True),
            ("… has … channels", "… has … channels in …", True),
            ("The noise maps", "The noise maps …", True),
            ("eta is 0, where", "eta is …, but must lie", False),
            ("The noises", "The noise maps …", False),
            ("lie … eta", "eta is …, but must lie", False),
            ("a.c", "abc", False),
        ],
    )
    def test_quotation(self, quotation, message, quoted):
        assert help_pages.quotes(quotation, message) == quoted

    def test_page(self):
        page = (
            "- `no` term: without a section\n\n"
            "## Inputs\n\n- `x` (1, advanced), `y` (2): `z` (3).\n- `w`\N{FULLWIDTH COLON} w.\n\n"
            '### f\n\n- `a` (0.5): "no".\n\n### g\n\nText.\n\n- `a` (0.7): As in `f`.\n\n'
            "## Output\n\n- `x`: x.\n\n"
            '## Messages\n\n- "One …", "two": Say "no".\n- Not "this": no.\n'
        )
        inputs = {("x", ""): "1", ("y", ""): "2", ("w", ""): "\N{EN DASH}"}
        inputs |= {("a", "f"): "0.5", ("a", "g"): "0.7"}
        outputs = {("x", ""): "\N{EN DASH}"}
        assert help_pages.explained(page) == [inputs, outputs]
        assert help_pages.quotations(page) == ["One …", "two"]

    def test_a_name_is_explained_once(self):
        with pytest.raises(ValueError, match="x is explained twice"):
            help_pages.explained("## Inputs\n\n- `x` (1): x.\n- `x` (2): x.\n")

    def test_source(self):
        source = (
            '"""Doc."""\n'
            "def f():\n"
            '    "Doc."\n'
            '    tell(f"a {b} " "c")\n'
            '    warn("d")\n'
            '    raise ValueError("e" f"{f}")\n'
            'x = ExecutionBlocker("g")\n'
            "y = 'h'\n"
        )
        assert sorted(help_pages.texts(source)) == ["a … c", "d", "e…", "g", "h"]
        assert sorted(help_pages.messages(source)) == ["a … c", "d", "e…", "g"]
