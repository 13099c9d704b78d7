"""The orchestrator, replayed against simulated processes and a simulated balancer; no time passes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.components.base import spread
from holdfast.local.fleet import Fleet, Launch, NodeHealth, Note, Phase, Stop
from holdfast.model import Behaviour, DeadNode, DeployPolicy, Group, Role

ZONES = ("r1a", "r1b", "r1c")
CHECK_S = 10.0
"""What the simulated balancer needs to see that a node is gone."""
BOOT_S = 2.0


def behaviour(dead_node: DeadNode = DeadNode.DEREGISTERED) -> Behaviour:
    return Behaviour(
        start_s=57.0,
        notice_s=60.0 if dead_node is DeadNode.HEALTH_CHECK else 0.0,
        drain_s=20.0,
        stop_s=30.0,
        spot_notice_s=120.0,
        grace_s=60.0,
        dead_node=dead_node,
        deploy=DeployPolicy(),
    )


@dataclass
class Simulation:
    """Processes that take ``BOOT_S`` to listen, die on demand, and a balancer that checks them."""

    fleet: Fleet
    now: float = 0.0
    broken_releases: set[int] = field(default_factory=set)
    listening: dict[str, float] = field(default_factory=dict)
    died: dict[str, float] = field(default_factory=dict)
    boots: dict[str, float] = field(default_factory=dict)
    hung: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    least_healthy: int = 10**6
    launches: list[tuple[float, Launch]] = field(default_factory=list)

    def run(self, seconds: float, step: float = 0.5) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self._boot()
            self.fleet.health(
                {node: NodeHealth(self._passes(node)) for node in [*self.listening, *self.died]}
            )
            for action in self.fleet.tick(self.now):
                self._do(action)
            self.least_healthy = min(self.least_healthy, self.fleet.healthy_count)

    def _passes(self, node: str) -> bool:
        if node in self.died:
            return self.now - self.died[node] < CHECK_S
        return node not in self.hung

    def _boot(self) -> None:
        for node, ready_t in list(self.boots.items()):
            if self.now < ready_t:
                continue
            del self.boots[node]
            if self.fleet.replicas[node].release in self.broken_releases:
                self.fleet.exited(node, "exit code 1: ImportError", self.now)
            else:
                self.listening[node] = self.now
                self.fleet.started(node, "127.0.0.1", 1, self.now)

    def _do(self, action: object) -> None:
        match action:
            case Launch():
                self.launches.append((self.now, action))
                self.boots[action.node.id] = self.now + action.delay_s + BOOT_S
            case Stop():
                self.boots.pop(action.node_id, None)
                self.listening.pop(action.node_id, None)
                self.fleet.exited(action.node_id, "stopped", self.now)
            case Note():
                self.notes.append(action)

    def kill(self, node: str) -> None:
        self.listening.pop(node)
        self.died[node] = self.now
        self.fleet.exited(node, "killed by SIGKILL", self.now)

    def zones(self) -> Counter[str]:
        return Counter(r.zone for r in self.fleet.replicas.values() if r.healthy)


def simulate(
    desired: int = 3, *, dead_node: DeadNode = DeadNode.DEREGISTERED, spot: float = 0.0
) -> Simulation:
    nodes = spread("ecs", desired, ZONES, spot=spot)
    group = Group("ecs.r1", "ecs", Role.WORKERS, "r1", None, behaviour(dead_node), nodes, ZONES)
    simulation = Simulation(Fleet(group, desired))
    simulation.fleet.begin(0.0)
    simulation.run(10)
    assert simulation.fleet.settled
    simulation.least_healthy = 10**6
    return simulation


def test_the_first_nodes_do_not_wait_for_a_launch() -> None:
    simulation = simulate()
    assert simulation.zones() == Counter({"r1a": 1, "r1b": 1, "r1c": 1})
    assert [launch.delay_s for _, launch in simulation.launches] == [0.0, 0.0, 0.0]


def test_a_dead_container_is_forgotten_at_once_and_replaced_after_the_launch_time() -> None:
    simulation = simulate()
    simulation.kill("r1b/ecs-2")
    assert "r1b/ecs-2" not in simulation.fleet.replicas
    simulation.run(55)
    assert simulation.fleet.healthy_count == 2
    simulation.run(10)
    assert simulation.fleet.settled
    assert simulation.zones()["r1b"] == 1


def test_a_dead_instance_stays_a_target_until_the_health_check_sees_it() -> None:
    simulation = simulate(dead_node=DeadNode.HEALTH_CHECK)
    simulation.kill("r1b/ecs-2")
    simulation.run(CHECK_S - 2)
    assert simulation.fleet.replicas["r1b/ecs-2"].phase is Phase.LOST
    assert len(simulation.launches) == 3, "nobody has noticed yet, so nothing is launched"
    simulation.run(4)
    assert "r1b/ecs-2" not in simulation.fleet.replicas
    assert len(simulation.launches) == 4
    simulation.run(60)
    assert simulation.fleet.settled


def test_a_hung_node_is_stopped_and_replaced() -> None:
    simulation = simulate()
    simulation.hung.add("r1a/ecs-1")
    simulation.run(1)
    assert "unhealthy" in {note.kind for note in simulation.notes}
    assert "r1a/ecs-1" not in simulation.fleet.replicas
    simulation.run(70)
    assert simulation.fleet.settled


def test_a_lost_zone_moves_its_capacity_and_gets_it_back() -> None:
    simulation = simulate()
    simulation.fleet.lose_zone("r1a")
    simulation.kill("r1a/ecs-1")
    simulation.run(70)
    assert simulation.fleet.settled
    assert simulation.zones()["r1a"] == 0
    simulation.fleet.restore_zone("r1a")
    simulation.least_healthy = 10**6
    simulation.run(120)
    assert simulation.fleet.settled
    assert simulation.zones() == Counter({"r1a": 1, "r1b": 1, "r1c": 1})
    assert simulation.least_healthy == 3, "the newcomer serves before the other one leaves"


def test_a_deployment_never_falls_below_the_desired_count() -> None:
    simulation = simulate()
    simulation.fleet.deploy(2, simulation.now)
    simulation.run(200)
    assert simulation.fleet.deployment is not None
    assert simulation.fleet.deployment.outcome == "done"
    assert {r.release for r in simulation.fleet.replicas.values()} == {2}
    assert simulation.least_healthy == 3
    assert simulation.zones() == Counter({"r1a": 1, "r1b": 1, "r1c": 1})


def test_a_broken_deployment_is_rolled_back_with_its_reason() -> None:
    simulation = simulate()
    simulation.broken_releases.add(2)
    simulation.fleet.deploy(2, simulation.now)
    simulation.run(400)
    deployment = simulation.fleet.deployment
    assert deployment is not None
    assert deployment.outcome == "rolled back"
    assert "ImportError" in deployment.reason
    assert deployment.failures == 3
    assert {r.release for r in simulation.fleet.replicas.values()} == {1}
    assert simulation.least_healthy == 3
    assert simulation.fleet.settled


def test_a_program_that_never_gets_healthy_is_a_failed_start() -> None:
    simulation = simulate()
    simulation.fleet.deploy(2, simulation.now)
    for _ in range(600):
        simulation.run(0.5)
        simulation.hung |= {n for n, r in simulation.fleet.replicas.items() if r.release == 2}
    deployment = simulation.fleet.deployment
    assert deployment is not None
    assert deployment.outcome == "rolled back"
    assert "never passed a health check" in deployment.reason
    assert simulation.least_healthy == 3


def test_scaling_in_drains_and_scaling_out_launches() -> None:
    simulation = simulate(6)
    simulation.fleet.scale(3)
    simulation.run(0.5)
    assert sum(r.phase is Phase.DRAINING for r in simulation.fleet.replicas.values()) == 3
    simulation.run(30)
    assert simulation.fleet.settled
    assert max(simulation.zones().values()) == 1
    simulation.fleet.scale(5)
    simulation.run(70)
    assert simulation.fleet.healthy_count == 5


def test_a_spot_interruption_drains_at_once_and_replaces_meanwhile() -> None:
    simulation = simulate(3, spot=0.34)
    spot = next(n.id for n in simulation.fleet.group.nodes if n.spot)
    simulation.fleet.interrupt(spot, simulation.now)
    simulation.run(0.5)
    assert simulation.fleet.replicas[spot].phase is Phase.DRAINING
    assert len(simulation.launches) == 4
    assert simulation.launches[-1][1].node.spot, "the share of spot nodes is kept"
    simulation.run(121)
    assert spot not in simulation.fleet.replicas
    assert simulation.fleet.settled


def test_a_lost_region_starts_nothing_until_it_is_back() -> None:
    simulation = simulate()
    simulation.listening.clear()
    simulation.fleet.lose_region()
    simulation.run(100)
    assert simulation.fleet.replicas == {}
    simulation.fleet.restore_region()
    simulation.run(70)
    assert simulation.fleet.settled


def test_launches_that_keep_failing_are_spaced_out() -> None:
    simulation = simulate()
    simulation.broken_releases.add(1)
    simulation.kill("r1a/ecs-1")
    simulation.run(600)
    times = [t for t, _ in simulation.launches[3:]]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > gaps[0] + 10


def test_speed_shortens_the_launch_and_nothing_else() -> None:
    nodes = spread("ecs", 3, ZONES)
    group = Group("ecs.r1", "ecs", Role.WORKERS, "r1", None, behaviour(), nodes, ZONES)
    simulation = Simulation(Fleet(group, 3, speed=57.0))
    simulation.fleet.begin(0.0)
    simulation.run(5)
    simulation.kill("r1a/ecs-1")
    simulation.run(1)
    assert simulation.launches[-1][1].delay_s == pytest.approx(1.0)
    simulation.fleet.interrupt("r1b/ecs-2", simulation.now)
    assert simulation.fleet.replicas["r1b/ecs-2"].deadline == simulation.now + 120.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["kill", "hang", "lose", "restore", "deploy", "bad", "scale", "wait"]),
            st.integers(0, 9),
        ),
        max_size=14,
    ),
    st.sampled_from(list(DeadNode)),
)
def test_it_always_returns_to_the_desired_state(script: list[tuple[str, int]], dead_node: DeadNode) -> None:
    simulation = simulate(dead_node=dead_node)
    release = 1
    for word, number in script:
        serving = sorted(n for n in simulation.listening if n in simulation.fleet.replicas)
        if word == "kill" and serving:
            simulation.kill(serving[number % len(serving)])
        elif word == "hang" and serving:
            simulation.hung.add(serving[number % len(serving)])
        elif word == "lose":
            simulation.fleet.lose_zone(ZONES[number % 2])
        elif word == "restore":
            simulation.fleet.restore_zone(ZONES[number % 2])
        elif word in ("deploy", "bad") and not simulation.fleet.rolling:
            release += 1
            if word == "bad":
                simulation.broken_releases.add(release)
            simulation.fleet.deploy(release, simulation.now)
        elif word == "scale":
            simulation.fleet.scale(1 + number % 6)
        simulation.run(number * 7.0)
    for zone in ZONES:
        simulation.fleet.restore_zone(zone)
    simulation.run(2500)
    assert simulation.fleet.settled
    counts = [simulation.zones()[zone] for zone in ZONES]
    assert max(counts) - min(counts) <= 1
