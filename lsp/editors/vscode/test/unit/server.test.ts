import assert from "node:assert/strict";
import test from "node:test";
import { findServer, type Found, type Machine } from "../../src/server";

function machine(path: string, programs: string[], windows = false): Machine {
  return { path, windows, home: windows ? "C:\\Users\\ada" : "/home/ada", isProgram: (file) => programs.includes(file) };
}

const command = (found: Found) => ("program" in found ? [found.program.command, ...found.program.args] : found.missing);

test("the setting decides, whatever is on the PATH", () => {
  const here = machine("/usr/bin", ["/usr/bin/vigo-lsp", "/opt/vigo/vigo-lsp"]);
  assert.deepEqual(command(findServer(" /opt/vigo/vigo-lsp ", here)), ["/opt/vigo/vigo-lsp"]);
});

test("a home is written as a tilde", () => {
  const here = machine("", ["/home/ada/bin/vigo-lsp"]);
  assert.deepEqual(command(findServer("~/bin/vigo-lsp", here)), ["/home/ada/bin/vigo-lsp"]);
});

test("a setting that names nothing is not replaced by something else", () => {
  const here = machine("/usr/bin", ["/usr/bin/vigo-lsp"]);
  assert.match(String(command(findServer("/opt/gone", here))), /vigo\.server\.path names "\/opt\/gone"/);
  assert.match(String(command(findServer("bin/vigo-lsp", here))), /has to be an absolute path/);
});

test("vigo-lsp comes before vigoc, wherever the two are", () => {
  const both = machine("/a:/b", ["/a/vigoc", "/b/vigo-lsp"]);
  assert.deepEqual(command(findServer("", both)), ["/b/vigo-lsp"]);
});

test("vigoc is asked to be a language server", () => {
  assert.deepEqual(command(findServer("", machine("/a:/b", ["/b/vigoc"]))), ["/b/vigoc", "lsp"]);
  assert.deepEqual(command(findServer("/b/vigoc", machine("", ["/b/vigoc"]))), ["/b/vigoc", "lsp"]);
});

test("a relative folder of the PATH is passed over: it would be one of the workspace", () => {
  const here = machine(".:bin::/usr/bin", ["vigo-lsp", "bin/vigo-lsp", "./vigo-lsp"]);
  assert.match(String(command(findServer("", here))), /not found/);
});

test("on Windows programs end in .exe and folders are parted by semicolons", () => {
  const here = machine("C:\\tools;D:\\vigo", ["D:\\vigo\\vigo-lsp.exe"], true);
  assert.deepEqual(command(findServer("", here)), ["D:\\vigo\\vigo-lsp.exe"]);
  assert.deepEqual(command(findServer("~\\vigoc.exe", machine("", ["C:\\Users\\ada\\vigoc.exe"], true))), ["C:\\Users\\ada\\vigoc.exe", "lsp"]);
});
