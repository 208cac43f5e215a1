"""The page, driven and played, and in a real browser if one is installed."""

import dataclasses
import os
import re
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import cmg_jax
from cmg_jax import InputError, motion_files
from cmg_jax.cli import _assume, _view
from cmg_jax.cli.main import main
from cmg_jax.commands import _schedule, _smoother
from cmg_jax.commands._sampler import CommandRange
from cmg_jax.generators._base import standing_frame
from cmg_jax.robot import G1, Robot, _feet, _odometry
from cmg_jax.robot._bodies import body_poses, qpos
from cmg_jax.robot._g1 import MJCF_PATH
from cmg_jax.view import Drive, Pacer, Playback, Skeleton, read_commands
from cmg_jax.view._address import free_port
from cmg_jax.view._page import Page, slider_bounds
from tests.browser_tools import Browser, start, stop
from tests.conftest import REFERENCE_MODEL, refused_line
from tests.library_tools import SPEEDS, clip, write_recordings

FRAMES = 120


@pytest.fixture(scope="module")
def drive(policy_model, model) -> Drive:
    """Two models side by side."""
    return Drive([policy_model, model], ["policy", "reference"])


def wander(drive: Drive, frames: int = FRAMES):
    """Poses of a drive under targets that change, the smoother on."""
    drive.set_smoothing(0.4)
    drive.reset()
    poses = []
    for frame in range(frames):
        drive.target = np.array([0.8 if frame > 5 else 0.0, 0.0, 0.5 if frame > 60 else 0.0], np.float32)
        poses.append(drive.step())
    return poses


# Driving.


def test_a_drive_is_the_network_under_smoothed_commands(drive, policy_model, model):
    poses = wander(drive)
    ramp = _smoother.ramp(20)
    step = jax.jit(lambda state, target: ramp.step(ramp.request(state, target)))
    state, commands = ramp.init(np.zeros((1, 3))), []
    for frame in range(FRAMES):
        target = np.array([[0.8 if frame > 5 else 0.0, 0.0, 0.5 if frame > 60 else 0.0]], np.float32)
        state = step(state, target)
        commands.append(np.asarray(state.smoothed[0]))
    np.testing.assert_allclose([pose[0].command for pose in poses], commands, atol=1e-6)
    for robot, network in enumerate((policy_model, model)):
        first = standing_frame(network)[None]
        expected = np.asarray(jax.jit(cmg_jax.generate)(network, first, np.array(commands)[None]))[0, 1:, :29]
        np.testing.assert_allclose([pose[robot].joint_pos for pose in poses], expected, atol=2e-4)
        joint_pos = np.concatenate([np.asarray(first[:, :29]), [pose[robot].joint_pos for pose in poses]])
        measured = _odometry.stance_velocity(joint_pos, G1, 50)
        np.testing.assert_allclose([pose[robot].velocity for pose in poses], measured, atol=2e-3)
    assert np.abs(poses[-1][0].joint_pos - poses[-1][1].joint_pos).max() > 0.05, "two models, two robots"


def test_the_root_moves_with_the_stance_foot_and_a_foot_is_on_the_floor(drive):
    poses = [pose[0] for pose in wander(drive)]
    places = np.array([pose.root_pos for pose in poses])
    assert places[-1, 0] > 0.6
    velocity = np.array([pose.velocity for pose in poses])
    speed = np.linalg.norm(np.diff(places[:, :2], axis=0), axis=-1) * 50
    np.testing.assert_allclose(speed, np.linalg.norm(velocity[1:, :2], axis=-1), atol=1e-3)
    assert all(pose.contact.any() for pose in poses)
    assert not all(pose.contact.all() for pose in poses)
    for pose in (poses[40], poses[-1]):
        positions = qpos(G1, pose.joint_pos[None], pose.root_pos[None], pose.root_quat[None])
        soles = _feet.sole_positions(G1, positions)[0]
        np.testing.assert_allclose(soles.mean(axis=1), pose.feet, atol=1e-4)
        assert abs(soles[..., 2].min()) < 1e-4
        np.testing.assert_allclose(pose.gate.sum(), 1, atol=1e-5)


def test_a_recorded_drive_played_back_is_the_same_motion_to_the_bit(drive, policy_model, model, tmp_path):
    poses = wander(drive)
    drive.write_schedule(tmp_path / "drive.csv")
    commands = read_commands(tmp_path / "drive.csv", 50)
    np.testing.assert_array_equal(commands, drive.recording)
    again = Drive([policy_model, model], ["a", "b"], commands=commands)
    for before in poses:
        for one, other in zip(before, again.step(), strict=True):
            for field in ("joint_pos", "root_pos", "root_quat", "feet", "command", "velocity"):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert again.finished
    again.reset()
    assert not again.finished
    assert (again.frame, again.recording) == (0, [])


