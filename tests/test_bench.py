"""`cmg-jax bench` as a user starts it, at sizes that take seconds. Its figures are printed, never asserted."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench import _gpu, _measure, _report
from bench._measure import Section
from cmg_jax.model import Tile, _networks
from cmg_jax.model._networks import CMG
from tests.conftest import refused_line, run_program
from tests.test_kernels import random_model


def bench(tmp_path, *arguments):
    return run_program("cmg-jax", "bench", *arguments, cwd=tmp_path)


@pytest.mark.slow
def test_quick_prints_the_originals_table_and_writes_json_and_pictures(tmp_path):
    result = bench(
        tmp_path, "--envs", 8, "--repeats", 1, "--save", "a.json", "--pictures", "plots", "--profile", "trace"
    )
    assert result.returncode == 0, result.stderr
    for words in ("matrix-product peak", "time to first frame", "of peak", "one read ms", "state MB"):
        assert words in result.stdout
    content = json.loads((tmp_path / "a.json").read_text())
    tables = {table["name"]: table["rows"] for table in content["sections"]}
    assert set(tables) == {"time to first frame", "generate", "modes"}
    (row,) = tables["generate"]
    assert row["frames_per_second"] == pytest.approx(8 * 50 / row["seconds"])
    assert 0 < row["of_peak"] < 1.5
    assert [row["mode"] for row in tables["modes"]] == ["pregenerated", "realtime"]
    assert [round(row["state_mb"], 2) for row in tables["modes"]] == [1.03, 0.20]
    assert (tmp_path / "plots" / "roofline.png").stat().st_size > 10_000
    assert (tmp_path / "plots" / "modes.png").stat().st_size > 10_000
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


def test_peers_compute_the_same_before_they_are_timed(tmp_path):
    pytest.importorskip("onnxruntime")
    result = bench(tmp_path, "--mode", "peers", "--envs", 3, "--repeats", 1, "--save", "a.json", "--pictures", "plots")
    assert result.returncode == 0, result.stderr
    (table,) = json.loads((tmp_path / "a.json").read_text())["sections"]
    rows = {row["peer"]: row for row in table["rows"]}
    assert "onnxruntime" in rows
    assert all(0 < row["largest_difference"] < 2e-3 for row in rows.values()), "bitwise equal frames would be our own"
    assert (tmp_path / "plots" / "peers.png").exists()


@pytest.mark.slow
def test_memory_counts_the_process_that_generates(tmp_path):
    result = bench(tmp_path, "--mode", "memory", "--envs", 1024, "--steps", 100, "--save", "a.json")
    assert result.returncode == 0, result.stderr
    (table,) = json.loads((tmp_path / "a.json").read_text())["sections"]
    rows = {row["case"]: row for row in table["rows"]}
    assert set(rows) == {"generate", "pregenerated float32", "pregenerated float16", "pregenerated bfloat16"}
    for row in rows.values():
        assert row["above_idle"] > 0.9, "the trajectory itself was not counted"
    assert rows["pregenerated float16"]["trajectory_mb"] == pytest.approx(rows["generate"]["trajectory_mb"] / 2)


def test_rollout_names_its_bars(tmp_path):
    options = ("--envs", 16, "--steps", 12, "--repeats", 1, "--generators", "streaming-20")
    result = bench(tmp_path, "--mode", "rollout", *options)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines() if "streaming-20" in line]
    assert [line[1] for line in lines] == ["no", "yes"]


@pytest.mark.slow
def test_gpu_runs_without_one_and_says_what_it_skips(tmp_path):
    options = ("--envs", 3, "--steps", 12, "--repeats", 1, "--generators", "streaming-20", "--save", "a.json")
    result = bench(tmp_path, "--mode", "gpu", *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("no NVIDIA GPU here: kernels are skipped")
    content = json.loads((tmp_path / "a.json").read_text())
    assert {"device", "jax", "cmg_jax"} <= set(content)
    tables = {table["name"]: table["rows"] for table in content["sections"]}
    assert set(tables) == {"precisions", "rollout", "modes"}
    errors = {row["precision"]: row["error"] for row in tables["precisions"]}
    assert errors["float32"] == 0 < errors["float16"] < errors["bfloat16"]
    assert [row["events"] for row in tables["rollout"]] == ["no", "yes"]


@pytest.mark.slow
def test_kernels_and_tiles_are_compared_before_they_are_timed(monkeypatch):
    model = random_model(2, (7,), (9,)).replace(initial_motion=jnp.zeros((1, 6)))
    for name, value in {"PRECISIONS": ("float32", "float16"), "FRAMES": 3, "ERROR_FRAMES": 5}.items():
        monkeypatch.setattr(_gpu, name, value)
    done = []
    section = _gpu.forms(model, (5,), 1, lambda part, _=None: done.append(part), kernels=True, interpret=True)
    assert [row["form"] for row in section.rows] == ["plain", "kernels"] * 2
    assert sum(done) == 4
    errors = {(row["precision"], row["form"]): row["error"] for row in section.rows}
    assert errors["float32", "plain"] == 0
    assert errors["float32", "kernels"] < 1e-5 < errors["float16", "kernels"]

    def without_room(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: shared memory\nmore of it")

    with monkeypatch.context() as patch:
        patch.setattr(_gpu.generation, "generate", without_room)
        row = _gpu._time_of_form(model, _gpu._frames_of(model, 5), np.zeros(1), lambda: 0, 1)
        assert row == {"failed": "RESOURCE_EXHAUSTED: shared memory"}
        patch.setattr(_gpu._rollout, "cost", without_room)
        section = _gpu.rollouts(model, ["streaming-20"], [5], 3, 1, lambda *_: None)
        assert "RESOURCE_EXHAUSTED: shared memory" in _report.table_text(section)

    small, broken = Tile(64, 16, 32, 4, 2), Tile(64, 32, 32, 4, 2)

    def time_of(model, *arguments, original=_gpu._time_of_tile):
        if model.kernels.tiles[-1] == broken:
            return {"failed": "no room"}
        return original(model, *arguments)

    monkeypatch.setattr(_gpu, "_time_of_tile", time_of)
    section = _gpu.tiles(model, 5, 1, lambda *_: None, wide=[small], last=[broken, small], interpret=True)
    assert len(section.rows) == 6
    assert [row.get("best") for row in section.rows] == ["yes", None, "yes"] * 2
    assert section.rows[1]["failed"] == "no room"
    assert section.notes[0] == f"float32: with_kernels(model, tiles=[{', '.join([str(tuple(small))] * 2)}])"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--envs", 0), "at least 1"),
        (("--repeats", "-2"), "at least 1"),
        (("--mode", "slow"), "invalid choice"),
        (("--mode", "scaling", "--envs", 4), "are fixed"),
        (("--save", "a.txt"), ".json"),
        (("--save", "absent/a.json"), "create it first"),
        (("--generators", "bank-256x500"), "--mode rollout"),
        (("--pictures", "file"), "not a directory"),
        (("--model", "absent"), "not a model directory"),
    ],
)
def test_bad_arguments_are_one_clear_line(tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert words in refused_line(capsys, "bench", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_products_of_a_frame_are_those_of_the_traced_network(model):
    shapes = (jax.ShapeDtypeStruct((1, 58), "float32"), jax.ShapeDtypeStruct((1, 3), "float32"))
    with _networks.for_any_platform():  # else each product stands there once for each platform
        jaxpr = jax.make_jaxpr(lambda p, m, c: CMG(58, 4, (512,), (512, 512)).apply({"params": p}, m, c))(
            model.params, *shapes
        )
    counted = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            kernel, x = (variable.aval.shape for variable in equation.invars)
            counted += int(np.prod(kernel)) * x[1]
    assert _measure.products_per_frame(model.config) == counted


def test_growth_exponent_and_tables():
    assert _measure.growth_exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert _measure.growth_exponent([1, 10], [1, 100]) == pytest.approx(2)
    section = Section("s", {"a": "name|s", "b": "ms|,.1f", "c": "never|d"}, [{"a": "x", "b": 1234.56}, {"a": "yy"}])
    assert _report.table_text(section) == "s\n  name       ms\n  x     1,234.6\n  yy"
