"""A flipped bit anywhere in the files that we write is detected, or does not change the content read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, _digests
from cmg_jax.data import _dataset
from cmg_jax.store import create_store, fill
from cmg_jax.training._checkpoints import Checkpoints
from cmg_jax.training._metrics import MetricsLog
from cmg_jax.training._trainer import TrainState
from tests.data_tools import walking


def content(value):
    """The content of a value, for comparison."""
    leaves = jax.tree.leaves(value)
    text = [str(leaf) for leaf in leaves if not hasattr(leaf, "dtype")]
    return _digests.of_arrays([leaf for leaf in leaves if hasattr(leaf, "dtype")]), text


def assert_flips_are_noticed(path, read, flips, files=100):
    """Flip bits `flips` times in each of at most `files` files at `path`; returns the number that were refused."""
    random, whole, refused = np.random.default_rng(7), content(read()), 0
    found = sorted(file for file in (path, *path.rglob("*")) if file.is_file())
    for file in random.permutation(np.array(found, object))[:files].tolist():
        original = file.read_bytes()
        for position in random.integers(8 * len(original), size=flips if original else 0).tolist():
            damaged = bytearray(original)
            damaged[position // 8] ^= 1 << position % 8
            file.write_bytes(damaged)
            try:
                assert content(read()) == whole, f"{file}: bit {position}"
            except InputError as error:
                refused += 1
                assert len(str(error).splitlines()) == 1
                assert str(path) in str(error)
        file.write_bytes(original)
    assert content(read()) == whole
    return refused


def test_in_a_data_set(tmp_path):
    path = tmp_path / "data.npz"
    _dataset.save(path, walking(clips=3, frames=30))
    assert assert_flips_are_noticed(path, lambda: vars(_dataset.load(path)), flips=200) > 150


@pytest.mark.parametrize("commands", [None, np.array([[0.5, -0.2, 0.1]] * 4, np.float32)])
def test_in_a_store(tiny_model, tmp_path, commands):
    path = tmp_path / "bank.zarr"
    fill(tiny_model, create_store(path, tiny_model, 11, 4, seed=1, commands=commands, chunk_envs=4))
    assert assert_flips_are_noticed(path, lambda: cmg_jax.load_bank(path, tiny_model), flips=25) > 100


def state(step):
    random = np.random.default_rng(step)
    params = {"kernel": jnp.asarray(random.normal(size=(40, 7)), jnp.float32), "bias": jnp.arange(7.0) + step}
    return TrainState(params, jax.tree.map(lambda leaf: leaf * 0.5, params), (), jnp.int32(step), jax.random.key(0))


def test_in_the_checkpoints_of_a_run(tmp_path):
    def restore():
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            return checkpoints.restore(state(0))._replace(key=0)

    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, score in ((100, 0.5), (200, 0.7)):
            checkpoints.save(state(step), score)
    assert content(restore()) == content(state(200)._replace(key=0))
    assert assert_flips_are_noticed(tmp_path / "checkpoints", restore, flips=3) > 10


def test_the_error_of_a_damaged_checkpoint_says_how_to_continue_the_run(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (100, 200):
            checkpoints.save(state(step), 1.0)
    newest = tmp_path / "checkpoints" / "200"
    for file in (newest / "default").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with Checkpoints(tmp_path, keep=2) as checkpoints, pytest.raises(InputError, match="delete that directory"):
        checkpoints.restore(state(0))
    for file in sorted(newest.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    newest.rmdir()
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert int(checkpoints.restore(state(0)).step) == 100


def test_checkpoints_without_a_digest_are_read(tmp_path, monkeypatch):
    with monkeypatch.context() as older, Checkpoints(tmp_path, keep=2) as checkpoints:
        save = checkpoints._manager.save
        older.setattr(
            checkpoints._manager, "save", lambda step, args, **_: save(step, args=args, metrics={"score": 1.0})
        )
        checkpoints.save(state(100), 1.0)
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert int(checkpoints.restore(state(0)).step) == 100


def test_in_the_policies_of_a_run(tmp_path):
    pytest.importorskip("brax")
    from brax.training.acme import running_statistics, specs
    from brax.training.agents.ppo import networks

    from cmg_jax.rl import _policy

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        network = networks.make_ppo_networks(5, 2, policy_hidden_layer_sizes=(3,), value_hidden_layer_sizes=(3,))
        statistics = running_statistics.init_state(specs.Array((5,), jnp.dtype("float32")))
        weights = (part.init(jax.random.key(1)) for part in (network.policy_network, network.value_network))
        (tmp_path / "checkpoints").mkdir()
        _policy.save_policy(tmp_path, 20, (statistics, *weights))
        path = tmp_path / "checkpoints" / "000000000020"
        assert assert_flips_are_noticed(path, lambda: _policy.load_policy(tmp_path, network, 5), flips=2, files=12) > 5


def test_damaged_figures_do_not_stop_a_run(tmp_path):
    """metrics.csv has no checksum, because no run depends on it."""
    log = MetricsLog(tmp_path, 0)
    for step in (100, 200, 300):
        log.write({"step": step, "loss": 1 / step})
    log.close()
    path, random = tmp_path / "metrics.csv", np.random.default_rng(2)
    original = path.read_bytes()
    for position in random.integers(8 * len(original), size=60).tolist():
        damaged = bytearray(original)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        log = MetricsLog(tmp_path, 200)
        log.write({"step": 300, "loss": 0.5})
        log.close()
        assert len(path.read_text(errors="replace").splitlines()) <= 5