def test_without_a_smoother_a_command_acts_at_once(drive):
    drive.set_smoothing(0.0)
    drive.reset()
    drive.target = np.array([0.5, 0.1, -0.2], np.float32)
    np.testing.assert_array_equal(drive.step()[0].command, np.array([0.5, 0.1, -0.2], np.float32))
    low, high, _ = drive.command_range
    assert (low < high).all()


def test_recordings_are_driven_like_a_model(tmp_path):
    assumed = _assume.from_options((), csv_fps=50.0)
    drive = _view._drive(None, write_recordings(tmp_path), assumed, None)
    poses = [drive.reset()[0]]
    for frame in range(250):
        drive.target = np.array([0.9 if 10 < frame < 150 else 0.0, 0.0, 0.0], np.float32)
        poses.append(drive.step()[0])
    recorded = np.concatenate([motion for motion, _ in map(clip, SPEEDS)])[:, :29]
    np.testing.assert_allclose(np.abs(recorded - poses[0].joint_pos).max(axis=-1).min(), 0, atol=1e-3)
    places = np.array([pose.root_pos for pose in poses])
    assert places[150, 0] > 1.0
    np.testing.assert_allclose(np.mean([pose.velocity for pose in poses[80:150]], axis=0)[0], 0.9, atol=0.15)
    assert np.ptp(places[230:, 0]) < 0.05, "it stops"
    assert all(np.isnan(pose.gate).all() for pose in poses[1:]), "no expert is at work"
    step = np.abs(np.diff([pose.joint_pos for pose in poses], axis=0)).max()
    assert 0.05 < step < 1.2 * max(np.abs(np.diff(clip(swing)[0][:, :29], axis=0)).max() for swing in SPEEDS)


def test_models_that_cannot_walk_together_are_refused(policy_model, tmp_path):
    def other(**changes):
        return dataclasses.replace(policy_model, config=dataclasses.replace(policy_model.config, **changes))

    with pytest.raises(InputError, match="b: showing a model needs the MJCF"):
        Drive([policy_model, other(robot=Robot("tails", tuple(f"tail_{index}" for index in range(29))))], ["a", "b"])
    with pytest.raises(InputError, match="differ in their frame rate"):
        Drive([policy_model, other(fps=30.0)], ["a", "b"])
    (tmp_path / "late.csv").write_text("-5,1,0,0\n-4,1,0,0\n")
    with pytest.raises(InputError, match=r"late\.csv"):
        read_commands(tmp_path / "late.csv", 50)


def test_sliders_stay_within_the_trained_range_and_schedules_beyond_it_are_warned_of(
    drive, policy_model, tmp_path, capsys
):
    low, high, _ = drive.command_range
    for (least, most), lowest, highest in zip(slider_bounds(drive.command_range), low, high, strict=True):
        assert lowest <= least < most <= highest
        assert most - least > highest - lowest - 0.1
    narrow = CommandRange(np.array([0.21, -1.0]), np.array([0.24, 1.0]))
    assert slider_bounds(narrow) == [(0.21, 0.24), (-1.0, 1.0)]
    (tmp_path / "fast.csv").write_text("0,0,0,0\n1,2.5,0,-0.9\n")
    _view._drive([Path("policy")], None, motion_files.Assume(), tmp_path / "fast.csv")
    (line,) = capsys.readouterr().err.splitlines()
    assert "vx +2.50 is outside the trained range -0.43 .. +1.51; yaw rate -0.90 is outside" in line
    highest = policy_model.stats.command_max
    apart = policy_model.stats._replace(command_min=highest, command_max=highest + 1)
    with pytest.raises(InputError, match="no command in common"):
        Drive([policy_model, policy_model.replace(stats=apart)], ["a", "b"])


# Playing.


def test_a_file_is_played_frame_by_frame(policy_model, tmp_path):
    commands = _schedule.hold_each([[0.8, 0, 0.4]], 1, 50)
    first = standing_frame(policy_model)[None]
    trajectory = np.asarray(jax.jit(cmg_jax.generate)(policy_model, first, commands[None]))[0]
    motion_files.write(tmp_path / "walk.npz", motion_files.of_trajectory(policy_model.config, trajectory, commands))
    playback = Playback(motion_files.read(tmp_path / "walk.npz").clips[0])
    poses = [playback.reset()[0]]
    while not playback.finished:
        poses.append(playback.step()[0])
    assert len(poses) == 51
    np.testing.assert_allclose([pose.joint_pos for pose in poses], trajectory[:, :29], atol=1e-6)
    np.testing.assert_allclose([pose.command for pose in poses[:50]], commands, atol=1e-6)
    assert all(pose.contact.any() for pose in poses)
    np.testing.assert_array_equal(playback.seek(20)[0].joint_pos, poses[20].joint_pos)
    assert playback.seek(999)[0] is not None
    assert playback.frame == 50
    stranger = playback.clip._replace(robot=Robot("tails", tuple(f"tail_{index}" for index in range(29))))
    with pytest.raises(InputError, match="not the G1's"):
        Playback(stranger)


