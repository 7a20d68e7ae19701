"""``python -m vitreous``: the same as the command ``vitreous``."""

from vitreous.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
