"""Columns of a store's tables, and the way between rows and cases.

`cases` has one row a case and `regions` and `sentences` several. A case's rows share an `entry`, made new whenever the
case is written, and only entries that `cases` names count. So `cases` is written last, and one commit there makes a
case visible, or replaces it, as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from colipri_core.cases import PLANES
from colipri_core.cases import CaseRecord
from colipri_core.cases import StoredCase

if TYPE_CHECKING:
    import pyarrow as pa

CASES, REGIONS, SENTENCES = "cases", "regions", "sentences"
KINDS = (CASES, REGIONS, SENTENCES)

STORED = ("case", "path", "report", "findings", "age", "sex", "date", "tags", "volume_sha256", "warnings", *PLANES)
"""Columns of `cases` that make a `StoredCase`."""

Rows = list[dict[str, Any]]


def schema(kind: str, dimension: int) -> pa.Schema:
    """Return the columns of a table.

    Vectors of parts and sentences are stored in half precision: there are hundreds a case, and rounding moves a cosine
    by less than 0.001.

    Args:
        kind: One of `KINDS`.
        dimension: Length of the vectors.
    """
    import pyarrow as pa

    key = [pa.field("entry", pa.string()), pa.field("case", pa.string())]
    words = pa.list_(pa.string())
    filters = [
        pa.field("findings", words),
        pa.field("age", pa.float32()),
        pa.field("sex", pa.string()),
        pa.field("date", pa.date32()),
        pa.field("tags", words),
    ]
    half = pa.field("vector", pa.list_(pa.float16(), dimension))
    if kind == REGIONS:
        place = [pa.field("name", pa.string()), pa.field("center_ras", pa.list_(pa.float32(), 3))]
        return pa.schema([*key, *place, *filters, half])
    if kind == SENTENCES:
        return pa.schema([*key, pa.field("text", pa.string()), half])
    texts = [pa.field(name, pa.string()) for name in ("path", "report", "volume_sha256", "warnings", "provenance")]
    pictures = [pa.field(plane, pa.binary()) for plane in PLANES]
    return pa.schema([*key, *texts, *filters, *pictures, pa.field("vector", pa.list_(pa.float32(), dimension))])


def rows_of(record: CaseRecord, entry: str) -> dict[str, Rows]:
    """Return the rows of a case for each kind of table.

    Args:
        record: The case.
        entry: Identifies this writing of it.
    """
    key = {"entry": entry, "case": record.source.case}
    filters = _filter_columns(record)
    regions = [
        {**key, **filters, "name": region.name, "center_ras": list(region.center_ras), "vector": region.vector}
        for region in record.regions
    ]
    sentences = [{**key, "text": text, "vector": vector} for text, vector in record.sentences.items()]
    return {REGIONS: regions, SENTENCES: sentences, CASES: [{**key, **filters, **_case_columns(record)}]}


def stored_case(row: Mapping[str, Any]) -> StoredCase:
    """Return a case from the columns `STORED` of its row."""
    return StoredCase(
        case=row["case"],
        path=row["path"],
        report=row["report"],
        findings=tuple(row["findings"] or ()),
        age=row["age"],
        sex=row["sex"] or "",
        date=row["date"],
        tags=tuple(row["tags"] or ()),
        thumbnails={plane: row[plane] for plane in PLANES if row[plane]},
        volume_sha256=row["volume_sha256"],
        warnings=tuple(json.loads(row["warnings"])),
    )


def table_of(rows: Iterable[Mapping[str, Any]], columns: pa.Schema) -> pa.Table:
    """Return rows as an Arrow table of exactly these columns, the last of which is their vectors.

    Args:
        rows: At least one.
        columns: See `schema`.
    """
    import pyarrow as pa

    listed = [dict(row) for row in rows]
    field = columns.field("vector")
    vectors = np.concatenate([row.pop("vector") for row in listed]).astype(field.type.value_type.to_pandas_dtype())
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors), type=field.type)
    others = pa.Table.from_pylist(listed, schema=columns.remove(columns.get_field_index("vector")))
    return others.append_column(field, column)


def _filter_columns(record: CaseRecord) -> dict[str, Any]:
    source = record.source
    return {
        "findings": list(source.findings or ()),
        "age": source.age,
        "sex": source.sex,
        "date": source.date,
        "tags": list(source.tags),
    }


def _case_columns(record: CaseRecord) -> dict[str, Any]:
    provenance = record.embedding.provenance
    return {
        "path": record.source.path,
        "report": record.source.report,
        "volume_sha256": record.volume_sha256,
        "warnings": json.dumps(provenance.warnings),
        "provenance": json.dumps(provenance.to_json()),
        **{plane: record.thumbnails.get(plane) for plane in PLANES},
        "vector": record.embedding.vector,
    }
