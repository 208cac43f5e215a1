"""Read pickles of plain data and NumPy arrays without executing anything from the file.

`pickle` is a small stack machine. This reader walks its opcodes with the argument readers of `pickletools`
(a parser, it runs nothing) and carries out those that build plain data. A global that a file names is looked
up in a list of functions of *ours*; any other becomes a `Placeholder`, and so does all that the file would
make of it. No object of the file is ever called, imported or given state. joblib's files are read too.
"""

import bz2
import codecs
import io
import lzma
import pickletools
import tokenize
import warnings
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

import numpy as np

from cmg_jax._files import first_line
from cmg_jax.pickles._numpy import Array, Dtype, Handler, JoblibArray, PickleError, Placeholder, numpy_globals

DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What a damaged stream raises, in the parser or in an operand."""

OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}

MAX_GROWTH = 8
"""Built bytes for each byte of the pickle; honest files need two."""

MAX_NESTING = 32
"""Arrays of objects directly in one another."""

MAX_UNPACKED = (16 * 2**20, 64)
"""A compressed file may unpack to so many bytes, or to so many times its size where that is more."""

MAX_KEY = (1024, 8)  # bits of an integer, numbers of a tuple: what hashes at once

DECOMPRESSORS: Mapping[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\x78": zlib.decompressobj,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
    b"\x5d\x00": lzma.LZMADecompressor,
}
"""By a file's first bytes, none of which a pickle begins with."""


class _Mark:
    """Stack marker of the pickle machine."""


class _Global(Placeholder):
    """A name of the file; REDUCE applies our function for it, where there is one."""

    __slots__ = ("handler",)

    def __init__(self, name: str, handler: Handler | None):
        super().__init__(name)
        self.handler = handler


def _encode(text: Any, encoding: Any) -> bytes:
    # How protocol 2 writes bytes: latin-1 text.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise PickleError("is damaged: bytes that are no latin-1 text")
    return text.encode("latin-1")


