"""An API for orders. It says in each answer which replica gave it.

Orders are kept in the replica's own memory: another replica does not see them, and they are gone when it restarts.
That is on purpose for now, and what a shared store is for.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field

KEPT = 1000
"""Orders that one replica remembers; the oldest goes first."""

ZONE = os.environ.get("HOLDFAST_ZONE", "")
REGION = os.environ.get("HOLDFAST_REGION") or os.environ.get("AWS_REGION") or "local"
NODE = os.environ.get("HOLDFAST_NODE") or f"process-{os.getpid()}"


class NewOrder(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    item: str = Field(min_length=1, max_length=80, examples=["Blue kettle"])
    quantity: int = Field(ge=1, le=1000, examples=[2])


class Order(NewOrder):
    """An order that a replica has taken."""

    id: str
    taken_at: datetime
    taken_by: str


class Orders(BaseModel):
    """Newest first, as one replica knows them."""

    orders: list[Order]
    answered_by: str


class Place(BaseModel):
    """Where an answer comes from."""

    region: str
    zone: str
    node: str


def not_cached(response: Response) -> None:
    """Each answer is this replica's own, so no cache may give it to somebody else."""
    response.headers["cache-control"] = "no-store"


kept: OrderedDict[str, Order] = OrderedDict()
api = APIRouter(prefix="/api", dependencies=[Depends(not_cached)])
app = FastAPI(title="Orders", version="1.0.0")


@app.get("/health")
async def health() -> dict[str, str]:
    """Whether this replica can take orders; what load balancers ask."""
    return {"status": "ok"}


@api.get("/orders")
async def list_orders(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Orders:
    """The newest orders of the replica that answers."""
    newest = list(reversed(kept.values()))[:limit]
    return Orders(orders=newest, answered_by=NODE)


@api.post("/orders", status_code=201)
async def create_order(new: NewOrder, response: Response) -> Order:
    """Take an order."""
    order = Order(**new.model_dump(), id=uuid4().hex[:12], taken_at=datetime.now(UTC), taken_by=NODE)
    kept[order.id] = order
    if len(kept) > KEPT:
        kept.popitem(last=False)
    response.headers["location"] = f"/api/orders/{order.id}"
    return order


@api.get("/orders/{order_id}")
async def get_order(order_id: str) -> Order:
    """One order, if it was taken by the replica that answers."""
    if order_id not in kept:
        raise HTTPException(404, f"{NODE} knows no order {order_id}")
    return kept[order_id]


@api.get("/whereami")
async def whereami() -> Place:
    """Which region, zone and replica answers."""
    return Place(region=REGION, zone=ZONE or REGION, node=NODE)


@api.get("/slow")
async def slow(ms: Annotated[int, Query(ge=0, le=60_000)] = 1000) -> Place:
    """Answer after ``ms`` milliseconds: to see time-outs, and how a leaving replica finishes its work."""
    await asyncio.sleep(ms / 1000)
    return await whereami()


app.include_router(api)
