"""The argument that names a request, and its completion in shells."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

import cogreel
from cogreel.cli.session import Session

# A completion that comes later than this gets in the way of typing.
_TIMEOUT_S = 1.0
_MOST = 50


class RequestId(click.ParamType):  # type: ignore[type-arg] # it takes one in newer versions of click only
    """A request's id; shells complete it from the newest requests in the states that the command is for."""

    name = "request_id"

    def __init__(self, *states: str) -> None:
        self._states = states

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click names the parameters
        """The ids that begin with what was typed. Whatever goes wrong, there is none, and nothing is said."""
        options = ctx.find_root().params
        session = Session(
            options.get("address") or "",
            options.get("api_key"),
            ca_file=options.get("ca_file"),
            client_certificate_file=options.get("client_certificate_file"),
            client_key_file=options.get("client_key_file"),
            retry_timeout_s=_TIMEOUT_S,
        )
        try:
            with session.connect(_say_nothing) as client:
                newest = client.list(states=self._states, limit=_MOST)
                return [
                    CompletionItem(status.request_id, help=cogreel.state_name(status).lower())
                    for status in newest
                    if status.request_id.startswith(incomplete)
                ]
        except (cogreel.CogReelError, click.ClickException, OSError):
            return []


def _say_nothing(_note: str) -> None:
    pass
