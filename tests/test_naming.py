import re
from datetime import UTC, date, datetime, timedelta, timezone

import pendulum
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observatory.errors import Invalid
from observatory.naming import address_to_fields, address_to_gcp_fields, make_dag_id, table_name

START, END = datetime(2021, 1, 1, 5, tzinfo=UTC), datetime(2021, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("table_type_id", "granularity", "expected"),
    [
        ("regular", None, "mytable"),
        ("regular", "day", "mytable"),
        ("sharded", None, "mytable20210102"),
        ("sharded", "hour", "mytable2021010200"),
        ("sharded", "day", "mytable20210102"),
        ("sharded", "month", "mytable202101"),
        ("sharded", "year", "mytable2021"),
        ("partitioned", "hour", "mytable$2021010105"),
        ("partitioned", "day", "mytable$20210101"),
        ("partitioned", "month", "mytable$202101"),
        ("partitioned", "year", "mytable$2021"),
    ],
)
def test_a_shard_bears_the_end_of_a_period_and_a_partition_its_start(
    table_type_id: str, granularity: str | None, expected: str
) -> None:
    assert table_name("mytable", table_type_id, granularity, START, END) == expected


@pytest.mark.parametrize(
    ("table_type_id", "granularity", "expected"),
    [
        ("partitioned_month", "month", "mytable$202101"),
        ("partitioned_by_hour", "hour", "mytable$2021010105"),
        ("sharded_year", "year", "mytable2021"),
        ("sharded_plain", None, "mytable20210102"),
        ("regular_external", None, "mytable"),
        # What the id says of the granularity is for people only.
        ("partitioned_month", "day", "mytable$20210101"),
    ],
)
def test_the_kind_of_a_table_is_what_the_id_of_its_type_begins_with(
    table_type_id: str, granularity: str | None, expected: str
) -> None:
    assert table_name("mytable", table_type_id, granularity, START, END) == expected


@pytest.mark.parametrize(
    "table_type_id", ["", "_", "monthly", "shardedmonth", "month_partitioned", "Sharded"]
)
def test_a_table_type_of_no_known_kind_is_told_the_kinds(table_type_id: str) -> None:
    with pytest.raises(Invalid, match=r"regular, sharded or partitioned.*as partitioned_month") as error:
        table_name("t", table_type_id, "day", START, END)
    assert list(error.value.fields) == ["table_type_id"]


def test_a_snapshot_of_a_date_needs_nothing_but_the_date() -> None:
    assert table_name("mytable", "sharded", end_date=date(2021, 1, 2)) == "mytable20210102"
    assert table_name("mytable", "regular") == "mytable"


def test_the_name_of_a_table_is_the_same_wherever_its_time_was_told() -> None:
    there = datetime(2021, 1, 2, 3, tzinfo=timezone(timedelta(hours=8)))
    assert table_name("t", "sharded", end_date=there) == "t20210101"
    assert table_name("t", "sharded", end_date=pendulum.instance(there)) == "t20210101"


def test_years_have_four_digits_so_that_names_sort() -> None:
    assert table_name("t", "sharded", end_date=date(999, 1, 2)) == "t09990102"


def test_a_whole_address_may_be_named() -> None:
    assert table_name("data/mpc.duckdb:codes", "sharded", end_date=END) == "data/mpc.duckdb:codes20210102"
    partition = table_name("project.dataset.table", "partitioned", "month", START, END)
    assert address_to_gcp_fields(partition) == ("project", "dataset", "table$202101")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("t", "shared", None, START, END), "table_type_id"),
        (("t", "partitioned", None, START, END), "granularity"),
        (("t", "partitioned_month", None, START, END), "granularity"),
        (("t", "partitioned", "week", START, END), "granularity"),
        (("t", "sharded", None, START, None), "end_date"),
        (("t", "partitioned", "day", None, END), "start_date"),
        (("t", "sharded", None, None, datetime(2021, 1, 2)), "end_date"),
    ],
)
def test_what_cannot_be_named_says_which_field_mends_it(arguments: tuple[str, ...], field: str) -> None:
    with pytest.raises(Invalid) as error:
        table_name(*arguments)  # type: ignore[arg-type] # wrong on purpose
    assert list(error.value.fields) == [field]


def test_a_naive_time_is_told_how_to_become_aware() -> None:
    with pytest.raises(Invalid, match=r"add one, as in datetime\(…, tzinfo=UTC\)"):
        table_name("t", "sharded", end_date=datetime(2021, 1, 2))


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("project.dataset.table", ("project", "dataset", "table")),
        ("my-project-1.My_data._table", ("my-project-1", "My_data", "_table")),
        ("example.com:project.dataset.table", ("example.com:project", "dataset", "table")),
        ("a.b.c", ("a", "b", "c")),
        ("project:dataset.table", ("project", "dataset", "table")),
        ("example.com:project:dataset.table", ("example.com:project", "dataset", "table")),
        ("`project.dataset.table`", ("project", "dataset", "table")),
        ("project.dataset.table-with spaces é大", ("project", "dataset", "table-with spaces é大")),
        ("project.dataset.table$20210102", ("project", "dataset", "table$20210102")),
    ],
)
def test_an_address_of_bigquery_has_three_parts(address: str, fields: tuple[str, str, str]) -> None:
    assert address_to_gcp_fields(address) == fields
    assert address_to_fields("bigquery", address) == fields


