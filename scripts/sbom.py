"""A bill of materials for an image, by syft: every package of Debian's and of Python's in it, as CycloneDX JSON.

    python -m scripts.sbom cogreel-service:0.1.0 --output cogreel-service.cdx.json

The image is one that podman has. syft is in an environment of its own (`make containers` makes it), since it is a
program that nothing here imports.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SYFT = ROOT / ".cache/syft/bin/syft"
QUIET = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}  # nothing is looked up on the network


class SbomError(Exception):
    """There is no bill of materials; the message says why."""


def write_sbom(image: str, output: Path) -> Counter[str]:
    """Write the bill of materials of an image; returns how many packages of each kind are in it, such as deb and pypi.

    Raises:
        SbomError: the image cannot be read.
    """
    name, _, tag = image.rpartition("/")[2].replace("@", ":", 1).partition(":")  # a tag or a digest
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "image.tar"
        _run("podman", "save", "--quiet", "--format", "docker-archive", "--output", str(archive), image)
        about = ("--source-name", name, "--source-version", tag or "latest")
        _run(str(SYFT), "scan", f"docker-archive:{archive}", *about, "--quiet", "--output", f"cyclonedx-json={output}")
    return kinds(output)


def packages(sbom: Path) -> dict[str, str]:
    """The version of each package by its purl without one, such as `pkg:pypi/grpcio`."""
    components = json.loads(sbom.read_text(encoding="utf-8"))["components"]
    urls = [component["purl"].partition("?")[0] for component in components if "purl" in component]
    return dict(url.rsplit("@", 1) for url in urls)


def kinds(sbom: Path) -> Counter[str]:
    """How many packages of each kind."""
    return Counter(name.removeprefix("pkg:").partition("/")[0] for name in packages(sbom))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | QUIET)
    except FileNotFoundError as error:
        raise SbomError(f"{command[0]} is not here: make containers installs syft; podman is Debian's") from error
    if done.returncode != 0:
        raise SbomError(f"{command[0]}: {done.stderr.strip()[-2000:]}")


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", help="an image that podman has")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    arguments = parser.parse_args()
    try:
        found = write_sbom(arguments.image, arguments.output)
    except SbomError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"written: {arguments.output}: {', '.join(f'{count} {kind}' for kind, count in sorted(found.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
