"""The wrapper against a plain simulation of what should happen, and against each way of getting it wrong."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

from brax.envs.wrappers.training import EvalWrapper
from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as ppo

import cmg_jax
from cmg_jax import InputError
from cmg_jax.commands import sampler, smoother
from cmg_jax.envs.reference import empty_reference
from cmg_jax.envs.wrapper import wrap_env_fn
from cmg_jax.model import CMGConfig, CMGModel
from cmg_jax.normalization import MotionStats
from cmg_jax.robot.kinematics import kinematics
from tests.tiny_envs import JOINTS, OFFSETS, TinyBrax, TinyMjx, randomized

BATCH, STEPS, HOLD, RAMP, EPISODE = 11, 300, 7, 3, 40
RANGE = sampler.CommandRange(np.array([-1.0, -0.5, -2.0], np.float32), np.array([1.5, 0.5, 2.0], np.float32))
KEYS = jax.random.split(jax.random.PRNGKey(5), BATCH)


@pytest.fixture(scope="module", autouse=True)
def their_rules():
    """Brax mixes dtypes and ranks where ours may not."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def draw(key, number):
    return sampler.uniform(key, RANGE, number)


@pytest.fixture(scope="module")
def tiny_model() -> CMGModel:
    """A random network of three joints; every episode begins at the mean."""
    config = CMGConfig(2 * JOINTS, 3, 2, (7,), (9, 8), ("a", "b", "c"))
    params = config.network.init(jax.random.key(3), jnp.zeros((1, 6)), jnp.zeros((1, 3)))["params"]
    stats = MotionStats(
        jnp.arange(6.0), jnp.array([1.0, 2, 1, 2, 1, 2]), jnp.asarray(RANGE.low), jnp.asarray(RANGE.high)
    )
    return CMGModel(params, stats, None, config)


def wrapped(env, model, generator=None, *, hold=HOLD, lookahead=OFFSETS, **options):
    names = ("episode_length", "action_repeat", "randomization_fn")
    outer = {name: options.pop(name) for name in names if name in options}
    generator = generator or cmg_jax.streaming(3)
    function = wrap_env_fn(
        model, generator, draw, smoother.ramp(RAMP), hold_interval=(hold, hold), lookahead=lookahead, **options
    )
    return function(env, **{"episode_length": EPISODE, **outer})


def summary(state):
    return {"obs": state.obs, "reward": state.reward, "done": state.done} | {
        name: state.info[name] for name in ("reference", "steps", "count")
    }


@functools.partial(jax.jit, static_argnums=0)
def unroll(env, state, actions):
    def step(state, action):
        state = env.step(state, action)
        return state, summary(state)

    return jax.lax.scan(step, state, actions)


