"""What the nodes say reaches the user of the page, and covers nothing."""

import demo_graph
import pytest
from conftest import ON_THE_HOSTS_FRONT_END

WRONG = "skip_steps is 50, but of the 10 steps here at least one must be left"
SIZES = (
    "() => app.rootGraph.nodes.filter((n) => n.type.startsWith('Imprint')).map((n) => n.size[1])"
)
PREVIEWS = "(method) => app.extensionManager.setting.set('Comfy.Execution.PreviewMethod', method)"
BADGE = """
() => made.invert.badges.map((badge) => (typeof badge === "function" ? badge() : badge).text)
  .some((text) => text.includes("warning"))
"""

pytestmark = ON_THE_HOSTS_FRONT_END


@pytest.fixture
def edit(page):
    """The page with the demo edit in it."""
    demo_graph.prepare(page)
    demo_graph.build(page, demo_graph.EDIT)
    page.wait_for_timeout(500)
    return page


def test_an_error_is_a_toast_with_its_sentence_also_in_a_subgraph(edit):
    edit.evaluate(
        "() => { set(made.invert, 'skip_steps', 50); made.invert.title = 'My inversion' }"
    )
    assert demo_graph.run(edit) == "execution_error"
    first = demo_graph.toasts(edit)
    edit.evaluate("() => { app.rootGraph.convertToSubgraph(new Set([made.invert])) }")
    assert demo_graph.run(edit) == "execution_error"
    edit.wait_for_timeout(1000)  # the first one leaves
    for (toast,) in (first, demo_graph.toasts(edit)):
        assert toast.startswith("My inversion")
        assert WRONG in toast


def test_an_app_shows_the_sentence_too(edit):
    edit.evaluate(
        """async () => {
          set(made.invert, "skip_steps", 50);
          const workflow = app.rootGraph.serialize();
          const linearData = { inputs: [[made.source.id, "text"]], outputs: [made.show.id] };
          workflow.extra = { ...workflow.extra, linearMode: true, linearData };
          await app.loadGraphData(workflow, true, true, "app");
        }"""
    )
    assert demo_graph.run(edit) == "execution_error"
    assert any(WRONG in toast for toast in demo_graph.toasts(edit))


def test_a_warning_is_a_badge_that_goes_with_its_cause(edit):
    edit.evaluate("() => set(made.invert, 'skip_steps', 9)")
    assert demo_graph.run(edit) == "execution_success"
    assert any("9 of 10 steps are skipped" in toast for toast in demo_graph.toasts(edit))
    assert edit.evaluate(BADGE)
    vue = edit.evaluate("() => LiteGraph.vueNodesMode")
    assert edit.get_by_text("\u26a0 warning").count() == int(vue)  # else it is drawn on the canvas
    edit.evaluate("() => set(made.invert, 'skip_steps', 4)")
    assert demo_graph.run(edit) == "execution_success"
    assert not edit.evaluate(BADGE)
    assert edit.get_by_text("\u26a0 warning").count() == 0


def test_words_and_previews_let_no_node_grow_and_a_cached_run_shows_the_same(edit):
    # A run of its own in each mode: a cached one has no steps.
    edit.evaluate("() => set(made.invert, 'seed', LiteGraph.vueNodesMode ? 101 : 102)")
    edit.evaluate(PREVIEWS, "latent2rgb")
    edit.evaluate(
        """() => app.api.addEventListener("progress_state", () => {
          const shown = document.querySelectorAll(".imprint-line img[src^=blob]");
          window.previews = (window.previews ?? 0) + shown.length;
          window.hosts = (window.hosts ?? 0) + Object.keys(app.nodePreviewImages).length;
        })"""
    )
    before = edit.evaluate(SIZES)
    assert demo_graph.run(edit) == "execution_success"
    assert edit.evaluate(SIZES) == before
    assert edit.evaluate("() => window.previews") > 0
    assert edit.evaluate("() => window.hosts") == 0
    said = edit.evaluate("() => [line(made.invert).value, line(made.sample).value]")
    assert said[0].startswith("Inverted: 6 model evaluations in 1 call of up to 6 steps")
    assert "An edit: inverted at cfg 1, sampled at cfg 3." in said[1]
    edit.evaluate("async () => app.loadGraphData(app.rootGraph.serialize())")
    edit.wait_for_timeout(500)
    assert demo_graph.run(edit) == "execution_success"
    lines = (
        "() => app.rootGraph.nodes.map((node) => node.widgets && line(node)?.value).filter(Boolean)"
    )
    assert edit.evaluate(lines) == said
    edit.evaluate(PREVIEWS, "default")
