// The dashboard in a real browser against a running `trunkline demo`: every section, live numbers, a dead letter's
// life, a fault page, a tool, a model, the themes, the key, 1280 and 400 pixels. Writes screenshots.
// It checks what an operator sees, not how the pages are made.
//
//   PLAYWRIGHT=…/node_modules/playwright-core node dashboard.mjs http://127.0.0.1:7400 OUTDIR

import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [url, outdir] = [process.argv[2]?.replace(/\/$/, ""), process.argv[3]];
if (!url || !outdir) {
  console.error("usage: PLAYWRIGHT=FOLDER node dashboard.mjs URL OUTDIR");
  process.exit(2);
}
mkdirSync(outdir, { recursive: true });

const folder = process.env.PLAYWRIGHT;
const require = createRequire(import.meta.url);
const places = folder ? ["", "playwright-core", "node_modules/playwright-core"].map((place) => resolve(folder, place)) : ["playwright-core"];
const { chromium } = require(places.find((place) => existsSync(join(place, "package.json")) && existsSync(join(place, "lib"))) ?? places[0]);

const DEADLINE_MS = 20_000;
const WIDE = { width: 1280, height: 860 };
const NARROW = { width: 400, height: 860 };
/** What may refuse during the test because the test provokes it: the browser reports each as an error. */
const expected = [];
const problems = [];
let passed = 0;

function ok(what, condition, detail = "") {
  if (!condition) throw new Error(`${what}${detail ? `: ${detail}` : ""}`);
  passed += 1;
  console.log(`ok   ${what}`);
}

