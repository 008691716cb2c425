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
from ..leases import Claiming, Granted, Renewal, Renewed, Return, ToLoad
from ..records import (
    ACCESS,
    KINDS,
    LEASES,
    Adopted,
    Adoption,
    Answer,
    Available,
    Batch,
    Cadence,
    Contents,
    Coverage,
    DerivedRelease,
    Entry,
    Grant,
    Kept,
    NewKey,
    Run,
    StaleRelease,
)
from ..wants import DatasetStatus, Missing, MissingPage, MissingRun, Offer, Offered, Probe, Probed, Withdrawal
from .auth import PUBLIC
from .bodies import JSON, MERGE_PATCH
from .examples import EXAMPLES
from .lineage import Received
from .openlineage import RunEvent
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
    "404": "What was asked for, or is referred to, does not exist; or it is another organisation's.",
    "405": "The path does not know this method.",
    "409": "The book says otherwise.",
    "410": "It was there, and is kept no longer.",
    "412": "The record is no longer at the version that `If-Match` names: read it again.",
    "413": "The body is too large.",
    "415": "The body is not declared as application/json.",
    "422": "The input cannot be accepted; `fields` says which field is wrong and the cure.",
    "429": "This key asks too much in a short time; `Retry-After` says when to repeat it.",
    "500": "The server made a mistake.",
    "503": "It cannot be done now; repeat it.",
    "507": "There is no room to write; reading goes on.",
}
# What is answered where a key is asked for.
REFUSED = {
    "401": "No key was given, or none that opens this book.",
    "403": "The key is good, but its account has not this right.",
}
KEY = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "obs_<id>_<secret>_<checksum>",
    "description": "A key of an account; the right in `x-right` must be granted to it.",
}

# What an answer says beside its body.
NEXT = {
    "Link": {
        "description": "On a full page: the next one, relative to the path, with rel=next.",
        "schema": {"type": "string"},
        "example": '<?limit=100&after=100>; rel="next"',
    }
}
TAG = {
    "ETag": {
        "description": "Of which version this is; the answer still holds while its tag is the same.",
        "schema": {"type": "string"},
        "example": '"3-9f86d081884c7d65"',
    }
}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


IF_NONE_MATCH = _header("If-None-Match", "The tags of answers that the caller has: if one holds, it is 304.")
IF_MATCH = _header(
    "If-Match",
    'Asks that the record still be at this version, as in `"3"`; a tag that was answered is as good.',
    pattern=r'^(\*|(W/)?"?[1-9][0-9]{0,17}(-.*)?"?)$',
)
TOKEN = _header(
    "Idempotency-Key",
    "Names the request: for seven days it is done once, however often it is sent.",
    maxLength=250,
    pattern="^[!-~]([ -~]*[!-~])?$",
)


class Document(JsonRenderPlugin):
    """The document as Litestar finds it in the routes, made exact where only we know better."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Returns the document as JSON."""
        # Inside another application, it is below the path at which that mounted it.
        root = request.scope.get("app_root_path") or request.scope.get("root_path") or "/"
        document = {**openapi_schema, "servers": [{"url": root}]}
        return msgspec.json.encode(exact(document, request.app.routes))

    def receive_router(self, router: Router) -> None:
        """Leaves only the document's own route: Litestar answers the unknown ones beside it with a page."""
        router.routes = [route for route in router.routes if route.path.endswith(self.paths[0])]


def config() -> OpenAPIConfig:
    """Returns what Litestar must know to describe the routes."""
    return OpenAPIConfig(
        title="Observatory",
        version=VERSION,
        summary="The book that knows which data exists, which is missing, and why.",
        openapi_router=Router("/v1", route_handlers=[], opt={"right": PUBLIC}, include_in_schema=False),
        render_plugins=[Document(path="/openapi.json", media_type=MediaType.JSON)],
        use_handler_docstrings=True,
    )


def exact(document: dict[str, Any], routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Returns the document with the schemas of msgspec, which know each limit, and every problem answered."""
    kinds = [
        *KINDS,
        *ACCESS,
        *LEASES,
        NewKey,
        Grant,
        Entry,
        Run,
        Period,
        Coverage,
        DerivedRelease,
        StaleRelease,
        Answer,
        Batch,
        Available,
        Cadence,
        Probe,
        Probed,
        Offer,
        Offered,
        Missing,
        MissingRun,
        MissingPage,
        DatasetStatus,
        Withdrawal,
        Adoption,
        Received,
        RunEvent,
        Adopted,
        Contents,
        Kept,
        Claiming,
        ToLoad,
        Granted,
        Renewal,
        Renewed,
        Return,
        Problem,
    ]
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for name, example in EXAMPLES.items():
        schemas[name] = {**schemas[name], "examples": [example]}
    told = {
        handler.operation_id: handler.opt
        for route in routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    }
    operations = {
        path: {
            method: _whole(method, operation, told[operation["operationId"]])
            for method, operation in methods.items()
        }
        for path, methods in document["paths"].items()
    }
    components = {"schemas": schemas, "securitySchemes": {"key": KEY}}
    return {**document, "paths": operations, "components": components}


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


def _whole(method: str, operation: dict[str, Any], opt: dict[str, Any]) -> dict[str, Any]:
    """Returns an operation with its right, its headers, its body and every problem that it may answer."""
    right = opt["right"]
    is_public = right == PUBLIC
    own = {status: said for status, said in operation["responses"].items() if status < "400"}
    parameters = list(operation.get("parameters", []))
    if any(asked["name"] == "limit" for asked in parameters):
        own["200"] = _with_headers(own["200"], NEXT)
    if not is_public:
        parameters += _headers(method, own, opt)
    whole = {**operation, "responses": {**own, **_problems(is_public)}}
    if parameters:
        whole["parameters"] = parameters
    whole["security"] = [] if is_public else [{"key": []}]
    if not is_public:
        whole["x-right"] = right
    if "body" in opt:
        schema = {"schema": {"$ref": f"#/components/schemas/{opt['body'].__name__}"}}
        media = [JSON, MERGE_PATCH] if method == "patch" else [JSON]
        whole["requestBody"] = {"required": True, "content": dict.fromkeys(media, schema)}
    return whole


def _headers(method: str, own: dict[str, Any], opt: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the headers that an operation reads, and notes with its answers those that it sends."""
    if method in ("patch", "delete"):
        return [IF_MATCH]
    if method == "post":
        return [TOKEN] if opt["right"] != "read" else []
    if opt.get("is_tagged", True):
        own["200"] = _with_headers(own["200"], TAG)
        own["304"] = {"description": "The caller has the answer already, by its tag.", "headers": TAG}
        return [IF_NONE_MATCH]
    return []


def _with_headers(answer: dict[str, Any], headers: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "headers": {**answer.get("headers", {}), **headers}}


def _problems(is_public: bool) -> dict[str, Any]:
    said = PROBLEMS if is_public else {**REFUSED, **PROBLEMS}
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": why, "content": content} for status, why in sorted(said.items())}
