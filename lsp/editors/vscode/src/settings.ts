// The settings of the extension, as the rest of it wants them.
import * as path from "node:path";
import * as vscode from "vscode";

/** How much of the conversation with the server is written down. */
export type TraceLevel = "off" | "messages" | "verbose";

export const settings = {
  serverPath: () => read("server.path", ""),
  envoy: () => read("envoy", "").trim() || undefined,
  inlayHints: () => read("inlayHints.enabled", true),
  codeLens: () => read("codeLens.enabled", true),
  trace: () => read<TraceLevel>("trace.server", "off"),
  /** The absolute path of the fleet's file. */
  fleet(): string | undefined {
    const file = read("fleet", "").trim();
    if (file === "" || path.isAbsolute(file)) return file || undefined;
    const folder = vscode.workspace.workspaceFolders?.[0];
    return folder && path.join(folder.uri.fsPath, file);
  },
};

function read<T>(name: string, otherwise: T): T {
  return vscode.workspace.getConfiguration("vigo").get<T>(name, otherwise);
}
