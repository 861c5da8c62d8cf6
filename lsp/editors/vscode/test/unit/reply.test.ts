import assert from "node:assert/strict";
import test from "node:test";
import { envoysOf, messageOf, reportOf } from "../../src/reply";

test("a text is a report", () => {
  assert.deepEqual(reportOf("3 of 10 envoys change", "Plan"), { title: "Plan", language: "plaintext", text: "3 of 10 envoys change" });
});

test("a reply may say what it is called and how it is coloured", () => {
  const reply = { title: "web-01", language: "mermaid", text: "flowchart LR" };
  assert.deepEqual(reportOf(reply, "Graph"), reply);
  assert.deepEqual(reportOf({ text: "x", title: 3 }, "Graph"), { title: "Graph", language: "plaintext", text: "x" });
});

test("data is shown as it is", () => {
  assert.deepEqual(reportOf({ vars: { port: 80 } }, "Bundle"), { title: "Bundle", language: "json", text: '{\n  "vars": {\n    "port": 80\n  }\n}' });
});

test("nothing is nothing, not an empty report", () => {
  for (const reply of [null, undefined, "", " \n", { text: "" }]) assert.equal(reportOf(reply, "Plan"), undefined);
});

test("envoys are names, each once", () => {
  assert.deepEqual(envoysOf({ envoy: "a", candidates: ["a", "b", "a", 7, "", null] }), { envoy: "a", candidates: ["a", "b"] });
  for (const reply of [null, "a", [], { candidates: "a" }]) assert.deepEqual(envoysOf(reply), { envoy: undefined, candidates: [] });
});

test("an error is told by its message", () => {
  assert.equal(messageOf(new Error("no entry matches `x`")), "no entry matches `x`");
  assert.equal(messageOf("gone"), "gone");
});
