// The audit trail: what was done, by whom, with what outcome; the newest first.

import { get } from "../api.js";
import { h, live } from "../dom.js";
import { ago, clock, count } from "../format.js";
import { address, empty, faultLink } from "../parts.js";
import { table } from "../table.js";

const SHOWN = 200;

// Who was not let in named no address: their own is shown, and for how many attempts the row stands.
const attempt = (row) => [row.peer && `from ${row.peer}`, row.times > 1 && `${row.times} times`].filter(Boolean).join(", ");

export default function audit() {
  let rows = [];
  let next = null;
  const shown = table({
    label: "Audit trail", key: (row) => row.offset, filter: "Filter the newest 200",
    columns: [
      { id: "time", label: "When", sort: (row) => row.time, make: (row) => live(h("time", { datetime: row.time, title: clock(row.time) }), (now) => ago(now.time)) },
      { id: "principal", label: "Who", text: (row) => row.principal, class: "strong" },
      { id: "protocol", label: "By", text: (row) => row.protocol },
      { id: "verb", label: "Did", text: (row) => row.verb },
      { id: "address", label: "Address", class: "grow", sort: (row) => row.address, make: (row) => ({ el: row.address ? address(row.address) : h("span", null, attempt(row)) }) },
      { id: "outcome", label: "Outcome", sort: (row) => row.outcome, make: (row) => ({ el: row.outcome === "done" ? h("span", { class: "badge", "data-tone": "ok" }, "done") : faultLink(row.outcome) }) },
      { id: "took", label: "Took", num: true, text: (row) => `${(row.took_us / 1000).toFixed(1)} ms`, sort: (row) => row.took_us },
      { id: "tokens", label: "Tokens", num: true, text: (row) => (row.usage ? `${count(row.usage.input_tokens)} + ${count(row.usage.output_tokens)}` : ""), sort: (row) => row.usage?.output_tokens ?? -1 },
    ],
    empty: empty("Nothing was taken down yet: calls, changes and refusals are."),
  });
  const el = h("div", { class: "view" }, h("h1", null, "Audit"),
    h("p", { class: "lead" }, "Calls, changes and refusals, as they were written to disk."), h("section", { class: "panel" }, shown.el));
  async function refresh(signal) {
    const page = await get(`/admin/audit?max=${SHOWN}${next === null ? "" : `&from=${next}`}`, signal);
    next = page.next;
    rows = [...page.items.reverse(), ...rows].slice(0, SHOWN);
    shown.update(rows);
  }
  return { title: "Audit", el, refresh };
}
