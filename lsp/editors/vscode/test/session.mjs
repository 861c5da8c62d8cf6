// A client without an editor: plays a session with the real language server, over pipes, on a copy of examples/acme.
// VIGO_BIN is the folder with `vigo-lsp`. Exits with 0 when everything was as it should be.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { StreamMessageReader, StreamMessageWriter, createProtocolConnection } from "vscode-languageserver-protocol/node";

const extension = join(import.meta.dirname, "..");
const repository = join(extension, "../../..");
const root = mkdtempSync(join(tmpdir(), "vigo-session-"));
process.on("exit", () => rmSync(root, { recursive: true, force: true }));
cpSync(join(repository, "examples/acme"), root, { recursive: true });

const child = spawn(join(process.env.VIGO_BIN, "vigo-lsp"), { stdio: ["pipe", "pipe", "inherit"] });
const exited = new Promise((done) => child.on("exit", done));
const server = createProtocolConnection(new StreamMessageReader(child.stdout), new StreamMessageWriter(child.stdin));
for (const [request, answer] of Object.entries({
  "client/registerCapability": () => null,
  "window/workDoneProgress/create": () => null,
  "workspace/configuration": ({ items }) => items.map(() => null),
  "workspace/semanticTokens/refresh": () => null,
  "workspace/inlayHint/refresh": () => null,
  "workspace/codeLens/refresh": () => null,
  "workspace/diagnostic/refresh": () => null,
})) {
  server.onRequest(request, answer);
}

/** What the server said last about a file, and about which version of it. */
const published = new Map();
let arrived = () => {};
server.onNotification("textDocument/publishDiagnostics", ({ uri, version, diagnostics }) => {
  published.set(uri, { version, diagnostics });
  arrived();
});
server.listen();

/** A document that is open: what is typed into it, and what is asked about it. */
class Document {
  version = 0;
  constructor(path, { text = readFileSync(join(root, path), "utf8"), languageId = "vgo" } = {}) {
    this.path = path;
    this.uri = pathToFileURL(join(root, path)).href;
    this.text = text;
    server.sendNotification("textDocument/didOpen", {
      textDocument: { uri: this.uri, languageId, version: this.version, text },
    });
  }

  /** What was there becomes something else, once. */
  edit(from, to) {
    assert.ok(this.text.includes(from), `${this.path} has no ${from}`);
    this.text = this.text.replace(from, () => to);
    this.version++;
    server.sendNotification("textDocument/didChange", {
      textDocument: { uri: this.uri, version: this.version },
      contentChanges: [{ text: this.text }],
    });
  }

  close() {
    server.sendNotification("textDocument/didClose", { textDocument: { uri: this.uri } });
  }

  /** The findings of the text as it is now, once they are what is waited for. */
  async diagnostics(fits) {
    const late = AbortSignal.timeout(30_000);
    for (;;) {
      const last = published.get(this.uri);
      if (last?.version === this.version && fits(last.diagnostics)) return last.diagnostics;
      assert.ok(!late.aborted, `${this.path}, version ${this.version}: ${JSON.stringify(last)}`);
      await new Promise((next) => {
        arrived = next;
        late.onabort = next;
      });
    }
  }

  /** The place behind a text, which may mark another one with `|`. */
  at(marked) {
    const cursor = marked.includes("|") ? marked.indexOf("|") : marked.length;
    const offset = this.text.indexOf(marked.replace("|", ""));
    assert.ok(offset >= 0, `${this.path} has no ${marked}`);
    const lines = this.text.slice(0, offset + cursor).split("\n");
    return { line: lines.length - 1, character: lines.at(-1).length };
  }

  ask(method, marked, more = {}) {
    const position = marked === undefined ? {} : { position: this.at(marked) };
    return server.sendRequest(`textDocument/${method}`, { textDocument: { uri: this.uri }, ...position, ...more });
  }
}

/** What a snippet writes when nobody changes anything in it. */
function written({ body }) {
  return body
    .join("\n")
    .replace(/\$\{\d+\|([^,|]*)[^}]*\}/g, "$1")
    .replace(/\$\{\d+:\$\{[^}]*\}\}/g, "snippet")
    .replace(/\$\{\d+:([^}]*)\}/g, "$1")
    .replace(/\$\d+/g, "");
}

