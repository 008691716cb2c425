"""Prefixes of identifiers in the life sciences, such as chebi, as the Bioregistry and others describe them.

    the Python package bioregistry

Versions bear no date, neither in their names nor in what they bring: the index knows it, and pip asks it.
"""

import json
from collections.abc import Iterator
from typing import Any

PACKAGE, REGISTRY = "bioregistry", "bioregistry.json"

FIELDS = ("name", "homepage", "description", "uri_format", "pattern", "license", "example")


def read_prefixes(content: bytes) -> Iterator[dict[str, Any]]:
    """Returns a row for each prefix, with `registries`, the others that know it, joined by spaces.

    What the Bioregistry does not say itself is taken from the first of them that does, as each is there too.
    """
    for prefix, record in json.loads(content).items():
        fields = {field: _said(record, field) for field in FIELDS}
        registries = " ".join(sorted(record.get("mappings", {}))) or None
        yield {
            "prefix": prefix,
            **fields,
            "registries": registries,
            "deprecated": record.get("deprecated", False),
        }


def _said(record: dict[str, Any], field: str) -> str | None:
    told = [record, *(record[name] for name in record.get("mappings", {}) if name in record)]
    return next((str(one[field]) for one in told if one.get(field)), None)
