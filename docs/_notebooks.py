"""The build hook of mkdocs that makes a page of each notebook: its text, code, printed lines and pictures."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Generate `notebooks/NAME.md` and its pictures from `notebooks/NAME.ipynb`, which stays a file to download."""
    for path in sorted(Path(config.docs_dir, "notebooks").glob("*.ipynb")):
        pictures: dict[str, bytes] = {}
        content = "\n".join(_page(path.name, json.loads(path.read_text())["cells"], pictures))
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=content))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def _page(name: str, cells: list[dict[str, Any]], pictures: dict[str, bytes]) -> Iterator[str]:
    """Lines of Markdown; the pictures that they show are added to `pictures`, by file name."""
    for index, cell in enumerate(cells):
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            yield from (source, "")
            if index == 0:
                yield from (f"[The notebook]({name}) to run.", "")
            continue
        yield from _fenced(source, "python")
        for output in cell["outputs"]:
            if "text" in output:
                yield from _fenced(_text(output["text"]).rstrip("\n"), "text")
            if "image/png" in output.get("data", {}):
                picture = f"{name.removesuffix('.ipynb')}_{len(pictures)}.png"
                pictures[picture] = base64.b64decode(_text(output["data"]["image/png"]))
                yield from (f"![Output of the code above]({picture})", "")


def _fenced(text: str, language: str) -> Iterator[str]:
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`{3,}", text))])
    yield from (fence + language, text, fence, "")


def _text(value: str | list[str]) -> str:
    """Text as notebooks store it: a string, or its lines."""
    return value if isinstance(value, str) else "".join(value)
