// One language server at a time: found, started, told about settings, started again.
import * as vscode from "vscode";
import {
  DidChangeConfigurationNotification,
  ExecuteCommandRequest,
  LanguageClient,
  RevealOutputChannelOn,
  State,
} from "vscode-languageclient/node";
import { middleware } from "./middleware";
import { messageOf } from "./reply";
import { findServer, thisMachine } from "./server";
import { settings } from "./settings";
import { tracing } from "./trace";

/** What the status bar shows. */
export type Health = { state: "starting" | "running" | "stopped" } | { state: "failed"; why: string };

export class Session implements vscode.Disposable {
  readonly log = vscode.window.createOutputChannel("Vigo", { log: true });
  private readonly trace = vscode.window.createOutputChannel("Vigo Trace", { log: true });
  private readonly changed = new vscode.EventEmitter<Health>();
  private client: LanguageClient | undefined;
  private current: Health = { state: "stopped" };
  /** Restarts queue up, so that two servers never run at once. */
  private turn: Promise<void> = Promise.resolve();

  readonly onDidChange = this.changed.event;

  /**
   * @param envoy the host whose values are shown, asked again for each start
   * @param answered what to do with the reply to a command that somebody ran from a lens, an action or the palette
   */
  constructor(
    private readonly envoy: () => string | undefined,
    private readonly answered: (command: string, reply: unknown) => void | Promise<void>,
  ) {}

  get health(): Health {
    return this.current;
  }

  /** Name and version of the server, when it has said them. */
  get serverName(): string | undefined {
    const info = this.client?.initializeResult?.serverInfo;
    return info && [info.name, info.version].filter(Boolean).join(" ");
  }

  /** Starts the server, or stops it and starts it again. */
  restart(): Promise<void> {
    this.turn = this.turn.then(async () => {
      await this.stop();
      await this.start();
    });
    return this.turn;
  }

  /** Whether the server has a command of this name. The client registers those that it offers. */
  async offers(command: string): Promise<boolean> {
    return this.current.state === "running" && (await vscode.commands.getCommands(true)).includes(command);
  }

  /** Runs a command of the server; a plan only in a workspace that is trusted. What may take a while gets a button to give up, the rest a word in the status bar. */
  async execute(command: string, args: unknown[], title: string): Promise<unknown> {
    const client = this.client;
    if (!client) throw new Error("The language server of Vigo does not run.");
    if (command === "vigo.plan" && !vscode.workspace.isTrusted) {
      askForTrust();
      throw new vscode.CancellationError();
    }
    const long = command === "vigo.plan" || command === "vigo.runTest";
    const location = long ? vscode.ProgressLocation.Notification : vscode.ProgressLocation.Window;
    return vscode.window.withProgress(
      { location, title, cancellable: long },
      (_, token) => client.sendRequest(ExecuteCommandRequest.type, { command, arguments: args }, token),
    );
  }

  /** Tells the server what has changed in settings, or in what was picked. It asks for a new look where that shows. */
  async configure(): Promise<void> {
    const client = this.client;
    if (!client || client.state !== State.Running) return;
    await client.sendNotification(DidChangeConfigurationNotification.type, { settings: { vigo: this.options() } });
  }

  async dispose(): Promise<void> {
    await this.turn;
    await this.stop();
    this.log.dispose();
    this.trace.dispose();
    this.changed.dispose();
  }

  private async start(): Promise<void> {
    const found = findServer(settings.serverPath(), thisMachine());
    if ("missing" in found) {
      this.became({ state: "failed", why: found.missing });
      askForServer(found.missing);
      return;
    }
    const { command, args } = found.program;
    this.log.info(["starting", command, ...args].join(" "));
    const client = new LanguageClient("vigo", "Vigo", { command, args }, {
      documentSelector: [
        { scheme: "file", language: "vgo" },
        { scheme: "file", language: "vigo-template" },
        // a template may keep the language of what it becomes, such as a shell script
        { scheme: "file", pattern: "**/templates/**" },
      ],
      outputChannel: this.log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationOptions: () => this.options(),
      middleware: middleware({
        client: () => this.client,
        execute: (id, values) => this.run(id, values),
        options: () => this.options(),
      }),
      ...tracing(settings.trace(), this.trace),
    });
    this.client = client;
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Starting) this.became({ state: "starting" });
      if (newState === State.Running) this.became({ state: "running" });
      if (newState === State.Stopped) this.became({ state: "stopped" });
    });
    try {
      await client.start();
    } catch (error) {
      const why = `${command} did not start as a language server: ${messageOf(error)}`;
      this.log.error(why);
      this.client = undefined;
      this.became({ state: "failed", why });
      askForServer(why);
    }
  }

  private async stop(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    // a server that does not answer any more is left to the operating system
    await client?.dispose().catch((error: unknown) => this.log.warn(`stopping: ${messageOf(error)}`));
    if (client) this.became({ state: "stopped" });
  }

  /** A command of the server, wherever it was clicked. */
  private async run(command: string, args: unknown[]): Promise<unknown> {
    try {
      const reply = await this.execute(command, args, `Vigo: waiting for ${command}`);
      await this.answered(command, reply);
      return reply;
    } catch (error) {
      if (!(error instanceof vscode.CancellationError)) void vscode.window.showErrorMessage(`Vigo: ${messageOf(error)}`);
      return undefined;
    }
  }

  private options() {
    return {
      envoy: this.envoy() ?? null,
      fleet: settings.fleet() ?? null,
      inlayHints: { enabled: settings.inlayHints() },
      codeLens: { enabled: settings.codeLens() },
    };
  }

  private became(health: Health): void {
    this.current = health;
    this.changed.fire(health);
  }
}

/** Says what is missing, with the ways out as buttons. Does not wait for an answer. */
function askForServer(why: string): void {
  const choose = "Choose the Program...";
  const how = "How to Install It";
  const message = `${why} Colours and snippets work without it; checks, completion, hover and all the rest do not.`;
  void vscode.window.showErrorMessage(message, choose, how).then(async (answer) => {
    if (answer === how) {
      await vscode.commands.executeCommand("workbench.action.openWalkthrough", "vigo.vigo#start", false);
    }
    if (answer !== choose) return;
    const picked = await vscode.window.showOpenDialog({ title: "vigo-lsp, or vigoc", openLabel: "Use It" });
    const file = picked?.[0];
    // the change of the setting starts it
    if (file) {
      const vigo = vscode.workspace.getConfiguration("vigo");
      await vigo.update("server.path", file.fsPath, vscode.ConfigurationTarget.Global);
    }
  });
}

/** A plan asks git about the repository, whose own configuration may name programs. */
function askForTrust(): void {
  const button = "Manage Workspace Trust";
  const message = "Vigo: a plan asks git about the repository, so it needs a workspace that is trusted.";
  void vscode.window.showWarningMessage(message, button).then((answer) => {
    if (answer === button) void vscode.commands.executeCommand("workbench.trust.manage");
  });
}
