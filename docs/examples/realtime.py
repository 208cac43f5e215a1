"""The original's realtime mode: a buffer that is refilled by half. A new command acts at once and without a jump."""

import jax

import cmg_jax
from cmg_jax import commands

model = cmg_jax.default_model()
generator = cmg_jax.realtime(buffer_frames=100)
RANGE = commands.presets(model)["forward_turn"]  # inside what the model was trained on


@jax.jit
def rollout(model, state, keys):  # keys [T]
    def control_step(state, key):
        done_key, change_key, command_key, reset_key = jax.random.split(key, 4)
        num_envs = len(state.command)
        done = jax.random.bernoulli(done_key, 0.002, (num_envs,))  # from your environment
        changed = jax.random.bernoulli(change_key, 0.004, (num_envs,))  # from your task
        command = commands.uniform(command_key, RANGE, num_envs)
        state = generator.reset(model, state, done, reset_key, command)
        state = generator.set_command(model, state, command, changed)
        state, reference = generator.step(model, state)  # joint_pos, joint_vel [B, J]
        return state, reference.joint_pos

    return jax.lax.scan(control_step, state, keys)


def main(num_envs: int = 4096, steps: int = 100) -> jax.Array:
    command_key, init_key, key = jax.random.split(jax.random.key(0), 3)
    command = commands.uniform(command_key, RANGE, num_envs)
    state = generator.init(model, init_key, command)
    _, joint_pos = rollout(model, state, jax.random.split(key, steps))
    return joint_pos  # [T, B, J]


if __name__ == "__main__":
    print("joint_pos", main().shape)
