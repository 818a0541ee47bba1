"""Numbers over steps, each with the other axes it can be drawn over. A step that is run again replaces
what an earlier attempt wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, case, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from domain.tables import Json, MetricPoint

Axis = Literal["step", "reward_queries", "gpu_seconds", "wall_s"]

FEWEST_POINTS = 4
"""The first, the last, and the extremes of what lies between them."""


@dataclass(frozen=True)
class Stretch:
    """A part of an axis, both ends included; None: to the end of the curve."""

    x: Axis = "step"
    start: float | None = None
    end: float | None = None


@dataclass
class Curve:
    """One metric's points by step, and how many there are in the database."""

    key: str
    total: int
    points: list[MetricPoint] = field(default_factory=list)


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


def series(session: Session, *, job_id: UUID, keys: Sequence[str]) -> list[MetricPoint]:
    """Every point of the job's metrics of these keys, by key and step."""
    query = select(MetricPoint).where(MetricPoint.job_id == job_id, MetricPoint.key.in_(keys))
    return list(session.scalars(query.order_by(MetricPoint.key, MetricPoint.step)))


def curves(
    session: Session,
    *,
    job_id: UUID,
    keys: Sequence[str] | None = None,
    stretch: Stretch = Stretch(),
    max_points: int = 500,
) -> list[Curve]:
    """The job's metrics of the given keys or of all, by key, with no more than `max_points` points each.

    A longer curve is cut into buckets of equally many points, of which the lowest and the highest stay,
    and with them the curve's first and last: no peak is lost. `max_points` is at least 4. Points that are
    no numbers count as neither low nor high; a bucket of nothing else keeps one, so that the gap shows.
    """
    point, total, bucket = _numbered(job_id, keys, stretch, max_points)
    # NaN is the largest of all for Postgres, and would pass for every bucket's peak.
    number = case((point.value == literal(math.nan), None), else_=point.value)
    lowest, highest = (
        func.row_number().over(
            partition_by=(point.key, bucket), order_by=(order.nulls_last(), point.step)
        )
        for order in (number.asc(), number.desc())
    )
    ranked = select(
        point, total.label("total"), lowest.label("lowest"), highest.label("highest")
    ).subquery()
    kept = aliased(MetricPoint, ranked)
    query = select(kept, ranked.c.total).where(
        or_(ranked.c.total <= max_points, ranked.c.lowest == 1, ranked.c.highest == 1)
    )
    found: dict[str, Curve] = {}
    for row, count in session.execute(query.order_by(kept.key, kept.step)):
        found.setdefault(row.key, Curve(row.key, count)).points.append(row)
    return list(found.values())


def _numbered(
    job_id: UUID, keys: Sequence[str] | None, stretch: Stretch, max_points: int
) -> tuple[type[MetricPoint], ColumnElement[int], ColumnElement[int]]:
    """The points asked for, how many each key has, and each point's bucket: the first and the last point
    of a key have one of their own."""
    number = func.row_number().over(partition_by=MetricPoint.key, order_by=MetricPoint.step)
    count = func.count().over(partition_by=MetricPoint.key)
    inner = select(MetricPoint, number.label("number"), count.label("total"))
    inner = inner.where(MetricPoint.job_id == job_id, *_within(stretch))
    if keys is not None:
        inner = inner.where(MetricPoint.key.in_(keys))
    numbered = inner.subquery()
    buckets = (max_points - 2) // 2
    between = func.floor((numbered.c.number - 2) * buckets / func.greatest(numbered.c.total - 2, 1))
    bucket = case(
        (numbered.c.number == 1, -1),
        (numbered.c.number == numbered.c.total, buckets),
        else_=between,
    )
    return aliased(MetricPoint, numbered), numbered.c.total, bucket


def _within(stretch: Stretch) -> list[ColumnElement[bool]]:
    axis = getattr(MetricPoint, stretch.x)
    limits = [] if stretch.start is None else [axis >= stretch.start]
    return limits if stretch.end is None else [*limits, axis <= stretch.end]
