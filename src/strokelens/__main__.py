"""`python -m strokelens` and the console script."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it with 130, even while it is still being imported."""
    try:
        from strokelens.cli import app  # noqa: PLC0415

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
