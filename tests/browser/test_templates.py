"""Templates and blueprints as a user opens, runs and searches them."""

import json

import in_host
import pytest

TEMPLATES = {path.stem: path for path in (in_host.ROOT / "example_workflows").glob("*.json")}
BLUEPRINTS = {path.stem: path for path in (in_host.ROOT / "subgraphs").glob("*.json")}
FIRST = "Edit a picture with words (no download)"
APPS = [
    FIRST,
    "Edit a photo (SD 1.5)",
    "Edit only inside a mask",
    "Keep more, change more (four strengths)",
    "Five variations of one edit",
]


def workflow(name: str) -> dict:
    return json.loads(TEMPLATES[name].read_text("utf-8"))


def boxes_of(nodes: list[dict]) -> int:
    return len([node for node in nodes if node["type"] != "MarkdownNote"])


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_is_small_and_explained(name):
    nodes = workflow(name)["nodes"]
    notes = [node for node in nodes if node["type"] == "MarkdownNote"]
    assert len(nodes) <= (7 if name == FIRST else 15)
    assert len(notes) == 1
    assert 2 <= notes[0]["widgets_values"][0].count(". ") + 1 <= 4


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_templates_box_is_the_blueprint(name):
    """So that a blueprint's defaults stand in one place."""
    for definition in workflow(name).get("definitions", {}).get("subgraphs", []):
        if definition["name"] in BLUEPRINTS:
            blueprint = json.loads(BLUEPRINTS[definition["name"]].read_text("utf-8"))
            assert definition == blueprint["definitions"]["subgraphs"][0]


@pytest.mark.parametrize("name", APPS)
def test_an_app_shows_few_inputs_with_human_labels(name):
    whole = workflow(name)
    nodes = {node["id"]: node for node in whole["nodes"]}
    assert whole["extra"]["linearMode"]
    inputs = whole["extra"]["linearData"]["inputs"]
    assert len(inputs) <= 5
    for node, widget, *_ in inputs:
        slot = next(slot for slot in nodes[node]["inputs"] if slot["name"] == widget)
        assert slot.get("label") or widget == "image"
