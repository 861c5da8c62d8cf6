// VS Code itself, in a browser: code-server with the packaged extension and the real language server, on a copy of
// examples/acme. Exits with 0 when somebody who looks at it sees what they should. Arguments: the address, the folder
// that is open, and a folder for screenshots.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [address, root, shots] = process.argv.slice(2);
// the same playwright-core as the dashboard's tests
const { chromium } = createRequire(join(import.meta.dirname, "../../../../tests/browser/package.json"))("playwright-core");

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
page.setDefaultTimeout(25_000); // the first start of everything, on a busy machine

const shot = (name) => page.screenshot({ path: join(shots, `${name}.png`) });

/** Picks what a list offers under this name, after typing it. */
async function choose(keys, typed, offered) {
  await page.keyboard.press(keys);
  await page.locator(".quick-input-widget input").waitFor({ state: "visible" });
  await page.keyboard.type(typed);
  const row = page.locator(".quick-input-list .monaco-list-row", { hasText: offered }).first();
  await row.click();
}
const command = (title) => choose("F1", title, title);

/** Opens a file, with the cursor behind the first place where a text stands. */
async function open(path, text = "") {
  const name = path.split("/").at(-1);
  await choose("Control+p", path, name);
  await page.locator(`.tab.active[data-resource-name="${name}"]`).first().waitFor();
  const lines = (readFileSync(join(root, path), "utf8").split(text)[0] + text).split("\n");
  const [line, column] = text ? [lines.length, lines.at(-1).length + 1] : [1, 1];
  await page.keyboard.press("Control+g");
  await page.locator(".quick-input-widget input").waitFor({ state: "visible" });
  await page.keyboard.type(`${line}:${column}`);
  await page.keyboard.press("Enter");
  await status(`Ln ${line}, Col ${column}`);
}

const statusItem = (text) => page.locator(".statusbar-item", { hasText: text }).first();
const status = (text) => statusItem(text).waitFor();

/** Clicks a line above a declaration until it does something: the editor draws these lines anew whenever it likes. */
async function clickLens(text, shown) {
  for (let tries = 1; ; tries++) {
    await page.locator(".codelens-decoration a", { hasText: text }).first().click();
    const failed = await shown.waitFor({ timeout: 5000 }).then(() => null, (error) => error);
    if (!failed) return;
    if (tries === 5) throw failed;
  }
}

const notification = (text) => page.locator(".notification-list-item", { hasText: text }).first();
/** Settings of the folder, written by somebody else. */
function set(settings) {
  mkdirSync(join(root, ".vscode"), { recursive: true });
  writeFileSync(join(root, ".vscode/settings.json"), JSON.stringify(settings));
}

