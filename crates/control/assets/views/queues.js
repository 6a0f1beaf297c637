// Every queue: what waits, for how long, who takes it, what died.

import { list } from "../api.js";
import { h } from "../dom.js";
import { age, bytes, count, rate } from "../format.js";
import { badge, empty } from "../parts.js";
import { table } from "../table.js";

export default function queues() {
  const shown = table({
    label: "Queues", key: (row) => row.name, filter: "Filter queues", sort: "name",
    columns: [
      { id: "name", label: "Queue", sort: (row) => (row.name.startsWith("$") ? `\uffff${row.name}` : row.name), make: (row) => ({ el: h("a", { class: "strong", href: `#/queues/${encodeURIComponent(row.name)}` }, row.name) }) },
      { id: "depth", label: "Depth", num: true, text: (row) => count(row.depth), sort: (row) => row.depth },
      { id: "oldest", label: "Oldest", num: true, text: (row) => age(row.oldest_ms), sort: (row) => row.oldest_ms ?? -1 },
      { id: "ready", label: "Ready", num: true, text: (row) => count(row.ready), sort: (row) => row.ready },
      { id: "leased", label: "Leased", num: true, text: (row) => count(row.leased), sort: (row) => row.leased },
      { id: "delayed", label: "Delayed", num: true, text: (row) => count(row.delayed), sort: (row) => row.delayed },
      { id: "dead", label: "Dead", num: true, sort: (row) => row.dead, make: () => {
        const mark = badge();
        return { el: mark.el, update: (row) => mark.update(count(row.dead), row.dead ? "warn" : "none") };
      } },
      { id: "rate_in", label: "In/s", num: true, text: (row) => rate(row.rate_in), sort: (row) => row.rate_in },
      { id: "rate_out", label: "Out/s", num: true, text: (row) => rate(row.rate_out), sort: (row) => row.rate_out },
      { id: "bytes", label: "Size", num: true, text: (row) => bytes(row.bytes), sort: (row) => row.bytes },
      { id: "consumers", label: "Consumers", class: "grow", text: (row) => row.consumers.join(", ") || "nobody" },
    ],
    empty: empty("No queues are declared. Declare one in the configuration (`queues: {orders: {}}`), then put a message on it:",
      `curl -X POST ${location.origin}/api/queues/orders -H 'content-type: application/json' -d '{"item":"pump"}'`),
  });
  const el = h("div", { class: "view" }, h("h1", null, "Queues"),
    h("p", { class: "lead" }, "Durable work: each message is leased by one consumer, and stays until it is acknowledged or dies. Names that begin with $ belong to the hub."),
    h("section", { class: "panel" }, shown.el));
  return { title: "Queues", el, refresh: async (signal) => shown.update(await list("/admin/queues", signal)) };
}
