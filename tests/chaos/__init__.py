"""The fault suite: real processes, real faults, and a world outside that keeps its own books.

    make chaos                      every promise at its full figures; writes docs/chaos.json
    make chaos ARGS="--lanes 2"     the same in two thirds of the time: two scenarios at once
    make chaos ARGS="--promise 9"   one promise; the others stay in docs/chaos.json as they were
    make chaos TIER=ci              the reduced figures, within 15 minutes
    python -m tests.chaos --tier slice --promise 1,4 --seed 7
    python -m tests.chaos.mutants --promise 1     each guard taken out: caught or missed

How the parts fit:

- `plant.py` has the real processes: a PostgreSQL, a broker, the API, workers, a beat, our receiver. It starts again
  what dies, as systemd would, and everything it talks through is one of our proxies.
- `faults.py` harms it: kills and freezes by process id, wipes, restarts, cuts, half-open connections, failpoints. It
  counts a fault only once it has seen that it happened.
- `receiver.py` is the world outside: a process with a ledger in SQLite. `proxy.py` is a wire that can be cut.
- `workload.py` says, from the seed alone, what each run is for and what has to come of it. `load.py` lets clients do it
  over HTTP (`client.py`): start, decide, cancel, and try again under the same key until there is an answer.
- `oracle.py` judges afterwards, `check_invariants.sql` within: every log replayed to its head, every chain verified,
  every 2xx decision found, the receiver's ledger against the plan. No scenario ends without it.
- `registry.py` is what a scenario is written against, `scenarios/` has one module a promise, found by itself.
- `guards.py` lists the guards that `mutants.py` takes out, `mutated.py` starts a process without one of them.
- `table.py` and `__main__.py` print progress and the table, and write docs/chaos.json; `lanes.py` plays two at once.

To add a promise: a module in `scenarios/` with one function under `@scenario(promise=N, title=…, sizes={…})`. It is
handed an `Arena`: take a plant from it, drive a `Load`, and give back `arena.judged(load, faults, …)`. Then add its
mutants to `guards.py`, each with a promise number; a mutant is run at the tier `slice`, or `ci` where it says so.

A figure that a scenario does not reach is a failure like a lost run: too few faults, no progress, recovery too late.
Scenarios are repeatable by their seed in what they do and in which order; the machine's own timing remains.
"""
