"""Drives the update page in Chromium: ota_page.py URL WEBDRIVER_PORT FOLDER. FOLDER holds v2.bin, v3.bin, v4.bin, bare.bin, broken.bin;
screenshots are written there. Exits non-zero if a check fails."""
import json
import os
import shutil
import socket
import sys
import threading
import time
import http.server
import urllib.request

sys.path.insert(0, os.path.dirname(__file__))
from webdriver import Browser  # noqa: E402

url, port, folder = sys.argv[1], int(sys.argv[2]), os.path.abspath(sys.argv[3])
b = Browser(port)


def file(name):
    return os.path.join(folder, name)


def outcome():
    return b.text("#outcome")


def check(condition, what):
    assert condition, what
    print("ok:", what, flush=True)


lost = []


class Link:
    """A TCP relay between browser and device. cut() closes the connections to the browser but not those to the device;
    restore() relays new connections again."""

    def __init__(self, port):
        self.port, self.up, self.sent, self.lock, self.open = port, True, 0, threading.Lock(), set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                near.close()
                continue
            with self.lock:
                if not self.up:
                    self.reset(near, far)
                    continue
                self.open.add(near)
            threading.Thread(target=self.carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, False), daemon=True).start()

    @staticmethod
    def reset(*sockets):
        for s in sockets:
            try:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def carry(self, source, to, counts):
        try:
            while data := source.recv(16384):
                to.sendall(data)
                if counts:
                    self.sent += len(data)
                    time.sleep(len(data) / 250000)  # limits the rate, so that unsent bytes stay in the browser
            if self.up:
                to.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        lost.append(source)  # keeps the connection open, so that the device does not notice the loss

    def cut(self):
        with self.lock:
            self.up = False
            self.reset(*self.open)
            self.open.clear()

    def restore(self):
        self.sent = 0
        self.up = True


def state():
    return json.load(urllib.request.urlopen(url + "/update", timeout=20))


def runs(version):
    """True if the device runs that version, confirmed. A device that restarts does not answer."""
    try:
        running = state()["running"]
    except OSError:
        return False
    return running["version"] == version and running["confirmed"]


