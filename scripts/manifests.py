"""Render the Kubernetes manifests of `deploy/k8s`, validate every field of them, and lint them for security.

    python -m scripts.manifests                   # render, validate, lint
    python -m scripts.manifests --out FOLDER      # and leave what was rendered there, a file an overlay

Kubernetes' own kinds are held against the strict schemas of the release below, KEDA's and the Prometheus operator's
against models made from their CRDs: a field that they do not know is an error, and so is a kind that nobody knows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from jsonschema import Draft202012Validator
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = ROOT / "deploy/k8s/overlays"
KUBERNETES = "1.33"
"""The oldest release that the manifests are meant for, and whose schemas they must satisfy."""
CHECKOV = ROOT / ".cache/checkov/bin/checkov"
CHECKOV_SETTINGS = ROOT / "deploy/k8s/checkov.yaml"

CUSTOM_KINDS: Mapping[tuple[str, str], type[BaseModel]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
    ("monitoring.coreos.com/v1", "PodMonitor"): prometheus_operator.PodMonitor,
    ("monitoring.coreos.com/v1", "PrometheusRule"): prometheus_operator.PrometheusRule,
}

Document = dict[str, Any]


class RenderError(Exception):
    """kustomize refused a folder; the message is its own."""


@dataclass(frozen=True)
class Problem:
    """A field that is wrong, or a kind that cannot be checked."""

    document: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.document}: {self.path or 'as a whole'}: {self.message}"


def overlays() -> list[str]:
    """The names of what can be installed."""
    return sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))


def render(folder: Path) -> str:
    """What kustomize makes of a folder, as YAML.

    Raises:
        RenderError: it cannot be rendered.
    """
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", str(folder)], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RenderError(done.stderr.strip())
    return done.stdout


def documents(rendered: str) -> list[Document]:
    """The documents of a rendered overlay."""
    return [document for document in yaml.safe_load_all(rendered) if document]


def problems(document: Document) -> list[Problem]:
    """What is wrong with a document: unknown fields, missing ones, wrong types; a kind without a schema."""
    name = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
    model = CUSTOM_KINDS.get((document.get("apiVersion", ""), document.get("kind", "")))
    if model is not None:
        return [Problem(name, path, message) for path, message in _against(_strict_schema(model), document)]
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [Problem(name, ".".join(str(part) for part in error.path), error.message)]
    except kubernetes_validate.SchemaNotFoundError:
        return [Problem(name, "kind", f"there is no schema for {document.get('apiVersion')} {document.get('kind')}")]
    return []


def _against(schema: Document, document: Document) -> Iterator[tuple[str, str]]:
    for error in Draft202012Validator(schema).iter_errors(document):
        # Of a field that may be one of several things or null, the nearest reason.
        reasons = [error, *(error.context or ())]
        deepest = max(reasons, key=lambda reason: len(reason.absolute_path))
        yield ".".join(str(part) for part in deepest.absolute_path), deepest.message


def _strict_schema(model: type[BaseModel]) -> Document:
    """A model's JSON schema in which no object has fields that it does not name."""
    schema = model.model_json_schema(by_alias=True)
    for definition in (schema, *schema.get("$defs", {}).values()):
        if definition.get("properties"):
            definition["additionalProperties"] = False
    return schema


def lint(rendered: Path) -> tuple[bool, str]:
    """Whether a rendered overlay passes checkov's rules for Kubernetes, and what it says."""
    done = subprocess.run(
        [CHECKOV, "--file", str(rendered), "--config-file", str(CHECKOV_SETTINGS)],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="leave the rendered overlays in this folder")
    chosen: Path | None = parser.parse_args().out
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        out = chosen or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        for overlay in overlays():
            rendered = out / f"{overlay}.yaml"
            rendered.write_text(render(OVERLAYS / overlay), encoding="utf-8")
            found = documents(rendered.read_text(encoding="utf-8"))
            wrong = [problem for document in found for problem in problems(document)]
            passed, said = lint(rendered)
            failed = failed or bool(wrong) or not passed
            print(*wrong, sep="\n", end="\n" if wrong else "")
            print(said if not passed else _passed(said))
            print(f"{overlay}: {len(found)} documents, {len(wrong)} with wrong fields")
    return 1 if failed else 0


def _passed(said: str) -> str:
    counts = [line for line in said.splitlines() if line.startswith("Passed checks")]
    return f"checkov: {counts[0]}" if counts else said


if __name__ == "__main__":
    sys.exit(main())
