"""Drives the console in Chromium and exits non-zero if a check fails:
console_page.py fleet|rollouts|nodes|many|access|stranger|agent|STEP URL WEBDRIVER_PORT FOLDER SCREENSHOTS AXE.
STEP is the name of one function in this file; FOLDER is the temporary folder of the scenario (tests/e2e/console)."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from webdriver import Browser  # noqa: E402

what, url, port, folder, shots, axe_path = sys.argv[1:7]
with open(axe_path) as f:
    AXE = f.read()
WAIT = 30 * int(os.environ.get("CMX_WAIT_FACTOR", "3"))
b = Browser(int(port), 1280, 1000)


def check(condition, text):
    assert condition, text
    print("ok:", text, flush=True)


def wait(condition, text):
    end = time.time() + WAIT
    while time.time() < end:
        try:
            if condition():
                return
        except RuntimeError:
            pass  # the page does not have the element yet
        time.sleep(0.05)
    b.screenshot(f"{shots}/failed.png")
    raise AssertionError(f"{text}; the page shows: {page()[:1500]}")


def page():
    return b.run("return document.body.innerText")


def texts(css):
    return b.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", css)


def says(text, css="body"):
    wait(lambda: any(text in t for t in texts(css)), f"{css} does not show {text!r}")


def go(address, title):
    b.get("about:blank")
    b.get(f"{url}#/{address}")
    wait(lambda: texts("h1") == [title], f"the view {address} does not appear")


def click(label, within="body", attribute=""):
    """Waits for an enabled button or link whose label (or the given attribute) is `label`, and clicks it."""
    wait(lambda: b.run("""const text = e => (arguments[2] ? e.getAttribute(arguments[2]) : e.innerText.trim());
        const e = [...document.querySelectorAll(arguments[1])].flatMap(part => [...part.querySelectorAll('button, a')])
        .find(e => text(e) === arguments[0] && !e.disabled); if (e) e.click(); return Boolean(e);""", label, within, attribute),
         f"no button {label!r}")


def fill(name, value):
    css = f"dialog [name='{name}']"
    wait(lambda: b.find(css), f"no field {name}")
    b.run("document.querySelector(arguments[0]).value = ''", css)
    b.type(css, value)


def pick(name, value):
    css = f"dialog [name='{name}']"
    wait(lambda: b.find(css), f"no field {name}")
    b.run("const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input', {bubbles: true}))", css, value)


def pick_filter(name, value):
    b.run("const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input', {bubbles: true}))", f"#filter-{name}", value)


def command():
    return b.text("dialog .command code")


def gateway(*args, good=True, stdin=None):
    r = subprocess.run(["cmxsafe", "gateway", *args], capture_output=True, text=True, input=stdin)
    assert not good or r.returncode == 0, r.stderr
    return r.stdout if good else r.stderr.strip()


def shown(name):
    return json.loads(gateway("show", name, "--json"))


def dialog_open():
    return b.run("return Boolean(document.querySelector('dialog[open]'))")


def confirm(verb):
    """Clicks the button, and waits until the dialog has closed."""
    click(verb, "dialog")
    wait(lambda: not dialog_open(), f"the dialog stays open after {verb}")


def refused(verb, message):
    """Submits the dialog. The dialog must show the command's own message and stay open."""
    assert message, "no message to look for"
    click(verb, "dialog")
    wait(lambda: texts("dialog .failure") == [message], f"the dialog does not show the command's message {message!r} but {texts('dialog .failure')}")
    confirm("Cancel")


def look(width, height, style):
    b.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    b.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": style}])


def accessible(text):
    found = b.run_async(AXE + """;const done = arguments[arguments.length - 1];
        axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations
            .filter(v => v.impact === 'serious' || v.impact === 'critical')
            .map(v => v.id + ': ' + v.nodes.map(n => n.target.join(' ') + ' ' + (n.any[0] ? n.any[0].message : '')).join('; '))),
            e => done(['axe failed: ' + e]));""")
    assert found == [], f"{text}: {found}"


def no_errors():
    log = [entry["message"] for entry in b.log() if entry["level"] == "SEVERE" and "favicon" not in entry["message"]]
    check(log == [], f"the browser's console has no errors {log}")


def shot(name):
    b.screenshot(f"{shots}/{name}.png")


VIEWS = [("overview", "Overview"), ("paths", "Paths"), ("devices", "Devices"), ("device/cam-1", "cam-1"), ("access", "Access"), ("updates", "Updates")]


def every_look(name):
    """Checks the page at each width, light and dark: nothing is cut off and axe finds nothing serious. Saves screenshots."""
    for width, style in ((1440, "light"), (1440, "dark"), (768, "dark"), (320, "dark"), (320, "light")):
        look(width, 1000, style)
        wait(lambda: b.run("return document.documentElement.classList.contains('dark')") == (style == "dark"), f"{name}: the style is not {style}")
        wait(lambda: b.run("return document.documentElement.scrollWidth") <= width, f"{name} is too wide at {width}")
        accessible(f"{name} at {width}, {style}")
        shot(f"{name}-{width}-{style}")
    look(1280, 1000, "light")


