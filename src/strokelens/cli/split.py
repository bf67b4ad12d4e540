"""`strokelens split`: who trains, validates and tests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strokelens.cli import options
from strokelens.cli.progress import loudness, say

if TYPE_CHECKING:
    from strokelens.cohorts.cohort import Cohort
    from strokelens.cohorts.splits import Split

_PERCENT = 100


def split(
    cohort: Annotated[Path, typer.Argument(metavar="COHORT", help="The folder of a cohort, of any layout.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The JSON file to write; of folds, FILE-1.json and so on."),
    ] = None,
    parts: Annotated[
        str, typer.Option("--parts", metavar="A:B:C", help="Shares to train, validate and test, in percent.")
    ] = "60:20:20",
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, metavar="N", help="As many splits, each validating another part.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same persons and seed, same split.")] = 0,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Draw nothing; tell whether this split leaks.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="NAME", help="How COHORT is laid out, if that is not recognised.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is a split.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw who trains, validates and tests: by person, of each group alike, kept as a file with its hash.

    Repeated scans and mirrored copies of a person are in one part. `evaluate --split FILE --part test` scores a part.
    """
    from strokelens.cohorts.layouts import open_cohort
    from strokelens.cohorts.splits import checked, read_split
    from strokelens.errors import CohortError

    loudness(verbose=False, quiet=quiet)
    if (out is None) == (check is None):
        raise CohortError("give either --out FILE, to draw a split, or --check FILE, to check one")
    opened = open_cohort(cohort, layout)
    if check is not None:
        say(_told(check, checked(read_split(check), opened)))
        return
    assert out is not None
    for path, drawn in _drawn(opened, out, parts, folds, seed):
        _write(path, drawn, overwrite=overwrite)
        say(_told(path, drawn))


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


def _write(path: Path, drawn: "Split", *, overwrite: bool) -> None:
    """Write a split where nothing is, or with `overwrite` a split is."""
    from strokelens.cohorts.splits import read_split, write_split
    from strokelens.errors import OutputError

    if path.exists():
        if not overwrite:
            raise OutputError(f"{path} exists; a split is never drawn anew unasked: give another file, or --overwrite")
        read_split(path)
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
