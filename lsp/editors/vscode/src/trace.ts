// The setting `vigo.trace.server`. The client library traces when the level of the channel is Trace, whatever a setting
// says; the channel that it gets here has that level and writes as information, so the setting alone decides.
import * as vscode from "vscode";
import type { LanguageClientOptions } from "vscode-languageclient/node";
import type { TraceLevel } from "./settings";

export function tracing(level: TraceLevel, channel: vscode.LogOutputChannel): Pick<LanguageClientOptions, "traceOutputChannel"> {
  if (level === "off") return {};
  const traceOutputChannel: vscode.LogOutputChannel = Object.create(channel, {
    logLevel: { value: vscode.LogLevel.Trace },
    trace: { value: (message: string, ...more: unknown[]) => channel.info(message, ...more) },
  });
  return { traceOutputChannel };
}
