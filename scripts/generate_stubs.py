"""Generate the Python stubs from `proto/` into the tree, or check that the committed ones are current.

    python scripts/generate_stubs.py           # write
    python scripts/generate_stubs.py --check   # exit 1 and name the files that differ
    python scripts/generate_stubs.py --out DIR # write the public ones elsewhere

The public package `cogreel.v1` goes into the client's distribution. The internal record goes to `jobs/record_pb2`:
only `jobs` may read or write it, and the client must not ship it. KEDA's contract goes to `service/externalscaler_pb2`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto/cogreel/v1").glob("*.proto"))
SERVICES = [f"cogreel/v1/{name}.proto" for name in ("queue", "storage", "admin", "catalog")]
PLUGINS = ("mypy", "mypy_grpc")
INTERNAL = "cogreel/internal/v1/record.proto"
VALIDATE = "buf/validate/validate.proto"
SCALER = "service/externalscaler.proto"


def run_protoc(*arguments: str) -> None:
    """Run protoc on files of `proto/`; ends the program if that fails."""
    # KEDA's file lies in no folder of its package's name: seen as one of `service`, its stubs import each other there.
    keda = f"service={ROOT / 'third_party/keda'}"
    includes = [keda, ROOT / "proto", ROOT / "third_party", Path(str(files("grpc_tools"))) / "_proto"]
    # The plugins lie beside this Python, which need not be on PATH.
    plugins = [f"--plugin=protoc-gen-{name}={Path(sys.executable).with_name(f'protoc-gen-{name}')}" for name in PLUGINS]
    status = protoc.main(["protoc", *plugins, *(f"-I{path}" for path in includes), *arguments])
    if status != 0:
        sys.exit(f"protoc ended with status {status}")


def generate(out: Path) -> dict[Path, Path]:
    """Generate everything below `out`; returns where each file belongs in the tree."""
    run_protoc(f"--python_out={out}", f"--mypy_out=quiet:{out}", *PUBLIC, INTERNAL, VALIDATE, SCALER)
    run_protoc(f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *SERVICES, SCALER)
    places: dict[Path, Path] = {}
    for made in sorted(out.rglob("*.py*")):
        relative = made.relative_to(out)
        if relative.parts[:2] == ("cogreel", "internal"):
            places[made] = ROOT / "jobs" / relative.name
        elif relative.parts[0] == "service":
            places[made] = ROOT / relative
        else:
            places[made] = ROOT / "client" / relative
    return places


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    destination = parser.add_mutually_exclusive_group()
    destination.add_argument("--check", action="store_true", help="change nothing; fail if a file is stale")
    destination.add_argument("--out", type=Path, help="write the public stubs to this folder instead")
    arguments = parser.parse_args()
    check: bool = arguments.check
    with tempfile.TemporaryDirectory() as temporary:
        places = generate(Path(temporary))
        if arguments.out is not None:
            client, out = ROOT / "client", arguments.out.absolute()
            places = {
                made: out / place.relative_to(client) for made, place in places.items() if place.is_relative_to(client)
            }
        stale = [
            place for made, place in places.items() if not place.exists() or place.read_bytes() != made.read_bytes()
        ]
        if not check:
            for made, place in places.items():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, place)
    for place in stale:
        shown = place.relative_to(ROOT) if place.is_relative_to(ROOT) else place
        print(f"{'stale' if check else 'written'}: {shown}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
