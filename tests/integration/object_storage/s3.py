"""An S3-compatible server on loopback that can be made to fail, and what lies in its buckets."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

import boto3  # type: ignore[import-untyped]
import requests
from moto.server import ThreadedMotoServer

_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class Faults:
    """Stands before the server. Refuses who has no credentials, as S3 does (moto alone would serve them)."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self.heal()

    def heal(self) -> None:
        """Fail no more, and forget what was asked for."""
        self.refused_from: int | None = None  #: this request and all after it are refused
        self.cut_reads = 0  #: how many replies with the content of a file break off in the middle
        self.requests: list[str] = []
        self.queries: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        self.queries.append(environ["QUERY_STRING"])
        is_late = self.refused_from is not None and len(self.requests) >= self.refused_from
        is_anonymous = "HTTP_AUTHORIZATION" not in environ and not environ["PATH_INFO"].startswith("/moto-api/")
        if is_late or is_anonymous:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("403 Forbidden", [("Content-Length", str(len(_DENIED)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [_DENIED]
        served = self._app(environ, start_response)
        is_read = environ["REQUEST_METHOD"] == "GET" and "list-type" not in environ["QUERY_STRING"]
        if not is_read or self.cut_reads < 1:
            return served
        self.cut_reads -= 1
        return _half(b"".join(served))


def _half(content: bytes) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    raise ConnectionAbortedError("the test cuts the connection here")


class S3Server:
    """Moto's server with faults before it."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # it logs each request, and each cut reply
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        running: Any = self._server._server
        self.faults = running.app = Faults(running.app)
        self._client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
        )

    def connection(self, **fields: Any) -> str:
        """The value of ``AIRFLOW_CONN_...`` for this server."""
        extra = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return json.dumps({"conn_type": "aws", "login": "test-key", "password": "test-secret", "extra": extra} | fields)

    def make_bucket(self) -> str:
        """A new bucket."""
        name = f"lake-{uuid4().hex}"
        self._client.create_bucket(Bucket=name)
        return name

    def buckets(self) -> set[str]:
        """All buckets there are."""
        return {bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]}

    def keys(self, bucket: str) -> set[str]:
        """All that lies in a bucket."""
        return {found["Key"] for found in self._client.list_objects_v2(Bucket=bucket).get("Contents", [])}

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Put an object past Airflow."""
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, bucket: str, key: str) -> bytes:
        """The content of an object."""
        content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def check_credentials(self, checked: bool) -> None:
        """Let moto refuse keys of no user; none is known to it."""
        reply = requests.post(f"{self.url}/moto-api/reset-auth", data="0" if checked else "inf", timeout=10)
        reply.raise_for_status()

    def stop(self) -> None:
        """Stop the server; connections to it are refused from then on."""
        self._client.close()
        self._server.stop()
