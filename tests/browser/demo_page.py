"""Graphs of the demo world in the host's page, built and run as a user would."""

from playwright.sync_api import Page

BUILD = """
({ nodes, links }) => {
  const made = (window.made = {});
  for (const [name, [type, pos, values]] of Object.entries(nodes)) {
    const node = (made[name] = LiteGraph.createNode(type));
    node.pos = pos;
    app.rootGraph.add(node);
    for (const [key, value] of Object.entries(values)) widget(node, key).value = value;
  }
  for (const [from, slot, to, input] of links)
    made[from].connect(slot, made[to], made[to].findInputSlot(input));
}
"""
# What the tests call in the page. A value is set as the widgets of both modes do it.
WORDS = """
() => {
  window.widget = (node, name) => node.widgets.find((found) => found.name === name);
  window.set = (node, name, value) => {
    widget(node, name).value = value;
    widget(node, name).callback?.(value, app.canvas, node);
  };
  window.line = (node) => widget(node, "$$node-text-preview");
  window.slot = (node, name) =>
    node.inputs.findIndex((input) => input.widget?.name === name);
  window.choose = (node, entry) =>
    app.canvas.getNodeMenuOptions(node).find((found) => found?.content === entry).callback();
  window.run = async () => {
    const kinds = ["execution_success", "execution_error"];
    const end = new Promise((done) =>
      kinds.forEach((kind) => app.api.addEventListener(kind, () => done(kind), { once: true })));
    return (await app.queuePrompt(0)) ? end : "refused";
  };
  app.rootGraph.clear();
}
"""
PROMPTS = {"source": "a red circle on grass", "target": "a blue circle on grass", "negative": ""}
NODES = {
    "model": ["ImprintLoadDemoModel", [0, 0], {}],
    "image": ["ImprintDemoImage", [0, 260], {}],
    "encode": ["VAEEncode", [0, 760], {}],
    **{
        name: ["CLIPTextEncode", [340, 300 * i], {"text": text}]
        for i, (name, text) in enumerate(PROMPTS.items())
    },
    "invert": ["ImprintEFDDPMInvert", [800, 0], {"steps": 10, "skip_steps": 4, "cfg": 1.0}],
    "sample": ["ImprintInvertedSampler", [1180, 0], {"cfg": 3.0}],
    "decode": ["VAEDecode", [1180, 420], {}],
    "show": ["PreviewImage", [1500, 0], {}],
}
LINKS = [
    *(["model", 0, node, "model"] for node in ("invert", "sample")),
    *(["model", 1, name, "clip"] for name in PROMPTS),
    *(["model", 2, node, "vae"] for node in ("encode", "decode")),
    *(["negative", 0, node, "negative"] for node in ("invert", "sample")),
    ["image", 0, "encode", "pixels"],
    ["encode", 0, "invert", "latent_image"],
    ["source", 0, "invert", "positive"],
    ["target", 0, "sample", "positive"],
    ["invert", 0, "sample", "noise_maps"],
    ["sample", 0, "decode", "samples"],
    ["decode", 0, "show", "images"],
]


def prepare(page: Page) -> None:
    """Gives an empty graph, and the words above to call in the page."""
    page.evaluate(WORDS)


def build_edit(page: Page) -> None:
    """A picture of the demo world inverted and edited; `made` has its nodes by name."""
    page.evaluate(BUILD, {"nodes": NODES, "links": LINKS})


def run(page: Page) -> str:
    """Runs the graph; returns what ended it, once the page has shown it."""
    end = page.evaluate("() => run()")
    page.wait_for_timeout(500)
    return end


def toasts(page: Page) -> list[str]:
    return [text.strip() for text in page.locator(".p-toast-message").all_inner_texts()]
