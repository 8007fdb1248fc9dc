"""`python -m paring` is `paring`."""

from paring.cli import main

if __name__ == "__main__":
    main()
