-- What has to be true of every database of Signoff at any moment between transactions. One row a violation, none at
-- best: (invariant, run_id, detail). It reads and locks nothing, and knows nothing of any workflow.

WITH log AS (
    SELECT run_id, seq, type, data, prev_hash, hash,
        lag(seq) OVER of_run AS seq_before,
        lag(hash) OVER of_run AS hash_before,
        lead(seq) OVER of_run AS seq_behind,
        count(*) FILTER (WHERE type IN ('gate.decided', 'gate.passed', 'run.retried')) OVER of_run AS visit
    FROM events
    WINDOW of_run AS (PARTITION BY run_id ORDER BY seq)
), gates AS (
    SELECT run_id, seq, type, data ->> 'human_task_id' AS human_task_id,
        lag(type) OVER (PARTITION BY run_id, data ->> 'human_task_id' ORDER BY seq) AS type_before
    FROM events
    WHERE type IN ('gate.opened', 'gate.revised', 'gate.decided')
)

SELECT 'the log has no holes' AS invariant, run_id, 'event ' || seq AS detail
FROM log WHERE seq <> coalesce(seq_before, 0) + 1
UNION ALL
SELECT 'each event names the hash before it', run_id, 'event ' || seq
FROM log WHERE prev_hash <> coalesce(hash_before, decode(repeat('00', 32), 'hex'))
UNION ALL
SELECT 'the head is that of the log', r.id, 'head ' || r.seq || ', log ' || coalesce(l.seq, 0)
FROM runs r LEFT JOIN log l ON l.run_id = r.id AND l.seq_behind IS NULL
WHERE l.seq IS NULL OR l.seq <> r.seq OR l.hash <> r.hash
UNION ALL
SELECT 'a gate has one outcome', run_id, human_task_id || ' is decided again by event ' || seq
FROM gates WHERE type = 'gate.decided' AND type_before = 'gate.decided'
UNION ALL
SELECT 'a step is recorded once a visit', run_id, (data ->> 'step') || ' ' || count(*) || ' times'
FROM log WHERE type = 'step.completed'
GROUP BY run_id, data ->> 'step', visit HAVING count(*) > 1
UNION ALL
SELECT 'a run has one end', run_id, count(*) || ' ends'
FROM log WHERE type IN ('run.completed', 'run.canceled') GROUP BY run_id HAVING count(*) > 1
UNION ALL
SELECT 'a run that stands still is held by nobody', id, status
FROM runs
WHERE status IN ('waiting', 'completed', 'failed', 'canceled') AND (worker IS NOT NULL OR due_at IS NOT NULL)
UNION ALL
SELECT 'a run that moves is looked at again', id, status
FROM runs WHERE status IN ('queued', 'running', 'retrying') AND due_at IS NULL
UNION ALL
SELECT 'a run is held by a worker exactly while it runs', id, status
FROM runs WHERE (status = 'running') <> (worker IS NOT NULL)
UNION ALL
SELECT 'a waiting run waits for somebody', id, coalesce(node, '')
FROM runs r
WHERE status = 'waiting' AND NOT EXISTS (
    SELECT FROM human_tasks t
    WHERE t.run_id = r.id AND t.gate = r.node AND t.mode = 'before' AND t.completed_at IS NULL
)
UNION ALL
SELECT 'nobody is asked about a run that is over', r.id, t.id::text
FROM runs r JOIN human_tasks t ON t.run_id = r.id
WHERE r.status IN ('completed', 'canceled') AND t.state = 'open' AND t.mode = 'before'
UNION ALL
SELECT 'a finished run says when', id, status
FROM runs WHERE (status IN ('completed', 'failed', 'canceled')) <> (finished_at IS NOT NULL)
UNION ALL
SELECT 'a human task has an outcome once it is completed', run_id, id::text
FROM human_tasks WHERE state = 'completed' AND (outcome IS NULL OR decided_by IS NULL)
UNION ALL
SELECT 'what is over wakes nobody', run_id, id::text
FROM human_tasks WHERE state IN ('completed', 'canceled') AND wake_at IS NOT NULL
UNION ALL
SELECT 'a decision is in the log', d.run_id, d.id::text
FROM decisions d
WHERE NOT EXISTS (
    SELECT FROM events e
    WHERE e.run_id = d.run_id AND e.seq <= d.seq AND e.type = 'decision.recorded'
        AND e.data ->> 'decision_id' = d.id::text AND e.data ->> 'decision' = d.decision
)
UNION ALL
SELECT 'a decision of the log has its row', run_id, 'event ' || seq
FROM log l
WHERE type = 'decision.recorded' AND data ->> 'withdraws' IS NULL
    AND NOT EXISTS (SELECT FROM decisions d WHERE d.run_id = l.run_id AND d.id::text = l.data ->> 'decision_id')
UNION ALL
SELECT 'a decision is on its own run', d.run_id, d.id::text
FROM decisions d JOIN human_tasks t ON t.id = d.human_task_id WHERE t.run_id <> d.run_id
UNION ALL
SELECT 'one person has one voice on a revision', run_id, human_task_id || ' ' || principal_id
FROM decisions WHERE NOT withdrawn
GROUP BY run_id, human_task_id, revision, principal_id HAVING count(*) > 1
UNION ALL
SELECT 'a key is stored with its result', NULL, key
FROM idempotency_keys WHERE result IS NULL
UNION ALL
SELECT 'an event is told once to an endpoint', run_id, endpoint_id || ' event ' || seq
FROM webhook_deliveries WHERE run_id IS NOT NULL
GROUP BY run_id, endpoint_id, seq HAVING count(*) > 1
