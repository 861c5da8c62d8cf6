// VS Code itself, in a browser: code-server with the packaged extension and the real language server, on a copy of
// examples/acme. Exits with 0 when somebody who looks at it sees what they should. Arguments: the address, the folder
// that is open, and a folder for screenshots.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const [address, root, shots] = process.argv.slice(2);
// the same playwright-core as the dashboard's tests
const { chromium } = createRequire(join(import.meta.dirname, "../../../../tests/browser/package.json"))("playwright-core");

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
page.setDefaultTimeout(90_000); // the first start of everything, on a busy machine

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

async function open(path) {
  const name = path.split("/").at(-1);
  await choose("Control+p", path, name);
  await page.locator(`.tab.active[data-resource-name="${name}"]`).waitFor();
}

/** Puts the cursor behind the first place where a text stands. */
async function goTo(text) {
  await page.keyboard.press("Control+f");
  await page.locator(".find-widget.visible").waitFor();
  await page.keyboard.press("Control+a");
  await page.keyboard.type(text);
  await page.locator(".find-widget .matchesCount", { hasText: /\d of \d/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  await page.keyboard.press("ArrowRight");
}

const status = (text) => page.locator(".statusbar-item", { hasText: text }).first().waitFor();

const steps = {
  async colours() {
    await open("modules/nginx.vgo");
    await status("Vigo policy");
    // the braces of a template are another token than the text around them
    const token = (text) => page.locator(".view-line span[class^=mtk]", { hasText: text }).first().getAttribute("class");
    assert.notEqual(await token(/^ ?\.Vars$/), await token(/^directory$/));
    await open("shop/config.toml.tmpl");
    await status("Vigo template");
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
