// The frame of the page: sections, hash routes, the polling loop, the banner, the key and the theme.
// What a section shows is its file under views/; every view gives `{ title, el, refresh(signal) }`.

import { get, keyNeeded, Refusal } from "./api.js";
import { h, put, text, attribute } from "./dom.js";
import { count } from "./format.js";
import { key, keyChanged } from "./key.js";
import { toast } from "./parts.js";
import access from "./views/access.js";
import addresses from "./views/addresses.js";
import audit from "./views/audit.js";
import config from "./views/config.js";
import connections from "./views/connections.js";
import dead from "./views/dead.js";
import fault from "./views/fault.js";
import faults from "./views/faults.js";
import models from "./views/models.js";
import outlets from "./views/outlets.js";
import overview from "./views/overview.js";
import queue from "./views/queue.js";
import queues from "./views/queues.js";
import retained from "./views/retained.js";
import routes from "./views/routes.js";
import streams from "./views/streams.js";
import tools from "./views/tools.js";

const EVERY_MS = 1500;
const DEADLINE_MS = 10_000;

/** Every section: its part of the hash, its name, its view, and the view of one thing in it. */
const SECTIONS = [
  { group: "", parts: [{ id: "", name: "Overview", view: overview }] },
  { group: "Messages", parts: [
    { id: "addresses", name: "Addresses", view: addresses },
    { id: "queues", name: "Queues", view: queues, one: queue },
    { id: "dead", name: "Dead letters", view: dead, badge: (now) => now.queues.dead },
    { id: "streams", name: "Streams", view: streams },
    { id: "retained", name: "Retained topics", view: retained },
  ] },
  { group: "Flow", parts: [
    { id: "routes", name: "Routes", view: routes },
    { id: "outlets", name: "Outlets", view: outlets },
  ] },
  { group: "Agents and models", parts: [
    { id: "tools", name: "Tools", view: tools, one: tools },
    { id: "models", name: "Models", view: models },
  ] },
  { group: "Operation", parts: [
    { id: "connections", name: "Connections", view: connections },
    { id: "faults", name: "Faults", view: faults, one: fault },
    { id: "access", name: "Keys", view: access },
    { id: "audit", name: "Audit", view: audit },
    { id: "config", name: "Configuration", view: config },
  ] },
];
const PARTS = SECTIONS.flatMap((section) => section.parts);

const at = (id) => document.getElementById(id);
const context = { overview: null };
let current = null;
let round = null;
let timer = 0;
let paused = false;
let asking = false;
/** Whether the server let the present key in. */
let letIn = false;
/** Whether the person would not give a key: then nothing is asked until they do. */
let declined = false;
const links = new Map();

function buildNav() {
  const list = SECTIONS.map(({ group, parts }) => h("div", { class: "nav-group" },
    group && h("h2", null, group),
    h("ul", null, parts.map((part) => {
      const mark = h("span", { class: "mark", hidden: true });
      const link = h("a", { href: `#/${part.id}` }, h("span", null, part.name), mark);
      links.set(part.id, { link, mark });
      return h("li", null, link);
    }))));
  put(at("nav"), list);
}

