"""The option names that all commands share, and the progress of long work without a terminal."""

import argparse
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cmg_jax.cli import _progress, main
from cmg_jax.cli._progress import progress_reports
from cmg_jax.commands import _grid
from converters import cli as convert
from tests.conftest import enable_interrupts, run_in_process

MEASURE = re.compile(
    r"\bnumber of\b|\bno unit\b|\bfrom 0 to 1\b|\bfrom 0, .* to 1\b|\bin seconds\b|\btime in s\b|\bframes per second\b"
    r"|\bin percent\b|\bm/s\b|\brad/s\b|\bin units of\b"
)
"""The help of a numeric option states its unit, or what it counts."""


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """A program's parser and those of its commands, by name."""
    found = {parser.prog: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                found |= commands(child)
    return found


PARSERS = commands(main.parser()) | commands(convert.parser())


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    return [action for action in parser._actions if not isinstance(action, left_out)]


def name(action: argparse.Action) -> str:
    return (action.option_strings or [str(action.metavar)])[0]


def test_all_commands_are_found():
    assert len(PARSERS) == 20, sorted(PARSERS)
    assert "cmg-jax rl feasibility" in PARSERS


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_has_a_help_text_a_metavar_a_unit_and_its_default(command):
    parser = PARSERS[command]
    shown = "".join(parser.format_help().split())
    for action in options(parser):
        where = f"{command} {name(action)}"
        assert action.help, where
        assert not action.help.endswith("."), where
        assert "".join(action.help.split()) in shown, where
        takes_a_value = action.nargs != 0
        numeric = takes_a_value and getattr(action.type, "__name__", "") in ("int", "float")
        if takes_a_value and not action.choices:
            metavars = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
            for metavar in metavars:
                assert metavar, where
                assert re.fullmatch(r"[A-Z]+(\.[a-z]+)?|K/N|VX:VY:YAW|KEY=VALUE", metavar), where
        if numeric:
            assert MEASURE.search(action.help), f"{where}: no unit in '{action.help}'"
        text = parser._get_formatter()._expand_help(action)
        if action.required and action.option_strings:
            assert "(required)" in text, where
        elif numeric or (takes_a_value and action.default not in (None, "", [])) or action.choices:
            assert "default" in text or not action.option_strings, where


@pytest.mark.parametrize("command", PARSERS)
def test_the_same_option_has_the_same_name_in_all_commands(command):
    for action in options(PARSERS[command]):
        flags, metavar = action.option_strings, action.metavar
        if metavar == "DIR" and not flags:
            raise AssertionError(f"{command}: a directory is named by an option")
        if "--plot" in flags:
            assert metavar == "FILE.png"
        if "--model" in flags:
            assert metavar == "DIR"
            assert "default: human" in (action.help or "")
        if any(flag.endswith("seconds") for flag in flags):
            assert metavar == "S"
        assert not any("frames" in flag for flag in flags), f"{command}: durations are --seconds"


def test_a_model_is_named_by_its_option_wherever_there_is_one():
    takes_model = {
        command for command, parser in PARSERS.items() for a in options(parser) if "--model" in a.option_strings
    }
    assert takes_model == {
        f"cmg-jax {command}"
        for command in ("generate", "motions", "view", "evaluate", "info", "export", "bench", "rl feasibility")
    }


def test_the_help_groups_the_commands_by_job(capsys):
    lines = run_in_process(capsys, "cmg-jax", "--help").stdout.splitlines()
    jobs = [line for line in lines if re.fullmatch(r"[a-z ]+:", line)]
    assert [job.rstrip(":") for job in jobs if job != "options:" and job != "positional arguments:"] == list(
        main.GROUPS
    )
    for group in main.GROUPS.values():
        for command, module in group.items():
            assert any(line.split()[:1] == [command] and module.SUMMARY in line for line in lines)


def test_a_grid_is_read_back_from_its_text():
    for text in ("-0.3,0,0.9:0:-0.6,0,0.6", "1:2:3"):
        assert _grid.text(_grid.parse(text)) == text
    assert len(_grid.parse("-0.3,0,0.9:0:-0.6,0,0.6")) == 9


def written_commands() -> list[str]:
    """The command lines of the documents, and those that .ci/extras runs."""
    root = Path(__file__).parents[1]
    documents = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    fence = re.compile(r"^```(?:sh|bash).*?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    blocks = [block for path in documents for block in fence.findall(path.read_text())]
    text = "\n".join(blocks).replace("\\\n", " ")
    lines = [
        line.split("cmg-", 1)[-1].split("  #")[0]
        for line in text.splitlines()
        if re.search(r"\bcmg-(jax|convert) ", line)
    ]
    extras = re.findall(r'", "cmg-((?:jax|convert) [^"{]*)"', (root / ".ci" / "extras").read_text())
    return [*lines, *extras]


def test_the_commands_in_the_documents_are_parsed(capsys):
    found = written_commands()
    assert len(found) > 80
    for line in found:
        program, *arguments = shlex.split(line)
        parser = {"jax": main, "convert": convert}[program].parser()
        try:
            parser.parse_args(arguments)
        except SystemExit:
            raise AssertionError(f"cmg-{line}: {capsys.readouterr().err}") from None


# Long work.

REPORTING = """
import sys
from cmg_jax.cli import _progress
from cmg_jax.cli.main import main
_progress.INTERVAL = {interval}
sys.exit(main({arguments!r}))
"""


def start_reporting(directory, interval, *arguments):
    """Start a command that reports every `interval` seconds, with its output in files."""
    program = REPORTING.format(interval=interval, arguments=[str(argument) for argument in arguments])
    with (directory / "out.txt").open("w") as out, (directory / "log.txt").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", program], stdout=out, stderr=log, cwd=directory, preexec_fn=enable_interrupts
        )


def test_a_log_file_has_a_line_from_time_to_time_and_no_bars(tmp_path):
    process = start_reporting(tmp_path, 0.05, "generate", "--envs", 4096, "--seconds", 1, "--out", "a.npz")
    assert process.wait(timeout=200) == 0
    log = (tmp_path / "log.txt").read_text()
    lines = log.splitlines()
    assert lines
    assert "\x1b" not in log
    rest = r"(, compiling included|, about [\d a-z]+ left)?"
    pattern = rf"cmg-jax generate: (frames|body poses) [\d,]+ of [\d,]+, [\d a-z]+ so far{rest}"
    assert all(re.fullmatch(pattern, line) for line in lines), log
    assert any("left" in line for line in lines)


@pytest.mark.slow
def test_work_that_is_quick_reports_nothing(tmp_path):
    process = start_reporting(tmp_path, 60, "evaluate", "--grid=0.5:0:0", "--seconds", 2, "--drift-seconds", 2)
    assert process.wait(timeout=200) == 0
    assert (tmp_path / "log.txt").read_text() == ""


def test_the_remaining_time_is_estimated_without_the_compilation(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert _progress._Task("files", 3).text(now) == "files 0 of 3, 0 s so far"
    task = _progress._Task("steps", 6000, compiles=True)
    now += 30
    assert task.text(now) == "steps 0 of 6,000, 30 s so far, compiling included"
    now += 30  # for the compilation and 100 steps
    task.advance(100)
    now += 10
    assert task.text(now) == "steps 100 of 6,000, 1 min 10 s so far, compiling included"
    task.advance(100)
    assert task.text(now) == "steps 200 of 6,000, 1 min 10 s so far, about 9 min 40 s left"

    task = _progress._Task("steps", 6000, compiles=True, done=3000)  # those of a run that goes on
    now += 60
    assert task.text(now) == "steps 3,000 of 6,000, 1 min 00 s so far, compiling included"
    task.advance(1000)
    now += 20
    task.advance(1000)
    assert task.text(now) == "steps 5,000 of 6,000, 1 min 20 s so far, about 20 s left"


def test_no_thread_is_left_when_the_work_fails():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), progress_reports("a test"):
        raise ZeroDivisionError
    assert threading.active_count() == before


@pytest.mark.slow
def test_an_interrupted_benchmark_keeps_its_finished_figures(tmp_path):
    arguments = ("bench", "--mode", "preload", "--envs", 8, 4096, "--repeats", 20, "--save", "a.json")
    process = start_reporting(tmp_path, 60, *arguments)
    deadline = time.monotonic() + 200
    while not (tmp_path / "a.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=200) == 130
    (table,) = json.loads(Path(tmp_path / "a.json").read_text())["sections"]
    assert table["name"] == "modes"
    assert 1 <= len(table["rows"]) < 6
    assert {row["envs"] for row in table["rows"]} == {8}
