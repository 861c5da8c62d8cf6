// The grammars on real policy. test/grammar/ says what each construct becomes; here, nothing real may look wrong.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";
import * as oniguruma from "vscode-oniguruma";
import { INITIAL, Registry, parseRawGrammar } from "vscode-textmate";

const files: Record<string, string> = {
  "source.vgo": "syntaxes/vgo.tmLanguage.json",
  "text.vigo-template": "syntaxes/vigo-template.tmLanguage.json",
};

const engine = oniguruma.loadWASM(new Uint8Array(readFileSync("node_modules/vscode-oniguruma/release/onig.wasm")).buffer).then(() => ({
  createOnigScanner: (patterns: string[]) => new oniguruma.OnigScanner(patterns),
  createOnigString: (text: string) => new oniguruma.OnigString(text),
}));
const registry = new Registry({
  onigLib: engine,
  loadGrammar: async (scope) => {
    const file = files[scope];
    return file === undefined ? null : parseRawGrammar(readFileSync(file, "utf8"), file);
  },
});

interface Piece {
  where: string;
  text: string;
  scopes: string[];
}

async function pieces(file: string, scope: string): Promise<Piece[]> {
  const grammar = await registry.loadGrammar(scope);
  assert.ok(grammar);
  let state = INITIAL;
  return readFileSync(file, "utf8")
    .split("\n")
    .flatMap((line, number) => {
      const { tokens, ruleStack } = grammar.tokenizeLine(line, state);
      state = ruleStack;
      return tokens.map(({ startIndex, endIndex, scopes }) => ({
        where: `${file}:${number + 1}:${startIndex + 1}`,
        text: line.slice(startIndex, endIndex),
        scopes,
      }));
    });
}

const repository = "../../..";
const below = (folder: string, ending: string) =>
  readdirSync(`${repository}/${folder}`, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${repository}/${folder}/${name}`);

const wrong = (piece: Piece) => piece.scopes.some((scope) => scope.startsWith("invalid."));

test("every character of the examples and of the standard library is known for what it is", async () => {
  const policies = [...below("examples", ".vgo"), ...below("stdlib", ".vgo")];
  assert.ok(policies.length > 30);
  for (const file of policies) {
    for (const piece of await pieces(file, "source.vgo")) {
      const known = piece.scopes.length > 1 || piece.text.trim() === "";
      assert.ok(known && !wrong(piece), `${piece.where}: ${JSON.stringify(piece)}`);
    }
  }
});

test("no action of the templates of the examples looks wrong", async () => {
  const templates = below("examples", ".tmpl");
  assert.ok(templates.length > 3);
  for (const file of templates) {
    for (const piece of await pieces(file, "text.vigo-template")) {
      assert.ok(!wrong(piece), `${piece.where}: ${JSON.stringify(piece)}`);
    }
  }
});
