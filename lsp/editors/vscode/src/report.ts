// Texts that the server answers, shown in read-only documents beside the policy.
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
  async show({ title, language, text }: Report): Promise<void> {
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/${title.replaceAll("/", " › ")}` });
    this.texts.set(uri.path, text);
    this.changed.fire(uri);
    const document = await vscode.workspace.openTextDocument(uri);
    // a title may end like the name of a file, and a server may know languages that the editor does not
    const known = (await vscode.languages.getLanguages()).includes(language);
    await vscode.languages.setTextDocumentLanguage(document, known ? language : "plaintext");
    if (language === "markdown") {
      await vscode.commands.executeCommand("markdown.showPreviewToSide", uri);
    } else {
      await vscode.window.showTextDocument(document, { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true });
    }
  }

  dispose(): void {
    this.registration.dispose();
    this.changed.dispose();
  }
}
