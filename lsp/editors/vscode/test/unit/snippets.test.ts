import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
// @ts-expect-error: a script of the build, without types
import { typeSnippets } from "../../snippets/types.mjs";

test("the first resource of an example becomes a snippet, its values are to be written over", () => {
  const folder = mkdtempSync(join(tmpdir(), "vigo-types-"));
  const example = '  - name: backup\n    type: cron\n    schedule: "30 2 * * *"\n    command: x $(date) {}\n    environment: { A: b }\n\n  - name: second\n';
  writeFileSync(join(folder, "cron.vgo"), `type: cron\nexample: |\n${example}`);
  writeFileSync(join(folder, "file.vgo"), "type: file\nexample: |\n  - name: a\n");
  writeFileSync(join(folder, "bare.vgo"), "type: bare\n");
  assert.deepEqual(typeSnippets(folder, { File: { prefix: "file" } }), {
    "Resource: cron": {
      prefix: "cron",
      description: "A resource of type cron",
      body: [
        "- name: ${1:backup}",
        "  type: cron",
        '  schedule: "${2:30 2 * * *}"',
        "  command: ${3:x \\$(date) {\\}}",
        "  environment: { A: b \\}$0",
      ],
    },
  });
  rmSync(folder, { recursive: true });
});
