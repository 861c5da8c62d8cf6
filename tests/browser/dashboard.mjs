// A server, four hosts in four states, and somebody who looks at them with a browser. Exits with 0 when they see what
// they should. The first argument is a directory for screenshots; without one, none are kept.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const run = promisify(execFile);
const bin = resolve(process.env.VIGO_BIN_DIR);
const shots = process.argv[2] || null;
const dir = mkdtempSync(join(tmpdir(), "vigo-browser-"));
const after = [];

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

async function until(what, ask) {
  const end = Date.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `${what} did not happen within half a minute`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

const policy = {
  "nodes.vgo": `nodes:
  - match: "web-*"
    environment: production
    roles: [webserver]
  - match: "db-*"
    modules: [base]
`,
  "roles.vgo": `roles:
  - name: webserver
    modules: [base, motd]
`,
  "modules/base.vgo": `name: base
resources:
  - name: etc
    type: directory
    target_path: /etc
  - name: limits
    type: file
    target_path: /etc/limits
    content: "nofile 65536\\n"
`,
  "modules/motd.vgo": `name: motd
depends_on: [base]
resources:
  - name: motd
    type: file
    target_path: /etc/motd
    content: "Welcome to {{ .Envoy.hostname }}\\n"
`,
};

async function fleet() {
  const srv = join(dir, "srv");
  const { stdout: hash } = await run(`${bin}/vigosrv`, ["init", "--dir", srv, "--hostname", "localhost,127.0.0.1"]);
  const [grpc, http] = [await freePort(), await freePort()];
  const config = join(srv, "server.yaml");
  const text = readFileSync(config, "utf8")
    .replace("0.0.0.0:1530", `127.0.0.1:${grpc}`)
    .replace("0.0.0.0:8443", `127.0.0.1:${http}`);
  writeFileSync(config, text);
  mkdirSync(join(srv, "policy/modules"), { recursive: true });
  for (const [path, content] of Object.entries(policy)) writeFileSync(join(srv, "policy", path), content);
  const server = spawn(`${bin}/vigosrv`, ["run", "--config", config], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => (log += data));
  after.push(() => server.kill("SIGTERM"));
  await until("publishing", async () => {
    if (log.includes("has errors")) throw new Error(log);
    return log.includes("policy published");
  });

  const make = async (args) => (await run(`${bin}/vigosrv`, [...args, "--config", config])).stdout.trim();
  const hosts = {};
  for (const name of ["web-01.example.com", "web-02.example.com", "db-01.example.com", "db-02.example.com"]) {
    const root = join(dir, name);
    mkdirSync(root);
    const vigo = (...args) => run(`${bin}/vigo`, ["--root", root, ...args]).catch((failed) => failed);
    const token = await make(["token", "create"]);
    const enrolled = await vigo("enroll", "--server", `127.0.0.1:${grpc}`, "--token", token, "--ca-hash", hash.trim(),
      "--hostname", name);
    assert.equal(enrolled.code ?? 0, 0, enrolled.stderr);
    hosts[name] = { root, once: () => vigo("run", "--once") };
  }
  const [web1, web2, db1] = Object.values(hosts);
  await web1.once(); // puts everything right,
  await web1.once(); // and finds it so
  await web2.once();
  for (const text of ["one", "two"]) {
    writeFileSync(join(web2.root, "etc/motd"), `somebody was here: ${text}\n`);
    await web2.once(); // drifts
  }
  mkdirSync(join(db1.root, "etc/limits"), { recursive: true }); // a directory where a file should be
  await db1.once(); // fails; db-02 never checks in
  const samples = `
import sqlite3, sys, time
db, now = sqlite3.connect(sys.argv[1], timeout=10), int(time.time() * 1000)
for hour in range(24, 0, -1):
    good, unknown = min(3, 1 + hour % 4), hour // 9
    bad = 4 - good - min(unknown, 4 - good)
    db.execute("insert or ignore into compliance_samples values (?, 4, ?, ?, ?)",
               (now - hour * 3500000, good, bad, 4 - good - bad))
db.commit()`;
  await run("python3", ["-c", samples, join(srv, "vigo.db")]);
  const url = `https://127.0.0.1:${http}`;
  const token = await make(["api-token", "create", "--name", "browser", "--role", "viewer"]);
  const operator = await make(["api-token", "create", "--name", "ann", "--role", "operator"]);
  const env = { ...process.env, VIGO_SERVER: url, VIGO_CA: join(srv, "tls/ca.pem"), VIGO_TOKEN: operator };
  const vigocli = (...args) => run(`${bin}/vigocli`, args, { env }).catch((failed) => failed);
  const daemon = spawn(`${bin}/vigo`, ["--root", web1.root, "run"], { stdio: "ignore" });
  after.push(() => daemon.kill("SIGTERM"));
  const line = "echo from the host; echo 'a <b>warning</b>' >&2; exit 3";
  const ran = await vigocli("task", "run", "--on", "web-01.example.com", "--on", "db-02.example.com", "--shell", line);
  assert.ok(ran.stderr.includes("exit code 3"), ran.stderr);
  await vigocli("query", "--on", "web-01.example.com", "os.kernel");
  const plan = join(dir, "plan.yaml");
  const steps = "steps:\n  - command: ['true']\n  - shell: echo second\n";
  writeFileSync(plan, `name: restart the web servers\ntargets: { hosts: [web-01.example.com] }\n${steps}`);
  const went = await vigocli("workflow", "run", plan);
  assert.equal(went.code ?? 0, 0, went.stderr);
  return { url, token, operator, hosts, policy: join(srv, "policy"), vigocli, web1 };
}

async function look({ url, token, operator, policy: dir, vigocli, web1 }) {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  after.push(() => browser.close());
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  const shot = async (name) => {
    if (!shots) return;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(shots, `${name}-${colorScheme}.png`), fullPage: true });
    }
    await page.emulateMedia({ colorScheme: "light" });
  };
  const sees = async (text, where = "main") =>
    assert.ok((await page.locator(where).innerText()).includes(text), `${text} is not on ${page.url()}`);

  await page.goto(url);
  assert.equal(new URL(page.url()).pathname, "/login");
  await shot("login");
  await page.getByLabel("API token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await sees("not known");
  complaints.length = 0; // the browser reports the 401
  await page.getByLabel("API token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${url}/`);
  assert.equal(await page.evaluate(() => document.cookie), "", "no script can read the cookie");

  await sees("1 of 4 compliant");
  await sees("25 %");
  assert.equal(await page.locator("svg.chart path").count(), 3);
  assert.equal(await page.locator("tbody tr").count(), 4);
  await shot("fleet");
  await page.setViewportSize({ width: 420, height: 900 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await shot("fleet-phone");
  await page.setViewportSize({ width: 1280, height: 900 });
  assert.ok(!wide, "the page fits a phone");

  await page.locator(".legend").getByRole("link", { name: "diverged" }).click();
  assert.equal(await page.locator("tbody tr").count(), 1);
  await page.getByRole("link", { name: "clear" }).click();
  await page.getByLabel("Host name").fill("db-*");
  await page.getByRole("button", { name: "Filter" }).click();
  assert.equal(await page.locator("tbody tr").count(), 2);

  await page.getByRole("link", { name: "db-01.example.com" }).click();
  await sees("failed");
  await sees("base.limits");
  await shot("envoy-failed");
  await page.goto(`${url}/envoys/web-02.example.com`);
  await sees("run after run");
  await sees("motd.motd");
  await sees("production");
  await page.getByText("Traits").click();
  await sees("os.kernel");
  await shot("envoy-drift");
  await page.locator("table a").filter({ hasText: "ago" }).first().click();
  await sees("Run 3 of web-02.example.com");
  await shot("run");
  await page.goto(`${url}/envoys/db-02.example.com`);
  await sees("has not checked in yet");
  await shot("envoy-new");

  await page.getByRole("link", { name: "Releases" }).click();
  await sees("served");
  await sees("policy.dir");
  await page.locator("tbody a").first().click();
  await sees("3 of 4 active envoys");

  // Another release, one that is refused, and a freeze.
  const away = join(dir, "../elsewhere");
  cpSync(dir, away, { recursive: true });
  const motd = join(away, "modules/motd.vgo");
  writeFileSync(motd, policy["modules/motd.vgo"].replace("Welcome to", "<b>Good day</b> at"));
  const published = await vigocli("publish", away, "--message", "friendlier");
  assert.equal(published.code ?? 0, 0, published.stderr);
  writeFileSync(motd, policy["modules/motd.vgo"].replace(".Envoy.hostname", ".Vars.nobody"));
  assert.equal((await vigocli("publish", away)).code, 1);
  await vigocli("releases", "freeze", "--for", "2d", "--reason", "holidays");
  await page.getByRole("link", { name: "Releases" }).first().click();
  await sees("friendlier");
  await sees("holidays");
  await sees("was refused");
  await page.getByText("What was found in it").click();
  await sees("unknown-variable");
  await shot("releases");
  await page.locator("tbody a").first().click();
  await sees("2 of 3 envoys got something else");
  await sees("production");
  await sees("motd.motd");
  await sees("+    content: \"<b>Good day</b> at");
  assert.equal(await page.locator("main b").count(), 0, "what is in a policy stays text");
  assert.equal(await page.locator("main form, main button").count(), 0, "nothing is changed here");
  await shot("release");

  await page.getByRole("link", { name: "Tasks" }).click();
  await sees("restart the web servers");
  await sees("1 failed");
  await sees("1 offline");
  await shot("tasks");
  await page.locator("tbody tr", { hasText: "1 offline" }).getByRole("link").click();
  await sees("not seen lately; nothing was sent");
  await sees("What commands wrote is for operators");
  assert.ok(!(await page.locator("main").innerText()).includes("from the host"), "it is no operator");
  const trusted = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  await trusted.goto(`${url}/login`);
  await trusted.getByLabel("API token").fill(operator);
  await trusted.getByRole("button", { name: "Sign in" }).click();
  await trusted.goto(page.url());
  const wrote = await trusted.locator("main").innerText();
  assert.ok(wrote.includes("from the host") && wrote.includes("a <b>warning</b>"), wrote);
  assert.ok(!wrote.includes("is for operators"));
  await shot("task");
  const waits = ["task", "run", "--on", "web-01.example.com", "--no-follow", "--format", "json", "--shell"];
  const made = JSON.parse((await vigocli(...waits, "touch begun; while test ! -e go; do sleep 0.1; done")).stdout);
  await page.goto(`${url}/tasks/${made.id}`);
  await until("seeing it run", async () => (await page.locator("main").innerText()).includes("1 running"));
  await shot("task-running");
  writeFileSync(join(web1.root, "go"), "");
  await until("seeing its end", async () => (await page.locator("main").innerText()).includes("1 ok"));
  await page.getByRole("link", { name: "Tasks" }).first().click();
  await page.getByRole("link", { name: "restart the web servers" }).click();
  await sees("done");
  assert.equal(await page.locator("tbody tr").count(), 2);
  await shot("workflow");

  await page.goto(`${url}/envoys/web-02.example.com`);
  await page.getByRole("link", { name: "what comes before what" }).click();
  assert.equal(await page.locator("svg.graph rect").count(), 3);
  assert.equal(await page.locator("svg.graph path.edge.module").count(), 1);
  assert.equal(await page.locator("svg.graph rect.info").count(), 1, "what changed in the last run stands out");
  await shot("graph");

  assert.deepEqual(complaints, [], "the browser has nothing to complain about");
  const missing = await page.goto(`${url}/envoys/nobody`);
  assert.equal(missing.status(), 404);
  await sees("there is no envoy");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto(url);
  assert.equal(new URL(page.url()).pathname, "/login");
}

try {
  await look(await fleet());
  console.log("the dashboard shows what it should");
} finally {
  for (const end of after.reverse()) await end();
  rmSync(dir, { recursive: true, force: true });
}
