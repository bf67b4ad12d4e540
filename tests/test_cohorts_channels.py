"""Channel names: the files of the public layouts, and laws that hold for every word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.case import UNITS
from strokelens.cohorts.channels import CHANNEL_OF, MASK_WORDS, entities, parse
from strokelens.errors import CaseError

WORDS = st.sampled_from(sorted(CHANNEL_OF))
NEUTRAL = st.lists(st.sampled_from(["brain", "patient", "07", "resampled", "v2", "XX", "O", "MR"]), max_size=3)
SEPARATORS = st.sampled_from("_-.")


@pytest.mark.parametrize(
    ("stem", "channel"),
    [
        ("sub-strokecase0001_ses-0001_adc", "ADC"),
        ("sub-strokecase0001_ses-0001_FLAIR", "FLAIR"),
        ("Subject01_b0", "B0"),
        ("Subject01_DWI", "DWI"),
        ("VSD.Brain.XX.O.MR_ADC.128020", "ADC"),
        ("VSD.Brain.XX.O.MR_rCBV.128023", "CBV"),
        ("VSD.Brain.XX.O.MR_4DPWI.127014", "PWI"),
        ("SMIR.Brain.XX.O.CT_4DPWI.345562", "CTP"),
        ("SMIR.Brain.XX.O.CT_Tmax.345567", "Tmax"),
        ("sub-stroke0001_ses-01_space-ncct_tmax", "Tmax"),
        ("sub-stroke0001_ses-01_space-ncct_cta", "CTA"),
        ("sub-stroke0001_ses-01_ncct", "NCCT"),
        ("ep2d_dwi_ADC", "ADC"),
        ("adc_to_dwi", "ADC"),
        ("adc_in_t1_space", "ADC"),
        ("T2_FLAIR", "FLAIR"),
        ("sub-01_T1w", "T1"),
        ("TMAX", "Tmax"),
        ("brain", None),
        ("", None),
    ],
)
def test_names_of_public_layouts_give_their_channel(stem: str, channel: str | None) -> None:
    assert parse(stem).channel == channel


@pytest.mark.parametrize(
    "stem",
    [
        "sub-strokecase0001_ses-0001_msk",
        "sub-stroke0001_ses-02_space-ncct_lesion-msk",
        "Subject01_DAGMNet_CH3_Lesion_Predict_MNI",
        "Subject01_Mask_MNI",
        "VSD.Brain_3more.XX.XX.OT.127024",
        "sub-01_desc-ischemia_dseg",
        "adc_brainmask",
        "dwi_label",
    ],
)
def test_masks_are_no_channel(stem: str) -> None:
    name = parse(stem)
    assert name.mask
    assert name.channel is None


def test_a_name_of_two_channels_without_one_at_its_end_is_refused() -> None:
    with pytest.raises(CaseError, match=r"^dwi_adc_v2 names 2 channels \(ADC, DWI\); rename it to end with the right$"):
        parse("dwi_adc_v2")


def test_only_rcbf_and_rcbv_are_relative_maps() -> None:
    assert {word for word in CHANNEL_OF if parse(word).relative} == {"rcbf", "rcbv"}


def test_every_word_names_a_channel_that_a_case_can_have() -> None:
    assert set(CHANNEL_OF.values()) == set(UNITS)


@given(WORDS, NEUTRAL, NEUTRAL, SEPARATORS)
def test_one_channel_word_among_neutral_words_is_found_wherever_it_stands(
    word: str, before: list[str], after: list[str], separator: str
) -> None:
    assert parse(separator.join([*before, word, *after])).channel == CHANNEL_OF[word]


@given(WORDS, NEUTRAL, SEPARATORS)
def test_case_does_not_matter(word: str, before: list[str], separator: str) -> None:
    stem = separator.join([*before, word])
    assert parse(stem.upper()) == parse(stem.lower()) == parse(stem)


@given(WORDS, WORDS, SEPARATORS)
def test_the_last_word_decides(first: str, last: str, separator: str) -> None:
    assert parse(f"{first}{separator}{last}").channel == CHANNEL_OF[last]


@given(WORDS, st.sampled_from(sorted(MASK_WORDS)), st.booleans())
def test_a_mask_word_beats_every_channel_word(word: str, mask: str, mask_first: bool) -> None:
    assert parse(f"{mask}_{word}" if mask_first else f"{word}_{mask}").mask


def test_the_innermost_entity_counts() -> None:
    assert entities("sub-01/ses-1/sub-01_ses-2_adc.nii") == {"sub": "01", "ses": "2"}
