// parts.js - elements that several views share.
import { el } from "./dom.js";
import { model } from "./model.js";
import { ago, bytes, count, isTime, sign, time } from "./text.js";

const { cockpit } = window;

// kind: the state that selects the sign and the style; without it, `word` is that state.
export const badge = (word, kind = word) => el("span", { class: `badge ${kind}` }, el("span", { "aria-hidden": "true" }, sign(kind)), ` ${word}`);
export const deviceLink = name => el("a", { href: `#${cockpit.location.encode(["device", name])}`, "data-key": `device ${name}` }, name);
export const link = (path, options, text, attributes) => el("a", { href: `#${cockpit.location.encode(path, options)}`, ...attributes }, text);
// Draws how long ago `at` was; nothing for 0 and for a number that is not a valid time.
export const moment = at => (at && isTime(at) ? el("time", { title: time(at), datetime: new Date(at * 1000).toISOString() }, `${ago(at)} ago`) : "");

// Returns the certificate of a session (model.js) as text: "alice-1, serial 1 of corp, until 2026-11-29 18:00:00".
export const certificateText = c => `${c.id}, serial ${c.serial} of ${c.ca}, ${c.ends ? `until ${time(c.ends)}` : "without an end"}`;

// The columns of the access log. EVENTS: the state that is shown for each event.
const EVENTS = new Map([["open", "active"], ["denied", "denied"]]); // all other events are shown as "closed"
const bytesText = r => (r.event === "denied" ? `${count(r.count, "packet")} refused` : r.event === "cut" ? "unknown" : `${bytes(r.bytes_in || 0)} in, ${bytes(r.bytes_out || 0)} out`);

export const RECORD_COLUMNS = [
    { id: "at", title: "Time", value: r => r.at_ms, cell: r => time(r.at_ms / 1000) },
    { id: "event", title: "Event", value: r => r.event, cell: r => badge(EVENTS.get(r.event) || "closed") },
    { id: "consumer", title: "Consumer", value: r => r.consumer },
    { id: "device", title: "Device", value: r => r.device, cell: r => (model.byName.has(r.device) ? deviceLink(r.device) : r.device) },
    { id: "port", title: "Port", value: r => r.port },
    { id: "bytes", title: "Bytes", value: r => (r.bytes_in || 0) + (r.bytes_out || 0), cell: bytesText },
];

// Draws a filter whose value is an option of the address, so that a filtered view can be linked to.
export function filterField({ name, label, choices, type = "search" }) {
    const id = `filter-${name}`;
    const control = choices ? el("select", { id, "data-key": id }) : el("input", { id, type, "data-key": id, spellcheck: "false", autocomplete: "off" });
    let known = null;

    control.addEventListener("input", () => {
        const options = { ...cockpit.location.options };
        if (control.value)
            options[name] = control.value;
        else
            delete options[name];
        cockpit.location.replace(cockpit.location.path, options);
    });
    return {
        element: el("div", { class: "field" }, el("label", { for: id }, label), control),
        // Shows the value that the address contains, and draws the choices again if they changed. Returns the value.
        update(options) {
            const value = options[name] || "";
            const list = choices ? choices() : [];
            if (!list.some(([choice]) => choice === value))
                list.push([value, value]); // the last device with this value may be gone
            const text = JSON.stringify(list);
            if (choices && text !== known) {
                known = text;
                control.replaceChildren(...list.map(([value, title]) => el("option", { value }, title)));
            }
            if (control.value !== value)
                control.value = value;
            return value;
        },
    };
}

// Returns the distinct values as choices. The first choice, with the title `all`, stands for all of them.
export const choicesOf = (all, values) => [["", all], ...[...new Set(values)].filter(Boolean).sort().map(v => [v, v])];