try:
    # /serverIndex, the original's address, redirects to the page, which shows the running version.
    b.get(url + "/serverIndex")
    b.wait(lambda: b.text("#version") != "…")
    check(b.run("return location.pathname") == "/", "/serverIndex leads to the page")
    check(b.text("#version") == "1.0.0" and b.text("#slot") == "ota_0" and "ota_1" in b.text("#target"), "the page shows version and slots")
    check(b.text("#device") == "camera-17" and "camera-17" in b.run("return document.title"), "the device's name")
    check(b.text("#signature") == "required", "signatures are required")
    b.screenshot(file("page-1-idle.png"))

    # The page loads no resource from another origin, and its content security policy blocks such resources.
    check(b.run("return performance.getEntriesByType('resource').filter(r => !r.name.startsWith(location.origin)"
                " && !r.name.startsWith('data:')).length") == 0, "no outside resource")
    blocked = b.run_async("const done = arguments[0]; document.addEventListener('securitypolicyviolation', e =>"
                          " done(e.violatedDirective)); const i = document.createElement('img'); i.src = 'http://evil.test/x.png';"
                          " document.body.append(i); setTimeout(() => done('loaded'), 3000)")
    check("img-src" in blocked, "the policy blocks outside resources")

    # Every control has a name, and screen readers announce the outcome.
    unnamed = b.run("return [...document.querySelectorAll('input, button, progress')].filter(e => !(e.labels && e.labels.length)"
                    " && !e.textContent.trim()).length")
    check(unnamed == 0, "every control has a name")
    check(b.run("const o = document.getElementById('outcome'); return o.getAttribute('role') + o.getAttribute('aria-live')")
          == "statuspolite", "the outcome is announced to screen readers")

    # The page shows a refusal with the device's text.
    b.type("#file", file("bare.bin"))
    b.wait(lambda: "version 9.0.0" in b.text("#about"))
    b.run("document.getElementById('go').click()")
    b.wait(lambda: outcome().startswith("Refused"))
    check("not signed" in outcome(), "a refusal says why: " + outcome())
    b.screenshot(file("page-2-refused.png"))
    b.type("#file", file("broken.bin"))
    b.wait(lambda: "not an ESP-IDF" in b.text("#about"))
    b.run("document.getElementById('go').click()")
    b.wait(lambda: "not an ESP-IDF application image" in outcome())
    check(b.text("#version") == "1.0.0", "the old version still runs")
    b.wait(lambda: len(b.run("return [...document.querySelectorAll('#uploads li')]")) == 2)
    past = b.run("return [...document.querySelectorAll('#uploads li')].map(e => e.textContent)")
    check("Refused" in past[0] and "not an ESP-IDF" in past[0] and "not signed" in past[1] and "ago, from " in past[1], f"the page shows the uploads since the start, the latest first: {past}")
    # The user compiles the firmware again while the page is open: the browser can no longer read the file that was chosen.
    with open(file("again.bin"), "wb") as again:
        again.write(b"first")
    b.type("#file", file("again.bin"))
    b.wait(lambda: "not an ESP-IDF" in b.text("#about"))
    time.sleep(1.1)  # a file's time has a resolution of a second in some browsers
    shutil.copy(file("bare.bin"), file("again.bin"))
    b.run("document.getElementById('go').click()")
    b.wait(lambda: "the file has changed, choose it again" in outcome(), 10)
    b.type("#file", file("again.bin"))
    b.run("document.getElementById('go').click()")
    b.wait(lambda: "not signed" in outcome())
    check("not signed" in outcome(), "a file that was changed has to be chosen again")

    # With the keyboard only, from the top of the page: Tab to the file, Tab to the button, Enter.
    b.get(url + "/")
    b.wait(lambda: b.text("#version") == "1.0.0")
    b.press("TAB")
    check(b.run("return document.activeElement.id") == "file", "Tab reaches the file field first")
    b.type("#file", file("v2.bin"))  # has the effect of a choice in the file dialog
    b.run("document.getElementById('file').focus()")
    b.press("TAB")
    check(b.run("return document.activeElement.id") == "go", "Tab then reaches the button")
    b.press("ENTER")
    seen = []
    b.wait(lambda: (seen.append(b.run("return document.getElementById('bar').value")) or 0 < seen[-1] < 100))
    b.screenshot(file("page-3-progress.png"))
    check("KB/s" in b.text("#numbers") or "MB/s" in b.text("#numbers"), "progress and speed: " + b.text("#numbers"))
    b.wait(lambda: outcome().startswith("Done"), 90)
    check(outcome() == "Done: version 2.0.0 now runs from ota_1.", "the page waits for the restart and shows: " + outcome())
    check(b.run("return document.activeElement.id") == "go", "the button has the focus again")
    b.screenshot(file("page-4-done.png"))

    # The upload is stopped and started again. The device keeps the bytes that it has received.
    b.wait(lambda: "trial" not in b.text("#version"))
    b.type("#file", file("v3.bin"))
    b.run("document.getElementById('go').click()")
    b.wait(lambda: b.run("return document.getElementById('bar').value") > 20)
    b.press("TAB")  # the field and the button are disabled: Tab reaches Stop
    check(b.run("return document.activeElement.id") == "cancel", "Stop is reached by Tab")
    b.press("ENTER")
    b.wait(lambda: outcome().startswith("Stopped"))
    check(b.text("#version") == "2.0.0", "an upload that was stopped changes nothing")
    b.run("document.getElementById('go').click()")
    b.wait(lambda: outcome().startswith("Done"), 90)
    check("3.0.0" in outcome(), "an upload that was stopped can be started again: " + outcome())

    # The connection is lost during the upload and restored. The page continues the upload by itself, from the first
    # byte that the device does not have.
    link = Link(int(url.rsplit(":", 1)[1]))
    b.get(link.url + "/")
    b.wait(lambda: b.text("#version") == "3.0.0")
    b.run("window.said = []; new MutationObserver(() => said.push(document.getElementById('outcome').textContent))"
          ".observe(document.getElementById('outcome'), {childList: true, characterData: true, subtree: true})")
    b.type("#file", file("v4.bin"))
    b.run("document.getElementById('go').click()")
    b.wait(lambda: b.run("return document.getElementById('bar').value") > 30)
    link.cut()
    b.wait(lambda: "connection was lost" in outcome())
    check("trying to continue" in outcome(), "a lost connection is reported: " + outcome())
    b.screenshot(file("page-5-lost.png"))
    held, size = state()["received"], os.path.getsize(file("v4.bin"))
    check(0 < held < size, f"the device holds {held} of {size} bytes")
    check(state()["state"] == "receiving", "the device has not noticed the loss yet")
    link.restore()
    b.wait(lambda: outcome().startswith("Done"), 90)
    check("4.0.0" in outcome(), "the upload ends by itself: " + outcome())
    said = b.run("return said")
    check(any(s.startswith("Continuing at") for s in said), "the page reports that it continues: " + str([s for s in said if "ontinu" in s]))
    check(link.sent < size, f"bytes that the device held were not sent again: {link.sent} bytes including requests after the cut")

    # Without JavaScript the browser sends the form itself. A script's submit() does the same, without the page's handler.
    b.get(url + "/")
    b.type("#file", file("v2.bin"))
    b.run("document.getElementById('form').submit()")
    b.wait(lambda: "version=2.0.0" in b.run("return document.body ? document.body.innerText : ''"))
    check(True, "the form works without JavaScript")
    b.wait(lambda: runs("2.0.0"), 90)

    # A page of another site cannot update the device, neither with a form nor with fetch.
    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = (f"<form id=f method=post enctype=multipart/form-data action='{url}/update'>"
                    "<input type=file id=file name=update></form>").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    b.get(f"http://evil.test:{evil.server_port}/")
    b.run(f"fetch('{url}/update', {{method: 'POST', mode: 'no-cors', body: new Blob(['x'.repeat(5000)])}})")
    b.type("#file", file("v3.bin"))
    b.run("document.getElementById('f').submit()")
    b.wait(lambda: "another site" in b.run("return document.body ? document.body.innerText : ''"))
    check(True, "another site's form is refused")
    # With DNS rebinding, requests reach the device under another name.
    b.get(url.replace("127.0.0.1", "evil.test") + "/")
    check("not known by the name 'evil.test" in b.run("return document.body.innerText"), "requests under another name are refused")
    b.get(url + "/")
    b.wait(lambda: b.text("#version") == "2.0.0")
    check(True, "the device still runs 2.0.0")
finally:
    b.close()
