"""Sections of a benchmark as text and as JSON."""

from collections.abc import Sequence
from typing import Any

from bench._measure import Section


def table_text(section: Section) -> str:
    """The section as a table; columns without any value are omitted."""
    columns = {key: column for key, column in section.columns.items() if any(key in row for row in section.rows)}
    headings = [column.rpartition("|")[0] for column in columns.values()]
    lines = [headings]
    for row in section.rows:
        cells = []
        for key, column in columns.items():
            style = column.rpartition("|")[2]
            cells.append(format(row[key], style) if key in row else "")
        lines.append(cells)
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    is_text = [column.endswith("|s") for column in columns.values()]

    def aligned(line: Sequence[str]) -> str:
        cells = zip(line, widths, is_text, strict=True)
        return "  ".join(f"{cell:<{width}}" if left else f"{cell:>{width}}" for cell, width, left in cells).rstrip()

    return "\n".join([section.name, *(f"  {aligned(line)}" for line in lines), *(f"  ({n})" for n in section.notes)])


def as_json(mode: str, device: dict[str, Any], sections: Sequence[Section]) -> dict[str, Any]:
    """All sections, with unformatted numbers."""
    tables = [
        {
            "name": section.name,
            "columns": {key: column.rpartition("|")[0] for key, column in section.columns.items()},
            "rows": section.rows,
            "notes": list(section.notes),
        }
        for section in sections
    ]
    return {"format": "cmg_jax bench 1", "mode": mode, **device, "sections": tables}
