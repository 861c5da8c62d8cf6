-- However many believe that they carry a workflow on, a step of it is one task for a batch.

drop index tasks_by_workflow;
create unique index tasks_by_step on tasks (workflow_id, step, batch);
