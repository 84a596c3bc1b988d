"""What goes into the images; `make containers` builds and runs them, where that can be done."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from scripts.sbom import kinds, packages
from tests.deploy.test_manifests import pods

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "deploy/images").glob("*.Containerfile"))


def test_everything_that_the_application_is_made_of_reaches_its_images() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{package}" for package in packages} <= set(let_in)
    assert "*" in let_in


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_runs_as_the_user_of_the_manifests_and_leaves_its_build_behind(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    _, final = text.rsplit("\nFROM ", 1)
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["10001:10001"]
    assert "pip install" not in final
    assert re.findall(r"^COPY (?!--from=build)", final, re.MULTILINE) == []
    users = {pod["spec"]["securityContext"]["runAsUser"] for pod in pods("production").values()}
    assert users == {10001}


def test_the_image_of_the_service_has_no_torch() -> None:
    text = (ROOT / "deploy/images/service.Containerfile").read_text(encoding="utf-8")
    assert re.findall(r"'\.\[(.*)\]'", text) == ["otel"]


def test_a_bill_of_materials_is_counted_by_kind(tmp_path: Path) -> None:
    urls = ["pkg:deb/debian/base-files@12.4?arch=amd64", "pkg:pypi/grpcio@1.80.0", "pkg:pypi/nats-py@2.16.0"]
    sbom = tmp_path / "image.cdx.json"
    sbom.write_text(json.dumps({"components": [{"purl": url} for url in urls] + [{"type": "operating-system"}]}))
    assert kinds(sbom) == {"deb": 1, "pypi": 2}
    assert packages(sbom)["pkg:pypi/grpcio"] == "1.80.0"
