"""The stack machine that runs a pickle's opcodes, limited to those that build plain data.

The argument readers of `pickletools` (a parser, it runs nothing) read its opcodes. A global that the file names is
looked up in a table of functions of *ours*; any other becomes a `Placeholder`, and so does everything that
the file would make of it. No object of the file is ever called, imported or given state.
"""

import codecs
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

import numpy as np

from cmg_jax.pickles._globals import Global, dictionary_key
from cmg_jax.pickles._numpy import UNSET, Array, Dtype, JoblibArray
from cmg_jax.pickles._placeholder import Handler, PickleError, Placeholder

OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}

MAX_GROWTH = 8
"""Bytes that may be built for each byte of the pickle; ordinary files need two."""

MAX_NESTING = 32
"""Largest depth of arrays of objects nested directly in one another."""


class _Mark:
    """Stack marker of the pickle machine."""


def _finished(value: Any) -> Any:
    """The value of a stack item, once something uses it."""
    if isinstance(value, Array):
        if value.value is UNSET:
            raise PickleError("is damaged: an array without its state")
        return value.value
    if isinstance(value, _Mark):
        raise PickleError("is damaged: a marker where a value is expected")
    return value


def _string(stream: BinaryIO) -> str:
    """The argument of STRING: bytes of Python 2, as latin-1 text."""
    line = stream.readline().rstrip(b"\n")
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise PickleError("is damaged: a string without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")  # pyright: ignore[reportAttributeAccessIssue]


