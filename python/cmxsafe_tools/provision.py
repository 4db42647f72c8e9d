"""cmxsafe-tools provision: turns a blank chip into a device of the fleet, at a workbench.

Each device has a folder with its key, and a journal of the steps that are done. After an interruption, run the same
command again: it skips the steps that are done. A key is written to the folder before it is burned, and is burned at most
once."""
import argparse
import base64
import copy
import csv
import hashlib
import io
import itertools
import json
import re
import secrets
import subprocess
import time
from pathlib import Path

import segno

from . import attest, manifest
from .chip import CHIPS, Chip, nvs_image
from .device_http import url_option
from .errors import FAILED, OK, Failure, UsageError, report
from .evidence import Verifier
from .identity import AttestKey, read_hwkey, ssh_blob, ssh_line, ueid
from .text import locked, number, number_option, read_file, read_text, replace_file, sync_folder
from .tunnel import Tunnel

# each NVS key (src/cmxsafe/esp/nvs_config.h), and the name under which `cmxsafe gateway enroll --form kconfig` prints its value
NVS_KEYS = {"gateway": "CONFIG_CMX_GATEWAY_HOST", "port": "CONFIG_CMX_GATEWAY_PORT", "user": "CONFIG_CMX_USER",
            "host_key": "CONFIG_CMX_HOST_KEYS", "address": "CONFIG_CMX_REMOTE_ADDRESS"}
FLEET_COLUMNS = "name", "key", "ports", "direct", "group"  # columns of `cmxsafe gateway import`
BATCH_COLUMNS = "name", "ports", "direct", "group", "key", "port"
LISTS = "ports", "direct", "group"  # options that go to `cmxsafe gateway enroll`
EVIDENCE_RETRY_S = 3


def read_journal(path):
    try:
        state = json.loads(read_text(path))
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise Failure(path, "is damaged", "before you remove it, find out which steps were completed")
    return state


class Journal:
    """The journal of one device, in its folder: the steps that are done."""

    def __init__(self, folder):
        self.path = folder / "journal.json"
        self.state = {}
        if self.path.exists():
            self.state = read_journal(self.path)

    def __getitem__(self, step):
        return self.state.get(step)

    def set(self, **values):
        self.state |= values
        replace_file(self.path, json.dumps(self.state, indent=1).encode() + b"\n")


