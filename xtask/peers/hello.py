"""Answers with its pid: http.server as it comes, one thread."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """A line per request would be measured along."""


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hello).serve_forever()
