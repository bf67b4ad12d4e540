"""`strokelens settings`: the settings of a training: those that come with us, and what one may say."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli.progress import say

app = typer.Typer(no_args_is_help=True, help="Show, explain and check the settings of a training.")

Source = Annotated[str, typer.Argument(metavar="SETTINGS", help="A JSON file, or the name of bundled settings.")]


@app.command("list")
def list_() -> None:
    """The settings that come with strokelens: of the published table in its order, and of MR volumes."""
    from strokelens.settings.reading import bundled_names, read_settings

    for name in bundled_names():
        typer.echo(f"{name:<19}  {read_settings(name).about}")


@app.command()
def show(
    source: Source,
    whole: Annotated[bool, typer.Option("--whole", help="With all defaults, not only what differs from them.")] = False,
) -> None:
    """One of them as JSON: a beginning for your own."""
    from strokelens.settings.explaining import settings_text
    from strokelens.settings.reading import read_settings

    typer.echo(settings_text(read_settings(source), whole=whole), nl=False)


@app.command()
def explain() -> None:
    """Every setting with its meaning, its default, and what it may be: `Setting_explained.json`."""
    from strokelens.settings.explaining import explained_text

    typer.echo(explained_text(), nl=False)


@app.command()
def schema() -> None:
    """The JSON Schema, by which editors check and complete."""
    from strokelens.settings.explaining import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def check(source: Source) -> None:
    """Whether settings are right; what is wrong is one line, and exit code 2."""
    from strokelens.settings.reading import read_settings

    settings = read_settings(source)
    say(f"{source}: {settings.name} is right: {len(settings.stages)} stage{'s' if len(settings.stages) > 1 else ''}")


@app.command()
def convert(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A config.json of the second ancestor's.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file to write; else standard output.")
    ] = None,
) -> None:
    """Translate a config of the ISLES 2017 ancestor's into settings that do the same; every ignored key is named."""
    from strokelens.cohorts.folder import new_file
    from strokelens.settings.explaining import settings_text
    from strokelens.settings.reading import convert_settings

    settings, ignored = convert_settings(config)
    for line in ignored:
        typer.echo(f"ignored: {line}", err=True)
    text = settings_text(settings)
    if out is None:
        typer.echo(text, nl=False)
        return
    new_file(out, text)
    say(f"{out}: {settings.name}, {len(ignored)} lines on what it does not tell")
