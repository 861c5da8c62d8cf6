// The commands of the palette. Each asks the server's command of the same name, with the place where the cursor is; what
// the server answers is shown in one place, whether the palette, a lens or a quick fix asked.
import * as vscode from "vscode";
import { SELECT, type ChosenEnvoy } from "./envoy";
import type { GraphPanel } from "./graph";
import { envoysOf, messageOf, reportOf } from "./reply";
import type { Reports } from "./report";
import type { Session } from "./session";

/** What a command says about where it was asked. */
type Place = { uri: string; position: { line: number; character: number }; envoy: string | null };

interface Asked {
  /** The command of the server. */
  server: string;
  /** The title of what it answers. */
  title: string;
  /** Whether it makes sense only for one host. */
  needsEnvoy?: boolean;
  /** What the server is told beside the place. */
  more?: Record<string, unknown>;
}

const asked: Record<string, Asked> = {
  "vigo.client.plan": { server: "vigo.plan", title: "Plan", more: { revision: "HEAD" } },
  "vigo.client.explain": { server: "vigo.explain", title: "Explain" },
  "vigo.client.runTest": { server: "vigo.runTest", title: "Tests", more: { all: true } },
  "vigo.client.graph": { server: "vigo.graph", title: "Graph", needsEnvoy: true },
  "vigo.client.previewBundle": { server: "vigo.previewBundle", title: "Bundle", needsEnvoy: true },
};

export function registerCommands(session: Session, envoy: ChosenEnvoy): vscode.Disposable {
  const registered = Object.entries(asked).map(([id, command]) =>
    vscode.commands.registerCommand(id, () => ask(session, envoy, command)),
  );
  return vscode.Disposable.from(
    ...registered,
    vscode.commands.registerCommand("vigo.client.selectEnvoy", () => pickEnvoy(session, envoy)),
    vscode.commands.registerCommand("vigo.client.restart", () => session.restart()),
    vscode.commands.registerCommand("vigo.client.showLog", () => session.log.show()),
  );
}

/** What there is to show something in. */
export interface Views {
  envoy: ChosenEnvoy;
  reports: Reports;
  graph: GraphPanel;
}

/** Shows the reply to a command of the server. */
export async function show(command: string, reply: unknown, { envoy, reports, graph }: Views): Promise<void> {
  // a lens may choose an envoy as well
  if (command === SELECT) return envoy.choose(envoysOf(reply).envoy);
  const title = Object.values(asked).find(({ server }) => server === command)?.title ?? command;
  const report = reportOf(reply, title);
  if (!report) return;
  if (report.language === "mermaid") graph.show(report);
  else await reports.show(report);
}

async function ask(session: Session, envoy: ChosenEnvoy, command: Asked): Promise<void> {
  const place = await currentPlace();
  if (!place) {
    void vscode.window.showInformationMessage("Vigo: there is no .vgo file in this folder.");
    return;
  }
  if (!(await offered(session, command.server))) return;
  if (command.needsEnvoy && !envoy.name && !(await pickEnvoy(session, envoy))) return;
  // the client library has registered the server's command; it comes back through the middleware
  await vscode.commands.executeCommand(command.server, { ...place, envoy: envoy.name ?? null, ...command.more });
}

/** Whether an envoy was picked. */
async function pickEnvoy(session: Session, envoy: ChosenEnvoy): Promise<boolean> {
  if (!(await offered(session, SELECT))) return false;
  try {
    const { uri } = (await currentPlace()) ?? { uri: null };
    return await envoy.pick(await session.execute(SELECT, [{ uri }], "Vigo: looking for envoys"));
  } catch (error) {
    if (!(error instanceof vscode.CancellationError)) void vscode.window.showErrorMessage(`Vigo: ${messageOf(error)}`);
    return false;
  }
}

/** Says so when the server cannot do it. */
async function offered(session: Session, command: string): Promise<boolean> {
  if (await session.offers(command)) return true;
  const running = session.health.state === "running";
  const why = running
    ? `${session.serverName ?? "This language server"} does not offer ${command}. A newer one may.`
    : "The language server does not run.";
  const button = running ? "Choose Another Server" : "Start It";
  void vscode.window.showWarningMessage(`Vigo: ${why}`, button).then((answer) => {
    if (answer !== button) return;
    if (running) void vscode.commands.executeCommand("workbench.action.openSettings", "vigo.server.path");
    else void session.restart();
  });
  return false;
}

/** Where the cursor is; when a panel has the focus, in a file of the policy that is visible; else any file of the policy. */
async function currentPlace(): Promise<Omit<Place, "envoy"> | undefined> {
  const ours = (editor: vscode.TextEditor | undefined) => /^(vgo|vigo-template)$/.test(editor?.document.languageId ?? "");
  const active = vscode.window.activeTextEditor;
  const editor = ours(active) ? active : vscode.window.visibleTextEditors.find(ours);
  const { line, character } = editor?.selection.active ?? { line: 0, character: 0 };
  const uri = editor?.document.uri ?? (await vscode.workspace.findFiles("**/*.vgo", undefined, 1))[0];
  return uri && { uri: uri.toString(), position: { line, character } };
}
