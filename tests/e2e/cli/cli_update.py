"""Runs `cmxsafe update` on a pseudo-terminal against a simulated update service.

usage: cli_update.py CMXSAFE FOLDER GATEWAY PORT"""
import http.server
import json
import os
import pty
import select
import signal
import sys
import termios
import threading
import time

CMXSAFE, FOLDER, GATEWAY, PORT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
SECRET = "a secret phrase"


def fail(what, output=""):
    print(output)
    sys.exit("FAILED: " + what)


class Device(http.server.BaseHTTPRequestHandler):
    """The update service. get, post: the answers (status, body) or (status, body, headers) to the next requests of each method; the last one is repeated.
    requests: the methods of the requests so far. hold: do not answer a POST."""

    get, post, requests, hold = [], [], [], False
    idle = (200, json.dumps({"state": "idle", "boot": "b1", "running": {"version": "1", "confirmed": True}}))

    @classmethod
    def reset(cls, get=None, post=None, hold=False):
        cls.get, cls.post, cls.hold = list(get or [cls.idle]), list(post or [(200, "accepted\n")]), hold
        cls.requests = []

    def reply(self, method, answers):
        Device.requests.append(method)
        status, body, *headers = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in headers[0].items() if headers else []:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self):
        self.reply("GET", Device.get)

    def do_POST(self):
        if Device.hold:
            Device.requests.append("POST")
            self.rfile.read(1)
            time.sleep(3600)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply("POST", Device.post)

    def log_message(self, *_):
        pass


