"""Pictures of a sweep of filters: what stands where across, which values are drawn, and what is told of them."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strokelens.flags import RESEARCH_USE
from strokelens.report.figures import figure_png
from strokelens.report.scatter import COLOURS, TEXT
from strokelens.report.sweeps import Curve, Group, boxes, curves, places, scattered, spoken

PASS = [f"pass:0:{end}" for end in (0.05, 0.1, 0.2, 0.4, 0.6)] + [f"pass:{end}:1" for end in (0.05, 0.1, 0.2, 0.4, 0.6)]
CLAMP = [f"clamp:0:{end}" for end in (0.05, 0.1, 0.2, 0.4, 0.6)]
WORDS = ["raw", *PASS, *CLAMP]
Draw = Callable[[Sequence[Group], str, str, str], Figure]
PICTURES: tuple[Draw, ...] = (scattered, boxes)


def groups(words: Sequence[str] = WORDS) -> list[Group]:
    rng = np.random.default_rng(3)
    return [Group(name, {word: rng.normal(size=30) for word in words}) for name in ("48", "ours")]


def dots(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_marker() == "o"]


def across(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xdata(), float)


def up(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), float)


def told(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def measure(name: str = "IoU", words: Sequence[str] = WORDS, **nulls: float) -> Curve:
    mean = np.linspace(0.2, 0.7, len(words))
    return Curve(name, words, mean, mean - 0.1, mean + 0.05, nulls)


def test_raw_is_first_then_other_filters_then_pass_then_clamp_with_gaps_between() -> None:
    shuffled = sorted([*WORDS, "standard"], key=lambda word: word[::-1])
    at = places(shuffled)
    assert list(at) == ["raw", "standard", *PASS, *CLAMP]
    wide = [first for first, (a, b) in enumerate(pairwise(at.values())) if b - a > 1.5]
    assert wide == [0, 1, 11]
    assert {round(b - a, 6) for a, b in pairwise(at.values())} == {1.0, 1.8}


@pytest.mark.parametrize("word", ["pass", "pass:0", "pass:a:b", "band:0:1", "clamp:0:1:2", ""])
def test_a_word_of_another_form_is_said_as_it_is(word: str) -> None:
    assert spoken(word) == word
    assert list(places(["pass:0:1", word, "raw"])) == ["raw", word, "pass:0:1"]


@pytest.mark.parametrize("draw", PICTURES)
def test_ticks_are_filters_in_words(draw: Draw) -> None:
    axes = draw(groups(["clamp:0:0.2", "raw", "pass:0:0.4"]), "t", "a", "n").axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["raw", "pass 0–0.4", "clamp 0–0.2"]
    assert axes.get_xticks().tolist() == [0, 1.8, 3.6]


def test_each_value_is_a_dot_in_its_groups_lane() -> None:
    made = groups()
    at = places(WORDS)
    drawn = dots(scattered(made, "t", "a", "n").axes[0])
    assert len(drawn) == 2 * len(WORDS)
    for place, group in enumerate(made):
        for word, line in zip(at, drawn[place * len(WORDS) :], strict=False):
            assert np.array_equal(up(line), group.values[word])
            assert same_color(line.get_color(), COLOURS[place])
            beside = across(line) - at[word]
            assert ((beside < 0) if place == 0 else (beside > 0)).all()
            assert np.abs(beside).max() < 0.5
            assert np.unique(beside).size == 30


def test_a_bar_marks_each_median() -> None:
    (group,) = made = [Group("48", {"raw": np.array([1.0, 2.0, 9.0]), "pass:0:1": np.array([4.0, np.nan, 6.0])})]
    bars = [line for line in scattered(made, "t", "a", "n").axes[0].get_lines() if same_color(line.get_color(), TEXT)]
    assert group.name == "48"
    assert [up(line).tolist() for line in bars if across(line)[0] != 0] == [[2, 2], [5, 5]]


def test_boxes_are_quartiles_with_the_median() -> None:
    values = np.arange(1.0, 102.0)
    axes = boxes([Group("48", {"raw": values}), Group("96", {"raw": -values})], "t", "a", "n").axes[0]
    extents = [patch.get_path().get_extents() for patch in axes.patches]
    assert [(each.y0, each.y1) for each in extents] == [(26, 76), (-76, -26)]
    assert extents[0].x1 < 0 < extents[1].x0
    assert sorted({up(line)[0] for line in axes.get_lines() if same_color(line.get_color(), TEXT)}) == [-51, 0, 51]


@pytest.mark.parametrize("draw", PICTURES)
def test_values_that_are_no_numbers_are_left_out_and_not_counted(draw: Draw) -> None:
    some = Group(
        "48", {"raw": np.array([1.0, np.nan, 3.0]), "pass:0:1": np.array([2.0, 3, 4]), "clamp:0:1": np.empty(0)}
    )
    none = Group("96", {"raw": np.full(3, np.nan)})
    figure = draw([some, none], "t", "a", "n")
    assert told(figure) == ["48, n = 2 to 3", "median"]
    assert figure_png(figure)


@pytest.mark.parametrize("draw", PICTURES)
@pytest.mark.parametrize("made", [[], [Group("48", {})], [Group("48", {"raw": np.full(2, np.nan)})]])
def test_nothing_to_draw_is_told(draw: Draw, made: list[Group]) -> None:
    figure = draw(made, "t", "a", "n")
    assert "no values" in {text.get_text() for text in figure.axes[0].texts}
    assert figure_png(figure)


@pytest.mark.parametrize("draw", PICTURES)
def test_zero_is_a_line_and_words_are_around(draw: Draw) -> None:
    figure = draw(groups(), "Filters move the mean", "mean R over max |R|", "40 simulated patients")
    assert any(up(line).tolist() == [0, 0] for line in figure.axes[0].get_lines())
    assert [text.get_text() for text in figure.texts] == [
        "Filters move the mean",
        "40 simulated patients",
        RESEARCH_USE,
    ]
    assert figure.axes[0].get_title(loc="left") == "mean R over max |R|"
    assert told(figure) == ["48, n = 30", "ours, n = 30", "median"]


def test_families_say_what_they_do_only_where_they_are() -> None:
    def said(words: Sequence[str]) -> list[str]:
        return [text.get_text() for text in scattered(groups(words), "t", "a", "n").axes[0].texts]

    assert said(["raw", "clamp:0:0.2"])[-1] == "clamp: larger relevance is cut to this size"
    assert not any(text.startswith("pass") for text in said(["raw", "clamp:0:0.2"]))


def test_curves_have_a_panel_a_measure_and_intervals_where_they_are() -> None:
    figure = curves([measure("IoU"), measure("precision", WORDS[:3])], "t", "n")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["IoU", "precision"]
    at = places(WORDS)
    for axes, count in zip(figure.axes, (len(WORDS), 3), strict=True):
        segments = np.concatenate([np.asarray(each.get_segments()) for each in axes.collections])  # type: ignore[attr-defined]
        mean = np.linspace(0.2, 0.7, count)
        assert segments[:, 0, 0].tolist() == [at[word] for word in WORDS[:count]]
        assert segments[:, :, 1] == pytest.approx(np.stack([mean - 0.1, mean + 0.05], axis=1))
        assert np.concatenate([up(line) for line in dots(axes)]).tolist() == pytest.approx(mean.tolist())


def test_curves_are_joined_within_a_family_only() -> None:
    lines = dots(curves([measure()], "t", "n").axes[0])
    assert [across(line).size for line in lines] == [1, 10, 5]


def test_filters_may_come_in_any_order() -> None:
    made = measure(words=["pass:0:0.4", "raw", "pass:0:0.1"])
    lines = dots(curves([made], "t", "n").axes[0])
    assert [up(line).tolist() for line in lines] == [[pytest.approx(0.45)], pytest.approx([0.7, 0.2])]


def test_nulls_are_lines_across_with_the_same_look_in_all_panels() -> None:
    made = [measure("IoU", random=0.1, constant=0.3), measure("precision", constant=0.6)]
    figure = curves(made, "t", "n")
    assert told(figure) == ["mean and 95 % interval", "random", "constant"]

    def looks(axes: Axes) -> dict[float, str]:
        flat = [line for line in axes.get_lines() if np.ptp(up(line)) == 0 and line.get_linestyle() != "-"]
        return {float(up(line)[0]): f"{line.get_color()} {line.get_linestyle()}" for line in flat}

    first, second = (looks(axes) for axes in figure.axes)
    assert (set(first), set(second)) == ({0.1, 0.3}, {0.6})
    assert first[0.3] == second[0.6] != first[0.1]


def test_a_mean_that_is_no_number_is_left_out() -> None:
    nothing = np.array([0.5, np.nan])
    figure = curves([Curve("IoU", ["raw", "pass:0:1"], nothing, nothing, nothing, {})], "t", "n")
    assert figure_png(figure)


def test_no_measure_is_told() -> None:
    figure = curves([], "t", "n")
    assert "no values" in {text.get_text() for text in figure.axes[0].texts}


def test_pictures_of_sweeps_are_the_same_bytes_each_time() -> None:
    for draw in PICTURES:
        assert figure_png(draw(groups(), "t", "a", "n")) == figure_png(draw(groups(), "t", "a", "n"))


def test_what_families_do_does_not_overlap_nor_leave_the_page_beside_few_filters() -> None:
    figure = scattered(groups(["raw", "pass:0:0.4", "clamp:0:0.2"]), "t", "a", "n")
    figure.canvas.draw()
    first, second = (
        text.get_window_extent() for text in figure.axes[0].texts if text.get_text()[:4] in ("pass", "clam")
    )
    assert not first.overlaps(second)
    assert max(first.x1, second.x1) <= figure.bbox.x1
