// The envoy whose values hover and inlay hints show: the one that was picked in this workspace, or the one of the setting.
import * as vscode from "vscode";
import { envoysOf } from "./reply";
import { settings } from "./settings";

/** The command of the server that takes the choice and tells what there is to choose from. */
export const SELECT = "vigo.selectEnvoy";
const PICKED = "envoy";

type Item = vscode.QuickPickItem & { envoy: string | undefined };

export class ChosenEnvoy implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changed.event;

  constructor(private readonly memory: vscode.Memento) {}

  /** Nothing: no host is chosen. */
  get name(): string | undefined {
    const picked = this.memory.get<string | null>(PICKED);
    return picked === undefined ? settings.envoy() : (picked ?? undefined);
  }

  async choose(name: string | undefined): Promise<void> {
    if (name === this.name) return;
    // remembered as null, so that "none" can be picked against the setting
    await this.memory.update(PICKED, name === settings.envoy() ? undefined : (name ?? null));
    this.changed.fire();
  }

  /** The setting has changed: what was picked before it no longer counts. */
  async forget(): Promise<void> {
    await this.memory.update(PICKED, undefined);
    this.changed.fire();
  }

  /**
   * Lets somebody pick from what the server offers, or type a name.
   *
   * @param offered the reply of the server to `vigo.selectEnvoy` without an envoy
   * @returns whether something was picked
   */
  async pick(offered: unknown): Promise<boolean> {
    const { candidates } = envoysOf(offered);
    const picked = await ask(candidates, this.name);
    if (!picked) return false;
    await this.choose(picked.envoy);
    return true;
  }

  dispose(): void {
    this.changed.dispose();
  }
}

function ask(candidates: string[], now: string | undefined): Promise<Item | undefined> {
  const none: Item = { label: "$(circle-slash) None", description: "values by class of hosts", envoy: undefined };
  const known: Item[] = candidates.map((envoy) => ({
    label: envoy,
    envoy,
    ...(envoy === now ? { description: "shown now" } : {}),
  }));
  const input = vscode.window.createQuickPick<Item>();
  input.title = "Whose values are shown?";
  input.placeholder = candidates.length > 0 ? "A host, or type a name" : "Type the name of a host";
  const fill = (typed: string) => {
    // names are compared in lower case, as the compiler does
    const name = typed.trim().toLowerCase();
    const fresh = name !== "" && !candidates.includes(name);
    const typedOne = fresh ? [{ label: name, description: "as typed", envoy: name }] : [];
    input.items = [...known, ...typedOne, ...(now ? [none] : [])];
  };
  fill("");
  return new Promise((done) => {
    input.onDidChangeValue(fill);
    input.onDidAccept(() => {
      done(input.selectedItems[0]);
      input.hide();
    });
    input.onDidHide(() => {
      done(undefined);
      input.dispose();
    });
    input.show();
  });
}
