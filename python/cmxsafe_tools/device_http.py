"""Requests to a device's services: plain HTTP, because an SSH session carries it. No proxy, no redirect."""
import http.client
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

ANSWER_MAX = 64 * 1024
BLOCK = 16 * 1024


class NoAnswer(Exception):
    """There was no answer. The text says why, in one clause."""


@dataclass
class Answer:
    status: int
    type: str
    retry_s: int
    body: bytes

    def words(self):
        """Returns the device's reason, on one line."""
        line = self.body.split(b"\n", 1)[0].split(b"\r", 1)[0].removeprefix(b"error: ")
        return "".join(chr(c) if 0x20 <= c < 0x7f else "?" for c in line) or "no reason given"


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


def exchange(base, target, accept=None, post=False, upload=None, silence_s=20):
    """Returns the Answer to one request. Raises NoAnswer, also after silence_s without an answer or without progress of an upload."""
    url = urlsplit(base.rstrip("/"))
    try:
        valid = url.scheme == "http" and url.hostname and not url.query and url.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise NoAnswer("not a URL of the form http://HOST[:PORT]")
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=silence_s)
    try:
        return _exchange(connection, url.path + target, accept, post, upload)
    except TimeoutError:
        raise NoAnswer("timed out") from None
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(getattr(error, "strerror", None) or f"no HTTP answer ({type(error).__name__})") from error
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
        except OSError as error:  # to refuse, a device answers and closes while the body is being sent
            broken = error
    try:
        response = connection.getresponse()
        body = response.read(ANSWER_MAX + 1)
    except (OSError, http.client.HTTPException):
        raise broken or NoAnswer("connection closed without an answer") from None
    if len(body) > ANSWER_MAX:
        raise NoAnswer("the answer is too long")
    retry = response.getheader("Retry-After", "")
    kind = response.getheader("Content-Type", "").split(";")[0].strip().lower()
    return Answer(response.status, kind, min(int(retry), 3600) if retry.isdecimal() else 0, body)
