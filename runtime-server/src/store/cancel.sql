-- Work that was taken back, and bundles that are to be sent again.

alter table tasks add column cancelled_at integer;

-- Until the envoy has it, whichever server gives it out.
create table pushes (
    envoy_id text primary key references envoys (id) on delete cascade,
    asked_at integer not null
) strict, without rowid;
