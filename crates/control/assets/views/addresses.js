// Every address that was used, with live rates and the last minute as a line.

import { list } from "../api.js";
import { sparkline } from "../chart.js";
import { h } from "../dom.js";
import { count, rate } from "../format.js";
import { address, empty } from "../parts.js";
import { table } from "../table.js";

const KINDS = ["all", "topic", "queue", "stream", "out", "tool", "model"];

export default function addresses() {
  let kind = "all";
  let rows = [];
  const draw = () => shown.update(rows.filter((row) => row.address && (kind === "all" || row.address.startsWith(`${kind}/`))));
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Kind of address" }, KINDS.map((one) =>
    h("button", { type: "button", "aria-pressed": String(one === kind), onclick: (event) => {
      kind = one;
      for (const tab of tabs.children) tab.setAttribute("aria-pressed", String(tab === event.currentTarget));
      draw();
    } }, one)));
  const shown = table({
    label: "Addresses with their rates", key: (row) => row.address, filter: "Filter addresses", sort: "rate_in", descending: true,
    columns: [
      { id: "address", label: "Address", sort: (row) => row.address, make: (row) => ({ el: address(row.address) }) },
      { id: "history", label: "Last minute", class: "spark-cell", make: spark },
      { id: "rate_in", label: "In/s", num: true, text: (row) => rate(row.rate_in), sort: (row) => row.rate_in },
      { id: "rate_out", label: "Out/s", num: true, text: (row) => rate(row.rate_out), sort: (row) => row.rate_out },
      { id: "in", label: "In all", num: true, text: (row) => count(row.in), sort: (row) => row.in },
      { id: "out", label: "Out all", num: true, text: (row) => count(row.out), sort: (row) => row.out },
    ],
    empty: empty("No address was used yet. Publish to one:", `curl -X POST ${location.origin}/api/topics/hello -d world`),
  });
  const el = h("div", { class: "view" }, h("h1", null, "Addresses"),
    h("p", { class: "lead" }, "Messages and calls per second over the last ten seconds; totals since the start."), tabs, h("section", { class: "panel" }, shown.el));
  async function refresh(signal) {
    rows = await list("/admin/addresses?history=60", signal);
    draw();
  }
  return { title: "Addresses", el, refresh };
}

function spark() {
  const line = sparkline("in");
  return { el: line.el, update: (row) => line.update(row.history) };
}
