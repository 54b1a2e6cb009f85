"""Serves the simulator over HTTP/1.1 with kept-alive connections, and cuts them where a fault says so.

It uses the standard library's server, because there each connection has a thread and a socket that the code can reach.
A fault can reset a connection before, during or after a call; web frameworks hide the socket.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import socketserver
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_capillary.simulator.badge_store import BadgeStore
from airflow_provider_capillary.simulator.fault_actions import Delivery
from airflow_provider_capillary.simulator.fault_plan import FaultPlan
from airflow_provider_capillary.simulator.messages import Request, SimulatedReply
from airflow_provider_capillary.simulator.simulator import Arrival, Simulator
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings
from airflow_provider_capillary.simulator.state_endpoints import PREFIX, answer_state

log = logging.getLogger(__name__)

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self.connections: dict[socket.socket, threading.Thread] = {}
        super().__init__(address, _Connection)

    def serve(self) -> None:
        # Not serve_forever(): it checks only every half second whether to stop, and every test would wait for that.
        while not self.stopping.is_set():
            self.handle_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of the simulator itself. A caller that disconnects never leads here."""
        log.exception("The simulator failed to answer a call")  # noqa: LOG004 - called from an except of socketserver


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "CapillarySimulator"
    # Head and body go out in one write; without this the second of two small replies would wait 40 ms.
    disable_nagle_algorithm = True
    server: _Server
    connection: socket.socket

    def setup(self) -> None:
        super().setup()
        self.server.connections[self.connection] = threading.current_thread()

    def handle(self) -> None:
        """Answer calls until the caller closes the connection or the simulator stops."""
        with contextlib.suppress(OSError):  # the caller went away, which some of the faults provoke
            if not self.server.stopping.is_set():
                super().handle()

    def finish(self) -> None:
        self.server.connections.pop(self.connection, None)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s %s", self.command, urlsplit(self.path).path if self.command else "")

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith(PREFIX):
            self._write(answer_state(self.server.simulator, self.command, parts.path, self._read_body()), "")
            return
        simulator = self.server.simulator
        self.server.stopping.wait(simulator.settings.latency_ms / 1_000)
        arrival = simulator.arrive(self.command, parts.path, int(self.headers.get("Content-Length") or 0))
        early = simulator.choose_fault(arrival.call)
        if early is not None:
            self._cut(reset=getattr(early.fault, "reset", True))
            return
        request = self._read_request(parts.path, parts.query)
        self._deliver(simulator.exchange(arrival, request), arrival, request.request_id)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _answer

    def _read_request(self, path: str, query: str) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request_id = headers.get("x-cap-request-id") or str(uuid.uuid4())
        query_values = dict(parse_qsl(query, keep_blank_values=True))
        return Request(self.command, path, query_values, headers, self._read_body(), request_id)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _deliver(self, delivery: Delivery, arrival: Arrival, request_id: str) -> None:
        stopping = self.server.stopping
        if delivery.cut == "instead" or delivery.reply is None:
            stopping.wait(delivery.hold)
            self._cut(reset=delivery.reset)
            return
        for status in delivery.interim:
            self.wfile.write(
                f"HTTP/1.1 {status} {self.responses.get(status, ('Informational', ''))[0]}\r\n\r\n".encode()
            )
        stopping.wait(delivery.pause)
        template = arrival.route.template if arrival.route else arrival.call.path
        delivery.reply.headers |= {"X-Cap-Requestid": request_id, "x-cap-api-request-uri": template}
        if delivery.cut == "midway":
            content = self._with_head(delivery.reply)
            self.wfile.write(content[: len(content) - len(delivery.reply.content()) // 2 - 1])
            # A reset throws away what the caller has not read yet; give it the time to see half a reply.
            stopping.wait(0.05)
            self._cut(reset=delivery.reset)
            return
        if delivery.pieces > 1:
            self._write_slowly(self._with_head(delivery.reply), delivery)
        else:
            self.server.simulator.note_given(arrival, request_id, delivery.reply)
            self._write(delivery.reply, request_id)

    def _write(self, reply: SimulatedReply, request_id: str) -> None:
        if reply.stream is None:
            self.wfile.write(self._with_head(reply))
            return
        self.wfile.write(self._head(reply, "Transfer-Encoding: chunked"))
        for piece in reply.stream:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _write_slowly(self, content: bytes, delivery: Delivery) -> None:
        size = -(-len(content) // delivery.pieces)
        for start in range(0, len(content), size):
            if start and self.server.stopping.wait(delivery.seconds / (delivery.pieces - 1)):
                return
            self.wfile.write(content[start : start + size])

    def _with_head(self, reply: SimulatedReply) -> bytes:
        content = reply.content()
        return self._head(reply, f"Content-Length: {len(content)}") + (b"" if self.command == "HEAD" else content)

    def _head(self, reply: SimulatedReply, length: str) -> bytes:
        reason = self.responses.get(reply.status, ("Unknown", ""))[0]
        headers = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        head = f"HTTP/1.1 {int(reply.status)} {reason}\r\nDate: {self.date_time_string()}\r\n{headers}{length}\r\n\r\n"
        return head.encode("latin-1")

    def _cut(self, *, reset: bool) -> None:
        """End the connection without another byte."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.rfile.close()  # the socket closes only after all its readers are closed
            self.connection.close()


class RunningSimulator:
    """A simulator that answers on :attr:`url`. Stop it with :meth:`stop`, or use :func:`running_simulator`."""

    def __init__(self, simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.simulator = simulator
        self._server = _Server((host, port), simulator)
        self._thread = threading.Thread(target=self._server.serve, name="capillary-simulator")
        self._thread.daemon = True
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The URL for a client's ``host``, path prefix included."""
        return f"http://{self._reachable_host}:{self.port}{self.settings.path_prefix}"

    @property
    def _reachable_host(self) -> str:
        host = str(self._server.server_address[0])
        return "127.0.0.1" if host == "0.0.0.0" else host

    @property
    def store(self) -> BadgeStore:
        """Every grant. A test compares it with the client's own account."""
        return self.simulator.store

    @property
    def settings(self) -> SimulatorSettings:
        """The settings it was started with."""
        return self.simulator.settings

    def use_faults(self, plan: FaultPlan | Mapping[str, Any] | Sequence[Any] | None) -> None:
        """Replace the fault plan. Calls keep their numbers.

        :param plan: a list of faults as dicts or structs of ``fault_plan.py``, a whole plan, or ``None``: no faults.
        :raises ValueError: it is no fault plan; the message names the field.
        """
        self.simulator.use_faults(plan)

    def release_late(self) -> int:
        """Apply the calls that late faults hold back, now; give how many there were."""
        return self.simulator.late.release()

    def airflow_connection(self, auth_type: str = "basic", **extra: Any) -> str:
        """A Connection of type ``capillary`` to this simulator, as JSON for ``AIRFLOW_CONN_...``.

        :param auth_type: ``basic`` or ``oauth``.
        :param extra: further extras of the connection, such as ``organisation="shop"``.
        """
        settings = self.settings
        is_basic = auth_type == "basic"
        connection = {
            "conn_type": "capillary",
            "host": self.url,
            "login": settings.username if is_basic else settings.oauth_key,
            "password": settings.password if is_basic else settings.oauth_secret,
            "extra": {"auth_type": auth_type, **extra},
        }
        return json.dumps(connection)

    def stop(self) -> None:
        """Stop at once: calls that hang or are slow are cut short. Late commits not yet due never happen."""
        server = self._server
        server.stopping.set()
        with contextlib.suppress(OSError), socket.create_connection((self._reachable_host, self.port), timeout=5):
            self._thread.join(timeout=5)
        self.simulator.late.discard()
        for connection, thread in list(server.connections.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)
        server.server_close()


@contextlib.contextmanager
def running_simulator(
    settings: SimulatorSettings | None = None,
    *,
    faults: FaultPlan | Mapping[str, Any] | Sequence[Any] | None = None,
    clock: Callable[[], float] = time.time,
    host: str = "127.0.0.1",
    port: int = 0,
    **chosen: Any,
) -> Iterator[RunningSimulator]:
    """A simulator in a thread of this process, on a free loopback port, stopped at the end.

    ::

        with running_simulator(zone="Asia/Kolkata", faults=[StatusFault(status=503, numbers=(1,))]) as simulator:
            ...
            assert len(simulator.store) == 3

    :param faults: a fault plan, or a list of its faults; see ``fault_plan.py``.
    :param clock: epoch seconds, for instants and tokens.
    :param chosen: fields of :class:`SimulatorSettings`, if ``settings`` is not given.
    :raises ValueError: a setting or a fault is wrong; the message names it.
    """
    if settings is not None and chosen:
        raise ValueError(f"give either settings or {', '.join(chosen)}")
    simulator = Simulator(settings or SimulatorSettings(**chosen), faults, clock=clock)
    running = RunningSimulator(simulator, host=host, port=port)
    try:
        yield running
    finally:
        running.stop()
