"""Workflow files as the browser saves them, from graphs written as plain dicts.

A graph maps names to nodes; an input is a value or (name, output number). Nodes are laid out in
columns. The server's node table gives the order of sockets and widgets, so a renamed input fails
here and not in a user's browser.
"""

from typing import NamedTuple

from client import Server

DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC)
WIDTH, GAP, NOTE_COLOUR = 330, 60, "#432"


class Node(NamedTuple):
    """One node of a graph; `height` is given where the page shows a picture or a text box."""

    column: int
    type: str
    inputs: dict
    title: str = ""
    height: int = 0
    models: tuple[dict, ...] = ()
    collapsed: bool = False


class Note(NamedTuple):
    column: int
    title: str
    text: str
    height: int


class Page:
    """A graph as the browser saves it."""

    def __init__(self, server: Server, note: Note, graph: dict[str, Node]):
        self.graph, self.server = graph, server
        self.ids = {name: number for number, name in enumerate(graph, 2)}
        self.bottoms: dict[int, int] = {}
        self.links: list[list] = []
        self.nodes = [self.note(note)]
        self.nodes += [self.node(name, node) for name, node in graph.items()]
        for number, source, slot, *_ in self.links:
            self.nodes[source - 1]["outputs"][slot]["links"].append(number)

    def place(self, column: int, height: int, collapsed: bool = False) -> dict:
        top = self.bottoms.get(column, 0)
        self.bottoms[column] = top + (0 if collapsed else height) + GAP
        return {
            "pos": [column * (WIDTH + GAP), top],
            "size": [WIDTH, height],
            "flags": {"collapsed": True} if collapsed else {},
            "mode": 0,
        }

    def note(self, note: Note) -> dict:
        return {
            "id": 1,
            "type": "MarkdownNote",
            **self.place(note.column, note.height),
            "order": 0,
            "inputs": [],
            "outputs": [],
            "title": note.title,
            "properties": {},
            "widgets_values": [note.text],
            "color": NOTE_COLOUR,
        }

    def node(self, name: str, node: Node) -> dict:
        table = self.server.get(f"/object_info/{node.type}")[node.type]
        declared = _declared(table["input"], node.inputs)
        unknown = set(node.inputs) - set(declared)
        if unknown:
            raise RuntimeError(f"{node.type} has no input {sorted(unknown)}.")
        inputs, values = [], []
        for key, (kind, *options) in declared.items():
            kind = "COMBO" if isinstance(kind, list) else kind
            given = node.inputs.get(key)
            if isinstance(given, tuple):
                inputs.append(
                    {"name": key, "type": kind, "link": self.link(given, name, len(inputs), kind)}
                )
                if kind in WIDGETS:
                    inputs[-1]["widget"] = {"name": key}
            elif kind not in WIDGETS:
                inputs.append({"name": key, "type": kind, "link": None})
            if kind in WIDGETS:
                values.append("" if isinstance(given, tuple) else given)
            if options and options[0].get("control_after_generate"):
                values.append("fixed")
            if options and options[0].get("image_upload"):
                values.append("image")
        outputs = [
            {"name": label, "type": kind, "links": []}
            for label, kind in zip(table["output_name"], table["output"], strict=True)
        ]
        height = node.height or 40 + 22 * max(len(inputs), len(outputs)) + 26 * len(values)
        return {
            "id": self.ids[name],
            "type": node.type,
            **self.place(node.column, height, node.collapsed),
            "order": self.ids[name] - 1,
            "inputs": inputs,
            "outputs": outputs,
            **({"title": node.title} if node.title else {}),
            "properties": {
                "Node name for S&R": node.type,
                **({"models": list(node.models)} if node.models else {}),
            },
            "widgets_values": values,
        }

    def link(self, given: tuple[str, int], target: str, slot: int, kind: str) -> int:
        self.links.append(
            [len(self.links) + 1, self.ids[given[0]], given[1], self.ids[target], slot, kind]
        )
        return len(self.links)

    def workflow(self) -> dict:
        return {
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": {},
            "version": 0.4,
        }


def _declared(table: dict, given: dict, prefix: str = "") -> dict:
    """Inputs by id in the node's order, with those that the chosen option of a menu adds."""
    found = {}
    for key, spec in {**table.get("required", {}), **table.get("optional", {})}.items():
        found[prefix + key] = spec
        if spec[0] == DYNAMIC:
            options = {option["key"]: option["inputs"] for option in spec[1]["options"]}
            found |= _declared(options[given[prefix + key]], given, f"{prefix}{key}.")
    return found
