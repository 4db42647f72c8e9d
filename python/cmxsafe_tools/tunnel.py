"""Forwards to a device through its gateway, by the user's own ssh. Compare cli/tunnel.c."""
import contextlib
import re
import socket
import subprocess
import tempfile
import time

from .device_http import UNIX, connection_to
from .errors import Failure

CONNECT_S = 5
OPEN_TIMEOUT_S = 180  # sshd's default LoginGraceTime, within which the user answers ssh's prompts, is 120 s


def free_port():
    """Returns a free loopback port. If another program takes it first, ssh fails (ExitOnForwardFailure)."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def split_gateway(gateway):
    """Splits "user@host:2222" into host and port (None: no port). An IPv6 address with a port is in brackets."""
    found = re.fullmatch(r"(.*\])(?::(\d{1,5}))?|([^:]*):(\d{1,5})", gateway)
    if not found:
        return gateway, None
    host = (found[1] or found[3]).replace("[", "").replace("]", "")
    return host, found[2] or found[4]


class Tunnel:
    """remotes: ports of `device`, to which the gateway connects. After open(), urls[i] leads to remotes[i]. Where ssh can listen on
    sockets, they are in a folder that only the user can enter: on a port of the loopback another user could answer in place
    of ssh, or use the tunnel."""

    def __init__(self, gateway, device="localhost", remotes=(), config=None):
        self.gateway, self.config, self.process = gateway, config, None
        if hasattr(socket, "AF_UNIX"):  # not on Windows
            self.folder = tempfile.TemporaryDirectory(prefix="cmxsafe-", dir="/tmp")  # TMPDIR may be too long for a socket
            listeners = [f"{self.folder.name}/{i}" for i in range(len(remotes))]
            self.urls = [UNIX + listener for listener in listeners]
        else:
            self.folder = None
            listeners = [f"127.0.0.1:{free_port()}" for _ in remotes]
            self.urls = ["http://" + listener for listener in listeners]
        name = f"[{device}]" if ":" in device and not device.startswith("[") else device
        self.forwards = [f"{listener}:{name}:{remote}" for listener, remote in zip(listeners, remotes)]

    def open(self):
        """Opens the tunnel unless it is open."""
        if self.process and self.process.poll() is None:
            return
        host, port = split_gateway(self.gateway)
        command = ["ssh", "-N", "-T", "-oLogLevel=ERROR", "-oControlPath=none", "-oExitOnForwardFailure=yes",
                   "-oServerAliveInterval=5", "-oServerAliveCountMax=3", "-oStreamLocalBindUnlink=yes",
                   "-oIgnoreUnknown=ForkAfterAuthentication", "-oForkAfterAuthentication=no"]
        command += ["-F", str(self.config)] if self.config else []
        command += ["-p", port] if port else []
        for forward in self.forwards:
            command += ["-L", forward]
        try:
            self.process = subprocess.Popen(command + ["--", host])
        except OSError as error:
            raise Failure("ssh", error.strerror, "install OpenSSH's client") from error
        self._wait()

    def _wait(self):
        give_up = time.monotonic() + OPEN_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < give_up:
            with contextlib.suppress(OSError):
                connection_to(self.urls[0], CONNECT_S).close()
                return
            time.sleep(0.05)
        ended = self.process.poll() is not None
        self._end()
        raise Failure(self.gateway, "ssh ended without opening the forward" if ended else "ssh: timed out",
                      "see ssh's message above, or try 'ssh GATEWAY'")

    def close(self):
        """The tunnel cannot be opened again."""
        self._end()
        if self.folder:
            self.folder.cleanup()

    def _end(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None
