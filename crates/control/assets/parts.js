// Pieces that several views use: panels, figures, badges, empty states, envelopes, dialogs, toasts.

import { h, put, text, attribute } from "./dom.js";
import { clock, pretty, bytes } from "./format.js";

export function panel(title, ...children) {
  const side = h("div", { class: "panel-side" });
  const head = h("h2", null, title);
  const error = h("p", { class: "panel-error", hidden: true });
  const el = h("section", { class: "panel" }, h("div", { class: "panel-head" }, head, side), error, children);
  return { el, side, head, fail: (reason) => failed(error, reason) };
}

/** Shows why a part could not be read, or nothing. */
function failed(element, reason) {
  // A round that was broken off, by leaving the page or by a dialog, says nothing about the server.
  if (reason?.name === "AbortError") return;
  element.hidden = !reason;
  if (!reason) return;
  put(element, typeof reason.code === "string" ? [faultLink(reason.code), " "] : null, reason.message);
}

/** A figure: a big number with its name, and a line under it. */
export function figure(name, { href, tone } = {}) {
  const value = h("strong", null, "–");
  const under = h("small");
  const el = h(href ? "a" : "div", { class: "figure", href, "data-tone": tone }, h("span", { class: "name" }, name), value, under);
  return {
    el,
    update: (now, below = "", toneNow = null) => {
      text(value, now);
      text(under, below);
      attribute(el, "data-tone", toneNow);
    },
  };
}

export function badge(tone = "") {
  const el = h("span", { class: "badge" });
  attribute(el, "data-tone", tone || null);
  return { el, update: (words, now) => {
    text(el, words);
    attribute(el, "data-tone", now || null);
  } };
}

export function faultLink(code) {
  return h("a", { class: "code", href: `#/faults/${encodeURIComponent(code)}` }, code);
}

const KINDS = new Set(["topic", "queue", "stream", "tool", "model", "out", "admin"]);

/** `queue/orders` with its kind as a coloured word; queues lead to their page. */
export function address(whole) {
  const cut = whole.indexOf("/");
  const kind = whole.slice(0, cut);
  const name = whole.slice(cut + 1);
  const inside = [h("span", { class: "kind", "data-kind": KINDS.has(kind) ? kind : null }, kind), h("span", { class: "of" }, name)];
  const to = { queue: "#/queues/", tool: "#/tools/" }[kind];
  const plain = !/[+#*]/.test(name);
  if (to && plain) return h("a", { class: "address", href: to + encodeURIComponent(name) }, inside);
  return h("span", { class: "address" }, inside);
}

/** What to do when there is nothing to show yet; lines of a shell can be copied. */
export function empty(words, ...lines) {
  return h("div", { class: "empty" }, h("p", null, words), lines.map(copyLine));
}

export function copyLine(line) {
  const button = h("button", { type: "button", class: "mini", onclick: async () => {
    await navigator.clipboard?.writeText(line).catch(() => {});
    text(button, "copied");
    setTimeout(() => text(button, "copy"), 1200);
  } }, "copy");
  return h("div", { class: "copy" }, h("code", null, line), button);
}

/** A list of names and values; empty values are left out. */
export function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** A message in whole: what it is, its headers, its body. */
export function envelope(message) {
  if (!message) return h("p", null, "This message cannot be read: it is damaged, or was written by a newer version.");
  const body = message.body_base64 !== undefined ? message.body_base64 : pretty(message.body ?? "");
  const media = message.content_type ?? "no content type";
  const what = message.body_base64 !== undefined ? `${media}, not text: in Base64` : media;
  return h("div", { class: "envelope" },
    facts([
      ["id", message.id], ["address", address(message.address)], ["entered", clock(message.time)], ["by", message.principal],
      ["key", message.key], ["priority", message.priority], ["deadline", message.deadline && clock(message.deadline)],
      ["source", message.source], ["type", message.type], ["trace", message.traceparent],
      ...message.headers.map(([name, value]) => [`header ${name}`, value]),
    ]),
    h("div", { class: "body" }, h("span", { class: "muted" }, `${what}, ${bytes(message.bytes)}`), h("pre", { tabindex: "0" }, body || "(empty)")));
}

/** Asks before something that cannot be taken back; true when the person agreed. */
export function confirm(question, detail, action, tone = "danger") {
  return new Promise((resolve) => {
    const box = h("dialog", { class: "dialog", "aria-labelledby": "confirm-title" });
    const answer = (value) => () => {
      box.close();
      box.remove();
      resolve(value);
    };
    const yes = h("button", { type: "button", class: `button ${tone}`, onclick: answer(true) }, action);
    put(box, h("h2", { id: "confirm-title" }, question), h("p", null, detail),
      h("div", { class: "actions" }, h("button", { type: "button", class: "button", onclick: answer(false) }, "Cancel"), yes));
    box.addEventListener("cancel", answer(false));
    document.body.append(box);
    box.showModal();
    yes.focus();
  });
}

export function toast(words, tone = "ok") {
  const el = h("div", { class: "toast", "data-tone": tone }, words);
  document.getElementById("toasts").append(el);
  setTimeout(() => el.remove(), tone === "bad" ? 9000 : 4000);
}

/** Runs something that a person started, says how it went, and keeps its button from being pressed twice. */
export async function act(button, work) {
  if (button) button.disabled = true;
  try {
    const said = await work();
    if (said) toast(said);
    return true;
  } catch (reason) {
    toast(`${typeof reason.code === "string" ? `${reason.code}: ` : ""}${reason.message}`, "bad");
    return false;
  } finally {
    if (button) button.disabled = false;
  }
}
