// Bundles the extension and the script of the graph panel, and writes the grammars and the snippets of resource types.
// `--minify` for the package, `--tests` for the unit tests as well.
import { build } from "esbuild";
import { copyFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { typeSnippets } from "./snippets/types.mjs";
import { policy, template } from "./syntaxes/grammar.mjs";

process.chdir(import.meta.dirname);
rmSync("out", { recursive: true, force: true });
const minify = process.argv.includes("--minify");
const all = { bundle: true, minify, sourcemap: !minify, logLevel: "warning", legalComments: "none" };
const node = { ...all, platform: "node", target: "node20" };

await build({ ...node, entryPoints: ["src/extension.ts"], outdir: "out", format: "cjs", external: ["vscode"] });
await build({ ...all, entryPoints: ["webview/graph.ts"], outdir: "out", format: "iife", platform: "browser", target: "es2022" });
// a script of its own: it expects that what it declares is global
copyFileSync("node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js", "out/mermaid.js");
if (process.argv.includes("--tests")) {
  const tests = readdirSync("test/unit").map((name) => `test/unit/${name}`);
  await build({ ...node, entryPoints: tests, outdir: "out/test", format: "cjs" });
}
for (const [name, grammar] of [["vgo", policy], ["vigo-template", template]]) {
  writeFileSync(`syntaxes/${name}.tmLanguage.json`, `${JSON.stringify(grammar, null, 1)}\n`);
}
const snippets = typeSnippets("../../../stdlib/types", JSON.parse(readFileSync("snippets/vgo.json", "utf8")));
writeFileSync("snippets/types.json", `${JSON.stringify(snippets, null, 1)}\n`);
// vsce wants the licence beside package.json
copyFileSync("../../../LICENSE", "LICENSE");
