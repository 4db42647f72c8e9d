// view_devices.js - all devices: search, filter, sort.
import { enrol } from "./actions.js";
import { button, el } from "./dom.js";
import { model } from "./model.js";
import { badge, choicesOf, deviceLink, filterField, moment } from "./parts.js";
import { createTable } from "./table.js";
import { rate } from "./text.js";

const has = member => rows => rows.some(d => d[member] !== undefined && d[member] !== "");
const traffic = d => (d.session ? d.session.rateIn + d.session.rateOut : -1);
// Returns a text about the device: a search finds the device if each word of the search occurs in the text. (`update` also finds the device
// by the whole fingerprint of its key.)
const haystack = d => (d.haystack ??= [d.name, d.host, d.address, d.group].join(" ").toLowerCase());

const COLUMNS = [
    { id: "name", title: "Name", value: d => d.name, cell: d => deviceLink(d.name) },
    { id: "state", title: "State", value: d => d.shown, cell: d => badge(d.shown) },
    { id: "group", title: "Group", value: d => d.group || "–" },
    { id: "address", title: "Address", value: d => d.address || "–", cell: d => el("code", {}, d.address || "–") },
    { id: "ports", title: "Ports", value: d => d.ports.join(", ") || "–" },
    { id: "node", title: "Gateway", value: d => d.at || "–", shown: has("at") },
    { id: "version", title: "Firmware", value: d => d.version || "–", shown: has("version") },
    { id: "verdict", title: "Attested", value: d => d.verdict || "never", cell: d => badge(d.verdict || "never"), shown: has("verdict") },
    { id: "seen", title: "Last seen", value: d => (d.session ? Infinity : d.seen ? d.seen.at : 0),
      cell: d => (d.session ? ["now, since ", moment(d.session.since)] : moment(d.seen && d.seen.at) || "–") },
    { id: "rate", title: "Traffic", value: traffic, cell: d => (d.session ? rate(traffic(d)) : "–") },
];

export function devicesView() {
    const search = filterField({ name: "search", label: "Search" });
    const state = filterField({ name: "state", label: "State", choices: () => choicesOf("not revoked", model.devices.map(d => d.shown)) });
    const group = filterField({ name: "group", label: "Group", choices: () => choicesOf("all", model.devices.map(d => d.group)) });
    const version = filterField({ name: "version", label: "Firmware", choices: () => choicesOf("all", model.devices.map(d => d.version)) });
    const table = createTable({ caption: "Devices", columns: COLUMNS, noun: ["device"], sort: "name", empty: "No device matches." });
    let filtered = "";

    function update(options) {
        const text = search.update(options).trim();
        const words = text.toLowerCase().split(/\s+/).filter(Boolean);
        const [inState, inGroup, withVersion] = [state, group, version].map(f => f.update(options));
        const now = JSON.stringify(options);

        version.element.hidden = !has("version")(model.devices);
        if (now !== filtered)
            table.firstPage();
        filtered = now;
        table.update(model.devices.filter(d => (inState ? d.shown === inState : d.shown !== "revoked") &&
            (!inGroup || d.group === inGroup) && (!withVersion || d.version === withVersion) &&
            (d.key === text || words.every(w => haystack(d).includes(w)))));
    }

    return {
        title: "Devices", update,
        element: el("div", {}, el("div", { class: "toolbar" }, search.element, state.element, group.element, version.element,
                                  button("Enrol a device", enrol, "primary")), table.element),
    };
}
