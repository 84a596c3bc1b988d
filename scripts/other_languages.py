"""Stubs for languages other than Python, the callers in `examples/` in them, and the published JavaScript clients.

    python scripts/other_languages.py stubs typescript --out DIR    # generate stubs; says what is missing
    python scripts/other_languages.py build                         # install what is missing, build every caller
    python scripts/other_languages.py published-clients             # install the published JavaScript clients alone

buf compiles `proto/` and hands it to the plugin of the language. The TypeScript plugin comes from the lock file of
`examples/typescript`, so that stubs and runtime have one version; the others are Debian's, or those on PATH. The caller
for Node.js needs no stubs: it reads the proto files when it starts.
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
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
TYPESCRIPT = EXAMPLES / "typescript"
PUBLISHED_CLIENTS = ROOT / "tests/published_clients"
GO_CACHE = ROOT / ".cache/go-build"
GO_CACHE_MAX_BYTES = 512 << 20  # one build fills a fifth of it; Go itself only drops what is five days old
NODE_MAJOR = 20

# What a build needs, a command or a path, with the Debian package that brings it. apt must get all of them at once: by
# themselves, some would bring an older protobuf, with which the Go stubs do not work.
PLUGINS = {
    "go": {"protoc-gen-go": "protoc-gen-go-1-5", "protoc-gen-go-grpc": "protoc-gen-go-grpc"},
    "cpp": {"protoc": "protobuf-compiler", "grpc_cpp_plugin": "protobuf-compiler-grpc"},
    "java": {"protoc": "protobuf-compiler", "grpc_java_plugin": "protobuf-compiler-grpc-java-plugin"},
    "ruby": {"protoc": "protobuf-compiler", "grpc_ruby_plugin": "protobuf-compiler-grpc"},
}
GOPATH_PACKAGES = "/usr/share/gocode/src"
JARS = "/usr/share/java"
LIBRARIES = {
    "go": {
        "go": "golang-go",
        f"{GOPATH_PACKAGES}/google.golang.org/grpc": "golang-google-grpc-dev",
        f"{GOPATH_PACKAGES}/github.com/golang/protobuf/internal/gengogrpc": "golang-github-golang-protobuf-1-5-dev",
    },
    "cpp": {
        "g++": "g++",
        "make": "make",
        "pkg-config": "pkg-config",
        "/usr/include/grpcpp/grpcpp.h": "libgrpc++-dev",
        "/usr/include/openssl/evp.h": "libssl-dev",
        "curl-config": "libcurl4-openssl-dev",
    },
    "java": {
        "javac": "default-jdk-headless",
        f"{JARS}/protobuf.jar": "libprotobuf-java",
        f"{JARS}/grpc-netty.jar": "libgrpc-java",
        f"{JARS}/netty-all.jar": "libnetty-java",
        f"{JARS}/netty-tcnative.jar": "libnetty-tcnative-java",
        "/usr/share/doc/libnetty-tcnative-jni": "libnetty-tcnative-jni",
        f"{JARS}/perfmark-api.jar": "libperfmark-java",
        f"{JARS}/guava.jar": "libguava-java",
        f"{JARS}/proto-google-common-protos.jar": "libgoogle-common-protos-java",
        f"{JARS}/geronimo-annotation-1.3-spec.jar": "libgeronimo-annotation-1.3-spec-java",
    },
    "ruby": {"ruby": "ruby", "/usr/share/doc/ruby-grpc": "ruby-grpc"},
}

CONTRACT_AND_DETAILS = ["proto/cogreel/v1", "third_party/google"]

# The import path of Go stubs that are generated outside any Go module.
GO_STUBS = "cogreel.example/stubs"


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    stubs = commands.add_parser("stubs", help="generate stubs")
    stubs.add_argument("language")
    stubs.add_argument("--out", type=Path, help="the folder to write to; out/stubs/LANGUAGE if left out")
    commands.add_parser("build", help="install what is missing, generate stubs and build the callers")
    commands.add_parser("published-clients", help="install the published JavaScript clients alone")
    arguments = parser.parse_args()
    if arguments.command == "published-clients":
        install_node_packages(PUBLISHED_CLIENTS)
        return 0
    if arguments.command == "build":
        build()
        return 0
    language: str = arguments.language
    if language not in STUBS:
        sys.exit(
            f"no stubs for {language!r}: LANG is python, {', '.join(STUBS)}. For others see docs/other-languages.md"
        )
    out: Path = (arguments.out or ROOT / "out/stubs" / language).absolute()
    STUBS[language](out)
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
    require_plugins("go")
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


def cpp_stubs(out: Path) -> None:
    """Generate C++ below `out`, error details included and validation rules left out."""
    require_plugins("cpp")
    _generate(_without_rules({"protoc_builtin": "cpp"}, {"local": "grpc_cpp_plugin"}), CONTRACT_AND_DETAILS, out)


def java_stubs(out: Path) -> None:
    """Generate Java below `out`, a file a message, error details included and validation rules left out."""
    require_plugins("java")
    template = _without_rules({"protoc_builtin": "java"}, {"local": "grpc_java_plugin"})
    template["managed"] = {"enabled": True, "disable": [{"file_option": "java_package"}]}  # a file a message
    _generate(template, CONTRACT_AND_DETAILS, out)


def ruby_stubs(out: Path) -> None:
    """Generate Ruby below `out`, without validation rules. The error details are those of Ruby's gRPC itself."""
    require_plugins("ruby")
    template = _without_rules({"protoc_builtin": "ruby"}, {"local": "grpc_ruby_plugin"})
    _generate(template, ["proto/cogreel/v1"], out)


