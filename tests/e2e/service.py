"""A local service for scenarios. The first byte of a connection selects what the service does:
S: reads until the half-close, then answers with the SHA-256 of the bytes. G<n>: sends n bytes. D: sends small pieces
endlessly. R: resets the connection. Any other byte: echoes all bytes."""
import hashlib
import socket
import socketserver
import struct
import sys

BLOCK = bytes(range(256)) * 256


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        mode = self.request.recv(1)
        if mode == b'S':
            h = hashlib.sha256()
            while data := self.request.recv(65536):
                h.update(data)
            self.request.sendall(h.hexdigest().encode())
        elif mode == b'G':
            n = int(self.request.recv(16))
            while n > 0:
                self.request.sendall(BLOCK[:min(n, len(BLOCK))])
                n -= len(BLOCK)
        elif mode == b'D':
            while True:  # until the client disconnects
                self.request.sendall(BLOCK[:500])
        elif mode == b'R':
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        elif mode:
            self.request.sendall(mode)
            while data := self.request.recv(65536):
                self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # some scenarios reset the connection


Server((sys.argv[2] if len(sys.argv) > 2 else '127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
