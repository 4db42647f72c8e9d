// actions.js - the changes that an operator can make, each with a confirmation (dialog.js).
import { el } from "./dom.js";
import { confirmChange } from "./dialog.js";
import * as gateway from "./gateway.js";
import { imageFields, imageOf, isOpaque } from "./images.js";
import { model } from "./model.js";
import { choicesOf } from "./parts.js";
import { time } from "./text.js";

const { cockpit } = window;

// Names of devices, groups and campaigns (gw_registry_name_check).
export const NAME = { pattern: "[a-z0-9]([a-z0-9\\-]{0,61}[a-z0-9])?", hint: "Lower-case letters, digits and hyphens, at most 63, without a hyphen at the start or end." };
const KEY = { name: "key", label: "Public key", rows: 3, required: true, hint: "As ssh-keygen writes it, such as ssh-ed25519 AAAA…" };

// Returns the option and its value as arguments; none if the value is empty.
const option = (name, value) => (value ? [`--${name}`, value] : []);

export function enrol() {
    confirmChange({
        title: "Enrol a device",
        what: ["The device can log in with this key at once.", "Its services cannot be reached until you grant access.",
               "If a device has this name already, the values that you give replace the device's values."],
        fields: [{ name: "name", label: "Name", required: true, ...NAME }, KEY,
                 { name: "ports", label: "Ports of its services", placeholder: "81,8989,8888" },
                 { name: "group", label: "Group", ...NAME },
                 { name: "direct", label: "Services behind the gateway that the device may reach", placeholder: "HOST:PORT,…" }],
        command: v => ({ args: ["enroll", v.name || "NAME", "--key", "-", ...option("ports", v.ports), ...option("group", v.group),
                                ...option("direct", v.direct)], input: v.key || "KEY" }),
        verb: "Enrol",
        done: async v => {
            const { output } = await gateway.run(["show", v.name, "--form", "agent"]);
            cockpit.location.go(["device", v.name]);
            return [el("p", {}, `${v.name} is enrolled. This is its configuration:`), el("pre", { class: "command", tabindex: "0" }, output)];
        },
    });
}

export function rename(device) {
    confirmChange({
        title: `Rename ${device.name}`,
        what: ["The device keeps its key, address, ports and grants, and its sessions continue.", `Consumers use the new host name instead of ${device.host}.`],
        fields: [{ name: "name", label: "New name", required: true, ...NAME }],
        command: v => ({ args: ["rename", device.name, v.name || "NEW-NAME"] }),
        verb: "Rename",
        done: v => { cockpit.location.go(["device", v.name]); },
    });
}

export function rotate(device) {
    confirmChange({
        title: `Replace the key of ${device.name}`,
        what: ["Sessions under the current key end at once, and that key can never be used again.",
               "The device keeps its name, address, ports and grants.", "The device connects again only with the new key."],
        fields: [KEY],
        command: v => ({ args: ["rotate", device.name, "--key", "-"], input: v.key || "KEY" }),
        verb: "Replace the key", danger: true,
    });
}

export function revoke(device) {
    confirmChange({
        title: `Revoke ${device.name}`,
        what: ["The device's key is refused permanently, and its sessions end at once.", "Its ports and grants are removed.",
               "This cannot be undone. The name can be enrolled again with a new key."],
        command: () => ({ args: ["revoke", device.name] }),
        verb: "Revoke", danger: true,
    });
}

export function remove(device) {
    confirmChange({
        title: `Delete ${device.name}`,
        what: ["The device's name and address can be used again.", "Its keys are still refused."],
        command: () => ({ args: ["delete", device.name] }),
        verb: "Delete", danger: true,
        done: () => { cockpit.location.go(["devices"]); },
    });
}

// key: an entry of `pending --json`.
export function approve(key) {
    confirmChange({
        title: "Enrol a device whose key tried to log in",
        what: [`The key ${key.fingerprint}, last offered from ${key.from}, can log in from now on.`,
               "Anybody can offer any key: compare this fingerprint with the one in the device's log first.",
               "The device's services cannot be reached until you grant access."],
        fields: [{ name: "name", label: "Name", required: true, ...NAME },
                 { name: "ports", label: "Ports of its services", required: true, placeholder: "81,8989,8888" }, { name: "group", label: "Group", ...NAME }],
        command: v => ({ args: ["approve", "--ports", v.ports || "PORTS", ...option("group", v.group), key.fingerprint, v.name || "NAME"] }),
        verb: "Enrol",
        done: v => { cockpit.location.go(["device", v.name]); },
    });
}

