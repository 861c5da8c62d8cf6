-- Numbers are milliseconds since 1970-01-01 UTC where they are times, and 0 or 1 where they are flags. Read by both
-- databases; schema.rs says in which words.

create table meta (
    key text primary key,
    value blob not null
) strict, without rowid;

create table tokens (
    id text primary key,
    -- SHA-256 of the token; the token itself is shown once and stored nowhere.
    hash blob not null unique,
    hostname_glob text not null,
    created_at integer not null,
    expires_at integer not null,
    used_at integer,
    used_by text,
    revoked_at integer
) strict, without rowid;

create table envoys (
    id text primary key,
    hostname text not null,
    public_key blob not null unique,
    seal_key blob not null,
    enrolled_at integer not null,
    revoked_at integer,
    counter integer not null default 0,
    -- Content is (modules, variables, order, secret versions); seq grows with it.
    seq integer not null default 0,
    content text not null default '',
    policy_version text not null default '',
    traits blob,
    last_seen integer,
    interval_ms integer not null default 0,
    agent_version text not null default '',
    -- Every result up to here was stored or is known to be lost.
    acknowledged_seq integer not null default 0
) strict, without rowid;

-- A name belongs to one envoy at a time.
create unique index envoys_by_hostname on envoys (hostname) where revoked_at is null;

-- Those that were revoked are looked for whenever somebody changes something.
create index envoys_revoked on envoys (revoked_at) where revoked_at is not null;

create table releases (
    serial integer primary key,
    published_at integer not null,
    digest blob not null,
    author text not null default '',
    message text not null default '',
    -- What changed, and on which envoys: JSON, or empty.
    summary text not null default '',
    blast_radius text not null default '',
    rolled_back_from integer
) strict;

-- Files by the SHA-256 of their bytes.
create table blobs (
    hash blob primary key,
    bytes blob not null
) strict, without rowid;

create table release_files (
    serial integer not null references releases (serial) on delete cascade,
    path text not null,
    hash blob not null references blobs (hash),
    primary key (serial, path)
) strict, without rowid;

create table publish_state (
    only_row integer primary key,
    -- Nothing is published before.
    frozen_until integer not null default 0,
    frozen_reason text not null default '',
    -- The last policy that came, when it had errors.
    refused_digest blob,
    refused_at integer not null default 0,
    refused_diagnostics text not null default ''
) strict;

create table runs (
    envoy_id text not null references envoys (id) on delete cascade,
    run_id text not null,
    result_seq integer not null,
    received_at integer not null,
    started_at integer not null,
    duration_ms integer not null,
    policy_version text not null,
    release_serial integer not null,
    seq integer not null,
    offline integer not null,
    interrupted integer not null,
    ok integer not null,
    changed integer not null,
    failed integer not null,
    skipped integer not null,
    dropped_from integer,
    dropped_to integer,
    -- SHA-256 of the report as received, to tell a repetition from a contradiction.
    digest blob not null,
    -- A run with `--only`: the module or resource that it was limited to.
    part text,
    primary key (envoy_id, run_id)
) strict, without rowid;

create index runs_by_seq on runs (envoy_id, result_seq);
create index runs_by_time on runs (received_at);

create table results (
    envoy_id text not null,
    run_id text not null,
    position integer not null,
    module text not null,
    resource text not null,
    type text not null,
    outcome text not null,
    action text not null,
    error text not null,
    duration_ms integer not null,
    primary key (envoy_id, run_id, position),
    foreign key (envoy_id, run_id) references runs on delete cascade
) strict, without rowid;

-- Results that an envoy numbered and that never came.
create table lost_results (
    envoy_id text not null references envoys (id) on delete cascade,
    from_seq integer not null,
    to_seq integer not null,
    noticed_at integer not null,
    primary key (envoy_id, from_seq)
) strict, without rowid;

-- The servers that are up, each with the signing key of its own.
create table servers (
    instance_id text primary key,
    epoch integer not null,
    key_id blob not null,
    started_at integer not null,
    -- When it last said that it is up.
    seen_at integer not null
) strict, without rowid;
