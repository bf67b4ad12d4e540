"""The second ancestor's relevance as our verb: its modes, sweeps and viewers, by its own rules and filters.

Relevance begins with all that the network says, and is filtered at each of its fifteen places, as it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

from strokelens.errors import SettingsError, hint

Command = tuple[str, ...]

MODES: Final = ("lrp_UNet3D_overfit", "lrp_UNet3D_filter_sweeper")
SWEEPS: Final = ("0001", "0002", "0003")
KEPT: Final = (1, 2, 4, 7, 11, 15, 28, 27, 45)
"""The cases whose maps its publication kept."""

FIGURE: Final = ("pass:0:0.4", "clamp:0:0.2")
"""The filters of its main figure, beside raw."""

CODES: Final[Mapping[str, str]] = {
    "XX": "raw",
    "Yp": "pass:0:0.6",
    "Zp": "pass:0:0.3",
    "Lp": "pass:0.2:1",
    "Hp": "pass:0.6:1",
    "Yc": "clamp:0:0.6",
    "Zc": "clamp:0:0.3",
    "Lc": "clamp:0.3:1",
    "Hc": "clamp:0.6:1",
}
"""The filters of `full_sequence_0001`, by its letters; its bounds of 6 and 3 were slips for 0.6 and 0.3."""

_COMPOSITE: Final = "legacy-head"
_FACTORS: Final = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Place:
    """A model's run, the cohort, the folder of all that is made of both, and the split that tells who has a truth.

    `composite` are the rules, with the shares of skips that the config tells.
    """

    run: str
    data: str
    folder: Path
    split: str
    device: str
    composite: str = _COMPOSITE

    @property
    def rules(self) -> Command:
        """Of all that the network says."""
        return ("--composite", self.composite, "--target", "output")

    def within(self, name: str) -> Path:
        """A folder of what is made by these rules: other shares of skips have another one."""
        return self.folder / (name + self.composite.removeprefix(_COMPOSITE).replace(":", "_"))

    @property
    def sweep(self) -> Path:
        """Where the model's sweep is."""
        return self.within("lrp_filter_sweep")

    def anew(self, out: Path) -> Command:
        """Whether a sweep begins anew, as another cycle has trained the model since."""
        from strokelens.explanation.sweep import MARKER

        return ("--overwrite",) if outdated(Path(self.run), out / MARKER) else ()


def by_mode(place: Place, told: Mapping[str, Any], submode: str) -> Iterator[Command]:
    """What `lrp_mode` asks for: one filter for all cases with truth, or a sweep of sixteen."""
    mode = MODES[1] if submode else str(told.get("lrp_mode", MODES[0]))  # which is of the sweeper alone
    if mode not in MODES:
        raise SettingsError(f"no lrp_mode {mode!r}; {hint(mode, MODES)}")
    settings = _section(told, "LRP")
    if mode == MODES[0]:
        yield one_filter(place, _word(_section(settings, "relprop_config")))
        return
    sweeper = _section(settings, "filter_sweeper")
    kind = submode or str(sweeper.get("submode", SWEEPS[0]))
    if kind not in SWEEPS:
        raise SettingsError(f"no submode {kind!r} of the filter sweep; give {', '.join(SWEEPS)}")
    yield swept(place, _case_numbers(sweeper))


def one_filter(place: Place, word: str) -> Command:
    """Relevance of all cases with truth by one filter, their maps kept."""
    return (*_asked(place, place.within(f"lrp_{word.replace(':', '_')}")), "--filter", word, "--keep", "all")


def swept(place: Place, kept: Sequence[int], beside: Sequence[Path] = ()) -> Command:
    """The sweep of all cases with truth; it gives the maps of some, the means, and inclusivity of all."""
    keep = [word for number in kept for word in ("--keep", f"training_{number}")]
    others = [word for path in beside for word in ("--beside", str(path))]
    return (*_asked(place, place.sweep), *keep, *others)


def viewed(place: Place, case_number: str, filters: Sequence[str] = FIGURE) -> Command:
    """The six panels and the sheet of one case, raw and filtered."""
    out = str(place.folder / "figures" / f"lrp_training_{case_number}")
    words = [word for each in filters for word in ("--filter", each)]
    told = (place.run, place.data, "-o", out, "--case", f"training_{case_number}", "--everywhere", "--overwrite")
    return ("explain", *told, *place.rules, *words, "--device", place.device)


def composite_of(told: Mapping[str, Any]) -> str:
    """The ancestor's rules with the shares of skips that a config tells, as our word."""
    settings = _section(_section(_section(told, "LRP"), "relprop_config"), "UNet3D")
    factors = settings.get("concat_factors", list(_FACTORS))
    if not isinstance(factors, list) or not all(_is_number(each) for each in factors):
        raise SettingsError(f"concat_factors is {factors!r}; give a share of each skip, as {list(_FACTORS)}")
    same = tuple(factors) == _FACTORS
    return _COMPOSITE if same else ":".join([_COMPOSITE, *(repr(float(each)).removesuffix(".0") for each in factors)])


def outdated(run: Path, made: Path) -> bool:
    """Whether a file tells the weights of other models than the run's, which another cycle has trained since."""
    from strokelens.model import is_model, weights_sha256

    return is_model(run) and made.is_file() and weights_sha256(run) not in made.read_text(encoding="utf-8")


def _asked(place: Place, out: Path) -> Command:
    which = ("--split", place.split, "--part", "train", "--device", place.device)
    told = (place.run, place.data, "-o", str(out), *which, *place.rules, *place.anew(out))
    return ("explain", *told, "--everywhere", "--sweep")


def _case_numbers(sweeper: Mapping[str, Any]) -> list[int]:
    """The cases whose maps are kept."""
    told = sweeper.get("case_numbers", list(KEPT))
    if not isinstance(told, list) or not all(_is_number(each) and each == int(each) for each in told):
        raise SettingsError(f"case_numbers is {told!r}; give the numbers of cases, as {list(KEPT)}")
    return [int(each) for each in told]


def _is_number(told: object) -> bool:
    return isinstance(told, int | float) and not isinstance(told, bool) and isfinite(told)


def _section(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name, {})
    if not isinstance(found, dict):
        raise SettingsError(f"{name} of the config is no object; write it with `main.py --mode create_config_file`")
    return found


def _word(settings: Mapping[str, Any]) -> str:
    """The filter that a config tells, as our word."""
    kind = str(settings.get("normalization", "raw"))
    kinds = {"fraction_pass_filter": "pass", "fraction_clamp_filter": "clamp"}
    if kind in ("raw", "standard"):
        return kind
    if kind not in kinds:
        raise SettingsError(f"no normalization {kind!r}; {hint(kind, ('raw', 'standard', *kinds))}")
    bounds = _section(settings, kind)
    try:
        (low, high), (least, most) = bounds["positive"], bounds["negative"]
        return ":".join([kinds[kind], *(f"{float(each):g}" for each in (low, high, least, most))])
    except (KeyError, TypeError, ValueError):
        raise SettingsError(f"{kind} needs positive and negative, each as [low, high], such as [0, 0.6]") from None
