"""Reading the journal: all of it or what is asked for, on and on, or the history of one record."""

import time
import warnings
from collections.abc import Iterator
from datetime import date
from typing import Any

from ..errors import Unavailable
from ..records import PAGE, Entry, Record, kind_of
from .connection import Connection, ListWasCut, number, time_text

LONGEST_WAIT = 25  # seconds for which the server waits until there is something
LONGEST_PAUSE = 10.0  # seconds before a server is asked again that did not answer


class Journal(Connection):
    """The methods of the journal, which has an entry for each change, and for reads of addresses."""

    def get_journal(
        self,
        limit: int | None = None,
        after: str | None = None,
        organisation_id: int | None = None,
        kind: str | None = None,
        record_id: int | None = None,
        dataset_id: int | None = None,
        actor: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[Entry]:
        """Returns the entries in the order in which they became true, behind the cursor `after` if given.

        `kind` is that of a record, such as "Dataset", whose `record_id` may be given too; `dataset_id` asks
        for what is about a dataset and its releases; `since` and `until` for a span of time, whose end is not
        in it. Raises Gone where what follows the cursor is kept no longer.
        """
        asked = _asked(organisation_id, kind, record_id, dataset_id, actor, since, until)
        found: list[Entry] = []
        is_more = True
        while is_more and (limit is None or len(found) <= limit):
            size = PAGE if limit is None else min(PAGE, limit + 1 - len(found))
            part, after, is_more = self._part(asked | {"after": after, "limit": size})
            found += part
        if limit is not None and len(found) > limit:
            said = f"there are more entries than the limit of {limit}: leave it out for all of them"
            warnings.warn(said, ListWasCut, stacklevel=2)
        return found[:limit]

    def follow_journal(
        self,
        after: str | None = None,
        organisation_id: int | None = None,
        kind: str | None = None,
        record_id: int | None = None,
        dataset_id: int | None = None,
        actor: str | None = None,
    ) -> Iterator[Entry]:
        """Yields each entry once, those there are and then each as it is made, without end.

        It begins at the beginning, behind the cursor `after`, or with what comes next where that is "now".
        Keep the cursor of the last entry you are done with to go on from there another day. A server that is
        away for a while is waited for, unless it was never reached.
        """
        asked = _asked(organisation_id, kind, record_id, dataset_id, actor)
        # The first call does not wait, and tells whether there is a server.
        wait, pause = 0, 0.0
        while True:
            try:
                found, after, is_more = self._part(asked | {"after": after, "limit": PAGE, "wait": wait})
            except Unavailable:
                if not pause:
                    raise
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)
                continue
            wait, pause = min(LONGEST_WAIT, int(self._server[2] / 2)), 0.2
            yield from found
            if not (found or is_more or wait):
                time.sleep(pause)

    def get_cursor(self) -> str:
        """Returns the cursor of the journal's end: all that is yet to come is behind it."""
        return self._part({"after": "now", "limit": 1})[1]

    def get_history(self, record: Record) -> list[Entry]:
        """Returns the entries about a record, the oldest first: who made it, changed it and removed it.

        Of a dataset, there is also who read its address, if you may see that.
        """
        found = self.get_journal(kind=kind_of(record).__name__, record_id=number(record.id))
        # Of one record, the sequence is that of its versions, also where a transaction took long.
        return sorted(found, key=lambda entry: int(entry.cursor.partition(".")[2]))

    def _part(self, asked: dict[str, Any]) -> tuple[list[Entry], str, bool]:
        return self._transport.part("journal", list[Entry], asked)


def _asked(
    organisation_id: int | None,
    kind: str | None,
    record_id: int | None,
    dataset_id: int | None,
    actor: str | None,
    since: date | None = None,
    until: date | None = None,
) -> dict[str, Any]:
    asked: dict[str, Any] = {"organisation_id": organisation_id, "kind": kind, "record_id": record_id}
    asked |= {"dataset_id": dataset_id, "actor": actor}
    return asked | {"since": time_text("since", since), "until": time_text("until", until)}
