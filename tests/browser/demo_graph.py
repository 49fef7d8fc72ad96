"""Graphs of the demo model, built and run in the page as a user does."""

from playwright.sync_api import Page

BUILD = """async (rows) => {
  // The host's own first workflow may still move the canvas.
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  window.app.graph.clear();
  const nodes = {};
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
RUN = """() => new Promise((done) => {
  const end = (event) => done(event.type + (event.detail.exception_message ?? ""));
  for (const kind of ["execution_success", "execution_error"]) {
    window.app.api.addEventListener(kind, end, { once: true });
  }
  window.app.queuePrompt(0);
})"""
LOOK = """async ([left, top, scale]) => {
  window.app.canvas.ds.scale = scale;
  window.app.canvas.ds.offset = [left, top];
  window.app.canvas.setDirty(true, true);
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
}"""
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
    """Puts a graph of rows (name, type, place, values, wires) on the page; returns ids by name."""
    return page.evaluate(BUILD, rows)


def run(page: Page) -> None:
    assert page.evaluate(RUN) == "execution_success"


def look(page: Page, left: float, top: float, scale: float = 1) -> None:
    """Moves the canvas so that its origin lies there."""
    page.evaluate(LOOK, [left, top, scale])