def actions_of(seed, steps=STEPS, batch=BATCH):
    """Small moves; episodes end at random, once in all rows together, and for a while in none."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(size=(steps, batch, 3)).astype(np.float32) * 0.1
    actions[..., 2] = np.where(rng.random((steps, batch)) < 0.06, 1.0, -1.0)
    actions[steps // 2, :, 2] = 1.0
    actions[steps // 2 + 5 : steps // 2 + 5 + 2 * EPISODE, :, 2] = -1.0
    return actions


class Row:
    """What one environment should go through, in plain Python."""

    def __init__(self, model, command):
        self.first = np.asarray(model.stats.motion_mean)
        self.fps = model.config.fps
        self.begin(command)

    def begin(self, command):
        self.frame = self.first
        self.raw = self.command = self.start = command
        self.elapsed, self.held, self.steps = 0, 0, 0
        self.x = self.y = self.yaw = 0.0

    def walk(self):
        """One frame of the root, on an arc."""
        vx, vy, rate = self.command.astype(float)
        turn = rate / self.fps
        chord = (np.sin(turn / 2) / (turn / 2) if turn else 1.0) / self.fps
        heading = self.yaw + turn / 2
        self.x += chord * (vx * np.cos(heading) - vy * np.sin(heading))
        self.y += chord * (vx * np.sin(heading) + vy * np.cos(heading))
        self.yaw += turn

    def command_on(self, drawn):
        """One step of holding and smoothing; whether it took `drawn`."""
        self.held += 1
        if changed := self.held == HOLD:
            self.raw, self.start, self.elapsed, self.held = drawn, self.command, 0, 0
        self.elapsed += 1
        weight = min(self.elapsed / RAMP, 1.0)
        self.command = (self.start + (self.raw - self.start) * weight).astype(np.float32)
        return changed


def simulate(model, first, actions, seen, repeat=1):
    """Check all that was `seen` in a rollout, leaves [T, B, ...], against one `Row` for each environment."""
    follow = jax.jit(cmg_jax.apply)
    rows = [Row(model, command) for command in np.asarray(first["reference"].raw_command)]
    commands = lambda: np.stack([row.command for row in rows])  # noqa: E731
    x = np.asarray(first["obs"])[:, :2]
    first_x, draws, frames = x, 0, np.zeros(0)
    for now in range(len(actions)):
        step = jax.tree.map(lambda leaf, now=now: np.asarray(leaf[now]), seen)
        for _ in range(repeat):
            frames = np.asarray(follow(model, np.stack([row.frame for row in rows]), commands()))
            for row, frame in zip(rows, frames, strict=True):
                row.walk()
                row.frame = frame
        np.testing.assert_allclose(step["reward"], repeat * frames[:, :JOINTS].sum(-1), atol=1e-3)
        for index, row in enumerate(rows):
            row.steps += repeat
            done = actions[now, index, 2] > 0 or row.steps >= EPISODE
            assert step["done"][index] == done
            assert step["steps"][index] == row.steps
            raw = step["reference"].raw_command[index]
            if done:
                row.begin(raw)
            if done or row.command_on(raw):
                draws += 1
                assert (raw >= RANGE.low).all()
                assert (raw <= RANGE.high).all()
                assert now == 0 or (raw != seen["reference"].raw_command[now - 1][index]).all()
            np.testing.assert_array_equal(raw, row.raw)
        done = step["done"].astype(bool)[:, None]
        x = np.where(done, step["obs"][:, :2], x + repeat * actions[now, :, :2])
        np.testing.assert_allclose(step["obs"][:, :2], x, atol=1e-4)
        yield done[:, 0], first_x, x
        ahead, frames = [], np.stack([row.frame for row in rows])
        np.testing.assert_allclose(step["reference"].joint_vel, frames[:, JOINTS:], atol=1e-4)
        shown = frames
        for offset in range(1, max(OFFSETS) + 1):
            shown = np.asarray(follow(model, shown, commands()))
            ahead += [shown] if offset in OFFSETS else []
        ahead = np.stack(ahead, axis=1)
        np.testing.assert_allclose(step["reference"].ahead.joint_vel, ahead[..., JOINTS:], atol=1e-3)
        expected = [frames[:, :JOINTS], ahead[..., :JOINTS].reshape(len(rows), -1), commands()]
        np.testing.assert_allclose(step["obs"][:, 2:], np.concatenate(expected, axis=-1), atol=1e-3)
        np.testing.assert_allclose(step["reference"].command, commands(), atol=1e-6)
        root = step["reference"].root
        np.testing.assert_allclose(root.position, [(row.x, row.y) for row in rows], atol=1e-4)
        turned = root.yaw - np.array([row.yaw for row in rows])
        np.testing.assert_allclose(np.sin(turned), 0, atol=1e-4)
        vx, vy = commands()[:, :2].T
        cos, sin = np.cos(root.yaw), np.sin(root.yaw)
        velocity = np.stack([vx * cos - vy * sin, vx * sin + vy * cos], axis=-1)
        np.testing.assert_allclose(step["reference"].root_velocity, velocity, atol=1e-4)
    assert draws >= len(rows) * (len(actions) // HOLD)


@pytest.fixture(scope="module", params=["brax", "playground", "playground full_reset"])
def rollout(request, tiny_model):
    """300 steps in each kind of environment and each mode of auto-reset."""
    env = TinyBrax() if request.param == "brax" else TinyMjx()
    env = wrapped(env, tiny_model, full_reset="full" in request.param)
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(1)
    return request.param, env, summary(state), actions, unroll(env, state, actions)[1]


def test_300_steps_are_those_of_a_plain_simulation(rollout, tiny_model):
    mode, _, first, actions, seen = rollout
    kinds = {1: 0, BATCH: 0, 0: 0}
    for done, first_x, x in simulate(tiny_model, first, actions, seen):
        kinds[int(done.sum())] = kinds.get(int(done.sum()), 0) + 1
        if "full" in mode:
            assert ((x[done] >= 10) & (x[done] < 11)).all()
            assert (x[done] != first_x[done]).all()
        else:
            np.testing.assert_array_equal(x[done], first_x[done])
    assert min(kinds[count] for count in (0, 1, BATCH)) > 0, "the pattern of episodes shows too little"


def test_the_first_observation_is_that_of_the_first_episode(rollout, tiny_model):
    _, _, first, _, _ = rollout
    mean = np.asarray(tiny_model.stats.motion_mean)
    np.testing.assert_allclose(first["obs"][:, 2:5], np.tile(mean[:3], (BATCH, 1)), atol=1e-5)
    np.testing.assert_array_equal(first["obs"][:, -3:], first["reference"].command)
    assert len(np.unique(first["reference"].command, axis=0)) == BATCH


def test_info_runs_on_under_the_default_auto_reset_and_not_under_full_reset(rollout):
    mode, _, _, actions, seen = rollout
    if "full" in mode:
        np.testing.assert_array_equal(seen["count"][seen["done"] == 1], 0)
    else:
        np.testing.assert_array_equal(seen["count"][-1], len(actions))


def test_our_state_never_enters_the_environment(rollout):
    mode, _, _, _, _ = rollout
    seen = (TinyBrax if mode == "brax" else TinyMjx).seen
    assert "reference" in seen
    assert "reference_state" not in seen


def test_an_action_repeated_lasts_as_many_frames(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, action_repeat=2)
    state = jax.jit(env.reset)(KEYS)
    actions = actions_of(2, steps=24)
    actions[..., 2] = -1.0
    _, seen = unroll(env, state, actions)
    for _ in simulate(tiny_model, summary(state), actions, seen, repeat=2):
        pass


def test_a_command_set_in_an_episode_acts_from_the_next_step(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, hold=1000)
    state = jax.jit(env.reset)(KEYS)
    quiet = np.full((1, BATCH, 3), -1.0, np.float32)
    state, _ = unroll(env, state, quiet)
    before = state.info["reference"]
    state = env.set_command(state, jnp.tile(jnp.array([1.0, -0.25, 0.5]), (BATCH, 1)))
    follow = jax.jit(cmg_jax.apply)
    frame = np.concatenate([before.joint_pos, before.joint_vel], axis=-1)
    command = np.asarray(before.command)
    for now in range(1, 6):
        state, seen = unroll(env, state, quiet)
        seen = jax.tree.map(lambda leaf: leaf[0], seen)
        # The frame that was announced, and from it on the way to the new command.
        frame = np.asarray(follow(tiny_model, frame, command))
        np.testing.assert_allclose(seen["obs"][:, 2:5], frame[:, :3], atol=1e-4)
        command = before.command + (np.array([1.0, -0.25, 0.5]) - before.command) * min(now / RAMP, 1)
        np.testing.assert_allclose(seen["obs"][:, -3:], command, atol=1e-6)
        np.testing.assert_allclose(seen["obs"][:, 5:8], follow(tiny_model, frame, command)[:, :3], atol=1e-4)


def test_devices_each_play_their_rows_as_one_device_would(tiny_model):
    env = wrapped(TinyMjx(), tiny_model, full_reset=True)
    keys = jax.random.split(jax.random.PRNGKey(8), (2, 4))
    actions = np.stack([actions_of(seed, steps=20, batch=4) for seed in (3, 4)])

    def play(keys, actions):
        return unroll(env, env.reset(keys), actions)[1]

    together = jax.pmap(play, axis_name="i", devices=jax.devices()[:2])(keys, actions)
    alone = jax.jit(play)
    for device in range(2):
        expected = alone(keys[device], actions[device])
        jax.tree.map(
            lambda a, b, device=device: np.testing.assert_allclose(a[device], b, atol=1e-4), together, expected
        )
    commands = np.asarray(together["reference"].raw_command)
    assert (commands[0] != commands[1]).all(), "two devices draw the same commands"


def test_evaluation_and_domain_randomization_wrap_around_it(tiny_model):
    for env in (TinyBrax(), TinyMjx()):
        fn = functools.partial(randomized, rng=jax.random.split(jax.random.PRNGKey(1), BATCH))
        env = EvalWrapper(wrapped(env, tiny_model, randomization_fn=fn))
        state = jax.jit(env.reset)(KEYS)
        quiet = np.full((12, BATCH, 3), -1.0, np.float32)
        last, seen = unroll(env, state, quiet)
        moved = np.asarray(seen["obs"][-1, :, 0] - state.obs[:, 0])
        np.testing.assert_allclose(moved, -12 * np.asarray(fn(None)[0]["gain"]), atol=1e-4)
        np.testing.assert_allclose(
            last.info["eval_metrics"].episode_metrics["reward"], seen["reward"].sum(axis=0), rtol=1e-4
        )
        assert jax.tree.structure(last) == jax.tree.structure(state)


def test_ppo_trains_with_it(tiny_model):
    """Two devices, resets between evaluations, action repeat, randomised domains."""
    rewards = []
    wrap = wrap_env_fn(tiny_model, cmg_jax.streaming(3), draw, hold_interval=(2, 5), lookahead=OFFSETS)
    _, params, _ = ppo.train(
        TinyBrax(),
        num_timesteps=64,
        wrap_env_fn=wrap,
        randomization_fn=randomized,
        max_devices_per_host=2,
        num_envs=4,
        episode_length=6,
        action_repeat=2,
        unroll_length=4,
        batch_size=4,
        num_minibatches=1,
        num_updates_per_batch=1,
        num_resets_per_eval=1,
        num_evals=2,
        num_eval_envs=4,
        normalize_observations=True,
        network_factory=functools.partial(
            networks.make_ppo_networks, policy_hidden_layer_sizes=(4,), value_hidden_layer_sizes=(4,)
        ),
        progress_fn=lambda step, metrics: rewards.append(metrics["eval/episode_reward"]),
    )
    assert len(rewards) == 2
    assert np.isfinite(rewards).all()
    assert all(np.isfinite(np.asarray(leaf, float)).all() for leaf in jax.tree.leaves(params))


# What a compiled step holds.


class OnG1(TinyMjx):
    def reset(self, rng):
        state = super().reset(rng)
        state.info["reference"] = empty_reference(num_joints=29, lookahead=1)
        return state

    def write_reference(self, obs, reference):
        return obs.at[2:5].set(reference.joint_pos[:3])


def network_calls(jaxpr, inside=False):
    """Matrix products outside of any conditional, and predicates that are no scalars."""
    outside, wide = 0, 0
    for equation in jaxpr.eqns:
        is_cond = equation.primitive.name == "cond"
        if equation.primitive.name == "dot_general" and not inside:
            outside += 1
        if is_cond:
            wide += equation.invars[0].aval.shape != ()
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            sub = getattr(value, "jaxpr", value)
            if hasattr(sub, "eqns"):
                more = network_calls(sub, inside or is_cond)
                outside, wide = outside + more[0], wide + more[1]
    return outside, wide


def test_the_network_runs_only_in_branches_and_its_weights_are_arguments(model):
    batch = 256
    env = wrapped(OnG1(), model, cmg_jax.realtime(8), hold=1000, lookahead=(1,))
    state = jax.eval_shape(env.reset, jax.random.split(jax.random.PRNGKey(0), batch))
    action = jax.ShapeDtypeStruct((batch, 3), jnp.float32)
    assert network_calls(jax.make_jaxpr(env.step)(state, action).jaxpr) == (0, 0)
    lowered = jax.jit(env.step).lower(state, action)
    weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(model.params))
    assert len(lowered.as_text()) < weights / 4, "weights are written into the program"
    compiled: Any = lowered.compile()
    assert " conditional(" in compiled.as_text()
    memory = compiled.memory_analysis()
    assert memory.argument_size_in_bytes > weights
    assert memory.temp_size_in_bytes < 5 * weights, "weights are copied for every row"


def test_inside_vmap_it_would_not_be_so(model):
    """The check above sees what happens to a generator that is stepped row by row."""
    generator = cmg_jax.realtime(8)
    command = jnp.zeros((5, 3))
    state = jax.eval_shape(
        jax.vmap(lambda row: generator.init(model, jax.random.PRNGKey(0), row[None])),
        jax.ShapeDtypeStruct(command.shape, command.dtype),
    )
    step = jax.vmap(lambda model, state: generator.step(model, state)[0], in_axes=(None, 0))
    outside, _ = network_calls(jax.make_jaxpr(step)(model, state).jaxpr)
    assert outside > 0


def test_motions_of_a_bank_bring_their_commands(motions, model):
    env = wrapped(OnG1(), model, cmg_jax.streaming(3, bank=motions), lookahead=(1,))
    state = jax.jit(env.reset)(KEYS)
    known = {tuple(command) for command in np.asarray(motions.command)}
    assert {tuple(command) for command in np.asarray(state.info["reference"].command)} <= known
    actions = actions_of(6, steps=10)
    _, seen = unroll(env, state, actions)
    done = np.asarray(seen["done"]) == 1
    assert {tuple(command) for command in np.asarray(seen["reference"].raw_command)[done]} <= known


ARM = """<mujoco><worldbody><body name="upper"><joint name="a" axis="0 1 0"/><geom size="0.1"/>
  <body name="lower" pos="0 0 0.3"><joint name="b" axis="1 0 0"/><geom size="0.1"/>
    <body name="hand" pos="0 0 0.2"><joint name="c" axis="0 0 1"/><geom size="0.1"/></body>
  </body></body></worldbody></mujoco>"""


class WithBodies(TinyMjx):
    def reset(self, rng):
        state = super().reset(rng)
        state.info["reference"] = empty_reference(num_joints=JOINTS, lookahead=len(OFFSETS), key_bodies=2)
        return state


def test_key_bodies_come_with_the_frames(tiny_model, tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(ARM)
    env = wrapped(WithBodies(), tiny_model, key_bodies=("hand", "lower"), mjcf=path)
    reference = jax.jit(env.reset)(KEYS).info["reference"]
    forward = jax.jit(kinematics(path, joint_names=("a", "b", "c"), bodies=("hand", "lower")).body_velocities)
    for bodies, frame in ((reference.bodies, reference[:2]), (reference.ahead_bodies, reference.ahead)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), tuple(bodies), forward(*frame))
    assert np.ptp(reference.ahead_bodies.poses.position, axis=(0, 1)).max() > 0.01


# What its user is told.


class NoSlot(TinyMjx):
    def reset(self, rng):
        state = super().reset(rng)
        del state.info["reference"]
        return state


class NoWriter(TinyMjx):
    write_reference: Any = None


class WrongObs(TinyMjx):
    def write_reference(self, obs, reference):
        return obs[:-1]


def test_mistakes_are_told_with_their_remedy(tiny_model):
    for make, words in (
        (lambda: wrapped(NoSlot(), tiny_model).reset(KEYS), r"NoSlot declares no info.*add .*lookahead=2"),
        (lambda: wrapped(TinyMjx(), tiny_model, lookahead=(1,)).reset(KEYS), r"TinyMjx is not what .*lookahead=1"),
        (lambda: wrapped(NoWriter(), tiny_model), "NoWriter has no method write_reference"),
        (lambda: wrapped(WrongObs(), tiny_model).reset(KEYS), "WrongObs.write_reference returns"),
        (lambda: wrapped(TinyMjx(dt=0.015), tiny_model), "0.015 s is 0.75 frames"),
        (lambda: wrapped(TinyBrax(), tiny_model, full_reset=True), "TinyBrax is a Brax environment"),
        (lambda: wrapped(TinyMjx(), tiny_model, lookahead=(-1,)), "not negative"),
        (lambda: wrapped(TinyMjx(), tiny_model, hold=0), "at least 1 step"),
        (lambda: wrapped(TinyMjx(), tiny_model, key_bodies=("nose",)), "no (body nose|joint a)"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words) as error:
            make()
        assert "\n" not in str(error.value)
