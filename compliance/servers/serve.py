"""See README.md."""

import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = open("version").read().strip()
FILLER = "0123456789" * 100


class Serve(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Keeps connections alive.
    wbufsize = -1  # Head and body in one segment; else a delayed ACK sits between them.

    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        body = f"{os.getpid()} {VERSION} {self.path} {FILLER}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # The default, 5, refuses short bursts.


if VERSION == "crash":
    sys.exit("no licence")
if VERSION == "silent":
    threading.Event().wait()
Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Serve).serve_forever()
