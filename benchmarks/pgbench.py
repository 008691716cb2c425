"""PostgreSQL alone: pgbench runs the very statements that our server sent for a request.

They are read from PostgreSQL's log, and so stay the same when the server changes.
"""

import re
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

from psycopg import sql

from . import postgresql
from .machine import cpu_seconds
from .postgresql import Postgres
from .rounds import Sample
from .server import CONNECTIONS, Server, answer

# As log_line_prefix has it: the database, the transaction, the kind of entry and its text.
ENTRY = re.compile(r"^@@(\w*)@([\d/]*)@(\w+):  (.*?)(?=^@@|\Z)", re.MULTILINE | re.DOTALL)
STATEMENT = re.compile(r"(?:statement|execute [^:]*): (.*)", re.DOTALL)
PLACE = re.compile(r"\$(\d+)")
PARAMETER = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")
# What the server does by itself now and then, and may do just when the request is answered.
BACKGROUND = re.compile(r"DEALLOCATE|SELECT holdings.dataset_id FROM holdings WHERE holdings.next_look <=")


def script(postgres: Postgres, server: Server, warm: bytes, request: bytes, varied: dict[str, str]) -> str:
    """Sends a request and returns the statements that came of it as a script of pgbench.

    `warm` is sent before it, unseen. `varied` names values by their text and gives the SQL that stands for
    each; in it `:n` counts the transactions.
    """
    answer(server, warm)
    with _logged(postgres):
        start = postgres.log.stat().st_size
        answered = answer(server, request)
        time.sleep(0.3)
        with postgres.log.open("rb") as log:
            log.seek(start)
            said = log.read().decode()
    if answered.status >= 300:
        raise RuntimeError(f"the server answers {answered.status}: {answered.body[:500]!r}")
    lines = ["\\set n :n + 1"]
    for _, transaction in groupby(_statements(said, server.database, varied), key=lambda found: found[0]):
        statements = [f"{text};" for _, text in transaction]
        if len(statements) > 1 and statements[0] != "BEGIN;":
            # A transaction without BEGIN is what was sent together, as pgbench then must.
            statements = ["\\startpipeline", *statements, "\\endpipeline"]
        lines += statements
    if len(lines) == 1:
        raise RuntimeError(f"no statement is in the log:\n{said}")
    return "\n".join([*lines, ""])


def run(postgres: Postgres, server: Server, text: str, seconds: float, first: int = 0) -> Sample:
    """Runs a script with as many connections as our clients have; `first` is where its `:n` begins."""
    path = postgres.log.parent / "script.sql"
    path.write_text(text)
    path.chmod(0o644)
    command = [str(postgres.programs / "pgbench"), "-n", "-M", "prepared", f"-c{CONNECTIONS}", "-j2"]
    command += [f"-T{max(1, round(seconds))}", "-D", f"n={first}", "-f", str(path)]
    command += ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "bench", server.database]
    before, before_own = cpu_seconds(postgres.pid), _own()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Its backends end with it, and are counted once they are gone.
    time.sleep(0.2)
    used, own = cpu_seconds(postgres.pid) - before, _own() - before_own
    found = re.search(r"actually processed: (\d+)", done.stdout)
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not found or not rate or "ERROR" in done.stderr:
        raise RuntimeError(f"pgbench fails:\n{done.stdout}{done.stderr[-2000:]}\n{text}")
    return Sample(int(found[1]), int(found[1]) / float(rate[1]), own, used)


@contextmanager
def _logged(postgres: Postgres) -> Iterator[None]:
    _log(postgres, "all")
    try:
        yield
    finally:
        _log(postgres, "none")


def _log(postgres: Postgres, what: str) -> None:
    change = sql.SQL("ALTER SYSTEM SET log_statement = {}").format(sql.Literal(what))
    postgresql.execute(postgres.url("postgres"), change, "SELECT pg_reload_conf()")
    time.sleep(0.3)


def _statements(log: str, database: str, varied: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yields each statement with its transaction."""
    entries = [(by, kind, text.strip()) for of, by, kind, text in ENTRY.findall(log) if of == database]
    for place, (transaction, kind, text) in enumerate(entries):
        if kind != "LOG" or not (found := STATEMENT.match(text)):
            continue
        statement = " ".join(found[1].split())
        if BACKGROUND.match(statement):
            continue
        detail = entries[place + 1][2] if entries[place + 1 : place + 2] else ""
        parameters = dict(PARAMETER.findall(detail)) if detail.startswith("parameters") else {}
        yield transaction, _filled(statement, parameters, varied)


def _filled(text: str, parameters: dict[str, str], varied: dict[str, str]) -> str:
    return PLACE.sub(lambda match: _literal(parameters[match[1]], varied), text)


def _literal(quoted: str, varied: dict[str, str]) -> str:
    """Returns a parameter as it stands in the script: its value, or what varies in its place."""
    if quoted == "NULL":
        return quoted
    value = quoted[1:-1]
    for text, expression in varied.items():
        if value == text:
            return f"({expression})"
        if value == f'{{"{text}"}}':
            return f"ARRAY[{expression}]"
    # pgbench takes a colon for the beginning of a variable.
    return "E'" + value.replace("\\", "\\\\").replace(":", "\\x3a") + "'"


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
