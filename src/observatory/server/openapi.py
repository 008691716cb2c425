"""The OpenAPI document at /v1/openapi.json, and a page at /docs to browse it, which needs no internet."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ControllerRouterHandler

from ..errors import Problem
from ..intervals import Period
from ..records import ACCESS, KINDS, Answer, Available, Batch, Coverage, Grant, NewKey, Run
from .auth import PUBLIC
from .examples import EXAMPLES
from .problems import MEDIA

VERSION = "1"
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Observatory: the HTTP API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "v1/openapi.json", dom_id: "#reference", deepLinking: true})</script>
</body>
</html>
"""
# The page loads what this server has, and nothing else; Swagger's own styles are inline.
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'"
)
# What every operation may answer beside what it is for: each route need not say it again.
PROBLEMS = {
    "400": "The request is not HTTP or its body not JSON.",
    "404": "What was asked for does not exist.",
    "405": "The path does not know this method.",
    "409": "The book says otherwise.",
    "413": "The body is too large.",
    "415": "The body is not declared as application/json.",
    "421": "It was asked of a name that is not this machine's own.",
    "422": "The input cannot be accepted; `fields` says which field is wrong and the cure.",
    "500": "The server made a mistake.",
    "503": "It cannot be done now; repeat it.",
}


# What a list says beside its records.
NEXT = {
    "Link": {
        "description": "On a full page: the next one, relative to the path, with rel=next.",
        "schema": {"type": "string"},
        "example": '<?limit=100&after=100>; rel="next"',
    }
}


class Document(JsonRenderPlugin):
    """The document as Litestar finds it in the routes, made exact where only we know better."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Returns the document as JSON."""
        return msgspec.json.encode(exact(openapi_schema, request.app.routes))

    def receive_router(self, router: Router) -> None:
        """Leaves only the document's own route: Litestar answers the unknown ones beside it with a page."""
        router.routes = [route for route in router.routes if route.path.endswith(self.paths[0])]


def config() -> OpenAPIConfig:
    """Returns what Litestar must know to describe the routes."""
    return OpenAPIConfig(
        title="Observatory",
        version=VERSION,
        summary="The book that knows which data exists, which is missing, and why.",
        openapi_router=Router("/v1", route_handlers=[], opt={"right": PUBLIC}),
        render_plugins=[Document(path="/openapi.json", media_type=MediaType.JSON)],
        use_handler_docstrings=True,
    )


def exact(document: dict[str, Any], routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Returns the document with the schemas of msgspec, which know each limit, and every problem answered."""
    kinds = [*KINDS, *ACCESS, Grant, NewKey, Run, Period, Coverage, Answer, Batch, Available, Problem]
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for name, example in EXAMPLES.items():
        schemas[name] = {**schemas[name], "examples": [example]}
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    answers = {
        status: {"description": said, "content": {MEDIA: problem}} for status, said in PROBLEMS.items()
    }
    bodies = {
        handler.operation_id: handler.opt["body"].__name__
        for route in routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if "body" in handler.opt
    }
    operations = {
        path: {method: _whole(operation, bodies, answers) for method, operation in methods.items()}
        for path, methods in document["paths"].items()
    }
    return {**document, "paths": operations, "components": {"schemas": schemas}}


def routes() -> Router:
    """Returns the routes of the page and its assets."""
    static = files("swagger_ui") / "static"

    # Places are relative, because a proxy may serve all of this below a path of its own.
    @get("/", include_in_schema=False, sync_to_thread=False)
    def root() -> Redirect:
        return Redirect("docs")

    @get("/docs", include_in_schema=False, media_type=MediaType.HTML, sync_to_thread=False)
    def reference(request: Request[Any, Any, Any]) -> Response[Any]:
        if request.scope["raw_path"].endswith(b"/"):  # Litestar takes it from the path
            return Redirect("../docs")
        return Response(PAGE, media_type=MediaType.HTML, headers={"Content-Security-Policy": POLICY})

    @get("/docs/{name:str}", include_in_schema=False, sync_to_thread=True)
    def asset(name: FromPath[str]) -> Response[bytes]:
        if name not in ASSETS:
            raise NotFoundException(f"there is no {name!r}")
        headers = {"Cache-Control": "max-age=86400"}
        return Response((static / name).read_bytes(), media_type=ASSETS[name], headers=headers)

    handlers: list[ControllerRouterHandler] = [root, reference, asset]
    return Router("/", route_handlers=handlers, opt={"right": PUBLIC})


def _whole(operation: dict[str, Any], bodies: dict[Any, str], answers: dict[str, Any]) -> dict[str, Any]:
    """Returns an operation with its body, which its handler decodes itself, and with every problem."""
    own = {status: said for status, said in operation["responses"].items() if status < "400"}
    if any(asked["name"] == "limit" for asked in operation.get("parameters", [])):
        own["200"] = {**own["200"], "headers": NEXT}
    whole = {**operation, "responses": {**own, **answers}}
    if kind := bodies.get(operation["operationId"]):
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind}"}}}
        whole["requestBody"] = {"required": True, "content": content}
    return whole
