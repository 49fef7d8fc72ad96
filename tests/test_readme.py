"""What README and `benchmarks/README.md` tell of measurements."""

import importlib
import re

import pytest

readme = importlib.import_module("imprint_pack.benchmarks.readme")

# Values, paths of tables, code, links and comments.
NOT_TEXT = r"\{.*?\}|^@ [^|]*\||`.*?`|\(\S*\)|<!--.*?-->"
# Names, settings that a column or a sentence chooses results by, and what other tests assert.
NAMES = (
    r"SD 1\.5|2-D|95%|x_0|cfg (1|3|7\.5)\b|float32|-1 to 1|100 SDXL steps|faint 2 x 2|et al\. \d{4}"
    r"|shift by 2 / 4 pixels|(at )?(50|999)( steps)?|3 fixed-point steps|at most 1e-5|150 dB"
)


def test_the_numbers_are_those_of_the_results():
    for path, text in readme.pages().items():
        assert path.read_text() == text, f"run `make readme` to write {path.name} anew"


@pytest.mark.parametrize("template", ["measured.md", "benchmarks.md"])
def test_no_result_is_written_by_hand(template):
    text = (readme.TEMPLATES / template).read_text()
    text = text.partition("## Editing")[2] or text  # after the definitions of the metrics
    rest = re.sub(NAMES, "", re.sub(NOT_TEXT, "", text, flags=re.S | re.M))
    assert not re.findall(r".{0,20}\d.{0,20}", rest)
