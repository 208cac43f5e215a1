"""Motion larger than memory: stores that survive a kill, are shared by processes, and become a bank."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError
from cmg_jax.cli.main import main
from cmg_jax.generators._base import to_frame
from cmg_jax.store import chunks_of_part, create_store, open_store, read
from cmg_jax.store._fill import draw
from cmg_jax.store._store import CHUNK_BYTES, configure
from tests.conftest import assert_one_clear_line, enable_interrupts
from tests.generator_tools import flat

CHUNKS, STEPS, ENVS = 120, 240, 1911
OPTIONS = ("--envs", ENVS, "--seconds", STEPS / 30, "--seed", 7, "--chunk", 16)
"""A run of a few seconds, so that a signal interrupts its work."""


@pytest.fixture(scope="module")
def tiny(small_model, tmp_path_factory):
    """The directory of a model of another robot with velocity commands."""
    config = dataclasses.replace(small_model.config, command_dim=3)
    params = jax.jit(config.network.init)(jax.random.key(0), jnp.zeros((1, 6)), jnp.zeros((1, 3)))["params"]
    stats = small_model.stats._replace(command_min=-jnp.arange(1.0, 4.0), command_max=jnp.arange(2.0, 5.0))
    pool = jnp.asarray(np.random.default_rng(1).normal(size=(300, 6)), jnp.float32)
    path = tmp_path_factory.mktemp("bulk") / "model"
    cmg_jax.save(dataclasses.replace(small_model, config=config, params=params, stats=stats, initial_motion=pool), path)
    return path


@pytest.fixture(scope="module")
def tiny_model(tiny):
    return cmg_jax.load(tiny)


def arguments(tiny, out, *options):
    return ["generate", "--model", str(tiny), "--out", str(out), *map(str, options)]


def start(tiny, out, *options):
    """The program as a user starts it, on one device."""
    return subprocess.Popen(
        [Path(sys.executable).with_name("cmg-jax"), *arguments(tiny, out, *options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=enable_interrupts,
    )  # fmt: skip


def finish(program):
    out, err = program.communicate(timeout=200)
    return subprocess.CompletedProcess(program.args, program.returncode, out, err)


def content(store):
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tiny):
    """A store of 120 chunks from an uninterrupted run."""
    store = tiny.with_name("whole.zarr")
    result = finish(start(tiny, store, *OPTIONS))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "1911 environments x 240 frames on" in result.stdout
    assert f"finished: 1911 environments x 240 frames in {CHUNKS} chunks" in result.stdout
    return store


def test_a_store_holds_the_frames_of_generate(tiny_model, whole):
    store = open_store(whole)
    motion, command = (read(store, array) for array in (store.motion, store.command))
    assert motion.shape == (ENVS, STEPS + 1, 6)
    held = np.broadcast_to(command[:, None], (ENVS, STEPS, 3))
    np.testing.assert_allclose(motion, jax.jit(cmg_jax.generate)(tiny_model, motion[:, 0], held), atol=1e-5)
    low, high = np.asarray(tiny_model.stats.command_min), np.asarray(tiny_model.stats.command_max)
    assert (command >= low).all()
    assert (command <= high).all()
    np.testing.assert_allclose([command.min(0), command.max(0)], [low, high], atol=0.05)
    assert len(np.unique(command[:, 0])) > 1900
    pool = {frame.tobytes() for frame in np.asarray(tiny_model.initial_motion)}
    drawn = {frame.tobytes() for frame in motion[:, 0]}
    assert drawn <= pool
    assert len(drawn) > 280
    attributes = json.loads((whole / "zarr.json").read_text())["attributes"]
    assert attributes["joint_names"] == ["a", "b", "c"]
    assert (attributes["fps"], attributes["seed"], attributes["steps"]) == (30, 7, STEPS)


def test_an_environment_depends_on_seed_and_index_alone(tiny, tiny_model, whole, tmp_path, capsys):
    assert main(arguments(tiny, tmp_path / "few.zarr", "--envs", 50, "--seconds", 0.5, "--seed", 7)) == 0
    assert "in 1 chunks" in capsys.readouterr().out
    few, many = open_store(tmp_path / "few.zarr"), open_store(whole)
    np.testing.assert_array_equal(read(few, few.command), read(many, many.command[:50]))
    expected = read(many, many.motion[:50, :16])
    np.testing.assert_allclose(read(few, few.motion), expected, atol=1e-5)
    other = draw(tiny_model, jax.random.key(8), jnp.arange(50, dtype=jnp.uint32))
    assert np.abs(other[1] - read(few, few.command)).min() > 0


def stop_at(tiny, store, chunks, how):
    """Run until `chunks` are done, then send a signal."""
    program = start(tiny, store, *OPTIONS)
    while not (store / f"motion/c/{chunks - 1}/0/0").is_file():  # chunks are generated in order
        assert program.poll() is None, program.communicate()
        time.sleep(0.001)
    program.send_signal(how)
    return finish(program)


def done_chunks(store):
    """The chunks whose motion and commands both exist."""
    missing = open_store(store).missing()
    return [chunk for chunk in range(CHUNKS) if chunk not in missing]


@pytest.mark.slow
def test_an_interrupted_killed_and_resumed_store_is_byte_for_byte_the_same(tiny, whole, tmp_path):
    store = tmp_path / "killed.zarr"
    result = stop_at(tiny, store, 2, signal.SIGINT)
    assert result.returncode == 130
    assert result.stderr.strip() == "cmg-jax generate: interrupted; the same command continues from there"
    first = len(done_chunks(store))
    assert stop_at(tiny, store, first + 2, signal.SIGKILL).returncode == -signal.SIGKILL
    done = done_chunks(store)
    assert first < len(done) < CHUNKS
    with pytest.raises(InputError, match="not finished"):
        cmg_jax.load_bank(store, cmg_jax.load(tiny))
    written = {path: path.stat().st_mtime_ns for path in (store / f"motion/c/{chunk}/0/0" for chunk in done)}
    result = finish(start(tiny, store, *OPTIONS))
    assert result.returncode == 0, result.stderr
    assert f"continuing {store}: {len(done)} of {CHUNKS} chunks exist" in result.stdout
    assert all(path.stat().st_mtime_ns == at for path, at in written.items()), "a finished chunk was generated again"
    assert content(store) == content(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.zarr"]


@pytest.mark.slow
def test_two_processes_fill_one_store(tiny, whole, tmp_path):
    store = tmp_path / "parts.zarr"
    programs = [start(tiny, store, *OPTIONS, "--part", part) for part in ("1/2", "2/2")]
    results = [finish(program) for program in programs]
    assert [result.returncode for result in results] == [0, 0], results
    assert "part 1/2: 960 environments x 240 frames" in results[0].stdout
    assert "part 2/2: 951 environments x 240 frames" in results[1].stdout
    assert content(store) == content(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.zarr"]


def test_parts_are_disjoint_and_cover_all_chunks():
    for chunks in (1, 5, 16):
        for parts in (1, 3, 8):
            made = [chunk for k in range(parts) for chunk in chunks_of_part(chunks, (k + 1, parts))]
            assert made == list(range(chunks))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_continues(tiny, whole, tmp_path):
    command = [str(Path(sys.executable).with_name("cmg-jax")), *arguments(tiny, "big.zarr", *OPTIONS)]
    limited = ["bash", "-c", 'ulimit -f 64; exec "$0" "$@"', *command]
    result = subprocess.run(limited, capture_output=True, text=True, cwd=tmp_path)
    assert_one_clear_line(result, "big.zarr: cannot be written: File too large", "the same command continues")
    assert not list(tmp_path.glob("big.zarr/motion/c/*/*/*"))
    result = subprocess.run([*command, "--part", "2/40"], capture_output=True, text=True, cwd=tmp_path)
    assert "part 2/40: finished; 117 of 120 chunks of big.zarr are still missing" in result.stdout
    for chunk in (3, 4, 5):
        made, expected = (store / f"motion/c/{chunk}/0/0" for store in (tmp_path / "big.zarr", whole))
        assert made.read_bytes() == expected.read_bytes()


def test_a_finished_store_is_reported_as_finished(tiny, whole, capsys):
    before = content(whole)
    assert main(arguments(tiny, whole, *OPTIONS)) == 0
    assert capsys.readouterr().out == f"{whole} is finished: {ENVS} environments x {STEPS} frames in {CHUNKS} chunks\n"
    assert content(whole) == before


# As a bank.


def test_a_store_is_loaded_and_played_as_a_bank(tiny_model, whole):
    motions = cmg_jax.load_bank(whole, tiny_model, num_motions=40, num_frames=12)
    assert motions.frames.shape == (12, 40, 6)
    store = open_store(whole)
    expected = read(store, store.motion[:40, 1:13]).swapaxes(0, 1)
    np.testing.assert_allclose(flat(to_frame(tiny_model, motions.frames)), expected, atol=1e-5)
    np.testing.assert_array_equal(motions.command, read(store, store.command[:40]))
    np.testing.assert_array_equal(motions.command_high, motions.command.max(0))
    generator, playing = cmg_jax.replay(), tiny_model.replace(bank=motions)
    state = generator.init(playing, jax.random.key(0), motions.command[jnp.array([31, 2])])
    index = int(state.frame_index[0])
    _, frame = generator.step(playing, state)
    served = flat(frame)[0]
    assert min(np.abs(served - expected[step, 31]).max() for step in (index, (index + 1) % 12)) < 1e-5
    everything = cmg_jax.load_bank(whole, tiny_model, dtype="float16")
    assert everything.frames.shape == (STEPS, ENVS, 6)
    assert everything.frames.dtype == jnp.float16


def test_half_precision_under_a_held_command_becomes_a_bank(tiny, tiny_model, tmp_path):
    options = ("--envs", 20, "--seconds", 0.4, "--dtype", "float16")
    held = np.array([1, 0.5, -1], np.float32)
    assert main(arguments(tiny, tmp_path / "half.zarr", *options, "--command", *held)) == 0
    store = open_store(tmp_path / "half.zarr")
    motion = read(store, store.motion)
    assert motion.dtype == np.float16
    np.testing.assert_array_equal(read(store, store.command), np.tile(held, (12, 1)))
    motions = cmg_jax.load_bank(tmp_path / "half.zarr", tiny_model)
    np.testing.assert_array_equal(motions.command, np.tile(held, (20, 1)))
    np.testing.assert_allclose(flat(to_frame(tiny_model, motions.frames)), motion[:, 1:].swapaxes(0, 1), atol=1e-3)

    assert main(arguments(tiny, tmp_path / "turn.zarr", *options, "--command", 1, 0, 0, "--command", 0, 0, 1)) == 0
    with pytest.raises(InputError, match="changing commands"):
        cmg_jax.load_bank(tmp_path / "turn.zarr", tiny_model)


def test_a_bank_refuses_damaged_stores_and_stores_of_other_models(tiny_model, model, whole, tmp_path):
    def refuses(words, path=whole, model=tiny_model, **numbers):
        with pytest.raises(InputError, match=words):
            cmg_jax.load_bank(path, model, **numbers)

    refuses("no .*absent", tmp_path / "absent")
    refuses("not of the format", tmp_path)
    refuses("not a directory", whole / "zarr.json")
    refuses("joints that are not the model's", model=model)
    refuses("of 30 frames per second, the model of 50", model=with_config(tiny_model, fps=50.0))
    refuses("another model", model=dataclasses.replace(tiny_model, initial_motion=tiny_model.initial_motion + 1))
    refuses("the store has 1911", num_motions=4000)
    refuses("the store has 240", num_frames=0)

    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(whole, damaged)
    shard = damaged / "motion/c/3/0/0"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    refuses("damaged.*motion/c/3/0/0.*delete the damaged file", damaged)
    cmg_jax.load_bank(damaged, tiny_model, num_motions=40)  # which come before the damage
    shard.write_bytes(data[:-100])
    refuses("is damaged", damaged)
    shard.unlink()
    refuses("1 of 120 chunks are missing", damaged)
    (damaged / "motion/zarr.json").unlink()
    refuses("its arrays are not those", damaged)
    (damaged / "zarr.json").write_text((damaged / "zarr.json").read_text().replace('"envs": 1911', '"envs": "x"'))
    refuses("zarr.json is damaged", damaged)


def with_config(model, **changes):
    return dataclasses.replace(model, config=dataclasses.replace(model.config, **changes))


# Arguments that are refused before anything is generated.


BAD_ARGUMENTS = [
    (("--out", "a.zarr", "--part", "3/2"), "K from 1 to N"),
    (("--out", "a.zarr", "--part", "0/2"), "K from 1 to N"),
    (("--out", "a.zarr", "--part", "2"), "K/N"),
    (("--out", "a.npz", "--part", "1/2"), "--part requires --out DIR.zarr"),
    (("--dtype", "float16"), "--dtype requires --out DIR.zarr"),
    (("--out", "a.zarr", "--dtype", "int8"), "invalid choice"),
    (("--out", "a.zarr", "--chunk", "0"), "chunk 0"),
    (("--out", "a.zarr", "--chunk", 10**9), "chunk 1000000000"),
    (("--out", "a.zarr", "--plot", "a.png"), "--plot cannot be combined with --out a.zarr"),
    (("--out", "a.zarr", "--bodies"), "--bodies cannot be combined with"),
    (("--out", "a.zarr", "--root", "model"), "--root cannot be combined with"),
    (("--out", "a.zarr", "--envs", 2**32), "4294967296 environments"),
    (("--out", "a.zarr", "--seconds", 10**7), "ask for fewer"),
    (("--out", "absent/a.zarr"), "create it first"),
    (("--out", "file.zarr"), "not a directory"),
    (("--out", "foreign.zarr"), "choose another directory"),
    (("--out", "begun.zarr", "--envs", 5), "begun with environments 4, not 5"),
    (("--out", "begun.zarr", "--envs", 4, "--seed", 3), "begun with seed 0, not 3"),
    (("--out", "begun.zarr", "--envs", 4, "--command", 1, 0, 0), "begun with commands drawn, not"),
    (("--out", "begun.zarr", "--envs", 4, "--dtype", "float16"), "begun with dtype float32, not float16"),
]


@pytest.fixture(scope="module")
def begun(tiny, tiny_model, tmp_path_factory):
    """A directory with a store that is still empty, and two entries that are not stores."""
    path = tmp_path_factory.mktemp("begun")
    (path / "file.zarr").write_text("something")
    (path / "foreign.zarr").mkdir()
    (path / "foreign.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    create_store(path / "begun.zarr", tiny_model, 4, 300)
    return path


def test_sizes_that_memory_cannot_hold_are_refused(tiny_model):
    with pytest.raises(InputError, match="ask for fewer"):
        configure(tiny_model, 1, 60_000_000)
    for steps, chunk in ((20, 133_152), (500, 5_576), (100_000, 27)):
        config = configure(tiny_model, 10**6, steps)
        assert config.chunk_envs * (steps + 1) * 6 * 4 <= CHUNK_BYTES
        assert 0.5 * chunk <= config.chunk_envs <= chunk


@pytest.mark.parametrize(("options", "words"), BAD_ARGUMENTS)
def test_bad_arguments_are_one_clear_line(tiny, begun, capsys, monkeypatch, options, words):
    monkeypatch.chdir(begun)
    before = content(begun)
    try:
        code = main(["generate", "--model", str(tiny), *map(str, options)])
    except SystemExit as stop:  # how argparse exits
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    (line,) = captured.err.strip().splitlines()
    assert words in line
    assert captured.out == ""
    assert content(begun) == before
