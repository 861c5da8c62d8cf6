-- Work for envoys, and what came of it.

create table workflows (
    id text primary key,
    name text not null,
    -- As it was asked for, with the envoys it was resolved to: JSON.
    spec text not null,
    author text not null,
    created_at integer not null,
    -- running | done | stopped
    state text not null,
    -- Why it was stopped.
    error text not null default '',
    ended_at integer,
    -- The server that carries it on, and until when it may be relied on to do so.
    driver text,
    driver_until integer not null default 0
) strict, without rowid;

create table tasks (
    -- UUIDv7: the order of creation.
    id text primary key,
    -- An encoded TaskWork.
    work blob not null,
    -- For lists: the name of the program, never its arguments.
    summary text not null,
    author text not null,
    created_at integer not null,
    -- No agent begins it later.
    not_after integer not null,
    -- Nobody waits for a result any longer.
    deadline integer not null,
    -- Its place in a workflow.
    workflow_id text references workflows (id) on delete cascade,
    step integer,
    batch integer
) strict, without rowid;

create index tasks_by_workflow on tasks (workflow_id);
create index tasks_by_time on tasks (created_at);

-- A task on one envoy.
create table task_targets (
    task_id text not null references tasks (id) on delete cascade,
    envoy_id text not null references envoys (id) on delete cascade,
    hostname text not null,
    -- When the task was made: online | promotable | offline
    reach text not null,
    -- queued | sent | running, and then ok | failed | timed-out | refused | expired | interrupted | unknown | offline
    state text not null,
    changed_at integer not null,
    exit_code integer,
    error text not null default '',
    duration_ms integer,
    -- What the command wrote, and how much of it was beyond the limit.
    output_bytes integer not null default 0,
    output_dropped integer not null default 0,
    primary key (task_id, envoy_id)
) strict, without rowid;

create index task_targets_open on task_targets (envoy_id, task_id) where state in ('queued', 'sent', 'running');

-- Output as it came; the same piece may come again.
create table task_output (
    task_id text not null,
    envoy_id text not null,
    piece integer not null,
    -- 1 standard output, 2 standard error, 3 the answer to a query
    source integer not null,
    data blob not null,
    primary key (task_id, envoy_id, piece),
    foreign key (task_id, envoy_id) references task_targets (task_id, envoy_id) on delete cascade
) strict, without rowid;
