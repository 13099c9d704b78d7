"""The orchestrator of one region's replicas: what an ECS service, an Auto Scaling group or a Deployment decides.

::

    LAUNCHING ─► STARTING ─► SERVING ─► DRAINING ─► STOPPING ─► (gone)
                    │            │  crash: DEREGISTERED platforms forget it at once
                    └─ failed ─► │         HEALTH_CHECK platforms keep it as LOST until the
                                 ▼         balancer's check (or the platform's own) notices
                               LOST ─► (gone)

This module only decides: it is told what happened and answers with actions. ``local.crew`` carries them out. Time
is passed in, so a whole life is replayed in a test without waiting. What differs between platforms is in
``Behaviour``; there is no component's name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.components.base import node_id as name_node
from holdfast.local.fleet.parts import (
    ACTIVE,
    COMING,
    REGISTERED,
    Action,
    Deployment,
    Launch,
    NodeHealth,
    Note,
    Phase,
    Publish,
    Replica,
    Stop,
    brief,
)
from holdfast.local.placement import move, rolling_step, zone_for_new, zone_to_shrink
from holdfast.model import Behaviour, DeadNode, DeployPolicy, Group, Node

__all__ = [
    "REGISTERED",
    "Action",
    "Deployment",
    "Fleet",
    "Launch",
    "NodeHealth",
    "Note",
    "Phase",
    "Publish",
    "Replica",
    "Stop",
]

BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 60.0
"""Wait between launches that keep failing; ECS lengthens it likewise (service throttle logic)."""

DRAIN_LEAST_S = 1.0
"""A draining node is watched at least that long, so that requests already on their way are counted."""


@dataclass(slots=True)
class Fleet:
    """All replicas of one group. Call the message methods, then :meth:`tick`; do what it returns, in order.

    ``speed``: how much faster than AWS the control plane runs here.
    """

    group: Group
    desired: int
    release: int = 1
    speed: float = 1.0
    replicas: dict[str, Replica] = field(default_factory=dict)
    lost_zones: set[str] = field(default_factory=set)
    deployment: Deployment | None = None
    suspended: bool = False
    _ordinal: int = 0
    _failures: int = 0
    _next_launch_t: float = 0.0
    _moving: bool = False
    _pending: list[Action] = field(default_factory=list)

    @property
    def behaviour(self) -> Behaviour:
        """How the group's platform acts in time."""
        return self.group.behaviour

    # ------------------------------------------------------------------ messages

    def begin(self, now: float) -> None:
        """Place the nodes of the topology; the first ones start without the platform's launch delay."""
        for node in self.group.nodes[: self.desired]:
            self._ordinal += 1
            self._launch(node, now, delay_s=0.0)

    def started(self, node_id: str, host: str, port: int, now: float) -> None:
        """The program listens: it becomes a target, and the balancer decides about its health."""
        replica = self.replicas.get(node_id)
        if replica is None or replica.phase not in COMING:
            self._pending.append(Stop(node_id, 0.0))
            return
        replica.host, replica.port = host, port
        self._enter(replica, Phase.SERVING, now)
        self._pending.append(Publish())

    def starting(self, node_id: str, now: float) -> None:
        """The platform's launch is over; the program starts."""
        if (replica := self.replicas.get(node_id)) and replica.phase is Phase.LAUNCHING:
            self._enter(replica, Phase.STARTING, now)

    def exited(self, node_id: str, reason: str, now: float) -> None:
        """The program ended, whether we stopped it or it died."""
        replica = self.replicas.get(node_id)
        if replica is None:
            return
        if replica.phase is Phase.STOPPING:
            self._forget(replica)
        elif replica.phase in COMING or not replica.ever_healthy:
            self._failed(replica, reason, now)
        else:
            self._died(replica, reason, now)

    def health(self, seen: Mapping[str, NodeHealth]) -> None:
        """What the balancer nodes say now. A node they do not mention keeps what is known."""
        for node_id, replica in self.replicas.items():
            if (state := seen.get(node_id)) and replica.phase in REGISTERED:
                replica.healthy, replica.in_flight = state.healthy, state.in_flight
                if state.healthy and not replica.ever_healthy and replica.phase is Phase.SERVING:
                    replica.ever_healthy = True
                    self._failures = 0
                    self._note("in-service", replica, f"{node_id} passed its first health check")

    def scale(self, desired: int) -> None:
        """Set the desired count."""
        self.desired = desired

    def deploy(self, release: int, now: float) -> None:
        """Begin a rolling replacement of every node by ``release``."""
        self.deployment = Deployment(release, self.release, now)
        self.release = release
        self._failures, self._next_launch_t = 0, now

    def lose_zone(self, zone: str) -> None:
        """No node can be placed in ``zone`` until it is restored. Its processes are killed by the caller."""
        self.lost_zones.add(zone)

    def restore_zone(self, zone: str) -> None:
        """``zone`` can be used again; the fleet rebalances into it."""
        self.lost_zones.discard(zone)

    def lose_region(self) -> None:
        """Every node is gone and none is started until :meth:`restore_region`."""
        self.suspended = True
        for replica in list(self.replicas.values()):
            self._forget(replica)

    def restore_region(self) -> None:
        """The region is back: the desired count is launched anew, with the platform's launch delay."""
        self.suspended = False

    def interrupt(self, node_id: str, now: float) -> None:
        """A spot interruption: drain at once, be gone when the platform's notice is over, replace meanwhile."""
        replica = self.replicas[node_id]
        notice_s = self.behaviour.spot_notice_s or 0.0
        replica.deadline = now + notice_s
        self._note("spot-notice", replica, f"{node_id} is taken back by the platform in {notice_s:g} s")
        self._drain(replica, now)

    # ------------------------------------------------------------------ decisions

    def tick(self, now: float) -> tuple[Action, ...]:
        """Everything there is to do now, in order."""
        self._judge(now)
        self._finish_drains(now)
        if not self.suspended:
            self._roll(now)
            self._fill(now)
            self._shrink(now)
            self._rebalance(now)
        actions, self._pending = tuple(self._pending), []
        return actions

    def active(self, release: int | None = None) -> list[Replica]:
        """Replicas that serve or will; only those of ``release`` where it is given."""
        return [r for r in self.replicas.values() if r.phase in ACTIVE and release in (None, r.release)]

    @property
    def healthy_count(self) -> int:
        """Replicas that take traffic now."""
        return sum(r.healthy and r.phase is Phase.SERVING for r in self.replicas.values())

    @property
    def rolling(self) -> bool:
        """A deployment is under way."""
        return self.deployment is not None and not self.deployment.outcome

    @property
    def settled(self) -> bool:
        """As many healthy replicas as desired, nothing coming or leaving, no deployment under way."""
        busy = any(r.phase is not Phase.SERVING or not r.healthy for r in self.replicas.values())
        return not busy and not self.rolling and self.healthy_count == self.desired

    def _judge(self, now: float) -> None:
        """Replace what the balancer says is unhealthy, and forget what the platform has noticed is gone."""
        for replica in list(self.replicas.values()):
            age_s = now - replica.since
            # Not compressed by speed: until then the balancer sends requests to it, which clients see.
            if replica.phase is Phase.LOST and (
                not replica.healthy or age_s >= (self.behaviour.notice_s or 0.0)
            ):
                self._note("replaced", replica, f"{replica.node.id} is gone; the platform starts another")
                self._forget(replica)
            elif replica.phase is Phase.SERVING and not replica.healthy:
                if replica.ever_healthy:
                    self._retire_unhealthy(replica, now)
                elif age_s > (self.behaviour.grace_s or 0.0):
                    self._failed(replica, "never passed a health check within its grace period", now)
                    self._pending.append(Stop(replica.node.id, 0.0))

    def _retire_unhealthy(self, replica: Replica, now: float) -> None:
        self._note("unhealthy", replica, f"{replica.node.id} failed its health checks and is replaced")
        self._stop(replica, now, self.behaviour.stop_s or 0.0)
        self._pending.append(Publish())

    def _finish_drains(self, now: float) -> None:
        for replica in list(self.replicas.values()):
            if replica.phase is not Phase.DRAINING:
                continue
            age_s = now - replica.since
            idle = replica.in_flight == 0 and age_s >= DRAIN_LEAST_S
            if (
                idle
                or age_s >= (self.behaviour.drain_s or 0.0)
                or (replica.deadline and now >= replica.deadline)
            ):
                stop_s = self.behaviour.stop_s or 0.0
                if replica.deadline is not None:
                    stop_s = max(0.0, min(stop_s, replica.deadline - now))
                self._stop(replica, now, stop_s)
                self._pending.append(Publish())

    def _roll(self, now: float) -> None:
        deployment = self.deployment
        if deployment is None or deployment.outcome == "done":
            return
        leaving = [r for r in self.active() if r.release != self.release]
        for replica in [r for r in leaving if not r.healthy]:
            self._discard(replica, now)
        leaving = [r for r in leaving if r.healthy]
        coming = self.active(self.release)
        healthy = sum(r.healthy for r in coming)
        policy = self.behaviour.deploy or DeployPolicy()
        step = rolling_step(
            policy, self.desired, old=len(leaving), new_healthy=healthy, new_pending=len(coming) - healthy
        )
        for replica in leaving[: step.stop]:
            self._drain(replica, now)
        for _ in range(step.start):
            self._add(now)
        if not leaving and healthy >= self.desired and not deployment.outcome:
            deployment.outcome = "done"
            self._pending.append(
                Note("deployed", self.group.id, f"release {self.release} serves on {healthy} nodes")
            )

    def _discard(self, replica: Replica, now: float) -> None:
        """Drop a node of another release that does not serve anyway."""
        self._stop(replica, now, 0.0)
        self._pending.append(Publish())

    def _fill(self, now: float) -> None:
        if self.rolling:
            return
        lost = sum(r.phase is Phase.LOST for r in self.replicas.values())
        while len(self.active()) + lost < self.desired and self._add(now):
            pass

    def _shrink(self, now: float) -> None:
        """Scale in, or end a rebalancing move once the newcomer serves."""
        if self.rolling:
            return
        while len(active := self.active()) > self.desired:
            if self._moving and self.healthy_count <= self.desired:
                return
            stale = [r for r in active if r.release != self.release]
            coming = [] if self._moving else [r for r in active if r.phase in COMING]
            candidates = stale or coming or [r for r in active if r.phase is Phase.SERVING]
            zone = zone_to_shrink(r.zone for r in candidates)
            self._drain(next(r for r in candidates if r.zone == zone), now)
        self._moving = False

    def _rebalance(self, now: float) -> None:
        if not self.settled:
            return
        step = move(self._usable_zones(), [r.zone for r in self.active()])
        if step is None or not self._add(now, zone=step[1]):
            return
        self._moving = True
        self._pending.append(Note("rebalance", self.group.id, f"one node moves from {step[0]} to {step[1]}"))

    # ------------------------------------------------------------------ steps

    def _add(self, now: float, zone: str | None = None) -> bool:
        """Launch one node of the present release; False while backing off or without a usable zone."""
        zone = zone or zone_for_new(
            self._usable_zones(), (r.zone for r in self.active(self._counted_release()))
        )
        if zone is None or now < self._next_launch_t:
            return False
        self._ordinal += 1
        node = Node(name_node(zone, self.group.component, self._ordinal), zone, spot=self._next_is_spot())
        self._launch(node, now, delay_s=self._control_s(self.behaviour.start_s))
        return True

    def _counted_release(self) -> int | None:
        """While rolling, zones are filled evenly with nodes of the new release alone."""
        return self.release if self.rolling else None

    def _next_is_spot(self) -> bool:
        share = sum(node.spot for node in self.group.nodes) / max(1, len(self.group.nodes))
        active = self.active()
        return sum(r.node.spot for r in active) < round(share * (len(active) + 1))

    def _launch(self, node: Node, now: float, *, delay_s: float) -> None:
        self.replicas[node.id] = Replica(node, self.release, Phase.LAUNCHING, now)
        self._pending.append(Launch(node, self.release, delay_s))

    def _drain(self, replica: Replica, now: float) -> None:
        if replica.phase in COMING:
            self._stop(replica, now, 0.0)
            return
        self._enter(replica, Phase.DRAINING, now)
        self._note("draining", replica, f"{replica.node.id} gets no new requests")
        self._pending.append(Publish())

    def _stop(self, replica: Replica, now: float, stop_s: float) -> None:
        self._enter(replica, Phase.STOPPING, now)
        self._pending.append(Stop(replica.node.id, stop_s))

    def _died(self, replica: Replica, reason: str, now: float) -> None:
        self._note("died", replica, f"{replica.node.id}: {brief(reason)}")
        if replica.phase is Phase.DRAINING or self.behaviour.dead_node is DeadNode.DEREGISTERED:
            self._forget(replica)
            self._next_launch_t = max(self._next_launch_t, now + self._control_s(self.behaviour.notice_s))
        elif replica.phase is Phase.SERVING:
            self._enter(replica, Phase.LOST, now)

    def _failed(self, replica: Replica, reason: str, now: float) -> None:
        self._failures += 1
        backoff_s = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10))
        self._next_launch_t = now + backoff_s
        self._note("failed-to-start", replica, f"{replica.node.id}: {brief(reason)}")
        self._forget(replica)
        deployment = self.deployment
        if deployment is None or deployment.outcome or replica.release != deployment.release:
            return
        deployment.failures += 1
        policy = self.behaviour.deploy or DeployPolicy()
        if deployment.failures >= policy.breaker_failures(self.desired):
            self._roll_back(deployment, reason)

    def _roll_back(self, deployment: Deployment, reason: str) -> None:
        deployment.outcome, deployment.reason = "rolled back", reason
        self.release = deployment.previous
        self._failures, self._next_launch_t = 0, 0.0
        failed = f"release {deployment.release} failed {deployment.failures} times"
        message = f"{failed} and was rolled back: {brief(reason)}"
        self._pending.append(Note("rolled-back", self.group.id, message))

    def _forget(self, replica: Replica) -> None:
        was_target = replica.phase in REGISTERED
        self.replicas.pop(replica.node.id, None)
        if was_target:
            self._pending.append(Publish())

    def _usable_zones(self) -> tuple[str, ...]:
        return tuple(zone for zone in self.group.zones if zone not in self.lost_zones)

    def _control_s(self, seconds: float | None) -> float:
        return (seconds or 0.0) / self.speed

    def _note(self, kind: str, replica: Replica, message: str) -> None:
        self._pending.append(Note(kind, replica.node.id, message))

    @staticmethod
    def _enter(replica: Replica, phase: Phase, now: float) -> None:
        replica.phase, replica.since = phase, now
