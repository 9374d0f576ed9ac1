"""The same store on an object store: a local server that speaks S3 stands in for one."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest
from store_scenes import embedding
from store_scenes import record
from store_scenes import unit

from colipri_core.errors import StoreError
from colipri_core.index import open_store

server = pytest.importorskip("moto.server", reason="the stand-in for an object store, moto[server], is not installed")

SIGNED = "AWS4-HMAC-SHA256 Credential=a/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    """How to reach the stand-in, with an empty bucket."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    bucket = urllib.request.Request(f"{endpoint}/bucket", method="PUT", headers={"Authorization": SIGNED})
    urllib.request.urlopen(bucket, timeout=30).close()
    yield {
        "endpoint": endpoint,
        "aws_access_key_id": "a",
        "aws_secret_access_key": "b",
        "region": "us-east-1",
        "allow_http": "true",
    }
    running.stop()


def test_cases_are_added_changed_found_and_removed(options: dict[str, str]) -> None:
    store = open_store("s3://bucket/cases", "w", storage_options=options)
    store.add([record(number) for number in range(5)])
    store.update([record(2, report="New.")])
    store.remove(["case-4"])
    store.tidy()

    reader = open_store("s3://bucket/cases", storage_options=options)
    assert (reader.info().cases, reader.info().regions, reader.info().sentences) == (4, 4, 4)
    (match, *_) = reader.search(embedding(unit(2)))
    assert (match.case, match.report, match.distance) == ("case-2", "New.", 0.0)
    assert reader.search(embedding(unit(1001)), 1, by_region=True)[0].case == "case-1"


def test_nothing_there_is_said_in_words(options: dict[str, str]) -> None:
    with pytest.raises(StoreError, match="found none"):
        open_store("s3://bucket/none", storage_options=options)
