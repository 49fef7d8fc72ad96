"""What README and `benchmarks/README.md` tell of measurements."""

import importlib
import re

import pytest

readme = importlib.import_module("imprint_pack.benchmarks.readme")
PAGES = pytest.mark.parametrize("path", readme.PAGES, ids=lambda path: path.parent.name)

# Numbers and tables that `make readme` writes, commands, formulas, links and comments.
NOT_BY_HAND = [readme.NUMBER, readme.TABLE, r"(?s)```.*?```", "(?m)^    .*", "`.*?`"]
NOT_BY_HAND += [r"\(\S*\)", r"(?s)<!--.*?-->"]
# Names, settings that a column or sentence chooses from the results by, and what tests assert.
NAMES = (
    r"SD 1\.5|2-D|95%|x_0|cfg (1|3|7\.5)\b|float32|-1 to 1|100 SDXL steps|at most 1e-5|150 dB"
    r"|2 x 2 grid|shift by 2 / 4 pixels|(at )?(50|999)( steps)?|3 fixed-point steps|et al\. \d{4}"
)


@PAGES
def test_the_numbers_are_those_of_the_results(path):
    page = path.read_text()
    assert readme.filled(page) == page, f"run `make readme` to write {path.name} anew"


@PAGES
def test_no_result_is_written_by_hand(path):
    _, text = path.read_text().split("## Measured\n" if path == readme.PAGES[0] else "## Editing\n")
    rest = text.partition("\n## Limits")[0]
    for pattern in (*NOT_BY_HAND, NAMES):
        rest = re.sub(pattern, "", rest)
    assert not re.findall(r".{0,20}\d.{0,20}", rest)


def test_a_changed_number_is_noticed():
    number = "<!--{editing[worlds]}-->0<!---->"
    row = "<!-- editing/best: | {name} | {skip} | -->\n| a | b |\n|---|---|\n| made up | 1 |\n"
    assert ">0<" not in readme.filled(number)
    assert "made up" not in readme.filled(row)
    assert "| edit-friendly | " in readme.filled(row)
