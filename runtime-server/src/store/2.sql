-- A run with `--only`: the module or resource that it was limited to.
alter table runs add column part text;
