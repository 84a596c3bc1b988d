"""`cogreel completion`: the script that teaches a shell to complete commands, options and request ids."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    Request ids are completed as well, by asking the service: where it does not answer within a second, there are none.

    \b
    Examples:
      eval "$(cogreel completion bash)"                                    # in ~/.bashrc (bash 4.4 or later)
      eval "$(cogreel completion zsh)"                                     # in ~/.zshrc, below compinit
      cogreel completion fish > ~/.config/fish/completions/cogreel.fish
    """
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(ctx.find_root().command, {}, "cogreel", "_COGREEL_COMPLETE").source())
