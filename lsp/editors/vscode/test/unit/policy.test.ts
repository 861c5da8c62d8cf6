import assert from "node:assert/strict";
import test from "node:test";
import { isTemplate, policyRoot, type Disk } from "../../src/policy";

const disk = (files: string[], folders: string[]): Disk => ({
  isFile: (path) => files.includes(path),
  isFolder: (path) => folders.includes(path),
});

test("the nearest folder with modules, nodes.vgo or roles.vgo is the root", () => {
  const here = disk(["/w/acme/nodes.vgo", "/w/other/roles.vgo"], ["/w/lib/modules"]);
  assert.equal(policyRoot("/w/acme/web/common.vgo", here), "/w/acme");
  assert.equal(policyRoot("/w/other/x.vgo", here), "/w/other");
  assert.equal(policyRoot("/w/lib/modules/a/b.vgo", here), "/w/lib");
  assert.equal(policyRoot("/elsewhere/x.vgo", here), undefined);
});

test("templates are below the templates of a policy, and of nothing else", () => {
  const here = disk(["/w/acme/nodes.vgo"], []);
  assert.ok(isTemplate("/w/acme/templates/nginx/site.conf.tmpl", here));
  assert.ok(!isTemplate("/w/acme/modules/templates/x.tmpl", here), "only the folder at the root counts");
  assert.ok(!isTemplate("/w/acme/templates", here), "a file of that name is none");
  assert.ok(!isTemplate("/charts/web/templates/service.yaml", here), "a chart is no policy");
});
