-- What happened to the fleet, on its way to whoever wants to know.

create table events (
    -- The order of delivery.
    seq integer primary key,
    id text not null unique,
    at integer not null,
    -- The body as it is sent: JSON.
    body text not null
) strict;

-- What was told last of each envoy: the four words of its status.
create table told_status (
    envoy_id text primary key references envoys (id) on delete cascade,
    health text not null,
    drift text not null,
    reachability text not null,
    compliance text not null
) strict, without rowid;

create table told (
    only_row integer primary key,
    -- Of the last event.
    seq integer not null,
    -- The last release, and the last refusal, that there is an event of.
    release_serial integer not null,
    refused_at integer not null,
    -- The server that watches and sends, and until when it may be relied on to do so.
    teller text not null,
    teller_until integer not null
) strict;
