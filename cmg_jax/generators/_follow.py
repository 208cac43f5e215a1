"""How a row of motion matching goes on from one frame: where it should go, which clip takes it there, and the frames.

A plan is made of K frames at once. Everything that the next plan needs is kept of every frame, so that a plan may
begin at any of them.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from cmg_jax.generators import _search, _spring
from cmg_jax.generators._target import Target
from cmg_jax.model._library import PATH, POSE, MotionLibrary, future_frames
from cmg_jax.robot import MotionFrame, RootMotion, integrate_command, join_frame, split_frame
from cmg_jax.robot._root import soles_in_heading
from cmg_jax.robot._rotation import rotate_planar

ERROR_SECONDS = 1.0
"""Time in which the path that was walked is brought back to the commanded one, and after which it is forgotten."""

ERROR_LIMITS = (0.25, 0.2, 0.3)
"""m, m and rad of such errors that are remembered."""

LEFTWARD = 0.15
"""m/s of sideways command from which on a start lifts the left foot first; all others lift the right one."""

WANTS_TO_MOVE = (0.1, 0.1, 0.2)
"""m/s, m/s and rad/s of a command that starts a standing row."""

SAME_SECONDS = 0.12
"""s; a candidate this close to the frame that plays, in the same clip, is no jump."""

STILL_SECONDS = 0.3
"""s that both feet have to be still until a row counts as standing."""

SIDE_RATE = 0.4
"""rad/s at which legs are turned at the hips."""

LOCK_SPEED = 0.6
"""m/s by which locking a foot may change the root's velocity."""

DOWN_STAY = 15.0
"""`stay`, if it is less, of rows that are to move while the clip has both feet on the floor. With a small one, a row
that turns on the spot jumps back to the moment in which the body begins to twist over feet that stand, for ever."""

WRONG_FOOT = 1e4
"""Cost of a start with the wrong foot, or with none."""


Pair = tuple[jax.Array, jax.Array]


class Options(NamedTuple):
    """Options of `matching` that shape a plan."""

    search_every: int
    half_life: float
    command_half_life: float
    stay: float
    rate_limit: float
    turn_limit: float
    side_limit: float
    lock: float


class Follow(NamedTuple):
    """What a plan continues from, of frames with the leading axes of its leaves."""

    place: Int[Array, "..."]  # frame of the library
    fraction: Float[Array, "..."]  # of the way to the next frame
    velocity: Float[Array, "... 3"]  # desired: the command behind a spring
    acceleration: Float[Array, "... 3"]
    side: Float[Array, "..."]  # rad from the robot's heading to that of its clip
    error: Float[Array, "... 3"]  # m, m, rad: desired path minus the one that was walked, of the last second
    root: Float[Array, "... 6"]  # the root channel before feet are locked, with the soles' clearance for the height
    root_rate: Float[Array, "... 6"]  # its rate of change per second
    still: Int[Array, "..."]  # frames for which both feet have been still
    standing: Bool[Array, "..."]  # they have been still for a while, and none has been lifted since


def start_at(library: MotionLibrary, place: Int[Array, "R"], velocity: Float[Array, "R 3"]) -> Follow:
    """Rows that play the library from these frames, desired to move at a velocity at first."""
    root = _channel(library, place)
    following = jnp.minimum(place + 1, library.last[place])
    zero = jnp.zeros_like(velocity)
    still = library.standing[place]
    return Follow(
        place,
        jnp.zeros(place.shape, jnp.float32),
        velocity,
        zero,
        jnp.zeros(place.shape, jnp.float32),
        zero,
        root,
        (_channel(library, following) - root) * library.fps,
        still.astype(jnp.int32) * 1000,
        still,
    )


def start_from(
    library: MotionLibrary, motion: Float[Array, "R D"], command: Float[Array, "R 3"], options: Options
) -> Follow:
    """Rows that continue frames from elsewhere: from the frame of the library that fits them and their command."""
    joints = library.robot.num_joints
    frame = split_frame(motion, joints)
    assert frame.root is not None
    planar = jnp.concatenate([frame.root.velocity, frame.root.yaw_rate], axis=-1)
    later = frame._replace(joint_pos=frame.joint_pos + frame.joint_vel / library.fps)
    points = soles_in_heading(frame, library.robot)
    soles, moved = (points.mean(axis=-2), soles_in_heading(later, library.robot).mean(axis=-2))
    speed = (moved - soles) * library.fps + _carried(planar, soles)
    pose = jnp.concatenate([_rows(soles), _rows(speed), planar[:, :2]], axis=-1)
    zero = jnp.zeros_like(planar)
    query = jnp.concatenate(
        [
            _search.normalized(library, pose, 0),
            _search.normalized(library, _ahead(library, planar, zero, command, options), POSE),
        ],
        axis=-1,
    )
    still = (jnp.abs(frame.joint_vel).max(axis=-1) < 0.2) & (jnp.abs(planar).max(axis=-1) < 0.1)
    place, _ = _search.nearest(library, query, _avoid(still, command))
    root = jnp.concatenate([points[..., 2].min(axis=(-2, -1))[:, None], *frame.root[1:]], axis=-1)
    start = start_at(library, place, planar)
    return start._replace(
        root=root, root_rate=jnp.zeros_like(root), still=still.astype(jnp.int32) * 1000, standing=still
    )


