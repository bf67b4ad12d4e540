"""`strokelens split`: who trains, validates and tests."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say

if TYPE_CHECKING:
    from strokelens.cohorts.cohort import Cohort
    from strokelens.cohorts.splits import Split

_PERCENT = 100
_PARTS = "60:20:20"


def split(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort, of any layout.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The JSON file to write; of folds, FILE-1.json and so on."),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option("--parts", metavar="A:B:C", help=f"Percent to train, validate and test; else {_PARTS}."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, metavar="N", help="As many splits, each validating another part.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Same persons and seed, same split; else 0.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Draw nothing; tell whether this split leaks.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="NAME", help="How COHORT is laid out, if that is not recognised.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is a split.")] = False,
    json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw who trains, validates and tests: by person, of each group alike, kept as a file with its hash.

    Repeated scans and mirrored copies of a person are in one part. `evaluate --split FILE --part test` scores a part.
    """
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.splits import checked, read_split
    from strokelens.errors import CohortError

    loudness(verbose=verbose, quiet=quiet)
    if (out is None) == (check is None):
        raise CohortError("give either --out FILE, to draw a split, or --check FILE, to check one")
    if check is not None:
        _no_use("--check", parts=parts, folds=folds, seed=seed, overwrite=overwrite or None)
        found = [(check, checked(read_split(check), open_cohort(cohort, layout)))]
    else:
        assert out is not None
        if folds is not None:
            _no_use("--folds", parts=parts)
        found = _drawn(open_cohort(cohort, layout), out, parts or _PARTS, folds, seed or 0)
        for path, _ in found:
            _may_be_written(path, overwrite=overwrite)
        for path, drawn in found:
            _write(path, drawn)
    if json:
        typer.echo(dumps([_record(path, drawn) for path, drawn in found], indent=2, ensure_ascii=False))
    else:
        for path, drawn in found:
            say(_told(path, drawn))


def _no_use(chosen: str, **given: object) -> None:
    """Refuse options that another one has no use for."""
    from strokelens.errors import CohortError

    for name, value in given.items():
        if value is not None:
            shown = "" if value is True else f" {value}"
            raise CohortError(f"{chosen} has no use for --{name}{shown}; leave it out")


def _drawn(cohort: "Cohort", out: Path, parts: str, folds: int | None, seed: int) -> "list[tuple[Path, Split]]":
    """The splits that are asked for, and where each goes."""
    from strokelens.cohorts import splits

    if folds is None:
        validation, test = _shares(parts)
        return [(out, splits.split(cohort, validation=validation, test=test, seed=seed))]
    drawn = splits.folds(cohort, folds, seed=seed)
    return [(out.with_name(f"{out.stem}-{at}{out.suffix}"), each) for at, each in enumerate(drawn, start=1)]


def _shares(parts: str) -> tuple[float, float]:
    """The shares to validate and to test of `60:20:20`."""
    from strokelens.errors import CohortError

    words = parts.split(":")
    if len(words) != 3 or not all(word.isdecimal() for word in words) or sum(map(int, words)) != _PERCENT:
        raise CohortError(f"--parts takes the percent to train, validate and test, such as 60:20:20, not {parts!r}")
    return int(words[1]) / _PERCENT, int(words[2]) / _PERCENT


def _may_be_written(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that is there, or with `overwrite` one that is no split."""
    from strokelens.cohorts.splits import read_split
    from strokelens.errors import OutputError

    if path.exists():
        if not overwrite:
            raise OutputError(f"{path} exists; a split is never drawn anew unasked: give another file, or --overwrite")
        read_split(path)


def _write(path: Path, drawn: "Split") -> None:
    """Write a split."""
    from strokelens.cohorts.splits import write_split
    from strokelens.errors import OutputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_split(path, drawn)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; give another file") from error


def _told(path: Path, drawn: "Split") -> str:
    """A split in one line."""
    counts = ", ".join(f"{name} {len(ids)}" for name, ids in drawn.parts.items())
    left = f"; {len(drawn.left_out)} left out" if drawn.left_out else ""
    return f"{path}: {counts}{left}; sha256 {drawn.sha256[:12]}."


def _record(path: Path, drawn: "Split") -> dict[str, object]:
    """A split as plain values for JSON."""
    from strokelens.cohorts.splits import content_of

    return {"file": str(path), **content_of(drawn)}
