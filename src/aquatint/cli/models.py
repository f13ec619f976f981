"""`aquatint models` and `aquatint export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aquatint.cli.extras import needs
from aquatint.cli.terminal import for_each, say, say_json

app = typer.Typer(help="List, show and install trained models.", no_args_is_help=True)


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a model.")] = False,
) -> None:
    """List the trained models that can be used by name."""
    from aquatint.codecs import models

    def work(model: models.ModelFile) -> None:
        facts = {
            "name": model.name,
            "codec": model.card.get("codec"),
            "hash": model.hash.hex(),
            "path": str(model.path),
        }
        if as_json:
            say_json(facts)
        else:
            print("  ".join(str(value) for value in facts.values()), flush=True)

    for_each(models.installed(), work, name=lambda model: str(model.path))


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="MODEL", show_default=False)]) -> None:
    """Show the card of a model, given by its name, path or id on the Hugging Face hub."""
    from aquatint.codecs import models

    def work(name: str) -> None:
        model = models.find(name)
        print(json.dumps({"path": str(model.path), "hash": model.hash.hex(), **model.card}, indent=2), flush=True)

    for_each([name], work, name=lambda name: name)


@app.command()
def add(paths: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)]) -> None:
    """Install models, given by their weights files, so that they are found by name and by the files that need them."""
    from aquatint.codecs import models

    for_each(paths, lambda path: say(f"{models.add(path).path}"), name=str)


def export(
    source: Annotated[Path, typer.Argument(metavar="CHECKPOINT", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", show_default=False)],
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the card.")] = "unspecified",
    data: Annotated[str, typer.Option(help="What they were trained on, for the card.")] = "unspecified",
    measure: Annotated[
        list[Path] | None, typer.Option(help="Pictures or folders to measure the card's curve on.")
    ] = None,
) -> None:
    """Export a checkpoint, or the best one of a run's folder, as a model that codes."""
    with needs("train"):
        from aquatint.training.export import export as write

    def work(source: Path) -> None:
        model = write(source, target, licence=licence, data=data, pictures=measure or ())
        say(f"{model.path}: {len(model.content)} bytes, hash {model.hash.hex()}")

    for_each([source], work, name=str)