def plan(
    library: MotionLibrary,
    motion: Float[Array, "R D"],
    follow: Follow,
    command: Float[Array, "R 3"],
    options: Options,
) -> tuple[Float[Array, "R K D"], Follow]:
    """The K frames that follow `motion`, and what each of them continues with, leaves [R, K, ...].

    Args:
      library: the library.
      motion: the frame before them, physical.
      follow: what was kept of it.
      command: the commands that they obey.
      options: of `matching`.
    """
    fps, steps = library.fps, options.search_every
    wanted = follow.velocity + follow.error / ERROR_SECONDS
    ahead = _ahead(library, wanted, follow.acceleration, command + follow.error / ERROR_SECONDS, options)
    place, jumped = _choose(library, follow, ahead, command, options)
    fraction = jnp.where(jumped, 0.0, follow.fraction)
    rate, turn, to_side = _adapt(library, place, ahead, options)
    rests = _rests(follow, command)
    rate, turn = jnp.where(rests, 0.0, rate), jnp.where(rests, 0.0, turn)
    to_side = jnp.where(rests, follow.side, to_side)
    seconds = jnp.arange(1, steps + 1, dtype=jnp.float32) / fps
    farthest = SIDE_RATE * jnp.concatenate([jnp.zeros(1, jnp.float32), seconds])[None]
    side = follow.side[:, None] + jnp.clip((to_side - follow.side)[:, None], -farthest, farthest)
    # From the frame before, which shows by how much the two motions differ, to the last one.
    target = Target.of(library, place, fraction, rate, turn, side)
    served = split_frame(motion, library.robot.num_joints)
    offset, offset_rate = _spring.decay(
        served.joint_pos - target.joint_pos[:, 0], served.joint_vel - target.joint_vel[:, 0], seconds, options.half_life
    )
    slope = (target.root[:, 1] - target.root[:, 0]) * fps
    root_offset, root_offset_rate = _spring.decay(
        follow.root - target.root[:, 0], follow.root_rate - slope, seconds, options.half_life
    )
    joint_pos, joint_vel = target.joint_pos[:, 1:] + offset, target.joint_vel[:, 1:] + offset_rate
    low, high = (jnp.asarray(limit, jnp.float32)[None, None] for limit in library.robot.joint_limits.T)
    inside = (low < joint_pos) & (joint_pos < high)  # offsets and turned legs may lead beyond
    joint_pos, joint_vel = jnp.clip(joint_pos, low, high), jnp.where(inside, joint_vel, 0.0)
    root = target.root[:, 1:] + root_offset
    slopes = jnp.diff(target.root, axis=1) * fps
    frame = _on_feet(library, target, served.joint_pos, joint_pos, joint_vel, follow.root, root, options)
    assert frame.root is not None
    walked = jnp.concatenate([frame.root.velocity, frame.root.yaw_rate], axis=-1)
    distance, speed_change = _spring.decay(
        follow.velocity - command, follow.acceleration, seconds, options.command_half_life
    )
    desired = distance + command[:, None]
    still, standing = _standing(library, follow, target.nearest[:, 1:])
    following = Follow(
        target.place[:, 1:],
        target.fraction[:, 1:],
        desired,
        speed_change,
        side[:, 1:],
        _errors(follow.error, desired - walked, fps),
        root,
        slopes + root_offset_rate,
        still,
        standing,
    )
    return join_frame(frame), following


