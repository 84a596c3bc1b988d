"""Stubs for TypeScript and Go, the callers in `examples/` that are built on them, and the published JavaScript clients.

    python scripts/other_languages.py stubs typescript --out DIR    # generate stubs; says what is missing
    python scripts/other_languages.py build                         # install what is missing, build both callers
    python scripts/other_languages.py published-clients             # install the published JavaScript clients alone

buf compiles `proto/` and hands it to the plugin of the language. The TypeScript plugin comes from the lock file of
`examples/typescript`, so that stubs and runtime have one version; the Go plugins are Debian's, or those on PATH.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPESCRIPT = ROOT / "examples/typescript"
PUBLISHED_CLIENTS = ROOT / "tests/published_clients"
GO = ROOT / "examples/go"
GO_CACHE = ROOT / ".cache/go-build"
GO_CACHE_MAX_BYTES = 512 << 20  # one build fills a fifth of it; Go itself only drops what is five days old
NODE_MAJOR = 20

# Each place that a build needs, with the Debian package that fills it. apt must get all of them at once: by
# themselves, some would bring an older protobuf, with which the stubs do not work.
GOPATH_PACKAGES = Path("/usr/share/gocode/src")
GO_PLUGINS = {"protoc-gen-go": "protoc-gen-go-1-5", "protoc-gen-go-grpc": "protoc-gen-go-grpc"}
GO_COMMANDS = {"go": "golang-go", **GO_PLUGINS}
GO_LIBRARIES = {
    "google.golang.org/grpc": "golang-google-grpc-dev",
    "github.com/golang/protobuf/internal/gengogrpc": "golang-github-golang-protobuf-1-5-dev",
}

# The import path of Go stubs that are generated outside any Go module.
GO_STUBS = "cogreel.example/stubs"


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    stubs = commands.add_parser("stubs", help="generate stubs")
    stubs.add_argument("language")
    stubs.add_argument("--out", type=Path, help="the folder to write to; out/stubs/LANGUAGE if left out")
    commands.add_parser("build", help="install what is missing, generate stubs and build both callers")
    commands.add_parser("published-clients", help="install the published JavaScript clients alone")
    arguments = parser.parse_args()
    if arguments.command == "published-clients":
        install_node_packages(PUBLISHED_CLIENTS)
        return 0
    if arguments.command == "build":
        install_go_packages()
        install_node_packages(PUBLISHED_CLIENTS)
        build_typescript()
        build_go()
        return 0
    out: Path = (arguments.out or ROOT / "out/stubs" / arguments.language).absolute()
    match arguments.language:
        case "typescript":
            typescript_stubs(out)
        case "go":
            go_stubs(out)
        case language:
            sys.exit(
                f"no stubs for {language!r}: LANG is python, typescript or go. "
                "For other languages see docs/other-languages.md"
            )
    print(f"written: {out}")
    return 0


def typescript_stubs(out: Path) -> None:
    """Generate TypeScript below `out`, error details included."""
    install_node_packages(TYPESCRIPT)
    options = {"local": "protoc-gen-es", "out": ".", "opt": ["target=ts", "import_extension=js"]}
    template: dict[str, object] = {"version": "v2", "plugins": [options]}
    paths = ["proto/cogreel/v1", "third_party/buf", "third_party/google"]
    _generate(template, paths, out, TYPESCRIPT / "node_modules/.bin")


def go_stubs(out: Path) -> None:
    """Generate Go below `out`. The error details are those of google.golang.org/genproto: a program may link one copy.

    The import path follows from the Go module that `out` lies in; outside any, it is `GO_STUBS`.
    """
    if missing := [package for command, package in GO_PLUGINS.items() if not shutil.which(command)]:
        sys.exit(f"protoc's plugins for Go are missing. On Debian: apt-get install {' '.join(missing)}")
    prefix = {"file_option": "go_package_prefix", "value": go_import_path(out)}
    template: dict[str, object] = {
        "version": "v2",
        "managed": {"enabled": True, "override": [prefix]},
        "plugins": [
            {"local": plugin, "out": ".", "opt": ["paths=source_relative"]}
            for plugin in ("protoc-gen-go", "protoc-gen-go-grpc")
        ],
    }
    _generate(template, ["proto/cogreel/v1", "third_party/buf"], out)


def go_import_path(folder: Path) -> str:
    """The import path of a folder, from the `go.mod` at or above it."""
    for parent in (folder, *folder.parents):
        go_mod = parent / "go.mod"
        if go_mod.is_file() and (module := re.search(r"^module\s+(\S+)", go_mod.read_text(), re.MULTILINE)):
            return "/".join([module[1].strip('"'), *folder.relative_to(parent).parts])
    return GO_STUBS


def _generate(template: Mapping[str, object], paths: list[str], out: Path, *plugins: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    buf = Path(sys.executable).with_name("buf")  # it lies beside this Python, which need not be on PATH
    selection = [argument for path in paths for argument in ("--path", path)]
    search = os.pathsep.join([*map(str, plugins), os.environ["PATH"]])
    command = [str(buf), "generate", "--template", json.dumps(template), "--output", str(out), *selection]
    _run(command, ROOT, {"PATH": search})


def install_node_packages(folder: Path) -> None:
    """`npm ci` in a folder, unless what is there is of its lock file."""
    require_node()
    lock = (folder / "package-lock.json").read_bytes()
    stamp = folder / "node_modules/.installed"
    digest = hashlib.sha256(lock).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        _run(["npm", "ci", "--include=dev"], folder)
        stamp.write_text(digest)


def require_node() -> None:
    """Exit with what to do where there is no Node.js, or only an old one."""
    needed = f"Node.js {NODE_MAJOR} or later with npm is needed: see https://nodejs.org"
    if not (shutil.which("node") and shutil.which("npm")):
        sys.exit(f"{needed}. None was found on PATH.")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MAJOR:
        sys.exit(f"{needed}. Here is {version}.")


def install_go_packages() -> None:
    """Debian's Go with gRPC: installed if root may, else exit with the command that does it."""
    found = [shutil.which(command) for command in GO_COMMANDS] + [
        (GOPATH_PACKAGES / library).exists() for library in GO_LIBRARIES
    ]
    if all(found):
        return
    install = ["apt-get", "install", "-qq", "--no-install-recommends", *GO_COMMANDS.values(), *GO_LIBRARIES.values()]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"Go with gRPC is needed. On Debian, as root: {' '.join(install)}")
    apt = {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], ROOT, apt)
    _run(install, ROOT, apt)


def build_typescript() -> None:
    """Generate stubs for the TypeScript caller and compile it."""
    _remove(TYPESCRIPT / "gen", TYPESCRIPT / "dist")
    typescript_stubs(TYPESCRIPT / "gen")
    _run(["npm", "run", "--silent", "build"], TYPESCRIPT)


def build_go() -> None:
    """Generate stubs for the Go caller and compile it."""
    _remove(GO / "gen")
    go_stubs(GO / "gen")
    if sum(file.stat().st_size for file in GO_CACHE.rglob("*") if file.is_file()) > GO_CACHE_MAX_BYTES:
        _remove(GO_CACHE)
    _run([str(GO / "build.sh")], GO, {"GOCACHE": str(GO_CACHE)})


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    try:
        subprocess.run(command, cwd=folder, env={**os.environ, **(environment or {})}, check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(command[0]).name} ended with status {error.returncode}")


if __name__ == "__main__":
    sys.exit(main())
