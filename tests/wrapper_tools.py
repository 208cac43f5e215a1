# pyright: reportOptionalSubscript=false, reportOptionalOperand=false
"""For the tests of the wrapper: a wrapped environment, a rollout of it, and a plain simulation of its contract."""

import functools

import jax
import numpy as np
from scipy.spatial.transform import Rotation

import cmg_jax
from cmg_jax import commands
from cmg_jax.envs import ReferenceSource, make_wrap_env_fn
from cmg_jax.robot._bodies import qpos
from cmg_jax.robot._feet import sole_positions
from tests.tiny_envs import JOINTS, OFFSETS

BATCH, STEPS, HOLD, RAMP, EPISODE = 11, 300, 7, 3, 40
RANGE = commands.CommandRange(np.array([-1.0, -0.5, -2.0], np.float32), np.array([1.5, 0.5, 2.0], np.float32))
KEYS = jax.random.split(jax.random.PRNGKey(5), BATCH)


def draw(key, num_envs):
    return commands.uniform(key, RANGE, num_envs)


def wrapped(env, model, generator=None, *, draw=draw, hold=HOLD, lookahead=OFFSETS, **options):
    names = ("episode_length", "action_repeat", "randomization_fn")
    outer = {name: options.pop(name) for name in names if name in options}
    generator = generator or cmg_jax.streaming(3)
    full_reset = options.pop("full_reset", False)
    source = ReferenceSource(
        model, generator, draw, commands.ramp(RAMP), hold_interval=(hold, hold), lookahead=lookahead, **options
    )
    return make_wrap_env_fn(source, full_reset=full_reset)(env, **{"episode_length": EPISODE, **outer})


def summary(state):
    data = {"data": getattr(state, "data", None) or state.pipeline_state}
    return (
        data
        | {"obs": state.obs, "reward": state.reward, "done": state.done}
        | {name: state.info[name] for name in ("reference", "steps", "count", "arrived")}
    )


@functools.partial(jax.jit, static_argnums=0)
def unroll(env, state, actions):
    def step(state, action):
        state = env.step(state, action)
        return state, summary(state)

    return jax.lax.scan(step, state, actions)


