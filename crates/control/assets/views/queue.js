// One queue: its numbers, a chart of what comes and goes, a look at the waiting messages, its dead letters.

import { get, post, queuePath } from "../api.js";
import { areaChart } from "../chart.js";
import { h, keyed, text, attribute } from "../dom.js";
import { age, ago, bytes, clock, count, rate } from "../format.js";
import { deadLetters } from "../letters.js";
import { act, confirm, copyLine, envelope, figure, panel } from "../parts.js";

/** How many waiting messages are shown, and on demand. */
const FIRST = 10;
const MOST = 200;

export default function queue({ name }) {
  const figures = Object.fromEntries(["Depth", "Oldest", "Ready", "Leased", "Delayed", "Dead", "In/s", "Out/s"].map((one) => [one, figure(one)]));
  const chart = areaChart({ label: `${name}: messages per second`, series: [{ tone: "in", label: "in" }, { tone: "out", label: "out" }] });
  const sums = h("p", { class: "muted" });
  const waiting = messages(name);
  const letters = deadLetters(name);
  const flow = panel("Last five minutes", h("div", { class: "legend" }, h("span", { class: "tone-in" }, "in"), h("span", { class: "tone-out" }, "out")), chart.el, sums);
  const purge = h("button", { type: "button", class: "button danger", onclick: () => purgeAll(name, purge, refresh) }, "Purge");
  const peeked = panel("Messages", waiting.el);
  peeked.side.append(purge);
  const died = panel("Dead letters", letters.el);
  const el = h("div", { class: "view" },
    h("nav", { class: "crumbs", "aria-label": "Path" }, h("a", { href: "#/queues" }, "Queues"), " / "),
    h("h1", null, name),
    h("div", { class: "figures small" }, Object.values(figures).map((one) => one.el)),
    flow.el, died.el, peeked.el,
    h("section", { class: "panel" }, h("h2", null, "From a shell"),
      copyLine(`curl -X POST ${location.origin}/api/queues/${encodeURI(name)} -H 'content-type: application/json' -d '{"item":"pump"}'`),
      copyLine(`trunkline queue peek '${name}'`)));

  async function refresh(signal) {
    const [now, series] = await Promise.all([
      get(queuePath(name), signal),
      get(`/admin/series?address=${encodeURIComponent(`queue/${name}`)}`, signal),
      waiting.refresh(signal),
      letters.refresh(signal),
    ]);
    drawFigures(figures, now);
    chart.update([series.in, series.out], series.step_ms);
    text(sums, `Consumers: ${now.consumers.join(", ") || "nobody"}. Since the start: ${count(now.in)} in, ${count(now.out)} out, ${count(now.acked)} acknowledged, ${count(now.retried)} retried, ${count(now.died)} died, ${count(now.expired)} expired, ${count(now.duplicates)} duplicates, ${count(now.refused)} refused.`);
    purge.disabled = now.depth === 0;
  }
  return { title: name, el, refresh };
}

function drawFigures(figures, now) {
  figures.Depth.update(count(now.depth), bytes(now.bytes));
  figures.Oldest.update(age(now.oldest_ms), now.oldest_ms === null ? "nothing waits" : "waiting");
  figures.Ready.update(count(now.ready), "to be leased");
  figures.Leased.update(count(now.leased), "in work");
  figures.Delayed.update(count(now.delayed), "for a retry");
  figures.Dead.update(count(now.dead), now.dead ? "see below" : "none", now.dead ? "warn" : null);
  figures["In/s"].update(rate(now.rate_in), `${count(now.in)} in all`);
  figures["Out/s"].update(rate(now.rate_out), `${count(now.out)} in all`);
}

async function purgeAll(name, button, refresh) {
  const agreed = await confirm(`Purge ${name}?`, "Every waiting message is deleted for good, leased ones too. Dead letters stay.", "Purge");
  if (!agreed) return;
  await act(button, async () => {
    const { purged } = await post(queuePath(name, "/purge"));
    await refresh();
    return `${count(purged)} purged`;
  });
}

/** A look at the first messages without leasing them. */
function messages(name) {
  const rows = h("ol", { class: "letters" });
  const none = h("p", { class: "muted", hidden: true }, "Nothing waits.");
  const more = h("button", { type: "button", class: "button", hidden: true, onclick: () => {
    max = MOST;
    refresh();
  } }, `Show up to ${MOST}`);
  let max = FIRST;
  const patch = keyed(rows, (row) => row.number, (row) => {
    const state = h("span", { class: "badge" });
    const when = h("time", { datetime: row.envelope.time, title: clock(row.envelope.time) });
    const tries = h("span", { class: "muted" });
    const inside = h("div", { class: "letter-body" });
    const line = row.envelope.body ?? "(not text)";
    const details = h("details", null, h("summary", null, h("span", { class: "letter-number" }, `#${row.number}`), state, h("span", { class: "letter-detail" }, line.slice(0, 200)), tries, when), inside);
    details.addEventListener("toggle", () => details.open && !inside.firstChild && inside.append(envelope(row.envelope)));
    return { el: h("li", { class: "letter" }, details), update: (now) => {
      text(state, now.state);
      attribute(state, "data-tone", { ready: "ok", leased: "info", delayed: "warn" }[now.state] ?? null);
      text(when, ago(now.envelope.time));
      text(tries, ["", "1 delivery"][now.deliveries] ?? `${now.deliveries} deliveries`);
    } };
  });
  async function refresh(signal) {
    const page = await get(queuePath(name, `/messages?max=${max}`), signal);
    none.hidden = page.items.length > 0;
    more.hidden = page.next === null || max === MOST;
    patch(page.items);
  }
  return { el: h("div", null, none, rows, more), refresh };
}