def _choose(
    library: MotionLibrary, follow: Follow, ahead: jax.Array, command: jax.Array, options: Options
) -> tuple[jax.Array, jax.Array]:
    """Which frame each row plays from [R], and whether that is a jump."""
    place = follow.place
    pose = library.features[place, :POSE]
    # The root moves as the offsets of earlier jumps let it; both it and its future as seen from the clip's heading.
    moving = _search.normalized(library, rotate_planar(follow.root[:, 3:5], -follow.side), POSE - 2)
    pose = jnp.concatenate([pose[:, : POSE - 2], moving], axis=-1)
    query = jnp.concatenate([pose, _search.normalized(library, _turned(ahead, -follow.side), POSE)], axis=-1)
    avoid = _avoid(follow.standing, command)
    best, cost = _search.nearest(library, query, avoid)
    wrong = jnp.take_along_axis(avoid, library.first_foot[place][:, None], axis=1)[:, 0] > 0
    may_stay = library.allowed[jnp.minimum(place + 1, library.last[place])] & ~wrong
    down = (library.support[place] > 0) & _moves(command)
    margin = jnp.where(down, max(options.stay, DOWN_STAY), options.stay)
    as_good = _search.cost_of(library, place, query) <= cost + margin
    near = (jnp.abs(best - place) <= round(SAME_SECONDS * library.fps)) & (library.last[best] == library.last[place])
    stays = (may_stay & (as_good | near)) | _rests(follow, command)
    return jnp.where(stays, place, best), ~stays


def _rests(follow: Follow, command: jax.Array) -> jax.Array:
    """Whether rows go on standing [R]. Their clip stops: people who stand shift their feet."""
    return follow.standing & ~_moves(command)


def _moves(command: jax.Array) -> jax.Array:
    """Whether rows are to move [R]."""
    return (jnp.abs(command) > jnp.array([WANTS_TO_MOVE], jnp.float32)).any(axis=-1)


def _avoid(standing: jax.Array, command: jax.Array) -> jax.Array:
    """What it costs to lift no foot, the left and the right one first [R, 3]: every start is one, and the same one."""
    starts, left = standing & _moves(command), command[:, 1] > LEFTWARD
    return jnp.where(jnp.stack([starts, starts & ~left, starts & left], axis=-1), WRONG_FOOT, 0.0)


def _ahead(
    library: MotionLibrary, velocity: jax.Array, acceleration: jax.Array, command: jax.Array, options: Options
) -> jax.Array:
    """Features of the desired future [R, F - POSE]: path and headings of a root whose velocity a spring pulls to the
    command."""
    times = future_frames(library.fps)
    seconds = jnp.arange(1, times[-1] + 1, dtype=jnp.float32) / library.fps
    distance, _ = _spring.decay(velocity - command, acceleration, seconds, options.command_half_life)
    path, yaw = integrate_command(distance + command[:, None], library.fps)
    chosen = jnp.array(times)
    heading = jnp.stack([jnp.cos(yaw), jnp.sin(yaw)], axis=-1)
    return jnp.concatenate([_rows(path[:, chosen]), _rows(heading[:, chosen])], axis=-1)


def _turned(ahead: jax.Array, angle: jax.Array) -> jax.Array:
    """Features of a future [R, F - POSE] whose path is turned by an angle [R]; headings count from their first one."""
    path = ahead[:, : PATH - POSE].reshape(len(ahead), -1, 2)
    path = rotate_planar(path, jnp.broadcast_to(angle[:, None], path.shape[:-1]))
    return jnp.concatenate([_rows(path), ahead[:, PATH - POSE :]], axis=-1)


