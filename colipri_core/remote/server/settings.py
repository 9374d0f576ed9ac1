"""How a server is run: address, secrets, folders and limits. What is unsafe is refused before anything starts."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

TOKEN_VARIABLE = "COLIPRI_SERVER_TOKEN"
DEFAULT_PORT = 8765
_SHORTEST_TOKEN = 16
_STORE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server holds at most. All numbers are our choice, for one GPU and a group of readers.

    Args:
        lease_s: Seconds without a call or heartbeat after which a session is saved and closed.
        retain_s: Seconds for which closed sessions and unused volumes can be taken up again; then they are deleted.
        sessions: Open sessions.
        jobs: Jobs that wait or run, of all sessions.
        jobs_per_session: Jobs that wait or run, of one session.
        volume_voxels: Voxels of one volume.
        body_bytes: Bytes of one request other than the upload of a volume.
        memory_bytes: Bytes of all volumes in memory.
        disk_bytes: Bytes of all volumes kept in the state folder, compressed.
        stop_s: Seconds that running jobs get to end when the server stops.

    Raises:
        ValueError: If a limit is not above zero.
    """

    lease_s: float = 120.0
    retain_s: float = 7 * 86_400.0
    sessions: int = 32
    jobs: int = 64
    jobs_per_session: int = 4
    volume_voxels: int = 2**29
    body_bytes: int = 512 * 2**20
    memory_bytes: int = 16 * 2**30
    disk_bytes: int = 64 * 2**30
    stop_s: float = 10.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                msg = f"Expected a limit above zero for {field.name}, got {value}."
                raise ValueError(msg)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where a server listens, what it may touch, and its limits.

    Args:
        state: Folder in which volumes and edits are kept, so that a restarted server finds them again.
        host: Address to listen on: a numeric address, or "localhost".
        port: TCP port; 0 for any that is free.
        root: The only folder whose volumes may be opened by path; None allows no paths.
        token: The secret that clients send; empty for none, which only a loopback address allows.
        tls_cert: Certificate chain (PEM); None serves plain HTTP.
        tls_key: Its private key (PEM).
        stores: Name -> address of the case stores that may be searched.
        web: Serve the browser view as well.
        cases: CTs that the browser view offers by name.
        limits: What it holds at most.

    Raises:
        ValueError: If the address needs a token and there is none, or a value cannot be used.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    root: Path | None = None
    token: str = dataclasses.field(default="", repr=False)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    stores: Mapping[str, str] = dataclasses.field(default_factory=dict)
    web: bool = False
    cases: tuple[Path, ...] = ()
    limits: Limits = dataclasses.field(default_factory=Limits)

    def __post_init__(self) -> None:
        _check_address(self.host, self.port, self.token)
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "Expected both a TLS certificate and its key, got one of them. Pass --tls-cert and --tls-key."
            raise ValueError(msg)
        for name, path in (("root", self.root), ("certificate", self.tls_cert), ("key", self.tls_key)):
            if path is not None and not (path.is_dir() if name == "root" else path.is_file()):
                msg = f'Expected the {name} "{path}" to exist. Correct the path.'
                raise ValueError(msg)
        for name in self.stores:
            if not _STORE_NAME.fullmatch(name):
                msg = f'Expected a store name of letters, digits and "_.-", got "{name}". Pass --store NAME=ADDRESS.'
                raise ValueError(msg)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def scheme(self) -> str:
        """Scheme of the URL: with a certificate "https"."""
        return "http" if self.tls_cert is None else "https"


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    Args:
        host: A numeric address or "localhost"; any other name counts as reachable from elsewhere.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_address(host: str, port: int, token: str) -> None:
    if not 0 <= port <= 65_535:
        msg = f"Expected a TCP port from 0 to 65535, got {port}."
        raise ValueError(msg)
    if not token.isascii() or any(character.isspace() for character in token):
        msg = (
            "Expected a token of ASCII characters without spaces. "
            'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
        raise ValueError(msg)
    if token and len(token) < _SHORTEST_TOKEN and not is_loopback(host):
        msg = (
            f"Expected a token of at least {_SHORTEST_TOKEN} characters where others than this machine can connect. "
            'Make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
        raise ValueError(msg)
    if not token and not is_loopback(host):
        msg = (
            f"Expected a token, because others than this machine can connect to {host}, got none. Set the environment "
            f"variable {TOKEN_VARIABLE} to a long secret, or listen on 127.0.0.1."
        )
        raise ValueError(msg)
