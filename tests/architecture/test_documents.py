"""The documents name tests as proofs: those must be there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROOF = re.compile(r"`(?:tests/)?([a-z_]+/test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`")


def test_every_test_that_a_document_names_exists() -> None:
    missing = []
    for document in sorted((ROOT / "docs").glob("*.md")):
        for path, name in PROOF.findall(document.read_text(encoding="utf-8")):
            module = ROOT / "tests" / path
            if not module.is_file() or (name and f"def {name}(" not in module.read_text(encoding="utf-8")):
                missing.append(f"{document.name}: {path}::{name}")
    assert not missing
