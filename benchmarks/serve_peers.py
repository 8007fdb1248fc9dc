"""The same tensor in and out through one server library: `python serve_peers.py NAME FILE`; says `port N`."""

from __future__ import annotations

import asyncio
import socket
import sys

import numpy as np
import onnxruntime as ort

NAME, FILE = sys.argv[1:3]
options = ort.SessionOptions()
options.intra_op_num_threads = 1


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


PORT = free_port()


def answer(body: bytes) -> bytes:
    x = np.frombuffer(body, np.float32).reshape(-1, 16)
    return session.run(None, {"x": x})[0].tobytes()


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    event = await receive()
    body = await asyncio.get_running_loop().run_in_executor(None, answer, event["body"])
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Plain(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        _, found, rest = self.buffer.partition(b"\r\n\r\n")
        if found and len(rest) >= 64:
            self.buffer = b""
            body = answer(rest)
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))


async def plain():
    made = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", PORT)
    print("port", PORT, flush=True)
    await made.serve_forever()


def run_uvicorn(app):
    import uvicorn

    print("port", PORT, flush=True)
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False, loop="asyncio")


if NAME != "ray":
    session = ort.InferenceSession(FILE, options)
if NAME == "asyncio":
    asyncio.run(plain())
elif NAME == "uvicorn":
    run_uvicorn(asgi)
elif NAME == "starlette":
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response
    from starlette.routing import Route

    async def predict(request):
        return Response(await run_in_threadpool(answer, await request.body()))

    run_uvicorn(Starlette(routes=[Route("/predict", predict, methods=["POST"])]))
elif NAME == "fastapi":
    from fastapi import FastAPI, Request, Response
    from fastapi.concurrency import run_in_threadpool

    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request):
        return Response(await run_in_threadpool(answer, await request.body()))

    run_uvicorn(app)
elif NAME == "litserve":
    import litserve

    class Api(litserve.LitAPI):
        def setup(self, device):
            self.session = ort.InferenceSession(FILE, options)

        def decode_request(self, request):
            return np.asarray(request["x"], np.float32)

        def predict(self, x):
            return self.session.run(None, {"x": x})[0]

        def encode_response(self, output):
            return {"y": output.tolist()}

    if __name__ == "__main__":  # its workers import this file anew
        print("port", PORT, flush=True)
        litserve.LitServer(Api(), accelerator="cpu").run(host="127.0.0.1", port=PORT, generate_client_file=False)
else:
    import ray
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import Response

    ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})

    @serve.deployment
    class Model:
        def __init__(self):
            self.session = ort.InferenceSession(FILE, options)

        async def __call__(self, request: Request):
            x = np.frombuffer(await request.body(), np.float32).reshape(-1, 16)
            return Response(self.session.run(None, {"x": x})[0].tobytes())

    serve.run(Model.bind(), route_prefix="/predict")
    print("port", PORT, flush=True)
    import time

    time.sleep(3600)
