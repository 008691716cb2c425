"""Asking what was made from a release, and what is stale."""

import warnings
from typing import Any

from ..records import PAGE, DatasetRelease, DerivedRelease, StaleRelease
from .connection import Connection, ListWasCut, number


class Derived(Connection):
    """The methods of what was made from what."""

    def get_derived_releases(self, id: int) -> list[DerivedRelease]:
        """Returns what was made from a release, and what was made from that, the nearest first.

        Each tells how many steps away it is, and whether it is stale. What you may not read is left out.
        """
        path = f"{DatasetRelease.path}/{number(id)}/derived"
        return self._transport.call("GET", path, list[DerivedRelease])

    def get_stale_releases(
        self,
        limit: int | None = None,
        dataset_id: int | None = None,
        workflow_id: int | None = None,
        organisation_id: int | None = None,
    ) -> list[StaleRelease]:
        """Returns the releases by id that were made from what was withdrawn or superseded since.

        Each tells the nearest such inputs, as far as you may read them, through however many steps it was
        made from them. It is stale until it is recorded anew, made from others.
        """
        asked: dict[str, Any] = {"dataset_id": dataset_id, "workflow_id": workflow_id}
        asked["organisation_id"] = organisation_id
        found: list[StaleRelease] = []
        after: str | None = None
        while True:
            size = PAGE if limit is None else min(PAGE, limit + 1 - len(found))
            part, after = self._transport.page("stale", StaleRelease, asked | {"limit": size, "after": after})
            found += part
            if after is None or (limit is not None and len(found) > limit):
                break
        if limit is not None and len(found) > limit:
            said = f"there are more stale releases than the limit of {limit}: leave it out for all of them"
            warnings.warn(said, ListWasCut, stacklevel=2)
        return found[:limit]
