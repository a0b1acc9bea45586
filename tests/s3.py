"""A real S3 server on loopback (moto's), behind a proxy that keeps a log and makes trouble."""

from __future__ import annotations

import http.client
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

from pyarrow import fs

CREDENTIALS = {"access_key": "key", "secret_key": "secret", "region": "us-east-1"}
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Request:
    """One request, as the proxy saw it."""

    method: str
    key: str  # without the bucket
    query: str
    range: str | None
    nbytes: int = 0  # of the answer's body


# What the proxy may do instead of passing a request on.
def cut(handler, forward):
    """Close the connection without an answer."""
    handler.close_connection = True


def cut_answer(handler, forward):
    """Close the connection in the middle of the answer."""
    response, data = forward()
    if not data:
        return cut(handler, forward)
    handler.answer(response.status, response.getheaders(), data[: len(data) // 2], len(data))
    handler.close_connection = True


def refusal(status, code):
    """Answer with an error."""

    def refuse(handler, forward):
        data = f"<Error><Code>{code}</Code><Message>trouble</Message></Error>".encode()
        handler.answer(status, [("Content-Type", "application/xml")], data)

    return refuse


slow_down = refusal(503, "SlowDown")
broken = refusal(500, "InternalError")
denied = refusal(403, "AccessDenied")


@dataclass
class _Trouble:
    matches: Callable[[Request], bool]
    act: Callable
    skip: int
    times: float


class S3Server:
    """moto's server and the proxy before it."""

    def __init__(self):
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        self.moto_port = self._moto.get_host_and_port()[1]
        self._proxy = _Proxy(("127.0.0.1", 0), _Handler)
        self._proxy.s3 = self
        self.endpoint = f"127.0.0.1:{self._proxy.server_address[1]}"
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        self._lock = threading.Lock()
        self.quiet()

    def stop(self):
        self._proxy.shutdown()
        self._proxy.server_close()
        self._moto.stop()

    def quiet(self):
        """Forget the log and all trouble."""
        self.log: list[Request] = []
        self._troubles: list[_Trouble] = []

    def trouble(self, act, *, method=None, key="", query="", skip=0, times=1):
        """Make trouble for the requests of that kind, after ``skip`` of them, so many times."""

        def matches(request):
            right = method is None or request.method in method.split()
            return right and key in request.key and query in request.query

        self._troubles.append(_Trouble(matches, act, skip, times))

    def trouble_for(self, request):
        with self._lock:
            self.log.append(request)
            for trouble in self._troubles:
                if trouble.matches(request) and trouble.times > 0:
                    trouble.skip -= 1
                    if trouble.skip < 0:
                        trouble.times -= 1
                        return trouble.act
        return None

    def requests(self, method, key=""):
        return [r for r in self.log if r.method in method.split() and key in r.key]

    def filesystem(self, **options):
        """Return a pyarrow filesystem on the server."""
        options = {**CREDENTIALS, "allow_bucket_creation": True, **options}
        return fs.S3FileSystem(endpoint_override=self.endpoint, scheme="http", **options)

    def new_bucket(self):
        name = f"bucket-{uuid.uuid4().hex[:8]}"
        self.filesystem().create_dir(name)
        self.quiet()
        return name

    def uri(self, path):
        """Return the URI of a path; the credentials are in the environment."""
        options = f"endpoint_override={quote(self.endpoint)}&scheme=http&region=us-east-1"
        return f"s3://{quote(path)}?{options}"


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that was killed; what goes wrong here, the client sees


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits for an acknowledgement
    wbufsize = -1

    def log_message(self, *args):
        pass

    def handle_expect_100(self):
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _serve(self):
        url, body = urlsplit(self.path), self._body()
        key = unquote(url.path).lstrip("/").partition("/")[2]
        request = Request(self.command, key, url.query, self.headers.get("Range"))
        act = self.server.s3.trouble_for(request)

        def forward():
            moto = http.client.HTTPConnection("127.0.0.1", self.server.s3.moto_port)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            moto.request(self.command, self.path, body, headers)
            response = moto.getresponse()
            data = response.read()
            moto.close()
            return response, data

        if act is not None:
            act(self, forward)
            return
        response, data = forward()
        request.nbytes = len(data)
        length = int(response.getheader("Content-Length") or 0)
        nbytes = length if self.command == "HEAD" else len(data)
        self.answer(response.status, response.getheaders(), data, nbytes)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

    def answer(self, status, headers, data, nbytes=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if nbytes is None else nbytes))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while nbytes := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(nbytes)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body


_HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "expect"}
