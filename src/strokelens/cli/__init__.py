"""The command line: one file a verb; the only place that prints and that knows exit codes.

Exit codes: 0 done; 1 some cases of a batch failed; 2 the input is wrong; 130 interrupted. A traceback is our bug.
Verbs import what they need when they run, so that `--help` starts at once.
"""

import logging
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from strokelens import __version__
from strokelens.cli import options, settings
from strokelens.cli.atlas import atlas
from strokelens.cli.compare import compare
from strokelens.cli.crossvalidate import crossvalidate
from strokelens.cli.epochs import epochs
from strokelens.cli.evaluate import evaluate
from strokelens.cli.explain import explain
from strokelens.cli.inspect import inspect
from strokelens.cli.maps import maps
from strokelens.cli.phantom import phantom
from strokelens.cli.predict import predict
from strokelens.cli.progress import loudness
from strokelens.cli.robustness import robustness
from strokelens.cli.segment import segment
from strokelens.cli.split import split
from strokelens.cli.submit import submit
from strokelens.cli.train import train
from strokelens.errors import StrokelensError

_UsageError: type[Any] = typer.BadParameter.__bases__[0]
"""What is wrong with the words of a command; typer carries its own copy of click and names only the child."""


_NETWORKS = frozenset({"torch", "lightning", "safetensors", "tensorboard"})
"""What the extra `networks` installs."""


def lacks_networks(error: ModuleNotFoundError) -> str | None:
    """What to tell where the extra for networks is not installed; None where another module is lacking: our bug."""
    module = (error.name or "").partition(".")[0]
    if module not in _NETWORKS:
        return None
    return f"networks need {module}, which is not installed; run: pip install -c constraints.txt '.[networks]'"


class _Verbs(TyperGroup):
    """The verbs, with the user's mistakes told in one line."""

    def main(self, *args: Any, **keywords: Any) -> Any:
        """Run, and exit with the verb's code; what is wrong with an option is one line, too.

        What a terminal's encoding does not have, such as a folder's name that is no text, is printed as `?`.
        """
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            code = super().main(*args, **{**keywords, "standalone_mode": False})
        except _UsageError as error:
            message = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
            verb = error.ctx.command_path if error.ctx else "strokelens"
            typer.echo(f"strokelens: {message}; `{verb} --help` tells more", err=True)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except StrokelensError as error:
            typer.echo(f"strokelens: {error}", err=True)
            raise typer.Exit(2) from None
        except ModuleNotFoundError as error:
            if (lacking := lacks_networks(error)) is None:
                raise
            typer.echo(f"strokelens: {lacking}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("strokelens: interrupted", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the dead and the salvageable tissue in acute ischemic stroke, measure it, and show why. "
    "Research use only; not a medical device.",
)


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"strokelens {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    loudness(verbose=verbose, quiet=quiet, otherwise=logging.WARNING)


app.command()(segment)
app.command()(maps)
app.command()(phantom)
app.command()(inspect)
app.command()(split)
app.command()(train)
app.command()(predict)
app.command()(evaluate)
app.command()(explain)
app.command()(atlas)
app.command()(compare)
app.command()(crossvalidate)
app.command()(epochs)
app.command()(submit)
app.command()(robustness)
app.add_typer(settings.app, name="settings")
