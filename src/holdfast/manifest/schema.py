"""What a manifest may say: one frozen pydantic model a table.

Types are strict (``"3"`` is not a number). Each field's ``examples`` go into the error a user sees, so they
are written as they would stand in the file. Rules that need two tables or the disk are in ``rules.py``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_REPLICAS = 5000
"""Far above what one service runs; it keeps a slip of the finger from placing a billion nodes."""

_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_IMPORT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def _name(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError("must be 1 to 40 lower-case letters, digits and hyphens, starting with a letter")
    return value


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        raise ValueError("must be a lower-case domain name without scheme, port or path")
    return value


def _import_string(value: str) -> str:
    if not _IMPORT.fullmatch(value):
        raise ValueError('must be "module:attribute", the way uvicorn and gunicorn take it')
    return value


def _health(value: str) -> str:
    if not value.startswith("/") or any(mark in value for mark in "?# \t\r\n"):
        raise ValueError('must be a path that starts with "/" and has no query')
    return value


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((item for item in value if value.count(item) > 1), None)
    if twice is not None:
        raise ValueError(f'names "{twice}" twice')
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Table(BaseModel):
    """Base of every table: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class Service(Table):
    """``[service]``: the program. Paths are relative to the manifest's folder."""

    name: Annotated[str, AfterValidator(_name)] = Field(examples=["orders"])
    """Names stacks, logs and DNS records."""
    app: Annotated[str, AfterValidator(_import_string)] | None = Field(
        default=None, examples=["orders.api:app"]
    )
    """ASGI or WSGI import string. Either this or ``command``."""
    command: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None, examples=[["./server", "--port", "{port}"]]
    )
    """Any program that serves HTTP on the port it is given in place of ``{port}``."""
    health: Annotated[str, AfterValidator(_health)] = Field(default="/health", examples=["/health"])
    """What balancers and DNS ask."""
    drain_s: float = Field(default=20.0, ge=0, le=3600, allow_inf_nan=False, examples=[20])
    """Seconds a leaving replica keeps finishing requests."""
    root: FilePath = Field(default=".", examples=["."])
    """Folder that the program is imported from and started in."""
    openapi: FilePath | None = Field(default=None, examples=["openapi.yaml"])
    """The API's description; asked from the running program where it is absent."""
    client: FilePath | None = Field(default=None, examples=["web/"])
    """A static site, served through the CDN."""
    env: dict[str, Text] = Field(default_factory=dict, examples=[{"LOG_LEVEL": "info"}])
    """Environment variables of the program."""
    exclude: tuple[FilePath, ...] = Field(default=(), examples=[["tests/*"]])
    """Globs of files that are no part of the program."""

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        if self.app is not None and self.command is not None:
            raise ValueError("has both app and command; keep one of them")
        if self.app is None and self.command is None:
            raise ValueError("says nothing to run; add app or command")
        if self.command is not None and not any("{port}" in part for part in self.command):
            raise ValueError('command never mentions "{port}", so it cannot know where to listen')
        return self


class Regions(Table):
    """``[regions]``: where it runs and how DNS chooses."""

    names: Annotated[tuple[str, ...], Field(min_length=1, max_length=8), AfterValidator(_distinct)] = Field(
        default=("eu-west-1", "us-east-1"), examples=[["eu-west-1", "us-east-1"]]
    )
    """AWS Regions; with ``failover`` routing the first one is the primary."""
    zones: int = Field(default=3, ge=2, le=6, examples=[3])
    """Availability Zones used in each region."""
    routing: Literal["latency", "failover", "weighted"] = Field(default="latency", examples=["latency"])
    """Route 53's routing policy."""
    weights: dict[str, Annotated[int, Field(ge=0, le=255)]] = Field(
        default_factory=dict, examples=[{"eu-west-1": 90, "us-east-1": 10}]
    )
    """Share of each region with ``weighted`` routing; equal where absent."""
    domain: Annotated[str, AfterValidator(_domain)] | None = Field(default=None, examples=["api.example.com"])
    """The name clients use. Optional on one machine."""


class Entry(Table):
    """``[entry]``: what a request passes, in order."""

    chain: Annotated[tuple[str, ...], AfterValidator(_distinct)] = Field(
        default=("cloudfront", "apigateway", "alb"), examples=[["cloudfront", "apigateway", "alb"]]
    )
    """Blocks between DNS and the program; Route 53 is always in front."""


class Replicas(Table):
    """Copies of the program in each region."""

    min: int = Field(default=3, ge=1, le=MAX_REPLICAS, examples=[3])
    """Always running, spread over the zones."""
    max: int = Field(default=30, ge=1, le=MAX_REPLICAS, examples=[30])
    """Where scaling stops."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"has min = {self.min} above max = {self.max}")
        return self


class Scale(Table):
    """Target tracking; leave a key out to not track it."""

    cpu: float | None = Field(default=None, gt=0, le=100, examples=[60])
    """Average CPU of all replicas, percent."""
    rps: Positive | None = Field(default=None, examples=[100])
    """Requests per second and replica."""


class Compute(Table):
    """``[compute]``: what runs the program, for one region."""

    pattern: Literal["ec2", "ecs-ec2", "fargate", "eks", "beanstalk", "lambda"] = Field(
        default="fargate", examples=["fargate"]
    )
    """One of the reference architectures."""
    replicas: Replicas = Field(default=Replicas(), examples=[{"min": 3, "max": 30}])
    """Instances, tasks, pods or execution environments in each region."""
    vcpu: float = Field(default=0.5, gt=0, le=192, examples=[0.5])
    """Virtual CPUs of one replica."""
    memory_gib: float = Field(default=1.0, gt=0, le=768, examples=[1])
    """Memory of one replica, GiB."""
    spot: float = Field(default=0.0, ge=0, le=1, examples=[0.5])
    """Share of the replicas on Spot capacity, 0 to 1."""
    scale: Scale = Field(default=Scale(cpu=60.0), examples=[{"cpu": 60}])
    """When to add replicas."""


class Store(BaseModel):
    """``[stores.NAME]``: ``kind`` names a store component, whose settings are the rest of the table."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    kind: str = Field(examples=["dynamodb"])


class Objectives(Table):
    """``[objectives]``: what drills and assessments judge against; a key that is absent is not judged."""

    availability: float | None = Field(default=None, gt=0, lt=100, examples=[99.99])
    """Successful requests, percent."""
    p99_ms: Positive | None = Field(default=None, examples=[300])
    """99th percentile of the response time, milliseconds."""
    rto_s: Positive | None = Field(default=None, examples=[60])
    """Longest time until requests succeed again after a fault, seconds."""
    rpo_s: float | None = Field(default=None, ge=0, allow_inf_nan=False, examples=[5])
    """Most recent acknowledged data that may be lost, seconds."""
    monthly_usd: Positive | None = Field(default=None, examples=[900])
    """Budget of all regions together."""


class Load(Table):
    """``[load]``: what clients send."""

    rps: Positive = Field(default=100.0, examples=[200])
    """Requests per second, all regions together."""


class Manifest(Table):
    """A whole manifest. ``blocks`` holds components' tables as written; ``folder`` is where the file is."""

    service: Service
    regions: Regions = Regions()
    entry: Entry = Entry()
    compute: Compute = Compute()
    stores: dict[str, Store] = Field(default_factory=dict)
    objectives: Objectives = Objectives()
    load: Load = Load()
    blocks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    folder: str = "."
