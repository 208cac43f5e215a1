"""A report of `evaluate` as text and as JSON."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

STILL = 5e-5
"""rad; a smaller standard deviation of the joints is printed as 0."""


def report_json(report: dict[str, Any]) -> str:
    """The report as JSON, with null for a figure of a motion that is not finite.

    Examples:
      >>> from cmg_jax import evaluation
      >>> evaluation.report_json({"slip_m_s": float("nan")})
      '{\\n  "slip_m_s": null\\n}\\n'
    """
    return json.dumps(_finite(report), indent=2) + "\n"


def report_text(report: dict[str, Any], compared: Mapping[str, dict[str, Any]] | None = None) -> str:
    """The figures of a report, one a line, and a table of its gait beside that of other reports by their names.

    Examples:
      >>> from cmg_jax import evaluation
      >>> report = evaluation.evaluate(model, grid=[(0.8, 0.0, 0.0)])
      >>> print(evaluation.report_text(report))
    """
    tracking, changes, drift = (report[name] for name in ("tracking", "switching", "drift"))
    starts = [second for second in report["start_stop"]["seconds_to_half_speed"] if second is not None]
    stops = [second for second in report["start_stop"]["seconds_to_stand"] if second is not None]
    count = len(report["start_stop"]["speeds"])
    zero = tracking["speed_at_zero"]
    gait = report.get("gait")
    lines = [
        ("error of the walked velocity (RMSE)", _errors(tracking["rmse"])),
        *([("error at the feet (RMSE)", _errors(gait["feet_rmse"]))] if gait else []),
        *([("error of the data, by stride (RMSE)", _errors(report["data"]["rmse"]))] if "data" in report else []),
        ("mean error of the walked velocity (bias)", _errors(tracking["bias"])),
        ("error after changes of command (RMSE)", _errors(changes["rmse"])),
        ("commands under which it does not move", "{rows_that_do_not_move} of {rows_that_should}".format(**tracking)),
        *([("commands under which it does not walk", _not_walking(gait))] if gait else []),
        ("speed under no command", "not in the grid" if zero is None else f"{zero:.3f}"),
        ("starts to walk, 0.2 to 1.5 m/s", f"{len(starts)} of {count}, half the speed after {_range(starts)}"),
        ("stops", f"{len(stops)} of {count}, stands after {_range(stops)}"),
        *quality_lines(report),
        ("largest step after a change of command", f"{changes['largest_step_after_a_change_rad']:.3f} rad"),
    ]
    if "gate" in report:
        lines.append(("experts", ", ".join(f"{100 * mean:.0f} %" for mean in report["gate"]["mean"])))
    if drift:
        amplitudes = "joints vary by {amplitude_early_rad:.4f} then {amplitude_late_rad:.4f} rad".format(**drift)
        still = max(drift["amplitude_early_rad"], drift["amplitude_late_rad"]) < STILL
        finite = "finite" if drift["finite"] else "NOT finite"
        lines.append(
            (f"over {drift['frames']} frames", f"{finite}, {amplitudes}{' (it stands still)' if still else ''}")
        )
        lines.append(("its velocity changed by", _errors(drift["velocity_change"])))
    else:
        lines.append(("drift", "not measured: no command of the grid moves the robot"))
    width = max(len(name) for name, _ in lines)
    text = "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
    return f"{text}\n\n{bands_text(report, compared)}" if gait else text


def gaits_beside(report: dict[str, Any], compared: Mapping[str, dict[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """The bands of commanded speed of the training data, where they are known, and of other reports, by name."""
    gaits = {name: _numbers(other["gait"]["bands"]) for name, other in (compared or {}).items() if "gait" in other}
    data = report.get("data", {}).get("bands")
    return {"data": data, **gaits} if data else gaits


def bands_text(report: dict[str, Any], compared: Mapping[str, dict[str, Any]] | None = None) -> str:
    """A table of the gait by band of commanded speed, with that of the training data and of other reports."""
    table: list[tuple[str, ...]] = [
        ("commanded speed", "", "root", "feet", "slip", "flight", "steps", "duty", "pitch", "height", "does not walk"),
        ("", "", "m/s", "m/s", "m/s", "%", "1/s", "%", "deg", "m", "commands"),
    ]
    beside = gaits_beside(report, compared)
    for band, values in report["gait"]["bands"].items():
        table.append((band, "model", *_gait_cells(values), _count(values)))
        table += [
            ("", name, *_gait_cells(some[band]), _count(some[band])) for name, some in beside.items() if band in some
        ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = [
        "  ".join(f"{cell:<{width}}" if index < 2 else f"{cell:>{width}}" for index, (cell, width) in enumerate(row))
        for row in (zip(cells, widths, strict=True) for cells in table)
    ]
    return "\n".join(row.rstrip() for row in rows)


def _count(values: dict[str, Any]) -> str:
    return "{do_not_walk} of {commands}".format(**values) if "commands" in values else ""


def _gait_cells(values: dict[str, Any]) -> tuple[str, ...]:
    """Cells of `bands_text` for the figures of one band; velocities are forward."""
    low, mean, high = (math.degrees(values["pitch_rad"][name]) for name in ("low", "mean", "high"))
    return (
        f"{values['root']['vx']:.2f}",
        f"{values['feet']['vx']:.2f}",
        f"{values['slip_m_s']:.3f}",
        f"{100 * values['flight']:.0f}",
        f"{values['steps_per_second']:.2f}",
        f"{100 * values['duty_factor']:.0f}",
        f"{mean:.0f} ({low:.0f} to {high:.0f})",
        f"{values['height_m']:.3f}",
    )


def _not_walking(gait: dict[str, Any]) -> str:
    reasons = Counter(reason for row in gait["rows"] for reason in row["reasons"])
    text = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    return "{rows_that_do_not_walk} of {rows_that_move} whose root moves".format(**gait) + (
        f" ({text})" if text else ""
    )


def quality_lines(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Labels and values of the report's quality, with that of the training data if it is known."""
    rows = (
        ("frames_beyond_limits", "frames beyond a joint limit (fraction)", ".4f", ""),
        ("velocity_disagreement_rad_s", "velocities against position differences", ".3f", "rad/s"),
        ("foot_sliding_m_s", "sliding of feet on the floor", ".3f", "m/s"),
        ("steps_per_second", "steps", ".2f", "a second"),
        ("jerk_rms_rad_s3", "jerk (rms)", ".0f", "rad/s^3"),
        ("largest_step_rad", "largest step between frames", ".3f", "rad"),
    )
    data = report.get("data")
    lines = []
    for key, label, form, unit in rows:
        of_data = "" if data is None else f" (data {data[key]:{form}})"
        lines.append((label, f"{report['quality'][key]:{form}} {unit}".strip() + of_data))
    if poses := report.get("poses"):
        for name, label in (("nearest", "distance to the nearest pose of the data"), ("spread", "spread of poses")):
            lines.append((label, f"{poses[f'{name}_rad']:.3f} rad (data {poses[f'{name}_of_data_rad']:.3f})"))
    return lines


def _errors(values: dict[str, float]) -> str:
    return f"vx {values['vx']:.3f} m/s, vy {values['vy']:.3f} m/s, yaw {values['yaw']:.3f} rad/s"


def _range(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f} s" if seconds else "-"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any) -> Any:
    """What `_finite` was given: NaN where JSON has null."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return math.nan if value is None else value
