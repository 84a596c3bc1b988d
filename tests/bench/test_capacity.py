"""The command, as whoever plans calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import capacity
from bench.simulation.times import times_of

QUICK = ("--runs", "1", "--requests", "200")


def ask(tmp_path: Path, *arguments: str) -> list[dict[str, object]]:
    """What it answers, from its JSON."""
    file = tmp_path / "answer.json"
    assert capacity.main([*arguments, *QUICK, "--json", str(file)]) == 0
    answers: list[dict[str, object]] = json.loads(file.read_text(encoding="utf-8"))["answers"]
    return answers


def test_a_shorter_wait_takes_more_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = ask(tmp_path, "gpus", "--per-hour", "30", "100", "--wait", "30", "600")
    devices = {(found["per_hour"], found["bound_s"]): found["devices"] for found in answers}
    assert devices[30, 30] > devices[30, 600]  # type: ignore[operator]
    assert devices[100, 600] >= 3  # type: ignore[operator]  # 100 an hour of 90 s keep 2.5 busy
    told = capsys.readouterr().out
    assert "published for one H100 by CogVideoX's model card, not measured by us" in told
    assert "| requests an hour | load |" in told


def test_scaling_to_zero_costs_waiting_and_saves_device_hours(tmp_path: Path) -> None:
    zero, one = ask(tmp_path, "scaling", "--per-hour", "1", "--start-s", "120", "--minimum", "0", "1")

    def of(found: dict[str, object]) -> tuple[float, float]:
        report = found["report"]
        assert isinstance(report, dict)
        return report["flows"][0]["waited"]["median_s"], report["groups"][0]["device_hours_a_day"]

    assert of(zero)[0] > 100 > of(one)[0]
    assert of(zero)[1] < 0.5 * of(one)[1]


def test_a_scenario_of_a_file_is_told_by_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scenario.json"
    flows = [{"name": "day", "per_hour": 20, "from_hour": 8, "until_hour": 18}, {"name": "night", "per_hour": 5}]
    flows[1] |= {"priority": "low", "tenant": "studio"}
    scenario = {"times": {"step_s": 2}, "flows": flows, "tenants": {"studio": {"running": 2}}}
    file.write_text(json.dumps(scenario))
    ask(tmp_path, "run", "--scenario", str(file))
    told = capsys.readouterr().out
    assert "| day " in told
    assert "| night " in told
    assert "refused: none" in told


def test_workers_that_do_not_keep_up_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(tmp_path, "run", "--per-hour", "80", "--gpus", "1")
    assert "THE WORKERS DO NOT KEEP UP" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scenario", "problem"),
    [
        ({"times": {"step_s": -1}, "flows": [{"per_hour": 1}]}, "times.step_s: Input should be greater than or equal"),
        ({"times": {"step_s": 1}, "flows": [{"per_hour": 1, "endpoint": "x"}]}, "no group of workers serves x"),
        ({"times": {"step_s": 1}, "flows": [{"per_hour": 1, "priority": "high"}]}, "flows.0.priority: Input should be"),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scenario: dict[str, object], problem: str
) -> None:
    file = tmp_path / "scenario.json"
    file.write_text(json.dumps(scenario))
    assert capacity.main(["run", "--scenario", str(file)]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["gpus", "--wait", "0"], "argument --wait: must be at least 1, not 0"),
        (["run", "--runs", "0"], "argument --runs: must be at least 1, not 0"),
        (["scaling", "--scaling", "nowhere.yaml"], "argument --scaling: nowhere.yaml"),
        (["run", "--low-share", "2"], "low-share: must be from 0 to 1, not 2"),
        (["run", "--running", "0"], "argument --running: must be at least 1, not 0"),
        (["gpus", "--per-hour", "10", "-3"], "argument --per-hour: must be above 0, not -3"),
        (["run", "--times", "tpu"], "times: must be one of h100"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(
    capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    try:
        status = capacity.main(arguments)
    except SystemExit as ended:  # argparse's way
        status = int(str(ended.code))
    assert status == 2
    assert problem in capsys.readouterr().err


def test_times_come_from_what_bench_gpu_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gpu.json"
    note = "prepare 0.50, denoise 40.00, decode 4.00, interpolate 1.50, encode 2.00"
    rows = [
        {"name": "decode", "seconds": 4.0, "note": ""},
        {"name": "request, 50 steps, eager", "seconds": 48, "note": note},
    ]
    file.write_text(json.dumps({"facts": {"device": "a GPU"}, "rows": rows}))
    assert capacity.main(["run", "--times", str(file), "--gpus", "1", "--per-hour", "30", *QUICK]) == 0
    assert "measured by bench.gpu on a GPU" in capsys.readouterr().out
    assert times_of(str(file)).on_device_s(50) == pytest.approx(46)
