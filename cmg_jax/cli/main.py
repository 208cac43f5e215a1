"""Entry point of `cmg-jax`: finds the subcommand and runs it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cmg_jax.cli import (
    _bench,
    _data,
    _evaluate,
    _export,
    _gaits,
    _generate,
    _info,
    _inspect,
    _match,
    _motions,
    _rl,
    _train,
    _view,
)
from cmg_jax.cli._program import ParagraphHelpFormatter, Parser, run
from cmg_jax.generators._compiled import compilation_cache

PROGRAM = "cmg-jax"
GROUPS = {
    "make motion": {"generate": _generate, "motions": _motions, "view": _view},
    "train a model": {"data": _data, "gaits": _gaits, "match": _match, "train": _train, "evaluate": _evaluate},
    "train a policy": {"rl": _rl},
    "look at files": {"info": _info, "inspect": _inspect},
    "use elsewhere": {"export": _export},
    "measure": {"bench": _bench},
}
"""The commands by job, in the order of the help. Each module adds its options and runs with their values."""


def main(argv: Sequence[str] | None = None) -> int:
    options = vars(parser().parse_args(argv))
    name, command, cache = (options.pop(key) for key in ("subcommand", "run", "compilation_cache"))

    def work() -> int | None:
        if cache:
            compilation_cache(cache)
        return command(**options)

    return run(f"{PROGRAM} {name}", work)


def parser() -> Parser:
    commands = {name: module for group in GROUPS.values() for name, module in group.items()}
    width = max(map(len, commands))
    jobs = [
        "\n".join([f"{job}:", *(f"  {name:<{width}}  {module.SUMMARY}" for name, module in group.items())])
        for job, group in GROUPS.items()
    ]
    made = Parser(
        prog=PROGRAM,
        description="Velocity commands to humanoid reference motion.",
        epilog="\n\n".join([*jobs, f"{PROGRAM} COMMAND --help lists the options of a command"]),
        formatter_class=ParagraphHelpFormatter,
    )
    made.add_argument(
        "--compilation-cache",
        type=Path,
        metavar="DIR",
        help="directory that keeps compiled programs for later calls; must come before COMMAND",
    )
    subparsers = made.add_subparsers(dest="subcommand", required=True, metavar="COMMAND", help="one of those below")
    for name, module in commands.items():
        module.add_options(subparsers.add_parser(name, description=f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}."))
    return made


if __name__ == "__main__":
    sys.exit(main())