@pytest.mark.parametrize(
    "address",
    [
        "",
        "table",
        "dataset.table",
        "project.dataset.",
        "project..table",
        ".dataset.table",
        "a.b.c.d",
        "project.data-set.table",
        "Project.dataset.table",
        "-project.dataset.table",
        "project-.dataset.table",
        "project.dataset.table\n",
        "project.dataset.ta/ble",
        "`project.dataset.table",
        "`project`.`dataset`.`table`",
        "example.com:project.dataset",
        "project.dataset.table$",
        f"project.dataset.{'t' * 1025}",
    ],
)
def test_a_malformed_address_of_bigquery_shows_the_form_expected(address: str) -> None:
    with pytest.raises(Invalid) as error:
        address_to_gcp_fields(address)
    assert "expected" in error.value.fields["address"]


@pytest.mark.parametrize(
    ("service", "address", "fields"),
    [
        ("duckdb", "data/mpc.duckdb:codes", ("data/mpc.duckdb", "main", "codes")),
        ("duckdb", "data/a:b.duckdb:mpc.codes", ("data/a:b.duckdb", "mpc", "codes")),
        ("duckdb", "mpc.duckdb:codes$20210102", ("mpc.duckdb", "main", "codes$20210102")),
        ("sqlite", "/data/mpc.db:codes", ("/data/mpc.db", "main", "codes")),
        ("postgresql", "public.codes", ("public", "codes")),
        ("postgresql", "warehouse.public.codes", ("warehouse", "public", "codes")),
        ("iceberg", "raw.mpc.codes", ("raw", "mpc", "codes")),
        ("elasticsearch", "mpc-codes-20210102", ("mpc-codes-20210102",)),
        ("gcs", "gs://bucket/a/b.parquet", ("bucket", "a/b.parquet")),
        ("s3", "s3://bucket.with.dots/a", ("bucket.with.dots", "a")),
        ("file", "/data/a.parquet", ("/data/a.parquet",)),
        ("file", "file:///data/a.parquet", ("/data/a.parquet",)),
        ("new service", "new address", ("new address",)),
    ],
)
def test_addresses_are_read_in_the_form_of_their_service(
    service: str, address: str, fields: tuple[str, ...]
) -> None:
    assert address_to_fields(service, address) == fields


@pytest.mark.parametrize(
    ("service", "address"),
    [
        ("duckdb", "codes"),
        ("duckdb", "data/mpc.duckdb"),
        ("duckdb", ":codes"),
        ("duckdb", "mpc.duckdb:codes$"),
        ("duckdb", "mpc.duckdb:codes$2021010"),
        ("duckdb", "mpc.duckdb:codes$20210102'"),
        ("sqlite", 'mpc.db:a"b'),
        ("postgresql", "codes"),
        ("postgresql", "a.b.c.d"),
        ("postgresql", "public."),
        ("iceberg", "codes"),
        ("elasticsearch", "Codes"),
        ("elasticsearch", "_codes"),
        ("elasticsearch", "a,b"),
        ("elasticsearch", "\ud800" * 300),
        ("gcs", "s3://bucket/a"),
        ("gcs", "gs://bucket"),
        ("s3", "bucket/a"),
        ("file", "gs://bucket/a"),
        ("new service", ""),
    ],
)
def test_a_malformed_address_shows_what_its_service_expects(service: str, address: str) -> None:
    with pytest.raises(Invalid) as error:
        address_to_fields(service, address)
    assert error.value.fields["address"]


def test_simple_names_stay_as_they_are_in_dag_ids() -> None:
    assert make_dag_id("dag_id_prefix", "curtin-press") == "dag_id_prefix_curtin-press"


def test_other_names_stay_readable_in_dag_ids() -> None:
    assert make_dag_id("onix", "Curtin Press").startswith("onix_Curtin_Press.")
    assert make_dag_id("onix", "Universität Zürich").startswith("onix_Universitat_Zurich.")
    assert make_dag_id("onix", "大学").startswith("onix.")


def test_names_that_look_alike_have_different_dag_ids() -> None:
    pairs = [
        ("p", "a b"),
        ("p", "a_b"),
        ("p", "a-b"),
        ("p", "a  b"),
        ("p_a", "b"),
        ("p a", "b"),
        ("p", "A b"),
    ]
    assert len({make_dag_id(*pair) for pair in pairs}) == len(pairs)


names = st.text(max_size=30) | st.text("ab_- .é😀", max_size=6)


@given(names, names)
@example("", "")
@example("p", "😀" * 10_000)
@example("p" * 300, "n")
@example("p", "\ud800")
@example("p", "n\n")
def test_airflow_accepts_every_dag_id_and_so_does_a_file_system(prefix: str, name: str) -> None:
    dag_id = make_dag_id(prefix, name)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,250}", dag_id)
    assert len(f"dag_id={dag_id}") <= 255
    assert dag_id == make_dag_id(prefix, name)


@given(names, names, names, names)
def test_no_two_pairs_share_a_dag_id(prefix: str, name: str, other_prefix: str, other_name: str) -> None:
    same_pair = (prefix, name) == (other_prefix, other_name)
    assert (make_dag_id(prefix, name) == make_dag_id(other_prefix, other_name)) is same_pair
