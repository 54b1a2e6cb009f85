"""Checks the credentials of a call to the simulator: a till with the MD5 of its password, or a valid OAuth token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Mapping

import msgspec

from airflow_provider_capillary.simulator.messages import Request, SimulatedReply, json_reply, parse_error, refusal
from airflow_provider_capillary.simulator.simulator_settings import SimulatorSettings


class Gatekeeper:
    """Checks credentials and issues tokens. Every call of the token endpoint gives another token."""

    def __init__(self, settings: SimulatorSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._expiry_of_token: dict[str, float] = {}
        password_md5 = hashlib.md5(settings.password.encode(), usedforsecurity=False).hexdigest()
        self._basic = f"{settings.username}:{password_md5}"

    def refuse(self, request: Request) -> SimulatedReply | None:
        """``None`` for a caller with valid credentials, else the 401 to answer with."""
        token = request.headers.get("x-cap-api-oauth-token")
        if self._is_till(request.headers) if token is None else self._is_valid(token):
            return None
        return refusal(401, 401, "Authentication failed. Please check username and password.")

    def _is_valid(self, token: str) -> bool:
        with self._lock:
            return self._expiry_of_token.get(token, 0.0) > self._clock()

    def _is_till(self, headers: Mapping[str, str]) -> bool:
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        try:
            decoded = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme.lower() == "basic" and decoded == self._basic

    def give_token(self, request: Request) -> SimulatedReply:
        """``POST /v3/oauth/token/generate``: Capillary's own shape, not RFC 6749."""
        try:
            sent = msgspec.json.decode(request.body, type=dict[str, object])
        except msgspec.DecodeError as error:
            return parse_error(str(error))
        if (sent.get("key"), sent.get("secret")) != (self._settings.oauth_key, self._settings.oauth_secret):
            # The page names the message only; status and code are not documented.
            return refusal(401, 401, "Failed to generate OAuth token")
        ttl = self._settings.token_ttl_seconds
        token = self._new_token(ttl)
        return json_reply({"data": {"accessToken": token, "ttlSeconds": ttl}, "errors": None})

    def _new_token(self, ttl: int) -> str:
        issued = int(self._clock())
        claims = {"iss": "Capillary", "token_use": "token_access", "iat": issued, "exp": issued + ttl}
        parts = (json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(claims).encode())
        signature = secrets.token_urlsafe(64)  # never checked by clients, and different each time
        token = ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), signature])
        with self._lock:
            self._expiry_of_token[token] = self._clock() + ttl
        return token
