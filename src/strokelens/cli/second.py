"""The second ancestor's words: what its publications are, its default config, and the log of its sequences."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final

ABOUT_1: Final = """Publication 1: Tjoa et al. 2019, arXiv 1911.08136: layer-wise relevance propagation, ISLES 2017.

  main.py --mode results_publication_1 --submode example_process_get_main_figure
      figures 1 and 4A-D: trains on 48x48x19, scores every epoch, sweeps filters, draws the six panels
  main.py --mode results_publication_1 --submode example_process_get_filters_comparison_figure
      figure 4E: the same for two models on 48x48x19 and one on 96x96x19, sweeps beside each other

Its Dice of 0.3 to 0.6 was of the cases that it was trained on; ours tells who was trained on, and
`strokelens crossvalidate` predicts each patient by a network that did not see it. Relevance is
`strokelens explain` by its own rules, as it was filtered."""

ABOUT_2: Final = """Publication 2: random textures with lesions mixed into the training ("diffgen"), never published.

  main.py --mode results_publication_2
      trains on 48x48x19 with textures of fraction 1 and 1.2, and reports Dice by epoch, Dice by size,
      and robustness against textures, blur, noise and zeroing"""


def config_text() -> str:
    """The second ancestor's default config, with no path of anybody's machine."""
    from strokelens.settings.second import CHANNELS

    defaults: dict[str, Any] = {
        "working_dir": ".",
        "relative_checkpoint_dir": "checkpoints",
        "data_directory": {"dir_ISLES2017": "data"},
        "data_submode": "load_many_cases_type0003",
        "data_modalities": [*CHANNELS, "OT"],
        "model_label_name": "UNet3D_AYXXX2",
        "training_mode": "UNet3D",
        "evaluation_mode": "UNet3D_overfit",
        "visual_mode": "plot_loss_0001",
        "lrp_mode": "lrp_UNet3D_overfit",
        "debug_test_mode": "test_load_many_ISLES2017",
        "basic": {"batch_size": 1, "n_epoch": 2, "save_model_every_N_epoch": 1, "keep_at_most_n_latest_models": 4},
        "dataloader": {"resize": [48, 48, 19]},
        "learning": {
            "mechanism": "adam", "learning_rate": 0.0002, "betas": [0.5, 0.9], "momentum": 0.9, "weight_decay": 1e-5,
        },
        "normalization": {
            f"{name}_{kind}_min_max": [None, None] if kind == "source" else [0, 1]
            for name in CHANNELS
            for kind in ("source", "target")
        },
        "augmentation": {"type": "no_augmentation", "number_of_data_augmented_per_case": 10},
        "LRP": {
            "relprop_config": {
                "mode": "UNet3D_standard",
                "normalization": "raw",
                "UNet3D": {"concat_factors": [0.5, 0.5, 0.5]},
                "fraction_pass_filter": {"positive": [0, 0.6], "negative": [-0.6, 0]},
                "fraction_clamp_filter": {"positive": [0, 0.6], "negative": [-0.6, 0]},
            },
            "filter_sweeper": {"submode": "0001", "case_numbers": [4, 27]},
        },
        "misc": {"case_number": 1},
    }  # fmt: skip
    return json.dumps(defaults, indent=2) + "\n"


def described(text: str) -> Iterator[str]:
    """Each key of a config with its value and type, a line each."""
    yield from _lines(json.loads(text), "")


def _lines(part: Any, place: str) -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{place}{key}.")
        else:
            yield f"{place}{key} : {value} [{type(value).__name__}]"


@dataclass(frozen=True)
class Tee:
    """A log of what was run and how long it took, beside what is on the screen."""

    path: Path
    started: float

    @classmethod
    def of(cls, folder: Path, name: str) -> "Tee":
        """A new log in the folder of all models."""
        from strokelens.cohorts.folder import make_folder

        make_folder(folder)
        when = f"{datetime.now().astimezone():%Y_%m_%d_%H_%M_%S}"
        return cls(folder / f"logfile_{name}_{when}.txt", perf_counter())

    def write(self, line: str) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def end(self) -> str:
        """The last line: how long all took."""
        seconds = perf_counter() - self.started
        line = f"{seconds:.1f} s, {seconds / 60:.2f} min, {seconds / 3600:.3f} h"
        self.write(line)
        return line
