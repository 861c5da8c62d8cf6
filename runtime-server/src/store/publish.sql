-- Who does what to publishing.

alter table publish_state add column frozen_by text not null default '';
alter table publish_state add column refused_author text not null default '';
