"""Where the tests keep the weights of RIFE, which `make test` fetches."""

from __future__ import annotations

import os
from pathlib import Path

RIFE_DIRECTORY = Path(os.environ.get("COGREEL_RIFE_DIRECTORY", Path(__file__).resolve().parents[1] / ".cache" / "rife"))