function where() {
  const [id = "", name] = location.hash.replace(/^#\/?/, "").split("/").map(decodeSafe);
  return { part: PARTS.find((part) => part.id === id) ?? { id, name: "Not found", view: notFound }, name: name || null };
}

/** What is shown for a hash that is no section. */
function notFound() {
  const el = h("div", { class: "view" }, h("h1", null, "Not found"),
    h("p", { class: "lead" }, "There is no such page here. ", h("a", { href: "#/" }, "Overview")));
  return { title: "Not found", el, refresh: async () => {} };
}

/** What is shown instead of a view whose thing does not exist, or that this key may not see: none of its buttons would work. */
function refused(view, refusal) {
  const absent = refusal.status === 404;
  return h("div", { class: "view" }, h("h1", null, view.title),
    h("p", { class: "notice", "data-tone": "warn" }, h("strong", null, absent ? "It does not exist." : "This key may not see it."), ` ${refusal.code ?? ""} ${refusal.detail}`));
}

function decodeSafe(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function open(first = false) {
  const { part, name } = where();
  stop();
  closeMenu();
  current = (name && part.one ? part.one : part.view)({ ...context, name, now: () => context.overview });
  for (const [id, { link }] of links) attribute(link, "aria-current", id === part.id ? "page" : null);
  text(at("where"), part.name);
  document.title = `${current.title} · Trunkline`;
  put(at("view"), current.el);
  if (!first) {
    window.scrollTo(0, 0);
    at("main").focus({ preventScroll: true });
  }
  tick();
}

function stop() {
  clearTimeout(timer);
  round?.abort();
  round = null;
}

/** One round: the overview for the frame, and what the view shows; then again after a while. */
async function tick() {
  stop();
  if (asking) return;
  if (declined) {
    drawTrouble({ status: "fulfilled" }, { status: "fulfilled" });
    return;
  }
  const mine = new AbortController();
  round = mine;
  const limit = setTimeout(() => mine.abort(new Error("no answer within 10 s")), DEADLINE_MS);
  const view = current;
  try {
    const asked = get("/admin/overview", mine.signal);
    // Each request of somebody who is not let in is a failed login on record: one is enough to find out.
    if (!letIn) await asked.then(() => (letIn = true), (why) => (letIn = why instanceof Refusal && why.status !== 401));
    if (round !== mine) return;
    const [frame, shown] = await Promise.allSettled([asked, letIn ? view.refresh(mine.signal) : asked]);
    if (frame.reason?.status === 401) letIn = false;
    if (round !== mine) return;
    if (frame.status === "fulfilled") {
      context.overview = frame.value;
      drawFrame(frame.value);
    }
    drawView(view, shown);
    drawTrouble(frame, shown);
  } finally {
    clearTimeout(limit);
    if (round === mine && !paused && !document.hidden && !asking && !declined) timer = setTimeout(tick, EVERY_MS);
  }
}

function drawView(view, shown) {
  const refusal = shown.reason instanceof Refusal && [403, 404].includes(shown.reason.status) ? shown.reason : null;
  if (refusal) put(at("view"), refused(view, refusal));
  else if (!at("view").contains(view.el)) put(at("view"), view.el);
}

function drawFrame(now) {
  for (const part of PARTS) {
    if (!part.badge) continue;
    const { mark } = links.get(part.id);
    const number = part.badge(now);
    mark.hidden = !number;
    text(mark, count(number));
    attribute(mark, "aria-label", `${number}`);
  }
}

/** The banner says what is wrong now, the gravest first, and is gone when nothing is. */
function drawTrouble(frame, shown) {
  const lines = [];
  const now = context.overview;
  const failed = [frame, shown].find((one) => one.status === "rejected" && one.reason?.name !== "AbortError")?.reason;
  const unreachable = failed && !(failed instanceof Refusal);
  if (unreachable) lines.push(["bad", "The server cannot be reached.", `${failed.message || failed}. Trying again; what you see is from before.`]);
  else if (failed && failed.status !== 401) lines.push(["warn", `${failed.title}.`, `${failed.code ?? ""} ${failed.detail}`]);
  if (declined) lines.push(["warn", "A key is needed.", "Give one with the key button above."]);
  if (now?.store.state === "poisoned") lines.push(["bad", "The store takes no writes.", `${now.store.detail ?? "a write to disk failed"}. Free the disk or repair it, then restart.`]);
  if (now?.store.state === "damaged") lines.push(["bad", "Damage was found in the store.", now.store.damage.map((one) => `${one.file}: ${one.what}`).join("; ")]);
  if (now?.store.full) lines.push(["bad", "The disk is full.", "New durable messages are refused until there is room."]);
  if (now?.draining) lines.push(["warn", "The server is stopping.", "It finishes what it has begun and takes nothing new."]);
  if (now?.panics) lines.push(["warn", "A task ended in a panic.", `${now.panics} since the start; the log has the place.`]);
  const wanted = JSON.stringify(lines);
  const banner = at("banner");
  if (banner.dataset.says !== wanted) {
    banner.dataset.says = wanted;
    put(banner, lines.map(([tone, head, detail]) => h("div", { class: "notice", "data-tone": tone }, h("strong", null, head), " ", detail)));
  }
  drawLive(paused ? "paused" : unreachable ? "unreachable" : declined || failed?.status === 401 ? "key needed" : "live");
}

function drawLive(state) {
  attribute(at("live"), "data-state", state.replace(" ", "-"));
  text(at("live").lastElementChild, state);
}

function askKey(refusal) {
  if (asking) return;
  asking = true;
  stop();
  drawLive("key needed");
  const known = key.get();
  const field = h("input", { type: "password", id: "key-field", autocomplete: "off", spellcheck: "false", required: true, placeholder: "tl_…" });
  const why = refusal ? refusal.detail : known ? "This browser holds a key. Enter another, or forget it." : "Requests go without a key now.";
  const box = h("dialog", { class: "dialog", "aria-labelledby": "key-title" });
  const done = (change) => {
    declined = Boolean(refusal) && !change;
    change?.();
    box.close();
    box.remove();
    asking = false;
    open(true);
  };
  const submit = (event) => {
    event.preventDefault();
    const value = field.value.trim();
    if (value) done(() => key.set(value));
  };
  put(box, h("form", { method: "dialog", onsubmit: submit },
    h("h2", { id: "key-title" }, "API key"),
    h("p", null, why),
    h("label", { for: "key-field" }, "Key"), field,
    h("p", { class: "muted" }, "It is kept in this browser's tabs of this server and ends with the last of them. The demo prints its key at the start; `trunkline serve` takes the keys of its configuration."),
    h("div", { class: "actions" },
      known && h("button", { type: "button", class: "button", onclick: () => done(() => key.forget()) }, "Forget key"),
      h("button", { type: "button", class: "button", onclick: () => done() }, "Cancel"),
      h("button", { type: "submit", class: "button primary" }, "Use key"))));
  box.addEventListener("cancel", (event) => {
    event.preventDefault();
    done();
  });
  document.body.append(box);
  box.showModal();
  field.focus();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggleTheme() {
  const wanted = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = wanted;
  try {
    localStorage.setItem("trunkline-theme", wanted);
  } catch {
    toast("This browser keeps no settings; the theme holds until the page is left.");
  }
}

function togglePause() {
  paused = !paused;
  attribute(at("pause"), "aria-pressed", String(paused));
  document.documentElement.dataset.paused = String(paused);
  if (paused) {
    clearTimeout(timer);
    drawLive("paused");
  } else tick();
}

function closeMenu() {
  document.documentElement.dataset.menu = "closed";
  attribute(at("menu"), "aria-expanded", "false");
}

function toggleMenu() {
  const open = document.documentElement.dataset.menu !== "open";
  document.documentElement.dataset.menu = open ? "open" : "closed";
  attribute(at("menu"), "aria-expanded", String(open));
  if (open) at("nav").querySelector("a")?.focus();
}

buildNav();
window.addEventListener("hashchange", () => {
  // A question belongs to the page that asked it.
  for (const box of document.querySelectorAll("dialog[open]")) box.dispatchEvent(new Event("cancel", { cancelable: true }));
  open();
});
keyChanged.addEventListener("changed", () => {
  declined = false;
  letIn = false;
  if (!asking) open(true);
});
document.addEventListener("visibilitychange", () => (document.hidden ? stop() : !paused && tick()));
document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenu());
at("main").addEventListener("click", closeMenu);
at("nav").addEventListener("click", (event) => event.target.closest("a") && closeMenu());
at("menu").addEventListener("click", toggleMenu);
at("theme").addEventListener("click", toggleTheme);
at("pause").addEventListener("click", togglePause);
at("key").addEventListener("click", () => askKey(null));
keyNeeded.addEventListener("needed", (event) => declined || askKey(event.detail));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("main").focus();
});
await key.shared();
open(true);
