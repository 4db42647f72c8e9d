"""cmxsafe-tools update: updates one device and waits until it has confirmed the image. Compare cli/cmd_update.c and
update_http.c."""
import json
import sys
import time
import zlib
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from . import attest
from .device_http import NoAnswer, Upload, exchange, url_option
from .errors import OK, Failure, UsageError
from .identity import read_hwkey
from .image import check_file, not_esp_todo
from .manifest import chunk_end
from .text import U32, number_option, printable
from .tunnel import Tunnel

TRIES, RETRY_S, POLL_S = 20, 1, 0.5
ANSWER_S, UPLOAD_SILENCE_S = 20, 120  # after an upload the device reads the whole slot before it answers
PASSING = 408, 416, 429, 502, 503, 504
KEEPS = "the device keeps its current firmware"


class Again(Exception):
    """There was no answer, or a temporary failure."""


class Busy(Exception):
    """The device is receiving another upload."""


def member(value, name, kind):
    """Returns the member of a JSON object. If it is missing or of another type, returns the type's empty value. The device is
    not trusted: a text is made printable, and a number must fit in 32 bits."""
    found = value.get(name) if isinstance(value, dict) else None
    if type(found) is not kind or (kind is int and not 0 <= found <= U32):
        return kind()
    return printable(found.encode("ascii", "replace")) if kind is str else found


@dataclass
class Status:
    """The state of the service, as GET /update reports it."""
    state: str
    boot: str
    version: str = ""
    slot: str = ""
    slot_offset: int = 0
    confirmed: bool = False
    received: int = 0
    total: int = 0
    crc32: str = ""
    error: str = ""
    rolled_back: str = ""

    @classmethod
    def parse(cls, body):
        """Parses the answer to GET /update. Raises ValueError if it is not the status of an update service."""
        try:
            s = json.loads(body)
        except RecursionError as error:
            raise ValueError(body) from error
        running, back = member(s, "running", dict), member(s, "rolled_back", dict)
        status = cls(member(s, "state", str), member(s, "boot", str), member(running, "version", str), member(running, "slot", str),
                     member(running, "offset", int), member(running, "confirmed", bool), member(s, "received", int),
                     member(s, "total", int), member(s, "crc32", str), member(s, "error", str), member(back, "why", str))
        if not status.state or not status.boot:
            raise ValueError(body)
        return status


