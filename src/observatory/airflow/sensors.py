"""Sensors that hold no worker: for releases of a dataset, and for the runs of other DAGs."""

import warnings
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, NoReturn
from urllib.parse import unquote, urlsplit

import msgspec
from airflow.sdk import Asset, BaseSensorOperator, Context
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, AirflowSensorTimeout
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from ..client import ObservatoryApi, make_observatory_api
from ..client.connection import ListWasCut
from ..errors import Invalid, NotFound, ObservatoryError
from ..intervals import MICROSECOND, Period, moment, subtract
from ..records import DatasetRelease
from .assets import dataset_asset, normal_uri
from .partitions import period_of
from .triggers import DagRunTrigger, SettledTrigger, awaited_keys, unfinished_runs

AWAITED = 500  # so many missing periods a trigger is told of; it is asked again when they are there
OUTAGE = 5.0  # seconds before a task looks again that did not reach the book
RECHECK = 60.0  # seconds after which a task looks again at what the triggerer cannot see
TOLD = ("id", "start_date", "end_date", "revision", "state", "version_label")

Found = list[dict[str, Any]]
Choice = Literal["fail", "ignore", "wait"]


class WaitingSensor(BaseSensorOperator):
    """Looks once, and then is deferred until it is time to look again, for `timeout` seconds in all."""

    def execute(self, context: Context) -> Any:
        """Looks, and waits."""
        # By the way on which soft_fail is seen to.
        return self.resume_execution("look", None, context)

    def look(self, context: Context, event: Any = None, until: str | None = None) -> Any:
        """Returns what was waited for, if it is there, and waits otherwise."""
        raise NotImplementedError

    def wait(self, trigger: SettledTrigger | DagRunTrigger, until: str | None) -> NoReturn:
        """Ends the task until the trigger fires; `until` is when the time is over, None at the first look.

        Raises AirflowSensorTimeout where it is over.
        """
        now = datetime.now(UTC)
        end = datetime.fromisoformat(until) if until else now + timedelta(seconds=self.timeout)
        if end <= now:
            raise AirflowSensorTimeout(f"it was not there within {self.timeout:.0f} s")
        kwargs = {"until": end.isoformat()}
        self.defer(trigger=trigger, method_name="look", kwargs=kwargs, timeout=end - now)


class DatasetReleaseSensor(WaitingSensor):
    """Waits until a release of a dataset is there, or all that should be there up to a time.

    The dataset is given by `dataset_id`, or by `asset`: its asset, or the asset's URI.

    `period` is what the release is of: a pair of times, one time for a snapshot, or a partition key. It is
    there when settled releases cover it without a hole; a snapshot, when it is settled itself. `up_to` waits
    until nothing is missing that starts before that time, and the newest release reaches it.

    `present`, `empty`, `unobtainable` and `expired` are settled: nothing more will come. What is withdrawn is
    waited for again. It returns the releases that it found, each with its `state`: all those of the period,
    or the first one that reaches the time. All parameters are templates. A dataset that does not exist fails
    it at once and for good; a book that is away is waited for.
    """

    template_fields: Sequence[str] = ("dataset_id", "asset", "period", "up_to")

    def __init__(
        self,
        *,
        dataset_id: int | str | None = None,
        asset: Asset | str | None = None,
        period: Period | tuple[date | str, date | str] | date | str | None = None,
        up_to: date | str | None = None,
        **operator: Any,
    ) -> None:
        super().__init__(**operator)
        if (dataset_id is None) == (asset is None):
            raise Invalid("a sensor waits for one dataset", {"dataset_id": "give it, or asset"})
        if (period is None) == (up_to is None):
            raise Invalid("a sensor waits for one thing", {"period": "give it, or up_to"})
        self.dataset_id = dataset_id
        self.asset = asset.uri if isinstance(asset, Asset) else asset
        # A tuple of its own, so that templates are found in it.
        self.period = (period.start_date, period.end_date) if isinstance(period, Period) else period
        self.up_to = up_to

    def look(self, context: Context, event: Any = None, until: str | None = None) -> Found:
        """Returns the releases that were waited for, if they are there, and waits otherwise."""
        try:
            period = None if self.period is None else _period(self.period)
            up_to = None if self.up_to is None else _period(self.up_to).start_date
            with make_observatory_api() as api:
                # Before the look, so that nothing is missed that happens after it.
                after = api.get_cursor()
                dataset_id = self._dataset_id(api)
                look = look_for(api, dataset_id, period) if period else look_up_to(api, dataset_id, up_to)
        except (Invalid, NotFound) as error:
            raise AirflowFailException(str(error)) from error
        except ObservatoryError as error:
            self.log.warning("The book is waited for: %s", error)
            self.wait(SettledTrigger(None, [], None, None, OUTAGE), until)
        if not look.is_done:
            self.wait(SettledTrigger(dataset_id, awaited_keys(look.awaited), look.reach, after), until)
        return look.found

    def _dataset_id(self, api: ObservatoryApi) -> int:
        if self.asset is not None:
            return find_dataset(api, self.asset)
        try:
            dataset_id = int(str(self.dataset_id))
        except ValueError:
            raise Invalid(f"{self.dataset_id!r} is no id", {"dataset_id": "give a number"}) from None
        return api.get_dataset(dataset_id).id


