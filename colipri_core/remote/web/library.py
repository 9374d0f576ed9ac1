"""The viewer library of the page: one pinned npm tarball, verified by its hash, fetched once and kept.

The page draws with NiiVue, which reads NIfTI with its affine and needs WebGL2 alone. No copy of it is part of this
package: `library_module` takes the tarball from a place the user names, from the cache, or from the npm registry, and
hands out the one file of it that browsers load. The hash is pinned here and checked every time, so neither a registry
nor a cache can slip in other code; a new version is a change of this file.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import logging
import os
import tarfile
from pathlib import Path

import platformdirs

from colipri_core.errors import MissingDependencyError
from colipri_core.io.atomic import atomic_file
from colipri_core.progress import Reporter

logger = logging.getLogger(__name__)

LIBRARY_VARIABLE = "COLIPRI_WEB_LIBRARY"
"""Environment variable that names the tarball, or the folder that holds it, for machines without a network."""

DEFAULT_REGISTRY = "https://registry.npmjs.org"

_LARGEST_BYTES = 64 * 2**20
_TIMEOUT_S = 30.0
_MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class NpmPackage:
    """One version of an npm package and the file of it that is used.

    Args:
        name: Name with its scope, such as "@niivue/niivue".
        version: Exact version.
        integrity: "sha512-" and the base64 SHA-512 of the tarball, as `npm view NAME@VERSION dist.integrity` gives it.
        module: Path in the tarball of a self-contained ES module.
    """

    name: str
    version: str
    integrity: str
    module: str

    @property
    def tarball(self) -> str:
        """File name of the tarball in the registry."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def packed(self) -> str:
        """File name that `npm pack` gives the same tarball."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    def address(self, registry: str) -> str:
        """Address of the tarball in a registry."""
        return f"{registry.rstrip('/')}/{self.name}/-/{self.tarball}"


NIIVUE = NpmPackage(
    name="@niivue/niivue",
    version="0.69.0",
    integrity="sha512-YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA==",
    module="package/dist/index.js",
)


def library_module(package: NpmPackage = NIIVUE, *, report: Reporter | None = None) -> bytes:
    """Return the verified ES module of a package, fetching its tarball if this machine has none yet.

    Args:
        package: The package.
        report: Receives the fetched fraction; its cancellation ends the transfer.

    Raises:
        MissingDependencyError: If there is no copy and none can be fetched, or a copy has the wrong hash.
        Cancelled: If the reporter's cancel token is set.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        return _unpacked(_read_named(Path(named), package), package)
    kept = _cache_folder() / package.tarball
    if kept.is_file():
        content = kept.read_bytes()
        if _integrity(content) == package.integrity:
            return _unpacked(content, package)
        logger.warning("The kept copy of %s is damaged; fetching it anew", package.tarball)
    content = _fetched(package, report or Reporter())
    _verify(content, package, origin=f"the registry {registry_address()}")
    _keep(content, kept)
    return _unpacked(content, package)


def registry_address() -> str:
    """Return the npm registry that npm's configuration names: environment, user's .npmrc, or the public one."""
    configured = {name.lower(): value for name, value in os.environ.items() if value}  # npm takes either case
    if "npm_config_registry" in configured:
        return configured["npm_config_registry"]
    settings = Path(configured.get("npm_config_userconfig", Path.home() / ".npmrc"))
    try:
        lines = settings.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return DEFAULT_REGISTRY
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "registry" and value.strip():
            return value.strip().strip("\"'")
    return DEFAULT_REGISTRY


def _cache_folder() -> Path:
    return platformdirs.user_cache_path("colipri", appauthor=False) / "web"


def _read_named(place: Path, package: NpmPackage) -> bytes:
    inside = [place / package.packed, place / package.tarball]
    path = next((path for path in inside if path.is_file()), inside[0]) if place.is_dir() else place
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = (
            f"Expected {package.packed} at the place {LIBRARY_VARIABLE} names, found none ({error.strerror}). "
            f"Fetch it elsewhere with: npm pack {package.name}@{package.version}"
        )
        raise MissingDependencyError(msg) from error
    _verify(content, package, origin=path.name)
    return content


def _fetched(package: NpmPackage, report: Reporter) -> bytes:
    import httpx2

    content = bytearray()
    try:
        with httpx2.stream(
            "GET", package.address(registry_address()), follow_redirects=True, timeout=_TIMEOUT_S
        ) as response:
            response.raise_for_status()
            total = max(int(response.headers.get("content-length", 0)), 1)
            for chunk in response.iter_bytes():
                content += chunk
                done = f"Fetching {package.tarball}: {len(content) / _MEGABYTE:.1f} of {total / _MEGABYTE:.1f} MB"
                report(len(content) / total, done)
                if len(content) > _LARGEST_BYTES:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise MissingDependencyError(_unreachable(package, error)) from error
    return bytes(content)


def _unreachable(package: NpmPackage, error: Exception) -> str:
    return (
        f"The browser view draws with {package.name} {package.version}, which this machine does not have yet, and the "
        f"npm registry {registry_address()} did not give it ({error}). Connect once, set npm_config_registry to a "
        f"mirror, or run `npm pack {package.name}@{package.version}` elsewhere, bring {package.packed} here, and set "
        f"{LIBRARY_VARIABLE} to its place."
    )


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _verify(content: bytes, package: NpmPackage, *, origin: str) -> None:
    if _integrity(content) != package.integrity:
        msg = (
            f"Expected {package.tarball} with {package.integrity}, found {_integrity(content)} in {origin}. "
            f"It is damaged or another file; fetch it anew with: npm pack {package.name}@{package.version}"
        )
        raise MissingDependencyError(msg)


def _keep(content: bytes, path: Path) -> None:
    """Keep a verified tarball; a full or read-only disk costs the copy, not the view."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, ".tgz") as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        logger.warning("%s could not be kept for the next start (%s)", path.name, error)


def _unpacked(content: bytes, package: NpmPackage) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        member = archive.extractfile(package.module)
        assert member is not None, "the pinned tarball holds the module"
        return member.read()
