// Routes as flows: where messages come from, the steps on the way, where they go, and how many did.

import { list, post } from "../api.js";
import { h, keyed, put, text, attribute } from "../dom.js";
import { count, rate } from "../format.js";
import { act, address, empty, faultLink } from "../parts.js";

const COUNTERS = [["taken", "came in"], ["filtered", "filtered out"], ["failed", "failed"], ["delivered", "delivered"]];

export default function routes() {
  const rows = h("div", { class: "stack" });
  const none = empty("No routes yet. A route moves messages from one address to others; add one to the configuration, for example: routes: [{name: keep, from: topic/plant/#, to: [stream/readings]}]");
  none.hidden = true;
  const patch = keyed(rows, (row) => row.name, makeRoute);
  const el = h("div", { class: "view" }, h("h1", null, "Routes"),
    h("p", { class: "lead" }, "From left to right: the source, the steps that a message meets, and every target."), none, rows);
  async function refresh(signal) {
    const items = await list("/admin/routes", signal);
    none.hidden = items.length > 0;
    patch(items);
  }
  return { title: "Routes", el, refresh };
}

function makeRoute(route) {
  const numbers = COUNTERS.map(([id, name]) => ({ id, name, value: h("strong") }));
  const speed = h("span", { class: "muted speed" });
  const flow = h("div", { class: "flow" },
    h("div", { class: "flow-from" }, address(route.from)),
    h("ol", { class: "flow-steps", "aria-label": "Steps" }, route.steps.length
      ? route.steps.map((step) => h("li", { class: "step" }, step))
      : h("li", { class: "step none" }, "as it is")),
    h("ul", { class: "flow-to", "aria-label": "Targets" }, route.to.map((target) => h("li", null, address(target)))));
  const el = h("section", { class: "panel route", "data-route": route.name },
    h("div", { class: "panel-head" }, h("h2", null, route.name), h("div", { class: "panel-side" }, speed)), flow,
    h("dl", { class: "counters" }, numbers.map((one) => h("div", { "data-counter": one.id }, h("dt", null, one.name), h("dd", null, one.value)))), tryIt(route));
  let before = null;
  return { el, update: (now) => {
    for (const one of numbers) text(one.value, count(now[one.id]));
    attribute(el, "data-failed", now.failed > 0 ? "yes" : null);
    const at = performance.now();
    if (before) {
      const perSecond = ((now.taken - before.taken) * 1000) / Math.max(1, at - before.at);
      before.speed = before.speed === null ? perSecond : before.speed * 0.7 + perSecond * 0.3;
      const shown = before.speed < 0.05 ? 0 : before.speed;
      text(speed, shown ? `${rate(shown)} per second` : "quiet");
      attribute(el, "data-moving", shown ? "yes" : null);
    }
    before = { taken: now.taken, at, speed: before?.speed ?? null };
  } };
}

/** A message to try on the route; nothing of it is stored, sent or counted. */
function tryIt(route) {
  const area = h("textarea", { rows: "4", spellcheck: "false", "aria-label": `A message for ${route.name}`, placeholder: "The body of a message" });
  const told = h("div", { class: "stack", "aria-live": "polite" });
  const button = h("button", { type: "button", class: "button", onclick: () => act(button, async () => {
    const answer = await post(`/admin/routes/${encodeURIComponent(route.name)}/test`, { body: area.value });
    put(told, stages(answer.steps), answer.targets.map(target), verdict(answer));
  }) }, "Try");
  return h("details", { class: "try" }, h("summary", null, "Try a message"), h("div", { class: "stack" }, area, h("div", { class: "toolbar" }, button), told));
}

const stages = (steps) => h("ol", null, steps.map((stage) => h("li", null, h("strong", null, stage.name), " ",
  stage.outcome === "passed" ? h("code", null, body(stage.envelope)) : stage.outcome === "filtered" ? "lets it go" : `refuses it: ${stage.fault.detail}`)));

function target(aim) {
  const said = aim.fault ? aim.fault.detail : aim.chosen ? null : "not chosen by its condition";
  return h("div", null, address(aim.to), said && h("span", { class: "muted" }, ` ${said}`), aim.steps.length > 0 && stages(aim.steps),
    aim.envelope && h("pre", { tabindex: "0" }, body(aim.envelope)));
}

function verdict(answer) {
  if (answer.outcome === "refused") return h("p", { class: "notice", "data-tone": "bad" }, "Refused: ", faultLink(answer.fault.code), ` ${answer.fault.detail}`);
  const words = answer.outcome === "filtered" ? "Nobody would get it; its sender is told that it was taken." : "It would be delivered.";
  return h("p", { class: "notice", "data-tone": answer.outcome === "filtered" ? "warn" : "ok" }, words);
}

const body = (envelope) => (envelope.body === undefined ? `${envelope.bytes} bytes that are no text` : envelope.body.slice(0, 2000));
