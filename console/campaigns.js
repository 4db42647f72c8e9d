// campaigns.js - updates that the gateway carries out in the background: progress, pause, resume, stop.
import { NAME, selectionField, selected } from "./actions.js";
import { button, el, replace, section } from "./dom.js";
import { confirmChange } from "./dialog.js";
import * as gateway from "./gateway.js";
import { imageFields, imageOf, isOpaque } from "./images.js";
import { badge, deviceLink, link, moment } from "./parts.js";
import { createTable } from "./table.js";
import { count, time } from "./text.js";

const READ_MS = 5000;
const DEVICE_STATES = { waiting: "pending", begun: "active", attesting: "active", done: "ok", failed: "error" };
const total = c => c.waiting + c.begun + c.attesting + c.done + c.failed;
const ended = c => c.done + c.failed;
const KINDS = { active: "active", paused: "pending", stopped: "error", done: "ok" };

// ---- actions on campaigns ----

const change = (verb, what, danger) => c => confirmChange({
    title: `${verb} ${c.name}`, what, verb, danger,
    command: () => ({ args: ["campaign", verb.toLowerCase(), c.name] }), done: () => { readAt = 0; },
});
const pause = change("Pause", ["No more updates are started.", "Updates that have begun are completed."]);
const resume = change("Resume", ["The campaign continues with the waiting devices.", "After a stop, devices that failed are tried again."]);
const stop = change("Stop", ["The campaign stops. You can resume it later.", "Updates that are in progress continue; one that fails is not tried again."], true);
const remove = change("Remove", ["The campaign and its records of devices are removed. Nothing on the devices changes."], true);

const actions = c => [
    c.state === "active" && button("Pause", () => pause(c), "plain small", `pause ${c.name}`),
    (c.state === "paused" || c.state === "stopped") && button("Resume", () => resume(c), "plain small", `resume ${c.name}`),
    (c.state === "active" || c.state === "paused") && button("Stop", () => stop(c), "plain small", `stop ${c.name}`),
    (c.state === "stopped" || c.state === "done") && button("Remove", () => remove(c), "plain small", `remove ${c.name}`),
].filter(Boolean);

// chosen: the file of the stored image that the dialog selects at first; undefined: the first image.
export async function startCampaign(chosen) {
    const fields = await imageFields(chosen);
    const number = (name, label, value, min, max) => ({ name, label, type: "number", value, min, max });
    confirmChange({
        title: "Start a campaign",
        what: ["The gateway carries out the campaign in the background. Devices that are away are updated when they come back.",
               "The first devices, the canaries, are updated one by one. One failure among them stops the campaign.",
               "Later, no more updates are started once the share of failures reaches the limit.",
               "A device with a policy must prove that it runs the new firmware; the manifest has the reference values for this."],
        fields: [{ name: "name", label: "Name of the campaign", required: true, ...NAME }, selectionField(),
                 ...fields, { name: "expect", label: "Version that the device reports after the update", required: true, when: isOpaque },
                 { name: "manifest", label: "Manifest of the new firmware, on this machine", placeholder: "/root/manifest" },
                 { name: "at", label: "Not before (UTC)", placeholder: "2026-12-02 02:00" },
                 number("first", "Canaries", "1", "0", "1000"), number("parallel", "Devices at the same time after the canaries", "4", "1", "64"),
                 number("stop-at", "Stop at this share of failures (percent)", "10", "1", "100")],
        command: v => ({ args: ["campaign", "start", "--image", imageOf(v), ...(isOpaque(v) ? ["--opaque", "--expect", v.expect || "VERSION"] : []), ...(v.manifest ? ["--manifest", v.manifest] : []), ...(v.at ? ["--at", v.at] : []),
                                ...selected(v), "--first", v.first, "--parallel", v.parallel, "--stop-at", v["stop-at"], v.name || "NAME"] }),
        verb: "Start", done: () => { readAt = 0; },
    });
}

// ---- the lists of campaigns and devices ----

const CAMPAIGNS = [
    { id: "made", title: "Campaign", value: c => c.made, cell: c => link(["updates", c.name], {}, c.name, { "data-key": `campaign ${c.name}` }) },
    { id: "state", title: "State", value: c => c.state, cell: c => [badge(c.state, KINDS[c.state] || "away"), c.reason ? `: ${c.reason}` : ""] },
    { id: "version", title: "Version", value: c => c.version || "–" },
    { id: "progress", title: "Progress", value: c => ended(c) / Math.max(1, total(c)),
      cell: c => [el("progress", { value: String(ended(c)), max: String(Math.max(1, total(c))), "aria-label": `${c.name}: devices done` }),
                  ` ${ended(c)} of ${count(total(c), "device")}${c.failed ? `, ${c.failed} failed` : ""}`] },
    { id: "begins", title: "Begins", value: c => c.begins, cell: c => (c.begins * 1000 > Date.now() ? time(c.begins) : moment(c.begins || c.made)) },
    { id: "change", title: "Change", cell: c => el("div", { class: "buttons" }, actions(c)) },
];
const DEVICES = [
    { id: "order", title: "No.", value: d => d.order, cell: d => `${d.order}${d.canary ? ", canary" : ""}` },
    { id: "device", title: "Device", value: d => d.device, cell: d => deviceLink(d.device) },
    { id: "state", title: "State", value: d => d.state, cell: d => badge(d.state, DEVICE_STATES[d.state] || "away") },
    { id: "at", title: "Changed", value: d => d.at, cell: d => moment(d.at) || "–" },
    { id: "tries", title: "Failed attempts", value: d => d.tries },
    { id: "detail", title: "Detail", value: d => d.detail || "–" },
];

let readAt = 0; // when the lists were read last; 0: read them at once

// name: the campaign whose devices are shown; undefined: all campaigns.
export function campaignsPart(name) {
    const failure = el("pre", { class: "failure", hidden: true });
    const table = createTable({ caption: "Campaigns", columns: CAMPAIGNS, noun: ["campaign"], sort: "made", descending: true, empty: "No campaign." });
    const devices = createTable({ caption: `Devices of ${name}`, columns: DEVICES, noun: ["device"], sort: "order", empty: "No device." });
    const detail = el("div", {}, section(`Devices of ${name}`, devices.element));
    const element = el("div", {}, section("Campaigns", failure, table.element, name && link(["updates"], {}, "All campaigns", { "data-key": "all campaigns" })), name && detail);

    async function read() {
        readAt = Date.now();
        try {
            const campaigns = name ? [await gateway.json(["campaign", "show", name])] : await gateway.json(["campaign", "list"]);
            table.update(campaigns);
            if (name)
                devices.update(campaigns[0].devices.map((d, i) => ({ ...d, order: i + 1, canary: i < (campaigns[0].first || 0) })));
            failure.hidden = true;
        } catch (error) {
            failure.textContent = error.message;
            failure.hidden = false;
        }
    }

    readAt = 0;
    return { element, update() { if (Date.now() - readAt >= READ_MS) read(); } };
}
