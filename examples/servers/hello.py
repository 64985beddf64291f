"""Answers every request with the pid of the process that serves it."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = f"python {os.getpid()}\n".encode()


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Keeps connections alive.
    wbufsize = -1  # Head and body in one segment; else a delayed ACK sits between them.

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # The default, 5, refuses short bursts.


Server((os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", 8003))), Hello).serve_forever()
