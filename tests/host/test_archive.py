"""The archive that the registry gets, as comfy-cli makes it, and what comfy-cli checks before."""

import importlib
import os
import subprocess
import sys
import zipfile
from importlib.util import module_from_spec, spec_from_file_location

import in_host
import pytest
import tomllib
from PIL import Image

LARGEST = 25e6  # bytes
# Folders that users need where the repository has them.
NEEDED = {
    "demo/weights", "example_workflows", "inversion", "js", "js/docs", "locales", "nodes",
    "nodes/_host", "subgraphs",
}  # fmt: skip
LEFT_OUT = {".ci", ".github", "benchmarks", "media", "tests", "tools", "demo/training"}


def by_comfy_cli(environment, *arguments) -> str:
    """What it says."""
    return subprocess.run(
        [environment.comfy_cli(), *arguments],
        cwd=in_host.ROOT,
        env=os.environ | {"DO_NOT_TRACK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def environment():
    return importlib.import_module("imprint_pack.tools.environment")


@pytest.fixture(scope="module")
def archive(environment, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "imprint.zip"
    code = "import sys; from comfy_cli.file_utils import zip_files; zip_files(sys.argv[1])"
    by_comfy_cli(environment, "-c", code, path)
    return path


def folders(names) -> set[str]:
    return {"/".join(name.split("/")[:depth]) for name in names for depth in (1, 2)}


def test_everything_that_users_need_is_in_the_archive(archive):
    names = zipfile.ZipFile(archive).namelist()
    there = {folder for folder in NEEDED if (in_host.ROOT / folder).exists()}
    assert there >= {"demo/weights", "example_workflows", "js", "nodes"}
    assert there <= folders(names)
    weights = {path.name for path in (in_host.ROOT / "demo" / "weights").glob("*.safetensors")}
    assert {f"demo/weights/{name}" for name in weights} <= {*names}
    assert {"__init__.py", "pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md"} <= {*names}


def test_nothing_else_is_in_it(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert all((in_host.ROOT / folder).exists() for folder in LEFT_OUT)
    assert not folders(names) & LEFT_OUT
    roots = {folder.split("/")[0] for folder in NEEDED}
    assert {name.split("/")[0] for name in names if "/" in name} <= roots
    assert archive.stat().st_size < LARGEST


def test_pack_runs_from_the_archive_alone(archive, tmp_path, nodes_by_id):
    zipfile.ZipFile(archive).extractall(tmp_path)
    name = "imprint_from_archive"
    spec = spec_from_file_location(
        name, tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    unpacked = importlib.import_module(f"{name}.nodes").NODES
    assert len(unpacked) == len(nodes_by_id)
    demo = next(node for node in unpacked if node.GET_SCHEMA().node_id == "ImprintLoadDemoModel")
    assert demo.execute(prediction="v").result


def test_comfy_cli_finds_nothing_to_object_to(environment):
    said = by_comfy_cli(environment, "-m", "comfy_cli", "--skip-prompt", "node", "validate")
    assert "All validation checks passed" in said
    assert "warning" not in said.lower()


def test_icon_and_banner_are_where_the_registry_looks_for_them():
    project = tomllib.loads((in_host.ROOT / "pyproject.toml").read_text())
    repository = project["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    begin = f"https://raw.githubusercontent.com/{repository}/main/"
    for key, ratio in {"Icon": (1, 1), "Banner": (21, 9)}.items():
        address = project["tool"]["comfy"][key]
        assert address.startswith(begin)
        with Image.open(in_host.ROOT / address.removeprefix(begin)) as picture:
            assert picture.width * ratio[1] == picture.height * ratio[0]