class Update:
    def __init__(self, args):
        self.args = args
        self.data, self.image = check_file(args.image, args.opaque, not_esp_todo(args.opaque))
        self.tunnel, self.url, self.attest_url = None, args.url or "http://127.0.0.1:8989", args.attest_url
        self.before = self.now = None
        if args.gateway:
            remotes = [args.port or 8989] + ([8888] if args.attest_key and not args.attest_url else [])
            self.tunnel = Tunnel(args.gateway, args.device or "localhost", remotes, args.ssh_config)
            self.url = self.tunnel.urls[0]
            self.attest_url = self.attest_url or self.tunnel.urls[-1]
        elif not self.attest_url:
            host = urlsplit(self.url).hostname or "127.0.0.1"
            self.attest_url = f"http://[{host}]:8888" if ":" in host else f"http://{host}:8888"

    def say(self, text):
        if not self.args.quiet:
            print(text, flush=True)

    # ---- the exchange ----

    def open_tunnel(self):
        """Opens the tunnel, if one is used and it is not open. Raises NoAnswer."""
        try:
            if self.tunnel:
                self.tunnel.open()
        except Failure as error:
            raise NoAnswer(error.why) from error

    def request(self, target, post=False, upload=None):
        """Returns the device's answer. Raises Again, Busy or Failure."""
        limits = {"silence_s": UPLOAD_SILENCE_S} if upload else {"silence_s": ANSWER_S, "total_s": ANSWER_S}
        try:
            self.open_tunnel()
            answer = exchange(self.url, target, post=post, upload=upload, **limits)
        except NoAnswer as error:
            raise Again(str(error)) from error
        if answer.location or answer.status in (404, 405):
            raise Failure(self.args.gateway or self.url, "the service that answers there is not an update service: " +
                          answer.words(), "check the port")
        if answer.status == 409:
            raise Busy(answer.words())
        if answer.status in PASSING:
            raise Again(answer.words())
        if answer.status != 200:
            raise Failure("the device refused", answer.words())
        return answer

    def status(self):
        try:
            return Status.parse(self.request("/update").body)
        except ValueError:
            raise Failure(self.args.gateway or self.url, "the service that answers there is not an update service",
                          "check the port") from None

    def connect(self):
        if self.tunnel:
            self.tunnel.open()
        try:
            self.before = self.status()
        except Busy as error:
            raise Failure("the device refused", error) from error
        except Again as error:
            raise Failure(self.args.gateway or self.url, error,
                          "check that the device is connected ('cmxsafe gateway status') and that the port is right") from error

    # ---- the upload ----

    def held(self, s):
        """Returns how many bytes of this file the device has already received."""
        size = len(self.data)
        if s.state != "interrupted" or s.received >= size or s.total not in (0, size):
            return 0
        return s.received if f"{zlib.crc32(self.data[:s.received]):08x}" == s.crc32 else 0

    def send(self, s):
        upload = Upload(self.data, self.held(s), self.args.limit_rate)
        if not self.args.quiet and sys.stderr.isatty():
            upload.progress = lambda sent: print(f"\r{sent * 100 // len(self.data):3} %  {sent // 1024} of "
                                                 f"{len(self.data) // 1024} KB ", end="", file=sys.stderr, flush=True)
        if upload.first:
            self.say(f"continuing at byte {upload.first}")
        try:
            return self.request("/update", post=True, upload=upload).words()
        finally:
            if upload.progress:
                print(file=sys.stderr)

    def installed_meanwhile(self, s):
        """After a failed attempt: true if the device has the whole image, or has restarted.
        Requests the restart if the device waits for one."""
        if s.boot != self.before.boot or s.state == "restarting":
            return True
        if s.state == "ready":
            self.request("/restart", post=True)
            return True
        return False

    def upload(self):
        s, why = self.before, ""
        for _ in range(TRIES):
            try:
                print(self.send(s), flush=True)
                return
            except (Again, Busy) as error:
                why, busy = error, isinstance(error, Busy)
            if not busy and not self.args.quiet:
                print(f"cmxsafe: {why}; trying again", file=sys.stderr)
            time.sleep(RETRY_S)
            try:
                s = self.status()
                if busy and s.state not in ("receiving", "interrupted"):
                    raise Failure("the device refused", why)
                if not busy and self.installed_meanwhile(s):
                    return
            except (Again, Busy):
                continue
        raise Failure("update failed repeatedly", why, "try again within an hour; the device keeps what it received")

    # ---- afterwards ----

    def judge(self):
        now = self.now
        if now.rolled_back and now.version == self.before.version:
            raise Failure("update", f"the device rolled back to version {now.version}: {now.rolled_back}")
        wanted = self.image.description.version if self.image.description else now.version
        if now.version != wanted:
            raise Failure("update", f"the device is running version {now.version}, not {wanted}")
        print(f"version {now.version} is running from {now.slot}, confirmed")

    def wait(self):
        self.say("waiting until the device has restarted and confirmed the image")
        end, why, back = time.monotonic() + self.args.wait, "", False
        while time.monotonic() < end:
            time.sleep(POLL_S)
            try:
                self.now = self.status()
            except (Again, Busy, Failure) as error:
                why = error
                continue
            back = self.now.boot != self.before.boot
            if not back and self.now.state == "ready" and self.now.error:
                raise Failure("the device has not restarted", self.now.error, "restart it, or send the update again")
            if not back and self.now.state == "idle":  # a device that is going to restart is in state ready or restarting
                print("installed; the device needs no restart")
                return
            if back and self.now.confirmed:
                return self.judge()
        if back:
            raise Failure("update", "the device did not confirm the new image in time",
                          "it rolls back by itself if the new image does not reach the gateway")
        raise Failure("the device did not come back in time", why or "it has not restarted",
                      "it rolls back by itself if the new image does not start")

    def attest(self):
        begin = self.now.slot_offset
        if not begin:
            raise Failure("attestation", "the device does not report its slot's offset")
        return attest.run_hash(Namespace(
            url=self.attest_url, key=self.args.attest_key, image=self.args.image, at=begin, challenge=None, locate=False,
            ranges=f"0x{begin:x}-0x{chunk_end(begin + len(self.data)):x}", compute=False, json=False, timeout=30))

    def run(self):
        d = self.image.description
        if d:
            self.say(f"{self.args.image}: {d.project} {d.version} for {d.chip}, "
                     f"{'signed' if self.image.trailer else 'not signed'}")
        try:
            self.connect()
            self.upload()
            if self.args.no_wait:
                return OK
            self.wait()
            return self.attest() if self.args.attest_key else OK
        except KeyboardInterrupt:
            raise Failure("update", "stopped", KEEPS if not self.now else
                          "the device has the new image; check its version later") from None
        finally:
            if self.tunnel:
                self.tunnel.close()


