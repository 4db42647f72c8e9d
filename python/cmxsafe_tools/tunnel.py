"""Forwards to a device through its gateway, by the user's own ssh. Compare cli/tunnel.c."""
import re
import socket
import subprocess
import time

from .errors import Failure

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
    """remotes: ports of `device`, to which the gateway connects. After open(), the loopback port local[i] leads to remotes[i]."""

    def __init__(self, gateway, device="localhost", remotes=(), config=None):
        self.gateway, self.config, self.process = gateway, config, None
        self.local = [free_port() for _ in remotes]
        name = f"[{device}]" if ":" in device and not device.startswith("[") else device
        self.forwards = [f"127.0.0.1:{local}:{name}:{remote}" for local, remote in zip(self.local, remotes)]

    def open(self):
        """Opens the tunnel unless it is open."""
        if self.process and self.process.poll() is None:
            return
        host, port = split_gateway(self.gateway)
        command = ["ssh", "-N", "-T", "-oLogLevel=ERROR", "-oControlPath=none", "-oExitOnForwardFailure=yes",
                   "-oServerAliveInterval=5", "-oServerAliveCountMax=3"]
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
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.local[0])) == 0:
                    return
            time.sleep(0.05)
        ended = self.process.poll() is not None
        self.close()
        raise Failure(self.gateway, "ssh ended without opening the forward" if ended else "ssh: timed out",
                      "see ssh's message above, or try 'ssh GATEWAY'")

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None
