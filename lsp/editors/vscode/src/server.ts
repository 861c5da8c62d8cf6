// Finds the program that is the language server. Nothing here needs an editor.
import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import * as path from "node:path";

/** What to run. */
export interface Program {
  command: string;
  args: string[];
}

/** A program, or why there is none, in a sentence for whoever has to mend it. */
export type Found = { program: Program } | { missing: string };

/** What finding it asks of the machine. */
export interface Machine {
  /** The value of PATH. */
  path: string;
  windows: boolean;
  home: string;
  isProgram(file: string): boolean;
}

/** The machine that the extension runs on. */
export function thisMachine(): Machine {
  const windows = process.platform === "win32";
  return {
    path: process.env["PATH"] ?? "",
    windows,
    home: homedir(),
    isProgram(file) {
      try {
        accessSync(file, windows ? constants.F_OK : constants.X_OK);
        return statSync(file).isFile();
      } catch {
        return false;
      }
    },
  };
}

/**
 * The setting decides when it says anything; otherwise the first `vigo-lsp` on the PATH, and then the first `vigoc`.
 *
 * Only absolute folders of the PATH count: a relative one would run a program of whichever folder is open.
 */
export function findServer(setting: string, machine: Machine): Found {
  const rules = machine.windows ? path.win32 : path.posix;
  const wanted = setting.trim();
  if (wanted !== "") {
    const file = /^~[/\\]/.test(wanted) ? rules.join(machine.home, wanted.slice(2)) : wanted;
    if (!rules.isAbsolute(file)) {
      return { missing: `The setting vigo.server.path has to be an absolute path, and "${wanted}" is not.` };
    }
    if (!machine.isProgram(file)) {
      return { missing: `The setting vigo.server.path names "${file}", which is no program that can be run.` };
    }
    return { program: { command: file, args: argsOf(file, rules) } };
  }
  const folders = machine.path.split(rules.delimiter).filter((folder) => rules.isAbsolute(folder));
  for (const name of ["vigo-lsp", "vigoc"]) {
    for (const folder of folders) {
      const file = rules.join(folder, machine.windows ? `${name}.exe` : name);
      if (machine.isProgram(file)) return { program: { command: file, args: argsOf(file, rules) } };
    }
  }
  return { missing: "The language server of Vigo was not found: neither vigo-lsp nor vigoc is on the PATH." };
}

/** `vigoc lsp` starts the language server that lies beside it. */
function argsOf(file: string, rules: path.PlatformPath): string[] {
  return /^vigoc(\.exe)?$/i.test(rules.basename(file)) ? ["lsp"] : [];
}
