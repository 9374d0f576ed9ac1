"""The values of a MONAI bundle's configuration, without running any of it.

MONAI's own parser instantiates whatever `_target_` names and evaluates whatever follows a `$`, which is running code
that came with the weights. Here `@` references are followed, and of expressions only those are understood that choose
and join plain values, such as `$[1.5, 1.5, 1.5] if @highres else [3.0, 3.0, 3.0]`. Anything else is an error.
Format: https://docs.monai.io/en/stable/mb_specification.html
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from colipri_core.errors import BundleError

_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")
_DEEPEST = 32
_LONGEST = 2000
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISON: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


class MonaiConfig:
    """A parsed configuration file.

    Args:
        document: Its JSON.
        source: What the file is called, for messages.
    """

    def __init__(self, document: Mapping[str, Any], *, source: str) -> None:
        self._document = document
        self._source = source

    def __contains__(self, path: str) -> bool:
        try:
            self._raw(path)
        except BundleError:
            return False
        return True

    def value(self, path: str) -> Any:
        """Return a plain value with its references followed.

        Args:
            path: Keys and indices from the root, joined by "#", such as "inferer#roi_size".

        Raises:
            BundleError: If there is none, or it can only be had by running code.
        """
        return self._resolved(self._raw(path), path, depth=0)

    def raw(self, path: str) -> Any:
        """Return what stands there as it is, references and expressions included; errors as `value`."""
        return self._raw(path)

    def _raw(self, path: str) -> Any:
        found: Any = self._document
        for part in re.split("::|#", path):
            if isinstance(found, Mapping) and part in found:
                found = found[part]
            elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                msg = f'Expected "{path}" in {self._source} of the MONAI bundle, found none.'
                raise BundleError(msg)
        return found

    def _resolved(self, value: Any, path: str, *, depth: int) -> Any:
        if depth > _DEEPEST:
            msg = f'Expected values in {self._source}, found references in a circle at "{path}".'
            raise BundleError(msg)
        if isinstance(value, Mapping):
            return {name: self._resolved(inner, f"{path}#{name}", depth=depth + 1) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._resolved(inner, f"{path}#{at}", depth=depth + 1) for at, inner in enumerate(value)]
        if isinstance(value, str) and value.startswith("$"):
            return self._evaluated(value, path, depth=depth)
        if isinstance(value, str) and _REFERENCE.fullmatch(value):
            return self._resolved(self._raw(value[1:]), path, depth=depth + 1)
        return value

    def _evaluated(self, text: str, path: str, *, depth: int) -> Any:
        names: dict[str, Any] = {}

        def name_of(match: re.Match[str]) -> str:
            name = f"_{len(names)}"
            names[name] = self._resolved(self._raw(match[1]), path, depth=depth + 1)
            return name

        try:
            if len(text) > _LONGEST:
                raise ValueError(text[:_LONGEST])
            return _plain(ast.parse(_REFERENCE.sub(name_of, text[1:].strip()), mode="eval").body, names)
        except (SyntaxError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            msg = (
                f'Expected a plain value for "{path}" in {self._source}, found the expression {text[:80]!r}, which '
                "would have to be run. Code that comes with a model is never run: put the value there."
            )
            raise BundleError(msg) from error


def _plain(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Evaluate an expression of plain values; ValueError for any other."""
    result: Any
    match node:
        case ast.Constant(value=value):
            result = value
        case ast.Name(id=name) if name in names:
            result = names[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            result = [_plain(item, names) for item in items]
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            result = not _plain(inner, names)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            result = -_plain(inner, names)
        case ast.IfExp(test=test, body=first, orelse=second):
            result = _plain(first if _plain(test, names) else second, names)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISON:
            result = _COMPARISON[type(op)](_plain(left, names), _plain(right, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            result = _joined(op, _plain(left, names), _plain(right, names))
        case _:
            raise ValueError(ast.dump(node))
    return result


def _joined(op: ast.operator, left: Any, right: Any) -> Any:
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    texts = isinstance(left, str) and isinstance(right, str) and isinstance(op, ast.Add)
    if not (numbers or texts):
        raise ValueError(ast.dump(op))
    return _ARITHMETIC[type(op)](left, right)