class Run:
    """A command on its own pseudo-terminal. The child is a session leader, so that the pseudo-terminal is its controlling terminal."""

    def __init__(self, key, *extra, path=None):
        self.config = os.path.join(FOLDER, "config_" + key)
        argv = [CMXSAFE, "update", "--gateway", GATEWAY, "--ssh-config", self.config, "--port", str(PORT), "--opaque", *extra]
        argv.append(os.path.join(FOLDER, "image.bin"))
        self.output, self.status = "", None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(CMXSAFE, argv, {**os.environ, "PATH": path} if path else os.environ)

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 4096)
        except OSError:  # EIO: the last process closed the terminal
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def expect(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.output:
            if time.monotonic() > end or not self.read(0.2):
                fail(f"no '{text}'", self.output)

    def until(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            self.read(0.1)
            if time.monotonic() > end:
                fail(what, self.output)

    def send(self, text):
        os.write(self.fd, text.encode())

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self, seconds=90):
        self.until(self.ended, "the command does not end", seconds)
        while self.read(0.2) and select.select([self.fd], [], [], 0)[0]:
            pass
        return self.status

    def ssh(self):
        """Returns the arguments of the ssh process with this run's configuration file, as every user can read them. None: there is none."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"ssh") and self.config.encode() in words:
                return [word.decode() for word in words]
        return None

    def ssh_runs(self):
        return self.ssh() is not None

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)


def passphrase_is_taken_and_not_echoed():
    Device.reset()
    run = Run("locked_key", "--no-wait")
    run.expect("Enter passphrase")
    run.until(lambda: not run.echoes(), "the terminal echoes at the prompt")
    run.send(SECRET + "\n")
    if run.wait() != 0 or "accepted" not in run.output:
        fail("an update with a passphrase fails", run.output)
    if SECRET in run.output:
        fail("the passphrase is echoed", run.output)
    if run.ssh_runs():
        fail("ssh still runs")


def interrupt_at_the_prompt_ends_everything():
    Device.reset()
    run = Run("locked_key")
    run.expect("Enter passphrase")
    run.until(lambda: not run.echoes(), "the terminal echoes at the prompt")
    run.send("\x03")
    if run.wait() == 0 or Device.requests:
        fail("Ctrl-C at the prompt", run.output)
    run.until(lambda: not run.ssh_runs(), "ssh still runs")
    if not run.echoes():
        fail("the terminal is left without echo")


def interrupt_during_the_upload_ends_everything():
    Device.reset(hold=True)
    run = Run("client_key")
    run.until(lambda: "POST" in Device.requests, "no upload began")
    run.send("\x03")
    if run.wait() == 0 or "stopped" not in run.output:
        fail("Ctrl-C during the upload", run.output)
    run.until(lambda: not run.ssh_runs(), "ssh still runs")


def no_other_user_can_answer_in_place_of_ssh():
    Device.reset()
    run = Run("locked_key", "--no-wait")
    run.expect("Enter passphrase")
    words = run.ssh()
    listener = words[words.index("-L") + 1].split(":")
    if not listener[0].startswith("/"):  # a port: any user can bind it while ssh waits for the passphrase
        serve(int(listener[1]))
        run.wait()
        fail(f"another program answered in place of ssh: {Device.requests}", run.output)
    folder = os.path.dirname(listener[0])
    if os.stat(folder).st_mode & 0o77:
        fail("other users can reach ssh's socket")
    if Run("client_key", "--no-wait").wait() != 0 or not os.path.exists(folder):
        fail("a second command fails, or removes the socket's folder of the first command, which still runs")
    Device.reset()
    run.send(SECRET + "\n")
    if run.wait() != 0 or os.path.exists(folder):
        fail("the update fails, or leaves the socket's folder", run.output)


def ssh_stays_in_the_foreground():
    Device.reset()
    path = os.path.join(FOLDER, "config_client_key")
    with open(path, "a") as f:
        f.write("ForkAfterAuthentication yes\n")
    run = Run("client_key", "--no-wait")
    if run.wait() != 0 or "accepted" not in run.output:
        fail("ssh_config has ForkAfterAuthentication", run.output)
    run.until(lambda: not run.ssh_runs(), "ssh still runs")


def missing_ssh_is_named():
    Device.reset()
    run = Run("client_key", path=FOLDER)
    if run.wait() == 0 or "ssh can't be started: No such file" not in run.output:
        fail("no message about the missing ssh", run.output)


def ssh_ends_with_a_killed_command():
    Device.reset(hold=True)
    run = Run("client_key")
    run.until(lambda: "POST" in Device.requests and run.ssh_runs(), "no upload began")
    words = run.ssh()
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.until(lambda: not run.ssh_runs(), "ssh still runs")
    folder = os.path.dirname(words[words.index("-L") + 1].split(":")[0])
    if not os.path.exists(folder):
        fail("a killed command leaves no folder")
    Device.reset()
    if Run("client_key", "--no-wait").wait() != 0 or os.path.exists(folder):
        fail("the next command does not remove the folder of a killed one")


def refusals_come_in_the_devices_words():
    refusal = lambda status, words: (status, "error: " + words + "\n")
    busy = "an update is under way"
    cases = [
        ([refusal(403, "not known by that name")], None, "the device refused: not known by that name", ["GET"]),
        ([(404, "nothing here\n")], None, "is not an update service", ["GET"]),
        ([(302, "<html>", {"Location": "http://192.0.2.1/login"})], None, "is not an update service: it redirects to "
         "http://192.0.2.1/login with HTTP status 302, and redirects are not followed; give the URL", ["GET"]),
        ([(402, "")], None, "the device refused: no reason given (HTTP status 402)", ["GET"]),
        ([(200, "<html>")], None, "is not an update service", ["GET"]),
        (None, [refusal(403, "from another site")], "the device refused: from another site", ["GET", "POST"]),
        (None, [refusal(422, "not signed (ESIG)")], "the device refused: not signed (ESIG)", ["GET", "POST"]),
        (None, [refusal(413, "larger than the slot")], "the device refused: larger than the slot", ["GET", "POST"]),
        (None, [refusal(409, "about to restart")], "the device refused: about to restart", ["GET", "POST", "GET"]),
        # After a temporary refusal the upload is tried again.
        ([Device.idle, (200, Device.idle[1].replace("idle", "receiving")), Device.idle], [refusal(409, busy), (200, "accepted\n")],
         "accepted", ["GET", "POST", "GET", "POST"]),
        (None, [refusal(503, "no memory"), (200, "accepted\n")], "accepted", ["GET", "POST", "GET", "POST"]),
    ]
    for get, post, text, requests in cases:
        Device.reset(get, post)
        run = Run("client_key", "--no-wait")
        status = run.wait()
        if text not in run.output or (status == 0) != (text == "accepted"):
            fail(f"no '{text}'", run.output)
        if Device.requests != requests:
            fail(f"requests {Device.requests}, not {requests}: {text}", run.output)
        if "lost" in run.output:
            fail("a refusal is reported as a lost connection", run.output)


def another_version_than_expected_is_an_outcome_of_its_own():
    restarted = (200, Device.idle[1].replace('"b1"', '"b2"').replace('"1"', '"2"'))
    for version, outcome in (("2", "updated"), ("3", "other-version")):
        Device.reset([Device.idle, restarted])
        run = Run("client_key", "--expect", version, "--json")
        status = run.wait()
        if f'"outcome":"{outcome}"' not in run.output.replace(" ", "") or (status == 0) != (outcome == "updated"):
            fail(f"the outcome is not {outcome}", run.output)
    Device.reset([restarted])
    run = Run("client_key", "--expect", "3", "--json", "--look")
    if run.wait() == 0 or "not-sent" not in run.output:
        fail("--look succeeds although the device runs another version", run.output)


def look_succeeds_only_for_a_confirmed_image():
    for confirmed in (True, False):
        Device.reset([(200, Device.idle[1].replace("true", json.dumps(confirmed)))])
        run = Run("client_key", "--expect", "1", "--json", "--look")
        status = run.wait()
        outcome, words = ("updated", "confirmed") if confirmed else ("not-sent", "the device has not confirmed its firmware yet")
        if (status == 0) != confirmed or f'"outcome":"{outcome}"' not in run.output or words not in run.output:
            fail(f"--look at an image, confirmed: {confirmed}", run.output)
        if Device.requests != ["GET"]:
            fail(f"--look sent {Device.requests}")


def look_succeeds_after_another_image_was_rolled_back():
    state = json.loads(Device.idle[1]) | {"rolled_back": {"version": "2", "why": "no session"}}
    for version, outcome in (("1", "updated"), ("2", "not-sent")):
        Device.reset([(200, json.dumps(state))])
        run = Run("client_key", "--expect", version, "--json", "--look")
        if (run.wait() == 0) != (version == "1") or f'"outcome":"{outcome}"' not in run.output:
            fail(f"--look: wrong outcome for version {version} after a rollback", run.output)


def serve(port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Device)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    serve(PORT)
    for test in (passphrase_is_taken_and_not_echoed, no_other_user_can_answer_in_place_of_ssh, interrupt_at_the_prompt_ends_everything, interrupt_during_the_upload_ends_everything,
                 ssh_stays_in_the_foreground, missing_ssh_is_named, ssh_ends_with_a_killed_command, refusals_come_in_the_devices_words,
                 another_version_than_expected_is_an_outcome_of_its_own, look_succeeds_only_for_a_confirmed_image,
                 look_succeeds_after_another_image_was_rolled_back):
        test()
        print("ok:", test.__name__.replace("_", " "), flush=True)


main()
