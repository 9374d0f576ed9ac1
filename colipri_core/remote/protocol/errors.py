"""Errors on the wire: `{"error": {"code", "message", "details"}}`; which class and HTTP status a code stands for.

What a front end can act on is the class: it meets the same one whether the engine runs beside it or behind a URL.
Errors that are nobody's business but the server's own travel as "server-fault", without their text.
"""

from __future__ import annotations

from typing import Any

from colipri_core import errors

STATUS: dict[str, int] = {
    "bad-value": 422,
    "bad-type": 422,
    "malformed": 400,
    "bad-token": 401,
    "not-found": 404,
    "volume-unknown": 404,
    "session-unknown": 404,
    "out-of-step": 409,
    "object-locked": 409,
    "empty-history": 409,
    "session-closed": 409,
    "cancelled": 409,
    "too-large": 413,
    "protocol-mismatch": 426,
    "server-busy": 503,
    "server-stopping": 503,
    "store-busy": 503,
    "server-fault": 500,
    "autosave-failed": 507,
    "server-full": 507,
}
"""HTTP status of each code; 422 for what is not listed."""

_DETAILS = {
    errors.SeveralSeriesError: ("series",),
    errors.StoreModelError: ("stored", "given"),
    errors.OutOfStepError: ("revision",),
}
_FAULT = "Something went wrong inside the server. Its log says what; try again, or ask whoever runs it."


def error_body(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON values.

    Args:
        error: Any error; only those of the package and bad arguments travel with their text.
    """
    if isinstance(error, errors.ColipriError):
        names = next((names for kind, names in _DETAILS.items() if isinstance(error, kind)), ())
        return _body(error.code, str(error), {name: getattr(error, name) for name in names})
    if isinstance(error, (ValueError, TypeError)):
        return _body("bad-value" if isinstance(error, ValueError) else "bad-type", str(error), {})
    return _body(errors.ServerFaultError.code, _FAULT, {})


def error_status(error: BaseException) -> int:
    """Return the HTTP status of an error."""
    return STATUS.get(error_body(error)["error"]["code"], 422)


def error_from_body(body: dict[str, Any]) -> Exception:
    """Make the error that a body stands for.

    Args:
        body: What `error_body` returned; anything else makes a `ServerFaultError` that says so.
    """
    described = body.get("error")
    if not isinstance(described, dict):
        return errors.ServerFaultError("The server failed without saying why. Its log says more.")
    code, message = str(described.get("code")), str(described.get("message"))
    if code in {"bad-value", "bad-type"}:
        return ValueError(message) if code == "bad-value" else TypeError(message)
    kind = _classes().get(code, errors.ServerFaultError)
    details = described.get("details")
    wanted = _DETAILS.get(kind, ())
    given = details if isinstance(details, dict) else {}
    if not wanted:
        return kind(message)
    try:
        return kind(message, **{name: given[name] for name in wanted})
    except KeyError:
        return errors.ServerFaultError(message)


def _body(code: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": details}}


def _classes() -> dict[str, type[errors.ColipriError]]:
    found = {"error": errors.ColipriError}
    waiting = [errors.ColipriError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__ == errors.__name__:
                found[kind.code] = kind
    return found
