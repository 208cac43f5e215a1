"""What a program that XLA has compiled for a GPU does in one turn of its longest loop, from the program's text.

A GPU runs every instruction of a loop's body that is not a name for something else as one kernel. The host decides
whether a conditional and a loop without a known trip count go on: it waits for everything before and reads one number.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from math import prod
from typing import NamedTuple

from bench._roofline import Work

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4}
BYTES |= {"f64": 8, "s64": 8, "u64": 8}
NAMES = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all"}
"""Operations that are only another name for what is there, and are no kernel."""
VIEWS = {"bitcast", "reshape"}
SLICES = {"dynamic-slice", "slice", "gather"}
UPDATES = {"dynamic-update-slice": 1, "scatter": -1}
"""Operations that write into their first operand in place, and which operand is what they write."""


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    shape: str
    operation: str
    operands: list[str]
    attributes: str

    def called(self, *names: str) -> list[str]:
        """The computations that the attributes of these names call."""
        found = [re.search(rf"\b{name}=\{{?([^,}}]+(?:, %[^,}}]+)*)", self.attributes) for name in names]
        return [name.strip(" %") for match in found if match for name in match[1].split(",")]


class Costs(NamedTuple):
    """Of one turn of a loop's body. Kernels and megabytes are of what every turn runs, copies of all that may run."""

    kernels: int
    megabytes: float  # read and written
    copies_mb: float  # written by copies alone, wherever they are in the body
    largest_copy_mb: float
    conditionals: int
    open_loops: int  # without a known trip count
    reads_quiet: int  # by the host, where no conditional or loop without a known trip count does anything
    reads_busy: int  # where each of them runs once
    work: list[Work]  # of each kernel


def loop_costs(text: str) -> Costs:
    """The costs of one turn of the loop of ENTRY that has the most turns, or of ENTRY where it has no loop."""
    computations = _computations(text)
    loops = [step for step in computations["ENTRY"] if step.operation == "while"]
    longest = max(loops, key=lambda loop: _turns(loop) or 0, default=None)
    return _costs(computations, "ENTRY" if longest is None else longest.called("body")[0])


def _costs(computations: dict[str, list[Instruction]], name: str) -> Costs:
    kernels = conditionals = open_loops = quiet = busy = 0
    megabytes = copies = largest = 0.0
    work: list[Work] = []
    body = computations[name]
    shapes = {step.name: step.shape for step in body}
    for step in body:
        if step.operation in NAMES:
            continue
        if step.operation in ("while", "conditional", "call"):
            turns = 1 if step.operation == "call" else _turns(step) if step.operation == "while" else None
            names = step.called("body", "to_apply", "branch_computations", "true_computation", "false_computation")
            parts = [_costs(computations, part) for part in names]
            copies += (turns or 1) * sum(part.copies_mb for part in parts)
            largest = max(largest, *(part.largest_copy_mb for part in parts))
            conditionals += sum(part.conditionals for part in parts) + (step.operation == "conditional")
            open_loops += sum(part.open_loops for part in parts) + (step.operation == "while" and turns is None)
            inside = max(part.reads_busy for part in parts)
            if turns is None:  # a loop's predicate is read again after its turn
                quiet += 1
                busy += inside + (1 if step.operation == "conditional" else 2)
            else:
                quiet += turns * max(part.reads_quiet for part in parts)
                busy += turns * inside
                kernels += turns * sum(part.kernels for part in parts)
                megabytes += turns * sum(part.megabytes for part in parts)
                work += turns * [kernel for part in parts for kernel in part.work]
            continue
        kernels += 1
        fused = computations[step.called("calls")[0]] if step.operation == "fusion" else None
        read, written = _traffic(step, shapes, fused)
        megabytes += (read + written) / 1e6
        work.append(Work(read + written, *_products(step, shapes, fused)))
        if _is_copy(step, fused):
            copies, largest = copies + written / 1e6, max(largest, written / 1e6)
    return Costs(kernels, megabytes, copies, largest, conditionals, open_loops, quiet, busy, work)


def _is_copy(step: Instruction, fused: list[Instruction] | None) -> bool:
    """Whether a kernel does nothing but to copy."""
    if fused is None:
        return step.operation in ("copy", "copy-start")
    return {inside.operation for inside in fused} <= NAMES | VIEWS | {"copy"}


