"""Writes README's section "Measured" and `benchmarks/README.md`: `make readme`.

Their templates lie in `benchmarks/readme/`. In them `{name[key]}` is a value of
`benchmarks/results/<name>.json`, and a line `@ name/key | {name} | {column:.1f} |` becomes one row
for each entry of the table there. Needs no host.
"""

import json
import re
from functools import reduce
from operator import getitem
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "benchmarks" / "readme"


class Interval(dict):
    def __format__(self, spec: str) -> str:
        return "{1:{0}} ({2:{0}} to {3:{0}})".format(spec, *self.values())


class Missing:
    def __format__(self, spec: str) -> str:
        return ""


def known(values: dict) -> dict:
    """A JSON object whose intervals and gaps can be formatted as numbers can."""
    values = {key: Missing() if value is None else value for key, value in values.items()}
    return Interval(values) if [*values] == ["value", "low", "high"] else values


def filled(template: str) -> str:
    """A template's text with the numbers of the results."""
    paths = (ROOT / "benchmarks" / "results").glob("*.json")
    results = {path.stem: json.loads(path.read_text(), object_hook=known) for path in paths}

    def rows(line: re.Match) -> str:
        table = reduce(getitem, line[1].split("/"), results)
        return "\n".join(line[2].format(**{"name": name, **row}) for name, row in table.items())

    parts = re.split(r"^(@ .*)$", (TEMPLATES / template).read_text(), flags=re.M)
    directive = re.compile(r"@ (.*?) (\|.*)")
    found = (re.fullmatch(directive, part) for part in parts)
    return "".join(
        rows(line) if line else part.format(**results)
        for part, line in zip(parts, found, strict=True)
    )


def pages() -> dict[Path, str]:
    """What the two pages should hold."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split("## Measured\n", 1)
    after = rest[rest.index("\n## ") + 1 :]
    text = before + filled("measured.md") + after
    return {readme: text, ROOT / "benchmarks" / "README.md": filled("benchmarks.md")}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
