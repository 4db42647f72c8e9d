"""The example on an emulated ESP32-C3, for everyone who has ESP-IDF and its emulator:

    idf.py -DIDF_TARGET=esp32c3 -DSDKCONFIG_DEFAULTS="sdkconfig.defaults;sdkconfig.ci.qemu" build
    pytest --target esp32c3 --embedded-services idf,qemu

The emulator does not reach a gateway by itself; with one at the desk's port 22922 (CMX_GATEWAY=1) the sessions are awaited too.
"""
import os

import pytest
from pytest_embedded import Dut


@pytest.mark.esp32c3
@pytest.mark.qemu
def test_secure_services(dut: Dut) -> None:
    dut.expect(r"ota: running version .* from ota_0", timeout=60)
    dut.expect(r"attestation on port 8888", timeout=60)
    dut.expect(r"isolation: in force", timeout=60)
    if os.environ.get("CMX_GATEWAY"):
        for port in (81, 8989, 8888):
            dut.expect(rf"port-{port}: up \(gateway port {port}\)", timeout=120)