def run(args):
    if args.gateway and args.url:
        raise UsageError("give --gateway or --url, not both")
    if (args.device or args.port or args.ssh_config) and not args.gateway:
        raise UsageError("--device, --port and --ssh-config need --gateway")
    if args.attest_key and args.no_wait:
        raise UsageError("--attest-key can't be used with --no-wait, which does not wait for the new image")
    if args.attest_url and not args.attest_key:
        raise UsageError("--attest-url needs --attest-key")
    if args.attest_key:
        read_hwkey(args.attest_key)  # refuses a wrong file before the image is sent
    return Update(args).run()


def add_commands(commands):
    p = commands.add_parser("update", help="update one device", description=
                            "Updates one device and waits until it is running IMAGE and has confirmed it. The exit status is 0 only "
                            "then. Ctrl-C stops the upload; the device keeps its current firmware.")
    p.set_defaults(run=run, command="update")
    p.add_argument("image", type=Path, metavar="IMAGE")
    p.add_argument("--gateway", metavar="[USER@]HOST[:PORT]", help="reach the device through this host, with your own ssh")
    p.add_argument("--device", metavar="NAME", help="the device's name or address, which the gateway resolves, such as "
                                                    "cam-17.cmx; without it, localhost")
    p.add_argument("--ssh-config", type=Path, metavar="FILE", help="ssh reads FILE instead of your configuration (ssh -F)")
    p.add_argument("--port", type=number_option(1, 65535), metavar="N",
                   help="the update service's port, to which the gateway connects; without it, 8989")
    p.add_argument("--url", type=url_option, help="reach the service directly; without --gateway and --url, http://127.0.0.1:8989")
    p.add_argument("--wait", type=number_option(1, 86400), not_with="--no-wait", default=400, metavar="SECONDS",
                   help="how long to wait for restart and confirmation (default: %(default)s)")
    p.add_argument("--no-wait", action="store_true", help="only upload")
    p.add_argument("--opaque", action="store_true", help="IMAGE is not an ESP-IDF image, but for example a Linux device's bundle")
    p.add_argument("--attest-key", type=Path, metavar="FILE",
                   help="afterwards, attest the new slot; FILE is the device's hardware key")
    p.add_argument("--attest-url", type=url_option, metavar="URL", help="the attestation service; without it, port 8888 of the same device")
    p.add_argument("--limit-rate", type=number_option(1, 1000000), default=0, metavar="KB",
                   help="send at most this many KB a second")
    p.add_argument("--quiet", action="store_true", help="print no progress")
