"""An S3 server on this machine, which clients find by the environment."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fsspec.core import url_to_fs  # type: ignore[import-untyped] # has no types
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem  # type: ignore[import-untyped] # has no types

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def serving_bucket(name: str) -> Iterator[str]:
    """Serves a new bucket while a `with` statement lasts, and yields its URL."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with pytest.MonkeyPatch.context() as environment:
            for variable, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
                environment.setenv(variable, value)
            S3FileSystem.clear_instance_cache()  # they would go on with another server's address
            url_to_fs(f"s3://{name}")[0].mkdir(name)
            yield f"s3://{name}"
    finally:
        server.stop()
