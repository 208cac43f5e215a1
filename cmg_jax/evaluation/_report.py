"""A report of `evaluate` as text and as JSON."""

import json
import math
from typing import Any


def report_json(report: dict[str, Any]) -> str:
    """The report as JSON, with null for a figure of a motion that is not finite."""
    return json.dumps(_finite(report), indent=2) + "\n"


def report_text(report: dict[str, Any]) -> str:
    """The figures of a report, one a line."""
    tracking, changes, drift = (report[name] for name in ("tracking", "switching", "drift"))
    starts = [second for second in report["start_stop"]["seconds_to_half_speed"] if second is not None]
    stops = [second for second in report["start_stop"]["seconds_to_stand"] if second is not None]
    count = len(report["start_stop"]["speeds"])
    zero = tracking["speed_at_zero"]
    lines = [
        ("error of the walked velocity (RMSE)", _errors(tracking["rmse"])),
        *([("the same of the data, by stride", _errors(report["data"]["rmse"]))] if "data" in report else []),
        ("its mean (bias)", _errors(tracking["bias"])),
        ("after changes of command (RMSE)", _errors(changes["rmse"])),
        ("commands under which it does not move", "{rows_that_do_not_move} of {rows_that_should}".format(**tracking)),
        ("speed under a zero command", "not in the grid" if zero is None else f"{zero:.3f}"),
        ("starts to walk, 0.2 to 1.5 m/s", f"{len(starts)} of {count}, half the speed after {_range(starts)}"),
        ("stops", f"{len(stops)} of {count}, stands after {_range(stops)}"),
        *quality_lines(report),
        ("the same after a change of command", f"{changes['largest_step_after_a_change_rad']:.3f} rad"),
        ("experts", ", ".join(f"{100 * mean:.0f} %" for mean in report["gate"]["mean"])),
    ]
    if drift:
        amplitudes = "amplitude {amplitude_early_rad:.4f} then {amplitude_late_rad:.4f} rad".format(**drift)
        finite = "finite" if drift["finite"] else "NOT finite"
        lines.append((f"over {drift['frames']} frames", f"{finite}, {amplitudes}"))
        lines.append(("its velocity changed by", _errors(drift["velocity_change"])))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


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
        compared = "" if data is None else f" (data {data[key]:{form}})"
        lines.append((label, f"{report['quality'][key]:{form}} {unit}".strip() + compared))
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
