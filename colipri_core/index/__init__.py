"""The case store: where cases are kept, added and searched, on a folder or an object store (LanceDB).

`open_store` is all a searcher needs; `add`, `rebuild` and `sources` fill a store from files. LanceDB itself is imported
when a store is opened.
"""

from __future__ import annotations

from colipri_core.index.store import CaseStore
from colipri_core.index.store import StoreInfo
from colipri_core.index.store import open_store

__all__ = ["CaseStore", "StoreInfo", "open_store"]
