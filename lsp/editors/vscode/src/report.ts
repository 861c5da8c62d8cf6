// Texts that the server answers, shown in read-only documents beside the policy: one for each command.
import * as vscode from "vscode";
import type { Report } from "./reply";

const SCHEME = "vigo-report";

export class Reports implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly texts = new Map<string, string>();
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  private readonly registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  readonly onDidChange = this.changed.event;

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.path) ?? "";
  }

  /** A report of the same title takes the place of the one before. */
  async show(report: Report): Promise<void> {
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/${report.title.replaceAll("/", " ")}` });
    this.texts.set(uri.path, report.text);
    this.changed.fire(uri);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document, { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true, preview: true });
    const known = await vscode.languages.getLanguages();
    if (known.includes(report.language)) await vscode.languages.setTextDocumentLanguage(document, report.language);
  }

  dispose(): void {
    this.registration.dispose();
    this.changed.dispose();
  }
}
