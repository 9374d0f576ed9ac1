"""Asking a server as the page does: JSON, NIfTI bytes, and streams of frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import nibabel
import numpy as np

from colipri_core.remote.protocol.frames import Frame
from colipri_core.remote.protocol.frames import Kind
from colipri_core.remote.protocol.streams import FrameReader

HEADERS = {"Colipri-Protocol": "1"}


class Page:
    """A page without a browser.

    Args:
        url: The server.
        headers: Headers of every request.
    """

    def __init__(self, url: str, *, headers: dict[str, str] | None = None) -> None:
        self.client = httpx2.Client(base_url=url, headers=HEADERS if headers is None else headers, timeout=60)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        return self.client.post(path, **options)

    def open(self, name: str) -> dict[str, Any]:
        """Open a case and return what the server says of it."""
        answer = self.post("/web/api/cases", json={"name": name})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def frames(self, path: str, body: dict[str, Any]) -> list[Frame]:
        """Ask for long work and return all frames of the answer."""
        reader = FrameReader()
        frames = []
        with self.client.stream("POST", path, json=body) as answer:
            assert answer.status_code == 200, answer.read()
            for piece in answer.iter_bytes():
                frames += reader.feed(piece)
        reader.finish()
        return frames

    def work(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for long work and return its result."""
        last = self.frames(path, body)[-1]
        assert last.kind is Kind.RESULT, last.body
        return last.body

    def image(self, path: str) -> nibabel.Nifti1Image:
        """Fetch a NIfTI, unpacked as a browser unpacks it."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-encoding"] == "gzip"
        return nibabel.Nifti1Image.from_bytes(answer.content)


def code(answer: httpx2.Response) -> str:
    """The code of an error."""
    return str(answer.json()["error"]["code"])


def array(image: nibabel.Nifti1Image) -> np.ndarray:
    """Voxels as stored."""
    return np.asanyarray(image.dataobj)


def sentences(frames: list[Frame]) -> Iterator[dict[str, Any]]:
    """Bodies of the sentences of a stream."""
    return (frame.body for frame in frames if frame.kind is Kind.SENTENCE)
