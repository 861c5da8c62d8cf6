// A client without an editor: plays a session with the real language server, over pipes, on a copy of examples/acme.
// VIGO_BIN_DIR is the folder with `vigo-lsp`. Exits with 0 when everything was as it should be.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
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
const git = (...args) => execFileSync("git", ["-C", root, "-c", "user.name=test", "-c", "user.email=test@example.com", ...args]);
git("init", "--quiet");
git("add", ".");
git("commit", "--quiet", "--message", "the policy as it is");

const child = spawn(join(process.env.VIGO_BIN_DIR, "vigo-lsp"), { stdio: ["pipe", "pipe", "inherit"] });
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

/** Applies the edits of a text, from its end on. */
function edited(text, edits) {
  const offset = ({ line, character }) =>
    text.split("\n").slice(0, line).reduce((sum, { length }) => sum + length + 1, 0) + character;
  return edits
    .map(({ range, newText }) => ({ from: offset(range.start), to: offset(range.end), newText }))
    .sort((a, b) => b.from - a.from)
    .reduce((all, { from, to, newText }) => all.slice(0, from) + newText + all.slice(to), text);
}

const run = (command, argument) => server.sendRequest("workspace/executeCommand", { command, arguments: [argument] });

/** What a snippet writes when nobody changes anything in it. */
function written({ body }) {
  return body
    .join("\n")
    .replace(/\$\{\d+\|([^,|]*)[^}]*\}/g, "$1")
    .replace(/\$\{\d+:\$\{[^}]*\}\}/g, "snippet")
    .replace(/\$\{\d+:((?:\\.|[^}\\])*)\}/g, "$1")
    .replace(/(?<!\\)\$\d+/g, "")
    .replace(/\\([\\$}])/g, "$1");
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

  "what may follow is offered, with its type": async () => {
    const site = new Document("templates/nginx/site.conf.tmpl", { languageId: "vigo-template" });
    site.edit("rate={{ .Vars.rate_limit", "rate={{ .Vars.");
    const answer = await site.ask("completion", "rate={{ .Vars.");
    const items = answer.items ?? answer;
    const item = items.find(({ label }) => label === "rate_limit");
    assert.match(JSON.stringify(item), /\bint\b/);
    assert.ok(!items.some(({ label }) => label === "os_family"), "a function is no variable");
    site.close();

    const nginx = new Document("modules/nginx.vgo");
    nginx.edit("    state: running", "    state: ");
    const values = await nginx.ask("completion", "service: nginx\n    state: ");
    assert.ok((values.items ?? values).some(({ label }) => label === "stopped"));
    nginx.close();
  },

  "hover shows the value of the envoy, and where it comes from": async () => {
    const nginx = new Document("modules/nginx.vgo");
    const { contents } = await nginx.ask("hover", "rate_|limit:");
    assert.match(contents.value, /Requests a second/);
    assert.match(contents.value, /50/);
    assert.match(contents.value, /roles\.vgo/);
    nginx.close();
  },

  "a definition and its uses are found across files": async () => {
    const site = new Document("templates/nginx/site.conf.tmpl", { languageId: "vigo-template" });
    const to = await site.ask("definition", ".Vars.rate_|limit");
    assert.ok([to].flat().some((target) => (target.uri ?? target.targetUri).endsWith("modules/nginx.vgo")), JSON.stringify(to));
    const uses = await site.ask("references", ".Vars.rate_|limit", { context: { includeDeclaration: true } });
    const files = new Set(uses.map(({ uri }) => uri.slice(uri.lastIndexOf("/") + 1)));
    assert.deepEqual([...files].sort(), ["nginx.vgo", "nodes.vgo", "roles.vgo", "site.conf.tmpl", "web.vgo"]);
    site.close();
  },

  "a renamed variable leaves nothing behind": async () => {
    const paths = ["modules/nginx.vgo", "roles.vgo", "web/nodes.vgo", "tests/web.vgo", "templates/nginx/site.conf.tmpl"];
    const documents = paths.map((path) => new Document(path));
    const { documentChanges } = await documents[0].ask("rename", "rate_|limit:", { newName: "request_rate" });
    for (const { textDocument, edits } of documentChanges) {
      const document = documents.find(({ uri }) => uri === textDocument.uri);
      assert.ok(document, `${textDocument.uri} has nothing to be renamed`);
      document.edit(document.text, edited(document.text, edits));
      assert.ok(!document.text.includes("rate_limit"), document.text);
    }
    assert.equal(documentChanges.length, documents.length);
    for (const document of documents) {
      await document.diagnostics((all) => all.length === 0);
      document.close();
    }
  },

  "a quick fix mends what it is offered for": async () => {
    const nginx = new Document("modules/nginx.vgo");
    nginx.edit('mode: "0755"', "mode: 0755");
    const findings = await nginx.diagnostics((all) => all.length > 0);
    const actions = await nginx.ask("codeAction", undefined, {
      range: findings[0].range,
      context: { diagnostics: findings, only: ["quickfix"] },
    });
    const [{ edits }] = actions[0].edit.documentChanges;
    nginx.edit(nginx.text, edited(nginx.text, edits));
    await nginx.diagnostics((all) => all.length === 0);
    nginx.close();
  },

  "outline, folding, lenses, hints and colours are there": async () => {
    const nginx = new Document("modules/nginx.vgo");
    const names = (symbols) => symbols.flatMap(({ name, children }) => [name, ...names(children ?? [])]);
    const outline = names(await nginx.ask("documentSymbol"));
    for (const name of ["http_port", "site", "reload"]) assert.ok(outline.includes(name), `${name}: ${outline}`);
    assert.ok((await nginx.ask("foldingRange")).length > 5);
    assert.ok((await nginx.ask("semanticTokens/full")).data.length > 0);
    const shown = (lens) => (lens.command ? lens : server.sendRequest("codeLens/resolve", lens));
    const titles = (await Promise.all((await nginx.ask("codeLens")).map(shown))).map(({ command }) => command?.title);
    assert.ok(titles.some((title) => /^\d+ envoys?$/.test(title)), titles.join());
    const listed = await nginx.ask("references", "name: |nginx", { context: { includeDeclaration: false } });
    assert.ok(titles.includes(`${listed.length} references`), `${listed.length}: ${titles}`);
    const range = { start: { line: 0, character: 0 }, end: nginx.at(nginx.text) };
    assert.ok((await nginx.ask("inlayHint", undefined, { range })).length > 0);
    nginx.close();
  },

  "a value becomes a variable, and the policy says the same": async () => {
    const nginx = new Document("modules/nginx.vgo");
    await nginx.diagnostics((all) => all.length === 0);
    const range = { start: nginx.at("target_path: |/srv/www\n"), end: nginx.at("target_path: /srv/www|\n") };
    const [action] = await nginx.ask("codeAction", undefined, { range, context: { diagnostics: [], only: ["refactor.extract"] } });
    nginx.edit(nginx.text, edited(nginx.text, action.edit.documentChanges[0].edits));
    assert.match(nginx.text, /nginx_target_path: \/srv\/www\n/);
    await nginx.diagnostics((all) => all.length === 0);
    nginx.close();
  },

  "formatting gives the layout of vigoc fmt": async () => {
    const nginx = new Document("modules/nginx.vgo");
    const before = nginx.text;
    nginx.edit("name: srv\n    type: directory", "name:   srv\n    type:   directory");
    const edits = await nginx.ask("formatting", undefined, { options: { tabSize: 2, insertSpaces: true } });
    assert.equal(edited(nginx.text, edits), before);
    nginx.close();
  },

  "the commands answer": async () => {
    const nginx = new Document("modules/nginx.vgo");
    const here = { uri: nginx.uri, position: nginx.at("rate_|limit:"), envoy: "web-01.acme.test" };
    const { candidates } = await run("vigo.selectEnvoy", { uri: nginx.uri });
    assert.ok(candidates.includes("web-01.acme.test"), candidates.join());
    assert.match((await run("vigo.explain", here)).text, /50/);
    assert.match((await run("vigo.graph", here)).text, /^flowchart/);
    assert.match((await run("vigo.previewBundle", here)).text, /\/etc\/nginx\/sites-available/);
    nginx.edit("default: 20", "default: 21");
    const plan = await run("vigo.plan", { ...here, revision: "HEAD" });
    assert.match(plan.text, /envoys/);
    assert.equal(plan.language, "plaintext");
    const comment = await run("vigo.plan", { ...here, revision: "HEAD", format: "markdown" });
    assert.equal(comment.language, "markdown");
    nginx.close();
    const tests = new Document("tests/web.vgo");
    assert.equal((await run("vigo.runTest", { uri: tests.uri, all: true })).passed, true);
    tests.close();
    const refused = await run("vigo.graph", { ...here, envoy: "nobody.example.com" }).catch((error) => error.message);
    assert.match(refused, /nobody\.example\.com/);
  },

  "what the snippets write is policy": async () => {
    const read = (file) => Object.entries(JSON.parse(readFileSync(join(extension, "snippets", file), "utf8")));
    const snippets = [...read("vgo.json"), ...read("types.json")];
    for (const [number, [name, snippet]] of snippets.entries()) {
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
