"""`python -m strokelens` and the console script."""

from strokelens.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