def _dict(pairs: Any = ()) -> dict:
    return {_key(key): value for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


def _new_object(kind: Any, *_: Any) -> Any:
    handler = getattr(kind, "handler", None)
    return handler() if handler else Placeholder(kind.name)


GLOBALS: Mapping[str, Handler] = {
    **numpy_globals(),
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda _factory=None, pairs=(): _dict(pairs),
    "collections.Counter": _dict,
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # how protocol 2 writes empty bytes
    "builtins.bytes": lambda: b"",
    "copy_reg._reconstructor": _new_object,  # how protocols 0 and 1 write any object
    "copyreg._reconstructor": _new_object,
}


def _key(key: Any) -> Any:
    """A dictionary key: the file's own where it is short and plain."""
    if isinstance(key, tuple) and len(key) <= MAX_KEY[1] and not any(isinstance(_plain(part), tuple) for part in key):
        return tuple(_plain(part) for part in key)
    return _plain(key)


def _plain(key: Any) -> Any:
    if isinstance(key, int) and key.bit_length() > MAX_KEY[0]:
        return Placeholder("a long integer as a dictionary key")
    if isinstance(key, str | int | float | bytes | np.generic | None):
        return key
    return Placeholder(f"a {type(key).__name__} as a dictionary key")


def load(
    stream: BinaryIO | bytes,
    *,
    allowed: Mapping[str, Handler] | None = None,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """The object in `stream`, read up to its STOP opcode, with a `Placeholder` for all that is not plain data.

    Args:
      stream: an open binary file or the bytes themselves, which may be compressed (zlib, gzip, bz2, xz); a file is
        left just behind the pickle.
      allowed: further globals, "module.name" to a function of the caller's that stands for it.
      persistent_load: called with the id of every external object (PyTorch's storages).

    Raises:
      PickleError: the stream is no pickle, or is damaged or cut short.
    """
    stream = io.BytesIO(_unpacked(stream)) if isinstance(stream, bytes) else stream
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes in names
            return _Machine(stream, {**GLOBALS, **(allowed or {})}, persistent_load).load()
    except PickleError:
        raise
    except DAMAGE as error:
        raise PickleError(f"is damaged: {type(error).__name__} while unpickling") from error


def load_npy(data: bytes) -> Any:
    """The array in an `.npy` file or in a member of an `.npz` file; one of objects is read as `load` does.

    Raises:
      PickleError: damaged.
    """
    stream = io.BytesIO(data)
    header = {(1, 0): np.lib.format.read_array_header_1_0}
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = header.get(version, np.lib.format.read_array_header_2_0)(stream)
        if not dtype.hasobject:
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (*DAMAGE, tokenize.TokenError, SyntaxError) as error:
        raise PickleError(f"is damaged: {first_line(error)}") from error
    value = load(stream)
    if isinstance(value, np.ndarray) and value.shape != shape:
        raise PickleError(f"is damaged: an array of shape {value.shape} where its header says {shape}")
    return value


def _unpacked(data: bytes) -> bytes:
    start = next(filter(data.startswith, DECOMPRESSORS), None)
    if start is None:
        return data
    limit = max(MAX_UNPACKED[0], MAX_UNPACKED[1] * len(data))
    decompressor = DECOMPRESSORS[start]()
    try:
        unpacked = decompressor.decompress(data, limit)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise PickleError(f"is damaged: {error} while decompressing") from error
    if not decompressor.eof:
        raise PickleError("unpacks to far more than its size" if len(unpacked) == limit else "is cut short")
    return unpacked


def _finished(value: Any) -> Any:
    """What a stack item stands for, once something uses it."""
    if isinstance(value, Array):
        if value.value is None:
            raise PickleError("is damaged: an array without its state")
        return value.value
    if isinstance(value, _Mark):
        raise PickleError("is damaged: a marker where a value belongs")
    return value


def _string(stream: BinaryIO) -> str:
    """The argument of STRING: bytes of Python 2, as latin-1 text."""
    line = stream.readline().rstrip(b"\n")
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise PickleError("is damaged: a string without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")  # pyright: ignore[reportAttributeAccessIssue]


class _Machine:
    """Stack and memo of the pickle machine; one method an opcode, none for those refused."""

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
        while True:
            self.position = self.stream.tell()
            code = self.stream.read(1)
            if not code:
                raise PickleError("is cut short")
            opcode = OPCODES.get(code.decode("latin-1"))
            if opcode is None:
                raise PickleError(f"is damaged, or no pickle: byte {code[0]} at {self.position} is no opcode")
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
            target.update((_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))
        elif not isinstance(target, Placeholder):
            raise PickleError("is damaged: expected a dict")

    def op_global(self, argument: str) -> None:
        name = argument.replace(" ", ".", 1)
        self.stack.append(_Global(name, self.allowed.get(name)))

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
        """Put our function's result on the stack, or the placeholder of what the file's would make."""
        if not isinstance(function, Placeholder) or not isinstance(arguments, tuple | Placeholder):
            raise PickleError("is damaged: it calls something that is no function")
        handler = getattr(function, "handler", None)
        if handler is None or isinstance(arguments, Placeholder):
            self.stack.append(Placeholder(function.name))
        else:
            self.stack.append(self._counted(handler(*arguments)))

    def _counted(self, value: Any) -> Any:
        """A value that a handler built; a memoized argument, used over and over, could build without end."""
        self.built += 64 * len(value) if isinstance(value, dict) else getattr(value, "nbytes", 0)
        self.built += len(value) if isinstance(value, bytes) else 0
        if self.built > MAX_GROWTH * (self.position + 4096):
            raise PickleError("unpacks to far more than its size; honest files do not")
        if isinstance(value, np.ndarray) and value.dtype == object:
            # NumPy frees an array of arrays by recursion, without a limit. The arrays are kept, so are their ids.
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
            self._counted(_finished(target))
        elif type(target) is Placeholder:
            target.state = state
        else:  # Attributes of a dictionary and the like are left out.
            _finished(target)

    def op_persid(self, argument: Any) -> None:
        self.stack.append(self.persistent_load(argument) if self.persistent_load else Placeholder("external data"))

    def op_binpersid(self, _: Any) -> None:
        self.op_persid(self.pop())
