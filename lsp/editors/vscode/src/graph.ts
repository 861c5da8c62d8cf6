// The graph of an envoy in a panel. It is drawn by webview/graph.ts, from the Mermaid text of the server.
import { randomBytes } from "node:crypto";
import * as vscode from "vscode";
import type { Report } from "./reply";

export class GraphPanel implements vscode.Disposable {
  private panel: vscode.WebviewPanel | undefined;
  private report: Report | undefined;

  constructor(private readonly extension: vscode.Uri) {}

  show(report: Report): void {
    this.report = report;
    if (this.panel) {
      this.panel.title = report.title;
      this.panel.reveal(undefined, true);
      this.send();
      return;
    }
    const out = vscode.Uri.joinPath(this.extension, "out");
    const panel = vscode.window.createWebviewPanel(
      "vigo.graph",
      report.title,
      { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true },
      { enableScripts: true, localResourceRoots: [out] },
    );
    this.panel = panel;
    panel.onDidDispose(() => (this.panel = undefined));
    // the script asks for the text whenever it is loaded, which is also when a hidden panel comes back
    panel.webview.onDidReceiveMessage((message: unknown) => {
      if (message === "ready") this.send();
      if (message === "copy" && this.report) void vscode.env.clipboard.writeText(this.report.text);
    });
    const scripts = ["mermaid.js", "graph.js"].map((name) => panel.webview.asWebviewUri(vscode.Uri.joinPath(out, name)));
    panel.webview.html = page(scripts);
  }

  dispose(): void {
    this.panel?.dispose();
  }

  private send(): void {
    void this.panel?.webview.postMessage(this.report?.text ?? "");
  }
}

/** Scripts only with the nonce, nothing from the network. Mermaid puts its styles into the drawing, so those are inline. */
function page(scripts: vscode.Uri[]): string {
  const nonce = randomBytes(16).toString("base64url");
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'unsafe-inline'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<style>
  body { margin: 0; padding: 0; }
  nav { position: fixed; top: 8px; right: 16px; display: flex; gap: 4px; }
  button {
    color: var(--vscode-button-secondaryForeground); background: var(--vscode-button-secondaryBackground);
    border: 1px solid var(--vscode-button-border, transparent); padding: 4px 8px; font: inherit; cursor: pointer;
  }
  button:hover { background: var(--vscode-button-secondaryHoverBackground); }
  main { padding: 48px 16px 16px; }
  pre { white-space: pre-wrap; color: var(--vscode-editor-foreground); font-family: var(--vscode-editor-font-family); }
  .error { color: var(--vscode-errorForeground); }
</style>
</head>
<body>
<nav>
  <button id="smaller" title="Smaller" aria-label="Smaller">&minus;</button>
  <button id="whole" title="As wide as the panel">Fit</button>
  <button id="larger" title="Larger" aria-label="Larger">+</button>
  <button id="copy" title="Copies the text of the drawing, for Markdown">Copy as Mermaid</button>
</nav>
<main id="graph" role="img" aria-label="the order in which resources run"></main>
${scripts.map((script) => `<script nonce="${nonce}" src="${script}"></script>`).join("\n")}
</body>
</html>`;
}
