"""LangGraph with its PostgreSQL checkpointer: a graph whose third node interrupts.

`default` saves after each step, in the background; `exit` saves when a run stops, which is at the interrupt. Each
thread has a checkpointer of its own: one of them lets a single thread at a time to the database.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from psycopg import Connection
from psycopg.rows import dict_row

from tests.bench.peers.child import Peer, Tally, complaint, folder, serve, setting

TALLY = Tally(folder())
THREADS = 4


class State(TypedDict, total=False):
    order_id: str
    amount: float
    reply: str
    confidence: float
    decision: dict[str, Any]


def analyse(state: State) -> State:
    return {"amount": state["amount"]}


def draft(state: State) -> State:
    return {"reply": state["reply"], "confidence": state["confidence"]}


def gate(state: State) -> State:
    return {"decision": interrupt({"amount": state["amount"], "reply": state["reply"]})}


def send(state: State) -> State:
    TALLY.done(time.time())
    return {}


def step(state: State) -> State:
    return {"amount": state["amount"]}


def refund_graph() -> Any:
    graph = StateGraph(State)
    names = ["analyse", "draft", "gate", "send"]
    for name, node in zip(names, (analyse, draft, gate, send), strict=True):
        graph.add_node(name, node)
    return _in_a_row(graph, names)


def plain_graph() -> Any:
    graph = StateGraph(State)
    names = ["first", "second", "third", "send"]
    for name, node in zip(names, (step, step, step, send), strict=True):
        graph.add_node(name, node)
    return _in_a_row(graph, names)


def _in_a_row(graph: Any, names: list[str]) -> Any:
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return graph


class Threads:
    """A few threads, each with a connection as the checkpointer's documentation makes it."""

    def __init__(self) -> None:
        url = os.environ["BENCH_DATABASE_URL"]
        if os.environ["BENCH_NUMBER"] == "0":
            with PostgresSaver.from_conn_string(url) as saver:
                saver.setup()
        self._url = url
        self._own = threading.local()
        self._saving = {"durability": "exit"} if setting() == "exit" else {}
        self._threads = ThreadPoolExecutor(THREADS)

    def park(self, count: int) -> list[str]:
        return list(self._threads.map(self._start, range(count)))

    def decide(self, runs: list[str]) -> None:
        list(self._threads.map(self._resume, runs))

    def plain(self, count: int) -> None:
        list(self._threads.map(self._plain, range(count)))

    def close(self) -> None:
        self._threads.shutdown()

    def _graphs(self) -> tuple[Any, Any]:
        if not hasattr(self._own, "graphs"):
            connection = Connection.connect(self._url, autocommit=True, prepare_threshold=0, row_factory=dict_row)
            saver = PostgresSaver(connection)
            self._own.graphs = (
                refund_graph().compile(checkpointer=saver),
                plain_graph().compile(checkpointer=saver),
            )
        graphs: tuple[Any, Any] = self._own.graphs
        return graphs

    def _start(self, number: int) -> str:
        run = str(uuid.uuid4())
        self._graphs()[0].invoke(complaint(number), {"configurable": {"thread_id": run}}, **self._saving)
        TALLY.parked()
        return run

    def _resume(self, run: str) -> None:
        decision = Command(resume={"decision": "approve"})
        self._graphs()[0].invoke(decision, {"configurable": {"thread_id": run}}, **self._saving)

    def _plain(self, number: int) -> None:
        config = {"configurable": {"thread_id": str(uuid.uuid4())}}
        self._graphs()[1].invoke(complaint(number), config, **self._saving)


def make(tally: Tally) -> Peer:
    return Threads()


if __name__ == "__main__":
    serve(make)