STUBS: Mapping[str, Callable[[Path], None]] = {
    "typescript": typescript_stubs,
    "go": go_stubs,
    "cpp": cpp_stubs,
    "java": java_stubs,
    "ruby": ruby_stubs,
}


def _without_rules(*plugins: dict[str, object]) -> dict[str, object]:
    """A template for buf that leaves protovalidate's rules out: they would be the largest part by far of the stubs."""
    return {
        "version": "v2",
        "plugins": [{**plugin, "out": ".", "exclude_types": ["buf.validate"]} for plugin in plugins],
    }


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


def require_plugins(language: str) -> None:
    """Exit with what to do where protoc or its plugin for a language is missing."""
    if missing := _missing(PLUGINS[language]):
        sys.exit(f"What generates stubs for {language} is missing. On Debian: apt-get install {' '.join(missing)}")


def install_debian_packages() -> None:
    """Compilers and gRPC libraries of Debian: installed if root may, else exit with the command that does it."""
    places = {
        place: package for needs in (PLUGINS, LIBRARIES) for need in needs.values() for place, package in need.items()
    }
    if not _missing(places):
        return
    install = ["apt-get", "install", "-qq", "--no-install-recommends", *sorted(set(places.values()))]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"Compilers with gRPC are needed. On Debian, as root: {' '.join(install)}")
    apt = {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], ROOT, apt)
    _run(install, ROOT, apt)


def _missing(places: Mapping[str, str]) -> list[str]:
    """The packages of those commands and paths that are not there."""
    return [package for place, package in places.items() if not (shutil.which(place) or Path(place).exists())]


def build() -> None:
    """Install what is missing and build every caller."""
    install_debian_packages()
    install_node_packages(PUBLISHED_CLIENTS)
    install_node_packages(EXAMPLES / "node")
    build_typescript()
    build_go()
    build_cpp()
    build_java()
    build_ruby()


def build_typescript() -> None:
    """Generate stubs for the TypeScript caller and compile it."""
    _remove(TYPESCRIPT / "gen", TYPESCRIPT / "dist")
    typescript_stubs(TYPESCRIPT / "gen")
    _run(["npm", "run", "--silent", "build"], TYPESCRIPT)


def build_go() -> None:
    """Generate stubs for the Go caller and compile it."""
    folder = EXAMPLES / "go"
    _remove(folder / "gen")
    go_stubs(folder / "gen")
    if sum(file.stat().st_size for file in GO_CACHE.rglob("*") if file.is_file()) > GO_CACHE_MAX_BYTES:
        _remove(GO_CACHE)
    _run([str(folder / "build.sh")], folder, {"GOCACHE": str(GO_CACHE)})


def build_cpp() -> None:
    """Generate stubs for the caller in C++ and compile what is new: most of the time goes into stubs that are not."""
    folder = EXAMPLES / "cpp"
    fresh = folder / "build/fresh"
    _remove(fresh)
    cpp_stubs(fresh)
    for stub in fresh.rglob("*.pb.*"):
        place = folder / "gen" / stub.relative_to(fresh)
        if not place.exists() or place.read_bytes() != stub.read_bytes():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(stub, place)
    _run(["make", "--silent", f"-j{os.cpu_count()}"], folder)


def build_java() -> None:
    """Generate stubs for the caller in Java and compile it."""
    folder = EXAMPLES / "java"
    _remove(folder / "gen")
    java_stubs(folder / "gen")
    _run([str(folder / "build.sh")], folder)


def build_ruby() -> None:
    """Generate stubs for the caller in Ruby."""
    _remove(EXAMPLES / "ruby/gen")
    ruby_stubs(EXAMPLES / "ruby/gen")


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
