-- What streams and dispatch need of the database; times are milliseconds since 1970-01-01 UTC.
-- The next migration takes it over; this file goes away then.

-- A piece of work for a set of envoys.
create table tasks (
  id text primary key,                  -- UUIDv7: the order of creation
  work blob not null,                   -- an encoded pb::TaskWork: command or query
  summary text not null,                -- for lists: the program's name or the query, never arguments
  author text not null,
  created_at integer not null,
  not_after integer not null,           -- no agent starts it later
  idempotent integer not null,          -- may run again after a crash
  workflow_id text references workflows (id) on delete cascade,
  step integer, batch integer           -- place in the workflow
);
create index tasks_by_workflow on tasks (workflow_id);

-- One envoy of a task: its place and its result.
create table task_targets (
  task_id text not null references tasks (id) on delete cascade,
  envoy_id text not null references envoys (id) on delete cascade,
  hostname text not null,
  reach text not null,                  -- online | promotable | offline, when the task was made
  state text not null,                  -- queued | sent | running | ok | failed | timed-out | refused | unknown | expired | interrupted
  changed_at integer not null,
  exit_code integer,
  error text not null default '',
  duration_ms integer,
  output_bytes integer not null default 0,    -- written by the command
  output_dropped integer not null default 0,  -- of them beyond the limit
  primary key (task_id, envoy_id)
);
-- Work of an envoy that opens its stream; of all envoys, once a second (other replicas add to it).
create index task_targets_open on task_targets (envoy_id, task_id) where state in ('queued', 'sent', 'running');

-- Output as it came; the same piece may come again.
create table task_results (
  task_id text not null,
  envoy_id text not null,
  piece integer not null,
  source integer not null,              -- 1 stdout, 2 stderr, 3 the value of a query (JSON)
  data blob not null,
  primary key (task_id, envoy_id, piece),
  foreign key (task_id, envoy_id) references task_targets (task_id, envoy_id) on delete cascade
);

create table workflows (
  id text primary key,
  name text not null,
  spec text not null,                   -- JSON as it was asked for, targets resolved to ids
  author text not null,
  created_at integer not null,
  state text not null,                  -- running | done | stopped
  error text not null default '',
  ended_at integer
);
