// chart.js - the last hour: traffic from and to devices, and sessions, minute by minute. The figures are in a table, too.
import { el, svg } from "./dom.js";
import { createTable } from "./table.js";
import { count, rate, time } from "./text.js";

const HOUR_S = 3600;
const W = 720, H = 120; // size of the drawing, which is stretched to the page's width

const COLUMNS = [
    { id: "at", title: "Until", value: m => m.at, cell: m => time(m.at) },
    { id: "sessions", title: "Sessions", value: m => m.sessions },
    { id: "in", title: "From devices", value: m => m.in, cell: m => rate(m.in) },
    { id: "out", title: "To devices", value: m => m.out, cell: m => rate(m.out) },
    { id: "denied", title: "Packets denied", value: m => m.denied },
];

const table = createTable({ caption: "The last hour", columns: COLUMNS, noun: ["minute"], sort: "at", descending: true, empty: "" });
const details = el("details", {}, el("summary", {}, "The same as a table"), table.element);

// Draws for each minute a group of bars, one bar for each of `keys`. keys: the names of the members that are drawn.
function drawing(minutes, now, keys, top, label) {
    const slot = W / 60 * 0.84;
    const x = (m, n) => (m.at - now + HOUR_S) / HOUR_S * W - slot + n * slot / keys.length;
    const height = value => value / top * (H - 14);

    return svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", preserveAspectRatio: "none", "aria-label": label },
               [1, 2, 3].map(n => svg("line", { class: "grid", x1: n * W / 4, x2: n * W / 4, y1: 0, y2: H })),
               minutes.map(m => keys.map((key, n) => svg("rect", { class: n ? "out" : "in", x: x(m, n).toFixed(1), y: (H - height(m[key])).toFixed(1),
                                                                   width: (slot / keys.length).toFixed(1), height: height(m[key]).toFixed(1) }))));
}

const axis = (now, top) => el("div", { class: "axis", "aria-hidden": "true" }, el("span", {}, "60 min ago"), el("span", {}, "30 min ago"), el("span", {}, "now"), el("span", { class: "top" }, top));

// minutes: the list in the gateway's answer. empty: the text to show when there are none yet.
export function trafficChart(minutes, empty) {
    if (!minutes.length)
        return el("p", {}, empty);
    const now = Date.now() / 1000;
    const rows = minutes.map(m => ({ ...m, in: m.bytes_in * 1000 / m.length_ms, out: m.bytes_out * 1000 / m.length_ms }));
    const topRate = Math.max(1, ...rows.map(m => Math.max(m.in, m.out)));
    const topSessions = Math.max(1, ...rows.map(m => m.sessions));

    if (!details.contains(document.activeElement))
        table.update(rows);
    return [el("div", { class: "charts" },
        el("figure", {}, el("figcaption", {}, "Traffic ", el("span", { class: "key in" }, "from devices"), " ", el("span", { class: "key out" }, "to devices")),
           drawing(rows, now, ["in", "out"], topRate, `Traffic of the last hour, at most ${rate(topRate)}`), axis(now, rate(topRate))),
        el("figure", {}, el("figcaption", {}, "Sessions"),
           drawing(rows, now, ["sessions"], topSessions, `Sessions in the last hour, at most ${count(topSessions, "session")}`), axis(now, String(topSessions)))), details];
}
