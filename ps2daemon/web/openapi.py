"""The API's description, OpenAPI 3.1: made of the table of addresses, their parameters, and the types of their answers; nothing is written twice."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from ps2daemon import __version__
from ps2daemon.analysis.answers import ErrorAnswer
from ps2daemon.analysis.documents import Document
from ps2daemon.web.endpoints import DESCRIBED, Endpoint
from ps2daemon.web.parameters import Parameter
from ps2daemon.web.responses import CSV, JSON

PLACE: Final = "#/components/schemas/"
ERRORS: Final = {
    "400": "A parameter is unknown, doubled or wrong, or the request would cost too much.",
    "406": "`Accept` takes none of the forms that there are.",
    "503": "The store can't be read, too many requests are being answered already, or this one took too long.",
}


def schema() -> Document:
    """The document."""
    types = [ErrorAnswer, *(endpoint.answer for endpoint in DESCRIBED)]
    (error, *roots), components = msgspec.json.schema_components(types, ref_template=f"{PLACE}{{name}}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ps2daemon",
            "version": __version__,
            "summary": "Who is online in PlanetSide 2, minute by minute, and what was recorded.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api/v1"}],
        "paths": {
            f"/{endpoint.name}": {"get": _operation(endpoint, root, error)}
            for endpoint, root in zip(DESCRIBED, roots, strict=True)
        },
        "components": {"schemas": {name: _closed(found) for name, found in components.items()}},
    }


@cache
def encoded() -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=1)


def _operation(endpoint: Endpoint[Any], answer: Document, error: Document) -> Document:
    content: Document = {JSON: {"schema": answer}}
    if endpoint.sheet is not None:
        content[CSV] = {"schema": {"type": "string"}}
    return {
        "operationId": endpoint.name.replace("/", "_"),
        "summary": (endpoint.ask.__doc__ or "").strip(),
        "parameters": [_parameter(each) for each in endpoint.takes],
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **{
                status: {"description": why, "content": {JSON: {"schema": error}}}
                for status, why in ERRORS.items()
            },
        },
    }


def _parameter(parameter: Parameter) -> Document:
    of: Document = {"type": "string"}
    example: object = parameter.example
    default: object = parameter.default
    if parameter.most is not None:
        of = {"type": "integer", "minimum": 1, "maximum": parameter.most}
        example = int(parameter.example)
        default = None if parameter.default is None else int(parameter.default)
    elif parameter.choices:
        of["enum"] = list(parameter.choices)
    if default is not None:
        of["default"] = default
    if parameter.repeated:
        of = {"type": "array", "items": of}
        example = [example]
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.about,
        "schema": of,
        "example": example,
    }


def _closed(found: Document) -> Document:
    """The same of an object that has nothing but what is named; its description without the indentation of the code."""
    if "description" in found:
        found = found | {"description": " ".join(found["description"].split())}
    return found | {"additionalProperties": False} if "properties" in found else found
