"""See README.md: the same for gunicorn."""

import os
import sys
import threading
import time

VERSION = open("version").read().strip()
FILLER = "0123456789" * 100

if VERSION == "crash":
    sys.exit("no licence")
if VERSION == "silent":
    threading.Event().wait()


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/slow"):
        time.sleep(0.3)
    body = f"{os.getpid()} {VERSION} {path} {FILLER}\n".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