/** A policy file around a snippet: where it would lie, and its text. */
function around(name, snippet, number) {
  const inside = snippet.replace(/^(?=.)/gm, "  ");
  if (name.startsWith("Resource")) {
    return [`modules/snippet-${number}.vgo`, `name: snippet-${number}\nvars: { directories: [a] }\nresources:\n${inside}`];
  }
  switch (name) {
    case "Module":
      return [`modules/snippet.vgo`, snippet];
    case "Test":
      return ["tests/snippet.vgo", snippet];
    case "Node entry":
      return ["snippets/nodes.vgo", `nodes:\n${inside}`];
    case "Role":
      return ["roles.vgo", `roles:\n${inside}`];
    case "Environment":
      return ["snippets/environments.vgo", `env:\n${inside}`];
    default:
      throw new Error(`a snippet of another kind: ${name}`);
  }
}

const steps = {
  "a mistake is found where it is, with what was meant": async () => {
    const site = new Document("templates/nginx/site.conf.tmpl", { languageId: "vigo-template" });
    await site.diagnostics((all) => all.length === 0);
    site.edit("rate_limit }}r/s", "rate_limt }}r/s");
    const [finding] = await site.diagnostics((all) => all.length > 0);
    assert.equal(finding.code, "unknown-variable");
    assert.equal(finding.source, "vigo");
    assert.match(finding.message, /rate_limit/);
    assert.equal(finding.range.start.line, site.at("rate_limt").line);
    site.edit("rate_limt", "rate_limit");
    await site.diagnostics((all) => all.length === 0);
    site.close();
  },

  "an edit is seen by every file that it breaks": async () => {
    const roles = new Document("roles.vgo");
    const nodes = new Document("nodes.vgo");
    roles.edit("name: appserver", "name: applicationserver");
    await nodes.diagnostics((all) => all.some((finding) => finding.code === "unknown-role"));
    roles.edit("name: applicationserver", "name: appserver");
    await nodes.diagnostics((all) => all.length === 0);
    roles.close();
    nodes.close();
  },

  "what the snippets write is policy": async () => {
    const snippets = JSON.parse(readFileSync(join(extension, "snippets/vgo.json"), "utf8"));
    for (const [number, [name, snippet]] of Object.entries(snippets).entries()) {
      const [path, text] = around(name, written(snippet), number);
      const document = new Document(path, { text });
      const findings = await document.diagnostics(() => true);
      // what it names is for the author to write
      const theirs = ["unknown-template", "unknown-module", "unknown-role", "unknown-resource"];
      const wrong = findings.filter(({ severity, code }) => severity === 1 && !theirs.includes(code));
      assert.deepEqual(wrong.map(({ code, message }) => `${code}: ${message}`), [], `${name}\n${text}`);
      document.close();
    }
  },
};

const { serverInfo } = await server.sendRequest("initialize", {
  processId: process.pid,
  rootUri: pathToFileURL(root).href,
  workspaceFolders: [{ uri: pathToFileURL(root).href, name: "acme" }],
  initializationOptions: { envoy: "web-01.acme.test", fleet: join(root, "fleet.jsonl") },
  capabilities: {
    general: { positionEncodings: ["utf-16"] },
    textDocument: {
      publishDiagnostics: { relatedInformation: true, versionSupport: true },
      hover: { contentFormat: ["markdown", "plaintext"] },
      completion: { completionItem: { snippetSupport: true, documentationFormat: ["markdown"] } },
      documentSymbol: { hierarchicalDocumentSymbolSupport: true },
      rename: { prepareSupport: true },
    },
    workspace: { workspaceEdit: { documentChanges: true }, configuration: true },
  },
});
assert.equal(serverInfo?.name, "vigo-lsp");
server.sendNotification("initialized", {});

for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log(`ok  ${name}`);
}

await server.sendRequest("shutdown");
server.sendNotification("exit");
assert.equal(await exited, 0, "the server ends when it is told to");
process.exit(0);
