"""Whether the Python packages are there, in the versions that the application asks for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from cogreel.cli.findings import Finding, ok, problem, warning
from packaging.requirements import Requirement

DISTRIBUTION = "cogreel-server"
_SHOWN = ("torch", "diffusers", "transformers", "sentencepiece", "protobuf", "grpcio")

_WHY: dict[str, str] = {
    "sentencepiece": "Without sentencepiece the tokenizer of CogVideoX cannot be read, and what transformers says then "
    "is misleading (it speaks of tiktoken).",
    "protobuf": "The messages of the contract are made for these versions of protobuf.",
    "torch": "torch runs the model.",
    "diffusers": "diffusers holds the pipeline of CogVideoX, which behaves otherwise in other versions.",
    "transformers": "transformers holds the text encoder and the tokenizer.",
}


def required(extras: Iterable[str]) -> list[Requirement]:
    """What the application asks for, with these extras."""
    chosen = ["", *extras]
    requirements = map(Requirement, metadata.requires(DISTRIBUTION) or [])
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in chosen)
    ]


def check_packages(extras: Iterable[str]) -> list[Finding]:
    """What is missing, each package of another version, or else one line with the versions that matter."""
    extras = sorted(extras)
    wanted = f".[{','.join(extras)}]" if extras else "."
    remedy = f"In the source tree: pip install -c constraints.txt ./client '{wanted}'"
    found: list[Finding] = []
    missing: list[str] = []
    shown: list[str] = []
    for requirement in required(extras):
        name, specifier = requirement.name, requirement.specifier
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if not specifier.contains(version, prereleases=True):
            why = _WHY.get(name, "The application was built and tested with it.")
            found.append(problem("packages", f"{name} is {version}, wanted is {specifier}", why, remedy))
        elif name in _SHOWN:
            shown.append(f"{name} {version}")
    if missing:
        why = " ".join(filter(None, map(_WHY.get, missing))) or "The application does not start without it."
        found.append(problem("packages", f"not installed: {', '.join(missing)}", why, remedy))
    if not found:
        found.append(ok("packages", ", ".join(["all there", *sorted(shown)])))
    return found


def torch_is_installed() -> bool:
    """Told without importing it."""
    try:
        metadata.version("torch")
    except metadata.PackageNotFoundError:
        return False
    return True


def no_worker_here() -> Finding:
    """What is said where a machine was not asked to run workers, and cannot."""
    return warning(
        "packages",
        "torch is not installed: looked at as a machine of the service only",
        "Workers need it, but for the simulated device.",
        "To look at this machine as one of a worker: cogreeld doctor worker",
    )
