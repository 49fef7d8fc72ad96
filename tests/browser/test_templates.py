"""Templates and blueprints as a user opens, runs and searches them."""

import json
import shutil

import in_host
import pages
import pytest
from conftest import ON_THE_HOSTS_FRONT_END

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
    assert whole["extra"]["linearMode"]
    assert len(labels(whole)) <= 5
    for label, widget in labels(whole):
        assert label or widget == "image"


def labels(app: dict) -> list[tuple[str | None, str]]:
    """What an app's inputs are called, beside the names of their widgets."""
    nodes = {node["id"]: node for node in app["nodes"]}
    slots = [
        next(slot for slot in nodes[node]["inputs"] if slot["name"] == widget)
        for node, widget, *_ in app["extra"]["linearData"]["inputs"]
    ]
    return [(slot.get("label"), slot["name"]) for slot in slots]


UNKNOWN = """() => app.graph.nodes
    .map((node) => node.type)
    .filter((type) => !(type in LiteGraph.registered_node_types))"""
# Everything into view, as the boxes of Nodes 2.0 are those of elements that are drawn.
IN_VIEW = """() => {
  app.canvas.ds.scale = 0.4;
  app.canvas.ds.offset = [200, 500];
  app.canvas.setDirty(true, true);
}"""

# As the template browser does: into a tab of its own. A tab that is open keeps its view, so an app
# that is loaded into it shows its graph.
OPEN = """([workflow, name]) =>
    app.loadGraphData(workflow, true, true, name, { openSource: "template" })"""


@pytest.fixture
def files(server):
    """What every ComfyUI has in its input folder."""
    shutil.copy(in_host.ROOT / "demo" / "imprint_demo.png", server.input / "example.png")


@ON_THE_HOSTS_FRONT_END
@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_opens_and_runs_and_nothing_covers_anything(name, page, files):
    graph = workflow(name)
    pages.load(page, graph | {"extra": {}})
    page.evaluate(IN_VIEW)
    assert page.evaluate(UNKNOWN) == []
    assert pages.overlaps(page) == []
    if not any(node["type"] == "CheckpointLoaderSimple" for node in graph["nodes"]):
        pages.run(page, 300)
        page.wait_for_timeout(500)  # until pictures have their size
        assert pages.overlaps(page) == []


@pytest.mark.parametrize("name", sorted(APPS))
def test_an_app_opens_as_a_panel(name, kept, files):
    page = kept.start()
    page.evaluate(OPEN, [workflow(name), name])
    page.get_by_test_id("linear-workflow-info").get_by_text(name).wait_for()
    panel = page.get_by_test_id("linear-widgets")
    for label, widget in labels(workflow(name)):
        panel.get_by_text(label or widget, exact=True).wait_for()
    run = page.get_by_test_id("linear-run-button").get_by_role("button", name="Run", exact=True)
    run.wait_for()
    assert kept.errors == []
