// What is done to messages on their way: replies that are shown, and arguments of commands that the editor wants in its
// own types.
import * as vscode from "vscode";
import type { LanguageClient, Location, Middleware, Position } from "vscode-languageclient/node";

interface Host {
  client(): LanguageClient | undefined;
  /** Runs a command of the server and shows what it answers. */
  execute(command: string, args: unknown[]): Promise<unknown>;
  /** What the server is told about settings, with what was picked. */
  options(): object;
}

export function middleware(host: Host): Middleware {
  const fit = async (lens: vscode.CodeLens | null | undefined) => {
    const client = host.client();
    if (lens?.command && client) lens.command = await inEditorTypes(lens.command, client);
    return lens;
  };
  return {
    workspace: {
      // a server that asks for settings hears the same as one that is told
      async configuration(asked, token, next) {
        const answers = await next(asked, token);
        if (!Array.isArray(answers)) return answers;
        return answers.map((answer: unknown, i) => (asked.items[i]?.section === "vigo" ? host.options() : answer));
      },
    },
    executeCommand: (command, args) => host.execute(command, args),
    async provideCodeLenses(document, token, next) {
      const lenses = (await next(document, token)) ?? [];
      await Promise.all(lenses.map(fit));
      return lenses;
    },
    resolveCodeLens: async (lens, token, next) => fit(await next(lens, token)),
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
