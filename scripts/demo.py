"""`make demo`: everything on this machine, one prompt, one video.

Starts `cogreeld up`, asks it for a video with the command `cogreel` as any caller would, makes a contact sheet of what
came back, and stops everything again. The prompt is that of the hosted model's documentation, or PROMPT.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from host.children import Child, ChildSpec
from inference.contact_sheet import contact_sheet

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / ".cache/demo"
OUT = ROOT / "out"
START_WITHIN_S = 300.0  # the first start fetches weights
GARDEN = (
    "A garden comes to life as a kaleidoscope of butterflies flutters amidst the blossoms, their delicate wings "
    "casting shadows on the petals below. In the background, a grand fountain cascades water with a gentle splendor, "
    "its rhythmic sound providing a soothing backdrop. Beneath the cool shade of a mature tree, a solitary wooden "
    "chair invites solitude and reflection, its smooth surface worn by the touch of countless visitors seeking a "
    "moment of tranquility in nature's embrace."
)
MACHINERY = """
Note: the model is a small CogVideoX, so that this runs on a CPU within seconds. It takes the path of CogVideoX-5B
through the same code, but has seen nothing but coloured shapes, and knows colours and motions better than shapes: try
  make demo PROMPT="A large red ball moves to the right over a blue background"
"""


def _bin(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


async def _until_ready(up: Child, ready_file: Path, log: Path) -> dict[str, Any]:
    """Wait for the ready file, showing what `cogreeld up` says meanwhile."""
    shown = log.stat().st_size if log.exists() else 0
    async with asyncio.timeout(START_WITHIN_S):
        while not ready_file.exists():
            if up.returncode is not None:
                sys.exit(f"cogreeld up ended with status {up.returncode}:\n{up.log_tail()}")
            await asyncio.sleep(0.1)
            text = log.read_bytes()[shown:].decode() if log.exists() else ""
            shown += len(text.encode())
            print("".join(f"{line}\n" for line in text.splitlines() if line.startswith("[")), end="", file=sys.stderr)
    ready: dict[str, Any] = json.loads(ready_file.read_text())
    return ready


async def _generate(ready: dict[str, Any], prompt: str, video: Path) -> dict[str, Any]:
    """Run `cogreel generate` in our terminal; returns its JSON result."""
    environment = os.environ | {"COGREEL_ADDRESS": str(ready["grpc"]), "COGREEL_API_KEY": str(ready["api_key"])}
    process = await asyncio.create_subprocess_exec(
        *(_bin("cogreel"), "generate", prompt, "-o", str(video), "--force", "--json"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode:
        sys.exit(process.returncode)
    result: dict[str, Any] = json.loads(output)
    return result


def _print(result: dict[str, Any], video: Path, sheet: Path) -> None:
    output = result["output"]
    size, native, model = output["size"], output["native_size"], output["model"]
    stages = "  ".join(f"{stage} {float(spent.removesuffix('s')):.1f}" for stage, spent in output["timings"].items())
    rows = {
        "video": video.relative_to(ROOT),
        "contact sheet": sheet.relative_to(ROOT),
        "request": result["request_id"],
        "seed": output["seed"],
        "frames": f"{output['frames']} of {size['width']} x {size['height']} at {output['fps']} a second",
        "model": f"{model['name']} at {model['revision']}, denoised at {native['width']} x {native['height']}",
        "seconds": stages,
    }
    print()
    for name, value in rows.items():
        print(f"{name:14} {value}")
    if model["name"] == "cogreel-small":
        print(MACHINERY)


async def main() -> None:
    """Run the demo."""
    prompt = os.environ.get("PROMPT") or GARDEN
    OUT.mkdir(exist_ok=True)
    ready_file, log = DATA / "ready.json", DATA / "logs/up.log"
    ready_file.unlink(missing_ok=True)
    up = Child(
        ChildSpec(
            name="cogreeld up",
            argv=(_bin("cogreeld"), "up", "--port", "0", "--data-dir", str(DATA), "--ready-file", str(ready_file)),
            log_path=log,
            death_signal=signal.SIGTERM,
            stop_timeout_s=30,
        )
    )
    async with up:
        ready = await _until_ready(up, ready_file, log)
        print(f'\n"{prompt}"\n', file=sys.stderr)
        video, sheet = OUT / "demo.mp4", OUT / "demo.png"
        result = await _generate(ready, prompt, video)
        contact_sheet(video, sheet)
        _print(result, video, sheet)


if __name__ == "__main__":
    asyncio.run(main())
