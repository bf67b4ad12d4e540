"""What computes a training: the processor, or some GPUs, on one or several nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from strokelens.errors import SettingsError
from strokelens.networks.devices import is_number
from strokelens.settings.schema import Settings


@dataclass(frozen=True)
class Machine:
    """What computes: the CPU in so many processes, or GPUs by their ids; on so many nodes.

    `auto` is the first GPU, else the CPU in one process: more devices train something else, as a step then sees more
    slices, and are to be asked for.

    >>> Machine.told("0,2"), Machine.told("cpu")
    (Machine(kind='gpu', devices=(0, 2), nodes=1), Machine(kind='cpu', devices=1, nodes=1))
    """

    kind: Literal["auto", "cpu", "gpu"] = "auto"
    devices: tuple[int, ...] | int = 1
    nodes: int = 1

    @classmethod
    def told(cls, text: str, *, nodes: int = 1) -> "Machine":
        """From `auto`, `cpu`, `cpu:2` for two processes, or ids of GPUs as `0,1`; `SettingsError` for anything else."""
        name, colon, count = text.strip().lower().partition(":")
        if name == "auto" and not colon:
            return cls(nodes=nodes)
        if name == "cpu" and (not colon or (is_number(count) and int(count) > 0)):
            return cls("cpu", int(count or 1), nodes)
        ids = [part.strip() for part in text.split(",")]
        if not all(is_number(part) for part in ids) or len({int(part) for part in ids}) != len(ids):
            raise SettingsError(f"no device {text!r}; give auto, cpu, cpu:2, or ids of GPUs such as 0 or 0,1")
        there = torch.cuda.device_count()
        lacking = next((part for part in ids if int(part) >= there), None) if there else None
        if lacking is not None:
            raise SettingsError(f"there is no GPU {lacking}; this machine has 0 to {there - 1}")
        return cls("gpu", tuple(map(int, ids)), nodes)

    @property
    def chosen(self) -> "Machine":
        """The same, where `auto` has become what there is."""
        if self.kind != "auto":
            return self
        return Machine("gpu", (0,), self.nodes) if torch.cuda.is_available() else Machine("cpu", 1, self.nodes)

    @property
    def facts(self) -> Mapping[str, str | int]:
        """What decides over the last digits of a training, or, as the number of processes, over all of them."""
        machine = self.chosen
        devices = machine.devices
        gpu = torch.cuda.get_device_name(devices[0]) if isinstance(devices, tuple) and torch.cuda.is_available() else ""
        return {
            "device": gpu or machine.kind,
            "processes": machine.nodes * (len(devices) if isinstance(devices, tuple) else int(devices)),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def check(self, settings: Settings) -> None:
        """Raise `SettingsError` when this cannot be computed here."""
        has_gpu = torch.cuda.is_available()
        if self.kind == "gpu" and not has_gpu:
            raise SettingsError("no GPU is there that torch can use; give cpu, or auto for what there is")
        if settings.training.precision == "float16" and (self.kind == "cpu" or not has_gpu):
            raise SettingsError("training.precision float16 needs a GPU; take bfloat16 or float32 on a CPU")
