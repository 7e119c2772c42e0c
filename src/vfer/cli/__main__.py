"""Let `python -m vfer.cli` do what `vfer` does."""

from vfer.cli.app import main

if __name__ == "__main__":
    main()