class Device:
    def __init__(self, args):
        self.args, self.name = args, args.name
        self.folder = args.dir / self.name
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(args.dir)
        self.lock = args.dir / "fleet.lock"
        self.journal = Journal(self.folder)
        virt = Path(str(args.virt).replace("{name}", self.name)) if args.virt else None
        self.chip = Chip(args.chip, args.port, virt)
        self.key_path = self.folder / "private_key.bin"
        self.key = None

    def say(self, text):
        print(f"{self.name}: {text}", flush=True)

    # ---- the key ----

    def take_key(self):
        """Makes a random key, or copies the one that --key names."""
        if not self.key_path.exists():
            key = read_hwkey(self.args.key) if self.args.key else secrets.token_bytes(32)
            replace_file(self.key_path, key, secret=True)
        self.key = read_hwkey(self.key_path)
        if self.args.key and read_hwkey(self.args.key) != self.key:
            raise Failure(self.args.key, f"{self.name} has another key already", f"see {self.folder}")
        for other in self.args.dir.glob("*/journal.json"):
            if other != self.journal.path and read_journal(other).get("ueid") == ueid(self.key).hex():
                raise Failure(self.key_path, f"{other.parent.name} has the same key", "each device needs a key of its own")
        self.journal.set(name=self.name, chip=self.args.chip, ueid=ueid(self.key).hex())
        replace_file(self.folder / "key.pub", ssh_line(self.key).encode() + b"\n")
        identity = f"{ssh_line(self.key)}\n{AttestKey.from_hwkey(self.key).line()}\nueid {ueid(self.key).hex()}\n"
        replace_file(self.folder / "identity.txt", identity.encode())

    def burn(self):
        """Burns the key after a confirmation, or finds that an interrupted command has burned it."""
        fuses = self.chip.fuses()
        begun = self.journal["burn"] is not None
        if begun and self.journal["mac"] != fuses.mac:
            raise Failure(self.chip.where, f"this is chip {fuses.mac}, but {self.name}'s key belongs to chip "
                          f"{self.journal['mac']}", "connect that chip, or give this one another name")
        if fuses.key_burned and begun:
            self.journal.set(burn="done")
            return
        if fuses.key_burned:
            raise Failure(self.chip.where, "the chip has a key that is not in this folder", "nothing was burned; use a chip "
                          "without a key, or put its private_key.bin into the folder of its device")
        if not fuses.unused:
            raise Failure(self.chip.where, f"BLOCK_KEY3 is in use (purpose {fuses.purpose})" if not begun else
                          "burning stopped half-way", "nothing more is burned; use another chip under another name")
        self.confirm(fuses.mac)
        self.journal.set(burn="begun", mac=fuses.mac)
        self.chip.burn_key(self.key_path)
        if not self.chip.fuses().key_burned:
            raise Failure(self.chip.where, "the key is not protected after burning", "do not use this chip")
        self.journal.set(burn="done")
        self.say("key burned and read-protected")

    def confirm(self, mac):
        print(f"{self.name}: the key is about to be burned into BLOCK_KEY3 of chip {mac} at {self.chip.where}. This cannot "
              "be undone.\nType BURN to continue: ", end="", flush=True)
        answer = read_answer()
        print()
        if answer != "BURN":
            raise Failure(self.name, "not confirmed", "nothing was burned")

    # ---- the gateway ----

    def enroll_command(self):
        command = f"{self.args.gateway_command} gateway enroll {self.name} --key /dev/stdin --form kconfig"
        for option in LISTS:
            value = getattr(self.args, option)
            command += f" --{option} '{value}'" if value else ""
        return command

    def read_settings(self):
        """Returns the text of --settings. Refuses a file that has another device's address."""
        path = self.args.settings
        text = read_text(path, f"print it at the gateway: {self.enroll_command()} <{self.folder / 'key.pub'}")
        address = settings_of(text).get("address", "fleet:")
        if not address.startswith("fleet:") and not re.search(rf"^# sdkconfig for {self.name}$", text, re.M):
            raise Failure(path, f"has no line '# sdkconfig for {self.name}', so its address may be another device's",
                          "use the output of: cmxsafe gateway enroll NAME ... --form kconfig; or write the address as fleet:PREFIX/48")
        return text

    def enroll(self, text):
        """Enrols the device, unless text has its settings. Stores the settings that it needs in the journal."""
        if self.args.enroll:
            command = ["ssh", "-T"] + (["-F", str(self.args.ssh_config)] if self.args.ssh_config else [])
            # sshd may give the command a socket as standard input, which cannot be opened as /dev/stdin. cat replaces it with a pipe.
            run = subprocess.run(command + ["--", self.args.enroll, "cat | " + self.enroll_command()], input=ssh_line(self.key) + "\n",
                                 stdout=subprocess.PIPE, text=True, errors="replace", check=False)
            if run.returncode:
                raise Failure(self.args.enroll, f"'cmxsafe gateway enroll' ended with {run.returncode}",
                              "see its message above; run the same command again")
            text = run.stdout
        else:
            self.say(f"enrol it at the gateway with fleet.csv, or: {self.enroll_command()} <key.pub")
        settings = settings_of(text)
        for key, value in (("contexts", self.args.contexts), ("update_key", self.args.update_key)):
            if value:
                settings[key] = value
        self.journal.set(settings=settings, lists={option: getattr(self.args, option) for option in LISTS})

    # ---- flash, label, fleet ----

    def flash(self):
        offset, size = self.args.nvs
        image = self.folder / "nvs.bin"
        replace_file(image, nvs_image(self.journal["settings"], size))
        fuses = self.chip.fuses()
        if fuses.mac != self.journal["mac"] or not fuses.key_burned:
            raise Failure(self.chip.where, f"this chip does not have {self.name}'s key", f"connect chip {self.journal['mac']}")
        self.journal.set(flash=None, evidence=None)  # what was flashed and verified before no longer counts
        if self.chip.virt:
            self.say(f"virtual: {image} and the firmware were not flashed")
        else:
            self.chip.write_flash([(offset, image)] + self.args.firmware)
        self.journal.set(flash="done")

    def describe(self):
        """Writes the label, and the line for `cmxsafe gateway import`."""
        fingerprint = ssh_fingerprint(self.key)
        replace_file(self.folder / "label.svg", label(self.name, fingerprint).encode())
        path = self.args.dir / "fleet.csv"
        rows = read_csv(path, FLEET_COLUMNS) if path.exists() else []
        rows = [row for row in rows if row["name"] != self.name]
        lists = self.journal["lists"] or {option: getattr(self.args, option) for option in LISTS}
        rows.append({"name": self.name, "key": ssh_line(self.key)} | lists)
        out = io.StringIO()
        writer = csv.DictWriter(out, FLEET_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace_file(path, out.getvalue().encode())
        self.say(f"key {fingerprint}")

    # ---- the first login ----

    def verify(self):
        """Waits for the device's evidence, for --wait seconds at most. Raises Failure unless the evidence is trusted."""
        m = manifest.load(self.args.manifest)
        reference = manifest.open_reference(m, self.args.manifest.parent)
        tunnel = None if self.args.evidence_url else Tunnel(self.args.enroll, f"{self.name}.cmx", [8888], self.args.ssh_config)
        url = tunnel.urls[0] if tunnel else self.args.evidence_url.replace("{name}", self.name)
        end = time.monotonic() + self.args.wait
        self.say("waiting for its evidence")
        try:
            while True:
                try:
                    if tunnel:
                        tunnel.open()
                    return self.appraise(url, m, reference)
                except Failure as failure:
                    if failure.what == "evidence" or time.monotonic() > end:
                        raise
                time.sleep(EVIDENCE_RETRY_S)
        finally:
            if tunnel:
                tunnel.close()

    def appraise(self, url, m, reference):
        verifier = Verifier(AttestKey.from_hwkey(self.key))
        expected = attest.Expectation(secrets.token_bytes(32), m, reference)
        question = copy.copy(self.args)
        question.url, question.timeout = url, 30
        claims, verdict = attest.verify_token(attest.fetch_token(question, expected, verifier), expected, verifier)
        if not verdict.ok:
            attest.print_verdict(claims, verdict, m)
            raise Failure("evidence", "NOT TRUSTED", "do not deliver this device")
        self.journal.set(evidence="trusted")
        self.say("evidence TRUSTED")

    def run(self):
        with locked(self.folder / "device.lock", 0):  # two commands at once would burn one key into two chips
            self.journal = Journal(self.folder)
            self.provision()

    def provision(self):
        with locked(self.lock):
            self.take_key()
        flash = self.args.again or not self.journal["flash"]
        text = self.read_settings() if flash and self.args.settings else None  # before the key is burned, which is final
        if self.journal["burn"] != "done":
            self.burn()
        if flash:
            self.enroll(text)
            self.flash()
        else:
            self.say("was enrolled and flashed before; give --again to do both again")
        with locked(self.lock):
            self.describe()
        if self.args.manifest and self.journal["evidence"] is None:
            self.verify()
        self.say(f"done, see {self.folder}")


def settings_of(text):
    """Returns the NVS settings in the lines of `cmxsafe gateway enroll --form kconfig`."""
    found = dict(re.findall(r'^(CONFIG_\w+)="?([^"\n]*)"?$', text, re.M))
    settings = {key: found[option] for key, option in NVS_KEYS.items() if found.get(option)}
    missing = [NVS_KEYS[key] for key in ("gateway", "user", "host_key") if key not in settings]
    if missing:
        raise Failure("the gateway's settings", f"{missing[0]} is missing",
                      "use the output of: cmxsafe gateway enroll NAME ... --form kconfig")
    return settings


def ssh_fingerprint(key):
    return "SHA256:" + base64.b64encode(hashlib.sha256(ssh_blob(key)).digest()).decode().rstrip("=")


def label(name, fingerprint):
    """Returns an SVG, 50 x 25 mm: the name, the fingerprint, and both as a QR code."""
    code = segno.make(f"cmxsafe:{name} {fingerprint}", error="m", micro=False)
    drawing = code.svg_inline(omitsize=True).replace("<svg", '<svg x="1" y="1" width="23" height="23"', 1)
    lines = [fingerprint[i:i + 17] for i in range(0, len(fingerprint), 17)]
    texts = "".join(f'<text x="25" y="{12 + 3 * i}" font-size="2.2">{line}</text>' for i, line in enumerate(lines))
    return ('<svg xmlns="http://www.w3.org/2000/svg" width="50mm" height="25mm" viewBox="0 0 50 25" font-family="monospace">'
            f'{drawing}<text x="25" y="6" font-size="3.4">{name}</text>{texts}</svg>\n')


# ---- the command ----

def check_options(args):
    if bool(args.enroll) == bool(args.settings):
        raise UsageError("give --enroll or --settings")
    if bool(args.name) == bool(args.batch):
        raise UsageError("give NAME or --batch")
    if args.manifest and not (args.enroll or args.evidence_url):
        raise UsageError("--manifest needs --enroll or --evidence-url")
    if args.evidence_url and not args.manifest:
        raise UsageError("--evidence-url needs reference values: --manifest FILE")
    for _, path in args.firmware:
        read_file(path)
    if args.manifest:
        manifest.open_reference(manifest.load(args.manifest), args.manifest.parent)


def read_answer():
    """Returns the line that the operator types; "" if the input has ended."""
    try:
        return input().strip()
    except EOFError:
        return ""


def check_device(args):
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", args.name):
        raise UsageError(f"'{args.name}': a name has lower-case letters, digits and hyphens")
    for option in LISTS:
        value = getattr(args, option)
        if value and not re.fullmatch(r"[\w.,:\[\]-]+", value, re.ASCII):
            raise UsageError(f"--{option} '{value}': not a list")
    if bool(args.port) == bool(args.virt):
        raise UsageError("give --port or --virt")
    if args.port and not args.firmware:
        raise UsageError("--port needs --firmware")


def read_csv(path, columns):
    """Returns the lines of a file as dictionaries. The first line names the columns. Like `cmxsafe gateway import`, accepts what
    spreadsheets write: commas or semicolons, any line end, blanks around fields, empty lines and columns."""
    text = re.sub(r"\r\n?", "\n", read_text(path))
    head = text.lstrip().split("\n", 1)[0]
    separator = ";" if ";" in head and "," not in head else ","
    try:
        lines = [[field.strip() for field in line] for line in
                 csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)]
    except csv.Error as error:
        raise Failure(path, f"is not CSV: {error}") from error
    lines = [line for line in lines if any(line)]
    names = [name.lower() for name in lines[0]] if lines else []
    rows = [{name: field for name, field in itertools.zip_longest(names, line, fillvalue="") if name or field} for line in lines[1:]]
    for row in rows:
        if not row.get("name") or not set(row) <= set(columns):  # a field without a column has the key ""
            raise Failure(path, "a device has no name, or a field has no known column",
                          f"the first line names the columns: name, and optionally {','.join(columns[1:])}")
    return rows


