"""Which channel a file holds, told from its name; and which files are masks, and so no channel.

A name is cut into words at `_ - .` and spaces. The last word decides, as BIDS suffixes do (numbers after it do not
count); else the one channel that the words name. The word after `space`, `to`, `in`, `on`, `onto` names a place and not
a content: `adc_to_dwi` is an ADC map, `space-ncct_tmax` a Tmax map.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from strokelens.errors import CaseError

CHANNEL_OF: Mapping[str, str] = MappingProxyType(
    {
        "adc": "ADC",
        "dwi": "DWI",
        "b1000": "DWI",
        "trace": "DWI",
        "b0": "B0",
        "flair": "FLAIR",
        "cbf": "CBF",
        "rcbf": "CBF",
        "cbv": "CBV",
        "rcbv": "CBV",
        "mtt": "MTT",
        "ttp": "TTP",
        "tmax": "Tmax",
        "mip": "MIP",
        "ctp": "CTP",
        "pwi": "PWI",
        "dsc": "PWI",
        "4dpwi": "PWI",
        "ncct": "NCCT",
        "cta": "CTA",
        "t1": "T1",
        "t1w": "T1",
        "t2": "T2",
        "t2w": "T2",
    }
)
"""The words that name a channel, in lower case."""

MASK_WORDS = frozenset(
    {"msk", "mask", "masks", "dseg", "seg", "segmentation", "probseg", "label", "labels", "roi"}
    | {"truth", "gt", "ot", "lesion", "lesions", "predict", "prediction", "pred"}
)
"""The words that make a file a mask or a segmentation, which is no channel."""

RELATIVE_WORDS = frozenset({"rcbf", "rcbv"})

_PLACE_WORDS = frozenset({"space", "to", "in", "on", "onto", "sub", "ses"})
_CUT = re.compile(r"[_\-. ]+")
_ENTITY = re.compile(r"(?:^|[_/\\])(sub|ses)-([A-Za-z0-9]+)")


@dataclass(frozen=True)
class Name:
    """What a file's name says: a channel or none, whether it is a mask, and whether the map is a relative one."""

    channel: str | None
    mask: bool = False
    relative: bool = False


def parse(stem: str) -> Name:
    """What the name of a file, without .nii or .nii.gz, says about its content.

    Raises `CaseError` when it names several channels and none of them at its end.

    >>> parse("sub-x_ses-1_space-ncct_tmax").channel, parse("VSD.Brain.XX.O.MR_rCBF.128020")
    ('Tmax', Name(channel='CBF', mask=False, relative=True))
    >>> parse("sub-x_ses-1_msk").mask, parse("brain").channel
    (True, None)
    """
    words = [word for word in _CUT.split(stem.casefold()) if word]
    if any(word in MASK_WORDS or word.endswith("mask") for word in words):
        return Name(None, mask=True)
    named = [(at, word) for at, word in enumerate(words) if word in CHANNEL_OF]
    content = [(at, word) for at, word in named if at == 0 or words[at - 1] not in _PLACE_WORDS] or named
    if not content:
        return Name(None)
    last = max((at for at, word in enumerate(words) if not word.isdigit()), default=0)
    suffix = [word for at, word in content if at == last]
    channels = sorted({CHANNEL_OF[word] for word in suffix or [word for _, word in content]})
    if len(channels) > 1:
        raise CaseError(
            f"{stem} names {len(channels)} channels ({', '.join(channels)}); rename it to end with the right"
        )
    word = (suffix or [word for _, word in content])[-1]
    channel = "CTP" if word == "4dpwi" and "ct" in words else channels[0]  # ISLES 2018 calls a CT series 4DPWI
    return Name(channel, relative=word in RELATIVE_WORDS)


def entities(path: str) -> dict[str, str]:
    """The BIDS subject and session in a path, the innermost of each.

    >>> entities("sub-01/ses-2/dwi/sub-01_ses-2_adc.nii.gz")
    {'sub': '01', 'ses': '2'}
    """
    return dict(_ENTITY.findall(path))
