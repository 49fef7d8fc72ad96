"""What makes a graph quick to build: colours, menus, search, values that follow each other."""

import shutil

import demo_graph
import in_host
import pages
import pytest
from conftest import ON_THE_HOSTS_FRONT_END

SEARCHES = "edit image", "edit photo", "change", "image editing", "img2img edit"

pytestmark = ON_THE_HOSTS_FRONT_END


@pytest.fixture
def canvas(page):
    """The page with what these tests call in it."""
    demo_graph.prepare(page)
    return page


def test_noise_maps_have_a_colour_of_their_own(canvas):
    canvas.evaluate("async () => app.loadGraphData(app.rootGraph.serialize())")
    colours = canvas.evaluate(
        """() => [
          app.canvas.default_connection_color_byType.NOISE_MAPS,
          LGraphCanvas.link_type_colors.NOISE_MAPS,
          getComputedStyle(document.documentElement).getPropertyValue("--color-datatype-NOISE_MAPS"),
        ]"""
    )
    assert len(set(colours)) == 1
    assert colours[0].startswith("#")


def test_a_dropped_link_offers_names_with_the_likely_node_first(canvas):
    names, *made = canvas.evaluate(
        """async () => {
          const invert = LiteGraph.createNode("ImprintEFDDPMInvert");
          app.rootGraph.add(invert);
          const e = new MouseEvent("pointerup", { clientX: 500, clientY: 300 });
          Object.assign(e, { canvasX: 500, canvasY: 100 });
          app.canvas.showConnectionMenu({ nodeFrom: invert, slotFrom: invert.outputs[0], e });
          const texts = [...document.querySelectorAll(".litecontextmenu .litemenu-entry")];
          const names = texts.map((entry) => entry.textContent);
          texts.find((entry) => entry.textContent === "Inverted Sampler").click();
          const made = app.rootGraph.nodes.at(-1);
          const wired = made.isInputConnected(made.findInputSlot("noise_maps"));
          return [names, made.type, made.title, wired];
        }"""
    )
    assert names.index("Inverted Sampler") < names.index("Noise Map Edit")
    assert not [name for name in names if name.startswith("Imprint")]
    assert made == ["ImprintInvertedSampler", "Inverted Sampler", True]


def test_the_menu_of_load_image_builds_an_edit_that_runs(canvas, page_server):
    shutil.copy(in_host.ROOT / "demo" / "imprint_demo.png", page_server.input)
    canvas.evaluate(
        """() => {
          const image = LiteGraph.createNode("LoadImage");
          const model = LiteGraph.createNode("ImprintLoadDemoModel");
          for (const node of [image, model]) app.rootGraph.add(node);
          image.pos = [40, 80];
          model.pos = [40, 600];
          widget(image, "image").value = "imprint_demo.png";
          choose(image, "Invert this image");
          const invert = app.rootGraph.nodes.find((n) => n.type === "ImprintEFDDPMInvert");
          set(invert, "steps", 10);
        }"""
    )
    canvas.wait_for_timeout(1000)
    assert pages.overlaps(canvas) == []
    assert demo_graph.run(canvas) == "execution_success"
    assert pages.overlaps(canvas) == []
    types = canvas.evaluate("() => app.rootGraph.nodes.map((node) => node.type)")
    assert types.count("CLIPTextEncode") == 3
    assert "CheckpointLoaderSimple" not in types


def test_without_a_loader_the_menu_adds_one_below_other_nodes(canvas):
    canvas.evaluate(
        """() => {
          const image = LiteGraph.createNode("LoadImage");
          const note = LiteGraph.createNode("Note");
          for (const node of [image, note]) app.rootGraph.add(node);
          image.pos = [40, 80];
          note.pos = [700, 100];
          window.image = image;
        }"""
    )
    canvas.wait_for_timeout(2000)  # the picture appears, and its node grows
    canvas.evaluate("() => choose(image, 'Invert this image')")
    canvas.wait_for_timeout(1000)
    assert pages.overlaps(canvas) == []
    types = canvas.evaluate("() => app.rootGraph.nodes.map((node) => node.type)")
    assert types.count("CheckpointLoaderSimple") == 1


def test_skipping_keeps_its_share_of_the_steps(canvas):
    demo_graph.build(canvas, demo_graph.EDIT)
    seen = canvas.evaluate(
        """async () => {
          const { invert } = made;
          const skip = widget(invert, "skip_steps");
          const state = () => [skip.value, skip.label];
          const seen = [];
          const walk = (name, value) => { set(invert, name, value); seen.push(state()); };
          walk("steps", 100);
          walk("skip_steps", 36);
          walk("steps", 20);
          walk("steps", 100);
          walk("steps", 1);
          const steps = LiteGraph.createNode("PrimitiveInt");
          app.rootGraph.add(steps);
          steps.connect(0, invert, slot(invert, "steps"));
          seen.push(state());
          walk("steps", 50);
          return seen;
        }"""
    )
    assert seen == [
        [40, "skip_steps (40 %)"],
        [36, "skip_steps (36 %)"],
        [7, "skip_steps (35 %)"],
        [36, "skip_steps (36 %)"],
        [0, "skip_steps (0 %)"],
        [0, "skip_steps"],
        [0, "skip_steps"],
    ]


def test_loading_changes_no_value_and_no_given_name(canvas):
    demo_graph.build(canvas, demo_graph.EDIT)
    before, after, label = canvas.evaluate(
        """async () => {
          set(made.invert, "steps", 7);
          set(made.invert, "skip_steps", 5);
          widget(made.invert, "skip_steps").label = "How much may change";
          made.invert.inputs[slot(made.invert, "skip_steps")].label = "How much may change";
          const before = app.rootGraph.serialize();
          await app.loadGraphData(before);
          const invert = app.rootGraph.nodes.find((n) => n.type === "ImprintEFDDPMInvert");
          const after = app.rootGraph.serialize();
          const values = (graph) => graph.nodes.map((node) => node.widgets_values ?? []);
          return [values(before), values(after), widget(invert, "skip_steps").label];
        }"""
    )
    assert after == before
    assert label == "How much may change"


def test_a_search_for_editing_finds_the_pack(canvas):
    for words in SEARCHES:
        canvas.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        box = canvas.locator("[role=dialog] input").last
        box.fill(words)
        canvas.wait_for_timeout(400)
        found = canvas.locator("[role=dialog]").last.inner_text()
        canvas.keyboard.press("Escape")
        canvas.wait_for_timeout(200)
        assert "EF-DDPM Invert" in found, words
        assert "Inverted Sampler" in found, words
