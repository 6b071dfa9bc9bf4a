"""`thane completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from thane.interfaces.cli.output import note, print_json

VARIABLE = "_THANE_COMPLETE"
# Where each shell reads it from, as its user would write it.
HOW = {
    "bash": "echo 'eval \"$(thane completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(thane completion zsh)\"' >> ~/.zshrc",
    "fish": "thane completion fish > ~/.config/fish/completions/thane.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(HOW)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def completion(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print the script that makes SHELL complete Thane's commands and options."""
    kind = get_completion_class(shell)
    assert kind is not None, f"click knows no {shell}"
    script = kind(ctx.find_root().command, {}, "thane", VARIABLE).source()
    if as_json:
        print_json({"shell": shell, "script": script, "install": HOW[shell]})
        return
    click.echo(script)
    note(f"to have it in every shell: {HOW[shell]}")
