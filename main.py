"""The ancestors' entry point: `main.py GPU SNAME …` and `main.py --mode MODE …`. New work: `strokelens VERB …`."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from strokelens import __version__
from strokelens.errors import hint

VERBS = "segment, maps, phantom, inspect"
MODES = (  # noqa: SIM905  # a list would be a page of its own
    "info more_info_on_publication_1 more_info_on_publication_2 create_config_file test train evaluation lrp visual "
    "shortcut_sequence results_publication_1 results_publication_2"
).split()


def arguments() -> ArgumentParser:
    """What both ancestors accepted."""
    parser = ArgumentParser(
        "main.py",
        description=f"strokelens {__version__}. Research use only; not a medical device.\n\n{__doc__}",
        epilog=f"This version has the verbs {VERBS}; see `strokelens --help`. Training comes with a later one.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("gpu", nargs="?", metavar="GPU", help="ids of the GPUs to use, separated by commas, or cpu")
    parser.add_argument("sname", nargs="?", metavar="SNAME", help="a setting: its path, Setting/NAME.json, or its name")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-d", "--debug", action="store_true", help="few patients only")
    parser.add_argument("-o", "--original", action="store_true", help="original shape of the dataset")
    parser.add_argument("-pm", "--pm", action="store_true", help="use parametric maps")
    parser.add_argument("-t", "--tile", type=int, help="pixels of a tile's side")
    parser.add_argument("-dim", "--dimension", type=int, help="pixels of an image's side")
    parser.add_argument("-c", "--classes", type=int, choices=(2, 3, 4))
    parser.add_argument("-w", "--weights", type=float, nargs="+", help="weights of the classes")
    parser.add_argument("-e", "--exp", type=float, help="number of the experiment")
    parser.add_argument("-j", "--jump", action="store_true", help="go to gradual fine-tuning at once")
    parser.add_argument("--mode", help=", ".join(MODES))
    for name in ("config_dir", "submode", "subsubmode", "case_number", "shortcut_mode"):
        parser.add_argument(f"--{name}")
    return parser


def main() -> None:
    """No arguments, or mode `info`: the usage. What this version cannot do yet is one clear line and exit code 2."""
    parser = arguments()
    given = parser.parse_args()
    if len(sys.argv) == 1 or given.mode == "info":
        parser.print_help()
    elif given.mode is None:
        parser.error(
            f"training is not in strokelens {__version__}, which has {VERBS}; a later version trains {given.sname}"
        )
    elif given.mode not in MODES:
        parser.error(f"no mode {given.mode!r}; {hint(given.mode, MODES)}")
    else:
        parser.error(f"mode {given.mode} is not in strokelens {__version__}, which has the verbs {VERBS}")


if __name__ == "__main__":
    main()