def _traffic(step: Instruction, shapes: dict[str, str], fused: list[Instruction] | None) -> tuple[int, int]:
    """Bytes read and written by a kernel: of what is only sliced, the slice; of an update in place, the update."""
    if fused is None:
        read, written = sum(_size(shapes.get(name, "")) for name in step.operands), _size(step.shape)
        if step.operation in UPDATES:
            read = written = _size(shapes[step.operands[UPDATES[step.operation]]])
        return min(read, written) if step.operation in SLICES else read, written
    inside = {one.name: one for one in fused}

    def source(name: str) -> str:
        while inside[name].operation in VIEWS:
            name = inside[name].operands[0]
        return name

    read, updated = 0, {source(one.operands[0]) for one in fused if one.operation in UPDATES}
    for parameter in (one for one in fused if one.operation == "parameter"):
        users = [
            (user, position)
            for user in fused
            if user.operation not in VIEWS
            for position, operand in enumerate(user.operands)
            if source(operand) == parameter.name
        ]
        if all(user.operation in {*SLICES, *UPDATES} and position == 0 for user, position in users):
            sliced = sum(_size(user.shape) for user, _ in users if user.operation in SLICES)
            read += min(sliced, _size(parameter.shape))
        else:
            read += _size(parameter.shape)
    written = 0
    root = fused[-1]
    for name in root.operands if root.operation == "tuple" else [root.name]:
        last = inside[source(name)]
        if last.operation in UPDATES and source(last.operands[0]) in updated:
            last = inside[last.operands[UPDATES[last.operation]]]
        written += 0 if last.operation == "parameter" else _size(last.shape)
    return read, written


def _products(step: Instruction, shapes: dict[str, str], fused: list[Instruction] | None) -> tuple[int, str]:
    """Operations of a kernel's products, and their precision."""
    if step.operation == "custom-call" and "pallas_call" in step.attributes:
        # Every row meets every weight once; a weight is what has no rows.
        rows, *others = (_sizes(shapes[name]) for name in step.operands)
        weights = sum(prod(sizes) for sizes in others if len(sizes) > 1 and sizes[0] != rows[0])
        named = re.search(r"experts_layer_(\w+)/", step.attributes)
        return 2 * rows[0] * weights, named[1] if named else "float32"
    operations, precision = 0, "float32"
    shapes = {one.name: one.shape for one in fused} if fused else shapes
    for product in (one for one in fused or [step] if one.operation == "dot"):
        left = _sizes(shapes[product.operands[0]])
        summed = [left[int(axis)] for axis in re.findall(r"\d+", product.attributes.partition("rhs")[0])]
        operations += 2 * prod(_sizes(product.shape)) * prod(summed)
        if shapes[product.operands[0]].startswith(("f16", "bf16")):
            precision = "half"
        elif "dot_tf32_tf32_f32," in product.attributes:
            precision = "tf32"
    return operations, precision


def _sizes(shape: str) -> list[int]:
    """Of the axes of an array."""
    return [int(size) for size in re.findall(r"\d+", shape.partition("[")[2].partition("]")[0])]


def _turns(loop: Instruction) -> int | None:
    known = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.attributes)
    return int(known[1]) if known else None


def _size(shape: str) -> int:
    """Bytes of an array, or of all arrays of a tuple."""
    arrays = re.findall(r"(\w+\[[\d,]*\])", shape)
    return sum(BYTES.get(array.partition("[")[0], 0) * prod(_sizes(array)) for array in arrays)


def _computations(text: str) -> dict[str, list[Instruction]]:
    """The instructions of each computation by its name, those of the program's under ENTRY; the root is the last."""
    computations: dict[str, list[Instruction]] = {}
    for header, lines in _blocks(text):
        instructions, root = [], None
        for line in lines:
            instruction = _instruction(line.removeprefix("ROOT "))
            if instruction is None:
                continue
            if line.startswith("ROOT "):
                root = instruction
            else:
                instructions.append(instruction)
        computations[header] = [*instructions, *([root] if root else [])]
    return computations


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    header, lines = None, []
    for line in text.splitlines():
        begin = re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line)
        if begin and " = " not in line.partition("(")[0] and not line.startswith("HloModule"):
            header, lines = "ENTRY" if begin[1] else begin[2], []
        elif line.startswith("}") and header:
            yield header, lines
            header = None
        elif header:
            lines.append(line.strip())


def _instruction(line: str) -> Instruction | None:
    match = re.match(r"%([\w.\-]+) = (\(.*?\)(?= [\w\-]+\()|\S+) ([\w\-]+)\((.*)$", line)
    if match is None:
        return None
    name, shape, operation, rest = match.groups()
    depth = accumulate({"(": 1, ")": -1}.get(character, 0) for character in rest)
    end = next(place for place, level in enumerate(depth) if level < 0)
    return Instruction(name, shape, operation, re.findall(r"%([\w.\-]+)", rest[:end]), rest[end + 1 :])
