-- Which envoys of a batch were not well after it. Judged once: whoever carries a workflow on later must not judge again by
-- what became of them since.

create table workflow_verdicts (
    workflow_id text not null references workflows (id) on delete cascade,
    batch integer not null,
    -- Host names: JSON.
    unwell text not null,
    primary key (workflow_id, batch)
) strict, without rowid;