def each_view():
    for address, title in VIEWS:
        go(address, title)
        every_look(address.replace("/", "-"))
    check(True, "each view at three widths, light and dark: axe finds nothing serious, nothing is cut off")


def own_resources():
    go("overview", "Overview")
    policy = b.run_async("const done = arguments[arguments.length - 1]; fetch('index.html').then(r => done(r.headers.get('content-security-policy')), e => done(String(e)))")
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'", "form-action 'none'"):
        assert part in policy, policy
    others = b.run("return performance.getEntriesByType('resource').map(e => e.name).filter(name => !name.startsWith(location.origin + '/'))")
    check("unsafe" not in policy.replace("'wasm-unsafe-eval'", "") and others == [], f"the content security policy is strict, and the page loads nothing from other hosts {others}")


def list_of_devices():
    go("devices", "Devices")
    wait(lambda: len(texts("tbody tr")) == 4, "not four devices")
    b.type("#filter-search", "cam-2")
    wait(lambda: len(texts("tbody tr")) == 1 and "cam-2" in texts("tbody tr")[0], "the search does not find one device")
    check("search=cam-2" in b.run("return location.hash"), "the page's address contains the search")
    go("devices?state=away", "Devices")
    wait(lambda: len(texts("tbody tr")) == 1 and "cam-9" in texts("tbody tr")[0], "the filter does not show the device that is away")
    check(b.run("return document.querySelector('#filter-state').value") == "away", "the page's address sets the filter")
    go("paths", "Paths")
    b.type("#filter-search", "cam-2")
    wait(lambda: labels() != [] and [l for l in labels() if l.startswith("Device")] == ["Device cam-2: connected"], f"the map does not show one device: {labels()}")
    check("search=cam-2" in b.run("return location.hash"), "the page's address contains the search on the map")


def enrolment():
    with open(f"{folder}/spare.pub") as f:
        key = f.read().strip()
    go("devices", "Devices")
    click("Enrol a device")
    for name in ["Spare", "spare_1", "spare.1", "-spare", "spare-", "s" * 64, "spare"]:
        fill("name", name)
        good = b.run("return document.querySelector(\"dialog [name='name']\").checkValidity()")
        check(good == (subprocess.run(["cmxsafe", "gateway", "enroll", "--key", f"{folder}/spare.pub", "--ports", "81", "--dry-run", "--", name],
                                      capture_output=True).returncode == 0), f"the dialog and the command agree on the name {name}")
    fill("key", key)
    fill("ports", "81")
    fill("group", "store")
    check(command() == f"echo '{key}' | cmxsafe gateway enroll spare --key - --ports 81 --group store", "the shell command is shown")
    accessible("the dialog")
    shot("enrol")
    click("Enrol", "dialog")
    says("[gateway]", "dialog pre")
    click("Close", "dialog")
    wait(lambda: texts("h1") == ["spare"], "the new device's page does not appear")
    check(shown("spare")["device"]["ports"] == [81], "a device is enrolled; its configuration is shown")
    click("Replace the key")
    fill("key", "ssh-ed25519 AAAA")
    refused("Replace the key", gateway("rotate", "spare", "--key", "-", good=False, stdin="ssh-ed25519 AAAA\n"))
    check(True, "an invalid key is refused with the command's own message")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/second"], check=True)
    with open(f"{folder}/second.pub") as f:
        second = f.read().strip()
    before = shown("spare")["device"]["key"]
    click("Replace the key")
    fill("key", second)
    confirm("Replace the key")
    check(shown("spare")["device"]["key"] != before, "a key is replaced")
    click("Rename")
    fill("name", "cam-1")
    refused("Rename", gateway("rename", "spare", "cam-1", good=False))
    click("Rename")
    fill("name", "spare-2")
    confirm("Rename")
    wait(lambda: texts("h1") == ["spare-2"], "the page of the renamed device does not appear")
    check(shown("spare-2")["device"]["key"] != "", "a device is renamed; a name that is taken is refused")
    click("Revoke")
    says("cannot be undone", "dialog")
    confirm("Revoke")
    wait(lambda: "Delete" in texts("main button"), "a revoked device cannot be deleted")
    check(shown("spare-2")["device"]["revoked"] > 0, "a device is revoked")
    click("Delete")
    confirm("Delete")
    wait(lambda: texts("h1") == ["Devices"], "the list of devices does not appear")
    check("spare-2" in gateway("show", "spare-2", good=False), "a revoked device is deleted")
    gone_meanwhile()


