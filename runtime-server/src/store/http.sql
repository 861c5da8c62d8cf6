-- What the REST API and the dashboard need.

create table api_tokens (
    id text primary key,
    -- SHA-256 of the token; the token itself is shown once and stored nowhere.
    hash blob not null unique,
    name text not null,
    role text not null,
    created_at integer not null,
    expires_at integer not null,
    revoked_at integer
) strict, without rowid;

create table audit (
    seq integer primary key,
    at integer not null,
    actor text not null,
    action text not null,
    subject text not null,
    details text not null,
    -- Over this entry and the hash of the one before.
    hash blob not null
) strict;

-- The number and the hash of the last entry; its row is locked by whoever adds one.
create table audit_head (
    only_row integer primary key,
    seq integer not null,
    hash blob not null
) strict;

create table compliance_samples (
    at integer primary key,
    active integer not null,
    compliant integer not null,
    non_compliant integer not null,
    unknown integer not null
) strict;
