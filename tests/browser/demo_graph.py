"""Graphs of the demo model, built and run in the page as a user does."""

from playwright.sync_api import Page

BUILD = """async (rows) => {
  // The host's own first workflow may still move the canvas.
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  window.app.graph.clear();
  const nodes = (window.made = {});
  for (const [name, type, place, values, wires] of rows) {
    const node = LiteGraph.createNode(type);
    window.app.graph.add(node);
    node.pos = place;
    for (const [key, value] of Object.entries(values)) {
      node.widgets.find((widget) => widget.name === key).value = value;
    }
    for (const [input, [from, slot]] of Object.entries(wires)) {
      nodes[from].connect(slot, node, node.inputs.findIndex((socket) => socket.name === input));
    }
    nodes[name] = node;
  }
  return Object.fromEntries(Object.entries(nodes).map(([name, node]) => [name, node.id]));
}"""
LOOK = """async ([left, top, scale]) => {
  window.app.canvas.ds.scale = scale;
  window.app.canvas.ds.offset = [left, top];
  window.app.canvas.setDirty(true, true);
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
}"""
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
WIRES = {"model": ("model", 0), "positive": ("caption", 0), "negative": ("empty", 0)}
# Far left of what the tests look at.
INVERTED = [
    ("model", "ImprintLoadDemoModel", (-3000, 0), {}, {}),
    ("image", "ImprintDemoImage", (-3000, 400), {"variation": 3}, {}),
    ("caption", "CLIPTextEncode", (-2600, 0), {"text": "a red circle on grass"}, {}),
    ("empty", "CLIPTextEncode", (-2600, 400), {"text": ""}, {}),
    ("encoded", "VAEEncode", (-2600, 800), {}, {"pixels": ("image", 0), "vae": ("model", 2)}),
    ("batch", "RepeatLatentBatch", (-2200, 800), {"amount": 2}, {"samples": ("encoded", 0)}),
]
PROMPTS = {"source": "a red circle on grass", "target": "a blue circle on grass", "negative": ""}
GUIDED = {"model": ("model", 0), "negative": ("negative", 0)}
EDIT = [
    ("model", "ImprintLoadDemoModel", (0, 0), {}, {}),
    ("image", "ImprintDemoImage", (0, 260), {}, {}),
    ("encode", "VAEEncode", (0, 760), {}, {"pixels": ("image", 0), "vae": ("model", 2)}),
    *(
        (name, "CLIPTextEncode", (340, 300 * i), {"text": text}, {"clip": ("model", 1)})
        for i, (name, text) in enumerate(PROMPTS.items())
    ),
    (
        "invert",
        "ImprintEFDDPMInvert",
        (800, 0),
        {"steps": 10, "skip_steps": 4, "cfg": 1.0},
        {**GUIDED, "positive": ("source", 0), "latent_image": ("encode", 0)},
    ),
    (
        "sample",
        "ImprintInvertedSampler",
        (1180, 0),
        {"cfg": 3.0},
        {**GUIDED, "positive": ("target", 0), "noise_maps": ("invert", 0)},
    ),
    ("decode", "VAEDecode", (1180, 420), {}, {"samples": ("sample", 0), "vae": ("model", 2)}),
    ("show", "PreviewImage", (1500, 0), {}, {"images": ("decode", 0)}),
]
CLIPPED = ("clip", ("model", 1))


def invert(steps: int) -> list:
    """Rows of a graph up to the noise maps of a batch of two, in slot 0 of `inverted`."""
    rows = [
        (name, kind, place, values, wires | dict([CLIPPED]) if kind == "CLIPTextEncode" else wires)
        for name, kind, place, values, wires in INVERTED
    ]
    values = {"steps": steps, "cfg": 1, "skip_steps": 0}
    wires = WIRES | {"latent_image": ("batch", 0)}
    return [*rows, ("inverted", "ImprintEFDDPMInvert", (-1800, 0), values, wires)]


def build(page: Page, rows: list) -> dict[str, int]:
    """Puts a graph of rows (name, type, place, values, wires) on the page, where `made` has its
    nodes by name; returns their ids by name.
    """
    return page.evaluate(BUILD, rows)


def look(page: Page, left: float, top: float, scale: float = 1) -> None:
    """Moves the canvas so that its origin lies there."""
    page.evaluate(LOOK, [left, top, scale])


def prepare(page: Page) -> None:
    """Gives the words above to call in the page, and an empty graph."""
    page.evaluate(WORDS)


def run(page: Page) -> str:
    """Runs the graph; returns what ended it, once the page has shown it."""
    end = page.evaluate("() => run()")
    page.wait_for_timeout(500)
    return end


def toasts(page: Page) -> list[str]:
    return [text.strip() for text in page.locator(".p-toast-message").all_inner_texts()]
