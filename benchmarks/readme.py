"""Writes the numbers of README and `benchmarks/README.md` anew, from `benchmarks/results/`.

In both pages a number stands between `<!--{name[key]:.1f}-->` and `<!---->`, where `{...}` formats
a value of `results/<name>.json`. Lines `<!-- name/key: | {name} | {column:.1f} | -->` above a table
make its rows, one for each entry there. Needs no host.
"""

import json
import re
from functools import reduce
from operator import getitem
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "README.md", ROOT / "benchmarks" / "README.md"

NUMBER = re.compile(r"<!--(\{.+?\})-->.*?<!---->")
ROWS = re.compile(r"^<!-- (.+?): (\|.*\|) -->$", re.M)
TABLE = re.compile(r"^((?:<!-- .+?: \|.*\| -->\n)+\|.*\n\|[-|]+\n)((?:\|.*\n)*)", re.M)


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


def filled(page: str) -> str:
    """A page with the numbers of the results."""
    paths = (ROOT / "benchmarks" / "results").glob("*.json")
    results = {path.stem: json.loads(path.read_text(), object_hook=known) for path in paths}

    def table(found: re.Match) -> str:
        rows = [
            row.format(**{"name": name, **values}) + "\n"
            for place, row in ROWS.findall(found[1])
            for name, values in reduce(getitem, place.split("/"), results).items()
        ]
        return found[1] + "".join(rows)

    page = TABLE.sub(table, page)
    return NUMBER.sub(lambda found: f"<!--{found[1]}-->{found[1].format(**results)}<!---->", page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(filled(path.read_text()))
