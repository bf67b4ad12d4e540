"""`strokelens compare`: several settings trained, asked and scored on the same patients, beside threshold rules."""

from pathlib import Path
from typing import Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say, steps


def compare(
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; what it has of the same is kept.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SETTINGS]...", help="JSON files or bundled names; the twelve published ones if none."),
    ] = None,
    change: options.Change = None,
    layout: options.LayoutName = None,
    split: options.TrainedSplit = None,
    pretrained: options.Pretrained = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            metavar="NAME",
            help="A threshold rule beside them; if none is told, all that COHORT has maps for. none: no rule.",
        ),
    ] = None,
    devices: options.Devices = "auto",
    workers: options.Workers = None,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Train several settings on the same patients, predict those kept for the end, and fill one table.

    OUT gets runs/, predictions/, rules/ and tables/ (tables.md, tables.html, cases.csv, evaluation.json). Run again, it
    goes on where it stopped. Exit code 1 if a case could not be scored in full; the others are.
    """
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.comparison import TABLES, Comparison
    from strokelens.comparison import compare as compare_all
    from strokelens.evaluation.delivery import MARKER
    from strokelens.evaluation.tables import each_failure, headline
    from strokelens.flags import RESEARCH_USE
    from strokelens.perfusion.thresholds import RULES, rule_named
    from strokelens.settings.changing import changed
    from strokelens.settings.reading import published_names, read_settings
    from strokelens.training.machine import Machine

    loudness(verbose=verbose, quiet=quiet)
    asked = options.changes(change, split=split, pretrained=pretrained)
    cohort = open_cohort(data, layout)
    fitting = [name for name, each in RULES.items() if set(each.channels) <= set(cohort.channels)]
    named = fitting if not rule else [] if rule == ["none"] else rule
    comparison = Comparison(
        tuple(changed(read_settings(each), asked) for each in settings or published_names()),
        cohort,
        out,
        rules=tuple(rule_named(name) for name in named),
        machine=Machine.told(devices),
        workers=workers,
    )
    if not (rule or json) and len(fitting) < len(RULES):
        say(f"without maps for the rules {', '.join(name for name in RULES if name not in fitting)}")
    with steps(f"comparing {len(comparison.settings)} settings") as done:
        evaluation = compare_all(comparison, done)
    if evaluation is None:
        return
    tables = out / TABLES
    if json:
        typer.echo((tables / MARKER).read_text(encoding="utf-8"), nl=False)
    else:
        for model, case, code, message in each_failure(evaluation):
            say(f"{model}, {case}: {code}: {message}")
        say(f"{tables / 'tables.md'}: {headline(evaluation)} {RESEARCH_USE}")
    if not evaluation.complete:
        raise typer.Exit(1)
