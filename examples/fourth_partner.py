"""Tells the book of a fourth partner, whose first report is in examples/sales already. No code is changed.

python examples/fourth_partner.py
"""

from observatory import Dataset, DatasetType, ObservatoryApi, Workflow, make_observatory_api


def add_partner(api: ObservatoryApi) -> Dataset:
    """Adds the workflow with its tags, the type with the names of the columns, and the dataset."""
    [press] = api.get_organisations(name="Open Book Press")
    workflow = api.post_workflow(
        Workflow(
            name="Bergen Bok",
            organisation=press,
            workflow_type=api.get_workflow_type(type_id="partition_telescope"),
            tags='["sales_partner", "aggregation_input"]',
        )
    )
    kind = api.post_dataset_type(
        DatasetType(
            type_id="bergen_bok_sales",
            name="Sales as Bergen Bok reports them",
            table_type=api.get_table_type(type_id="partitioned_month"),
            extras={"sales_field": "Solgt antall", "book_field": "Varenr", "separator": "|"},
        )
    )
    dataset = Dataset(name="sales at Bergen Bok", workflow=workflow, dataset_type=kind)
    dataset.service, dataset.address = "duckdb", "sales/bergen.duckdb:sales"
    return api.post_dataset(dataset)


if __name__ == "__main__":
    with make_observatory_api() as api:
        print(f"{add_partner(api).name} is in the book")
