"""`python -m aquatint` is `aquatint`."""

from aquatint.cli import main

if __name__ == "__main__":
    main()
