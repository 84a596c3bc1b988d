"""Whether the Python packages are there, in the versions that the application asks for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from cogreel.cli.findings import Finding, ok, problem, warning
from packaging.requirements import Requirement

DISTRIBUTION = "cogreel-server"
_SHOWN = ("torch", "diffusers", "transformers", "sentencepiece", "protobuf", "grpcio")

_WHY: dict[str, str] = {
    "sentencepiece": "The tokenizer of CogVideoX cannot be read without it, and what transformers says then is "
    "misleading (it speaks of tiktoken).",
    "protobuf": "The messages of the contract are made for these versions; the tokenizer of CogVideoX needs it too.",
    "torch": "It runs the model.",
    "diffusers": "It holds the pipeline of CogVideoX; other versions behave otherwise.",
    "transformers": "It holds the text encoder and the tokenizer.",
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
    """Each package that is missing or of another version; or else one line with the versions that matter."""
    extras = sorted(extras)
    install = (
        f"pip install -c constraints.txt '.[{','.join(extras)}]'" if extras else "pip install -c constraints.txt ."
    )
    found: list[Finding] = []
    shown: list[str] = []
    for requirement in required(extras):
        name = requirement.name
        why = _WHY.get(name, "The application was built and tested with it.")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(problem("packages", f"{name} is not installed", why, f"In the source tree: {install}"))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wanted = str(requirement.specifier)
            found.append(
                problem("packages", f"{name} is {version}, wanted is {wanted}", why, f"In the source tree: {install}")
            )
        elif name in _SHOWN:
            shown.append(f"{name} {version}")
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
