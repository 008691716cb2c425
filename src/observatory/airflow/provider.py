"""What Airflow is told of this package: its connection, assets, links and settings.

Airflow reads it in each of its processes, and before it is ready itself: nothing else is imported for it. The
plugin has an entry point of its own, because Airflow does not look for those of providers by default.
"""

from typing import Any

HOOK = "observatory.airflow.hook.ObservatoryHook"

CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "observatory",
    "hook-class-name": HOOK,
    "hook-name": "Observatory",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "login", "port"],
        "relabeling": {"host": "Address", "password": "API key"},
        "placeholders": {"host": "https://book.example.org", "password": "obs_…"},
    },
    "conn-fields": {
        "timeout": {
            "label": "Time-out",
            "description": "Seconds that a task waits for an answer; 30 where nothing is given.",
            "schema": {"type": ["number", "null"], "minimum": 0.1},
        },
        "parse_timeout": {
            "label": "Time-out of DAG files",
            "description": "Seconds for all that one reading of a DAG file asks; 3 where nothing is given.",
            "schema": {"type": ["number", "null"], "minimum": 0.1},
        },
    },
}

ASSETS: dict[str, Any] = {
    "schemes": ["observatory"],
    "handler": "observatory.airflow.assets.normal_uri",
    "factory": "observatory.airflow.assets.make_asset",
    "to_openlineage_converter": "observatory.airflow.assets.to_openlineage",
}

SETTINGS: dict[str, Any] = {
    "description": "The service of Observatory inside Airflow's API server.",
    "options": {
        "serve": {
            "description": "Serve the book at /observatory of the API server.",
            "version_added": "0.1.0",
            "type": "boolean",
            "example": "True",
            "default": "False",
        },
        "database_url": {
            "description": "The database of the book: sqlite:////absolute/file.db or "
            "postgresql://user@host/name.\nBy default the file observatory.db in AIRFLOW_HOME.",
            "version_added": "0.1.0",
            "type": "string",
            "sensitive": True,
            "example": "postgresql://airflow@localhost/airflow",
            "default": "",
        },
        "schema": {
            "description": "The schema of a PostgreSQL in which the tables of the book are; it is made if "
            "missing.\nIn a database of several books, each has its own.",
            "version_added": "0.1.0",
            "type": "string",
            "example": None,
            "default": "observatory",
        },
    },
}


def get_provider_info() -> dict[str, Any]:
    """Returns what Airflow asks a provider: see its provider_info.schema.json."""
    return {
        "package-name": "observatory-ledger",
        "name": "Observatory",
        "description": "The book that knows which data exists, which is missing, and why.",
        "integrations": [
            {"integration-name": "Observatory", "tags": ["service"]},
        ],
        "hooks": [{"integration-name": "Observatory", "python-modules": ["observatory.airflow.hook"]}],
        "connection-types": [CONNECTION_TYPE],
        "asset-uris": [ASSETS],
        "extra-links": [
            "observatory.airflow.links.DatasetLink",
            "observatory.airflow.links.ReleasesLink",
        ],
        "config": {"observatory": SETTINGS},
    }
