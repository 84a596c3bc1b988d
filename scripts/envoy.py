"""What Envoy reads of the contract: `deploy/envoy/cogreel.binpb`, with the paths of `deploy/envoy/rest.yaml`.

    python -m scripts.envoy           # write
    python -m scripts.envoy --check   # exit 1 if the committed one is stale

Envoy's transcoder takes its paths from the option google.api.http of each method. It is put into the descriptors here,
so that the contract, and with it the stubs of every language, needs nothing of HTTP.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import yaml
from google.api import annotations_pb2, http_pb2
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy/envoy/rest.yaml"
DESCRIPTORS = ROOT / "deploy/envoy/cogreel.binpb"
# What errors hold in their details is not named by the contract's messages.
PATHS = ("proto/cogreel/v1", "third_party/google/rpc")


def read_rules(path: Path = RULES) -> list[http_pb2.HttpRule]:
    """The rules, one for each method.

    Raises:
        json_format.ParseError: a rule has a field that google.api.http does not know.
    """
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))["http"]["rules"]
    return [json_format.ParseDict(rule, http_pb2.HttpRule()) for rule in rules]


def contract() -> FileDescriptorSet:
    """The public contract and all that it imports, as buf compiles it."""
    buf = str(Path(sys.executable).with_name("buf"))
    selection = [argument for path in PATHS for argument in ("--path", path)]
    command = [buf, "build", "--exclude-source-info", "--output", "-#format=binpb", *selection]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return FileDescriptorSet.FromString(built.stdout)


def annotated(descriptors: FileDescriptorSet, rules: list[http_pb2.HttpRule]) -> FileDescriptorSet:
    """The same with each rule as the option of its method.

    Raises:
        ValueError: a rule names no method, or a second one names the same.
    """
    methods: dict[str, MethodDescriptorProto] = {
        f"{file.package}.{service.name}.{method.name}": method
        for file in descriptors.file
        for service in file.service
        for method in service.method
    }
    for rule in rules:
        method = methods.pop(rule.selector, None)
        if method is None:
            raise ValueError(f"{rule.selector} is no method, or has two rules")
        option = method.options.Extensions[annotations_pb2.http]
        option.CopyFrom(rule)
        option.ClearField("selector")
    return descriptors


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the file is stale")
    check: bool = parser.parse_args().check
    made = annotated(contract(), read_rules()).SerializeToString(deterministic=True)
    if DESCRIPTORS.exists() and DESCRIPTORS.read_bytes() == made:
        return 0
    if not check:
        DESCRIPTORS.write_bytes(made)
    print(f"{'stale' if check else 'written'}: {DESCRIPTORS.relative_to(ROOT)}")
    return 1 if check else 0


if __name__ == "__main__":
    sys.exit(main())
