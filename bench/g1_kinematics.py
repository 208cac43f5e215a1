"""Compare our G1 with a public model: kinematics over random poses, joint ranges, masses.

pip download --no-deps mjlab -d wheel && unzip -q wheel/mjlab-*.whl -d wheel
python -m bench.g1_kinematics wheel/mjlab/asset_zoo/robots/unitree_g1/xmls/g1.xml
"""

# pyright: reportAttributeAccessIssue=false
import argparse
from pathlib import Path

import mujoco
import numpy as np

from cmg_jax.robot import G1

POSES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mjcf", type=Path, help="the public g1.xml")
    ours, public = G1.mj_model, mujoco.MjModel.from_xml_path(str(parser.parse_args().mjcf))
    assert [ours.body(i).name for i in range(ours.nbody)] == [public.body(i).name for i in range(public.nbody)]
    rng = np.random.default_rng(0)
    poses = np.zeros((POSES, 36))
    poses[:, :3] = rng.normal(size=(POSES, 3))
    poses[:, 3:7] = rng.normal(size=(POSES, 4))
    poses[:, 3:7] /= np.linalg.norm(poses[:, 3:7], axis=1, keepdims=True)
    poses[:, 7:] = rng.uniform(*public.jnt_range[1:].T, size=(POSES, 29))
    data = [mujoco.MjData(ours), mujoco.MjData(public)]
    position, rotation = 0.0, 0.0
    for pose in poses:
        for model, state in zip((ours, public), data, strict=True):
            state.qpos[:] = pose
            mujoco.mj_kinematics(model, state)
        position = max(position, np.abs(data[0].xpos - data[1].xpos).max())
        rotation = max(rotation, np.abs(data[0].xmat - data[1].xmat).max())
    print(f"{POSES} random poses, {ours.nbody - 1} bodies: position {position:.1e} m, rotation matrix {rotation:.1e}")
    print(f"joint ranges {np.abs(ours.jnt_range - public.jnt_range).max():.1e} rad", end=", ")
    print(f"masses {np.abs(ours.body_mass - public.body_mass).max():.1e} kg", end=", ")
    print(f"inertias {np.abs(ours.body_inertia - public.body_inertia).max():.1e} kg m^2")


if __name__ == "__main__":
    main()
