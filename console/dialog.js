// dialog.js - the confirmation of every change. It shows the effects, the shell command that does the same, and afterwards the command's own message.
import { button, el } from "./dom.js";
import * as gateway from "./gateway.js";
import { refresh } from "./model.js";
import { bytes, shell } from "./text.js";

const SHOWN_MS = 15000; // how long the message of a command stays
let unique = 0;

function drawField(field) {
    const id = `field-${++unique}`;
    const common = { id, name: field.name, required: field.required, "aria-describedby": field.hint ? `${id}-hint` : null };
    let control;

    if (field.options)
        control = el("select", common, field.options.map(([value, label]) =>
            el("option", { value, selected: value === field.value }, label)));
    else if (field.rows)
        control = el("textarea", { ...common, rows: field.rows, spellcheck: "false" }, field.value || "");
    else
        control = el("input", { ...common, type: field.type || "text", value: field.value, placeholder: field.placeholder,
                                pattern: field.pattern, min: field.min, max: field.max, spellcheck: "false", autocomplete: "off" });
    return el("div", { class: "field", "data-field": field.name }, el("label", { for: id }, field.label, field.required ? " (required)" : ""), control,
              field.hint && el("p", { class: "field-hint", id: `${id}-hint` }, field.hint));
}

// Opens a dialog. what: the effects, one sentence each. fields: inputs whose values go to `command`, which returns {args, input}. verb: the
// button's label. done(values): called after success; its return value replaces the form. start(args, values): for a command that takes
// long; if given, it runs the command after the dialog has closed. run(values, onReceived): if given, it runs the command while the dialog
// stays open and shows the progress; it returns what gateway.start returns. Cancel and Esc close the dialog, and end a command that `run`
// started. Other commands continue, so while they run, the button is labelled "Close".
export function confirmChange({ title, what, fields = [], command, verb, danger = false, done = null, start = null, run = null }) {
    const preview = el("code", {});
    const progress = el("div", { role: "status" });
    let running = null;
    const failure = el("pre", { class: "failure", role: "alert", hidden: true });
    const confirm = el("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
    const cancel = button("Cancel", () => dialog.close(), "plain");
    const form = el("form", { submit }, el("h2", { id: "dialog-title" }, title),
                    el("ul", { class: "effects", id: "dialog-what" }, what.map(sentence => el("li", {}, sentence))),
                    fields.map(drawField),
                    el("p", { class: "same" }, "The same in a shell:"), el("pre", { class: "command", tabindex: "0", "aria-label": "Shell command" }, preview),
                    progress, failure, el("div", { class: "buttons" }, confirm, cancel));
    const dialog = el("dialog", { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-what", close: () => { dialog.remove(); if (run && running) running.process.close("cancelled"); } }, form);
    const before = document.activeElement;
    const values = () => Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim ? value.trim() : value]));

    function show() {
        for (const field of fields.filter(f => f.when)) {
            const wanted = field.when(values());
            const box = form.querySelector(`[data-field="${field.name}"]`);
            box.hidden = box.querySelector("input, select, textarea").disabled = !wanted;
        }
        const { args, input = null } = command(values());
        preview.textContent = shell(args, { sudo: gateway.needsSudo(), input });
    }

    function showReceived(received, size) {
        progress.replaceChildren(el("progress", { value: String(received), max: String(size), "aria-label": "Received by the gateway" }),
                                 el("p", {}, `The gateway has received ${bytes(received)} of ${bytes(size)}.`));
    }

    async function submit(event) {
        event.preventDefault();
        const given = values();
        const { args, input = null } = command(given);
        if (start) {
            dialog.close();
            start(args, given);
            return;
        }
        confirm.disabled = true;
        failure.hidden = true;
        if (!run) {
            cancel.textContent = "Close";
            progress.replaceChildren(el("p", {}, "The command is running. It continues if you close this dialog."));
        }
        try {
            running = run ? run(given, showReceived) : gateway.start(args, { change: true, input });
            const { note } = await running.done;
            running = null;
            await refresh();
            const result = done && await done(given);
            announce(note || `${title}: done`);
            if (result)
                form.replaceChildren(el("h2", { id: "dialog-title" }, title), ...[result].flat(),
                                     el("div", { class: "buttons" }, button("Close", () => dialog.close(), "primary")));
            else
                dialog.close();
        } catch (error) {
            running = null;
            progress.replaceChildren();
            failure.textContent = error.message;
            failure.hidden = false;
            confirm.disabled = false;
            cancel.textContent = "Cancel";
            if (!dialog.isConnected)
                announce(`${title}: ${error.message}`);
        }
    }

    form.addEventListener("input", show);
    show();
    dialog.addEventListener("close", () => before && before.isConnected && before.focus());
    document.body.append(dialog);
    dialog.showModal();
    (form.querySelector("input, select, textarea") || cancel).focus();
}

// Shows a message at the end of the page and announces it to screen readers.
export function announce(text) {
    const message = document.getElementById("message");
    message.textContent = text;
    setTimeout(() => { if (message.textContent === text) message.textContent = ""; }, SHOWN_MS);
}
