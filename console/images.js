// images.js - manages the firmware images that the gateway keeps for updates: uploads and checks them, lists and removes them,
// and sets the key that they are checked with. The bytes go through Cockpit to the command's standard input.
import { button, el, facts, section } from "./dom.js";
import { confirmChange } from "./dialog.js";
import * as gateway from "./gateway.js";
import { model } from "./model.js";
import { badge, moment } from "./parts.js";
import { createTable } from "./table.js";
import { bytes } from "./text.js";

let stored = { bytes_max: 0, keys: [], images: [] }; // the answer of `image list --json`
let reread = () => {};

export async function readImages() {
    if (model.commands.has("image"))
        stored = await gateway.json(["image", "list"]);
    return stored;
}

const SIGNATURES = {
    "good": ["good", "ok", "made with the update key"], "unchecked": ["not checked", "pending", "no update key is set"],
    "none": ["none", "pending", "only devices without an update key accept it"],
    "secure-boot": ["Secure Boot v2", "ok", "the device's bootloader checks it"],
    "unknown-key": ["unknown", "error", "made with another key than the update key"], "wrong": ["wrong", "error", "it does not match the content"],
};
const titleOf = i => (i.format === "esp-idf" ? `${i.project} ${i.version}`.trim() || "unnamed" : i.name || "bundle");
const fitsOf = i => (i.format === "esp-idf" ? `${i.chip}${i.secure_version ? `, secure version ${i.secure_version} or older` : ""}` : "Linux devices");
function signatureOf(i) {
    const [word, kind, text] = SIGNATURES[i.signature] || ["unknown", "error", "this console is older than the gateway"];
    return [badge(word, kind), `: ${text}${i.signed_by ? ` (key ${i.signed_by})` : ""}`];
}
const checkOf = i => facts([
    ["Image", titleOf(i)], ["Fits", fitsOf(i)], ["Signature", signatureOf(i)], ["Size", `${bytes(i.bytes)} (${i.bytes.toLocaleString("en")} bytes)`],
    ["SHA-256", el("code", {}, i.image)],
]);

// ---- fields of dialogs that need an image ----

export async function imageFields(chosen) {
    await readImages().catch(() => {}); // without the list, the user can still type a path
    const usable = stored.images.filter(i => !i.problem);
    return [
        usable.length && { name: "stored", label: "Image", value: chosen, options: [...usable.map(i => [i.file, `${titleOf(i)} for ${fitsOf(i)}, ${i.name || i.image.slice(0, 12)}`]),
                                                                                    ["", "a file on this machine"]] },
        { name: "image", label: "Signed image on this machine", required: true, placeholder: "/root/firmware.bin", when: v => !v.stored },
    ].filter(Boolean);
}
export const imageOf = v => v.stored || v.image || "FILE";
export const isOpaque = v => stored.images.some(i => i.file === v.stored && i.format === "opaque");
export const imageTitle = v => stored.images.filter(i => i.file === v.stored).map(titleOf)[0] || v.image;

// ---- actions on images ----

function upload() {
    let check = null;
    confirmChange({
        title: "Upload an image",
        what: ["The gateway checks the image as a device does, and stores it. No device is updated by this.",
               stored.keys.length ? `An image that is not signed with the update key (${stored.keys.join(", ")}) is refused.`
                   : "No update key is set, so the image's signature is not checked."],
        fields: [{ name: "file", label: "Image", type: "file", required: true, hint: `At most ${bytes(stored.bytes_max)}.` }],
        command: v => ({ args: ["image", "add", v.file && v.file.name ? v.file.name : "FILE"] }),
        verb: "Upload",
        run({ file }, onReceived) {
            if (file.size > stored.bytes_max)
                throw new Error(`${file.name} has ${bytes(file.size)}; at most ${bytes(stored.bytes_max)} are accepted`);
            return gateway.upload(["image", "add", "-", "--name", file.name, "--bytes", String(file.size), "--progress", "--json"], file,
                                  object => { if (object.received === undefined) check = object; else onReceived(object.received, file.size); });
        },
        done() { reread(); return [el("p", {}, "The image is stored. This is the result of the check:"), checkOf(check)]; },
    });
}

const setKey = () => confirmChange({
    title: "Set the update key",
    what: ["From now on, an image must be signed with this key, or it is refused.", "The key replaces the current one. Devices keep the key that their own configuration names."],
    fields: [{ name: "key", label: "Public key", rows: 5, required: true, hint: "PEM or hex, as 'cmxsafe image key' prints it." }],
    command: v => ({ args: ["image", "key", "-"], input: v.key || "KEY" }),
    verb: "Set the key", done: () => { reread(); },
});

const remove = i => confirmChange({
    title: `Remove ${titleOf(i)}`,
    what: ["The stored copy is deleted.", "Campaigns that were started with it keep a copy of their own. Nothing on the devices changes."],
    command: () => ({ args: ["image", "remove", i.image] }),
    verb: "Remove", danger: true, done: () => { reread(); },
});

// ---- the list of images ----

// start(file) begins a campaign with the stored image `file`. Without `start`, the list has no button for this.
const columns = start => [
    { id: "image", title: "Image", value: titleOf, cell: i => [titleOf(i), i.name && i.format === "esp-idf" ? el("div", { class: "todo" }, i.name) : ""] },
    { id: "fits", title: "Fits", value: fitsOf },
    { id: "signature", title: "Signature", value: i => i.signature || "", cell: i => (i.problem ? [badge("unusable", "error"), `: ${i.problem}`] : signatureOf(i)) },
    { id: "size", title: "Size", value: i => i.bytes || 0, cell: i => (i.bytes ? bytes(i.bytes) : "–") },
    { id: "digest", title: "SHA-256", value: i => i.image, cell: i => el("code", { title: i.image }, i.image.slice(0, 12)) },
    { id: "at", title: "Stored", value: i => i.at, cell: i => moment(i.at) },
    { id: "change", title: "Change", cell: i => el("div", { class: "buttons" },
        start && !i.problem && button("Start a campaign", () => start(i.file), "plain small", `start with ${i.image}`),
        button("Remove", () => remove(i), "plain small", `remove ${i.image}`)) },
];

export function imagesPart(start) {
    const failure = el("pre", { class: "failure", hidden: true });
    const key = el("p", {});
    const table = createTable({ caption: "Images", columns: columns(start), noun: ["image"], sort: "at", descending: true, empty: "No image is stored." });

    async function read() {
        try {
            await readImages();
            table.update(stored.images);
            key.textContent = stored.keys.length ? `Update key: ${stored.keys.join(", ")}. Images must be signed with it.` : "No update key is set, so signatures are not checked.";
            failure.hidden = true;
        } catch (error) {
            failure.textContent = error.message;
            failure.hidden = false;
        }
    }

    reread = read;
    read();
    return { element: section("Images", el("div", { class: "toolbar" }, button("Upload an image", upload, "plain"), button("Set the update key", setKey, "plain")), key, failure, table.element) };
}