def gone_meanwhile():
    """A command deletes a device while its dialog is open. The page shows the device until it reads the registry again."""
    for label in ("Revoke", "Delete"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/brief-{label}"], check=True)
        gateway("enroll", "brief", "--key", f"{folder}/brief-{label}.pub", "--ports", "81")
        if label == "Delete":
            gateway("revoke", "brief")
        go("device/brief", "brief")
        click(label)
        wait(dialog_open, f"{label} opens no dialog")
        if label == "Revoke":
            gateway("revoke", "brief")
        gateway("delete", "brief")
        if label == "Revoke":
            refused(label, gateway("revoke", "brief", good=False))
        else:
            confirm(label)
    check(True, "if a device was deleted meanwhile, Revoke shows the command's own message, and Delete has nothing to do")


def grants():
    go("access", "Access")
    click("Grant access")
    fill("consumer", "user:root")
    fill("target", "cam-3:81")
    fill("for", "2h")
    confirm("Grant")
    says("user:root", "tbody")
    says("until 20", "tbody")
    go("overview", "Overview")
    says("the grant of user:root to cam-3 ends at", ".alerts")
    go("access", "Access")
    click("Grant access")
    fill("consumer", "user:root")
    fill("target", "cam-3:9999")
    refused("Grant", gateway("grant", "user:root", "cam-3:9999", good=False))
    go("access?consumer=user%3Aroot", "Access")
    wait(lambda: len(texts("tbody tr")) == 1, "the filter by consumer does not show one grant")
    click("Remove")
    confirm("Remove")
    wait(lambda: texts("tbody tr") == [], "the grant is still there")
    check("user:root" not in gateway("grant"), "a grant with an end is added, its end is announced, a grant for a wrong port is refused, and the grant is removed")


def attestation():
    go("device/cam-1", "cam-1")
    for image, verdict, verb in (("cam-1.firmware", "match", "Attest"), ("v2.bin", "differs", "Attest")):
        click("Attest now")
        fill("key", folder + "/keys/{name}.bin")
        fill("reference", f"{folder}/{image}")
        click(verb, "dialog")
        if verdict == "match":
            wait(lambda: not dialog_open(), "attestation does not end")
        else:
            wait(lambda: texts("dialog .failure") == ["DIFFERS"], f"the dialog does not show the verdict but {texts('dialog .failure')}")
            click("Cancel", "dialog")
        says(verdict, "main section .badge")
    check(shown("cam-1")["attestation"]["verdict"] == "differs" and "Reason" in page(), "attestation shows 'match' and, for another image, 'differs' with the reason")


def claims():
    """A policy requests signed evidence from the board; the board's page shows each claim and the reason for the verdict."""
    for version, verdict in (("v1", "match"), ("v2", "differs")):
        end = 0x10000 + (os.path.getsize(f"{folder}/{version}.bin") + 4095) // 4096 * 4096
        with open(f"{folder}/{version}.manifest", "w") as f:
            subprocess.run(["cmxsafe", "image", "manifest", "--at", "0x10000", "--end", hex(end), f"{folder}/{version}.bin"], stdout=f, check=True, cwd=folder)
        gateway("policy", "set", "cam-1", "--manifest", f"{folder}/{version}.manifest", "--max-age", "1h", "--enforce", "no" if verdict == "match" else "yes")
        wait(lambda: shown("cam-1")["attestation"]["verdict"] == verdict and shown("cam-1")["attestation"]["claims"], f"no evidence with the verdict {verdict}")
        found = shown("cam-1")["attestation"]
        go("device/cam-1", "cam-1")
        wait(lambda: len(texts(".claims tbody tr")) == len(found["claims"]), "the page does not have a row for each claim")
        for claim, row in zip(found["claims"], texts(".claims tbody tr")):
            assert row.startswith(claim["name"]) and (claim["name"] == "nonce" or claim["found"] in row), (claim, row)
        failed = [c for c in found["claims"] if c["result"] == "failed"]
        assert (failed == []) == (verdict == "match") and len([t for t in texts(".claims tbody tr") if "differs" in t]) == len(failed), failed
        says(found["detail"] or verdict, ".wide")
        accessible("the claims")
        shot(f"claims-{verdict}")
    check(True, "the page shows each claim of the evidence and the reason for the verdict")
    firmware = shown("cam-1")["device"]["seen"]["firmware"]
    go("devices", "Devices")
    wait(lambda: len(texts("tbody tr")) > 1, "the other devices are not shown")
    pick_filter("version", firmware)
    wait(lambda: firmware and len(texts("tbody tr")) == 1 and texts("tbody tr")[0].startswith("cam-1"), "the filter by firmware does not show one device")
    check("version=" in b.run("return location.hash"), "the page's address contains the filter by firmware")
    go("overview", "Overview")
    says("quarantined", ".tiles")
    says("cam-1", ".alerts .is-quarantined")
    shot("quarantined")
    go("paths", "Paths")
    wait(lambda: "session connected" in b.run("return [...document.querySelectorAll('.map .session')].map(e => e.getAttribute('class'))")[0], "the session of a quarantined device is not drawn as connected")
    wait(lambda: "Device cam-1: quarantined" in b.run("return [...document.querySelectorAll('.map .node.quarantined')].map(e => e.getAttribute('aria-label'))"), "the map does not mark the device")
    shot("paths-quarantined")
    gateway("policy", "remove", "cam-1")
    wait(lambda: b.run("return document.querySelectorAll('.map .node.quarantined').length") == 0, "the mark stays")
    check(True, "a quarantined device is on the overview with what to do, and marked on the map")


def updates():
    go("updates", "Updates")
    click("Update devices")
    pick("group", "cameras")
    fill("image", f"{folder}/bare.bin")
    check("update --group cameras --first 1 --parallel 4 --stop-at 10 --json -- " in command(), "the dialog shows the shell command of an update")
    shot("update-dialog")
    confirm("Update")
    says("1 failed, 2 not started", "main")
    says("not signed", "tbody tr")
    says("stopped: too many failures", "main .failure") # shown once the command has ended
    check(True, "an image without a signature ends the update at the first device")
    shot("update-failed")
    click("Update devices")
    pick("group", "cameras")
    fill("image", f"{folder}/v2.bin")
    confirm("Update")
    says("3 of 3 devices done, 0 failed.", "main")
    accessible("results")
    shot("updated")
    check(len([t for t in texts("tbody tr") if "ok" in t]) == 3, "three boards are updated")


def update_one():
    go("device/cam-2", "cam-2")
    click("Update")
    fill("image", f"{folder}/bare.bin")
    check(command() == f"cmxsafe gateway update cam-2 --json -- {folder}/bare.bin --quiet", "the dialog shows the shell command of one device's update")
    failed = subprocess.run(["cmxsafe", "gateway", "update", "cam-2", "--json", "--", f"{folder}/bare.bin", "--quiet"], capture_output=True, text=True)
    refused("Update", json.loads(failed.stdout.splitlines()[0])["detail"])
    click("Update")
    fill("image", f"{folder}/v1.bin")
    click("Update", "dialog")
    says("It continues if you close this dialog", "dialog")
    check("Cancel" not in texts("dialog button"), "while an update runs, no button promises to cancel it")
    wait(lambda: not dialog_open(), "the dialog stays open after the update")
    go("device/cam-2", "cam-2")
    says("updated", "tbody")
    check(True, "one device is updated from its page; for an image that it refuses, the page shows the command's own message")


def start_campaign(name, image, at=""):
    go("updates", "Updates")
    click("Start a campaign")
    fill("name", name)
    pick("group", "cameras")
    fill("image", f"{folder}/{image}")
    if at:
        fill("at", at)
    assert f"cmxsafe gateway campaign start --image {folder}/{image} " in command() and "--group cameras --first 1 --parallel 4 --stop-at 10" in command(), command()
    click("Start", "dialog")


def campaign(name):
    return json.loads(gateway("campaign", "show", name, "--json"))


def campaigns():
    start_campaign("bad", "nothing.bin")
    wait(lambda: "nothing.bin" in b.text("dialog .failure"), "the command's message is not shown")
    click("Cancel", "dialog")
    start_campaign("later", "v1.bin", "2099-01-01 02:00")
    says("0 of 3 devices", "tbody")
    check(campaign("later")["state"] == "active", "a campaign is started; for an image that is missing, the dialog shows the command's own message")
    shot("campaigns")
    accessible("campaigns")
    for verb, state in (("Pause", "paused"), ("Resume", "active"), ("Stop", "stopped")):
        click(verb, "tbody")
        confirm(verb)
        says(state, "tbody .badge")
        assert campaign("later")["state"] == state, verb
    click("Remove", "tbody")
    confirm("Remove")
    wait(lambda: texts("tbody tr") == [], "a campaign that was removed is still listed")
    check("later" not in gateway("campaign", "list"), "a campaign is paused, resumed, stopped and removed")
    start_campaign("back", "v1.bin")
    says("3 of 3 devices", "tbody")
    wait(lambda: campaign("back")["state"] == "done", "the campaign does not end")
    click("back", "tbody")
    wait(lambda: texts("h1") == ["Campaign back"] and len([t for t in texts("tbody tr") if "✓ done" in t]) == 4, f"not every device of the campaign is done: {texts('tbody tr')}")
    check("canary" in texts("tbody tr")[1], "a campaign updates three boards and shows the progress of each board, the canary first")
    shot("campaign-devices")
    accessible("a campaign")


def images_kept():
    return json.loads(gateway("image", "list", "--json"))["images"]


def choose(path):
    wait(lambda: b.find("dialog [name=file]"), "the dialog has no field for a file")
    b.type("dialog [name=file]", path)


def images():
    go("updates", "Updates")
    says("No image is stored.", "main")
    click("Upload an image")
    choose(f"{folder}/v2.bin")
    check(command() == "cmxsafe gateway image add v2.bin", "the dialog shows the shell command of an upload")
    click("Upload", "dialog")
    says("This is the result of the check", "dialog")
    with open(f"{folder}/v2.bin", "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    for text in ("2.0.0", "ESP32-C3", "not checked", digest):
        says(text, "dialog dd")
    accessible("the check of an image")
    shot("image-check")
    click("Close", "dialog")
    says("2.0.0", "tbody")
    check([i["image"] for i in images_kept()] == [digest], "an image is uploaded; its version, chip, signature and digest are shown")
    click("Set the update key")
    fill("key", "none")
    refused("Set the key", gateway("image", "key", "-", good=False, stdin="none\n"))
    click("Set the update key")
    pem = subprocess.run(["cmxsafe", "image", "key", "--key", f"{folder}/k.pem", "--pem"], capture_output=True, text=True, check=True).stdout
    pick("key", pem)
    confirm("Set the key")
    says("made with the update key", "tbody")
    click("Upload an image")
    choose(f"{folder}/bare.bin")
    with open(f"{folder}/bare.bin", "rb") as f:
        message = subprocess.run(["cmxsafe", "gateway", "image", "add", "-"], stdin=f, capture_output=True, text=True).stderr.strip()
    assert "not signed" in message, message
    refused("Upload", message)
    check(len(images_kept()) == 1, "with an update key, an image without a signature is refused with the command's message")
    with open(f"{folder}/again.bin", "wb") as f:
        f.write(b"first")
    click("Upload an image")
    choose(f"{folder}/again.bin")
    time.sleep(1.1)  # a file's time has a resolution of a second in some browsers
    shutil.copy(f"{folder}/v2.bin", f"{folder}/again.bin")
    refused("Upload", "again.bin cannot be read: it has changed since it was chosen; choose it again")
    # The browser does not send a file that is too large, and the gateway keeps no file of a cancelled upload.
    for name, size in (("huge.bin", 512000001), ("slow.bin", 300 << 20)):
        with open(f"{folder}/{name}", "wb") as f:
            f.truncate(size)
    click("Upload an image")
    choose(f"{folder}/huge.bin")
    click("Upload", "dialog")
    says("are accepted", "dialog .failure")
    confirm("Cancel")
    click("Upload an image")
    choose(f"{folder}/slow.bin")
    click("Upload", "dialog")
    wait(lambda: b.run("return document.querySelector('dialog progress')?.value > 1000000"), "no progress")
    shot("image-progress")
    click("Cancel", "dialog")
    says("cancelled", "#message")
    wait(lambda: subprocess.run(["pgrep", "-f", "gateway image add - --name slow.bin"], capture_output=True).returncode != 0, "the command of a cancelled upload still runs")
    check(len(images_kept()) == 1, "an upload shows its progress, a cancelled upload stores nothing, and a file that is too large is not sent")
    shot("images")
    accessible("images")
    click("Start a campaign", "tbody")
    fill("name", "stored")
    pick("group", "cameras")
    fill("at", "2099-01-01 02:00")
    check(f"campaign start --image {images_kept()[0]['file']} --at" in command(), "a campaign is started from a stored image")
    confirm("Start")
    assert campaign("stored")["image"] == digest
    click(f"remove {digest}", "main", "data-key")
    says("keep a copy of their own", "dialog")
    confirm("Remove")
    says("No image is stored.", "main")
    check(images_kept() == [] and os.path.exists(f"{os.environ['CMXSAFE_GATEWAY']}/store/{digest}"), "an image is removed; the campaign keeps its copy")
    gateway("campaign", "stop", "stored")
    gateway("campaign", "remove", "stored")
    gateway("image", "key", "--remove")


def focused():
    return b.run("return document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")


def tab_to(text):
    for _ in range(60):
        b.press("TAB")
        if (focused() or "").strip().startswith(text):
            return
    raise AssertionError(f"Tab does not reach {text!r}")


def keyboard():
    go("overview", "Overview")
    b.press("TAB")
    check(focused() == "Skip to the content", "Tab begins with the skip link")
    tab_to("Paths")
    b.press("ENTER")
    wait(lambda: texts("h1") == ["Paths"], "Enter does not open a view")
    check(focused() == "Paths", "the focus is on the new view's title")
    tab_to("Device cam-2")
    b.press("ENTER")
    wait(lambda: texts("h1") == ["cam-2"], "Enter does not open a device of the map")
    tab_to("Rename")
    b.press("ENTER")
    wait(dialog_open, "Enter does not open the dialog")
    b.press("ESCAPE")
    wait(lambda: not dialog_open(), "Escape does not close the dialog")
    check(focused() == "Rename", "the keyboard alone opens map, device and dialog; Escape closes the dialog and the focus returns")


WATCH = """window.repeated = 0; window.first = document.querySelector(arguments[0]); getSelection().selectAllChildren(window.first);
    for (const e of document.querySelectorAll('[role=status], [role=alert]'))
        new MutationObserver(list => { window.repeated += list.length; }).observe(e, {childList: true, characterData: true, subtree: true});
    const box = window.first.getBoundingClientRect(); return [box.x + 5, box.y + 5];"""


def redrawn():
    """The page is drawn again every 3 s. This must not remove a selection of text, interrupt a click, or repeat messages."""
    go("device/cam-1", "cam-1")
    wait(lambda: b.find("dd code"), "no address")
    b.run(WATCH, "dd code")
    selected = b.run("return getSelection().toString()")
    time.sleep(8)
    check(selected != "" and b.run("return getSelection().toString()") == selected, "a selection of text stays")
    go("devices?state=connected", "Devices")
    wait(lambda: texts("tbody a"), "no device")
    name = texts("tbody a")[0]
    x, y = b.run(WATCH, "tbody a")
    b.cdp("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
    time.sleep(8)
    check(b.run("return window.repeated") == 0, "messages that have not changed are not repeated to screen readers")
    b.cdp("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)
    wait(lambda: texts("h1") == [name], "a slow click is lost")
    go("devices?state=gone", "Devices")
    check(b.run("return document.querySelector('#filter-state').value") == "gone", "a filter that matches nothing is shown")
    go("access", "Access")
    for target in ("cam-1:8989", "cam-2:8989"):
        click("Grant access")
        fill("consumer", "user:root")
        fill("target", target)
        confirm("Grant")
    wait(lambda: len([t for t in texts("tbody tr") if "user:root" in t]) == 2, "two grants")
    click("remove user:root cam-1 8989", "tbody", "data-key")
    confirm("Remove")
    wait(lambda: [t.split("\t")[1] for t in texts("tbody tr") if "user:root" in t] == ["cam-2"], "another grant was removed")
    click("remove user:root cam-2 8989", "tbody", "data-key")
    confirm("Remove")
    check("user:root" not in gateway("grant"), "a button acts on the row that it is in, also after rows moved")


def stopped():
    go("devices", "Devices")
    os.kill(json.loads(gateway("status", "--json"))["pid"], signal.SIGTERM)
    wait(lambda: sum("away" in t for t in texts("tbody tr")) == 4, "the devices are not shown as away")
    go("overview", "Overview")
    message = gateway("status", good=False)
    says(message, ".alerts")
    says("not running", "main")
    shot("stopped")
    check(True, "after the gateway stopped, the devices are away and the page shows the command's own message")


def lost():
    go("device/cam-1", "cam-1")
    os.kill(int(folder_text("cockpit.pid")), signal.SIGTERM)
    message = "the connection to the machine is lost; load this page again, and log in"
    says(message, "#problem")
    click("Rename")
    fill("name", "other")
    click("Rename", "dialog")
    says(message, "dialog .failure")
    check(True, "after the connection to Cockpit has ended, the page and each action say so")


def injection():
    for address in ("overview", "paths", "paths?search=img", "devices?search=img", "devices?search=script", "access", "device/dev-5"):
        go(address, {"overview": "Overview", "paths": "Paths", "devices": "Devices", "access": "Access", "device": "dev-5"}[re.match("[a-z]+", address)[0]])
        time.sleep(0.5)
        assert b.run("return window.injected === undefined && document.querySelector('main img, main script, main b') === null"), f"{address}: HTML or script in a name was interpreted"
    says("<b>bold</b>", "tbody")
    go("devices?search=img", "Devices")
    says("<img src=x onerror=window.injected=1>", "tbody")
    shot("html-names")
    click("<img src=x onerror=window.injected=1>", "tbody")
    wait(lambda: texts("h1") == ["<img src=x onerror=window.injected=1>"], "the page of a device with such a name")
    check(b.run("return window.injected === undefined"), "names and log lines that contain HTML and script are shown as text")


def many():
    began = time.time()
    go("devices", "Devices")
    wait(lambda: len(texts("tbody tr")) == 100, "the list does not show a page of devices")
    ready = time.time() - began
    began = time.time()
    b.type("#filter-search", "dev-9876")
    wait(lambda: len(texts("tbody tr")) == 1, "the search does not find the device")
    print(f"console_10000_devices_interactive_s {ready:.2f}\nconsole_10000_devices_search_s {time.time() - began:.2f}", flush=True)
    go("devices", "Devices")
    says("10,000 devices", ".summary")
    click("Last")
    says("Page 100 of 100", ".pager")
    click("Group", "thead")
    says("Page 1 of 100", ".pager")
    accessible("10,000 devices")
    shot("devices-10000")
    go("paths", "Paths")
    wait(lambda: len(b.run("return [...document.querySelectorAll('.map a.node')].map(e => e.getAttribute('aria-label'))")) == 22, "the map does not have one node for each group")
    shot("paths-10000")
    accessible("the map with groups")
    b.run("document.querySelector('[data-key=\"node group site-7\"]').focus()")
    b.press("ENTER")
    says("500 devices; the map shows 36 of them", "main")
    shot("paths-group")
    check(True, "10,000 devices are listed in pages and can be sorted; the map shows groups, and the devices of a selected group")


def hostile():
    go("access", "Access")
    says("the log cannot be read", "main")
    wait(lambda: any("forged" in t for t in texts("tbody tr")), "the access log is not read again")
    check(any("forged" in t and "closed" in t for t in texts("tbody tr")) and "native code" not in b.text("main"), "an unknown event is shown as closed")
    go("overview", "Overview")
    says("SHA256:huge", ".alerts")
    check(True, "a time beyond all dates does not stop the page")
    open(f"{folder}/no_counters", "w").close()
    wait(lambda: any("cannot be drawn" in t for t in texts("#problem")), "the page does not say that it cannot be drawn")
    os.unlink(f"{folder}/no_counters")
    wait(lambda: texts("#problem") == [""], "the page does not recover")
    check(True, "an answer that lacks a part is reported, and the page recovers")
    open(f"{folder}/no_json", "w").close()
    wait(lambda: any("the output of 'cmxsafe gateway grant --json' is not JSON" in t for t in texts("#problem")), "no message about output that is not JSON")


def access():
    go("paths", "Paths")
    wait(lambda: any("active" in t for t in texts("tbody tr")), "no connection in use on the map")
    check(b.run("return document.querySelectorAll('.map .path.active').length") == 1, "a connection in use is drawn thick on the map")
    wait(lambda: b.run("return document.querySelectorAll('.map .path.denied').length") == 1, "no refused connection on the map")
    accessible("the map")
    shot("paths-in-use")
    go("access", "Access")
    wait(lambda: any("denied" in t for t in texts("tbody tr")) and any("closed" in t for t in texts("tbody tr")), "the access log lacks a denied or a closed connection")
    shot("access-log")
    accessible("the access log")
    go("access?event=denied", "Access")
    wait(lambda: [t for t in texts("tbody tr") if "active" in t or "closed" in t] == [] and any("refused" in t for t in texts("tbody tr")), "the filter by event does not show only refusals")
    click("Grant access")
    fill("consumer", "user:1235")
    fill("target", "cam-17:81")
    fill("for", "8h")
    fill("why", "a test's <b>reason</b>")
    check(command() == "sudo cmxsafe gateway grant --for 8h --why 'a test'\\''s <b>reason</b>' user:1235 cam-17:81", "the shell command quotes the reason and uses sudo")
    click("Cancel", "dialog")


def agent():
    go("", "Device agent")
    wait(lambda: any(t.startswith("web") and "up" in t for t in texts("tbody tr")), "the context is not up")
    says("all up")
    says("in force", ".columns")
    says("gateway port 9081 to local port 8081")
    says("1.0", ".columns")  # the update service shows the running version
    says("required", ".columns")
    says("refused", ".columns li")  # the page names the last upload's client and result
    says("ago, from ", ".columns li")
    says("dropped", ".columns td")
    wait(lambda: any("10.77.0.1" in t and "TCP 8082" in t for t in texts("tbody tr")), "the dropped packet is not shown")
    every_look("agent")
    check(True, "the page shows contexts, isolation with a dropped packet, and the update service, at three widths")
    os.kill(int(folder_text("agent.pid")), signal.SIGTERM)
    status = [f"{folder}/path/cmxsafed", "status", "--json"]
    wait(lambda: b.text("#problem") and b.text("#problem") == subprocess.run(status, capture_output=True, text=True).stderr.strip(), "the page does not show the command's message that the agent ended")
    check(True, "after the agent ended, the page shows the command's own message")
    check("web" in page(), "the last state stays visible")
    shot("agent-ended")


def certificates():
    """alice@corp is logged in with a certificate that ends soon; bob@corp has a grant but is not logged in."""
    session = next(s for s in json.loads(gateway("status", "--json"))["sessions"] if s["name"] == "alice@corp")
    ends = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(session["certificate_ends"]))
    go("overview", "Overview")
    says(f"the certificate of alice@corp (alice-1, serial 7) ends at {ends}, and its session with it", ".alerts")
    says("give the certificate's holder a new certificate of the CA corp", ".alerts .todo")
    shot("certificate-ends")
    go("access", "Access")
    certificate = f"alice-1, serial 7 of corp, until {ends}"
    wait(lambda: any(t.startswith("alice@corp") and "connected" in t and certificate in t for t in texts("tbody tr")), "the session with a certificate is not shown")
    rows = texts("tbody tr")
    assert any(t.startswith("corp") and "certificate authority" in t for t in rows) and any(t.startswith("bob@corp") and "connected" not in t for t in rows), rows
    every_look("access-certificates")
    go("paths", "Paths")
    wait(lambda: f"Consumer platform:alice@corp, logged in, certificate {certificate}: may reach cam-17" in labels() and
         "Consumer platform:bob@corp: may reach cam-17" in labels(), f"the map does not show both consumers: {labels()}")
    check(any(certificate in t for t in texts("tbody tr")), "a certificate's end is shown in Access, on the map, and on the overview with what to do")
    every_look("paths-certificates")


def folder_text(name):
    with open(f"{folder}/{name}") as f:
        return f.read()


def stranger():
    b.get(f"{url}#/overview")
    message = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cmxsafe", "gateway", "show", "--json"],
                             capture_output=True, text=True).stderr.strip()
    assert message.startswith("cmxsafe: "), message
    wait(lambda: b.text("#problem") == message, f"a user without privilege sees not {message!r} but {b.text('#problem')!r}")
    check("Turn on administrative access" in page(), "a user without privilege sees the command's message and what to do")
    accessible("the page without privilege")
    shot("no-privilege")


def pending():
    """A key that is not enrolled tries to log in. The overview shows it, and the user enrols it there."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/unknown"], check=True)
    gateway_port = json.loads(gateway("show", "--json"))["port"]
    subprocess.run(["ssh", "-i", f"{folder}/unknown", "-p", str(gateway_port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
                    "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-F", "none", "-l", "cmxsafe-gw", "-N", "127.0.0.1"], capture_output=True)
    with open(f"{folder}/unknown.pub") as f:
        fingerprint = subprocess.run(["ssh-keygen", "-lf", "-"], stdin=f, capture_output=True, text=True).stdout.split()[1]
    go("overview", "Overview")
    says(fingerprint, ".alerts code")
    shot("pending")
    click("enrol it")
    fill("name", "cam-1")
    fill("ports", "81")
    refused("Enrol", gateway("approve", "--ports", "81", fingerprint, "cam-1", good=False))
    click("enrol it")
    fill("name", "porch")
    fill("ports", "81")
    check(command() == f"cmxsafe gateway approve --ports 81 {fingerprint} porch", "the dialog shows the shell command of an approval")
    confirm("Enrol")
    wait(lambda: texts("h1") == ["porch"], "the page of the approved device does not appear")
    check(shown("porch")["device"]["key"] == fingerprint, "a key that tried to log in is enrolled; for a name that is taken, the dialog shows the command's own message")
    gateway("revoke", "porch")
    gateway("delete", "porch")


def hour():
    go("overview", "Overview")
    wait(lambda: b.run("return document.querySelectorAll('.charts svg').length") == 2, "the last hour is not drawn")
    check("at most" in b.run("return document.querySelector('.charts svg').getAttribute('aria-label')"), "the chart of the last hour has a text equivalent")
    click_summary = "document.querySelector('details summary').click()"
    b.run(click_summary)
    says("From devices", "details thead")
    accessible("the overview with the last hour")
    shot("overview-hour")


def labels(css=".map a.node"):
    return b.run("return [...document.querySelectorAll(arguments[0])].map(e => e.getAttribute('aria-label'))", css)


def nodes():
    go("nodes", "Nodes")
    wait(lambda: any("gw1" in t and "here" in t for t in texts("tbody tr")) and any("gw2" in t and "linked" in t and "\t1\t" in t for t in texts("tbody tr")),
         "the two gateways are not shown with state and sessions")
    every_look("nodes")
    go("devices?search=cam", "Devices")
    wait(lambda: len([t for t in texts("tbody tr") if "connected" in t]) == 2 and any("cam-2" in t and "gw2" in t for t in texts("tbody tr")), "the device of the other gateway is not shown as connected")
    go("device/cam-2", "cam-2")
    says("gw2", "dd")
    check(True, "the page shows the gateways with state, lag and sessions, and a device that is connected to the other gateway")
    go("paths?by=node", "Paths")
    says("42 devices by gateway", "main")
    wait(lambda: sorted(l.split(":")[0] for l in labels() if l.startswith("Gateway gw") and "connected" in l) == ["Gateway gw1", "Gateway gw2"], f"the map by gateway does not show both gateways: {labels()}")
    assert any(l.startswith("Gateway no gateway: 0 of 40 devices") for l in labels()), labels()
    shot("paths-by-gateway")
    accessible("the map by gateway")
    wait(lambda: b.run("const e = document.querySelector('[data-key=\"node node gw2\"]'); e?.focus(); return Boolean(e)"), "the map does not show the gateway")
    b.press("ENTER")
    wait(lambda: [l for l in labels() if l.startswith("Device")] == ["Device cam-2: connected at gw2"], f"the map does not show the gateway's device: {labels()}")
    assert "node=gw2" in b.run("return location.hash") and any(l.startswith("Gateway gw2: linked, 1 session") for l in labels()), labels()
    shot("paths-one-gateway")
    go("paths?group=cameras", "Paths")
    wait(lambda: len([l for l in labels() if l.startswith("Gateway gw")]) == 2 and len([l for l in labels() if l.startswith("Device")]) == 2, f"the map does not show two gateways and two devices: {labels()}")
    shot("paths-gateways")
    for width in (768, 320):
        look(width, 1000, "dark" if width == 768 else "light")
        time.sleep(0.5)
        assert b.run("return document.documentElement.scrollWidth") <= width, f"the map is too wide at {width}"
        shot(f"paths-gateways-{width}")
    look(1280, 1000, "light")
    pick_filter("node", "no gateway")
    wait(lambda: [l for l in labels() if l.startswith("Device")] == [], f"the filter by gateway still shows devices: {labels()}")
    check(True, "the map groups devices by gateway, and the filter shows the devices of one gateway")
    with open(folder_text("node2.kill").strip(), "w") as f:
        f.write("1")
    go("nodes", "Nodes")
    wait(lambda: any("gw2" in t and "away" in t for t in texts("tbody tr")), "the killed gateway is not shown as away")
    go("devices?search=cam-2", "Devices")
    wait(lambda: any("away" in t for t in texts("tbody tr")), "the device of the killed gateway is not shown as away")
    shot("nodes-away")
    check(True, "a gateway that was killed and its device are shown as away")


STEPS = {"rollouts": [updates, update_one, campaigns, images], "nodes": [nodes], "stranger": [stranger], "agent": [agent], "fleet": [each_view, own_resources, list_of_devices, enrolment, grants, attestation, claims, pending, hour, keyboard, redrawn, stopped, lost], "many": [many, injection], "access": [access, certificates]}
try:
    for step in STEPS.get(what) or [globals()[what]]:
        step()
        no_errors()
finally:
    b.close()