class Machine:
    """Stack and memo of the pickle machine; with one method for each supported opcode."""

    CONSTANTS: ClassVar[Mapping[str, Any]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    LITERALS = frozenset(
        "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "  # noqa: SIM905
        "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 INT LONG FLOAT STRING BINSTRING SHORT_BINSTRING UNICODE".split()
    )
    EMPTY: ClassVar[Mapping[str, Callable[[], Any]]] = {
        "EMPTY_DICT": dict,
        "EMPTY_LIST": list,
        "EMPTY_TUPLE": tuple,
        "EMPTY_SET": lambda: Placeholder("set"),
    }
    IGNORED = frozenset({"PROTO", "FRAME"})

    def __init__(self, stream: BinaryIO, allowed: Mapping[str, Handler], persistent_load: Callable[[Any], Any] | None):
        self.stream = stream
        self.allowed = allowed
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.built = 0
        self.nesting: dict[int, tuple[int, np.ndarray]] = {}

    def load(self) -> Any:
        """Run the pickle up to its STOP opcode; returns what it leaves on the stack.

        Raises:
          PickleError: an opcode that no file needs, or a damaged stream. Its operands may raise other errors too.
        """
        while True:
            self.position = self.stream.tell()
            code = self.stream.read(1)
            if not code:
                raise PickleError("is cut short")
            opcode = OPCODES.get(code.decode("latin-1"))
            if opcode is None:
                raise PickleError(f"is damaged, or not a pickle: byte {code[0]} at {self.position} is not an opcode")
            if opcode.name == "STOP":
                return self.pop()
            argument = None
            if opcode.arg is not None:
                argument = _string(self.stream) if opcode.name == "STRING" else opcode.arg.reader(self.stream)
            self.run(opcode.name, argument)

    def run(self, opcode: str, argument: Any) -> None:
        if opcode in self.LITERALS:
            self.stack.append(argument)
        elif opcode in self.CONSTANTS:
            self.stack.append(self.CONSTANTS[opcode])
        elif opcode in self.EMPTY:
            self.stack.append(self.EMPTY[opcode]())
        elif opcode not in self.IGNORED:
            operation = getattr(self, f"op_{opcode.lower()}", None)
            if operation is None:
                raise PickleError(f"uses pickle opcode {opcode} at byte {self.position}, which no file needs")
            operation(argument)

    def nested(self) -> Any:
        """The object of a whole pickle inside this one."""
        outside = self.stack, self.memo
        self.stack, self.memo = [], {}
        value = self.load()
        self.stack, self.memo = outside
        return value

    def pop(self) -> Any:
        return _finished(self.stack.pop())

    def pop_to_mark(self) -> list[Any]:
        items = []
        while not isinstance(item := self.stack.pop(), _Mark):
            items.append(_finished(item))
        return items[::-1]

    def op_mark(self, _: Any) -> None:
        self.stack.append(_Mark())

    def op_pop(self, _: Any) -> None:
        self.stack.pop()

    def op_pop_mark(self, _: Any) -> None:
        self.pop_to_mark()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    op_put = op_long_binput = op_binput

    def op_binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    op_get = op_long_binget = op_binget

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def op_tuple1(self, _: Any) -> None:
        self._tuple(1)

    def op_tuple2(self, _: Any) -> None:
        self._tuple(2)

    def op_tuple3(self, _: Any) -> None:
        self._tuple(3)

    def _tuple(self, count: int) -> None:
        self.stack.append(tuple([self.pop() for _ in range(count)][::-1]))

    def op_list(self, _: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def op_dict(self, _: Any) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self._set_items(items)

    def op_frozenset(self, _: Any) -> None:
        self.pop_to_mark()
        self.stack.append(Placeholder("frozenset"))

    def op_append(self, _: Any) -> None:
        self._extend([self.pop()])

    def op_appends(self, _: Any) -> None:
        self._extend(self.pop_to_mark())

    def op_additems(self, _: Any) -> None:
        self.pop_to_mark()

    def op_setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._set_items([key, value])

    def op_setitems(self, _: Any) -> None:
        self._set_items(self.pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif not isinstance(target, Placeholder):
            raise PickleError("is damaged: expected a list")

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is dict:
            target.update((dictionary_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))
        elif not isinstance(target, Placeholder):
            raise PickleError("is damaged: expected a dict")

    def op_global(self, argument: str) -> None:
        name = argument.replace(" ", ".", 1)
        self.stack.append(Global(name, self.allowed.get(name)))

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("is damaged: a global without a name")
        self.op_global(f"{module} {name}")

    def op_ext1(self, code: int) -> None:
        self.stack.append(Placeholder(f"registered extension {code}"))

    op_ext2 = op_ext4 = op_ext1

    def op_reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.stack.pop()
        self._call(function, arguments)

    op_newobj = op_reduce

    def op_newobj_ex(self, _: Any) -> None:
        _keywords, arguments, function = self.pop(), self.pop(), self.stack.pop()
        self._call(Placeholder(function.name), arguments)

    def op_inst(self, argument: str) -> None:
        arguments = tuple(self.pop_to_mark())
        self.op_global(argument)
        self._call(self.stack.pop(), arguments)

    def op_obj(self, _: Any) -> None:
        function, *arguments = self.pop_to_mark()
        self._call(function, tuple(arguments))

    def _call(self, function: Any, arguments: Any) -> None:
        """Put the result of our function on the stack, or a placeholder if the function is the file's."""
        if not isinstance(function, Placeholder) or not isinstance(arguments, tuple | Placeholder):
            raise PickleError("is damaged: it calls something that is not a function")
        handler = getattr(function, "handler", None)
        if handler is None or isinstance(arguments, Placeholder):
            self.stack.append(Placeholder(function.name))
        else:
            self.stack.append(self._counted(handler(*arguments)))

    def _counted(self, value: Any) -> Any:
        """Count a value that a handler built: a memoized argument that is used repeatedly could build without limit."""
        self.built += 64 * len(value) if isinstance(value, dict) else getattr(value, "nbytes", 0)
        self.built += len(value) if isinstance(value, bytes) else 0
        if self.built > MAX_GROWTH * (self.position + 4096):
            raise PickleError("unpacks to far more than its size; ordinary files do not")
        if isinstance(value, np.ndarray) and value.dtype == object:
            # NumPy frees an array of arrays by recursion, without a limit. The arrays are kept alive, so their ids stay
            # theirs.
            depth = 1 + max((self.nesting.get(id(item), (0,))[0] for item in value.flat), default=0)
            self.nesting[id(value)] = depth, value
            if depth > MAX_NESTING:
                raise PickleError(f"holds arrays in arrays, {depth} deep")
        return value

    def op_build(self, _: Any) -> None:
        state = self.pop()
        target = self.stack[-1]
        if isinstance(target, JoblibArray):
            target.read(state, self.stream, self.nested)
        elif isinstance(target, Dtype | Array):
            if not isinstance(state, tuple):
                raise PickleError("is damaged: an array without its state")
            target.set_state(state)
            if isinstance(value := _finished(target), np.ndarray):
                self._counted(value)
        elif type(target) is Placeholder:
            target.state = state
        else:  # Attributes of a dictionary and the like are left out.
            _finished(target)

    def op_persid(self, argument: Any) -> None:
        self.stack.append(self.persistent_load(argument) if self.persistent_load else Placeholder("external data"))

    def op_binpersid(self, _: Any) -> None:
        self.op_persid(self.pop())