class Look(NamedTuple):
    """What a look came to: the releases that were waited for, or what is to come."""

    found: Found
    awaited: list[Period]
    reach: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to wait for."""
        return not self.awaited and self.reach is None


def look_for(api: ObservatoryApi, dataset_id: int, period: Period) -> Look:
    """Looks whether settled releases cover a period, or are of an instant."""
    found = api.get_dataset_releases(
        dataset_id=dataset_id, start_date=period.start_date, end_date=period.until
    )
    if period.is_instant:
        found = [one for one in found if one.period == period]
    return Look(_told(found), subtract([period], [one.period for one in found]))


def look_up_to(api: ObservatoryApi, dataset_id: int, up_to: datetime | None) -> Look:
    """Looks whether all is there that should be there up to a time, and the newest release reaches it."""
    assert up_to
    with warnings.catch_warnings():
        # The first ones are enough.
        warnings.simplefilter("ignore", ListWasCut)
        missing = api.get_missing(AWAITED, dataset_id=dataset_id, end_date=up_to + MICROSECOND)
        reaching = api.get_dataset_releases(1, dataset_id=dataset_id, start_date=up_to - MICROSECOND)
    periods = [Period(one.start_date, one.end_date) for one in missing]
    awaited = [one for one in periods if one.start_date < up_to or one.is_instant]
    return Look(_told(reaching), awaited, None if reaching else up_to.isoformat())


def find_dataset(api: ObservatoryApi, uri: str) -> int:
    """Returns the id of the dataset of an asset; raises NotFound where there is none."""
    try:
        uri = normal_uri(urlsplit(uri)).geturl()
    except ValueError as error:
        raise Invalid(str(error), {"asset": "write it as dataset_asset(dataset) does"}) from None
    for dataset in api.get_datasets(name=unquote(uri.rpartition("/")[2])):
        if dataset_asset(dataset).uri == uri:
            return dataset.id
    raise NotFound(f"there is no dataset {uri}")


class DagRunSensor(WaitingSensor):
    """Waits until none of some DAGs has a run that is queued or running, whatever started it.

    A DAG that is not there, and one that is paused, fails the sensor, or is taken to have nothing to wait for
    ("ignore"), or is waited for: until it is there, until it goes on and its runs have ended. A paused DAG
    without unfinished runs is waited for by none. How runs ended does not matter.
    """

    template_fields: Sequence[str] = ("dag_ids",)

    def __init__(
        self, *, dag_ids: Sequence[str], unknown: Choice = "fail", paused: Choice = "wait", **operator: Any
    ) -> None:
        super().__init__(**operator)
        for name, choice in (("unknown", unknown), ("paused", paused)):
            if choice not in ("fail", "ignore", "wait"):
                raise Invalid(f"{choice!r} is no way to treat DAGs", {name: "give fail, ignore or wait"})
        self.dag_ids = dag_ids
        self.unknown = unknown
        self.paused = paused

    def look(self, context: Context, event: Any = None, until: str | None = None) -> None:
        """Waits for those that have unfinished runs now, and for those that are still to come."""
        # A template may give one as text.
        dag_ids = [self.dag_ids] if isinstance(self.dag_ids, str) else self.dag_ids
        if context["ti"].dag_id in dag_ids:
            raise AirflowFailException("a run that waits for its own DAG would wait for itself")
        states = {dag_id: self._state(dag_id) for dag_id in dict.fromkeys(dag_ids)}
        busy = [dag_id for dag_id, state in states.items() if state == "busy"]
        absent = [dag_id for dag_id, state in states.items() if state == "absent"]
        if busy or absent:
            self.log.info("Waiting for the runs of %s", ", ".join(busy + absent))
            # The triggerer sees neither which DAGs there are nor whether they are paused.
            recheck = absent or self.paused != "wait"
            self.wait(DagRunTrigger(busy, RECHECK if recheck else None), until)

    def _state(self, dag_id: str) -> Literal["idle", "busy", "absent"]:
        is_paused = _is_paused(dag_id)
        if is_paused is None:
            self._check(self.unknown, f"there is no DAG {dag_id}")
            return "absent" if self.unknown == "wait" else "idle"
        if not unfinished_runs(dag_id):
            return "idle"
        if is_paused:
            self._check(self.paused, f"the DAG {dag_id} has unfinished runs and is paused")
        return "idle" if is_paused and self.paused == "ignore" else "busy"

    @staticmethod
    def _check(choice: Choice, why: str) -> None:
        if choice == "fail":
            raise AirflowFailException(why)


def _is_paused(dag_id: str) -> bool | None:
    """Returns whether a DAG is paused; None where there is none."""
    try:
        return RuntimeTaskInstance.get_dag(dag_id).is_paused
    except AirflowRuntimeError as error:
        status = (error.error.detail or {}).get("status_code")
        if status != HTTPStatus.NOT_FOUND:
            raise
    except ServerResponseError as error:  # in dag.test(), where the task asks the API itself
        if error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
    return None


def _period(told: tuple[date | str, date | str] | date | str) -> Period:
    if isinstance(told, str):
        return period_of(told)
    start, end = told if isinstance(told, tuple | list) else (told, told)
    try:
        return Period(_moment(start), _moment(end))
    except ValueError as error:
        raise Invalid(f"{told!r} is no period: {error}", {"period": "give times with a zone"}) from None


def _moment(told: date | str) -> datetime:
    return period_of(told).start_date if isinstance(told, str) else moment(told)


def _told(releases: Sequence[DatasetRelease]) -> Found:
    return [msgspec.to_builtins({name: getattr(one, name) for name in TOLD}) for one in releases]
