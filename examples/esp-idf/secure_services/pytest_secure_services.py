"""The example on an emulated ESP32-C3 or ESP32-S3, with ESP-IDF and its emulator:

    pip install pytest-embedded-idf~=1.18 pytest-embedded-qemu~=1.18       # ~=2.9 for ESP-IDF 6, which has esptool 5
    idf.py -DIDF_TARGET=esp32c3 -DSDKCONFIG_DEFAULTS="sdkconfig.defaults;sdkconfig.ci.qemu" build
    pytest --target esp32c3 --embedded-services idf,qemu pytest_secure_services.py

and the same with esp32s3. The second test needs a gateway on this machine and runs only if CMX_GATEWAY=1 is set. Configure this
gateway in the firmware (port 22922, user, pinned host key, a key derived from eFuse), and let the gateway accept the key that
`cmxsafe identity public` prints for KEY.
"""
import os
import socket
import sys
import urllib.request
from pathlib import Path

import pytest
from pytest_embedded import Dut

sys.path.append(str(Path(__file__).parents[3]))
from remote_attestation import attestation_value  # noqa: E402

KEY = b"Z" * 32
PORTS = (81, 8989, 8888)
FLASH_BEGIN = 0x10000


def efuse_image(target: str) -> bytes:
    """Returns an eFuse image that has KEY in BLOCK_KEY3 with purpose HMAC_UP: read-protected on the S3, readable on the C3."""
    image = bytearray(1024)
    image[0x0C] = 8 << 4  # KEY_PURPOSE_3 = HMAC_UP
    image[0x18:0x1E] = bytes.fromhex("02c3c3000001")[::-1]  # MAC
    image[0xD0:0xF0] = KEY
    image[0x26] = 3 << 2  # revision 0.3, the oldest C3 on which ESP-IDF 5 boots
    if target == "esp32s3":
        image[0x04] = 1 << 3  # RD_DIS: BLOCK_KEY3
    return bytes(image)


@pytest.fixture
def web_port() -> int:
    """Returns a port on this machine that QEMU forwards to the device's port 80. Isolation must block these connections."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def qemu_extra_args(tmp_path: Path, web_port: int, target: str) -> str:
    efuse = tmp_path / "efuse.bin"
    efuse.write_bytes(efuse_image(target))
    return (
        f"-nic user,model=open_eth,hostfwd=tcp:127.0.0.1:{web_port}-:80 "
        f"-drive file={efuse},if=none,format=raw,id=efuse "
        f"-global driver=nvram.{target}.efuse,property=drive,value=efuse "
        f"-global driver=timer.{target}.timg,property=wdt_disable,value=true"
    )


@pytest.mark.esp32c3
@pytest.mark.esp32s3
@pytest.mark.qemu
def test_isolated(dut: Dut, web_port: int) -> None:
    started = [r"ota: running version \S+ from ota_0", r"attest: attestation on port 8888", r"isolation: in force"]
    dut.expect(started, expect_all=True, timeout=60)
    with socket.create_connection(("127.0.0.1", web_port), timeout=5) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(socket.timeout):
            s.recv(1)
    dut.expect(r"isolation: dropped in: .* > 10\.0\.2\.15:80 ", timeout=30)


@pytest.mark.esp32c3
@pytest.mark.esp32s3
@pytest.mark.qemu
@pytest.mark.skipif(not os.environ.get("CMX_GATEWAY"), reason="needs a gateway: set CMX_GATEWAY=1")
def test_reached_through_the_gateway(dut: Dut) -> None:
    dut.expect([rf"port-{p}: up \(gateway port {p}\)" for p in PORTS], expect_all=True, timeout=120)
    with urllib.request.urlopen("http://127.0.0.1:8888/hash?challenge=pytest", timeout=120) as answer:
        value = answer.read().decode().strip()
    with open(dut.app.image_path, "rb") as flash:
        flash.seek(FLASH_BEGIN)
        assert value == attestation_value(flash, KEY, b"pytest").hex()
