// Open connections: who, by what protocol, since when; one can be closed.

import { list, remove } from "../api.js";
import { h, live } from "../dom.js";
import { age, bytes } from "../format.js";
import { act, confirm, empty } from "../parts.js";
import { table } from "../table.js";

export default function connections() {
  const shown = table({
    label: "Open connections", key: (row) => row.id, filter: "Filter connections", sort: "id",
    columns: [
      { id: "id", label: "No.", text: (row) => row.id, sort: (row) => row.id },
      { id: "protocol", label: "Protocol", text: (row) => row.protocol, class: "strong" },
      { id: "principal", label: "Who", text: (row) => row.principal ?? "not known yet" },
      { id: "peer", label: "From", class: "grow mono", text: (row) => row.peer },
      { id: "tls", label: "TLS", text: (row) => (row.tls ? [row.tls.version, row.tls.key_exchange].filter(Boolean).join(", ") : "none") },
      { id: "since", label: "Open for", num: true, sort: (row) => -Date.parse(row.since), make: () => live(h("span"), (row) => age(Date.now() - Date.parse(row.since))) },
      { id: "in", label: "In", num: true, text: (row) => bytes(row.bytes_in), sort: (row) => row.bytes_in },
      { id: "out", label: "Out", num: true, text: (row) => bytes(row.bytes_out), sort: (row) => row.bytes_out },
      { id: "close", label: "", make: (row) => ({ el: closeButton(row) }) },
    ],
    empty: empty("No connections."),
  });
  const el = h("div", { class: "view" }, h("h1", null, "Connections"),
    h("p", { class: "lead" }, "Every protocol on the one port. Your own browser is among them."), h("section", { class: "panel" }, shown.el));
  return { title: "Connections", el, refresh: async (signal) => shown.update(await list("/admin/connections", signal)) };
}

function closeButton(row) {
  const button = h("button", { type: "button", class: "mini", "aria-label": `Close connection ${row.id}`, onclick: async () => {
    const agreed = await confirm(`Close connection ${row.id}?`, `${row.protocol} from ${row.peer}. The client may connect again at once; its leased messages come back when their leases end.`, "Close");
    if (agreed) await act(button, async () => {
      await remove(`/admin/connections/${row.id}`);
      return `connection ${row.id} closed`;
    });
  } }, "close");
  return button;
}
