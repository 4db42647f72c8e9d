// view_access.js - the grants, and the connections that were made.
import { grant, portText, ungrant, untilText } from "./actions.js";
import { button, el, section } from "./dom.js";
import { consumerOf, model } from "./model.js";
import { RECORD_COLUMNS, badge, certificateText, choicesOf, deviceLink, filterField, moment } from "./parts.js";
import { createTable } from "./table.js";

const GRANT_COLUMNS = [
    { id: "consumer", title: "Consumer", value: g => g.consumer },
    { id: "device", title: "Device", value: g => g.device, cell: g => (model.byName.has(g.device) ? deviceLink(g.device) : g.device) },
    { id: "port", title: "Port", value: g => g.port, cell: portText },
    { id: "ends", title: "Ends", value: g => g.ends || Infinity, cell: untilText, shown: rows => rows.some(g => g.ends !== undefined) },
    { id: "why", title: "Reason", value: g => g.why || "–", shown: rows => rows.some(g => g.why) },
    { id: "remove", title: "Change", cell: g => button("Remove", () => ungrant(g), "plain small", `remove ${g.consumer} ${g.device} ${g.port}`) },
];

const KINDS = { ca: "certificate authority", principal: "principal of a CA" }; // other kinds are shown unchanged
const PLATFORM_COLUMNS = [
    { id: "name", title: "Name", value: p => p.name },
    { id: "kind", title: "Kind", value: p => KINDS[p.kind] || p.kind || "–" },
    { id: "session", title: "Logged in", value: p => (p.session ? p.session.since : 0), cell: p => (p.session ? [badge("connected"), " since ", moment(p.session.since)] : "–") },
    { id: "certificate", title: "Certificate", value: p => p.certificates.map(certificateText).join("; ") || "–" },
    { id: "key", title: "Key", value: p => p.key || "–", cell: p => el("code", {}, p.key || "–") },
];

export function accessView() {
    const consumer = filterField({ name: "consumer", label: "Consumer", choices: () => choicesOf("all", [...model.grants, ...model.access.records].map(g => g.consumer)) });
    const device = filterField({ name: "device", label: "Device contains" });
    const event = filterField({ name: "event", label: "Event", choices: () => choicesOf("all", model.access.records.map(r => r.event)) });
    const grants = createTable({ caption: "Grants", columns: GRANT_COLUMNS, noun: ["grant"], sort: "consumer", empty: "No grant. No device can be reached." });
    const records = createTable({ caption: "Access log", columns: RECORD_COLUMNS, noun: ["record"], sort: "at", descending: true, empty: "No record of the last hour." });
    const platforms = createTable({ caption: "Platforms and certificates", columns: PLATFORM_COLUMNS, noun: ["name"], sort: "name", empty: "None matches." });
    const parties = section("Platforms and certificates", platforms.element);
    const failure = el("pre", { class: "failure", hidden: true });
    const log = section("Access log", failure, el("div", { class: "toolbar" }, event.element), records.element);

    function update(options) {
        const wanted = consumer.update(options);
        const part = device.update(options).toLowerCase();
        const kind = event.update(options);
        const matches = x => (!wanted || x.consumer === wanted) && (!part || x.device.toLowerCase().includes(part));
        const { access } = model;

        grants.update(model.grants.filter(matches));
        parties.hidden = !model.platforms.length;
        platforms.update(model.platforms.filter(p => !wanted || consumerOf(p) === wanted));
        log.hidden = !model.commands.has("access");
        failure.hidden = !access.error;
        failure.textContent = access.error || "";
        event.element.hidden = records.element.hidden = Boolean(access.error);
        records.update(access.records.filter(r => matches(r) && (!kind || r.event === kind)));
    }

    return {
        title: "Access", update,
        element: el("div", {}, el("div", { class: "toolbar" }, consumer.element, device.element, button("Grant access", () => grant(), "primary")),
                    section("Grants", grants.element), parties, log),
    };
}
