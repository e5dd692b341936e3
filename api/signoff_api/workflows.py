"""Workflows: register definitions and read them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response

from signoff import strict_json
from signoff.authorization import Action, WorkflowFacts, authorize, authorize_list
from signoff.errors import FieldError, InvalidInput
from signoff.store.queries_workflows import get_version, list_workflows
from signoff_api import answer_models, request_models
from signoff_api.answers import answer
from signoff_api.context import Context
from signoff_api.promises import LOCATION
from signoff_api.requests import JSON, YAML, Document
from signoff_api.routing import Answer, Routes

if TYPE_CHECKING:
    from signoff.definition.compiler import Compiled

routes = Routes(tag="workflows", description="Named processes and their immutable versions.")

_VERSION = Answer(description="The version with its graph.", model=answer_models.Version)


@routes.route(
    "GET", "/workflows", answers={200: Answer(description="By name.", model=answer_models.VersionPage)}, problems=(403,)
)
def read_workflows(context: Context, query: request_models.PageQuery) -> Response:
    """List workflows, each with its newest version."""
    shown = authorize_list(context.principal, Action.READ_WORKFLOWS)
    page = list_workflows(context.engine.database, shown, limit=query.limit, cursor=query.cursor)
    return answer(page.to_json())


@routes.route("GET", "/workflows/{name}", answers={200: _VERSION}, problems=(403, 404))
def read_workflow(context: Context, name: str) -> Response:
    """Read the newest version of a workflow."""
    authorize(context.principal, Action.READ_WORKFLOWS, WorkflowFacts(workflow=name))
    return answer(get_version(context.engine.database, name).to_json())


@routes.route("GET", "/workflows/{name}/versions/{number}", answers={200: _VERSION}, problems=(403, 404))
def read_workflow_version(context: Context, name: str, number: int) -> Response:
    """Read one version of a workflow."""
    authorize(context.principal, Action.READ_WORKFLOWS, WorkflowFacts(workflow=name))
    return answer(get_version(context.engine.database, name, number).to_json())


@routes.route(
    "PUT",
    "/workflows/{name}",
    answers={
        201: Answer(description="A new version.", model=answer_models.Registered, headers=(LOCATION,)),
        200: Answer(description="The version it was already.", model=answer_models.Registered, headers=(LOCATION,)),
    },
    problems=(403,),
    media_types=(JSON, *YAML),
)
def register_workflow(context: Context, name: str, document: Document) -> Response:
    """Register a definition, in JSON or YAML.

    The same content is the same version. A definition with faults is refused whole, with every fault listed.
    Steps are references that workers load; this server never imports them.
    """
    authorize(context.principal, Action.REGISTER_WORKFLOW, WorkflowFacts(workflow=name))
    compiled = _compile(name, document)
    registered = context.engine.register(compiled.graph, by=context.principal.actor)
    found = get_version(context.engine.database, registered.workflow, registered.number).to_json()
    found["warnings"] = [fault.to_json() for fault in compiled.warnings]
    where = f"/api/v1/workflows/{registered.workflow}/versions/{registered.number}"
    return answer(found, 201 if registered.created else 200, {"Location": where})


def _compile(name: str, document: Document) -> Compiled:
    # The compiler brings CEL and YAML with it: a second of import that only this operation needs.
    from signoff.definition.document import MAX_BYTES, compile_document, parse_yaml

    if document.media_type == JSON:
        parsed = strict_json.loads(document.data, max_bytes=MAX_BYTES)
        if not isinstance(parsed, dict):
            raise InvalidInput(errors=[FieldError(path="/", message="is no object", fix="send {workflow, steps}")])
    else:
        parsed = parse_yaml(document.data)
    if parsed.get("workflow", name) != name:
        wrong = f"is not {name!r}, the name in the path"
        raise InvalidInput(errors=[FieldError(path="/workflow", message=wrong, fix="use one name in both")])
    return compile_document(parsed)
