"""A chip on the workbench, accessed with Espressif's own tools: its eFuse, its flash, and the image of its NVS partition."""
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import Failure

KEY_BLOCK, KEY_PURPOSE = "BLOCK_KEY3", "KEY_PURPOSE_3"
CHIPS = "esp32s2", "esp32s3", "esp32c3", "esp32c5", "esp32c6", "esp32h2", "esp32p4"  # chips with the HMAC peripheral
NVS_NAMESPACE = "cmxsafe"  # as in src/cmxsafe/esp/nvs_config.h


@contextlib.contextmanager
def uninterrupted():
    """Ignores Ctrl-C and the end of the terminal, also in programs that are started meanwhile."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    former = {name: signal.signal(getattr(signal, name), signal.SIG_IGN) for name in names}
    try:
        yield
    finally:
        for name, handler in former.items():
            signal.signal(getattr(signal, name), handler)


@dataclass
class Fuses:
    """The state of a chip's eFuse, as far as provisioning needs it."""
    mac: str
    purpose: str
    readable: bool
    writable: bool
    empty: bool

    @property
    def key_burned(self):
        """True if the block holds a key that only the HMAC peripheral can read."""
        return self.purpose == "HMAC_UP" and not self.readable

    @property
    def unused(self):
        return self.empty and self.readable and self.writable and self.purpose == "USER"


class Chip:
    """port: a serial port. virt: espefuse's virtual mode keeps the eFuse in this file, and there is no flash."""

    def __init__(self, kind, port=None, virt=None):
        self.kind, self.port, self.virt = kind, port, virt
        self.where = str(virt or port)

    def run_tool(self, module, *arguments):
        place = ["--virt", "--path-efuse-file", str(self.virt)] if self.virt else ["--port", self.port]
        command = [sys.executable, "-m", module, "--chip", self.kind, *place, *map(str, arguments)]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        if run.returncode:
            lines = (run.stdout + run.stderr).strip().splitlines() or ["no message"]
            raise Failure(f"{module} at {self.where}", lines[-1].strip(),
                          "check cable, port and chip, then run the same command again")
        return run.stdout

    def fuses(self):
        out = self.run_tool("espefuse", "summary", "--format", "json")
        try:
            all_fuses = json.loads(out[out.index("{"):])
            block, purpose = all_fuses[KEY_BLOCK], all_fuses[KEY_PURPOSE]
            return Fuses(str(all_fuses["MAC"]["value"]).split(" ")[0], purpose["value"], block["readable"],
                         block["writeable"], not block["value"].strip("0 "))
        except (ValueError, KeyError) as error:
            raise Failure(f"espefuse at {self.where}", "its summary cannot be read", "update esptool") from error

    def burn_key(self, path):
        """Burns the key. This cannot be undone, and a chip on which it stops half-way is lost."""
        with uninterrupted():
            self.run_tool("espefuse", "--do-not-confirm", "burn-key", KEY_BLOCK, path, "HMAC_UP")

    def write_flash(self, parts):
        """Writes the parts, each (offset, file), to the flash."""
        arguments = [word for offset, path in parts for word in (f"0x{offset:x}", path)]
        self.run_tool("esptool", "write-flash", *arguments)


def nvs_image(settings, size):
    """Returns the image of an NVS partition that holds the settings."""
    with tempfile.TemporaryDirectory() as folder:
        table, image = Path(folder, "nvs.csv"), Path(folder, "nvs.bin")
        lines = ["key,type,encoding,value", f"{NVS_NAMESPACE},namespace,,"]
        lines += [f'{key},data,string,"{value}"' for key, value in settings.items()]
        table.write_text("\n".join(lines) + "\n", "utf-8")
        run = subprocess.run([sys.executable, "-m", "esp_idf_nvs_partition_gen", "generate", table, image, hex(size)],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        if run.returncode or not image.exists():
            why = ((run.stdout + run.stderr).strip().splitlines() or ["no message"])[-1]
            raise Failure("the NVS image", why.strip(), "check --nvs and the settings")
        return image.read_bytes()
