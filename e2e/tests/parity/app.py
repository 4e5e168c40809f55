"""What gunicorn runs in the parity tests: it answers and misbehaves as rustcorn-e2e-testapp does."""

import os
import threading
import time

import e2e_settings as keys  # the lines of rustcorn's [app], written by the test


def key(name, default=None):
    return getattr(keys, name, default)


def note(what):
    if key("journal"):
        with open(key("journal"), "a") as journal:
            journal.write(f"{what} {os.getpid()}\n")


def block():
    while True:
        time.sleep(3600)


time.sleep(key("boot_ms", 0) / 1000)
if key("fail_boot_if") and os.path.exists(key("fail_boot_if")):
    raise RuntimeError("told not to load")
if key("fail_boot"):
    raise RuntimeError(key("fail_boot"))
if key("exit_boot") is not None:
    os._exit(key("exit_boot"))
if key("hang_boot"):
    block()
if key("die_after_ms") is not None:
    threading.Timer(key("die_after_ms") / 1000, os._exit, [1]).start()


def slow():
    note("start")
    time.sleep(key("slow_ms", 300) / 1000)
    note("end")
    return str(os.getpid())


def blocked():
    note("block")
    block()


def panic():
    raise RuntimeError("asked to panic")


ANSWERS = {
    "/": lambda: "Misbehaving on request\n",
    "/pid": lambda: str(os.getpid()),
    "/slow": slow,
    "/env": lambda: "".join(f"{name}={value}\n" for name, value in os.environ.items()),
    "/block": blocked,
    "/panic": panic,
    "/exit": lambda: os._exit(7),
    "/crash": os.abort,
}


def ticks():
    for _ in range(5):
        time.sleep(0.05)
        yield b"tick\n"


def application(environ, start_response):
    path, status = environ["PATH_INFO"], "200 OK"
    if path == "/stream":
        note("stream")
        start_response(status, [])
        return ticks()
    if path == "/echo":
        body = environ["wsgi.input"].read()
    elif path in ANSWERS:
        body = ANSWERS[path]().encode()
    else:
        status, body = "404 Not Found", b"Not Found\n"
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]