# Drawing.


def test_bodies_of_our_g1_have_shapes_where_kinematics_has_them():
    skeleton = Skeleton()
    assert len(skeleton.shapes) == 30
    standing = G1.standing_joint_pos
    root = np.array([1.0, 2.0, 0.8]), np.array([0.8, 0, 0, 0.6])
    position, rotation = skeleton.place(standing, *root)
    expected = body_poses(G1, qpos(G1, standing[None], root[0][None], root[1][None]))
    np.testing.assert_allclose(position[1:], expected.position[0], atol=1e-6)
    np.testing.assert_allclose(rotation[1:], expected.rotation[0], atol=1e-6)
    assert len({shape.colour for shapes in skeleton.shapes.values() for shape in shapes}) > 2
    lengths = [
        np.ptp(np.vstack([s.mesh.vertices for s in shapes]), axis=0).max() for shapes in skeleton.shapes.values()
    ]
    assert 0.05 < min(lengths) < max(lengths) < 0.6


def test_any_mjcf_of_the_g1_is_drawn_and_others_are_refused(tmp_path):
    text = MJCF_PATH.read_text()
    mesh = '<mesh name="wedge" vertex="0 0 0 .1 0 0 0 .1 0 0 0 .1"/>'
    changed = text.replace("<worldbody>", f"<asset>{mesh}</asset><worldbody>", 1)
    changed = changed.replace(
        '<geom class="joint" size=".05 .03" pos="0 0 -.005"/>', '<geom class="shell" type="mesh" mesh="wedge"/>'
    )
    assert 'type="mesh"' in changed
    (tmp_path / "g1.xml").write_text(changed)
    shapes = Skeleton(path=tmp_path / "g1.xml").shapes
    assert len(shapes) == 30
    wedge = [shape for shape in shapes[1] if shape.edged]  # and the box, of the same colour
    assert sum(len(shape.mesh.faces) for shape in wedge) == 12 + 4
    (tmp_path / "arm.xml").write_text(
        "<mujoco><worldbody><body><freejoint/><geom size='.1'/></body></worldbody></mujoco>"
    )
    (tmp_path / "bad.xml").write_text("<mujoco><body></mujoco>")
    for name, words in (("arm.xml", "no joint left_hip"), ("bad.xml", "cannot read it"), ("none.xml", "no such file")):
        with pytest.raises(InputError, match=words):
            Skeleton(path=tmp_path / name)


def test_late_frames_are_counted_and_a_long_delay_restarts_the_clock(monkeypatch):
    clock = {"time": 0.0}
    monkeypatch.setattr(time, "perf_counter", lambda: clock["time"])
    wake = threading.Event()
    wake.wait = lambda timeout=None: clock.update(time=clock["time"] + (timeout or 0)) or wake.is_set()  # type: ignore
    pacer = Pacer()
    for delay in (0.001, 0.002, 0.015, 0.001, 3.0, 0.001):
        assert pacer.wait(0.02, wake)
        clock["time"] += delay
        pacer.record(0.02)
    assert (pacer.frames, pacer.late) == (6, 2)
    assert max(pacer.lateness) == pytest.approx(3.0)
    assert pacer.lateness[-1] == pytest.approx(0.001), "the clock restarts"
    assert "6 frames, 2 late" in pacer.text()
    wake.set()
    assert not pacer.wait(0.02, wake), "a request wakes it"


