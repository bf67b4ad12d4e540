"""The ancestors' entry point: `main.py GPU SNAME …` and `main.py --mode MODE …`. New work: `strokelens VERB …`."""

import sys

from strokelens.cli.ancestors import main

if __name__ == "__main__":
    sys.exit(main())
