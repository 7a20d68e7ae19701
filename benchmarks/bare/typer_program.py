"""A typer program with nothing in it: what any command line on typer pays for ``--help``."""

import typer

app = typer.Typer(help="A program.")


@app.command()
def first(name: str, count: int = 1) -> None:
    """Do one thing."""


@app.command()
def second(name: str) -> None:
    """Do another thing."""


if __name__ == "__main__":
    app()
