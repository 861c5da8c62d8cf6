// A client without an editor: plays a session with the real language server, over pipes, on a copy of examples/acme.
// VIGO_BIN_DIR is the folder with `vigo-lsp`. Exits with 0 when everything was as it should be.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { StreamMessageReader, StreamMessageWriter, createProtocolConnection } from "vscode-languageserver-protocol/node";

const acme = join(import.meta.dirname, "../../../../examples/acme");
const server = join(process.env.VIGO_BIN_DIR ?? join(import.meta.dirname, "../../../../target/debug"), "vigo-lsp");

const root = mkdtempSync(join(tmpdir(), "vigo-session-"));
process.on("exit", () => rmSync(root, { recursive: true, force: true }));
cpSync(acme, root, { recursive: true });

const child = spawn(server, { stdio: ["pipe", "pipe", "inherit"] });
const exited = new Promise((done) => child.on("exit", (code) => done(code)));
const connection = createProtocolConnection(new StreamMessageReader(child.stdout), new StreamMessageWriter(child.stdin));

/** The latest diagnostics by file, and who waits for others. */
const found = new Map();
let arrived = () => {};
connection.onNotification("textDocument/publishDiagnostics", ({ uri, diagnostics }) => {
  found.set(uri, diagnostics);
  arrived();
});
connection.onRequest("client/registerCapability", () => null);
connection.onRequest("window/workDoneProgress/create", () => null);
connection.onRequest("workspace/configuration", ({ items }) => items.map(() => null));
for (const refresh of ["semanticTokens", "inlayHint", "codeLens", "diagnostic"]) {
  connection.onRequest(`workspace/${refresh}/refresh`, () => null);
}
connection.listen();

async function diagnostics(uri, what, fits) {
  const late = AbortSignal.timeout(30_000);
  while (!fits(found.get(uri) ?? [])) {
    assert.ok(!late.aborted, `${what}: ${JSON.stringify(found.get(uri))}`);
    await new Promise((next) => {
      arrived = next;
      late.onabort = next;
    });
  }
}

const uriOf = (path) => pathToFileURL(join(root, path)).href;
const texts = new Map();
let version = 0;

function open(path, languageId = "vgo") {
  const uri = uriOf(path);
  texts.set(uri, readFileSync(join(root, path), "utf8"));
  connection.sendNotification("textDocument/didOpen", {
    textDocument: { uri, languageId, version: ++version, text: texts.get(uri) },
  });
  return uri;
}

/** Types: what was there becomes something else, once. */
function edit(uri, from, to) {
  const before = texts.get(uri);
  assert.ok(before.includes(from), `nothing to replace: ${from}`);
  texts.set(uri, before.replace(from, to));
  connection.sendNotification("textDocument/didChange", {
    textDocument: { uri, version: ++version },
    contentChanges: [{ text: texts.get(uri) }],
  });
}

/** The place of a text, or of `after` characters into it. */
function at(uri, text, after = 0) {
  const offset = texts.get(uri).indexOf(text);
  assert.ok(offset >= 0, `not in the text: ${text}`);
  const lines = texts.get(uri).slice(0, offset + after).split("\n");
  return { textDocument: { uri }, position: { line: lines.length - 1, character: lines.at(-1).length } };
}

const { capabilities, serverInfo } = await connection.sendRequest("initialize", {
  processId: process.pid,
  rootUri: pathToFileURL(root).href,
  workspaceFolders: [{ uri: pathToFileURL(root).href, name: "acme" }],
  initializationOptions: { envoy: "web-01.acme.test", fleet: join(root, "fleet.jsonl") },
  capabilities: {
    general: { positionEncodings: ["utf-16"] },
    textDocument: {
      publishDiagnostics: { relatedInformation: true },
      hover: { contentFormat: ["markdown", "plaintext"] },
      completion: { completionItem: { snippetSupport: true, documentationFormat: ["markdown"] } },
      documentSymbol: { hierarchicalDocumentSymbolSupport: true },
      definition: { linkSupport: false },
      rename: { prepareSupport: true },
    },
    workspace: { workspaceEdit: { documentChanges: true }, configuration: true },
  },
});
assert.equal(serverInfo?.name, "vigo-lsp");
connection.sendNotification("initialized", {});

const steps = {
  "a mistake is found where it is, with what was meant": async () => {
    const nginx = open("modules/nginx.vgo");
    const site = open("templates/nginx/site.conf.tmpl", "vigo-template");
    edit(site, ".Vars.rate_limit }}r/s", ".Vars.rate_limt }}r/s");
    await diagnostics(site, "an unknown variable", (all) => all.some((d) => d.code === "unknown-variable"));
    const finding = found.get(site).find((d) => d.code === "unknown-variable");
    assert.equal(finding.source, "vigo");
    assert.match(finding.message, /rate_limit/);
    const { position } = at(site, "rate_limt");
    assert.equal(finding.range.start.line, position.line);
    edit(site, "rate_limt", "rate_limit");
    await diagnostics(site, "no finding", (all) => all.length === 0);
    assert.deepEqual(found.get(nginx) ?? [], []);
  },

  "an edit is seen by every file that it breaks": async () => {
    const roles = open("roles.vgo");
    const nodes = open("nodes.vgo");
    edit(roles, "name: appserver", "name: applicationserver");
    await diagnostics(nodes, "an unknown role", (all) => all.some((d) => d.code === "unknown-role"));
    edit(roles, "name: applicationserver", "name: appserver");
    await diagnostics(nodes, "no finding", (all) => all.length === 0);
  },
};

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log(`ok  ${name}`);
}

await connection.sendRequest("shutdown");
connection.sendNotification("exit");
assert.equal(await exited, 0, "the server ends when it is told to");
process.exit(0);
