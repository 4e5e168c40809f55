"""The least that answers as the others do: for WSGI, and for ASGI."""

BODY = b"Hello World!"
TYPE = "text/plain; charset=utf-8"


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", TYPE), ("Content-Length", str(len(BODY)))])
    return [BODY]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # uvicorn takes that for an application without lifespan
    headers = [(b"content-type", TYPE.encode()), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})
