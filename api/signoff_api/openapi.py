"""The OpenAPI document, written from the declarations that requests are parsed by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from signoff_api import answer_models, problems, request_models
from signoff_api.requests import JSON
from signoff_api.routing import MAX_NUMBER, MAX_PATH_TEXT, Answer, Header, Operation, Routes

SECURITY = "api_key"
SIGNED = "signature"
_REF = "#/components/schemas/{model}"

_PLACES: Mapping[type, Mapping[str, Any]] = {
    UUID: {"type": "string", "format": "uuid"},
    int: {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER},
    str: {"type": "string", "minLength": 1, "maxLength": MAX_PATH_TEXT},
}


def describe(features: Sequence[Routes]) -> dict[str, Any]:
    """The document (OpenAPI 3.1) of all operations of these features."""
    operations = [operation for routes in features for operation in routes.operations]
    tags = {routes.tag: routes.description for routes in features}
    schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Signoff",
            "version": _release(),
            "summary": "Workflows on Celery that stop exactly where a person must decide.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag, "description": text} for tag, text in tags.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                SECURITY: {"type": "http", "scheme": "bearer", "description": "An API key: `so_…`."},
                SIGNED: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "By the callback's secret, as Standard Webhooks has it.",
                },
            },
        },
    }


def _release() -> str:
    try:
        return version("signoff")
    except PackageNotFoundError:
        return "0"


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Every model that is named, once."""
    named: dict[type[BaseModel], None] = {answer_models.Problem: None, request_models.WorkflowDocument: None}
    for operation in operations:
        answers = (found.model for found in operation.answers.values())
        for model in (operation.body, operation.signed_body, operation.query, *answers):
            if model is not None:
                named[model] = None
    _, found = models_json_schema([(model, "validation") for model in named], ref_template=_REF)
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*_places(operation), *_parameters(operation, schemas), *map(_header, operation.headers)],
        "responses": _answers(operation) | _problems(operation),
        "security": [] if operation.public else [{SIGNED if operation.signed_body else SECURITY: []}],
    }
    if operation.description:
        found["description"] = operation.description
    body = operation.body or operation.signed_body
    if body is not None:
        found["requestBody"] = _body(body, operation.media_types, required=not operation.body_optional)
    if operation.takes_document:
        found["requestBody"] = _body(request_models.WorkflowDocument, operation.media_types, required=True)
    return {key: value for key, value in found.items() if value != [] or key == "security"}


def _places(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": dict(_PLACES[kind])}
        for name, kind in operation.path_parameters.items()
    ]


def _parameters(operation: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    found = []
    # Query models are spelled out as parameters, so the document needs no schema of their name.
    for name, field in schemas[operation.query.__name__].get("properties", {}).items():
        schema = _without_null(field)
        description = schema.pop("description", "")
        found.append({"name": name, "in": "query", "description": description, "schema": schema})
    return found


def _without_null(field: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: one that is left out is not there, it is never null."""
    schema = {key: value for key, value in field.items() if key not in ("anyOf", "title", "default")}
    choices = [choice for choice in field.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema |= choices[0]
    elif choices:
        schema["anyOf"] = choices
    if field.get("default") is not None:
        schema["default"] = field["default"]
    return schema


def _header(header: Header) -> dict[str, Any]:
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "schema": dict(header.schema),
    }


def _body(model: type[BaseModel], media_types: Sequence[str], *, required: bool) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"required": required, "content": {media: {"schema": schema} for media in media_types}}


def _answers(operation: Operation) -> dict[str, Any]:
    found = {}
    for status, answer in operation.answers.items():
        found[str(status)] = {
            "description": answer.description,
            "content": {answer.media_type: {"schema": _answer_schema(answer)}},
        } | _headers(answer.headers)
    return found


def _answer_schema(answer: Answer) -> dict[str, Any]:
    if answer.model is not None:
        return {"$ref": _REF.format(model=answer.model.__name__)}
    return {"type": "object" if answer.media_type == JSON else "string"}


def _headers(headers: Sequence[Header]) -> dict[str, Any]:
    described = {header.name: {"description": header.description, "schema": dict(header.schema)} for header in headers}
    return {"headers": described} if described else {}


def _problems(operation: Operation) -> dict[str, Any]:
    statuses = set(operation.problems)
    if not operation.public:
        statuses |= {401, 413, 422, 500, 503}
    if operation.body is not None or operation.signed_body is not None or operation.takes_document:
        statuses |= {400, 415}
    if operation.headers:
        statuses |= {400}
    if operation.path_parameters:
        statuses |= {404}
    return {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        for status in sorted(statuses)
    }
