"""Numbers over steps, each with the other axes it can be drawn over. A step that is run again replaces
what an earlier attempt wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from domain.tables import Json, MetricPoint


def put(session: Session, *, place: Json, values: Mapping[str, float]) -> None:
    """Writes `values` by key at `place`, which has every other column of a point."""
    rows = [{**place, "key": key, "value": value} for key, value in values.items()]
    row = insert(MetricPoint).values(rows)
    changed = {name: row.excluded[name] for name in (*place, "value")}
    session.execute(
        row.on_conflict_do_update(
            index_elements=[MetricPoint.job_id, MetricPoint.key, MetricPoint.step], set_=changed
        )
    )


def series(
    session: Session, *, job_id: UUID, keys: Sequence[str] | None = None, max_points: int = 500
) -> list[MetricPoint]:
    """The job's points of the given keys or of all, by key and step.

    A key with more than `max_points` is thinned evenly; its last point always stays.
    """
    number = func.row_number().over(partition_by=MetricPoint.key, order_by=MetricPoint.step.desc())
    count = func.count().over(partition_by=MetricPoint.key)
    inner = select(MetricPoint, number.label("from_end"), count.label("points")).where(
        MetricPoint.job_id == job_id
    )
    if keys is not None:
        inner = inner.where(MetricPoint.key.in_(keys))
    ranked = inner.subquery()
    point = aliased(MetricPoint, ranked)
    every = cast(func.ceil(ranked.c.points / float(max_points)), BigInteger)
    query = select(point).where(func.mod(ranked.c.from_end - 1, every) == 0)
    return list(session.scalars(query.order_by(point.key, point.step)))
