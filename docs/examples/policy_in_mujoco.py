"""A walking G1 without JAX in its loop: an ONNX graph that makes its own reference, and plain MuJoCo.

cmg-jax rl export --with-reference --out policy.onnx
python policy_in_mujoco.py policy.onnx
"""
# pyright: reportAttributeAccessIssue=false
# (mujoco is a compiled module without stubs)

import json
import sys
from pathlib import Path

import mujoco
import numpy as np
import onnxruntime

from cmg_jax.rl import G1Tracking
from cmg_jax.robot import G1

STANDING = np.asarray(G1.standing_joint_pos)


# %% The robot: position actuators with the gains of the policy's training, over a floor.
def robot(about, sim_dt=0.002):
    assert about["joint_names"] == list(G1.joint_names)
    model = G1Tracking(config_overrides={"floating": True, "sim_dt": sim_dt, "solver": (100, 50)}).mj_model
    model.actuator_gainprm[:, 0] = about["stiffness"]
    model.actuator_biasprm[:, 1] = -model.actuator_gainprm[:, 0]
    model.actuator_biasprm[:, 2] = -np.array(about["damping"])
    return model


def measured(data, action):
    """What the policy sees of the robot, [1, 96]: the parts that the metadata of the graph name, in their order."""
    w, x, y, z = data.qpos[3:7]
    down = [2 * (w * y - x * z), -2 * (y * z + w * x), 2 * (x * x + y * y) - 1]  # of the pelvis
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    cos, sin = np.cos(yaw), np.sin(yaw)
    forward, left = cos * data.qvel[0] + sin * data.qvel[1], cos * data.qvel[1] - sin * data.qvel[0]
    joint_pos, joint_vel = data.qpos[7:] - STANDING, 0.1 * data.qvel[6:]
    parts = [[forward, left, data.qvel[2]], data.qvel[3:6], down, joint_pos, joint_vel, action]
    return np.concatenate(parts, dtype=np.float32)[None]


# %% The loop, 50 times a second.
def main(path, command=(0.6, 0.0, 0.0), seconds=10.0):
    session = onnxruntime.InferenceSession(Path(path).read_bytes(), providers=["CPUExecutionProvider"])
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    model = robot(about)
    data = mujoco.MjData(model)
    data.qpos[:] = G1.standing_qpos
    frame = np.array([about["standing_frame"]], np.float32)
    action, states = np.zeros(29), []
    for step in range(round(seconds / about["control_dt"])):
        reached = np.array([command], np.float32) * min(step / 25, 1)  # half a second from standing to the command
        inputs = {"robot": measured(data, action), "frame": frame, "command": reached}
        actions, targets, frame = map(np.asarray, session.run(["action", "joint_target", "next_frame"], inputs))
        action, data.ctrl[:] = actions[0], targets[0]
        mujoco.mj_step(model, data, round(about["control_dt"] / model.opt.timestep))
        states.append(data.qpos.copy())
    return np.array(states)  # [T, 36]


if __name__ == "__main__":
    walked = main(sys.argv[1])
    distance, height = np.linalg.norm(walked[-1, :2]), walked[-1, 2]
    print(f"after 10 s the robot is {distance:.1f} m away, its pelvis {height:.2f} m high")
