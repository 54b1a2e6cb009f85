"""Google's and Azure's object storages by servers on loopback, each in a process of its own, behind a proxy that cuts.

Google's is gcp-storage-emulator, a package. Azure's is Azurite, which npm has: where ``CAPILLARY_TESTS_AZURITE`` names
its program ``azurite-blob``, and adlfs is installed, the same tests run on it too.
"""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any, ClassVar

# Else gcsfs asks by gRPC, with TLS, which kind of bucket it is, and waits for an answer that no emulator gives.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

AZURITE = os.environ.get("CAPILLARY_TESTS_AZURITE", "")
BUCKET = "lake"
CUT_AFTER = 200_000  #: bytes of a reply
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # Azurite's own
_GOOGLE = """
import sys
from gcp_storage_emulator.server import create_server
server = create_server("127.0.0.1", int(sys.argv[1]), in_memory=True, default_bucket=sys.argv[2])
server.start()
sys.stdin.read()
"""


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Passes connections on to a server; the next ``cuts`` long replies break off in the middle."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = port
        self.cuts = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Passing(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, CuttingProxy)
        with socket.create_connection(("127.0.0.1", self.server.behind)) as behind, suppress(OSError):
            threading.Thread(target=self._ask, args=(behind,), daemon=True).start()
            passed = 0
            while block := behind.recv(65_536):
                if self.server.cuts and passed + len(block) > CUT_AFTER:
                    self.server.cuts -= 1
                    return
                passed += len(block)
                self.request.sendall(block)

    def _ask(self, behind: socket.socket) -> None:
        with suppress(OSError):
            while block := self.request.recv(65_536):
                behind.sendall(block)
            behind.shutdown(socket.SHUT_WR)


class _Server:
    """A server's process and the filesystem that reaches it."""

    scheme: ClassVar[str]

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="capillary-buckets-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = subprocess.Popen(
            self._command(port), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait(port)
        self.proxy = CuttingProxy(port)
        self.url = f"http://127.0.0.1:{self.proxy.server_address[1]}"
        self.filesystem = self._filesystem()

    def stop(self) -> None:
        """End the process and what it kept."""
        self.proxy.shutdown()
        self.proxy.server_close()
        self._process.terminate()
        with self._process:  # closes its pipe, and waits
            pass
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, port: int) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return

    def _command(self, port: int) -> list[str]:
        raise NotImplementedError

    def _filesystem(self) -> Any:
        raise NotImplementedError

    def put_encoded(self, path: str, content: bytes) -> None:
        """Put an object that says it is gzip on its way."""
        raise NotImplementedError


class GoogleServer(_Server):
    """Speaks as Google Cloud Storage. Not as it does: no credentials, nothing is decompressed as it is served."""

    scheme = "gs"

    def _command(self, port: int) -> list[str]:
        return [sys.executable, "-c", _GOOGLE, str(port), BUCKET]

    def _filesystem(self) -> Any:
        from gcsfs import GCSFileSystem  # type: ignore[import-untyped]

        return GCSFileSystem(token="anon", endpoint_url=self.url, project="tests", skip_instance_cache=True)

    def put_encoded(self, path: str, content: bytes) -> None:
        self.filesystem.pipe_file(path, content, fixed_key_metadata={"content_encoding": "gzip"})


class AzureServer(_Server):
    """Speaks as Azure Blob Storage."""

    scheme = "abfs"

    def _command(self, port: int) -> list[str]:
        place = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", self._folder]
        return [AZURITE, *place, "--silent", "--skipApiVersionCheck"]  # adlfs' library is often the newer of the two

    def _filesystem(self) -> Any:
        from adlfs import AzureBlobFileSystem  # type: ignore[import-not-found]

        text = (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={self.url}/{_ACCOUNT}"
        )
        filesystem = AzureBlobFileSystem(connection_string=text, skip_instance_cache=True)
        filesystem.mkdir(BUCKET)
        return filesystem

    def put_encoded(self, path: str, content: bytes) -> None:
        from azure.storage.blob import BlobServiceClient, ContentSettings  # type: ignore[import-not-found]

        service = BlobServiceClient.from_connection_string(self.filesystem.connection_string)
        bucket, _, name = path.partition("/")
        with service, service.get_blob_client(bucket, name) as blob:
            blob.upload_blob(content, content_settings=ContentSettings(content_encoding="gzip"), overwrite=True)


SERVERS: dict[str, type[_Server]] = {"google": GoogleServer} | ({"azure": AzureServer} if AZURITE else {})
