import assert from "node:assert/strict";
import test from "node:test";
import { isTemplate, type Disk } from "../../src/policy";

const disk = (files: string[], folders: string[]): Disk => ({
  isFile: (path) => files.includes(path),
  isFolder: (path) => folders.includes(path),
});

test("templates are below a templates folder that lies in a policy", () => {
  for (const here of [disk(["/w/acme/nodes.vgo"], []), disk(["/w/acme/roles.vgo"], []), disk([], ["/w/acme/modules"])]) {
    assert.ok(isTemplate("/w/acme/templates/motd.tmpl", here));
    assert.ok(isTemplate("/w/acme/templates/nginx/templates/site.conf", here), "at any depth");
    assert.ok(!isTemplate("/w/acme/templates", here), "a file of that name is none");
    assert.ok(!isTemplate("/w/acme/modules/templates/x.tmpl", here), "only the folder beside modules counts");
    assert.ok(!isTemplate("/charts/web/templates/service.yaml", here), "a chart is no policy");
  }
});
