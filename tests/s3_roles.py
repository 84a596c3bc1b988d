"""An S3 server that knows a service and a worker beside its owner, by the policies in deploy/s3."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from files import ObjectStoreSettings
from host.engines import EmbeddedS3

S3Role = Literal["service", "worker"]
POLICIES = Path(__file__).parents[1] / "deploy/s3"
BUCKET = "cogreel"  # as the policies have it


class _WithRoles(EmbeddedS3):
    """The embedded server, with further users; what they may do is in the policies, word for word."""

    def _prepare(self) -> None:
        super()._prepare()
        path = self._folder.path / "identities.json"
        known = json.loads(path.read_text())
        roles = ("service", "worker")
        known["policies"] = [{"name": role, "content": (POLICIES / f"{role}.json").read_text()} for role in roles]
        known["identities"] += [
            {
                "name": role,
                "credentials": [{"accessKey": role, "secretKey": f"{role}-secret"}],
                "actions": [],
                "policyNames": [role],
            }
            for role in roles
        ]
        self._folder.write(path.name, json.dumps(known))


class RoleS3:
    """The server: how its owner and each role reach it."""

    def __init__(self, engine: EmbeddedS3) -> None:
        self.owner = ObjectStoreSettings(engine.endpoint, engine.access_key, engine.secret_key, BUCKET, secure=False)

    def settings(self, role: S3Role) -> ObjectStoreSettings:
        """As a process of the role has them."""
        return replace(self.owner, access_key=role, secret_key=f"{role}-secret")

    def environment(self, role: S3Role) -> dict[str, str]:
        """The same as variables, for a process of the role."""
        settings = self.settings(role)
        return {
            "COGREEL_S3_ENDPOINT": settings.endpoint,
            "COGREEL_S3_ACCESS_KEY": settings.access_key,
            "COGREEL_S3_SECRET_KEY": settings.secret_key,
            "COGREEL_S3_BUCKET": settings.bucket,
        }


@asynccontextmanager
async def role_s3(folder: Path) -> AsyncIterator[RoleS3]:
    """The server for the length of the block."""
    async with _WithRoles(folder) as engine:
        yield RoleS3(engine)
