"""The original's pregenerated mode: one command per episode; a reset makes the whole trajectory, a step reads it."""

import jax

import cmg_jax
from cmg_jax import commands

model = cmg_jax.default_model()
generator = cmg_jax.pregenerated(num_frames=500, dtype="float16")
RANGE = commands.presets(model)["forward"]  # inside what the model was trained on


@jax.jit
def rollout(model, state, keys):  # keys [T]
    def control_step(state, key):
        done_key, command_key, reset_key = jax.random.split(key, 3)
        num_envs = len(state.command)
        done = jax.random.bernoulli(done_key, 0.0001, (num_envs,))  # from your environment; here resets are expensive
        command = commands.uniform(command_key, RANGE, num_envs)
        state = generator.reset(model, state, done, reset_key, command)
        state, reference = generator.step(model, state)  # joint_pos, joint_vel [B, J]
        ahead = generator.lookahead(model, state, (1, 50))  # leaves [B, 2, J]
        return state, (reference.joint_pos, ahead.joint_vel[:, :, 0])

    return jax.lax.scan(control_step, state, keys)


def main(num_envs: int = 4096, steps: int = 100) -> jax.Array:
    command_key, init_key, key = jax.random.split(jax.random.key(0), 3)
    command = commands.uniform(command_key, RANGE, num_envs)
    state = jax.jit(generator.init)(model, init_key, command)
    _, (joint_pos, _) = rollout(model, state, jax.random.split(key, steps))
    return joint_pos  # [T, B, J]


if __name__ == "__main__":
    print("joint_pos", main().shape)
