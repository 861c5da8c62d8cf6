-- Which certificates an envoy may come with. `public_key` of an envoy is that of the certificate in use.

alter table envoys add column certificate_serial text not null default '';
alter table envoys add column certificate_issued_at integer not null default 0;
alter table envoys add column certificate_expires_at integer not null default 0;

-- Issued, and not used yet; the one in use is good until it is.
alter table envoys add column next_key blob;
alter table envoys add column next_serial text not null default '';
alter table envoys add column next_issued_at integer not null default 0;
alter table envoys add column next_expires_at integer not null default 0;

-- The one before the one in use, and until when it is let in beside it.
alter table envoys add column previous_key blob;
alter table envoys add column previous_until integer not null default 0;

-- When any of it changed; other servers look for that.
alter table envoys add column keys_changed_at integer not null default 0;

create index envoys_by_next_key on envoys (next_key) where next_key is not null;
create index envoys_by_keys_changed on envoys (keys_changed_at) where keys_changed_at > 0;
