"""The main job on real data, from nothing: what `make demo` runs.

A book is served, told which datasets there are, and kept by an Airflow DAG that loads the newest snapshots of
the Minor Planet Center's observatory codes into DuckDB. All is kept in .work/demo: another run goes on there.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from observatory import Dataset, DatasetRelease, ObservatoryApi

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".work" / "demo"
LOG = WORK / "demo.log"
DATA = WORK / "data"
CREDENTIALS = WORK / "credentials.json"
OBSERVATORY = str(Path(sys.executable).with_name("observatory"))
NEWEST = 12


def main() -> None:
    """Tells the story; whatever else is said goes to the log."""
    WORK.mkdir(parents=True, exist_ok=True)
    # The keys of the demo's book are kept here, and not among those of the user.
    os.environ["OBSERVATORY_CREDENTIALS"] = str(CREDENTIALS)
    for name in ("OBSERVATORY_API_KEY", "OBSERVATORY_KEY_RING", "OBSERVATORY_KEY_RING_FILE"):
        os.environ.pop(name, None)
    console = say_the_rest_to_the_log()

    def stop(number: int, frame: FrameType | None) -> None:
        # Said at once, because Airflow takes a few seconds to let go.
        console.print("\n[yellow]Stopping…[/]")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        with server() as url, ObservatoryApi(url) as api:
            tell(console, url, api)
    except KeyboardInterrupt:
        console.print("[yellow]Stopped.[/] Nothing is broken: run it again, and it goes on from here.")
        sys.exit(130)
    except Exception as error:
        logging.exception("the demo failed")
        console.print(f"\n[red]Failed:[/] {escape(str(error))}\nThe whole story is in {shown(LOG)}")
        sys.exit(1)


def tell(console: Console, url: str, api: ObservatoryApi) -> None:
    """Runs the DAG when there is something to do, nothing to do, and one release to repeat."""
    console.rule("[bold]Observatory: the book that knows which data is there[/]")
    console.print(f"The book is served at {url}.")
    command = [OBSERVATORY, "apply", str(ROOT / "examples" / "catalogue.yaml"), "--yes"]
    subprocess.run(command, check=True, env=os.environ | {"OBSERVATORY_URL": url})
    (dataset,) = api.get_datasets(name="observatory codes")
    console.print(f"It was told the datasets of [cyan]examples/catalogue.yaml[/], such as “{dataset.name}”.")
    for left in api.get_claims(dataset_id=dataset.id, live=True):
        # By a demo that was killed: no other one runs here.
        api.give_back_claim(left)
    console.print("Airflow gets ready, which takes some seconds.")
    dag = airflow_dag(url)
    failures = failures_of(dag)

    console.print(
        f"\n[bold]1. What is missing?[/] The newest {NEWEST} snapshots are to be there, checksums checked."
        "\nThe run tells the book all that the source offers, and has a task for each release to load."
    )
    run(console, dag, failures)
    console.print("\n[bold]2. The same run again.[/] Nothing is missing now, so nothing is downloaded.")
    run(console, dag, failures)

    releases = api.get_dataset_releases(dataset_id=dataset.id)
    bad = releases[-len(releases[-NEWEST:]) // 2]
    reason = "the demo says that its numbers were found to be wrong"
    console.print(f"\n[bold]3. The snapshot of {bad.start_date:%d %B %Y} is withdrawn:[/] {reason}.")
    api.put_dataset_release(DatasetRelease(id=bad.id, state="withdrawn", reason=reason))
    console.print("It is missing again, and the book tells why:")
    ask(console, url, "missing", dataset, "--why", "--runs", "--reason", "withdrawn")
    console.print("The next run loads just that one.")
    run(console, dag, failures)
    conclude(console, url, api, dataset)


def failures_of(dag: Any) -> list[BaseException]:
    """Returns a list to which is added what tasks of the DAG fail with."""
    failures: list[BaseException] = []
    for task in dag.tasks:
        # Nobody wants to watch a task wait for its next attempt.
        task.retries = 0
        task.on_failure_callback = [
            *task.on_failure_callback,
            lambda context: failures.append(context["exception"]),
        ]
    return failures


def run(console: Console, dag: Any, failures: list[BaseException]) -> None:
    """Runs the DAG once and shows what it does; raises what a task of it failed with."""
    columns = [
        TextColumn("   {task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    # Redirecting is rich's way to show other output above the bars: here that belongs in the log.
    progress = Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False)
    shown = Shown(console, progress)
    logger = logging.getLogger("observatory.airflow.telescopes")
    logger.setLevel(logging.INFO)
    logger.addHandler(shown)
    try:
        dag.test()
    finally:
        logger.removeHandler(shown)
        if shown.bars:
            shown.progress.stop()
    if failures:
        raise failures[0]
    if not shown.bars:
        console.print("   Nothing to do.")


class Shown(logging.Handler):
    """Shows what a telescope logs: a bar where it counts, a line otherwise."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__()
        self.console = console
        self.progress = progress
        self.bars: dict[str, TaskID] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one record."""
        said = record.__dict__
        if "what" not in said:
            self.console.print(f"   {record.getMessage()}.")
            return
        self.progress.start()
        if said["what"] not in self.bars:
            self.bars[said["what"]] = self.progress.add_task(said["what"], total=said["total"])
        # Tasks for each release end in any order.
        self.progress.advance(self.bars[said["what"]])


def ask(console: Console, url: str, command: str, dataset: Dataset, *options: str) -> None:
    """Shows a command of `observatory` about the dataset, and what it answers."""
    name = f"{dataset.workflow.organisation.name}/{dataset.workflow.name}/{dataset.name}"
    console.print(f'   [cyan]$ observatory {command} "{name}" {" ".join(options)}[/]', soft_wrap=True)
    console.file.flush()
    environment = os.environ | {"OBSERVATORY_URL": url}
    # It ends with 3 where something is missing, as it should here.
    asked = [OBSERVATORY, command, name, *options]
    subprocess.run(asked, check=False, env=environment, stdout=console.file, stderr=console.file)


def conclude(console: Console, url: str, api: ObservatoryApi, dataset: Dataset) -> None:
    """Shows what is in the book and in DuckDB, what is missing still, and how to see more of it."""
    from observatory.storage import open_storage

    storage = open_storage(dataset.service, DATA)
    shards = {shard[-8:]: shard for shard in storage.shards(dataset.address)}
    table = Table("snapshot", "version", "revision", "rows", "table in DuckDB", "its rows")
    for release in api.get_dataset_releases(dataset_id=dataset.id)[-NEWEST:]:
        shard = shards[f"{release.start_date:%Y%m%d}"]
        said = [f"{release.start_date:%Y-%m-%d}", release.version_label, release.revision, release.row_count]
        table.add_row(*map(str, said), shard.rpartition(":")[2], str(storage.row_count(shard)))
    console.print()
    console.print(table)
    console.print("\n[bold]What is missing now, and why?[/]")
    ask(console, url, "missing", dataset, "--why", "--runs")
    console.print(f"These are older than the newest {NEWEST}, with which the DAG is asked to keep up.")
    book = f"sqlite:///{shown(WORK)}/book.db"
    query = f"FROM {dataset.address.rpartition(':')[2]}{max(shards)} LIMIT 5"
    with_key = f"OBSERVATORY_CREDENTIALS={shown(CREDENTIALS)} .venv/bin/observatory"
    console.print("\nLook further:", style="bold")
    for what, command in {
        "serve the book again": f"{with_key} serve --database-url {book}",
        "ask it, while it is served": f"{with_key} releases list {dataset.id} --history",
        "see what its source offers": f"{with_key} offers {dataset.id}",
        "see the data": f'.venv/bin/python -c "import duckdb; duckdb.connect('
        f"'{shown(DATA)}/warehouse.duckdb').sql('{query}').show()\"",
        "read what Airflow said": f"less {shown(LOG)}",
    }.items():
        console.print(f"  {what}\n    [cyan]{escape(command)}[/]", soft_wrap=True, highlight=False)


@contextmanager
def server() -> Iterator[str]:
    """Serves the book on a free port until the context ends, however it ends."""
    command = [OBSERVATORY, "serve", "--port", "0", "--database-url", f"sqlite:///{WORK}/book.db"]
    # In a session of its own, Ctrl-C does not reach it before we are done with it.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=end_with_parent
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                _, listening, url = line.partition("listening on ")
                if listening:
                    yield url.strip()
                    return
            raise RuntimeError("the server did not start")
        finally:
            process.terminate()


def end_with_parent() -> None:
    """Asks Linux to end this process with its parent, should that be killed."""
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)


def airflow_dag(url: str) -> Any:
    """Returns the example's DAG in an Airflow of our own, which keeps its database in the work folder."""
    home = WORK / "airflow"
    (home / "dags").mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "OBSERVATORY_URL": url,
        "OBSERVATORY_DATA": str(DATA),
        "OBSERVATORY_NEWEST": str(NEWEST),
    }
    ready = home / "ready"
    if not ready.exists():
        # A migration that was broken off is not continued.
        (home / "airflow.db").unlink(missing_ok=True)
    # Imported here, because Airflow reads its settings when it is imported.
    import airflow.utils.db
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    airflow.utils.db.initdb()
    ready.touch()
    from mpc_obscodes import telescope

    bundles = DagBundlesManager()  # type: ignore[no-untyped-call] # untyped in Airflow
    bundles.sync_bundles_to_db()
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(telescope.make_dag())
    sync_bag_to_db(bag, "dags-folder", None)
    return telescope.make_dag()


def say_the_rest_to_the_log() -> Console:
    """Returns a console for what a person should read; all other output of all libraries goes to the log."""
    console = Console(file=os.fdopen(os.dup(1), "w"), highlight=False)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    print(f"\n{time.asctime()}: the demo starts", flush=True)
    return console


def shown(path: Path) -> Path:
    """Returns a path as seen from the project."""
    return path.relative_to(ROOT)


if __name__ == "__main__":
    main()
