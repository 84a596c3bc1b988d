"""A program that starts children and then waits, for tests of what becomes of them when it ends.

`python -m tests.host.parent_program engines <data_dir>` runs both embedded engines; `… child <data_dir> <signal>` runs
a shell that notes SIGTERM in `<data_dir>/terminated`, with that death signal. Once they serve, it prints their
process ids, as one line of JSON. SIGTERM ends it in order.
"""

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from host.children import ChildSpec, KeptChild
from host.engines import EmbeddedNats, EmbeddedS3

NOTES_SIGTERM = 'trap "echo >{path}; exit" TERM; echo ready; while :; do sleep 0.05; done'


async def main(kind: str, data_dir: Path, arguments: list[str]) -> None:
    asked_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_end.set)
    async with AsyncExitStack() as running:
        if kind == "engines":
            started = (
                await running.enter_async_context(EmbeddedNats(data_dir)),
                await running.enter_async_context(EmbeddedS3(data_dir)),
            )
            pids = [engine.pid for engine in started]
        else:
            log_path = data_dir / "shell.log"
            spec = ChildSpec(
                name="shell",
                argv=("sh", "-c", NOTES_SIGTERM.format(path=data_dir / "terminated")),
                log_path=log_path,
                death_signal=signal.Signals(int(arguments[0])),
            )
            child = await running.enter_async_context(KeptChild(spec))
            while "ready" not in log_path.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            pids = [child.pid]
        print(json.dumps(pids), flush=True)
        await asked_to_end.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
