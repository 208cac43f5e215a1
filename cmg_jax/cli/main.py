"""Entry point of `cmg-jax`: finds the subcommand and runs it."""

import sys
from collections.abc import Sequence

from cmg_jax.cli import data, evaluate, generate, info, rl, train
from cmg_jax.cli.program import Parser, run

PROGRAM = "cmg-jax"
COMMANDS = (generate, info, data, train, evaluate, rl)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog=PROGRAM, description="Velocity commands to humanoid reference motion.")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    arguments = parser.parse_args(argv)
    return run(f"{PROGRAM} {arguments.subcommand}", lambda: arguments.function(arguments))


if __name__ == "__main__":
    sys.exit(main())
