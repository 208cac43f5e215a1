"""Pickles that would run code, are damaged, or claim excessive sizes: nothing in them runs."""

import os
import pickle
import pickletools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmg_jax import pickles
from cmg_jax.pickles import PickleError, Placeholder
from tests.pickle_tools import OBJECTS, PLAIN, joblib_dump


class Evil:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


HOSTILE = {
    "system": Evil(os.system, "touch owned"),
    "eval": Evil(eval, "open('owned', 'w')"),
    "exec": Evil(exec, "open('owned', 'w')"),
    "open": Evil(open, "owned", "w"),
    "getattr": Evil(getattr, Evil(__import__, "os"), "system"),
    "builtin type": Evil(type, "X", (), {}),
    "partial": Evil(__import__("functools").partial, os.system, "touch owned"),
    "object array": np.array([Evil(os.system, "touch owned")], dtype=object),
    "numpy load": Evil(np.load, "owned", None, True),
    "structured dtype": np.zeros(2, dtype=[("a", "f4")]),
    "a class": Evil,
    "an instance": pytest.approx(1),
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_hostile_pickle_runs_and_its_plain_data_is_read(name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"before": 1, "weights": HOSTILE[name], "after": np.arange(3)}, protocol)
    content = pickles.load(data)
    assert (content["before"], content["after"].tolist()) == (1, [0, 1, 2])
    weights = content["weights"][0] if name == "object array" else content["weights"]
    assert type(weights).__mro__[-2] is Placeholder
    assert not list(tmp_path.iterdir())


INERT = [
    b"cos\nsystem\n(S'touch owned'\ntR.",
    b"(S'touch owned'\nios\nsystem\n.",
    b"(cos\nsystem\nS'touch owned'\no.",
    b"cos\nsystem\n(S'touch owned'\nt}\x92.",
    b"cos\nsystem\n(S'touch owned'\nt\x81.",
    b"cos\nsystem\ncos\nsystem\nR.",
    b"cos\nsystem\n)R)R.",
    b"ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
    b"\x80\x02c_codecs\nencode\n}X\x08\x00\x00\x00__code__K\x01sb.",
    b"\x80\x02\x82\x01.",
    b"\x80\x02cnumpy\nndarray\n)R.",
    b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
    b"Pcos.system\n.",
    b"\x8f(K\x01\x90.",
    b"(K\x01\x91.",
]


@pytest.mark.parametrize("program", INERT)
def test_an_object_of_any_kind_is_a_placeholder_that_does_nothing(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = pickles.load(program)
    assert isinstance(value, Placeholder)
    assert value.name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R}b.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02K\x01K\x02K\x03s.",
        b"\x80\x02K\x01)R.",
        b"\x80\x02(.",
        b"\x80\x02a.",
        b"\x80\x02h\x07.",
        b"\x80\x02\x97.",
        b"S'open\n.",
        b".",
        b"",
    ],
)
def test_programs_that_no_pickler_writes_end_in_one_error(program):
    with pytest.raises(PickleError) as raised:
        pickles.load(program)
    assert "\n" not in str(raised.value)


def test_an_array_larger_than_its_bytes_is_refused_without_taking_memory():
    state = pickletools.optimize(pickle.dumps(np.zeros(3, np.float32), 2))
    assert state.count(b"K\x03\x85") == 1
    with pytest.raises(PickleError, match="do not fill"):
        pickles.load(state.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"))


def pickled(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def nested_tuples(depth):
    return b"K\x01" + b"\x85" * depth


def doubled_tuple(times):
    return b"K\x01" + b"q\x00h\x00\x86" * times


def array_of(dtype, shape, raw=b"U\x00"):
    head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return head + b"(K\x01" + shape + dtype + b"\x89C\x00tb"


@pytest.mark.parametrize(
    "program",
    [
        pickled(b"cnumpy\ndtype\n", nested_tuples(100_000), b"\x85R"),
        pickled(b"cnumpy\ndtype\n", doubled_tuple(22), b"\x85R"),
        pickled(array_of(b"cnumpy\ndtype\nX\x02\x00\x00\x00S0\x85R", b"J\x00\x00\x00\x10K\x10\x86")),
        pickled(array_of(b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R", doubled_tuple(22))),
        pickled(b"c_codecs\nencode\nq\x01X", (50_000).to_bytes(4, "little"), b"a" * 50_000,
                b"X\x06\x00\x00\x00latin1\x86q\x02R0", b"h\x01h\x02R0" * 5_000, b"N"),
        pickled(b"c" + b"x" * 10_000 + b"\ny\n"),
        pickled(b"\x8c\x03a\nb\x8c\x03c\nd\x93"),
    ],
    ids=["deep dtype", "wide dtype", "empty strings", "wide shape", "encode again and again", "long name", "newlines"],
)  # fmt: skip
def test_a_small_file_causes_neither_large_memory_nor_long_messages(program):
    tracemalloc.start()
    try:
        line = str(pickles.load(program))
    except PickleError as error:
        line = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    assert len(line) < 400
    assert "\n" not in line


@settings(max_examples=400)
@given(data=st.binary(max_size=60))
def test_any_bytes_end_in_data_or_one_error(data):
    try:
        pickles.load(b"\x80\x02" + data)
    except PickleError as error:
        assert "\n" not in str(error)


@settings(max_examples=400)
@given(content=PLAIN, position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_in_data_or_one_error(content, position, bit):
    data = bytearray(pickle.dumps([content, np.arange(3.0)], 2))
    data[position % len(data)] ^= 1 << bit
    try:
        pickles.load(bytes(data))
    except PickleError as error:
        assert "\n" not in str(error)


RAN = []


def canary(*_):
    RAN.append(1)
    return 1


@pytest.mark.parametrize("protocol", range(6))
def test_damaged_pickles_of_objects_end_in_data_or_one_error_and_run_nothing(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = {name: value for name, value in OBJECTS.items() if name != "masked array"}
    content = [1, Evil(canary, 2), Evil(os.system, "touch owned"), objects, np.arange(4.0), (1, 2)]
    originals = [pickle.dumps(content, protocol), joblib_dump(content, protocol)]
    rng = np.random.default_rng(protocol)
    read = 0
    for trial in range(400):
        data = bytearray(originals[trial % 2])
        for _ in range(int(rng.integers(1, 4))):
            at, kind = int(rng.integers(len(data))), trial % 3
            if kind == 0:
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                data[at] = int(rng.choice(np.frombuffer(b"(0Ra]bcdesu}tq)Nh.\x81\x82\x85\x92\x93\x94", np.uint8)))
            else:
                del data[at : at + int(rng.integers(1, 6))]
        try:
            pickles.load(bytes(data))
            read += 1
        except PickleError as error:
            assert "\n" not in str(error)
    assert 0 < read < 400
    assert not RAN
    assert not list(tmp_path.iterdir())
