"""A workflow: tasks that are written as methods and become a DAG, and the task that tells the book.

class Sales(Workflow):
    def __init__(self) -> None:
        super().__init__("sales", workflow_id=3, schedule="@daily")
        self.add_setup_task(self.check_dependencies)
        self.add_task(self.load)
        self.add_task(self.add_new_dataset_releases)

    def make_release(self, **context) -> SnapshotRelease: ...
    def load(self, release, **context) -> None: ...

workflow = Sales()
globals()[workflow.dag_id] = workflow.make_dag()
"""

import inspect
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    Context,
    ObjectStoragePath,
    XComArg,
    cross_downstream,
)
from airflow.sdk.exceptions import AirflowFailException

from ..client import ObservatoryApi, make_observatory_api
from ..client.claims import Claimed
from ..errors import Invalid, NotFound
from ..records import Dataset, DatasetRelease, Run
from .facts import carried
from .hook import connection_called, has_variable
from .recording import record
from .releases import Release, folder_name, recorded, run_of

Step = list[Callable[[DAG], BaseOperator]]
Goes = bool | list[dict[str, Any]]


class Workflow:
    """Tasks in the order they are added, each after the one before, except those in `parallel_tasks`.

    `workflow_id` is its id in the book; in `folder`, on disk or in an object store as
    `ObjectStoragePath("s3://bucket/work")`, are the work folders of releases. Variables and
    connections that are named must be there when `check_dependencies` runs. Of the `assets`, those of the
    datasets that are recorded have an event for each release, with its period as partition key; where
    `partitioned` is false, one event without key, for DAGs that are scheduled on the asset as a whole.
    Whatever else is given goes to the DAG, whose text is the docstring of the class unless there is a
    `doc_md`. Making one asks the book nothing, so that a DAG file is read while the book is down.

    Each task gets a release of its own, which `make_release` makes anew. The facts that a task sets of it,
    such as `row_count` or `extras`, are carried to the tasks after it and recorded. Nothing else that it sets
    is: return it, and pull it from XCom. Where datasets differ in their facts, override `dataset_release`.
    """

    def __init__(
        self,
        dag_id: str,
        workflow_id: int | None = None,
        *,
        schedule: Any = None,
        start_date: datetime = datetime(2021, 1, 1, tzinfo=UTC),
        max_active_runs: int = 1,
        retries: int = 3,
        airflow_vars: Sequence[str] = (),
        airflow_conns: Sequence[str] = (),
        assets: Sequence[Asset] = (),
        partitioned: bool = True,
        folder: Path | ObjectStoragePath = Path("data"),
        **dag: Any,
    ) -> None:
        self.dag_id = dag_id
        self.workflow_id = workflow_id
        self.airflow_vars = airflow_vars
        self.airflow_conns = airflow_conns
        self.assets = list(assets)
        self.partitioned = partitioned
        self.folder = cast(Path, folder)  # what is in an object store has the same methods
        # Those of the caller come last, so that they win.
        arguments = {"schedule": schedule, "start_date": start_date, "max_active_runs": max_active_runs}
        arguments["doc_md"] = inspect.cleandoc(type(self).__dict__.get("__doc__") or "") or None
        self._arguments = arguments | dag
        self._arguments["default_args"] = {"retries": retries} | dag.get("default_args", {})
        self._steps: list[Step] = []
        self._parallel: Step | None = None
        self._dag: DAG | None = None

    @cached_property
    def api(self) -> ObservatoryApi:
        """The book, connected to when a task first asks it something."""
        return make_observatory_api()

    def add_setup_task(self, task: Callable[..., Goes], **operator: Any) -> None:
        """Adds a task that is called with the context; if it returns False, all tasks after it are skipped.

        It may return a list for `add_mapped_task`, and all is skipped where that is empty. Whatever else is
        given goes to the operator: `task_id`, `op_kwargs`, `retries` and the like.
        """

        def run(**context: Any) -> Goes:
            with self._connected():
                return _goes_on(task, context)

        self._add(ShortCircuitOperator, run, task, operator)

    def add_setup_task_chain(self, tasks: Iterable[Callable[..., Goes]], **operator: Any) -> None:
        """Adds setup tasks one after the other."""
        for task in tasks:
            self.add_setup_task(task, **operator)

    def add_task(self, task: Callable[..., Any], **operator: Any) -> None:
        """Adds a task that is called with what `make_release` makes and the context."""

        def run(**context: Any) -> Any:
            with self._connected():
                release = self.make_release(**context)
                with carried(release, cast(Context, context)):
                    return _call(task, context, release)

        if getattr(task, "__func__", None) is type(self).add_new_dataset_releases:
            operator = {"outlets": self.assets} | operator
        self._add(PythonOperator, run, task, operator)

    def add_mapped_task(self, task: Callable[..., Any], over: str, **operator: Any) -> None:
        """Adds a task that runs once for each item of the list that the task `over` returned.

        An item is a dictionary of what the task is called with, beside the context. They run side by side, as
        many as the executor has room for; one that fails stops no other.
        """

        def run(**context: Any) -> Any:
            with self._connected():
                return _call(task, context)

        arguments = _arguments(task, operator)

        def make(dag: DAG) -> BaseOperator:
            mapped = PythonOperator.partial(python_callable=run, **arguments)
            return mapped.expand(op_kwargs=XComArg(dag.get_task(over)))  # type: ignore[return-value] # is as good

        self._append(make)

    def add_task_chain(self, tasks: Iterable[Callable[..., Any]], **operator: Any) -> None:
        """Adds tasks one after the other."""
        for task in tasks:
            self.add_task(task, **operator)

    def add_operator(self, operator: BaseOperator) -> None:
        """Adds an operator of any kind, such as a sensor."""

        def adopt(dag: DAG) -> BaseOperator:
            operator.dag = dag
            return operator

        self._append(adopt)

    def add_operator_chain(self, operators: Iterable[BaseOperator]) -> None:
        """Adds operators one after the other."""
        for operator in operators:
            self.add_operator(operator)

    @contextmanager
    def parallel_tasks(self) -> Iterator[None]:
        """Adds the tasks in this context beside each other: after what is before it, before what follows."""
        step: Step = []
        self._parallel = step
        try:
            yield
        finally:
            self._parallel = None
        # An empty one would tear the chain apart.
        if step:
            self._steps.append(step)

    def make_dag(self) -> DAG:
        """Returns the DAG of the tasks, always the same; what is added after that would be in no DAG."""
        if self._dag is None:
            with DAG(self.dag_id, **self._arguments) as dag:
                steps = [[make(dag) for make in step] for step in self._steps]
            for before, after in pairwise(steps):
                cross_downstream(before, after)
            self._dag = dag
        return self._dag

    def make_release(self, **context: Any) -> Release | Sequence[Release]:
        """Returns the release, or the list of them, that a run works on. Called anew for each task."""
        raise NotImplementedError(
            f"{type(self).__name__}.make_release: return the release that a run works on"
        )

    def check_dependencies(self) -> bool:
        """Checks that variables, connections, the workflow in the book and its datasets are there."""
        missing = [f"variable {name}" for name in self.airflow_vars if not has_variable(name)]
        missing += [f"connection {name}" for name in self.airflow_conns if not connection_called(name)]
        if missing:
            # Not to be retried, since somebody must add them.
            raise AirflowFailException(
                f"{self.dag_id} needs what Airflow does not have: {', '.join(missing)}"
            )
        if self.workflow_id is not None:
            try:
                self.api.get_workflow(self.workflow_id)
            except NotFound as error:
                cure = "give the id that the book has, or grant the key a role in its organisation"
                raise AirflowFailException(f"{self.dag_id}: {error}; {cure}") from error
            if not self.datasets():
                raise AirflowFailException(
                    f"{self.dag_id} keeps no dataset: add one to workflow {self.workflow_id}"
                )
        return True

    def datasets(self) -> list[Dataset]:
        """Returns the datasets that the workflow keeps up to date: those of its workflow in the book."""
        if self.workflow_id is None:
            raise Invalid(f"{self.dag_id} does not know whose datasets to record", {"workflow_id": "give it"})
        return self.api.get_datasets(workflow_id=self.workflow_id)

    def dataset_release(self, dataset: Dataset, release: Release, run: Run) -> DatasetRelease:
        """Returns what the book is told of a release. Override it where datasets differ in their facts."""
        return recorded(release, dataset, run)

    def add_new_dataset_releases(
        self, release: Release | Sequence[Release], claim: Claimed | None = None, **context: Any
    ) -> list[int]:
        """Records the releases of a run for each dataset of the workflow, all or none; returns their ids.

        Running it again records nothing twice. `claim` is the one with which they were loaded, if any.
        """
        releases = [release] if isinstance(release, Release) else release
        run = run_of(cast(Context, context))
        records = [self.dataset_release(dataset, one, run) for dataset in self.datasets() for one in releases]
        if not records:
            raise Invalid(
                f"{self.dag_id} has nothing to record", {"workflow_id": "give it a dataset, or skip"}
            )
        told = record(self.api, records, cast(Context, context), claim, self.partitioned)
        return [one.id for one in told]

    def work_folder(self, release: Release) -> Path:
        """Returns the folder for what is made of a release while it is worked on: it is this DAG's alone."""
        return self.folder / "work" / self.dag_id / folder_name(release)

    def cleanup(self, release: Release | Sequence[Release], **context: Any) -> None:
        """Removes the work folders of the releases of a run: a task for the end of a workflow."""
        for one in [release] if isinstance(release, Release) else release:
            _remove(self.work_folder(one))

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Closes what a task opened, as the process may run others after it."""
        try:
            yield
        finally:
            if "api" in self.__dict__:
                self.api.close()
            for kept in ("api", "dataset"):
                self.__dict__.pop(kept, None)

    def _add(
        self,
        kind: type[PythonOperator],
        run: Callable[..., Any],
        task: Callable[..., Any],
        operator: dict[str, Any],
    ) -> None:
        arguments = _arguments(task, operator)
        self._append(lambda dag: kind(python_callable=run, **arguments))

    def _append(self, make: Callable[[DAG], BaseOperator]) -> None:
        if self._dag is not None:
            raise Invalid(
                f"the DAG {self.dag_id} is made already", {"make_dag": "call it after adding all tasks"}
            )
        if self._parallel is not None:
            self._parallel.append(make)
        else:
            self._steps.append([make])


def _arguments(task: Callable[..., Any], operator: dict[str, Any]) -> dict[str, Any]:
    """Returns what an operator of a task is made with; what is given for it comes last, so that it wins."""
    arguments = {"task_id": getattr(task, "__name__", None), "doc_md": inspect.getdoc(task)} | operator
    if arguments["task_id"] is None:
        raise Invalid(f"{task!r} has no name to call its task by", {"task_id": "give it"})
    return arguments


def _remove(folder: Path | ObjectStoragePath) -> None:
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        folder.rmdir(recursive=True)


def _goes_on(task: Callable[..., Goes], context: dict[str, Any]) -> Goes:
    answer = _call(task, context)
    if not isinstance(answer, bool | list):
        # None would skip the whole run, and look like success.
        name = getattr(task, "__name__", repr(task))
        raise Invalid(f"the setup task {name} returned {answer!r}", {name: "return True to go on, or False"})
    return answer


def _call(task: Callable[..., Any], context: dict[str, Any], *release: Any) -> Any:
    """Calls a task with a release, if there is one, and as much of the context as it takes."""
    parameters = inspect.signature(task).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        positional = list(parameters)[: len(release)]
        wanted = {parameter.name for parameter in parameters} - {parameter.name for parameter in positional}
        context = {name: value for name, value in context.items() if name in wanted}
    return task(*release, **context)
