"""The second ancestor's named recipes: shortcut sequences with their codes, and what its publications were made by."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from strokelens.cli import lrp
from strokelens.cli.asked import Asked, Command, Model, choice
from strokelens.errors import SettingsError

DILUTIONS: Final = {
    "UNet3D_overfit_compare_diffgen": ("diffgen", "blur"),
    "UNet3D_overfit_more_comparison": ("uniform", "gaussian", "zeroing"),
}
SIDES: Final = {"S": 48, "A": 48, "B": 96, "C": 144, "X": 192}
"""The letters of the sizes in the names of its models."""

FRACTIONS: Final = {"1": 1.0, "2": 1.2}
_DRAWS = 1250
_CYCLES = 2

FIGURES: Final = ("example_process_get_main_figure", "example_process_get_filters_comparison_figure")
"""The submodes of the first publication."""


def shortcut(asked: Asked) -> Iterator[Command]:
    """The named recipes: `diff_gen_shortcut` with 0001.ABCD, 0002.X and 0003.X; `full_sequence_N` with a code."""
    if asked.shortcut == "diff_gen_shortcut":
        kind, _, code = asked.submode.partition(".")
        if kind == "0001":
            model = _with_textures(asked, code)
            yield from model.trained(_CYCLES)
            yield model.by_epoch()
            return
        kinds = dict(zip(("0002", "0003"), DILUTIONS.values(), strict=True))
        if kind not in kinds or code not in ("X", "S"):
            wanted = "0001.ABCD such as 0001.S021, 0002.X, 0002.S, 0003.X or 0003.S"
            raise SettingsError(f"no shortcut {asked.submode!r}; give {wanted}")
        yield _with_textures(asked, "X022" if code == "X" else "S021").robust(kinds[kind])
        return
    sequences = ("full_sequence_0000", "full_sequence_0001", "full_sequence_0002", "full_sequence_0003")
    sequence = choice("shortcut sequence", asked.shortcut, ("diff_gen_shortcut", *sequences))
    if sequence == "full_sequence_0003":
        for code in ("XS5", "XS6"):
            model = _plain(asked, code)
            yield lrp.swept(model.place(), lrp.KEPT)
        return
    model, word = _sequence(asked, sequence)
    yield from model.trained(1 if sequence == "full_sequence_0002" else _CYCLES)
    yield model.by_epoch()
    if sequence == "full_sequence_0000":
        yield from model.submitted("train")
        yield from model.submitted("test")
    kept = lrp.KEPT if asked.submode[1:2] == "S" else ()
    yield lrp.swept(model.place(), kept) if sequence == "full_sequence_0002" else lrp.one_filter(model.place(), word)


def _sequence(asked: Asked, name: str) -> tuple[Model, str]:
    """The model of a sequence, and its filter: `full_sequence_0001` has size, two letters and a number, as AYp1."""
    if name == "full_sequence_0000":
        return Model.read(asked), "raw"
    if name == "full_sequence_0002":
        return _plain(asked, asked.submode), "raw"
    code = asked.submode
    if len(code) != 4 or code[0] not in SIDES or code[1:3] not in lrp.CODES:
        raise SettingsError(f"no code {code!r}; give size A, B, C or X, a filter of {', '.join(lrp.CODES)}, a number")
    model = _plain(asked, f"{code[0]}X{code[3]}")
    return replace(model, name=f"UNet3D_{code[0]}{code[1:3]}XX{code[3]}"), lrp.CODES[code[1:3]]


def published(asked: Asked) -> Iterator[Command]:
    """What the publications were made by: trainings, scores, sweeps of filters, and their figures."""
    if asked.mode == "results_publication_2":
        for code in ("S011", "S022"):
            model = _with_textures(asked, code)
            yield from model.trained(_CYCLES)
            yield model.by_epoch()
            yield from model.by_size()
            yield model.robust([kind for kinds in DILUTIONS.values() for kind in kinds])
        return
    submode = choice("submode", asked.submode, FIGURES)
    done: list[Path] = []
    for code in ("AS1",) if submode == FIGURES[0] else ("AS1", "AS2", "BS1"):
        model = _plain(asked, code)
        yield from model.trained()
        yield model.by_epoch()
        yield from model.by_size()
        yield lrp.swept(model.place(), lrp.KEPT, done)
        done.append(model.place().sweep)
    if submode == FIGURES[0]:
        yield lrp.viewed(model.place(), asked.case_number or "27")


def _with_textures(asked: Asked, code: str) -> Model:
    """The model of a code ABCD: size, an unused letter, fraction, and a tag."""
    if len(code) != 4 or code[0] not in ("X", "S") or code[2] not in FRACTIONS:
        wanted = "size X or S, any letter, fraction 1 or 2, and a tag, as in 0001.X022"
        raise SettingsError(f"no recipe {code!r}; give {wanted}")
    size, fraction, tag = code[0], code[2], code[3]
    changes = (
        f"input.size={SIDES[size]}",
        f"diffgen.fraction={FRACTIONS[fraction]}",
        "diffgen.labels=first",
        f"training.draws={_DRAWS}",
        *asked.changes,
    )
    return Model(asked, f"UNet3D_{size}DGX{fraction}{tag}", "Isles2017_legacy", 1, changes)


def _plain(asked: Asked, code: str) -> Model:
    """The model of a code: size A, B, C or X; what it keeps, S or X; and the number of the trial."""
    if len(code) != 3 or code[0] not in "ABCX" or code[1] not in "SX" or not code[2].isalnum():
        raise SettingsError(f"no code {code!r}; give size A, B, C or X, then S or X, and a number, as in AS1")
    changes = (f"input.size={SIDES[code[0]]}", f"training.seed={ord(code[2])}", *asked.changes)
    return Model(asked, f"UNet3D_{code[0]}XXX{code[1]}{code[2]}", "Isles2017_legacy", 2, changes)
