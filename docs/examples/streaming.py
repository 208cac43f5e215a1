"""Commands that change at any time, and look-ahead for the policy: one new frame per step."""

import jax

import cmg_jax
from cmg_jax import commands

model = cmg_jax.default_model()
generator = cmg_jax.on_tick(cmg_jax.streaming(lookahead_frames=20), num_frames=5)
smooth = commands.ramp(steps=25)
RANGE = commands.presets(model)["forward_turn"]  # inside what the model was trained on
INTERVAL = (150, 300)  # control steps that a command is held


@jax.jit
def rollout(model, carry, keys):  # keys [T]
    def control_step(carry, key):
        state, held, smoothing = carry
        done_key, hold_key, command_key, reset_key = jax.random.split(key, 4)
        done = jax.random.bernoulli(done_key, 0.002, held.remaining.shape)  # from your environment
        command = commands.uniform(command_key, RANGE, len(done))
        held, changed = commands.next_held(held, hold_key, command, INTERVAL, done)
        smoothing = smooth.reset(smoothing, done, held.requested)
        smoothing = smooth.step(smooth.request(smoothing, held.requested, changed))
        state = generator.reset(model, state, done, reset_key, smoothing.smoothed)
        state = generator.set_command(model, state, smoothing.smoothed)
        state, reference = generator.step(model, state)  # joint_pos, joint_vel [B, J]
        ahead = generator.lookahead(model, state, (1, 5, 20))  # leaves [B, 3, J]
        return (state, held, smoothing), (reference.joint_pos, ahead.joint_pos[:, :, 0])

    return jax.lax.scan(control_step, carry, keys)


def main(num_envs: int = 4096, steps: int = 100) -> jax.Array:
    command_key, hold_key, init_key, key = jax.random.split(jax.random.key(0), 4)
    command = commands.uniform(command_key, RANGE, num_envs)
    state = generator.init(model, init_key, command)
    carry = (state, commands.hold(hold_key, command, INTERVAL), smooth.init(command))
    _, (joint_pos, _) = rollout(model, carry, jax.random.split(key, steps))
    return joint_pos  # [T, B, J]


if __name__ == "__main__":
    print("joint_pos", main().shape)
