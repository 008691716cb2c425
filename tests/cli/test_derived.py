"""`observatory releases derived` and `observatory stale`: exit codes that a script can act on."""

import json
from datetime import UTC, datetime, timedelta

from observatory import Dataset, DatasetRelease, ObservatoryApi

from .conftest import Type

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)


def test_what_is_stale_is_listed_and_ends_with_3(
    observatory: Type, api: ObservatoryApi, dataset: Dataset
) -> None:
    told = observatory(
        "datasets",
        "create",
        "--name=sums",
        "--workflow=Curtin Press/sales",
        "--service=s",
        "--address=a",
        "--dataset-type=book_sales",
        f"--input-id={dataset.id}",
        "-ojson",
    )
    assert (told.code, json.loads(told.out)["inputs"]) == (0, [dataset.id]), told.err
    sums = json.loads(told.out)["id"]
    release = DatasetRelease(dataset=dataset, start_date=DAY_0, end_date=DAY_0 + timedelta(1))
    first = api.post_dataset_release(release)
    told = observatory(
        "releases", "add", str(sums), "2021-01-01", "2021-01-02", f"--made-from={first.id}", "-ojson"
    )
    assert told.code == 0, told.err
    made = json.loads(told.out)["id"]
    assert observatory("stale") == (0, "id\tdataset\tstart_date\tend_date\tinputs\n", "")
    below = observatory("releases", "derived", str(first.id))
    assert (below.code, below.err) == (0, "0 of 1 are stale\n")

    observatory("releases", "withdraw", str(first.id), "--reason=bad")

    told = observatory("stale", "--dataset=Curtin Press/sales/sums", "--organisation=Curtin Press")
    row = f"{made}\tsums ({sums})\t2021-01-01\t2021-01-02"
    assert told.code == 3
    assert told.out == f"id\tdataset\tstart_date\tend_date\tinputs\n{row}\t{first.id}\n"
    below = observatory("releases", "derived", str(first.id))
    assert (below.code, below.err) == (3, "1 of 1 are stale\n")
    assert below.out.splitlines()[1] == f"{row}\t1\tpresent\ttrue"
    told = observatory("stale", "--output=json")
    assert [(one["release"]["id"], one["inputs"]) for one in json.loads(told.out)] == [(made, [first.id])]
    assert observatory("stale", "--dataset", str(dataset.id)).code == 0
    assert observatory("releases", "derived", "99").code == 1
