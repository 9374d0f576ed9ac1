"""Where the model runs, remembered from one session to the next: napari's preferences, and a keyring for the token.

The manifest declares the settings, so that napari shows and keeps them. A token is a secret: it goes to the system's
keyring where the package `keyring` is installed, and is else kept until napari is closed; COLIPRI_SERVER_TOKEN is read
where nothing else is known.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import os
from typing import Any

from colipri_core.remote.protocol.version import TOKEN_VARIABLE

logger = logging.getLogger(__name__)

PLUGIN = "napari-colipri"

_tokens: dict[str, str] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerPreference:
    """Whether to use a server, and which.

    Args:
        use_server: Whether the model runs at a server.
        url: Its address; kept also while the model runs on this computer.
    """

    use_server: bool = False
    url: str = ""


def remembered() -> ServerPreference:
    """Return what was chosen last."""
    settings = _settings()
    if settings is None:
        return ServerPreference()
    return ServerPreference(use_server=bool(settings.use_server), url=str(settings.server_url))


def remember(preference: ServerPreference) -> None:
    """Keep a choice.

    Args:
        preference: What was chosen.
    """
    settings = _settings()
    if settings is not None:
        settings.use_server, settings.server_url = preference.use_server, preference.url


def token_of(url: str) -> str:
    """Return the token of a server; empty if none is known.

    Args:
        url: Its address.
    """
    if url in _tokens:
        return _tokens[url]
    keyring = _keyring()
    if keyring is not None and url:
        try:
            stored = keyring.get_password(PLUGIN, url)
        except keyring.errors.KeyringError as error:
            logger.warning("The keyring of this system could not be read: %s", error)
        else:
            if stored:
                return str(stored)
    return os.environ.get(TOKEN_VARIABLE, "")


def keep_token(url: str, token: str) -> None:
    """Keep the token of a server.

    Args:
        url: Its address.
        token: The token.
    """
    if not url or token == token_of(url):
        return
    _tokens[url] = token
    keyring = _keyring()
    if keyring is not None and token:
        try:
            keyring.set_password(PLUGIN, url, token)
        except keyring.errors.KeyringError as error:
            logger.warning("The token is kept until napari is closed, for the keyring refused it: %s", error)


def _settings() -> Any | None:
    """The settings of this plugin in napari's preferences; None where napari does not know the plugin."""
    from napari.settings import get_plugin_settings

    settings = get_plugin_settings().get(PLUGIN)
    return getattr(settings, "model", None)


def _keyring() -> Any | None:
    try:
        return importlib.import_module("keyring")
    except ModuleNotFoundError:
        return None
