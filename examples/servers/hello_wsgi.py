"""A WSGI application that answers with the pid of the process that serves it."""

import os


def app(environ, start_response):
    body = f"wsgi {os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
