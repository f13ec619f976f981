"""`aquatint train`."""

from __future__ import annotations

from typing import Annotated

import typer

from aquatint.cli.extras import needs
from aquatint.cli.terminal import for_each
from aquatint.errors import UsageError

# The recipes' options are parsed by tyro, from their dataclasses.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", show_default=False)] = "--help",
) -> None:
    """Train a model: `aquatint train RECIPE --data DIR... --out DIR`.

    A run that was stopped goes on when the command is given again. `aquatint train RECIPE --help` shows all options;
    start it with torchrun for several processes.
    """
    if recipe in ("-h", "--help"):
        with needs("train"):
            from aquatint.training.recipes import RECIPES
        typer.echo(context.get_help())
        typer.echo(f"\nRecipes: {', '.join(RECIPES)}")
        return
    with needs("train"):
        from aquatint.training import run

    def work(name: str) -> None:
        try:
            run.main(name, context.args)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None

    for_each([recipe], work, name=lambda name: name)
