"""The reference of the commands in Markdown, made of what their help says.

python -m observatory.cli.reference > docs/reference/cli.md
"""

import sys
from collections.abc import Iterator

import typer
from typer.core import TyperGroup
from typer.main import get_command

from .app import app

HEAD = """<!-- Made by `python -m observatory.cli.reference > docs/reference/cli.md`: change the commands. -->

# The command line

The book is asked at `OBSERVATORY_URL`, with the key `OBSERVATORY_API_KEY`, unless options before the command
say otherwise, as in `observatory --url http://127.0.0.1:5002 datasets list`. Without them it is the server of
`observatory login`, and the key that is kept for it. Records are written as a table
on a terminal, as lines with tabs into a pipe or a file, and as the API's JSON with `--output json`.
"""
# Typer's own, which differ with the shell.
LEFT_OUT = ("install_completion", "show_completion", "help")


def reference() -> str:
    """Returns the whole reference."""
    context = typer.Context(get_command(app), info_name="observatory")
    return "\n".join([HEAD, *_sections(context)])


def _sections(context: typer.Context) -> Iterator[str]:
    """Yields the section of a command, and those of the commands below it."""
    command = context.command
    yield f"## {context.command_path}\n\n{_paragraphs(command.help or '')}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```\n{usage}\n```\n"
    shown = [one for one in command.get_params(context) if one.name not in LEFT_OUT]
    records = [record for one in shown if (record := one.get_help_record(context))]
    if records:
        yield "".join(f"- `{_words(names)}`: {_words(said)}\n" for names, said in records)
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            if below := command.get_command(context, name):
                yield from _sections(typer.Context(below, info_name=name, parent=context))


def _paragraphs(text: str) -> str:
    return "\n\n".join(map(_words, text.split("\n\n")))


def _words(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.stdout.write(reference())
