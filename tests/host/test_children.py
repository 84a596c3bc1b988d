"""Children die with their parent, leave nothing behind, and are started again when they fail."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from host.children import Child, ChildFailedError, ChildSpec, KeptChild, RestartBackoff
from tests.host.processes import is_running, until, until_gone

QUICK = RestartBackoff(first_s=0.05, max_s=0.2)


def shell(script: str, folder: Path) -> ChildSpec:
    return ChildSpec(name="shell", argv=("sh", "-c", script), log_path=log_in(folder))


def log_in(folder: Path) -> Path:
    return folder / "logs" / "shell.log"


async def test_output_goes_to_a_private_log(tmp_path: Path) -> None:
    for word in ("one", "two"):
        child = Child(shell(f"echo {word}; echo {word} again >&2", tmp_path))
        await child.start()
        assert await child.wait() == 0
        assert child.log_tail() == f"{word}\n{word} again\n"
    assert log_in(tmp_path).read_text() == "one\none again\ntwo\ntwo again\n"
    assert log_in(tmp_path).stat().st_mode & 0o777 == 0o600


async def test_without_a_log_the_output_joins_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    child = Child(replace(shell("echo out; echo err >&2", tmp_path), log_path=None))
    await child.start()
    assert await child.wait() == 0
    assert capfd.readouterr() == ("out\n", "err\n")
    assert child.log_tail() == ""


async def test_log_tail_is_the_end_of_a_long_log(tmp_path: Path) -> None:
    async with Child(shell("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done", tmp_path)) as child:
        await child.wait()
    lines = child.log_tail().splitlines()
    assert lines[-1] == "line 3000"
    assert 100 < len(lines) < 600
    assert all(line.startswith("line ") for line in lines)


async def test_large_log_is_moved_aside_at_the_next_start(tmp_path: Path) -> None:
    path = log_in(tmp_path)
    path.parent.mkdir()
    with path.open("wb") as log:
        log.truncate(17 * 1024 * 1024)
    async with Child(shell("echo fresh", tmp_path)) as child:
        await child.wait()
    assert path.read_text() == "fresh\n"
    assert path.with_name("shell.log.1").stat().st_size == 17 * 1024 * 1024


async def test_environment_is_inherited_only_as_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHILD_TEST_OURS", "ours")
    script = 'echo "$CHILD_TEST_OURS-$CHILD_TEST_ADDED"'
    for inherited, expected in ((None, "ours-added\n"), (("PATH",), "-added\n")):
        spec = replace(shell(script, tmp_path), env={"CHILD_TEST_ADDED": "added"}, inherited_env=inherited)
        async with Child(spec) as child:
            await child.wait()
        assert child.log_tail() == expected


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'error: no model'", "shell: ended with status 1 before it was ready: no model"),
        (
            """echo '{"level": "error", "event": "worker.stopped", "cause": "no GPU"}'""",
            "shell: ended with status 1 before it was ready: no GPU",
        ),
        ("echo first; echo second", "shell: ended with status 1 before it was ready\nfirst\nsecond"),
    ],
)
async def test_a_failed_start_tells_the_last_error(tmp_path: Path, script: str, told: str) -> None:
    async def never(_child: Child) -> None:
        await asyncio.Event().wait()

    kept = KeptChild(shell(f"{script}; exit 1", tmp_path), ready=never)
    with pytest.raises(ChildFailedError) as failed:
        await kept.start()
    assert str(failed.value) == told


async def test_given_descriptor_is_open_in_the_child(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        spec = shell(f"echo hello >/proc/self/fd/{writer}", tmp_path)
        async with Child(replace(spec, pass_fds=(writer,))) as child:
            assert await child.wait() == 0
        assert os.read(reader, 100) == b"hello\n"
    finally:
        os.close(reader)
        os.close(writer)


async def test_missing_program_says_so(tmp_path: Path) -> None:
    child = Child(ChildSpec(name="ghost", argv=("no-such-program",), log_path=tmp_path / "ghost.log"))
    await child.start()
    assert await child.wait() == 127
    assert "cannot start no-such-program" in child.log_tail()


async def test_interrupt_of_our_terminal_does_not_reach_the_child(tmp_path: Path) -> None:
    async with Child(shell("sleep 60", tmp_path)) as child:
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


async def test_child_does_not_ignore_what_python_ignores(tmp_path: Path) -> None:
    async with Child(shell("kill -PIPE $$; echo survived", tmp_path)) as child:
        assert await child.wait() == -signal.SIGPIPE


async def test_stop_lets_the_child_finish(tmp_path: Path) -> None:
    async with Child(shell('trap "echo bye; exit 7" TERM; echo up; while :; do sleep 0.02; done', tmp_path)) as child:
        await until(lambda: "up" in child.log_tail())
        assert await child.stop() == 7
    assert child.log_tail() == "up\nbye\n"


async def test_stop_kills_the_stubborn_with_all_its_children(tmp_path: Path) -> None:
    script = 'trap "" TERM; sleep 61 & echo $!; while :; do sleep 0.02; done'
    async with Child(shell(script, tmp_path)) as child:
        await until(lambda: child.log_tail().endswith("\n"))
        grandchild = int(child.log_tail())
        started_at = time.monotonic()
        assert await child.stop(timeout_s=0.2) == -signal.SIGKILL
        assert time.monotonic() - started_at < 5
    await until_gone(child.pid, grandchild)


async def test_child_that_ends_takes_its_children_along(tmp_path: Path) -> None:
    async with Child(shell("sleep 61 & echo $!; exit 3", tmp_path)) as child:
        assert await child.wait() == 3
        await until_gone(int(child.log_tail()))


async def test_cancelled_stop_kills_at_once(tmp_path: Path) -> None:
    child = Child(shell('trap "" TERM; echo up; while :; do sleep 0.02; done', tmp_path))
    await child.start()
    await until(lambda: "up" in child.log_tail())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await child.stop(timeout_s=60)
    await until_gone(child.pid)


async def test_child_is_refused_off_the_main_thread(tmp_path: Path) -> None:
    def start() -> None:
        asyncio.run(Child(shell("sleep 60", tmp_path)).start())

    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(start)


@pytest.mark.parametrize("death_signal", [signal.SIGKILL, signal.SIGTERM])
async def test_child_gets_its_signal_when_the_parent_is_killed(tmp_path: Path, death_signal: signal.Signals) -> None:
    command = (sys.executable, "-m", "tests.host.parent_program", "child", str(tmp_path), str(int(death_signal)))
    parent = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    [pid] = json.loads(await parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    await parent.wait()
    await until_gone(pid)
    assert (tmp_path / "terminated").exists() == (death_signal == signal.SIGTERM)


async def test_kept_child_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    ends: list[float] = []
    statuses: list[int] = []

    async def note(returncode: int) -> None:
        ends.append(time.monotonic())
        statuses.append(returncode)

    async with KeptChild(shell("exit 3", tmp_path), on_exit=note, backoff=QUICK):
        await until(lambda: len(ends) >= 5)
    pauses = [after - before for before, after in itertools.pairwise(ends)]
    assert statuses[:5] == [3] * 5
    assert pauses[0] >= 0.05
    assert pauses[1] >= 0.1
    assert pauses[2] >= 0.2
    assert 0.2 <= pauses[3] < 0.4 + 1.0  # no longer than max_s and a start on a busy machine


async def test_pause_is_short_again_after_a_long_life(tmp_path: Path) -> None:
    starts: list[float] = []
    backoff = RestartBackoff(first_s=0.05, max_s=60.0, reset_after_s=0.1)

    def spec() -> ChildSpec:
        starts.append(time.monotonic())
        return shell("sleep 0.15", tmp_path)

    async with KeptChild(spec, backoff=backoff):
        await until(lambda: len(starts) >= 12)  # unreset, the pauses alone would take 51 s


async def test_each_run_may_have_its_own_spec(tmp_path: Path) -> None:
    runs = iter(range(1000))
    async with KeptChild(lambda: shell(f"echo run {next(runs)}", tmp_path), backoff=QUICK):
        await until(lambda: "run 2" in log_in(tmp_path).read_text())


async def test_killed_child_is_ready_again(tmp_path: Path) -> None:
    flag = tmp_path / "flag"

    async def ready(_child: Child) -> None:
        await until(flag.exists)

    kept = KeptChild(shell(f"sleep 0.05; touch {flag}; sleep 60", tmp_path), ready=ready, backoff=QUICK)
    async with kept:
        first = kept.pid
        assert first is not None
        assert flag.exists()
        flag.unlink()
        os.kill(first, signal.SIGKILL)
        await until(lambda: kept.pid not in {None, first})
        await kept.wait_ready()
        assert flag.exists()
        second = kept.pid
        assert second is not None
    await until_gone(first, second)


async def test_first_start_that_fails_says_why(tmp_path: Path) -> None:
    async def never(_child: Child) -> None:
        await asyncio.Event().wait()

    kept = KeptChild(shell("echo the disk is full; exit 9", tmp_path), ready=never)
    with pytest.raises(ChildFailedError, match=r"ended with status 9 before it was ready\nthe disk is full") as caught:
        await kept.start()
    assert caught.value.returncode == 9


async def test_child_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    pids: list[int] = []

    async def never(child: Child) -> None:
        pids.append(child.pid)
        await asyncio.Event().wait()

    kept = KeptChild(shell("sleep 60", tmp_path), ready=never, ready_timeout_s=0.2)
    with pytest.raises(ChildFailedError, match="not ready after"):
        await kept.start()
    await until_gone(*pids)


async def test_stop_is_no_failure(tmp_path: Path) -> None:
    statuses: list[int] = []

    async def note(returncode: int) -> None:
        statuses.append(returncode)

    kept = KeptChild(shell("sleep 60", tmp_path), on_exit=note)
    await kept.start()
    pid = kept.pid
    assert pid is not None
    await kept.stop()
    await kept.wait()
    assert statuses == []
    assert kept.pid is None
    await until_gone(pid)


async def test_failing_hook_ends_the_keeping(tmp_path: Path) -> None:
    async def refuse(returncode: int) -> None:
        raise LookupError(f"status {returncode}")

    kept = KeptChild(shell("exit 4", tmp_path), on_exit=refuse)
    await kept.start()
    with pytest.raises(LookupError, match="status 4"):
        await kept.wait()
    with pytest.raises(LookupError, match="status 4"):
        await kept.wait_ready()