def _adapt(
    library: MotionLibrary, place: jax.Array, ahead: jax.Array, options: Options
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What brings a clip closer to the desired future, within limits: playback speed [R], additional yaw rate [R], and
    the angle [R] of the clip's heading from the robot's."""
    when, seconds = 1, future_frames(library.fps)[1] / library.fps
    columns = slice(POSE + 2 * when, POSE + 2 * when + 2), slice(PATH + 2 * when, PATH + 2 * when + 2)
    clip = _search.physical(library, place)
    path, heading = (clip[:, part] for part in columns)
    desired, towards = (ahead[:, part.start - POSE : part.stop - POSE] for part in columns)
    turned, wanted = (jnp.arctan2(vector[:, 1], vector[:, 0]) for vector in (heading, towards))
    across = path[:, 0] * desired[:, 1] - path[:, 1] * desired[:, 0]
    side = jnp.clip(jnp.arctan2(across, (path * desired).sum(axis=-1)), -options.side_limit, options.side_limit)
    side = side * jnp.minimum(jnp.linalg.norm(path, axis=-1) / (0.3 * seconds), 1.0)
    desired = rotate_planar(desired, -side)
    clip_way = jnp.concatenate([path, 0.3 * turned[:, None]], axis=-1)
    desired_way = jnp.concatenate([desired, 0.3 * wanted[:, None]], axis=-1)
    # A clip that hardly moves is played as it is.
    least = (0.15 * seconds) ** 2
    rate = ((clip_way * desired_way).sum(-1) + least) / (jnp.square(clip_way).sum(-1) + least)
    rate = jnp.clip(rate, 1 - options.rate_limit, 1 + options.rate_limit)
    moves = jnp.minimum(jnp.linalg.norm(clip_way, axis=-1) / (0.3 * seconds), 1.0)
    turn = jnp.clip((wanted - rate * turned) / seconds, -options.turn_limit, options.turn_limit)
    return rate, turn * moves, side


def _on_feet(
    library: MotionLibrary,
    target: Target,
    served_pos: jax.Array,
    joint_pos: jax.Array,
    joint_vel: jax.Array,
    served_root: jax.Array,
    root: jax.Array,
    options: Options,
) -> MotionFrame:
    """Frames [R, K, ...] whose feet do in the world what they do in the clip.

    While offsets between two motions decay, legs move by themselves. The root gives way: it moves so that feet which
    stand in the clip stand here too, and is as high as puts the lower foot where the clip has it.
    """
    fps = library.fps
    poses = jnp.concatenate([served_pos[:, None], joint_pos], axis=1)
    lean = jnp.concatenate([served_root[:, None], root], axis=1)[..., 1:3]
    zero = jnp.zeros_like(lean[..., :1])
    upright = RootMotion(zero, lean, jnp.zeros_like(lean), zero)
    points = soles_in_heading(MotionFrame(poses, poses, upright), library.robot)  # [R, K+1, 2, P, 3], the root at 0
    height = root[..., :1] - points[:, 1:, ..., 2].min(axis=(-2, -1))[..., None]
    soles = points.mean(axis=-2)
    middle, target_middle = ((array[:, 1:] + array[:, :-1]) / 2 for array in (soles, target.soles))
    here, there = (jnp.diff(array, axis=1)[..., :2] * fps for array in (soles, target.soles))
    planar = root[..., 3:]
    change = (there + _carried(target.planar[:, 1:], target_middle)[..., :2]) - (
        here + _carried(planar, middle)[..., :2]
    )  # [R, K, 2, 2]
    # Offsets that are left after a few tenths of a second are small: what is changed here soon vanishes too.
    weight = target.contact[:, 1:]
    share = weight / jnp.maximum(weight.sum(axis=-1, keepdims=True), 1.0)
    change = (options.lock * share[..., None] * change).sum(axis=-2)
    change = jnp.clip(change, -LOCK_SPEED, LOCK_SPEED)
    channel = RootMotion(height, root[..., 1:3], planar[..., :2] + change, planar[..., 2:])
    return MotionFrame(joint_pos, joint_vel, channel)


def _carried(planar: jax.Array, points: jax.Array) -> jax.Array:
    """Velocity [..., n, 3] of points [..., n, 3] that are fixed in a heading frame moving at `planar` [..., 3]."""
    forward, left, turn = (planar[..., None, part] for part in range(3))
    x, y = forward - turn * points[..., 1], left + turn * points[..., 0]
    return jnp.stack([x, y, jnp.zeros_like(x)], axis=-1)


def _errors(error: jax.Array, missed: jax.Array, fps: float) -> jax.Array:
    """Errors [R, K, 3] after each frame, from those before [R, 3] and the velocities that were missed [R, K, 3]."""
    limits = jnp.array(ERROR_LIMITS, jnp.float32)[None]
    keep = math.exp(-1 / (fps * ERROR_SECONDS))

    def add(error: jax.Array, missed: jax.Array) -> tuple[jax.Array, jax.Array]:
        error = jnp.clip(keep * error + missed / fps, -limits, limits)
        return error, error

    return lax.scan(add, error, missed.swapaxes(0, 1))[1].swapaxes(0, 1)


def _standing(library: MotionLibrary, follow: Follow, places: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`Follow.still` and `Follow.standing` [R, K] of frames that play the library at these places."""
    enough = round(STILL_SECONDS * library.fps)

    def update(carry: tuple[jax.Array, jax.Array], support: jax.Array) -> tuple[Pair, Pair]:
        still, standing = carry
        still = jnp.where(support == 2, jnp.minimum(still + 1, 1000), 0)
        standing = (standing | (still >= enough)) & (support > 0)
        return (still, standing), (still, standing)

    _, (still, standing) = lax.scan(update, (follow.still, follow.standing), library.support[places].swapaxes(0, 1))
    return still.swapaxes(0, 1), standing.swapaxes(0, 1)


def _channel(library: MotionLibrary, place: jax.Array) -> jax.Array:
    """The root channel of frames of the library [R, 6], with the soles' clearance for the height."""
    root = library.frames[place][:, 2 * library.robot.num_joints + 1 :]
    return jnp.concatenate([library.clearance[place][:, None], root], axis=-1)


def _rows(array: jax.Array) -> jax.Array:
    return array.reshape(len(array), -1)