# The program.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", 99999), "0 to 65535"),
        (("--host", "192.0.2.1", "--port", 0), "cannot listen"),
        (("--motion", "absent.npz"), "No such file"),
        (("--motion", "notes.csv"), "not a table of numbers"),
        (("--motion", "notes.csv", "--model", "m"), "cannot be combined with --model"),
        (("--model", "absent"), "not a model directory"),
        (("--library", "notes.csv"), "--library notes.csv: "),
        (("--library", "notes.csv", "--model", "m"), "show them one at a time"),
        (("--robot", "absent.xml"), "no such file"),
        (("--schedule", "notes.csv"), "notes.csv:1"),
        (("--record", "absent/a.csv"), "create it first"),
        (("--seconds", 0), "positive"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.csv").write_text("a,b,1\n")
    assert words in refused_line(capsys, "view", *arguments)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    pytest.importorskip("selenium")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver on this machine")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.driver.quit()


@pytest.mark.slow
def test_a_slider_moves_the_robot_pause_stops_it_and_two_tabs_share_it(browser, tmp_path):
    process, address = start("--model", REFERENCE_MODEL, "--record", "drive.csv", cwd=tmp_path)
    try:
        driver = browser.driver
        driver.get(address)
        browser.until(lambda: abs(browser.place()[0]) < 0.2)
        slider = driver.find_elements("css selector", "[role=slider]")[0]
        slider.send_keys("\ue010")  # the key End: the highest trained speed
        browser.until(lambda: browser.place()[0] > 0.8)
        first = driver.current_window_handle
        driver.switch_to.new_window("tab")
        driver.get(address)
        browser.until(lambda: browser.place()[0] > 0.8)
        slider = driver.find_elements("css selector", "[role=slider]")[0]
        assert float(slider.get_attribute("aria-valuenow") or 0) > 1, "the other tab's command"
        browser.click("(//input[@type='checkbox'][following::button[.='single step']])[last()]")
        stood = browser.until(browser.still)
        driver.close()
        driver.switch_to.window(first)
        browser.until(lambda: browser.place() == stood)
        browser.click("//button[.='reset to standing']")
        browser.until(lambda: browser.place() == (0.0, 0.0))
        browser.click("//button[.='single step']")
        browser.until(lambda: "0.02 s" in browser.text())
    finally:
        out = stop(process)
    assert re.search(r"\d+ frames, \d+ late; lateness [\d.]+ ms \(median\)", out)
    assert len((tmp_path / "drive.csv").read_text().splitlines()) == 2  # since the reset: the header and one frame


@pytest.mark.filterwarnings("ignore:.control_layout. is deprecated:DeprecationWarning")
def test_a_terminated_drive_is_recorded_and_its_sliders_show_the_schedule(tmp_path, monkeypatch, capsys):
    pytest.importorskip("viser")
    (tmp_path / "drive.csv").write_text("0,0,0,0\n0.2,0.9,0,-0.3\n9,0.9,0,-0.3\n")
    shown = []

    def run(page, seconds):
        for _ in range(20):
            page._request("step")
            page._handle_requests()
            shown.append([slider.value for slider in page.sliders])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)  # until the signal is handled

    monkeypatch.setattr(Page, "run", run)
    arguments = ["--model", "policy", "--schedule", tmp_path / "drive.csv", "--record", tmp_path / "again.csv"]
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("nothing handles the signal"))
    try:
        assert main(["view", "--port", "0", *map(str, arguments)]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "(20 frames)" in capsys.readouterr().out
    _, values = _schedule.read_schedule(tmp_path / "again.csv")
    np.testing.assert_allclose(shown, values, atol=0.006)
    assert shown[5] != shown[15]
    np.testing.assert_allclose(shown[-1], [0.9, 0, -0.3], atol=0.006)


def test_a_schedule_drives_and_the_program_ends_by_itself(browser, tmp_path):
    (tmp_path / "drive.csv").write_text("0,0,0,0\n0.2,0.9,0,0\n9,0.9,0,0\n")
    process, address = start("--schedule", "drive.csv", "--record", "again.csv", "--seconds", 2, cwd=tmp_path)
    browser.driver.get(address)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "wrote again.csv (100 frames)" in out
    _, values = _schedule.read_schedule(tmp_path / "again.csv")
    np.testing.assert_allclose(values[50], [0.9, 0, 0], atol=1e-6)


@pytest.mark.slow
def test_a_slider_drives_recordings(browser, tmp_path):
    files = write_recordings(tmp_path)
    process, address = start("--library", *files, "--csv-fps", 50, cwd=tmp_path)
    try:
        browser.driver.get(address)
        browser.until(lambda: abs(browser.place()[0]) < 0.2)
        browser.driver.find_elements("css selector", "[role=slider]")[0].send_keys("\ue010")  # the key End
        browser.until(lambda: browser.place()[0] > 0.8)
    finally:
        stop(process)


def test_listening_elsewhere_is_warned_of_and_a_taken_port_is_one_clear_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["view", "--port", str(port)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"cannot listen at 127.0.0.1:{port}" in line
    port, local = free_port("127.0.0.1", 0)
    assert port > 0
    assert local
    assert main(["view", "--port", "0", "--host", "0.0.0.0", "--schedule", "absent.csv"]) == 2
    warning, _ = capsys.readouterr().err.splitlines()
    assert "warning: listening at 0.0.0.0: everyone who reaches this machine can drive" in warning
