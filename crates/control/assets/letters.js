// Dead letters of one queue: each with its reason, the original message and every attempt as a timeline;
// selected ones or all are replayed or dropped. Used by the queue's page and by the page of all dead letters.

import { get, post, queuePath } from "./api.js";
import { h, keyed, put, text } from "./dom.js";
import { ago, clock, count, duration } from "./format.js";
import { act, confirm, envelope, faultLink } from "./parts.js";

const FIRST = 100;
const MOST = 1000;

/** `{ el, refresh(signal) }` for the dead letters of the queue `name`. */
export function deadLetters(name) {
  const chosen = new Set();
  let max = FIRST;
  let letters = [];
  let more = false;
  const rows = h("ol", { class: "letters" });
  const status = h("span", { class: "muted" });
  const none = h("p", { class: "muted", hidden: true }, "No dead letters: every message was delivered or still waits.");
  const all = h("input", { type: "checkbox", "aria-label": `Select all dead letters of ${name}`, onchange: () => {
    chosen.clear();
    if (all.checked) letters.forEach((letter) => chosen.add(letter.number));
    draw();
  } });
  const button = (label, tone, onclick) => h("button", { type: "button", class: `button ${tone}`, onclick }, label);
  const replayChosen = button("Replay selected", "primary", () => run(replayChosen, "replay", { numbers: [...chosen] }));
  const replayAll = button("Replay all", "", () => run(replayAll, "replay", { all: true }));
  const dropChosen = button("Drop selected", "danger", () => run(dropChosen, "drop", { numbers: [...chosen] }));
  const dropAll = button("Drop all", "danger", () => run(dropAll, "drop", { all: true }));
  const older = h("button", { type: "button", class: "button", hidden: true, onclick: () => {
    max = MOST;
    refresh();
  } }, "Show up to 1,000");
  const tools = h("div", { class: "toolbar" }, h("label", { class: "check" }, all, status), h("span", { class: "spacer" }), replayChosen, replayAll, dropChosen, dropAll);
  const el = h("div", { class: "dead", "data-queue": name }, tools, none, rows, older);
  const patch = keyed(rows, (letter) => letter.number, (letter) => makeLetter(letter, chosen, draw, (button, verb) => run(button, verb, { numbers: [letter.number] })));

  async function run(button, verb, selection) {
    const which = selection.all ? "all dead letters" : selection.numbers.length === 1 ? "this dead letter" : `${selection.numbers.length} dead letters`;
    const detail = verb === "replay"
      ? `They go back on queue/${name} as new deliveries; consumers get them again.`
      : "They are gone for good, with their attempts.";
    const title = verb === "replay" ? `Replay ${which} of ${name}?` : `Drop ${which} of ${name}?`;
    if (!(await confirm(title, detail, verb === "replay" ? "Replay" : "Drop", verb === "replay" ? "primary" : "danger"))) return;
    await act(button, async () => {
      const answer = await post(queuePath(name, verb === "replay" ? "/replay" : "/dead/drop"), selection);
      chosen.clear();
      await refresh();
      return verb === "replay" ? `${count(answer.replayed)} replayed` : `${count(answer.dropped)} dropped`;
    });
    draw();
  }

  function draw() {
    const known = new Set(letters.map((letter) => letter.number));
    for (const number of chosen) if (!known.has(number)) chosen.delete(number);
    all.checked = letters.length > 0 && chosen.size === letters.length;
    all.indeterminate = chosen.size > 0 && chosen.size < letters.length;
    text(status, chosen.size ? `${count(chosen.size)} selected` : `${count(letters.length)}${more ? " oldest" : ""} dead`);
    tools.hidden = letters.length === 0;
    none.hidden = letters.length > 0;
    older.hidden = !more || max === MOST;
    replayChosen.disabled = dropChosen.disabled = chosen.size === 0;
    patch(letters);
  }

  async function refresh(signal) {
    const page = await get(queuePath(name, `/dead?max=${max}`), signal);
    more = page.next !== null;
    letters = more ? page.items : page.items.toReversed();
    draw();
  }
  return { el, refresh, count: () => letters.length };
}

function makeLetter(letter, chosen, draw, run) {
  const when = h("time", { datetime: letter.died, title: clock(letter.died) });
  const tick = h("input", { type: "checkbox", "aria-label": `Select dead letter ${letter.number}`, onchange: () => {
    if (tick.checked) chosen.add(letter.number);
    else chosen.delete(letter.number);
    draw();
  } });
  const inside = h("div", { class: "letter-body" });
  const summary = h("summary", null,
    h("span", { class: "letter-number" }, `#${letter.number}`), h("span", { class: "code" }, letter.reason), h("span", { class: "letter-title" }, letter.title),
    h("span", { class: "letter-detail" }, letter.detail), h("span", { class: "muted" }, tries(letter.deliveries)), when);
  const details = h("details", null, summary, inside);
  details.addEventListener("toggle", () => details.open && !inside.firstChild && fillLetter(inside, letter, run));
  const el = h("li", { class: "letter", "data-number": letter.number }, h("label", { class: "pick" }, tick), details);
  return { el, update: (now) => {
    tick.checked = chosen.has(now.number);
    text(when, ago(now.died));
  } };
}

const tries = (count) => (count === 1 ? "1 delivery" : `${count} deliveries`);

function fillLetter(inside, letter, run) {
  const replay = h("button", { type: "button", class: "button primary", onclick: () => run(replay, "replay") }, "Replay this one");
  const drop = h("button", { type: "button", class: "button danger", onclick: () => run(drop, "drop") }, "Drop");
  const attempts = letter.attempts.map((attempt, place) => h("li", null,
    h("div", { class: "attempt-head" }, h("strong", null, `Attempt ${place + 1 + Math.max(0, letter.deliveries - letter.attempts.length)}`), faultLink(attempt.code), h("time", { datetime: attempt.time }, clock(attempt.time))),
    h("p", null, attempt.detail),
    h("p", { class: "muted" }, `by ${attempt.consumer || "a consumer without a name"}, took ${duration(attempt.took_ms)}${gap(letter.attempts, place)}`)));
  put(inside,
    h("div", { class: "letter-why" }, h("div", null, h("h3", null, "Why it died"), h("p", null, faultLink(letter.reason), ` ${letter.title}: ${letter.detail}`)), h("div", { class: "actions" }, replay, drop)),
    h("div", { class: "letter-columns" },
      h("div", null, h("h3", null, "Attempts"), attempts.length ? h("ol", { class: "timeline" }, attempts) : h("p", { class: "muted" }, "It was never delivered.")),
      h("div", null, h("h3", null, "Original message"), envelope(letter.envelope))));
}

/** How long after the one before: shows the back-off. */
function gap(attempts, place) {
  if (place === 0) return "";
  return `, ${duration(Date.parse(attempts[place].time) - Date.parse(attempts[place - 1].time))} after the one before`;
}
