import * as vscode from "vscode";
import { registerCommands, show } from "./commands";
import { ChosenEnvoy } from "./envoy";
import { GraphPanel } from "./graph";
import { isTemplate, thisDisk } from "./policy";
import { Reports } from "./report";
import { Session } from "./session";
import { statusBar } from "./status";

let session: Session | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const envoy = new ChosenEnvoy(context.workspaceState);
  const views = { envoy, reports: new Reports(), graph: new GraphPanel(context.extensionUri) };
  const ours = new Session(
    () => envoy.name,
    (command, reply) => show(command, reply, views),
  );
  session = ours;

  context.subscriptions.push(
    envoy,
    views.reports,
    views.graph,
    statusBar(ours, envoy),
    registerCommands(ours, envoy),
    envoy.onDidChange(() => ours.configure()),
    ours.onDidChange(({ state }) => setContext("running", state === "running")),
    vscode.workspace.onDidChangeConfiguration(async (change) => {
      const changed = (name: string) => change.affectsConfiguration(`vigo.${name}`);
      if (changed("server") || changed("trace")) await ours.restart();
      else if (changed("envoy")) await envoy.forget();
      else if (change.affectsConfiguration("vigo")) await ours.configure();
    }),
    vscode.workspace.onDidOpenTextDocument(markTemplate),
  );
  for (const document of vscode.workspace.textDocuments) markTemplate(document);
  await setContext("active", true);
  // colours and commands are there at once; the server may take its time
  void ours.restart();
}

export async function deactivate(): Promise<void> {
  await session?.dispose();
}

/** What `when` clauses of package.json ask for. */
function setContext(key: string, value: boolean): Thenable<void> {
  return vscode.commands.executeCommand("setContext", `vigo.${key}`, value);
}

/** Text below the `templates/` of a policy is a template, unless the editor knows it as something else. */
function markTemplate(document: vscode.TextDocument): void {
  if (document.uri.scheme !== "file" || !["plaintext", "gotmpl", "go-template"].includes(document.languageId)) return;
  if (isTemplate(document.uri.fsPath, thisDisk)) void vscode.languages.setTextDocumentLanguage(document, "vigo-template");
}
