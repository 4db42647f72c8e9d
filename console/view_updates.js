// view_updates.js - the view that updates or attests many devices: first a few, one by one, then the others.
import { ATTEST_FIELDS, attestOptions, selected, selectionField, updateOptions } from "./actions.js";
import { campaignsPart, startCampaign } from "./campaigns.js";
import { button, el, replace, section } from "./dom.js";
import { confirmChange } from "./dialog.js";
import * as gateway from "./gateway.js";
import { imageFields, imageTitle, imagesPart } from "./images.js";
import { model, refresh } from "./model.js";
import { badge, deviceLink } from "./parts.js";
import { createTable } from "./table.js";
import { count } from "./text.js";

const COLUMNS = [
    { id: "order", title: "No.", value: r => r.order },
    { id: "name", title: "Device", value: r => r.name, cell: r => deviceLink(r.name) },
    { id: "outcome", title: "Outcome", value: r => r.outcome, cell: r => badge(r.outcome) },
    { id: "detail", title: "Detail", value: r => r.detail || "–" },
];

// The rollout that is running, or the last one. A running rollout continues when the operator opens another view.
const rollout = { title: "", results: [], total: 0, summary: null, error: null, process: null };
let redraw = () => {};

function begin(title, args, total) {
    Object.assign(rollout, { title, results: [], total, summary: null, error: null });
    const started = gateway.startLines(args, object => {
        if (object.name)
            rollout.results.push({ ...object, order: rollout.results.length + 1 });
        else
            rollout.summary = object;
        redraw();
    }, { change: true });
    rollout.process = started.process;
    started.done.catch(error => { rollout.error = error.message; })
        .finally(() => { rollout.process = null; redraw(); refresh(); });
    redraw();
}

const matching = v => model.devices.filter(d => !d.revoked && (!v.group || d.group === v.group)).length;
const number = (name, label, value, max) => ({ name, label, type: "number", value, min: name === "first" ? "0" : "1", max });

async function updateMany() {
    const fields = await imageFields();
    confirmChange({
        title: "Update devices",
        what: ["Each device gets the image, checks it, restarts into it and confirms it.",
               "The first devices are updated one by one. If one of them fails, the update stops.",
               "Later, no more updates are started once the share of failures reaches the limit.",
               "Keep this page open: no more updates are started after it is closed."],
        fields: [selectionField(), ...fields,
                 number("first", "First devices, one by one", "1"), number("parallel", "Devices at the same time after these", "4", "64"),
                 number("stop-at", "Stop at this share of failures (percent)", "10", "100")],
        command: v => ({ args: ["update", ...selected(v), "--first", v.first, "--parallel", v.parallel, "--stop-at", v["stop-at"], "--json",
                                "--", ...updateOptions(v)] }),
        verb: "Update", start: (args, v) => begin(`Update with ${imageTitle(v)}`, args, matching(v)),
    });
}

function attestMany() {
    confirmChange({
        title: "Attest devices",
        what: ["Each device proves which key it holds and what is in its flash.", "The verdicts are stored; nothing on the devices changes."],
        fields: [selectionField(), ...ATTEST_FIELDS],
        command: v => ({ args: ["attest", ...selected(v), "--json", "--", ...attestOptions(v)] }),
        verb: "Attest", start: (args, v) => begin("Attestation", args, matching(v)),
    });
}

export function updatesView([name]) {
    const progress = el("div", {});
    const table = createTable({ caption: "Results", columns: COLUMNS, noun: ["result"], sort: "order", empty: "No result yet." });
    const results = section("Results", progress, table.element);

    const campaigns = model.commands.has("campaign") ? campaignsPart(name) : null;
    const images = model.commands.has("image") && !name ? imagesPart(campaigns && startCampaign) : null;

    function update() {
        campaigns?.update();
        const { results: list, summary, error, process, total } = rollout;
        const failed = list.filter(r => r.outcome !== "ok").length;

        results.hidden = !rollout.title;
        replace(progress, el("p", { role: "status" }, `${rollout.title}: ${list.length} of ${count(total, "device")} done, ${failed} failed`,
                             summary && summary.untouched ? `, ${summary.untouched} not started` : "", process ? " …" : "."),
                el("progress", { value: String(list.length), max: String(Math.max(1, total)), "aria-label": "Devices done" }),
                process && button("Stop", () => process.close("terminated"), "danger"),
                error && el("pre", { class: "failure", role: "alert" }, error));
        table.update(list);
    }

    redraw = () => { if (progress.isConnected) update(); };
    return {
        title: name ? `Campaign ${name}` : "Updates", update,
        element: el("div", {}, el("p", {}, "Start an update or an attestation of the devices that you choose. The result of each device is shown below."),
                    el("div", { class: "toolbar" }, campaigns && button("Start a campaign", () => startCampaign(), "primary"), button("Update devices", updateMany, campaigns ? "plain" : "primary"),
                       button("Attest devices", attestMany, "plain")), campaigns && campaigns.element, results, images && images.element),
    };
}
