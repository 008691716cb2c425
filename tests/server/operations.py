"""What each operation of the document takes: the right, whose the objects may be, how it ends if allowed."""

from typing import Literal, NamedTuple

from observatory.access import Right

# Whose an object is. What is shared belongs to all; an account that has a grant in all organisations is wider
# than one. A list without a filter is of whatever the caller may see.
Whose = Literal["own", "other", "shared", "wider", "any"]
OWNED: tuple[Whose, ...] = ("own", "other")
SHARED: tuple[Whose, ...] = ("shared",)
ACCOUNTS: tuple[Whose, ...] = ("own", "other", "wider")
LIST: tuple[Whose, ...] = ("any", "own", "other")
ALL: tuple[Whose, ...] = ("any",)

HIDDEN = "theirs"  # in every text of another organisation
NOBODY = 10**15  # from here on are no ids
DAY = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00Z"}
NEXT_DAY = {"start_date": "2026-01-02T00:00:00Z", "end_date": "2026-01-03T00:00:00Z"}


class Row(NamedTuple):
    """What an operation takes, whose its objects may be, and its status where it is allowed."""

    right: Right | Literal["public"]
    whose: tuple[Whose, ...]
    done: int
    also: Right | None = None


# What removes something is asked to remove another version, and what makes a key to make one of the past: how
# far a caller gets is then the same, and everything is there for the next one.
OPERATIONS: dict[str, Row] = {
    "isAlive": Row("public", ALL, 200),
    "isReady": Row("public", ALL, 200),
    "getMetrics": Row("audit", ALL, 200),
    "getMe": Row("read", ALL, 200),
    "getCatalogue": Row("read", ALL, 200),
    "listOrganisations": Row("read", ALL, 200),
    "getOrganisation": Row("read", OWNED, 200),
    "createOrganisation": Row("administer", SHARED, 201),
    "updateOrganisation": Row("administer", OWNED, 200),
    "deleteOrganisation": Row("administer", OWNED, 412),
    "listWorkflowTypes": Row("read", ALL, 200),
    "getWorkflowType": Row("read", SHARED, 200),
    "createWorkflowType": Row("maintain", SHARED, 201),
    "updateWorkflowType": Row("maintain", SHARED, 200),
    "deleteWorkflowType": Row("maintain", SHARED, 412),
    "listTableTypes": Row("read", ALL, 200),
    "getTableType": Row("read", SHARED, 200),
    "createTableType": Row("maintain", SHARED, 201),
    "updateTableType": Row("maintain", SHARED, 200),
    "deleteTableType": Row("maintain", SHARED, 412),
    "listDatasetTypes": Row("read", ALL, 200),
    "getDatasetType": Row("read", SHARED, 200),
    "createDatasetType": Row("maintain", SHARED, 201),
    "updateDatasetType": Row("maintain", SHARED, 200),
    "deleteDatasetType": Row("maintain", SHARED, 412),
    "listWorkflows": Row("read", LIST, 200),
    "getWorkflow": Row("read", OWNED, 200),
    "createWorkflow": Row("maintain", OWNED, 201),
    "updateWorkflow": Row("maintain", OWNED, 200),
    "deleteWorkflow": Row("maintain", OWNED, 412),
    "listDatasets": Row("read", LIST, 200),
    "getDataset": Row("read", OWNED, 200),
    "createDataset": Row("maintain", OWNED, 201, also="address:write"),
    "updateDataset": Row("maintain", OWNED, 200),
    "deleteDataset": Row("maintain", OWNED, 412),
    "listMissing": Row("read", OWNED, 200),
    "getCoverage": Row("read", OWNED, 200),
    "listDatasetReleases": Row("read", LIST, 200),
    "getDatasetRelease": Row("read", OWNED, 200),
    "recordDatasetRelease": Row("record", OWNED, 200),
    "recordDatasetReleases": Row("record", OWNED, 200),
    "updateDatasetRelease": Row("record", OWNED, 200),
    "deleteDatasetRelease": Row("record", OWNED, 412),
    "getDerivedReleases": Row("read", OWNED, 200),
    "listStaleReleases": Row("read", LIST, 200),
    "probeDataset": Row("record", OWNED, 200),
    "withdrawReleases": Row("record", OWNED, 200),
    "listOffers": Row("read", OWNED, 200),
    "getMissing": Row("read", LIST, 200),
    "listStatuses": Row("read", LIST, 200),
    "adoptReleases": Row("record", OWNED, 200),
    "receiveLineage": Row("record", ALL, 200),
    "listClaims": Row("read", LIST, 200),
    "getClaim": Row("read", OWNED, 200),
    "claimReleases": Row("record", OWNED, 200),
    # It is another account's, so it takes a maintainer.
    "renewClaim": Row("record", OWNED, 200, also="maintain"),
    "giveBackClaim": Row("record", OWNED, 200, also="maintain"),
    "listAccounts": Row("audit", ALL, 200),
    "getAccount": Row("audit", ACCOUNTS, 200),
    "createAccount": Row("administer", (*OWNED, "shared"), 201),
    "updateAccount": Row("administer", ACCOUNTS, 200),
    "deleteAccount": Row("administer", ACCOUNTS, 412),
    "listKeys": Row("audit", ("any", *ACCOUNTS), 200),
    "getKey": Row("audit", ACCOUNTS, 200),
    "createKey": Row("administer", ACCOUNTS, 422),
    "updateKey": Row("administer", ACCOUNTS, 200),
    "revokeKey": Row("administer", ACCOUNTS, 412),
    "listEntries": Row("read", ALL, 200),
}
