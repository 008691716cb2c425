"""What is wrong with a catalogue file, and where."""

from typing import NamedTuple

import typer

Path = tuple[str | int, ...]
SHOWN = 20


class Mistake(NamedTuple):
    """A line of the file, if it is known, and what is wrong there."""

    line: int | None
    why: str


class WrongFile(typer.TyperException):
    """A file that cannot be applied; its message has a line for each mistake."""

    exit_code = 2

    def __init__(self, mistakes: list[Mistake], file: str = "") -> None:
        self.mistakes = sorted(mistakes, key=lambda one: one.line or 0)
        told = [f"{file}{f':{line}' if line else ''}: {why}" for line, why in self.mistakes[:SHOWN]]
        if len(mistakes) > SHOWN:
            told.append("and more: mend these first")
        super().__init__("\n".join(told))


def place(path: Path) -> str:
    """Returns a path as it is read: datasets[0].address."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
