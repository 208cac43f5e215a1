"""Entry point of `cmg-jax`: finds the subcommand and runs it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cmg_jax.cli import bench, data, dataset, evaluate, export, generate, info, inspect, rl, train, view
from cmg_jax.cli.program import Parser, run
from cmg_jax.generators._compiled import compilation_cache

PROGRAM = "cmg-jax"
COMMANDS = (generate, dataset, info, inspect, data, train, evaluate, rl, export, view, bench)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog=PROGRAM, description="Velocity commands to humanoid reference motion.")
    parser.add_argument(
        "--compilation-cache",
        type=Path,
        metavar="DIR",
        help="keep compiled programs there for the next call: cmg-jax --compilation-cache DIR COMMAND ...",
    )
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(subparsers)
    arguments = parser.parse_args(argv)

    def command() -> int | None:
        if arguments.compilation_cache:
            compilation_cache(arguments.compilation_cache)
        return arguments.function(arguments)

    return run(f"{PROGRAM} {arguments.subcommand}", command)


if __name__ == "__main__":
    sys.exit(main())
