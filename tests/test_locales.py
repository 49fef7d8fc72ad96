"""Translations name what the nodes have, all of it and nothing else; needs no host.

A new input or output of a translated node fails here, with its id, until each language has it.
"""

import json
from pathlib import Path

import help_pages
import pytest

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "tests" / "host" / "schema.json").read_text("utf-8"))
DOCS, LOCALES = ROOT / "js" / "docs", ROOT / "locales"
LANGUAGES = "ja", "ko", "zh"
NODES = (
    "ImprintDDIMInvert",
    "ImprintEFDDPMInvert",
    "ImprintInvertedSampler",
    "ImprintNoiseMapEdit",
    "ImprintNullTextOptimize",
)
PAGES = [(node, language) for node in NODES for language in LANGUAGES]


def looked_up(key: str) -> str:
    """The id under which the host looks up an input of the schema's snapshot.

    A menu's setting has one for all choices, and the host replaces its dot.
    """
    menu, choice, setting = key.partition("=")
    return f"{menu}_{setting.partition('.')[2]}" if choice else key


def translated(language: str) -> dict:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text("utf-8"))


def page(node: str, language: str) -> str:
    return (DOCS / node / f"{language}.md").read_text("utf-8")


def test_languages_and_pages():
    assert {folder.name for folder in LOCALES.iterdir()} == set(LANGUAGES)
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.glob("*/*.md")}
    assert pages == {f"{node}/{language}.md" for node, language in PAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_input_and_output_is_translated_and_no_other(language):
    found = translated(language)
    assert sorted(found) == sorted(NODES)
    for node, schema in ((node, SCHEMA[node]) for node in NODES):
        inputs = {looked_up(key) for key in schema["inputs"]}
        assert (node, set(found[node]["inputs"])) == (node, inputs)
        outputs = {str(index) for index in range(len(schema["outputs"]))}
        assert (node, set(found[node]["outputs"])) == (node, outputs)


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_has_a_name_and_a_text(language):
    for node, words in translated(language).items():
        assert words.keys() == {"display_name", "description", "inputs", "outputs"}
        assert words["display_name"], node
        assert words["description"], node
        for key, socket in (*words["inputs"].items(), *words["outputs"].items()):
            assert socket.keys() == {"name", "tooltip"}, (node, key)
            assert all(socket.values()), (node, key)


@pytest.mark.parametrize(("node", "language"), PAGES)
def test_a_page_explains_what_the_english_one_does(node, language):
    english = help_pages.explained((DOCS / f"{node}.md").read_text("utf-8"))
    assert help_pages.explained(page(node, language)) == english


@pytest.mark.parametrize(("node", "language"), PAGES)
def test_a_page_uses_the_names_on_the_node(node, language):
    words, text = translated(language)[node], page(node, language)
    assert text.startswith(f"# {words['display_name']}\n")
    names = {socket["name"] for socket in (*words["inputs"].values(), *words["outputs"].values())}
    assert [name for name in names if f"**{name}**" not in text and f"`{name}`" not in text] == []


@pytest.mark.parametrize(("node", "language"), PAGES)
def test_a_page_quotes_the_messages_of_the_english_one(node, language):
    english = help_pages.quotations((DOCS / f"{node}.md").read_text("utf-8"))
    assert sorted(help_pages.quotations(page(node, language))) == sorted(english)


@pytest.mark.parametrize(
    ("key", "id"), [("cfg", "cfg"), ("menu=choice.setting", "menu_setting"), ("a_b", "a_b")]
)
def test_ids_that_the_host_looks_up(key, id):
    assert looked_up(key) == id
