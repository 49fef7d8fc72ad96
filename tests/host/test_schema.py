"""Ids, types and defaults that shared workflow files depend on, and the words that explain them.

After a deliberate change, IMPRINT_WRITE_SNAPSHOT=1 makes the test write the snapshot anew.
"""

import importlib
import json
import os
from pathlib import Path

import in_host
import pytest

SNAPSHOT = Path(__file__).parent / "schema.json"
PAGES = {page.stem: page for page in (in_host.ROOT / "js" / "docs").glob("*.md")}


def schemas():
    nodes = importlib.import_module("imprint_pack.nodes").NODES
    return {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in nodes}


def inputs_of(schema) -> dict:
    """All inputs by the ids that workflow files know, those of a dynamic option under its name."""
    found = {}
    for i in schema.inputs:
        found[i.id] = i
        for option in getattr(i, "options", None) or []:
            for nested in getattr(option, "inputs", []):
                found[f"{i.id}={option.key}.{nested.id}"] = nested
    return found


def described() -> dict:
    """What of each schema a workflow file depends on."""
    return {
        node_id: {
            "inputs": {
                key: [i.get_io_type(), getattr(i, "default", None), bool(i.optional)]
                for key, i in inputs_of(schema).items()
            },
            "outputs": [[output.display_name, output.get_io_type()] for output in schema.outputs],
        }
        for node_id, schema in schemas().items()
    }


def test_ids_types_and_defaults_are_those_of_the_snapshot():
    if os.environ.get("IMPRINT_WRITE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(described(), indent=1) + "\n")
    assert described() == json.loads(SNAPSHOT.read_text())


def test_inputs_stand_in_the_order_of_the_snapshot():
    """Workflow files hold the values of widgets without their names."""
    written = {node: [*parts["inputs"]] for node, parts in json.loads(SNAPSHOT.read_text()).items()}
    assert {node: [*parts["inputs"]] for node, parts in described().items()} == written


def test_every_node_has_a_help_page_and_every_page_a_node():
    assert set(PAGES) == set(schemas())


@pytest.mark.parametrize("node_id", sorted(PAGES))
def test_every_node_and_socket_is_explained(node_id):
    schema = schemas()[node_id]
    assert node_id.startswith("Imprint")
    assert schema.category.startswith("Imprint")
    assert schema.description
    assert schema.search_aliases
    for socket in (*inputs_of(schema).values(), *schema.outputs):
        assert socket.tooltip, f"{node_id}.{socket.id or socket.display_name} has no tooltip"
