"""What a file or standard input says of a source."""

import sys
from pathlib import Path

from .keys import WrongUsage


def source_text(file: Path | None, please: str) -> str:
    """Returns the text of a file, or of standard input for - or none; a person is told what to type."""
    source = None if file is None or str(file) == "-" else file
    if source is None and sys.stdin.isatty():
        print(f"{please}, and end with Ctrl-D", file=sys.stderr)
    try:
        return sys.stdin.read() if source is None else source.read_text("utf-8-sig")
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongUsage(f"{source or 'standard input'} is not UTF-8") from None
