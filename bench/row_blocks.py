"""How many rows a CPU should generate together: the rate of `generate` for several block sizes.

    python -m bench.row_blocks [--envs 4096] [--steps 50] [--block-rows 256 512 1024 4096] [--repeats 3]

Sizes are timed alternately; the rates printed are medians, relative to that of the first size.
"""

import argparse
import functools
import statistics

import cmg_jax
from bench._measure import compile_program, device, inputs, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--block-rows", type=int, nargs="+", default=[512, 256, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    model = cmg_jax.default_model()
    arguments_of_generate = (model, *inputs(model, arguments.envs, arguments.steps))
    programs = {
        rows: compile_program(
            functools.partial(cmg_jax.generate, time_major=True, block_rows=rows), *arguments_of_generate
        )
        for rows in arguments.block_rows
    }
    times: dict[int, list[float]] = {rows: [] for rows in programs}
    for _ in range(arguments.repeats + 1):
        for rows, program in programs.items():
            times[rows].append(seconds(lambda program=program: program.call(*arguments_of_generate)))
    median = {rows: statistics.median(taken[1:]) for rows, taken in times.items()}
    print("  ".join(f"{key} {value}" for key, value in device().items()))
    first = median[arguments.block_rows[0]]
    for rows, taken in median.items():
        rate = arguments.envs * arguments.steps / taken
        print(f"blocks of {rows:5d} rows: {rate:9,.0f} frames/s, {first / taken:.3f}")


if __name__ == "__main__":
    main()