// Port 0 of a grant stands for all ports. A grant without `ends`, or with 0, lasts until it is removed.
export const portText = g => (g.port ? `port ${g.port}` : "all ports");
export const untilText = g => (g.ends ? `until ${time(g.ends)}` : "until removed");

export async function grant(consumer = "", target = "") {
    const [ends, reasons] = await Promise.all(["for", "why"].map(name => gateway.hasOption("grant", name)));
    const groups = ends; // a version of cmxsafe that has --for also has grants to groups
    confirmChange({
        title: "Grant access",
        what: ["The consumer can open connections to this service at once.", "Without a port, the grant is for all ports that the device has now."],
        fields: [{ name: "consumer", label: "Consumer", required: true, value: consumer,
                   hint: "user:NAME, group:NAME or cgroup:PATH of this machine, the name of a platform, or PRINCIPAL@CA." },
                 { name: "target", label: "Device, with a port or without", required: true, value: target, placeholder: "cam-17:81",
                   hint: groups ? "@GROUP:PORT is for all devices that are in the group, now or later." : null },
                 ends && { name: "for", label: "Duration", hint: "Such as 30m, 8h or 2d; empty: until it is removed." },
                 reasons && { name: "why", label: "Reason" }].filter(Boolean),
        command: v => ({ args: ["grant", ...option("for", v.for), ...option("why", v.why), v.consumer || "CONSUMER", v.target || "DEVICE"] }),
        verb: "Grant",
    });
}

export function ungrant(g) {
    confirmChange({
        title: "Remove a grant",
        what: [`${g.consumer} loses its grant to ${portText(g)} of ${g.device}.`, "New connections that no other grant permits are refused at once."],
        command: () => ({ args: ["grant", "--remove", g.consumer, g.port ? `${g.device}:${g.port}` : g.device] }),
        verb: "Remove", danger: true,
    });
}

// ---- the selection of devices ----

export const selectionField = () => ({ name: "group", label: "Devices", options: choicesOf("all devices", model.devices.filter(d => !d.revoked).map(d => d.group)) });
export const selected = v => (v.group ? ["--group", v.group] : ["--all"]);

// ---- attestation: the options that go to `cmxsafe attest` ----

export const ATTEST_FIELDS = [
    { name: "method", label: "Compare", options: [["hash", "the content of flash, with the hardware key"],
                                                  ["evidence", "signed evidence with reference values"]] },
    { name: "key", label: "Key file on this machine", required: true, placeholder: "/root/keys/{name}.bin",
      hint: "The hardware key or, for signed evidence, the public attestation key. {name} stands for the device's name." },
    { name: "reference", label: "Firmware image, or manifest for signed evidence", required: true, placeholder: "/root/firmware.bin" },
];
export const attestOptions = v => (v.method === "evidence"
    ? ["--evidence", "--attest-key", v.key || "FILE", "--manifest", v.reference || "FILE"]
    : ["--key", v.key || "FILE", "--image", v.reference || "FILE"]);

export function attest(device) {
    confirmChange({
        title: `Attest ${device.name}`,
        what: ["The device proves now which key it holds and what is in its flash.", "The verdict is stored; nothing on the device changes."],
        fields: ATTEST_FIELDS,
        command: v => ({ args: ["attest", device.name, "--json", "--", ...attestOptions(v)] }),
        verb: "Attest",
    });
}

// The arguments of `cmxsafe update`.
export const updateOptions = v => [imageOf(v), "--quiet", ...(isOpaque(v) ? ["--opaque"] : [])];

export async function update(device) {
    const fields = await imageFields();
    confirmChange({
        title: `Update ${device.name}`,
        what: ["The image is sent to the device, which checks it, restarts into it and confirms it.",
               "If the new image cannot reach this gateway, the device goes back to the current one by itself.",
               "Keep this page open until the update has ended."],
        fields,
        command: v => ({ args: ["update", device.name, "--json", "--", ...updateOptions(v)] }),
        verb: "Update",
    });
}
