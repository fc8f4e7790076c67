"""`python -m loader.cli`: the same command, by the interpreter that is meant."""

from loader.cli import main

if __name__ == "__main__":
    main()
