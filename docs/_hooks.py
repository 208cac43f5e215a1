"""The build hook of mkdocs: a page for each command, made from its parser."""

import argparse
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cmg_jax.cli import main
from converters import cli as convert

SECTION = "Command line"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the commands into the navigation."""
    (section,) = (entry for entry in config.nav or [] if isinstance(entry, dict) and SECTION in entry)
    section[SECTION] = ["commands/index.md", *({program: _uri(program)} for program in _programs())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Generate the pages of the commands."""
    files.append(File.generated(config, "commands/index.md", content=_index()))
    for program, parser in _programs().items():
        files.append(File.generated(config, _uri(program), content=_page(parser)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Remove `no-run`, which is for the tests, from the fences of code blocks."""
    return re.sub(r"^( *```python) no-run$", r"\1", markdown, flags=re.MULTILINE)


def _programs() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command, by its name: `cmg-jax generate`, ..., `cmg-convert`."""
    found = {parser.prog: parser for parser in _commands(main.parser()).values()}
    return found | {convert.PROGRAM: convert.parser()}


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a program's commands; none where it has no commands."""
    actions = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: child for action in actions for name, child in action.choices.items()}


def _uri(program: str) -> str:
    return f"commands/{program.split()[-1]}.md"


def _index() -> str:
    lines = ["# Command line", "", "Made from the parsers of the programs; `--help` prints the same."]
    for job, group in main.GROUPS.items():
        lines += ["", f"## {job.capitalize()}", "", "| | |", "|---|---|"]
        lines += [
            f"| [`{main.PROGRAM} {name}`]({name}.md) | {_escaped(module.SUMMARY)} |" for name, module in group.items()
        ]
    convert_text = _escaped(convert.parser().description or "")
    lines += ["", "## Convert a checkpoint", "", "| | |", "|---|---|"]
    lines += [f"| [`{convert.PROGRAM}`]({convert.PROGRAM}.md) | {convert_text} |"]
    return "\n".join([*lines, "", f"## Options before the command of `{main.PROGRAM}`", "", *_options(main.parser())])


def _page(parser: argparse.ArgumentParser) -> str:
    lines = [f"# {parser.prog}", "", *_described(parser)]
    for child in _commands(parser).values():
        lines += ["", f"## {child.prog}", "", *_described(child)]
    return "\n".join(lines)


def _described(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Description, usage, options and epilog of one parser."""
    usage = textwrap.fill(
        " ".join(parser.format_usage().split()[1:]), 80, subsequent_indent="    ", break_on_hyphens=False
    )
    yield from (_escaped(parser.description or ""), "", "```text", usage, "```", "", *_options(parser))
    if parser.epilog:
        yield from ("", _escaped(parser.format_help().rpartition("\n\n")[2]))


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options as a list of definitions, group by group."""
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        left_out = (argparse._HelpAction, argparse._SubParsersAction)
        actions = [action for action in group._group_actions if not isinstance(action, left_out)]
        if actions and group.title not in ("options", "positional arguments"):
            yield from (f"**{_escaped((group.title or '').capitalize())}**", "")
        for action in actions:
            text = _escaped(formatter._expand_help(action))
            yield from (f"`{formatter._format_action_invocation(action)}`", f":   {text}", "")


def _escaped(text: str) -> str:
    """Plain text as Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", " ".join(text.split()))
