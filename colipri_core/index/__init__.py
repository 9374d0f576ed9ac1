"""The case store: where cases are kept, added and searched, on a folder or an object store (LanceDB).

`open_store` is all a searcher needs. LanceDB itself is imported when a store is opened.
"""

from __future__ import annotations

from colipri_core.index.add import AddOptions
from colipri_core.index.add import AddReport
from colipri_core.index.add import add_cases
from colipri_core.index.add import encode_case
from colipri_core.index.add import encode_volume
from colipri_core.index.rebuild import rebuild_store
from colipri_core.index.shard import Shard
from colipri_core.index.sources import find_sources
from colipri_core.index.store import CaseStore
from colipri_core.index.store import StoreInfo
from colipri_core.index.store import open_store

__all__ = [
    "AddOptions",
    "AddReport",
    "CaseStore",
    "Shard",
    "StoreInfo",
    "add_cases",
    "encode_case",
    "encode_volume",
    "find_sources",
    "open_store",
    "rebuild_store",
]