/** Waits until `look` gives something true. */
async function until(what, look, deadline = DEADLINE_MS) {
  const end = Date.now() + deadline;
  for (;;) {
    const found = await look();
    if (found) {
      ok(what, true);
      return found;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${deadline / 1000} s`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function api(path, body) {
  const response = await fetch(url + path, body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

/** A consumer that tries a message of `queue/lab-results` twice and then rejects it: nobody else consumes there. */
async function makeDeadLetter(result) {
  await api("/api/queues/lab-results", { result });
  for (const settle of [{ action: "retry", delay: "0s", error: "the archive is closed" }, { action: "reject", error: "the archive refused it" }]) {
    const { deliveries } = await api("/api/queues/lab-results/lease", { max: 1, wait: "10s" });
    await api("/api/queues/lab-results/settle", [{ token: deliveries[0].token, ...settle }]);
  }
}

async function open(page, hash, heading) {
  await page.goto(`${url}/${hash}`);
  await page.getByRole("heading", { level: 1, name: heading }).waitFor({ state: "attached", timeout: DEADLINE_MS });
  await page.locator('#live[data-state="live"]').waitFor({ timeout: DEADLINE_MS });
}

async function noOverflow(page, where) {
  const [whole, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  ok(`${where}: no scrolling to the side`, whole <= seen, `${whole} > ${seen}`);
}

const SECTIONS = [
  ["Overview", /Overview/], ["Addresses", /Addresses/], ["Queues", /Queues/], ["Dead letters", /Dead letters/], ["Streams", /Streams/],
  ["Retained topics", /Retained topics/], ["Routes", /Routes/], ["Outlets", /Outlets/], ["Tools", /Tools/], ["Models", /Models/],
  ["Connections", /Connections/], ["Faults", /Faults/], ["Keys", /Keys/], ["Audit", /Audit/], ["Configuration", /Configuration/],
];

async function overviewLives(page) {
  await open(page, "#/", /Overview/);
  ok("the title says where we are", (await page.title()).includes("Trunkline"));
  const total = page.locator('[data-chart="published"] .total');
  await until("published is counted", async () => /\d/.test(await total.innerText()));
  const before = await total.innerText();
  await until("published grows by itself", async () => (await total.innerText()) !== before);
  const line = page.locator('[data-chart="published"] path.line');
  await until("the chart has a line", async () => ((await line.getAttribute("d")) ?? "").length > 20);
  await page.locator(".address", { hasText: "plant/1/temp" }).first().waitFor({ timeout: DEADLINE_MS });
  ok("busy addresses are listed", (await page.locator(".overview .rows tbody tr").count()) >= 5);
  await page.locator('[data-chart="published"] .plot').hover();
  await until("pointing at the chart reads a moment out", async () => (await page.locator('[data-chart="published"] .readout').innerText()).includes("s ago"));
}

async function everySection(page) {
  for (const [name, heading] of SECTIONS) {
    await page.getByRole("navigation", { name: "Sections" }).getByRole("link", { name }).first().click();
    await page.getByRole("heading", { level: 1, name: heading }).waitFor({ state: "attached", timeout: DEADLINE_MS });
    await until(`${name}: has content and no error`, () => page.evaluate(() =>
      !document.querySelector("#banner .notice") && !document.querySelector(".panel-error:not([hidden])")
      && document.querySelector("#view").innerText.length > 60));
    await noOverflow(page, `${name} at ${WIDE.width}`);
  }
}

async function liveLists(page) {
  await open(page, "#/routes", /Routes/);
  await page.locator('[data-route="hot"]').waitFor();
  ok("a route shows its steps", (await page.locator('[data-route="hot"] .step').allInnerTexts()).join() === "filter,map");
  const taken = page.locator('[data-route="keep-readings"] [data-counter="taken"] strong');
  const before = await taken.innerText();
  await until("a route's counter moves", async () => (await taken.innerText()) !== before);
  await open(page, "#/outlets", /Outlets/);
  await page.getByText("accounting").first().waitFor();
  await open(page, "#/streams", /Streams/);
  await page.getByText("readings").first().waitFor();
  await open(page, "#/connections", /Connections/);
  await until("our own connection is listed", async () => (await page.locator(".rows tbody tr").count()) >= 1);
  await open(page, "#/retained", /Retained/);
  await page.getByText("plant/1/temp").first().waitFor();
  await open(page, "#/addresses", /Addresses/);
  await page.getByPlaceholder("Filter addresses").fill("plant/3");
  await until("the filter leaves one address", async () => (await page.locator(".rows tbody tr").count()) === 1);
}

async function triedMessages(page) {
  await open(page, "#/routes", /Routes/);
  const panel = page.locator('[data-route="hot"] details.try');
  await panel.locator("summary").click();
  const tried = async (what, body, expected) => {
    await panel.locator("textarea").fill(body);
    await panel.getByRole("button", { name: "Try" }).click();
    await until(what, async () => {
      const text = await panel.innerText();
      return expected.every((part) => text.includes(part));
    });
  };
  await tried("a message that passes shows what it becomes and where it goes", '{"plant": 1, "celsius": 90}', ["too hot", "alarms", "It would be delivered."]);
  await tried("a message that is filtered says so", '{"plant": 1, "celsius": 20}', ["Nobody would get it"]);
  await tried("a message that is refused says why", "[1]", ["Refused", "TL00"]);
}

async function demoLetters(page) {
  await until("the demo's invoices die by themselves", async () => (await api("/admin/queues/invoices")).dead >= 1, 60_000);
  await open(page, "#/queues/invoices", /invoices/);
  const first = page.locator('.dead[data-queue="invoices"] .letter').first();
  await first.locator("summary").click();
  await first.locator(".timeline li").nth(1).waitFor();
  ok("a dead letter shows its attempts", (await first.locator(".timeline li").count()) >= 2);
  ok("and the original message", (await first.locator(".envelope pre").innerText()).includes("invoice"));
  await page.mouse.move(0, 0);
  await page.screenshot({ path: join(outdir, "queue.png") });
}

async function replayOne(page) {
  for (let place = 0; place < 4; place += 1) await makeDeadLetter(place);
  await open(page, "#/queues/lab-results", /lab-results/);
  const letters = page.locator('.dead[data-queue="lab-results"] .letter');
  await letters.nth(3).waitFor({ timeout: DEADLINE_MS });
  const before = await api("/admin/queues/lab-results");
  const number = await letters.first().getAttribute("data-number");
  await letters.first().locator("summary").click();
  ok("each attempt says what went wrong", (await letters.first().locator(".timeline").innerText()).includes("the archive is closed"));
  await letters.first().getByRole("button", { name: "Replay this one" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Replay", exact: true }).click();
  await page.getByText("1 replayed").waitFor();
  await until("replaying takes the dead letter off the list", async () => (await page.locator(`.dead .letter[data-number="${number}"]`).count()) === 0);
  const after = await api("/admin/queues/lab-results");
  ok("and puts it back on the queue", after.dead === before.dead - 1 && after.depth === before.depth + 1, JSON.stringify(after));
}

async function replayAndDropMany(page) {
  await open(page, "#/dead", /Dead letters/);
  const box = page.locator('.dead[data-queue="lab-results"]');
  await box.locator(".letter").first().waitFor({ timeout: DEADLINE_MS });
  const shown = await box.locator(".letter").count();
  await box.locator(".pick input").first().check();
  await box.getByText("1 selected").waitFor();
  await box.getByRole("button", { name: "Drop selected" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  ok("cancelling drops nothing", (await box.locator(".letter").count()) === shown);
  await box.getByRole("button", { name: "Drop selected" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drop", exact: true }).click();
  await page.getByText("1 dropped").waitFor();
  await box.getByRole("button", { name: "Replay all" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Replay", exact: true }).click();
  await page.getByText(`${shown - 1} replayed`).waitFor();
  await until("no dead letter is left there", async () => (await api("/admin/queues/lab-results")).dead === 0);
}

async function faultPage(page) {
  await open(page, "#/faults", /Faults/);
  await page.locator(".rows a.code").first().click();
  await page.getByRole("heading", { name: "What to do" }).waitFor({ timeout: DEADLINE_MS });
  ok("a fault leads to its page", (await page.getByRole("heading", { level: 1 }).innerText()).startsWith("TL"));
}

async function callTool(page) {
  await open(page, "#/tools", /Tools/);
  await page.locator(".rows").getByRole("link", { name: "enqueue" }).click();
  await page.getByLabel(/^queue/).fill("alarms");
  await page.getByLabel(/^body/).fill('{"alarm":"a drill"}');
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.locator(".result .badge", { hasText: "done" }).waitFor({ timeout: DEADLINE_MS });
  ok("a tool is called from its form", (await page.locator(".result pre").first().innerText()).includes("id"));
  await page.getByLabel(/^queue/).fill("nowhere");
  await page.getByRole("button", { name: "Call", exact: true }).click();
  await page.locator('.result .badge[data-tone="bad"]').waitFor({ timeout: DEADLINE_MS });
  ok("a tool's error is shown", true);
}

async function askModel(page) {
  await open(page, "#/models", /Models/);
  await page.getByLabel("Model", { exact: true }).selectOption("echo");
  await page.getByLabel("Message").fill("how is the plant?");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await until("the echo model answers", async () => (await page.locator(".answer").innerText()).includes("how is the plant?"));
}

async function checkConfig(page) {
  await open(page, "#/config", /Configuration/);
  const area = page.getByLabel("Configuration", { exact: true });
  await until("the configuration is shown", async () => (await area.inputValue()).includes("routes:"));
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await page.getByText("Nothing is wrong with it.").waitFor();
  await area.fill("quues: {}\n");
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await page.getByText('did you mean "queues"?').waitFor();
  ok("a wrong configuration is explained, with its line", (await page.locator(".verdict button").innerText()) === "line 1, column 1");
  // Finding: N-C7
  const verdict = await page.locator(".verdict").boundingBox();
  ok("the verdict is on the screen", verdict && verdict.y + verdict.height < WIDE.height, JSON.stringify(verdict));
  await open(page, "#/queues", /Queues/);
  await open(page, "#/config", /Configuration/);
  await until("what was typed is still there", async () => (await area.inputValue()) === "quues: {}\n");
  await page.getByRole("button", { name: "Back to the file" }).click();
  await until("the file is shown again", async () => (await area.inputValue()).includes("routes:"));
}

async function wrongPlaces(page) {
  expected.push(/404/);
  // Finding: N-C8: what does not exist says so and offers nothing
  await open(page, "#/nonsense", /Not found/);
  await open(page, "#/queues/nope", /nope/);
  await until("a queue that does not exist says so", async () => (await page.locator("#view").innerText()).includes("It does not exist."));
  ok("nothing is offered for it", (await page.getByRole("button", { name: /Purge|Replay all|Drop all/ }).count()) === 0);
}

async function hints(page) {
  // Finding: N-C6
  await open(page, "#/tools", /Tools/);
  const snippet = JSON.parse(await page.locator("pre", { hasText: "mcpServers" }).innerText());
  ok("the agent's configuration is whole", snippet.mcpServers.trunkline.type === "http" && snippet.mcpServers.trunkline.url === `${url}/mcp`);
  // Finding: N-C5: the path that the empty list of streams tells to follow is served
  const source = await (await fetch(`${url}/assets/views/streams.js`)).text();
  const path = source.match(/\$\{location\.origin\}(\/api\/streams[^`" ]*)/)[1];
  const leave = new AbortController();
  const followed = await fetch(url + path, { headers: { accept: "text/event-stream" }, signal: leave.signal });
  ok("the hint for streams names a path that is served", followed.status === 200 && followed.headers.get("content-type").startsWith("text/event-stream"));
  leave.abort();
}

async function keyIsAsked(page) {
  await open(page, "#/", /Overview/);
  expected.push(/401/);
  await page.evaluate(() => sessionStorage.setItem("trunkline-key", "tl_wrong"));
  let refused = 0;
  const count = (response) => (refused += response.status() === 401);
  page.on("response", count);
  await page.reload();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Key", { exact: true }).waitFor({ timeout: DEADLINE_MS });
  page.off("response", count);
  // Finding: N-B5
  ok("one request finds out that a key is wrong", refused === 1);
  ok("a wrong key is asked for again", true);
  // Finding: N-C4: requests that the dialog broke off are not told as faults
  ok("no broken-off request is shown", !/aborted|#\/faults\/\d/.test(await page.content()));
  // Finding: N-C9: a new tab has the key of the others, and Cancel stays cancelled
  const second = await page.context().newPage();
  await second.goto(url);
  await until("a new tab has the key", () => second.evaluate(() => sessionStorage.getItem("trunkline-key") === "tl_wrong"));
  await second.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await second.getByText("A key is needed.").waitFor({ timeout: DEADLINE_MS });
  let asked = 0;
  second.on("request", (request) => (asked += request.url().includes("/admin/") ? 1 : 0));
  await second.waitForTimeout(3500);
  ok("after Cancel nothing is asked of the server", asked === 0 && (await second.getByRole("dialog").count()) === 0, `${asked} requests`);
  await dialog.getByRole("button", { name: "Forget key" }).click();
  await page.locator('#live[data-state="live"]').waitFor({ timeout: DEADLINE_MS });
  const [session, local] = await page.evaluate(() => [sessionStorage.getItem("trunkline-key"), JSON.stringify({ ...localStorage })]);
  ok("a forgotten key is nowhere", session === null && !local.includes("tl_"));
  await until("nor in another tab", () => second.evaluate(() => sessionStorage.getItem("trunkline-key") === null));
  await second.close();
}

async function themes(page) {
  await open(page, "#/", /Overview/);
  const theme = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector(".panel")).backgroundColor);
  // The charts should have something to show.
  await until("a minute of history", async () => (await api("/admin/series")).published.length >= 45, 90_000);
  await page.mouse.move(0, 0);
  await page.screenshot({ path: join(outdir, "overview-light.png") });
  const light = await theme();
  await page.getByRole("button", { name: "Dark or light" }).click();
  ok("the theme toggles", (await theme()) !== light);
  await page.mouse.move(0, 0);
  await page.screenshot({ path: join(outdir, "overview-dark.png") });
  await page.reload();
  await page.locator('#live[data-state="live"]').waitFor({ timeout: DEADLINE_MS });
  ok("the theme is remembered", (await page.evaluate(() => document.documentElement.dataset.theme)) === "dark");
  await page.getByRole("button", { name: "Dark or light" }).click();
  ok("and toggles back", (await theme()) === light);
}

async function pauses(page) {
  await page.getByRole("button", { name: "Pause updates" }).click();
  await page.locator('#live[data-state="paused"]').waitFor();
  await page.getByRole("button", { name: "Pause updates" }).click();
  await page.locator('#live[data-state="live"]').waitFor({ timeout: DEADLINE_MS });
  ok("updates pause and go on", true);
}

async function narrow(page) {
  await page.setViewportSize(NARROW);
  await open(page, "#/", /Overview/);
  await page.locator(".overview .rows tbody tr").first().waitFor();
  await page.screenshot({ path: join(outdir, "mobile.png") });
  for (const [name, heading] of SECTIONS) {
    await page.getByRole("button", { name: "Menu" }).click();
    await page.getByRole("navigation", { name: "Sections" }).getByRole("link", { name }).first().click();
    await page.getByRole("heading", { level: 1, name: heading }).waitFor({ state: "attached", timeout: DEADLINE_MS });
    await page.waitForFunction(() => document.querySelector("#view").innerText.length > 60, null, { timeout: DEADLINE_MS });
    await page.locator('#live[data-state="live"]').waitFor({ state: "attached" });
    await noOverflow(page, `${name} at ${NARROW.width}`);
  }
  await open(page, "#/queues/orders", /orders/);
  await noOverflow(page, `a queue at ${NARROW.width}`);
  await open(page, "#/tools/publish", /publish/);
  await page.getByRole("button", { name: "Call", exact: true }).waitFor();
  await noOverflow(page, `a tool at ${NARROW.width}`);
  await open(page, "#/faults/TL0012", /TL0012/);
  await page.getByRole("heading", { name: "What to do" }).waitFor();
  await noOverflow(page, `a fault page at ${NARROW.width}`);
  await page.setViewportSize(WIDE);
}

async function keyboard(page) {
  await open(page, "#/queues", /Queues/);
  await page.reload();
  await page.locator('#live[data-state="live"]').waitFor({ timeout: DEADLINE_MS });
  await page.keyboard.press("Tab");
  const skip = await page.evaluate(() => document.activeElement?.className);
  ok("the first Tab reaches the skip link", skip === "skip", skip);
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, a, input, select, textarea")]
    .filter((one) => one.checkVisibility() && !one.innerText?.trim() && !one.getAttribute("aria-label") && !one.labels?.length).map((one) => one.outerHTML));
  ok("everything that can be operated has a name", nameless.length === 0, nameless.join(" "));
}

const profile = mkdtempSync(join(tmpdir(), "trunkline-dashboard-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: false,
  viewport: WIDE,
  colorScheme: "light",
  reducedMotion: "reduce",
  args: ["--headless=new", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let failed = null;
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.setDefaultTimeout(DEADLINE_MS);
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && problems.push(`console: ${message.text()} ${message.location().url}`));
  const steps = [overviewLives, everySection, liveLists, triedMessages, demoLetters, replayOne, replayAndDropMany, faultPage, callTool, askModel, checkConfig, wrongPlaces, hints, keyboard, pauses, themes, narrow, keyIsAsked];
  for (const step of steps) {
    try {
      await step(page);
    } catch (error) {
      await page.screenshot({ path: join(outdir, "failure.png") }).catch(() => {});
      throw new Error(`${step.name}: ${error.message}`);
    }
  }
  const real = problems.filter((problem) => !expected.some((known) => known.test(problem)));
  ok("the browser reports no error", real.length === 0, real.join("\n"));
} catch (error) {
  failed = error;
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
if (failed) {
  console.error(`FAIL ${failed.message}`);
  if (problems.length) console.error(problems.join("\n"));
  process.exit(1);
}
console.log(`${passed} checks passed; screenshots are in ${outdir}`);
