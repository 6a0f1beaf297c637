// Faults: what failed recently, how often each code left the process, and the catalogue of all codes.

import { get, list } from "../api.js";
import { h, live } from "../dom.js";
import { ago, clock, count } from "../format.js";
import { address, badge, empty, faultLink, panel } from "../parts.js";
import { table } from "../table.js";

const SIDES = { client: "info", upstream: "warn", here: "bad" };

export default function faults() {
  const latest = table({
    label: "Recent faults", key: (row) => `${row.time} ${row.principal} ${row.address} ${row.detail}`, filter: "Filter faults",
    columns: [
      { id: "code", label: "Code", sort: (row) => row.outcome, make: (row) => ({ el: faultLink(row.outcome) }) },
      { id: "time", label: "When", sort: (row) => row.time, make: (row) => live(h("time", { datetime: row.time, title: clock(row.time) }), (now) => ago(now.time)) },
      { id: "principal", label: "Who", text: (row) => `${row.principal}, ${row.protocol}` },
      { id: "verb", label: "Did", text: (row) => row.verb },
      { id: "address", label: "Address", sort: (row) => row.address, make: (row) => ({ el: row.address ? address(row.address) : h("span", null, row.peer ?? "") }) },
      { id: "detail", label: "What happened", class: "grow clamp", text: (row) => row.detail },
    ],
    empty: empty("Nothing failed. Try a refusal:", `curl -X POST ${location.origin}/api/queues/nobody -d hello`),
  });
  const catalogue = table({
    label: "Fault codes", key: (row) => row.code, filter: "Filter codes", sort: "count", descending: true,
    columns: [
      { id: "code", label: "Code", sort: (row) => row.code, make: (row) => ({ el: faultLink(row.code) }) },
      { id: "title", label: "Title", class: "grow", text: (row) => row.title },
      { id: "side", label: "Whose doing", sort: (row) => row.side, make: (row) => {
        const mark = badge();
        mark.update(row.side, SIDES[row.side]);
        return { el: mark.el };
      } },
      { id: "retry", label: "Retry", text: (row) => row.retry },
      { id: "count", label: "Since start", num: true, text: (row) => count(row.count), sort: (row) => row.count },
    ],
  });
  const el = h("div", { class: "view" }, h("h1", null, "Faults"),
    h("p", { class: "lead" }, "Every refusal and failure has a code, and every code a page: what happened, why, what to do."),
    panel("Recent", latest.el).el, panel("All codes", catalogue.el).el);
  let codes = null;
  async function refresh(signal) {
    const [recent, now] = await Promise.all([list("/admin/faults?max=100", signal), get("/admin/overview", signal)]);
    codes ??= await list("/faults", signal);
    const counts = new Map(now.faults.map((one) => [one.code, one.count]));
    latest.update(recent);
    catalogue.update(codes.map((one) => ({ ...one, count: counts.get(one.code) ?? 0 })));
  }
  return { title: "Faults", el, refresh };
}
