// What is done to messages on their way: settings that switch things off, replies that are shown, and arguments of
// commands that the editor wants in its own types.
import * as vscode from "vscode";
import type { LanguageClient, Location, Middleware, Position } from "vscode-languageclient/node";
import { settings } from "./settings";

interface Host {
  client(): LanguageClient | undefined;
  /** Runs a command of the server and shows what it answers. */
  execute(command: string, args: unknown[]): Promise<unknown>;
}

export function middleware(host: Host): Middleware {
  const fit = async (lens: vscode.CodeLens | null | undefined) => {
    const client = host.client();
    if (lens?.command && client) lens.command = await inEditorTypes(lens.command, client);
    return lens;
  };
  return {
    executeCommand: (command, args) => host.execute(command, args),
    async provideCodeLenses(document, token, next) {
      if (!settings.codeLens()) return [];
      const lenses = (await next(document, token)) ?? [];
      await Promise.all(lenses.map(fit));
      return lenses;
    },
    resolveCodeLens: async (lens, token, next) => fit(await next(lens, token)),
    provideInlayHints: (document, range, token, next) => (settings.inlayHints() ? next(document, range, token) : []),
  };
}

/** `editor.action.showReferences` takes a Uri, a Position and Locations; a server can only send their JSON. */
async function inEditorTypes(command: vscode.Command, client: LanguageClient): Promise<vscode.Command> {
  const [uri, position, locations] = command.arguments ?? [];
  if (command.command !== "editor.action.showReferences" || typeof uri !== "string") return command;
  const convert = client.protocol2CodeConverter;
  return {
    ...command,
    arguments: [
      convert.asUri(uri),
      convert.asPosition(position as Position),
      await convert.asReferences((locations ?? []) as Location[]),
    ],
  };
}
