"""Requests to a device's services: plain HTTP, because an SSH session carries it. No proxy, no redirect."""
import argparse
import contextlib
import http.client
import re
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from .text import printable

ANSWER_MAX = 64 * 1024
BLOCK = 16 * 1024
UNIX = "unix:"  # a base with this prefix is the path of a UNIX socket


class NoAnswer(Exception):
    """There was no answer. The text says why, in one clause."""


@dataclass
class Answer:
    status: int
    type: str
    retry_s: int
    body: bytes
    location: str = ""  # where the answer redirects to

    def words(self):
        """Returns the device's reason, on one line."""
        if self.location:
            return (f"it redirects to {self.location} with HTTP status {self.status}, and redirects are not followed; "
                    "give the URL of the service itself")
        line = re.match(rb"[^\r\n\0]*", self.body)[0].removeprefix(b"error: ")
        if not line or line.startswith(b"<"):
            return f"no reason given (HTTP status {self.status})"
        return printable(line)


@dataclass
class Upload:
    """The body of a POST: the bytes of data from `first` on. kbps 0: no limit. progress(n) is called after each block,
    with n counted from the start of data."""
    data: bytes
    first: int = 0
    kbps: int = 0
    progress: object = None

    def blocks(self):
        began = time.monotonic()
        for at in range(self.first, len(self.data), BLOCK):
            block = self.data[at:at + BLOCK]
            if self.kbps:
                time.sleep(max(0, began + (at - self.first) / (self.kbps * 1024) - time.monotonic()))
            yield block
            if self.progress:
                self.progress(at + len(block))


def split_url(text):
    """Splits the URL of a service. Raises ValueError if the text is not such a URL."""
    url = urlsplit(text.rstrip("/"))
    if re.search("[^!-~]", text) or url.scheme != "http" or not url.hostname or url.query or url.port == 0:
        raise ValueError(text)
    url.hostname.encode("idna")  # raises UnicodeError, as the look-up of the name would
    return url


def url_option(text):
    """The type of an option whose value is the URL of a service."""
    try:
        split_url(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a URL of the form http://HOST[:PORT]") from None
    return text


@contextlib.contextmanager
def time_limit(sock, seconds):
    """Shuts the socket down after this time (None: never), and then raises TimeoutError."""
    late = threading.Event()

    def shut_down():
        late.set()
        with contextlib.suppress(OSError):  # the peer may have closed the connection
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds or 0, shut_down)
    if seconds:
        timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def reason_of(error):
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer is shorter than announced"
    if isinstance(error, OSError):  # strerror is None if the peer closed the connection
        return error.strerror or "connection closed without an answer"
    return f"no HTTP answer ({type(error).__name__})"


def connection_to(base, seconds):
    """Returns a socket with this timeout, connected to the service at base. Raises OSError."""
    if not base.startswith(UNIX):
        url = split_url(base)
        s = socket.create_connection((url.hostname, url.port or 80), seconds)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s
    s = socket.socket(socket.AF_UNIX)
    try:
        s.settimeout(seconds)
        s.connect(base.removeprefix(UNIX))
    except OSError:
        s.close()
        raise
    return s


def exchange(base, target, accept=None, post=False, upload=None, silence_s=20, total_s=None):
    """Returns the Answer to one request to base, "http://host[:port]" or "unix:/path". Raises NoAnswer after an error, after
    silence_s seconds in which no byte was received or sent, and total_s seconds after the connection was opened (None: no
    limit)."""
    url = split_url("http://localhost" if base.startswith(UNIX) else base)
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=silence_s)
    try:
        connection.sock = connection_to(base, silence_s)
        with time_limit(connection.sock, total_s):
            return _exchange(connection, url.path + target, accept, post, upload)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(reason_of(error)) from error
    finally:
        connection.close()


def _exchange(connection, target, accept, post, upload):
    connection.putrequest("POST" if post else "GET", target, skip_accept_encoding=True)
    connection.putheader("User-Agent", "cmxsafe")
    connection.putheader("Accept", accept or "*/*")
    if post:
        connection.putheader("Content-Length", str(len(upload.data) - upload.first if upload else 0))
    if upload:
        connection.putheader("Content-Type", "application/octet-stream")
    if upload and upload.first:
        total = len(upload.data)
        connection.putheader("Content-Range", f"bytes {upload.first}-{total - 1}/{total}")
    connection.endheaders()
    broken = None
    if upload:
        try:
            for block in upload.blocks():
                connection.send(block)
        except OSError as error:  # a device that refuses the upload closes the connection early, but has sent an answer
            broken = error
    try:
        response = connection.getresponse()
        body = response.read(ANSWER_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise broken or error
    if len(body) > ANSWER_MAX:
        raise NoAnswer("the answer is too long")
    if response.length:  # read(n) returns fewer bytes when the peer closes the connection
        raise http.client.IncompleteRead(body, response.length)
    retry = response.getheader("Retry-After", "")
    kind = response.getheader("Content-Type", "").split(";")[0].strip().lower()
    location = response.getheader("Location", "") if 300 <= response.status < 400 else ""
    return Answer(response.status, kind, int(retry) if re.fullmatch("[0-9]{1,4}", retry) else 0, body,
                  printable(location.encode("latin-1"))[:127])
