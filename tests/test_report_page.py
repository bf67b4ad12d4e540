"""report.html: one file, offline, escaped, and plain about what matters."""

import base64
import re
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from math import nan
from pathlib import Path

import numpy as np
import pytest

from strokelens.case import Segmentation
from strokelens.finding import Finding
from strokelens.flags import Flag
from strokelens.labels import CORE_PENUMBRA
from strokelens.perfusion.mismatch import Mismatch
from strokelens.report.page import page, write_page
from tests.report_examples import CREATED, ct_finding, head_grid, mr_finding

CT_GRID = head_grid((40, 44, 3), (4.0, 4.2, 30.0))
MR_GRID = head_grid((40, 44, 4), (4.0, 4.2, 12.0), "LAS")
GRAVE = Flag("truncated", "The series ends before the venous peak.", grave=True)
REMARK = Flag("noisy", "The arterial curve is noisy.")


class Reader(HTMLParser):
    """Every attribute of every element, and the text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.script = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids |= {value or "" for name, value in attrs if name == "id"}

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.script += data
        elif self._inside != "style":
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(finding: Finding) -> Reader:
    return Reader(page(finding, created=CREATED))


@pytest.fixture(scope="module")
def ct() -> Finding:
    return ct_finding(CT_GRID)


@pytest.fixture(scope="module")
def ct_page(ct: Finding) -> str:
    return page(ct, created=CREATED)


def test_everything_the_page_loads_is_inside_of_it(ct_page: str) -> None:
    loaded = [value for _, name, value in Reader(ct_page).attributes if name in ("src", "href", "data", "srcset")]
    assert [value[:30] for value in loaded if not value.startswith(("data:image/", "#"))] == []


def test_no_address_of_the_network_is_in_the_page(ct_page: str) -> None:
    without_images = re.sub(r"data:image/[^\"]*", "", ct_page)
    assert re.findall(r"https?:|//[a-z]|url\(|@import", without_images) == []


def test_every_link_has_its_target(ct_page: str) -> None:
    reader = Reader(ct_page)
    assert {value[1:] for _, name, value in reader.attributes if name == "href"} <= reader.ids


def test_the_script_is_the_one_its_policy_allows(ct_page: str) -> None:
    reader = Reader(ct_page)
    digest = base64.b64encode(sha256(reader.script.encode()).digest()).decode()
    policy = next(value for tag, name, value in reader.attributes if tag == "meta" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"])
def test_a_hostile_name_is_shown_and_not_obeyed(text: str) -> None:
    flag = Flag("odd", f"odd: {text}")
    finding = replace(ct_finding(CT_GRID, case_id=text), flags=(flag,), settings={"label": text})
    reader = read(finding)
    assert [value for _, name, value in reader.attributes if name.startswith("on")] == []
    assert sum(tag == "meta" and name == "charset" for tag, name, _ in reader.attributes) == 1
    assert text in "".join(reader.words)
    assert "alert" not in reader.script


def test_the_research_use_line_is_first(ct_page: str) -> None:
    body = ct_page.split("<body>")[1]
    assert Reader(body).text.startswith("Research use only; not a medical device.")


def test_the_numbers_are_on_the_page(ct: Finding) -> None:
    finding = replace(ct, mismatch=Mismatch(20.0, 84.0, 21.0), volumes_ml={"core": 20.0, "penumbra": 64.0})
    text = read(finding).text
    assert "Core 20.0 ml" in text
    assert "Penumbra 64.0 ml" in text
    assert "Mismatch volume 64.0 ml" in text
    assert "Mismatch ratio 4.2" in text
    assert "HIR 0.25" in text


def test_without_core_the_ratio_is_not_available(ct: Finding) -> None:
    assert "Mismatch ratio n/a no core to divide by" in read(replace(ct, mismatch=Mismatch(0.0, 84.0))).text


def test_without_tmax_the_intensity_is_not_available(ct: Finding) -> None:
    assert "HIR n/a hypoperfusion intensity; no Tmax map" in read(replace(ct, mismatch=Mismatch(9.0, 84.0, nan))).text


def test_the_side_is_the_one_of_the_settings() -> None:
    assert "Hemisphere Right" in read(mr_finding(MR_GRID)).text


def test_nothing_found_is_said_plainly() -> None:
    assert "No core or lesion found above thresholds." in read(ct_finding(CT_GRID, stroke=False)).text


def test_nothing_found_by_a_network_is_not_called_above_thresholds() -> None:
    nothing = ct_finding(CT_GRID, stroke=False)
    text = read(replace(nothing, method=replace(nothing.method, name="network:tiny"))).text
    assert "No core or lesion found by the network." in text
    assert "above thresholds" not in text


def test_a_labelled_voxel_is_never_called_nothing(ct: Finding) -> None:
    finding = replace(ct, volumes_ml={"core": nan, "penumbra": nan})
    assert "No core or lesion found" not in read(finding).text


def test_a_grave_flag_stands_above_the_numbers(ct: Finding) -> None:
    text = read(replace(ct, flags=(REMARK, GRAVE))).text
    assert text.index("Do not rely on this result") < text.index(GRAVE.message) < text.index("Core ")


def test_without_a_grave_flag_nobody_is_warned(ct_page: str) -> None:
    assert "Do not rely" not in ct_page


def test_text_stands_out_from_what_is_behind_it(ct_page: str) -> None:
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", ct_page.partition("@media")[0]))
    pairs = [(text, back) for text in ("text", "muted", "remark", "link") for back in ("page", "panel")]
    ratios = {pair: contrast(*(colours[name] for name in pair)) for pair in pairs}
    ratios["white", "grave"] = contrast("#ffffff", colours["grave"])
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2; AA asks for 4.5."""
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_remark_stands_before_the_pictures(ct: Finding) -> None:
    text = read(replace(ct, flags=(REMARK,))).text
    assert text.index(REMARK.message) < text.index("Slices")


