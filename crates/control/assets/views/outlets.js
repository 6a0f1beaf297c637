// Outlets: where messages leave, and whether the breaker lets them.

import { list } from "../api.js";
import { h } from "../dom.js";
import { count } from "../format.js";
import { badge, empty } from "../parts.js";
import { table } from "../table.js";

const TONES = { closed: "ok", open: "bad", half_open: "warn", "half-open": "warn" };

export default function outlets() {
  const shown = table({
    label: "Outlets", key: (row) => row.name, filter: "Filter outlets", sort: "name",
    columns: [
      { id: "name", label: "Outlet", text: (row) => row.name, class: "strong" },
      { id: "breaker", label: "Breaker", sort: (row) => row.breaker, make: () => {
        const mark = badge();
        return { el: mark.el, update: (row) => mark.update(row.breaker, TONES[row.breaker] ?? "warn") };
      } },
      { id: "kind", label: "Kind", text: (row) => row.kind },
      { id: "target", label: "Target", class: "grow mono", text: (row) => row.target },
      { id: "delivered", label: "Delivered", num: true, text: (row) => count(row.delivered), sort: (row) => row.delivered },
      { id: "failed", label: "Failed", num: true, text: (row) => count(row.failed), sort: (row) => row.failed },
      { id: "failures", label: "In a row", num: true, text: (row) => count(row.failures), sort: (row) => row.failures },
      { id: "opened", label: "Opened", num: true, text: (row) => count(row.opened), sort: (row) => row.opened },
    ],
    empty: empty("No outlets. An outlet delivers to a server elsewhere, with retry and a breaker; add one to the configuration: outlets: {shop: {http: {url: \"https://…\"}}}"),
  });
  const el = h("div", { class: "view" }, h("h1", null, "Outlets"),
    h("p", { class: "lead" }, "A closed breaker lets deliveries through. After too many failures in a row it opens and spares the server; after a while one delivery tries whether it is back."),
    h("section", { class: "panel" }, shown.el));
  return { title: "Outlets", el, refresh: async (signal) => shown.update(await list("/admin/outlets", signal)) };
}
