// The status bar: how the server is, and whose values are shown.
import * as vscode from "vscode";
import type { ChosenEnvoy } from "./envoy";
import type { Session } from "./session";

export function statusBar(session: Session, envoy: ChosenEnvoy): vscode.Disposable {
  const item = vscode.window.createStatusBarItem("vigo.status", vscode.StatusBarAlignment.Right, 100);
  item.name = "Vigo";
  const show = () => {
    const health = session.health;
    const tip = new vscode.MarkdownString("", true);
    item.backgroundColor = undefined;
    switch (health.state) {
      case "starting":
        item.text = "$(sync~spin) Vigo";
        item.command = "vigo.client.showLog";
        tip.appendText("The language server is starting.");
        break;
      case "running":
        item.text = `$(vm) ${envoy.name ?? "no envoy"}`;
        item.command = "vigo.client.selectEnvoy";
        tip.appendText(envoy.name ? `Hover and hints show the values of ${envoy.name}.` : "No envoy is picked: hover shows the values of each class.");
        if (session.serverName) tip.appendText(`\n\n${session.serverName}`);
        break;
      default:
        item.text = health.state === "failed" ? "$(error) Vigo" : "$(debug-disconnect) Vigo";
        item.command = "vigo.client.restart";
        item.backgroundColor = new vscode.ThemeColor("statusBarItem.errorBackground");
        tip.appendText(health.state === "failed" ? health.why : "The language server has stopped.");
        tip.appendText("\n\nClick to start it again.");
    }
    item.tooltip = tip;
    item.accessibilityInformation = { label: `Vigo: ${health.state}, ${envoy.name ?? "no envoy"}` };
  };
  show();
  item.show();
  return vscode.Disposable.from(item, session.onDidChange(show), envoy.onDidChange(show));
}
