// view_nodes.js - the gateways of the fleet, if there are several.
import { el } from "./dom.js";
import { model } from "./model.js";
import { badge } from "./parts.js";
import { createTable } from "./table.js";

const COLUMNS = [
    { id: "name", title: "Name", value: n => n.name },
    { id: "state", title: "State", value: n => n.state || "–", cell: n => badge(n.state || "unknown") },
    { id: "lag", title: "Lag", value: n => n.lag, cell: n => (n.lag < 0 ? "–" : `${n.lag} s`) },
    { id: "sessions", title: "Sessions", value: n => n.sessions },
    { id: "version", title: "Version", value: n => n.version || "–" },
    { id: "address", title: "Address", value: n => n.address, cell: n => el("code", {}, n.address) },
    { id: "links", title: "Links", value: n => n.links },
];

export function nodesView() {
    const table = createTable({ caption: "Nodes", columns: COLUMNS, noun: ["node"], sort: "name", empty: "There is only one gateway." });
    return { title: "Nodes", element: el("div", {}, table.element), update: () => table.update(model.nodes) };
}