def batch_devices(args):
    """Returns a copy of the options for each line of the file."""
    devices = []
    for row in read_csv(args.batch, BATCH_COLUMNS):
        if any(row["name"] == other.name for other in devices):
            raise Failure(args.batch, f"{row['name']} is given twice", "give each device a name of its own")
        one = copy.copy(args)
        for column, value in row.items():
            if column in LISTS:
                value = "".join(value.split())
            if value:
                setattr(one, column, args.batch.parent / value if column == "key" else value)
        try:
            check_device(one)
        except UsageError as error:
            raise Failure(args.batch, f"{one.name}: {error}") from error
        devices.append(one)
    if not devices:
        raise Failure(args.batch, "has no device", f"the first line names the columns: {','.join(BATCH_COLUMNS)}")
    return devices


def run(args):
    check_options(args)
    if args.name:
        check_device(args)
        Device(args).run()
        return OK
    for one in batch_devices(args):
        device = Device(one)
        if one.port and (args.again or not device.journal["flash"]):
            device.say(f"connect it to {one.port} and press Enter")
            read_answer()
        try:
            device.run()
        except Failure as failure:
            report(failure)
            report(f"{one.name}: not finished; correct the cause and run the same command again, which continues here")
            return FAILED
    return OK


def firmware(text):
    offset, _, path = text.partition("=")
    try:
        if not path:
            raise ValueError(text)
        return number(offset), Path(path)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not OFFSET=FILE") from None


