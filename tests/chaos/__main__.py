"""The kill campaign on the command line: `python -m tests.chaos --rounds 200 --brokers 3 --seed 7`."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import click
import structlog

from tests.chaos.campaign import CampaignSettings, run_campaign


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True, help="How many times something dies.")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True)
@click.option("--seed", type=int, help="Repeats a schedule. Default: drawn.")
@click.option("--keep", is_flag=True, help="Keep the data of a campaign that went well, too.")
def main(rounds: int, brokers: str, seed: int | None, keep: bool) -> None:
    """Kill, pause and restart the processes of a whole installation under load, then check what all have seen."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="cogreel-chaos-"))
    click.echo(f"seed {seed}, data in {folder}")
    settings = CampaignSettings(rounds=rounds, brokers=3 if brokers == "3" else 1, seed=seed)
    tally = asyncio.run(run_campaign(settings, folder, lambda text: click.echo(f"  {text}")))
    for line in tally.lines():
        click.echo(line)
    if tally.violations:
        click.echo(f"history, evidence, logs and data are left in {folder}")
        sys.exit(1)
    if not keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
