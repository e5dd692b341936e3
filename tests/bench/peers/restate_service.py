"""The handlers of the Restate peer, served by hypercorn: a workflow that awaits a durable promise."""

from __future__ import annotations

import time
from typing import Any

import restate
from restate import Workflow, WorkflowContext, WorkflowSharedContext

from tests.bench.peers.child import Tally, folder

TALLY = Tally(folder())

refund = Workflow("refund")
plain = Workflow("plain")


def step(value: dict[str, Any]) -> dict[str, Any]:
    return value


def draft(value: dict[str, Any]) -> dict[str, Any]:
    TALLY.parked()
    return value


def send(value: dict[str, Any]) -> dict[str, Any]:
    TALLY.done(time.time())
    return value


@refund.main()
async def run(ctx: WorkflowContext, value: dict[str, Any]) -> dict[str, Any]:
    analysed = await ctx.run_typed("analyse", step, value=value)
    drafted = await ctx.run_typed("draft", draft, value=analysed)
    await ctx.promise("decision").value()
    return await ctx.run_typed("send", send, value=drafted)


@refund.handler()
async def decide(ctx: WorkflowSharedContext, decision: dict[str, Any]) -> None:
    await ctx.promise("decision").resolve(decision)


@plain.main(name="run")
async def run_plain(ctx: WorkflowContext, value: dict[str, Any]) -> dict[str, Any]:
    for name in ("first", "second", "third"):
        value = await ctx.run_typed(name, step, value=value)
    return await ctx.run_typed("send", send, value=value)


app = restate.app([refund, plain])