def contexts(text):
    """Returns the contexts in the form that the device reads (src/cmxsafe/device/context_list.h)."""
    words = text.replace(",", " ").split()
    for word in words:
        found = re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?(\+high_bw)?", word)
        if not found or not all(1 <= int(port) <= 65535 for port in found.groups()[:2] if port):
            raise argparse.ArgumentTypeError(f"'{word}': not LOCAL[:REMOTE][+high_bw]")
    return within(" ".join(words), 159)


def update_key(text):
    """Parses one or two P-256 points, as 'cmxsafe image key' prints them."""
    keys = text.replace(",", " ").split()
    if not 1 <= len(keys) <= 2 or not all(re.fullmatch(r"04[0-9a-fA-F]{128}", key) for key in keys):
        raise argparse.ArgumentTypeError("not one or two keys of 'cmxsafe image key' (04 and 128 hex digits)")
    return " ".join(keys)


def within(text, longest):
    if len(text) > longest:
        raise argparse.ArgumentTypeError(f"longer than the device's {longest} characters")
    return text


def nvs_place(text):
    offset, _, size = text.partition("+")
    try:
        return number(offset), number(size, 0x3000)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not OFFSET+SIZE, with a size of 0x3000 or more") from None


def add_commands(commands):
    p = commands.add_parser("provision", help="turn a blank chip into a device of the fleet", description=
                            "Makes a key, burns it into the chip after a confirmation, enrols the device at the gateway, flashes "
                            "its settings and firmware, writes a label and the line for 'cmxsafe gateway import', and verifies "
                            "the device's evidence. Run the same command again after an interruption: it continues.")
    p.set_defaults(run=run, command="provision")
    p.add_argument("name", nargs="?", metavar="NAME", help="the device's name at the gateway")
    p.add_argument("--batch", type=Path, metavar="CSV",
                   help="instead of NAME: a file with one line for each device; columns: name, and optionally ports,direct,group,key,port")
    p.add_argument("--chip", required=True, choices=CHIPS, metavar="CHIP", help=", ".join(CHIPS))
    p.add_argument("--port", metavar="SERIAL", help="the chip's serial port, such as COM3 or /dev/ttyACM0")
    p.add_argument("--virt", metavar="FILE", help="no chip: espefuse's virtual mode with the eFuse in FILE; {name} stands for NAME")
    p.add_argument("--dir", type=Path, default=Path("devices"), metavar="DIR",
                   help="where fleet.csv and a folder for each device are; holds secret keys (default: %(default)s)")
    p.add_argument("--key", type=Path, metavar="FILE", help="the 32-byte hardware key; without it, a random key")
    p.add_argument("--enroll", metavar="[USER@]GATEWAY", help="enrol by ssh at this gateway")
    p.add_argument("--settings", type=Path, metavar="FILE",
                   help="instead of --enroll: the output of 'cmxsafe gateway enroll NAME ... --form kconfig'")
    p.add_argument("--again", action="store_true",
                   help="enrol and flash a device again that was finished before, for example with other options")
    p.add_argument("--gateway-command", default="sudo cmxsafe", metavar="COMMAND",
                   help="how cmxsafe is run at the gateway (default: %(default)s)")
    p.add_argument("--ssh-config", type=Path, metavar="FILE", help="ssh reads FILE instead of your configuration (ssh -F)")
    p.add_argument("--ports", default="81,8989,8888", metavar="LIST", help="the ports of the device's services (default: %(default)s)")
    p.add_argument("--direct", default="", or_empty=True, metavar="LIST", help="services behind the gateway that the device may reach: HOST:PORT,...")
    p.add_argument("--group", default="", or_empty=True, metavar="NAME", help="the device's group, for grants, policies and rollouts")
    p.add_argument("--contexts", type=contexts, metavar="LIST",
                   help="contexts in addition to the firmware's own: LOCAL[:REMOTE][+high_bw],...")
    p.add_argument("--update-key", type=update_key, metavar="HEX",
                   help="instead of the firmware's own: the key that updates are signed with ('cmxsafe image key'), or two keys")
    p.add_argument("--firmware", type=firmware, action="append", default=[], metavar="OFFSET=FILE",
                   help="a file that esptool flashes, such as 0x0=bootloader.bin; repeatable")
    p.add_argument("--nvs", type=nvs_place, default=(0x9000, 0x5000), metavar="OFFSET+SIZE",
                   help="the partition nvs (default: 0x9000+0x5000)")
    p.add_argument("--manifest", type=Path, metavar="FILE", help="verify the device's signed evidence with these reference values")
    p.add_argument("--evidence-url", type=url_option, metavar="URL",
                   help="the device's attestation service; {name} stands for NAME; without it, NAME.cmx:8888 through --enroll")
    p.add_argument("--wait", type=number_option(1, 86400), default=120, metavar="SECONDS",
                   help="how long to wait for the evidence (default: %(default)s)")
