"""The table of all settings in docs/operations.md: `python -m tests.integration.deploy.settings_table` writes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from signoff.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
BEGIN = "<!-- settings: written by python -m tests.integration.deploy.settings_table -->"
END = "<!-- end of settings -->"
UNITS = {"_seconds": "s", "_hours": "h", "_bytes": "bytes"}


def table() -> str:
    """One row a setting, in the order in which they are declared."""
    rows = ["| variable | default | unit, bounds | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        cells = (f"`SIGNOFF_{name.upper()}`", default_of(field), bounds_of(name, field), str(field.description))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def default_of(field: FieldInfo) -> str:
    if field.default in (None, ()):
        return "–"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    if isinstance(field.default, float):
        return f"{field.default:g}"
    return str(field.default)


def bounds_of(name: str, field: FieldInfo) -> str:
    """What a value has to be."""
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    limits: dict[str, float] = {}
    for metadata in field.metadata:
        limits |= {key: getattr(metadata, key) for key in ("ge", "gt", "le") if hasattr(metadata, key)}
    if limits:
        low = f"{limits['ge']:,.12g}" if "ge" in limits else f"more than {limits['gt']:,.12g}"
        return f"{low} to {limits['le']:,.12g} {unit}".strip()
    return unit or _kind(name, field)


def _kind(name: str, field: FieldInfo) -> str:
    kinds = [field.annotation, *get_args(field.annotation)]
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(field.annotation))
    if SecretStr in kinds:
        return "URL" if name.endswith("_url") else "secret text"
    if bool in kinds:
        return "true or false"
    if get_origin(field.annotation) is tuple:
        return "names, with commas between"
    return "text"


def on_page() -> str:
    """The table as the page has it."""
    found = re.search(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", PAGE.read_text(), flags=re.DOTALL)
    assert found is not None, f"{PAGE} has lost the lines around the table"
    return found[1].strip()


def main() -> int:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
