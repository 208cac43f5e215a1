"""A bank of motions that are made once: the rollout never runs the network, and a curriculum widens the commands."""

import jax

import cmg_jax
from cmg_jax import commands

model = cmg_jax.default_model()
generator = cmg_jax.replay(lookahead_frames=20)
RANGE = commands.stages(model)["turn"]  # inside what the model was trained on


@jax.jit
def rollout(model, state, difficulty, keys):  # difficulty [] from 0 to 1, keys [T]
    easiest_to_hardest = commands.curriculum(RANGE, difficulty)
    limits = {"command_low": easiest_to_hardest.low, "command_high": easiest_to_hardest.high}
    model = model.replace(bank=model.bank._replace(**limits))

    def control_step(state, key):
        done_key, reset_key = jax.random.split(key)
        done = jax.random.bernoulli(done_key, 0.002, state.command.shape[:1])  # from your environment
        state = generator.reset(model, state, done, reset_key, None)  # None: a motion within the range
        state, reference = generator.step(model, state)  # joint_pos, joint_vel [B, J]
        return state, (reference.joint_pos, state.command)

    return jax.lax.scan(control_step, state, keys)


motions = cmg_jax.build_bank(
    model, jax.random.key(1), 256, 250, lambda key, num_envs: commands.uniform(key, RANGE, num_envs)
)
model = model.replace(bank=motions)


def main(num_envs: int = 4096, steps: int = 100) -> jax.Array:
    init_key, key = jax.random.split(jax.random.key(0))
    state = generator.init(model, init_key, None, num_envs=num_envs)
    for difficulty in (0.2, 1.0):  # a new difficulty compiles nothing
        state, (joint_pos, _) = rollout(model, state, difficulty, jax.random.split(key, steps))
    return joint_pos  # [T, B, J]


if __name__ == "__main__":
    print("joint_pos", main().shape)