def actions_of(seed, steps=STEPS, batch=BATCH):
    """Small actions; episodes end at random, once in all rows together, and for a while in none."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(size=(steps, batch, 3)).astype(np.float32) * 0.1
    actions[..., 2] = np.where(rng.random((steps, batch)) < 0.06, 1.0, -1.0)
    actions[steps // 2, :, 2] = 1.0
    actions[steps // 2 + 5 : steps // 2 + 5 + 2 * EPISODE, :, 2] = -1.0
    return actions


class Row:
    """The expected course of one environment, in plain Python."""

    def __init__(self, model, command):
        self.first = np.asarray(model.stats.motion_mean)
        self.fps = model.config.fps
        self.begin(command)

    def begin(self, command):
        self.frame = self.first
        self.requested = self.smoothed = self.active = self.start = command
        self.elapsed, self.held, self.steps = 0, 0, 0
        self.x = self.y = self.yaw = 0.0

    def step_root(self, planar):
        """One frame of the root, on an arc."""
        self.x, self.y, self.yaw = step_planar((self.x, self.y, self.yaw), planar, self.fps)

    def step_command(self, drawn):
        """One step of holding and smoothing; returns whether it took the command `drawn`."""
        self.held += 1
        if changed := self.held == HOLD:
            self.requested, self.start, self.elapsed, self.held = drawn, self.smoothed, 0, 0
        self.elapsed += 1
        weight = min(self.elapsed / RAMP, 1.0)
        self.smoothed = (self.start + (self.requested - self.start) * weight).astype(np.float32)
        return changed


def step_planar(pose, planar, fps):
    """x, y and yaw [..., 3] one frame later."""
    vx, vy, rate = np.moveaxis(np.asarray(planar, float), -1, 0)
    turn = rate / fps
    chord = np.sinc(turn / (2 * np.pi)) / fps
    x, y, yaw = np.moveaxis(np.asarray(pose, float), -1, 0)
    heading = yaw + turn / 2
    return np.stack(
        [
            x + chord * (vx * np.cos(heading) - vy * np.sin(heading)),
            y + chord * (vx * np.sin(heading) + vy * np.cos(heading)),
            yaw + turn,
        ],
        axis=-1,
    )


def planar_of(frames, commands):
    """How frames [..., D] move their root: by their channel or, where they have none, as commanded."""
    return commands if frames.shape[-1] == 2 * JOINTS else frames[..., -3:]


def root_of(model, frames, poses):
    """Positions [B, 3], rotations and heights of soles [B, 2, P, 3] of frames whose roots are at x, y and yaw."""
    (x, y, yaw), robot = poses.T, model.config.robot
    height, gravity = np.zeros(len(frames)), np.zeros((len(frames), 2))
    if model.config.has_root:
        height, gravity = frames[:, 2 * JOINTS], frames[:, 2 * JOINTS + 1 : 2 * JOINTS + 3]
    pitch = np.arcsin(gravity[:, 0])
    roll = np.arctan2(-gravity[:, 1], np.sqrt(1 - np.square(gravity).sum(axis=-1)))
    rotation = Rotation.from_euler("ZYX", np.stack([yaw, pitch, roll], axis=-1))
    position = np.stack([x, y, height], axis=-1)
    if not robot.walks:
        return position, rotation, None
    quat = rotation.as_quat(scalar_first=True)
    return position, rotation, sole_positions(robot, qpos(robot, frames[:, :JOINTS], position, quat))


def check_roots(model, frames, poses, root, contacts):
    """Roots and contacts, leaves [B, k], against frames [B, D] and poses x, y, yaw [B, 3]: now and one frame later."""
    fps = model.config.fps
    now, later = (root_of(model, *pair) for pair in zip(frames, poses, strict=True))
    np.testing.assert_allclose(root.position, now[0], atol=2e-4)
    np.testing.assert_allclose(root.linear_velocity, (later[0] - now[0]) * fps, atol=4e-3)
    found = Rotation.from_quat(root.rotation, scalar_first=True)
    assert ((found * now[1].inv()).magnitude() < 5e-4).all()
    turned = (later[1] * now[1].inv()).as_rotvec() * fps
    np.testing.assert_allclose(root.angular_velocity, turned, atol=4e-3)
    if contacts is not None:
        speed = np.linalg.norm(later[2] - now[2], axis=-1) * fps
        margin = np.minimum((0.03 - now[2][..., 2]) / 0.03, (0.5 - speed) / 0.5).max(axis=-1)
        clear = abs(margin) > 0.02
        np.testing.assert_array_equal(contacts[clear], margin[clear] > 0)


def simulate(model, first, actions, records, repeat=1, tick=0):
    """Check the records of a rollout, leaves [T, B, ...], against one `Row` for each environment.

    tick: frames between two ticks, on which smoothed commands become active; 0 where they do at once.
    """
    follow = jax.jit(cmg_jax.apply)
    records = jax.tree.map(np.asarray, records)
    rows = [Row(model, command) for command in np.asarray(first["reference"].requested)]
    commands = lambda name="active": np.stack([getattr(row, name) for row in rows])  # noqa: E731
    until_tick = 0
    x = np.asarray(first["obs"])[:, :2]
    first_x, draws, frames = x, 0, np.zeros(0)
    for now in range(len(actions)):
        step = jax.tree.map(lambda leaf, now=now: leaf[now], records)
        for _ in range(repeat):
            if tick:
                for row in rows if until_tick == 0 else ():
                    row.active = row.smoothed
                until_tick = (until_tick or tick) - 1
            frames = np.asarray(follow(model, np.stack([row.frame for row in rows]), commands()))
            for row, frame in zip(rows, frames, strict=True):
                row.frame = frame
                row.step_root(planar_of(frame, row.active))
        arrived = commands()
        np.testing.assert_allclose(step["reward"], repeat * frames[:, :JOINTS].sum(-1), atol=1e-3)
        for index, row in enumerate(rows):
            row.steps += repeat
            done = actions[now, index, 2] > 0 or row.steps >= EPISODE
            assert step["done"][index] == done
            assert step["steps"][index] == row.steps
            requested = step["reference"].requested[index]
            if done:
                row.begin(requested)
            if done or row.step_command(requested):
                draws += 1
                assert (requested >= RANGE.low).all()
                assert (requested <= RANGE.high).all()
                assert now == 0 or (requested != records["reference"].requested[now - 1][index]).all()
            np.testing.assert_array_equal(requested, row.requested)
            if not tick:
                row.active = row.smoothed
            if not done:
                np.testing.assert_allclose(step["arrived"][index], arrived[index], atol=1e-6)
        done = step["done"].astype(bool)[:, None]
        x = np.where(done, step["obs"][:, :2], x + repeat * actions[now, :, :2])
        np.testing.assert_allclose(step["obs"][:, :2], x, atol=1e-4)
        yield done[:, 0], first_x, x
        course = [np.stack([row.frame for row in rows])]
        for _ in range(max(OFFSETS) + 1):
            course.append(np.asarray(follow(model, course[-1], commands())))
        frames, ahead = course[0], np.stack([course[offset] for offset in OFFSETS], axis=1)
        np.testing.assert_allclose(step["reference"].joint_vel, frames[:, JOINTS : 2 * JOINTS], atol=1e-4)
        np.testing.assert_allclose(step["reference"].ahead.joint_vel, ahead[..., JOINTS : 2 * JOINTS], atol=1e-3)
        expected = [frames[:, :JOINTS], ahead[..., :JOINTS].reshape(len(rows), -1), commands()]
        np.testing.assert_allclose(step["obs"][:, 2:], np.concatenate(expected, axis=-1), atol=1e-3)
        np.testing.assert_allclose(step["reference"].command, commands(), atol=1e-6)
        np.testing.assert_allclose(step["reference"].smoothed, commands("smoothed"), atol=1e-6)
        check_root_and_roots_ahead(model, rows, course, step["reference"])
    assert draws >= len(rows) * (len(actions) // HOLD)


def check_root_and_roots_ahead(model, rows, course, reference):
    """Against the frames to come, `course` [max(OFFSETS) + 2][B, D]. The generator does not know the last one."""
    active = np.stack([row.active for row in rows])
    here = np.array([(row.x, row.y, row.yaw) for row in rows])
    roots = [(0, reference.root, reference.contacts, here)]
    for place, offset in enumerate(OFFSETS[:-1]):
        root = jax.tree.map(lambda leaf, place=place: leaf[:, place], reference.ahead_root)
        contacts = None if reference.contacts is None else reference.ahead_contacts[:, place]
        roots.append((offset, root, contacts, np.zeros_like(here)))
    for offset, root, contacts, pose in roots:
        for frames in course[1 : offset + 1]:
            pose = step_planar(pose, planar_of(frames, active), model.config.fps)
        later = step_planar(pose, planar_of(course[offset + 1], active), model.config.fps)
        check_roots(model, course[offset : offset + 2], (pose, later), root, contacts)
