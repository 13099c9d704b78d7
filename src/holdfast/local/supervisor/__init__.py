"""The supervisor starts, watches, freezes and ends the processes of a run. Nothing else starts any.

::

    start stop kill ──► message ──► lifecycle.step ──► actions ──► children (spawn, signals)
    exit timer probe ──────┘               └─► new Life ──► Event, on_exit, whoever waits
                                                            GuardLine ──► guard process

Three nets keep a child from outliving a supervisor that dies without a word: Linux ends it with its parent;
the guard kills its whole process group; the next start finds what still carries the run's tag. Output and
errors go to the spec's log, which is never rotated while the run lasts.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

from holdfast.errors import EnvironmentProblem, HoldfastError
from holdfast.local.supervisor import children, lifecycle
from holdfast.local.supervisor.guardline import Guard, GuardLine
from holdfast.local.supervisor.lifecycle import ENDED, Action, Backoff, Life
from holdfast.local.supervisor.ready import wait_until_ready
from holdfast.local.supervisor.record import (
    Child,
    Exit,
    Options,
    ProcessView,
    not_ready,
    until,
    why_ended,
    words_for,
)
from holdfast.model import Event, ProcessSpec, ProcessState

__all__ = ["Backoff", "Exit", "GuardLine", "Options", "ProcessView", "Supervisor"]

LEFTOVER_POLL_S = 0.02


class Supervisor:
    """Owns the processes of run ``run_id``: an async context manager for one event loop in one thread.

    Every change of state goes to ``on_event`` as an ``Event`` of kind ``process``. It must not call back;
    ``options.on_exit`` may. Leaving the context stops everything.
    """

    def __init__(
        self, run_id: str, on_event: Callable[[Event], object], guard: Guard, options: Options | None = None
    ) -> None:
        self._run_id = run_id
        self._on_event = on_event
        self._guard = guard
        self._options = options or Options()
        self._children: dict[str, Child] = {}
        self._closing = False

    async def __aenter__(self) -> Supervisor:
        self._guard.open(lambda message: self._emit("guard", "guard", message))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self, spec: ProcessSpec) -> None:
        """Start a process that is new or has ended; returns once it is spawned, not once it is ready.

        Raises:
            HoldfastError: a process of that name runs, or the supervisor is closing.
            EnvironmentProblem: the program cannot be started.
        """
        if self._closing:
            raise HoldfastError(f"cannot start {spec.name}: the system is stopping")
        if spec.name in self._children and self._children[spec.name].life.state not in ENDED:
            raise HoldfastError(f"{spec.name} is already running")
        child = self._children[spec.name] = Child(spec, lifecycle.Rules.of(spec, self._options.backoff))
        self._send(child, lifecycle.Start())
        if child.life.state is ProcessState.FATAL:
            raise EnvironmentProblem(child.life.reason)

    async def wait_ready(self, name: str, timeout_s: float) -> None:
        """Wait until a process is RUNNING, through its restarts if need be.

        Raises:
            EnvironmentProblem: it has ended for good or is late; says why, with the end of its log.
        """
        child = self._child(name)
        try:
            async with asyncio.timeout(timeout_s):
                await until(child, ENDED | {ProcessState.RUNNING})
        except TimeoutError:
            raise not_ready(child, f"{name} is not ready after {timeout_s:g} s") from None
        if child.life.state is not ProcessState.RUNNING:
            raise not_ready(child, f"{name} did not start")

    async def stop(self, name: str) -> None:
        """Send the stop signal, wait up to ``stop_s``, then SIGKILL; returns when its whole group is gone."""
        child = self._child(name)
        self._send(child, lifecycle.Stop())
        await until(child, ENDED)

    def kill(self, name: str, *, restart: bool = True) -> None:
        """SIGKILL the process with all its descendants.

        ``restart``: it comes back by itself if its spec says so; this kill does not count as a failure.
        """
        self._send(self._child(name), lifecycle.Kill(restart))

    def pause(self, name: str) -> None:
        """Freeze the process with all its descendants (SIGSTOP).

        Raises:
            HoldfastError: it does not run.
        """
        self._freeze(name, paused=True)

    def resume(self, name: str) -> None:
        """Let a frozen process go on (SIGCONT).

        Raises:
            HoldfastError: it does not run.
        """
        self._freeze(name, paused=False)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to the process alone, such as SIGHUP to make it read its files again.

        Raises:
            HoldfastError: it does not run.
        """
        self._running(name).send_signal(number)

    async def stop_all(self, stages: Sequence[Iterable[str]] = ()) -> None:
        """Stop everything: stage after stage, in parallel within one. What no stage names is stopped last."""
        named = [[name for name in stage if name in self._children] for stage in stages]
        seen = {name for stage in named for name in stage}
        for stage in (*named, [name for name in self._children if name not in seen]):
            await asyncio.gather(*(self.stop(name) for name in stage))

    def kill_all(self) -> None:
        """SIGKILL everything at once and for good, for who cannot wait for :meth:`stop_all`."""
        for name in self._children:
            self.kill(name, restart=False)

    async def close(self) -> None:
        """Stop everything, then let the guard kill what escaped. Nothing can be started afterwards."""
        self._closing = True
        try:
            await self.stop_all()
        finally:
            self.kill_all()
            await self._guard.close()

    def status(self) -> tuple[ProcessView, ...]:
        """All processes in the order of their first start."""
        return tuple(child.view() for child in self._children.values())

    def view(self, name: str) -> ProcessView:
        """One process.

        Raises:
            HoldfastError: there is none of that name.
        """
        return self._child(name).view()

    def forget(self, name: str) -> None:
        """Drop a process that has ended from :meth:`status`; one that has not ended stays."""
        if self._child(name).life.state in ENDED:
            del self._children[name]

    def _child(self, name: str) -> Child:
        if name not in self._children:
            raise HoldfastError(f"no process {name}", hint="`holdfast status` lists them")
        return self._children[name]

    def _running(self, name: str) -> subprocess.Popen[bytes]:
        process = self._child(name).process
        if process is None:
            raise HoldfastError(f"{name} is not running")
        return process

    def _freeze(self, name: str, *, paused: bool) -> None:
        child, process = self._child(name), self._running(name)
        strays = children.signal_all(process.pid, signal.SIGSTOP if paused else signal.SIGCONT)
        for group in child.strays - strays if paused else child.strays:
            self._guard.forget(group)
        child.strays = strays if paused else frozenset()
        for group in child.strays:  # frozen, they cannot notice that their parent died
            self._guard.watch(group)
        if child.paused is not paused:
            child.paused = paused
            self._emit_process(child, "frozen" if paused else "goes on")

    def _send(self, child: Child, message: lifecycle.Message) -> None:
        """Take one step: change the state, arm its deadline, do the actions, tell everybody."""
        before = child.life
        child.life, actions = lifecycle.step(before, message, asyncio.get_running_loop().time(), child.rules)
        if child.life.wake_at != before.wake_at:
            self._arm(child)
        if child.life.state is not before.state:
            self._tell(child, before)
        for action in actions:
            self._do(child, action)

    def _tell(self, child: Child, before: Life) -> None:
        child.changed.set()
        child.changed = asyncio.Event()
        self._emit_process(child, words_for(child), was=before.state.value)

    def _arm(self, child: Child) -> None:
        if child.timer:
            child.timer.cancel()
        at = child.life.wake_at
        loop = asyncio.get_running_loop()
        child.timer = None if at is None else loop.call_at(at, self._send, child, lifecycle.Due())

    def _do(self, child: Child, action: Action) -> None:
        match action:
            case Action.SPAWN:
                self._spawn(child)
            case Action.PROBE:
                child.probe = asyncio.get_running_loop().create_task(self._probe(child))
            case Action.TERMINATE if child.process:
                children.signal_group(child.process.pid, child.spec.stop_signal)
                if child.paused:  # a frozen process cannot obey
                    children.signal_all(child.process.pid, signal.SIGCONT)
            case Action.KILL if child.process:
                child.killed = True
                children.signal_all(child.process.pid, signal.SIGKILL)

    def _spawn(self, child: Child) -> None:
        child.log_start = children.log_size(child.spec.log)
        child.started_at = self._options.clock()
        try:
            process = child.process = children.spawn(child.spec, self._run_id)
        except OSError as error:
            self._gone(child, lifecycle.SpawnFailed(children.spawn_words(child.spec, error)))
            return
        self._guard.watch(process.pid)
        child.paused = child.killed = False
        children.when_ended(process, lambda: self._ended(child, process))
        self._emit_process(child, f"pid {process.pid}")
        self._send(child, lifecycle.Spawned())

    async def _probe(self, child: Child) -> None:
        if child.spec.ready is None:
            return
        why = await wait_until_ready(child.spec.ready)
        self._send(child, lifecycle.Ready() if why is None else lifecycle.NotReady(why))

    def _ended(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        """The leader is gone. If asked to stop, its group may use the rest of its time; else it is killed.

        The leader is reaped last: until then nobody else can get the group's number.
        """
        stopping = child.life.state is ProcessState.STOPPING and not child.killed
        if stopping and children.group_lives(process.pid):
            asyncio.get_running_loop().call_later(LEFTOVER_POLL_S, self._ended, child, process)
            return
        children.signal_group(process.pid, signal.SIGKILL)
        code = process.wait()
        for group in (process.pid, *child.strays):
            self._guard.forget(group)
        child.process, child.paused, child.strays = None, False, frozenset()
        if child.probe:
            child.probe.cancel()
        self._gone(child, lifecycle.Exited(code, why_ended(child, code)))

    def _gone(self, child: Child, message: lifecycle.Exited | lifecycle.SpawnFailed) -> None:
        before = child.life
        self._send(child, message)
        if isinstance(message, lifecycle.SpawnFailed) and before.restarts == 0:
            return  # start() itself raises
        expected = before.state is ProcessState.STOPPING or before.forced
        self._options.on_exit(Exit(self._options.clock(), child.view(), expected))

    def _emit_process(self, child: Child, message: str, was: str | None = None) -> None:
        view = child.view()
        data = {
            "state": view.state.value,
            "was": was,
            "node": view.node,
            "pid": view.pid,
            "restarts": view.restarts,
        }
        data |= {"exit_code": view.exit_code, "reason": view.reason, "paused": view.paused}
        self._emit("process", view.name, message, data)

    def _emit(self, kind: str, subject: str, message: str, data: Mapping[str, object] | None = None) -> None:
        self._on_event(Event(self._options.clock(), kind, subject, message, data or {}))
