"""Splits: who is where is decided by person, group and seed alone; kept with a hash; the published one reproduced."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strokelens.cohorts.cohort import Cohort, Entry
from strokelens.cohorts.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    cases_of,
    checked,
    folds,
    leaks,
    published_split,
    read_split,
    split,
    write_split,
)
from strokelens.cohorts.volumes import VolumeReader
from strokelens.errors import CohortError, FileError


def entry(case_id: str, *, person: str | None = None, group: str | None = "LVO", mirrored: bool = False) -> Entry:
    return Entry(case_id, person or case_id, Path(), {}, VolumeReader(), group=group, mirrored=mirrored)


def stavanger() -> dict[str, str]:
    """The 152 patients and their groups, from the counts and gaps of the published cohort."""
    lvo = ["CTP_00_007", "CTP_00_009", *(f"CTP_01_{number:03d}" for number in range(1, 78) if number not in (54, 77))]
    non_lvo = [f"CTP_02_{number:03d}" for number in range(1, 64) if number not in (46, 49, 52)]
    wis = [f"CTP_03_{number:03d}" for number in range(1, 16)]
    return {name: group for group, names in (("LVO", lvo), ("Non-LVO", non_lvo), ("WIS", wis)) for name in names}


people = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["LVO", "Non-LVO", "WIS", None])),
    min_size=4,
    max_size=60,
    unique_by=lambda drawn: drawn[0],
)


def cohort_of(drawn: list[tuple[int, str | None]]) -> list[Entry]:
    """Persons with one to three scans; every fifth has a mirrored copy."""
    groups = dict(drawn)
    entries = []
    for number, group in groups.items():
        for scan in range(number % 3 + 1):
            entries.append(entry(f"p{number}_{scan}", person=f"p{number}", group=group))
        if number % 5 == 0:
            entries.append(entry(f"p{number}_m", person=f"p{number}", group=group, mirrored=True))
    return entries


@given(people, st.integers(0, 99))
def test_every_case_is_in_one_part_and_every_person_too(drawn: list[tuple[int, str | None]], seed: int) -> None:
    entries = cohort_of(drawn)
    found = split(entries, validation=0.25, test=0.25, seed=seed)
    placed = [case_id for ids in found.parts.values() for case_id in ids]
    assert sorted([*placed, *found.left_out]) == sorted(each.id for each in entries)
    assert leaks(found, Cohort(Path(), "x", tuple(entries))) == ()


@given(people, st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_matter(
    drawn: list[tuple[int, str | None]], seed: int, shuffler: random.Random
) -> None:
    entries = cohort_of(drawn)
    shuffled = list(entries)
    shuffler.shuffle(shuffled)
    assert split(entries, seed=seed).sha256 == split(shuffled, seed=seed).sha256
    if len({each.person for each in entries}) > 1:
        assert [each.sha256 for each in folds(entries, 2, seed=seed)] == [
            each.sha256 for each in folds(shuffled, 2, seed=seed)
        ]


@given(people, st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 9))
def test_each_group_has_its_share_within_one_person(
    drawn: list[tuple[int, str | None]], validation: float, test: float, seed: int
) -> None:
    entries = [entry(f"p{number}", group=group) for number, group in dict(drawn).items()]
    group_of = {each.id: each.group for each in entries}
    sizes = Counter(group_of.values())
    try:
        found = split(entries, validation=validation, test=test, seed=seed)
    except CohortError:
        return
    for part, share in ((VALIDATION, validation), (TEST, test)):
        counts = Counter(group_of[case_id] for case_id in found.parts.get(part, ()))
        assert abs(sum(counts.values()) - share * len(entries)) <= 0.5 + 1e-6 + (part == VALIDATION)
        assert all(abs(counts[group] - share * size) < 2 for group, size in sizes.items())


@given(people, st.integers(0, 9))
def test_every_person_validates_in_one_fold(drawn: list[tuple[int, str | None]], seed: int) -> None:
    entries = cohort_of(drawn)
    persons = {each.person for each in entries}
    count = min(5, len(persons))
    if count < 2:
        return
    found = folds(entries, count, seed=seed)
    by_id = {each.id: each for each in entries}
    validating = [{by_id[case_id].person for case_id in each[VALIDATION]} for each in found]
    assert Counter(person for part in validating for person in part) == Counter(persons)
    assert max(map(len, validating)) - min(map(len, validating)) <= 1
    assert all(leaks(each, Cohort(Path(), "x", tuple(entries))) == () for each in found)


def test_another_seed_gives_another_split() -> None:
    entries = [entry(f"p{number}") for number in range(40)]
    assert len({split(entries, seed=seed).sha256 for seed in range(20)}) == 20


def test_a_split_is_the_same_on_every_machine() -> None:
    entries = [entry(f"p{number}", group="LVO" if number % 3 else "WIS") for number in range(12)]
    assert split(entries, seed=1)[TEST] == ("p0", "p2")
    assert split(entries, seed=1)[VALIDATION] == ("p3", "p7")


def test_copies_of_those_who_do_not_train_are_left_out() -> None:
    entries = [entry(f"p{number}") for number in range(10)]
    copies = [entry(f"m{number}", person=f"p{number}", mirrored=True) for number in range(10)]
    found = split([*entries, *copies], validation=0.2, test=0.2, seed=3)
    assert Counter(case_id[0] for case_id in found[TRAIN]) == {"p": 6, "m": 6}
    assert Counter(case_id[0] for case_id in (*found[VALIDATION], *found[TEST])) == {"p": 4}
    assert len(found.left_out) == 4


def test_who_is_there_only_as_a_mirrored_copy_trains() -> None:
    entries = [*(entry(f"p{number}") for number in range(4)), entry("m9", person="p9", mirrored=True)]
    assert all("m9" in split(entries, validation=0.25, test=0.25, seed=seed)[TRAIN] for seed in range(10))


def test_the_published_split_has_89_30_and_33_patients_of_all_groups() -> None:
    groups = stavanger()
    found = published_split()
    counted = {part: Counter(groups[case_id] for case_id in ids) for part, ids in found.parts.items()}
    assert counted == {
        TRAIN: {"LVO": 42, "Non-LVO": 38, "WIS": 9},
        VALIDATION: {"LVO": 16, "Non-LVO": 11, "WIS": 3},
        TEST: {"LVO": 19, "Non-LVO": 11, "WIS": 3},
    }
    assert sorted(case_id for ids in found.parts.values() for case_id in ids) == sorted(groups)


def test_the_published_validation_is_reproduced_by_its_random_numbers() -> None:
    """As the released code did: sort who is left, seed 2, shuffle in place, sample 30."""
    left = sorted(set(stavanger()) - set(published_split()[TEST]))
    generator = random.Random(2)
    generator.shuffle(left)
    assert sorted(generator.sample(left, 30)) == list(published_split()[VALIDATION])


@pytest.mark.parametrize(("seed", "count"), [(631, 30), (43, 15)])
def test_other_seeds_give_other_lists(seed: int, count: int) -> None:
    left = sorted(set(stavanger()) - set(published_split()[TEST]))
    generator = random.Random(seed)
    generator.shuffle(left)
    assert sorted(generator.sample(left, count)) != list(published_split()[VALIDATION])


def test_a_split_goes_there_and_back(tmp_path: Path) -> None:
    found = split([entry(f"p{number}") for number in range(20)], seed=4)
    write_split(tmp_path / "split.json", found)
    back = read_split(tmp_path / "split.json")
    assert (back.parts, back.seed, back.method, back.left_out) == (found.parts, 4, found.method, ())
    assert back.method == "by person, stratified by group, 0.2 to validate, 0.2 to test"


def test_the_order_on_disk_does_not_matter_and_a_change_does(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    write_split(path, Split({TRAIN: ("a", "b"), TEST: ("c",)}, seed=None))
    content = json.loads(path.read_text())
    content["parts"]["train"] = ["b", "a"]
    path.write_text(json.dumps(content))
    assert read_split(path).seed is None
    content["parts"]["train"] = ["b", "c2"]
    path.write_text(json.dumps(content))
    with pytest.raises(
        CohortError, match=r"^split\.json was changed after it was written: its hash is \w{12}…; draw it anew$"
    ):
        read_split(path)


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 8), ("method", "by hand"), ("left_out", []), ("left_out", ["d", "e"])]
)
def test_who_is_left_out_and_how_it_was_drawn_is_in_the_hash(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "split.json"
    write_split(path, Split({TRAIN: ("a", "b"), TEST: ("c",)}, "by person", seed=7, left_out=("d",)))
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(CohortError, match=r"was changed after it was written"):
        read_split(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "strokelens split 2"}', '{"format": "strokelens split 2", "parts": {"train": [1]}}'],
)
def test_what_is_no_split_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FileError) as caught:
        read_split(tmp_path / "x.json")
    assert str(caught.value) == "x.json is no split by strokelens; give the file that it wrote"


def test_a_split_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(
        FileError, match=r"^x\.json cannot be read: No such file.*; check the path and its permissions$"
    ):
        read_split(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match=r"^x\.json is no split by strokelens; give the file that it wrote$"):
        read_split(path)
    with path.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(FileError, match=r"^x\.json is larger than 16 MiB, which no split is; give another"):
        read_split(path)


def test_leaks_are_found(tmp_path: Path) -> None:
    entries = (
        entry("a1", person="a"),
        entry("a2", person="a"),
        entry("b"),
        entry("b_m", person="b", mirrored=True),
        entry("c"),
        entry("e"),
        entry("f"),
    )
    cohort = Cohort(tmp_path, "x", entries)
    leaking = Split({TRAIN: ("a1", "b_m", "c"), TEST: ("a2", "b", "d")}, left_out=("f",))
    assert leaks(leaking, cohort) == (
        "a2 (test) is the same person as a1 (train)",
        "b (test) is a mirrored copy of b_m (train)",
        f"d (test) is not in {tmp_path}",
        "e is in no part",
    )
    with pytest.raises(CohortError) as caught:
        checked(leaking, cohort)
    text = "the split does not fit: a2 (test) is the same person as a1 (train), and 3 more; draw it by person"
    assert str(caught.value) == text
    with pytest.raises(
        CohortError, match=r"^the split does not fit: a2 \(test\) is the same person as a1 \(train\); draw it"
    ):
        checked(Split({TRAIN: ("a1",), TEST: ("a2", "b", "c", "e", "f")}), cohort)
    for parts, cure in (
        ({TRAIN: ("a1", "a2", "c", "e"), TEST: ("b", "f", "d")}, "is not in .*; give the cohort that was split$"),
        ({TRAIN: ("a1", "a2", "c"), TEST: ("b", "f")}, "e is in no part; draw it anew with all cases$"),
    ):
        with pytest.raises(CohortError, match=cure):
            checked(Split(parts), cohort)
    clean = Split({TRAIN: ("a1", "a2", "c", "e"), TEST: ("b", "f")})
    assert checked(clean, cohort) is clean


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (
            lambda cases: split(cases, validation=0.5, test=0.5, seed=1),
            "shares of 0.5 and 0.5 leave nobody to train; give less than 1 together",
        ),
        (
            lambda cases: split(cases, validation=-0.1, seed=1),
            "shares of -0.1 and 0.2 leave nobody to train; give less than 1 together",
        ),
        (lambda cases: split([], seed=1), "there is nobody to split: of 0 cases none can be used; inspect the cohort"),
        (lambda cases: split(cases[:1], test=0.7, seed=1), "nobody is left to train of 1 persons; give smaller shares"),
        (lambda cases: folds(cases, 1, seed=1), "1 folds of 4 persons are not possible; give 2 to 4"),
        (lambda cases: folds(cases, 5, seed=1), "5 folds of 4 persons are not possible; give 2 to 4"),
        (lambda cases: split(cases, seed=1)["tets"], "the split has no part 'tets'; it has train, validation, test"),
        (
            lambda cases: Split({TRAIN: ("a",), TEST: ("a",)}),
            "a is in two parts of the split, train and test; leave it in one",
        ),
        (lambda cases: Split({TRAIN: ("a", "a")}), "a is twice in train; give each case once"),
    ],
)
def test_what_cannot_be_split_is_told(draw: Callable[[list[Entry]], object], text: str) -> None:
    with pytest.raises(CohortError) as caught:
        draw([entry(f"p{number}") for number in range(4)])
    assert str(caught.value) == text


def test_the_cases_of_a_part_come_in_the_cohorts_order(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path, "x", tuple(entry(name) for name in ("c10", "c2", "c1")))
    drawn = Split({TRAIN: ("elsewhere",), TEST: ("c10", "c2")})
    assert [each.id for each in cases_of(drawn, TEST, cohort)] == ["c2", "c10"]


def test_a_part_that_is_not_there_or_leaks_has_no_cases(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path, "x", (entry("a1", person="a"), entry("a2", person="a"), entry("b")))
    with pytest.raises(CohortError) as caught:
        cases_of(Split({TRAIN: ("a1",), TEST: ("b", "c", "d", "e", "f")}), TEST, cohort)
    told = f"4 of 5 cases of the part test are not in {tmp_path} (c, d, e and 1 more); give the cohort that was split"
    assert str(caught.value) == told
    with pytest.raises(CohortError, match=r"^the split leaks: a2 \(test\) is the same person as a1 \(train\)"):
        cases_of(Split({TRAIN: ("a1",), TEST: ("a2",)}), TEST, cohort)
    with pytest.raises(CohortError, match=r"^the split has no part 'valid'; it has train, test$"):
        cases_of(Split({TRAIN: ("a1",), TEST: ("b",)}), "valid", cohort)


def test_copies_under_other_names_are_one_person(tmp_path: Path) -> None:
    """Of 12 cases two have the same bytes, and a third has their size only; and one of the two has a second scan."""
    entries = []
    for at, content in enumerate([b"same", b"same", b"size", *(bytes([at]) for at in range(9))]):
        path = tmp_path / f"{at}.nii"
        path.write_bytes(content)
        entries.append(Entry(f"c{at}", f"p{at}", tmp_path, {"ADC": (path,)}, VolumeReader()))
    entries.append(replace(entries[1], id="again", files={}))
    cohort = Cohort(tmp_path, "x", tuple(entries))
    for seed in range(12):
        part_of = {name: part for part, names in split(cohort, seed=seed).parts.items() for name in names}
        assert part_of["c0"] == part_of["c1"] == part_of["again"]
    apart = Split({TRAIN: ("c0", *(f"c{at}" for at in range(2, 12))), TEST: ("c1", "again")})
    assert leaks(apart, cohort) == (
        "again (test) is a copy, byte for byte, of c0 (train)",
        "c1 (test) is a copy, byte for byte, of c0 (train)",
    )
