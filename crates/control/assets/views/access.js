// Keys: who holds one, in which roles, and what each may do on which addresses. Keys themselves are never shown.

import { list } from "../api.js";
import { h, keyed } from "../dom.js";
import { address, empty } from "../parts.js";

export default function access() {
  const cards = h("div", { class: "cards" });
  const none = empty("No keys are configured. Name one under access: keys; its secret is read from a file or the environment.");
  none.hidden = true;
  const patch = keyed(cards, (row) => JSON.stringify(row), (row) => {
    const verbs = Object.entries(row.allow).filter(([, patterns]) => patterns.length > 0);
    const el = h("section", { class: "panel" },
      h("div", { class: "panel-head" }, h("h2", null, row.name), h("div", { class: "chips" }, row.roles.map((role) => h("span", { class: "chip" }, role)))),
      h("p", { class: "muted" }, `tenant ${row.tenant}`),
      verbs.length
        ? h("dl", { class: "facts verbs" }, verbs.map(([verb, patterns]) => h("div", null, h("dt", null, verb), h("dd", null, patterns.map((pattern) => (pattern === "*/#" ? h("span", { class: "muted" }, "every address") : address(pattern)))))))
        : h("p", { class: "muted" }, "It may do nothing."));
    return { el };
  });
  const el = h("div", { class: "view" }, h("h1", null, "Keys"),
    h("p", { class: "lead" }, "Roles allow verbs on address patterns; what no role allows is refused with TL0002."), none, cards);
  async function refresh(signal) {
    const rows = await list("/admin/keys", signal);
    none.hidden = rows.length > 0;
    patch(rows);
  }
  return { title: "Keys", el, refresh };
}
