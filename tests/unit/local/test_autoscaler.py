"""From what processes and proxies did to a datapoint, and from the tracker's step to the desired count."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.local.autoscaler import Autoscaler, cpu_pct
from holdfast.local.usage import Served
from holdfast.model import ScalePolicy

PERIOD_S = 60.0


def test_the_share_is_of_what_a_replica_is_given() -> None:
    assert cpu_pct([0.25, 0.25], 0.5) == 50.0
    assert cpu_pct([0.25, 0.25], 0.25) == 100.0
    assert cpu_pct([1.0, 0.0], 2.0) == 25.0


def test_no_replica_is_more_than_full() -> None:
    assert cpu_pct([4.0, 0.0], 0.25) == 50.0


def test_nothing_measured_is_nothing_used() -> None:
    assert cpu_pct([], 0.25) == 0.0


@dataclass
class World:
    """A region whose proxies and processes do as a test says; each turn is one period of AWS."""

    policy: ScalePolicy | None
    rps: float = 0.0
    vcpus: float = 0.0
    desired: int = 3
    healthy: int = 3
    down: bool = False
    t: float = 0.0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._served, self._used = 0.0, 0.0
        group = SimpleNamespace(
            id="ecs.eu-west-1",
            behaviour=SimpleNamespace(scale=self.policy),
            settings=SimpleNamespace(vcpu=0.5),
        )
        region: Any = SimpleNamespace(group=group, workforce=self, balancers=self)
        self.region = region
        views = SimpleNamespace(view=lambda node: SimpleNamespace(pid=int(node[-1])))
        built: Any = SimpleNamespace(regions={"eu-west-1": region}, supervisor=views, emit=self._say)
        self.autoscaler = Autoscaler(built, clock=lambda: self.t)

    def _say(self, event: Any) -> None:
        self.said.append(event.message)

    def status(self) -> dict[str, int]:
        return {"desired": self.desired, "healthy": self.healthy}

    def nodes(self) -> list[str]:
        return [f"eu-west-1a/ecs-{n + 1}" for n in range(self.desired)]

    def scale(self, desired: int) -> None:
        self.desired = desired

    def served(self) -> dict[str, Served]:
        return {"eu-west-1a": Served(self.t, int(self._served))}

    def cpu_s(self, pid: int) -> float:
        return self._used

    def run(self, periods: int) -> None:
        self.region.down = self.down
        for _ in range(periods):
            self.t += PERIOD_S
            self._served += self.rps * PERIOD_S
            self._used += self.vcpus * PERIOD_S
            self.autoscaler.observe(self.t)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> World:
    made: list[World] = []
    monkeypatch.setattr("holdfast.local.usage.tree_cpu_s", lambda pid: made[0].cpu_s(pid))
    made.append(World(request.param))
    return made[0]


BY_REQUESTS = ScalePolicy(minimum=3, maximum=12, rps_per_node=10.0)
BY_CPU = ScalePolicy(minimum=3, maximum=12, cpu_pct=60.0)


@pytest.mark.parametrize("world", [BY_REQUESTS], indirect=True)
def test_requests_are_divided_by_the_replicas_that_take_them(world: World) -> None:
    world.rps, world.healthy = 60.0, 2
    world.run(4)
    assert world.desired == 9, "3 replicas, 30 requests/s for each of the two that serve, target 10"
    assert world.said == [
        "3 to 9 replicas: 30 requests/s per node is above the target of 10 requests/s per node"
    ]


@pytest.mark.parametrize("world", [BY_CPU], indirect=True)
def test_processor_time_is_measured_per_vcpu(world: World) -> None:
    world.vcpus = 0.45
    world.run(4)
    assert world.desired == 5, "90 % of half a vCPU where 60 % is wanted: 3 * 90 / 60, rounded up"


@pytest.mark.parametrize("world", [BY_CPU], indirect=True)
def test_it_comes_back_to_the_minimum(world: World) -> None:
    world.vcpus = 0.5
    world.run(4)
    assert world.desired == 5
    world.vcpus = 0.0
    world.run(15)
    assert world.desired == 3


@pytest.mark.parametrize("world", [BY_REQUESTS], indirect=True)
def test_a_region_that_is_down_gets_no_step(world: World) -> None:
    world.rps, world.down = 600.0, True
    world.run(10)
    assert world.desired == 3


@pytest.mark.parametrize("world", [None], indirect=True)
def test_a_platform_without_a_policy_is_left_alone(world: World) -> None:
    world.rps = 600.0
    world.run(10)
    assert (world.desired, world.said) == (3, [])