const steps = {
  async colours() {
    await open("modules/nginx.vgo");
    await status("Vigo policy");
    // the braces of a template are another token than the text around them
    const token = (text) => page.locator(".view-line span[class^=mtk]", { hasText: text }).first().getAttribute("class");
    assert.notEqual(await token(/^ ?\.Vars$/), await token(/^directory$/));
    await open("templates/shop/config.toml.tmpl");
    await status("Vigo template");
  },

  async mistake() {
    await open("templates/nginx/site.conf.tmpl", ".Vars.rate_limit");
    await page.keyboard.press("Backspace");
    await page.locator(".squiggly-error").first().waitFor();
    await page.keyboard.press("F8");
    await page.locator(".marker-widget", { hasText: "unknown-variable" }).waitFor();
  },

  async mended() {
    await page.keyboard.press("Escape");
    await page.keyboard.press("Control+.");
    await page.locator(".action-widget .action-item, .action-widget .monaco-list-row", { hasText: "rate_limit" }).first().click();
    await page.locator(".squiggly-error").first().waitFor({ state: "detached" });
  },

  async completion() {
    await page.keyboard.press("End");
    await page.keyboard.type("{{ .Vars.ra");
    await page.locator(".suggest-widget .monaco-list-row", { hasText: "rate_limit" }).first().waitFor();
  },

  async classes() {
    await page.keyboard.press("Escape");
    for (let i = 0; i < 11; i++) await page.keyboard.press("Backspace");
    await open("modules/nginx.vgo", "rate_limit");
    await command("Show or Focus Hover");
    await page.locator(".monaco-hover", { hasText: "(staging)" }).first().waitFor();
  },

  async envoy() {
    await page.keyboard.press("Escape");
    await command("Vigo: Pick an Envoy");
    await page.locator(".quick-input-list .monaco-list-row", { hasText: "web-01.acme.test" }).first().click();
    await status("web-01.acme.test");
  },

  async hover() {
    await open("modules/nginx.vgo", "rate_limit");
    await command("Show or Focus Hover");
    await page.locator(".monaco-hover", { hasText: "roles.vgo" }).first().waitFor();
  },

  async outline() {
    await page.keyboard.press("Escape");
    await command("Explorer: Focus on Outline View");
    await page.locator(".outline-pane .monaco-list-row", { hasText: "http_port" }).first().waitFor();
  },

  async references() {
    await open("modules/nginx.vgo"); // lenses are fetched while the text has the focus
    await clickLens(/references?$/, page.locator(".reference-zone-widget, .peekview-widget").first());
  },

  async lens() {
    await page.keyboard.press("Escape");
    await clickLens(/envoys$/, statusItem("app-01.eu.acme.test"));
  },

  async rename() {
    await open("modules/nginx.vgo", "rate_limit");
    await page.keyboard.press("F2");
    const box = page.locator(".rename-box input");
    await box.fill("request_rate");
    await box.press("Enter");
    await box.waitFor({ state: "hidden" });
    await open("roles.vgo");
    await page.locator(".view-line", { hasText: "request_rate" }).first().waitFor();
  },

  async graph() {
    await open("modules/nginx.vgo");
    await command("Vigo: Show the Graph of an Envoy");
    await page.frameLocator("iframe.webview").first().frameLocator("iframe").locator("svg .cluster").first().waitFor();
  },

  async plan() {
    await open("modules/nginx.vgo", "ssl/acm");
    await page.keyboard.press("Backspace");
    await command("Vigo: Plan Against the Last Git Revision");
    await page.locator(".tab", { hasText: "Plan" }).first().waitFor();
    await page.locator(".view-line", { hasText: /envoys?\sgets?\ssomething\selse/ }).first().waitFor();
  },

  async explain() {
    await command("View: Focus First Editor Group");
    await open("modules/nginx.vgo", "request_rate");
    await command("Vigo: Explain Here");
    await page.locator(".view-line", { hasText: "roles.vgo" }).first().waitFor();
  },

  async bundle() {
    await command("Vigo: Preview the Bundle of an Envoy");
    await page.locator(".tab", { hasText: "Bundle" }).first().waitFor();
  },

  async tests() {
    await command("View: Focus First Editor Group");
    await open("tests/web.vgo");
    await clickLens("Run all tests of this file", page.locator(".view-line", { hasText: /passed/ }).first());
  },

  async typing() {
    await command("View: Close All Editors");
    await open("modules/base.vgo");
    await page.keyboard.press("Control+End");
    const lines = ["  - name: extra", "type: file", "target_path: /etc/extra", "content: |", "one", "two"];
    for (const line of lines) {
      await page.keyboard.type(line);
      await page.locator(".view-line", { hasText: line.trim() }).last().waitFor();
      await page.keyboard.press("Escape"); // a list of proposals, if there is one
      await page.keyboard.press("Enter");
    }
    await page.locator(".view-line", { hasText: "two" }).first().waitFor();
    const shown = (await page.locator(".view-line").allTextContents()).map((text) => text.replaceAll("\u00a0", " "));
    for (const line of ["  - name: extra", "    type: file", "    content: |", "      one", "      two"]) {
      assert.ok(shown.includes(line), `${line}: ${JSON.stringify(shown)}`);
    }
  },

  // the last ones: no server runs after them
  async missing() {
    await command("View: Close All Editors");
    set({ "vigo.server.path": "/nowhere/vigo-lsp" });
    await notification("names \"/nowhere/vigo-lsp\", which is no program").waitFor();
    await notification("Choose the Program...").waitFor();
  },

  async walkthrough() {
    await page.locator(".monaco-button", { hasText: "How to Install It" }).first().click();
    await page.locator(".getting-started-step", { hasText: "Put the language server on the PATH" }).first().waitFor();
    await page.frameLocator("iframe.webview").first().frameLocator("iframe").locator("code", { hasText: "cargo build" }).waitFor();
  },
};

for (let tries = 1; ; tries++) {
  const failed = await page.goto(`${address}/?folder=${root}`).then(() => null, (error) => error);
  if (!failed) break;
  if (tries === 60) throw failed;
  await page.waitForTimeout(500); // until it listens
}
await page.locator(".monaco-workbench").waitFor();
await status("no envoy");
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
  } catch (error) {
    await shot(`failed-${name}`);
    throw error;
  }
  await shot(name);
  console.log(`ok  ${name}`);
}
await browser.close();
