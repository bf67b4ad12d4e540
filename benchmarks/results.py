"""Where benchmark figures go, with the machine that gave them."""

import json
import os
import platform
from pathlib import Path

import numpy as np
import scipy

FOLDER = Path(__file__).parent / "results"


def environment() -> str:
    """The machine and the libraries, in one line."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].split(":")[1].strip() if models else platform.processor()
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    return f"{processor}, {os.cpu_count()} cores, {versions}"


def write_results(name: str, figures: dict[str, object]) -> None:
    """Write benchmarks/results/NAME.json."""
    FOLDER.mkdir(exist_ok=True)
    record = {"machine": environment(), **figures}
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
