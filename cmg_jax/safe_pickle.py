"""Read pickles of plain data and NumPy arrays without executing anything from the file.

`pickle` is a small stack machine. This reader walks its opcodes with `pickletools.genops` (a parser,
it runs nothing) and carries out only those that build plain data. Every global that a file names is
looked up in an allow-list of functions of *ours*; a name that is not on it ends the reading, and so
does an opcode that is not handled here. No object of the file is ever called, imported or given state.
"""

import io
import math
import pickletools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

import numpy as np

from cmg_jax.errors import InputError

Handler = Callable[..., Any]


DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What a damaged stream raises, in the parser or in an operand."""

MAX_MESSAGE = 300  # characters; names and sizes in a message come from the file
MAX_GROWTH = 8
"""Built bytes for each byte of the pickle; honest files need two."""


class PickleError(InputError):
    """The pickle is damaged, or asks for something that is not plain data."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.split())[:MAX_MESSAGE])


class _Mark:
    """Stack marker of the pickle machine."""


class _Global:
    """A name on the allow-list: what REDUCE may apply."""

    def __init__(self, name: str, handler: Handler):
        self.name = name
        self.handler = handler


class _Dtype:
    """`numpy.dtype` under construction: the byte order comes with its state."""

    KINDS = "biufSU"

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str):
            raise PickleError("is damaged: a dtype without a name")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in self.KINDS or self.dtype.itemsize == 0:
            raise PickleError(f"holds an array of dtype {code!r}; only numbers and strings are read")

    def set_state(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise PickleError(f"holds a dtype with byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """`numpy.ndarray` under construction: shape and bytes come with its state."""

    value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        self.value = _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
        raise PickleError("holds an array that is not plain numbers")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise PickleError("holds an array whose shape is not whole numbers")
    if math.prod(shape) * dtype.dtype.itemsize != len(raw):
        raise PickleError(f"holds an array whose {len(raw)} bytes do not fill shape {shape}")
    view = np.ndarray(shape, dtype.dtype, raw, order="F" if order == "F" else "C")
    return view.astype(dtype.dtype.newbyteorder("="))


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(raw, dtype, (), "C")[()]


def _encode(text: Any, encoding: Any) -> bytes:
    # How protocol 2 writes bytes: latin-1 text.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleError(f"encodes text as {encoding!r}")
    return text.encode("latin-1")


def _ordered_dict(pairs: Any = ()) -> dict:
    return {_key(key): value for key, value in pairs}


def _numpy_globals() -> dict[str, Handler]:
    allowed: dict[str, Handler] = {
        "collections.OrderedDict": _ordered_dict,
        "_codecs.encode": _encode,
        "__builtin__.bytes": lambda: b"",  # how protocol 2 writes empty bytes
        "numpy.dtype": _Dtype,
    }
    for core in ("numpy.core", "numpy._core"):
        allowed[f"{core}.multiarray._reconstruct"] = lambda *_: _Array()
        allowed[f"{core}.multiarray.scalar"] = _scalar
        allowed[f"{core}.numeric._frombuffer"] = _array
    # Only ever an argument of _reconstruct.
    allowed["numpy.ndarray"] = refused("numpy.ndarray called as a function")
    return allowed


def refused(what: str) -> Handler:
    """A handler for a name that may stand in a pickle but never be called."""

    def handler(*_: Any) -> Any:
        raise PickleError(f"holds {what}")

    return handler


NUMPY_GLOBALS: Mapping[str, Handler] = _numpy_globals()


def _key(key: Any) -> Any:
    if not isinstance(key, str | int | float | bool | bytes | None):
        raise PickleError(f"uses a {type(key).__name__} as a dictionary key")
    return key


def load(
    stream: BinaryIO | bytes,
    *,
    allowed: Mapping[str, Handler] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """The object in `stream`, read up to its STOP opcode.

    Args:
      stream: an open binary file or the bytes themselves; a file is left just behind the pickle.
      allowed: further globals, "module.name" to a function of the caller's that stands for it.
      persistent_load: called with the id of every external object (PyTorch's storages).

    Raises:
      PickleError: the stream is no pickle, is cut short, or holds anything that is not on the list.
    """
    stream = io.BytesIO(stream) if isinstance(stream, bytes) else stream
    machine = _Machine({**NUMPY_GLOBALS, **(allowed or {})}, persistent_load)
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes in names
            for opcode, argument, position in pickletools.genops(stream):
                if opcode.name == "STOP":
                    return _finished(machine.stack.pop())
                machine.run(opcode.name, argument, position)
    except PickleError:
        raise
    except DAMAGE as error:
        raise PickleError(f"is damaged: {type(error).__name__} while unpickling") from error
    raise PickleError("is cut short")


def _finished(value: Any) -> Any:
    """What a stack item stands for, once something uses it."""
    if isinstance(value, _Array):
        if value.value is None:
            raise PickleError("is damaged: an array without its state")
        return value.value
    if isinstance(value, _Mark):
        raise PickleError("is damaged: a marker where a value belongs")
    return value


class _Machine:
    """Stack and memo of the pickle machine; one method an opcode, none for those refused."""

    CONSTANTS: ClassVar[Mapping[str, Any]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    LITERALS = frozenset(
        "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "  # noqa: SIM905
        "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
    )
    EMPTY: ClassVar[Mapping[str, type]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
    IGNORED = frozenset({"PROTO", "FRAME"})

    def __init__(self, allowed: Mapping[str, Handler], persistent_load: Callable[[Any], Any] | None):
        self.allowed = allowed
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.built = 0

    def run(self, opcode: str, argument: Any, position: int | None) -> None:
        self.position = position or 0
        if opcode in self.LITERALS:
            self.stack.append(argument)
        elif opcode in self.CONSTANTS:
            self.stack.append(self.CONSTANTS[opcode])
        elif opcode in self.EMPTY:
            self.stack.append(self.EMPTY[opcode]())
        elif opcode not in self.IGNORED:
            operation = getattr(self, f"op_{opcode.lower()}", None)
            if operation is None:
                raise PickleError(f"uses pickle opcode {opcode} at byte {position}, which plain data does not need")
            operation(argument)

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

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    op_long_binput = op_binput

    def op_binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    op_long_binget = op_binget

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def op_tuple1(self, _: Any) -> None:
        self.stack.append((self.pop(),))

    def op_tuple2(self, _: Any) -> None:
        second, first = self.pop(), self.pop()
        self.stack.append((first, second))

    def op_tuple3(self, _: Any) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append((first, second, third))

    def op_append(self, _: Any) -> None:
        item = self.pop()
        self._top(list).append(item)

    def op_appends(self, _: Any) -> None:
        items = self.pop_to_mark()
        self._top(list).extend(items)

    def op_setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._top(dict)[_key(key)] = value

    def op_setitems(self, _: Any) -> None:
        items = self.pop_to_mark()
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise PickleError(f"is damaged: expected a {kind.__name__}")
        return self.stack[-1]

    def op_global(self, argument: str) -> None:
        name = argument.replace(" ", ".", 1)
        if name not in self.allowed:
            raise PickleError(f"asks for {name}, which is not on the list of plain data; nothing of it was run")
        self.stack.append(_Global(name, self.allowed[name]))

    def op_stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("is damaged: a global without a name")
        self.op_global(f"{module} {name}")

    def op_reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.stack.pop()
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise PickleError("tries to call something that is not on the list of plain data")
        self.stack.append(self._counted(function.handler(*arguments)))

    def _counted(self, value: Any) -> Any:
        """A value that a handler built; a memoized argument, used over and over, could build without end."""
        self.built += 64 * len(value) if isinstance(value, dict) else getattr(value, "nbytes", 0)
        self.built += len(value) if isinstance(value, bytes) else 0
        if self.built > MAX_GROWTH * (self.position + 4096):
            raise PickleError("unpacks to far more than its size; honest files do not")
        return value

    def op_build(self, _: Any) -> None:
        state = self.pop()
        target = self.stack[-1]
        if isinstance(target, _Dtype | _Array):
            if not isinstance(state, tuple):
                raise PickleError("is damaged: an array without its state")
            target.set_state(state)
            self._counted(_finished(target))
        # A state_dict carries its `_metadata` attribute this way; it says nothing of the weights.
        elif not (isinstance(target, dict) and isinstance(state, dict) and set(state) <= {"_metadata"}):
            raise PickleError(f"tries to set the state of a {type(target).__name__}")

    def op_binpersid(self, _: Any) -> None:
        if self.persistent_load is None:
            raise PickleError("refers to data outside the pickle")
        self.stack.append(self.persistent_load(self.pop()))
