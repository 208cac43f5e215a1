# pyright: reportAttributeAccessIssue=false
"""C MuJoCo as the physics of the environment: the same motion as MJX, in one call for all rows."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

pytest.importorskip("brax")

from cmg_jax.rl import G1Tracking, _g1_model
from cmg_jax.robot import G1

pytestmark = pytest.mark.usefixtures("allow_mixed_dtypes")
EXACT = {
    "floating": True,
    "engine": "mujoco",
    "sim_dt": 0.01,
    "solver": (100, 50),
    "reference": False,
    "residual": False,
}
ROWS = 3


@pytest.fixture(scope="module")
def start():
    """Environment, states [ROWS], the jitted step of all rows, and targets that differ from row to row."""
    env = G1Tracking(config_overrides=EXACT)
    states = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.PRNGKey(4), ROWS))
    targets = 0.2 * np.random.default_rng(1).normal(size=(ROWS, 29)).astype(np.float32)
    return env, states, jax.jit(jax.vmap(env.step)), targets


def test_rows_move_as_mujoco_alone_moves_them(start):
    env, states, step, actions = start
    found = states
    for _ in range(4):
        found = step(found, actions)
    for row in range(ROWS):
        robot = _g1_model.build(floating=True, sim_dt=0.01, solver=(100, 50))
        data = mujoco.MjData(robot)
        data.qpos[:] = states.data.qpos[row]
        data.ctrl[:] = env.target(_row(states.info["reference"], row), actions[row])
        for _ in range(4 * 2):
            mujoco.mj_step(robot, data)
        np.testing.assert_allclose(found.data.qpos[row], data.qpos, atol=2e-4)
        np.testing.assert_allclose(found.data.qvel[row], data.qvel, atol=2e-2)
        np.testing.assert_allclose(found.data.actuator_force[row], data.actuator_force, atol=0.2)
        soles = [geom for geom in range(robot.ngeom) if "_sole" in robot.geom(geom).name]
        np.testing.assert_allclose(env._physics.geom_positions(_row(found.data, row)), data.geom_xpos[soles], atol=2e-4)
        bodies = [robot.body(name).id for name in env.wrapping["key_bodies"]]
        np.testing.assert_allclose(env._physics.body_positions(_row(found.data, row)), data.xpos[bodies], atol=2e-4)
    np.testing.assert_allclose(found.data.time, 0.08, rtol=1e-5)


def test_a_row_that_diverges_ends_its_episode_and_no_other(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo would write its log file here
    _, states, step, actions = start
    actions = np.array(actions)
    actions[0, 5] = np.nan
    qvel = states.data.qvel.at[2, 8].set(1e9)
    after = step(states.replace(data=states.data.replace(qvel=qvel)), actions)
    np.testing.assert_array_equal(after.done, [1, 0, 1])
    assert np.isfinite(after.reward).all()
    assert not list(tmp_path.iterdir())


def test_a_push_changes_the_velocity_of_the_base_only():
    env = G1Tracking(config_overrides=EXACT | {"push.interval": 2, "push.velocity": 0.8})
    state = jax.jit(env.reset)(jax.random.PRNGKey(0))
    step, action = jax.jit(env.step), jnp.zeros(29)
    speeds = [np.linalg.norm((state := step(state, action)).data.qvel[:2]) for _ in range(4)]
    assert speeds[2] > 3 * speeds[1]
    assert np.ptp(np.asarray(state.data.qpos[7:] - G1.standing_joint_pos)) < 0.5


def _row(data, row):
    return jax.tree.map(lambda leaf: leaf[row], data)