def test_criteria_that_cannot_be_known_are_not_denied(ct: Finding) -> None:
    assert re.search(r"DAWN .*? not known", read(ct).text)


def test_criteria_are_not_judged_on_a_result_that_must_not_be_trusted(ct: Finding) -> None:
    text = read(replace(ct, flags=(GRAVE,))).text
    assert "not judged: see the warning" in text
    assert "meet it" not in text


def test_a_diffusion_page_speaks_of_no_perfusion() -> None:
    text = read(mr_finding(MR_GRID)).text
    assert [word for word in ("Mismatch", "HIR", "Arterial", "DEFUSE", "Tmax") if word in text] == []


def test_a_backdrop_of_nan_and_one_slice_give_a_page() -> None:
    grid = head_grid((30, 30, 1), (5.0, 6.0, 8.0))
    finding = ct_finding(grid)
    finding = replace(finding, backdrop=np.full(grid.shape, np.nan, np.float32), maps={}, vessels=None)
    assert read(finding).text.count("slice 1 of 1 from below") == 1


def test_same_finding_and_time_give_the_same_bytes(ct_page: str) -> None:
    assert page(ct_finding(CT_GRID), created=CREATED) == ct_page


def test_a_page_of_16_slices_of_512_is_small(tmp_path: Path) -> None:
    small = ct_finding(head_grid((128, 128, 16), (1.8, 1.8, 6.0)))
    finding = _enlarged(small, 4)
    write_page(finding, tmp_path / "report.html", created=CREATED)
    assert (tmp_path / "report.html").stat().st_size < 4e6


def _enlarged(finding: Finding, times: int) -> Finding:
    """Each voxel as many, with noise of its own."""
    rng = np.random.default_rng(0)

    def large(array: np.ndarray) -> np.ndarray:
        return array.repeat(times, axis=0).repeat(times, axis=1)

    old = finding.segmentation.grid
    grid = head_grid((old.shape[0] * times, old.shape[1] * times, old.shape[2]), (0.45, 0.45, 6.0))
    noise = rng.standard_normal(grid.shape).astype(np.float32)
    return replace(
        finding,
        segmentation=Segmentation(large(finding.segmentation.labels), grid, CORE_PENUMBRA),
        maps={name: large(volume) * (1 + 0.1 * noise) for name, volume in finding.maps.items()},
        backdrop=large(finding.backdrop) + 3 * noise,
        brain=large(finding.brain),
        vessels=None,
    )
