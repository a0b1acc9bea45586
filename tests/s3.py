"""An S3 server on loopback: moto's answers, a log of the requests, and trouble where asked for."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit

from moto.server import create_backend_app
from pyarrow import fs
from werkzeug.test import create_environ, run_wsgi_app

CREDENTIALS = {"access_key": "key", "secret_key": "secret", "region": "us-east-1"}
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Request:
    """One request, as the server saw it."""

    method: str
    key: str  # without the bucket
    query: str
    range: str | None
    nbytes: int = 0  # of the answer's body


# What the server may do instead of answering. Each gets what makes the honest answer.
def cut(handler, honest):
    """Close the connection without an answer."""
    handler.close_connection = True


def cut_answer(handler, honest):
    """Close the connection in the middle of the answer."""
    status, headers, data = honest()
    if not data:
        return cut(handler, honest)
    handler.answer(status, headers, data[: len(data) // 2], len(data))
    handler.close_connection = True


def refusal(status, code):
    """Answer with an error."""

    def refuse(handler, honest):
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
    """moto's S3, without moto's own server: each request would cost twice as much."""

    def __init__(self):
        self.moto = create_backend_app("s3")
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.s3 = self
        self.endpoint = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._lock = threading.Lock()
        self.quiet()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

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

    def upload(self, folder, path):
        """Copy a local folder to a path, and return its URI."""
        fs.copy_files(str(folder), path, destination_filesystem=self.filesystem())
        return self.uri(path)

    def uri(self, path):
        """Return the URI of a path; the credentials are in the environment."""
        options = f"endpoint_override={quote(self.endpoint)}&scheme=http&region=us-east-1"
        return f"s3://{quote(path)}?{options}"


class _Server(ThreadingHTTPServer):
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

        def honest():
            return self._ask_moto(url, body)

        if act is not None:
            return act(self, honest)
        status, headers, data = honest()
        request.nbytes = len(data)
        length = int(dict(headers).get("Content-Length", 0))
        self.answer(status, headers, data, length if self.command == "HEAD" else len(data))

    def _ask_moto(self, url, body):
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        environ = create_environ(
            method=self.command, query_string=url.query, headers=headers, data=body
        )
        environ["PATH_INFO"] = unquote(url.path, "latin-1")  # as WSGI wants it
        environ["RAW_URI"] = self.path
        answer, status, headers = run_wsgi_app(self.server.s3.moto, environ, buffered=True)
        return int(status.split()[0]), list(headers), b"".join(answer)

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
