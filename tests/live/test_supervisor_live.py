"""The supervisor with real processes: they start, stop, freeze, come back, and never outlive it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from holdfast.errors import EnvironmentProblem, HoldfastError
from holdfast.local import guard, rundir
from holdfast.local.rundir import RunDir
from holdfast.local.supervisor import Backoff, Exit, GuardLine, Options, Supervisor, guardline
from holdfast.model import Event, ProcessSpec, ProcessState, ReadyProbe

pytestmark = pytest.mark.live

DEADLINE_S = 20.0
POLITE = sum(1 << (number - 1) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
QUICK = Backoff(first_s=0.01, most_s=0.02, quick_s=60.0, give_up=3)

WAIT = "import signal; signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {WAIT}"
CRASH = "import sys; print('Traceback: no module named orders'); sys.exit(3)"
FAMILY = f"""
import os, signal, sys
for child in range(2):
    if os.fork() == 0:
        if len(sys.argv) > 1:
            code = "print('grown', flush=True); " + {WAIT!r}
            os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {{}})
        if child:
            os.setsid()
        print("grown", flush=True)
        signal.pause()
signal.pause()
"""
SLOW_FAMILY = """
import os, signal, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), print("drained", flush=True), os._exit(0)))
    print("ready", flush=True)
    while True: signal.pause()
signal.pause()
"""
HTTP = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    calls = 0
    def do_GET(self):
        Handler.calls += 1
        self.send_response(200 if Handler.calls > 2 else 503)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
UNIX = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True: server.accept()
"""

SYSTEM = """
import asyncio, json, sys
from pathlib import Path
from holdfast.local.rundir import RunDir
from holdfast.local.supervisor import GuardLine, Supervisor
from holdfast.model import ProcessSpec

async def main(project, programs):
    run = RunDir.create(Path(project))
    line = GuardLine(run.info.run_id, run.journal.record)
    async with Supervisor(run.info.run_id, lambda event: None, line) as supervisor:
        for name, argv in programs.items():
            spec = ProcessSpec(name, tuple(argv), {}, "/", str(run.logs / name))
            await supervisor.start(spec)
        families = [run.logs / name for name in programs if "family" in name]
        while any(log.read_text().split() != ["grown", "grown"] for log in families):
            await asyncio.sleep(0.01)
        supervisor.pause("frozen family")
        print(json.dumps({"run": run.info.run_id, "guard": line.pid}), flush=True)
        await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


class World:
    """A supervisor under test, its project, and what it said."""

    def __init__(self, project: Path, backoff: Backoff = QUICK) -> None:
        self.project = project
        self.run_id = f"test-{project.name}-{os.getpid()}"
        self.events: list[Event] = []
        self.exits: list[Exit] = []
        self.line = GuardLine(self.run_id)
        self.supervisor = Supervisor(
            self.run_id, self.events.append, self.line, Options(on_exit=self.exits.append, backoff=backoff)
        )

    def spec(self, name: str, code: str, *args: str, **changes: object) -> ProcessSpec:
        """A Python program as a process of the run."""
        argv = (sys.executable, "-I", "-S", "-c", code, *args)
        fields: dict[str, object] = {
            "env": {},
            "cwd": "/",
            "log": str(self.project / f"{name}.log"),
            "stop_s": 10.0,
        }
        return ProcessSpec(name, argv, **{**fields, **changes})  # type: ignore[arg-type]

    def log(self, name: str) -> str:
        """What the process has written."""
        return (self.project / f"{name}.log").read_text(encoding="utf-8")

    def states(self, name: str) -> list[str]:
        """The states of a process in the order of their events."""
        return [
            event.data["state"] for event in self.events if event.subject == name and event.data.get("was")
        ]

    async def grown(self, name: str, words: int = 1) -> None:
        """Wait until the process has written so many words."""
        await until(lambda: len(self.log(name).split()) >= words)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def ignored(pid: int) -> int:
    """The signals that a process ignores, as the kernel's bit mask."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("SigIgn:")[1].split()[0], 16)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


def alive(run_id: str) -> list[int]:
    """Processes of a run; one that waits to be reaped has no environment any more."""
    return guard.tagged(run_id)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_start_and_stop_tell_their_states_and_leave_nothing(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("app", WAIT, node="eu-west-1a/app-1"))
            view = supervisor.view("app")
            assert (view.state, view.node, view.restarts) == (ProcessState.RUNNING, "eu-west-1a/app-1", 0)
            assert alive(world.run_id) == [view.pid]
            await supervisor.stop("app")
            assert supervisor.view("app").exit_code == -signal.SIGTERM

    asyncio.run(scenario())
    assert world.states("app") == ["starting", "running", "stopping", "exited"]
    assert [exit_.expected for exit_ in world.exits] == [True]
    assert alive(world.run_id) == []


def test_a_process_that_ignores_sigterm_is_killed_after_its_time(world: World) -> None:
    async def scenario() -> float:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("deaf", DEAF, stop_s=0.3))
            await world.grown("deaf")
            began = time.monotonic()
            await supervisor.stop("deaf")
            view = supervisor.view("deaf")
            assert (view.state, view.exit_code) == (ProcessState.EXITED, -signal.SIGKILL)
            assert "by Holdfast" in view.reason
            return time.monotonic() - began

    assert asyncio.run(scenario()) >= 0.3


@pytest.mark.parametrize("how", ["stop", "kill", "close"])
def test_grandchildren_end_too_even_outside_of_the_group(world: World, how: str) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("family", FAMILY))
            await world.grown("family", 2)
            assert len(alive(world.run_id)) == 3
            if how == "kill":
                supervisor.kill("family", restart=False)
                await until(lambda: not alive(world.run_id))
            if how == "stop":
                await supervisor.stop("family")
                assert len(alive(world.run_id)) == 1  # the one that left is the guard's

    asyncio.run(scenario())
    assert alive(world.run_id) == []


def test_a_child_may_finish_its_work_after_its_wrapper_has_gone(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("slow", SLOW_FAMILY))
            await world.grown("slow")
            await supervisor.stop("slow")

    asyncio.run(scenario())
    assert world.log("slow").split() == ["ready", "drained"]


def test_a_crash_loop_ends_with_the_reason(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("app", CRASH, ready=ReadyProbe(port=1)))
            with pytest.raises(
                EnvironmentProblem, match=r"(?s)app did not start: exit code 3.*no module"
            ) as told:
                await supervisor.wait_ready("app", DEADLINE_S)
            assert "app.log" in (told.value.hint or "")
            assert supervisor.view("app").restarts == 2

    asyncio.run(scenario())
    assert world.states("app") == ["starting", "backoff", "starting", "backoff", "starting", "fatal"]
    assert [exit_.expected for exit_ in world.exits] == [False, False, False]


def test_a_crash_takes_the_rest_of_the_group_along(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("family", FAMILY, restart=False))
            await world.grown("family", 2)
            pid = supervisor.view("family").pid
            assert pid is not None
            os.kill(pid, signal.SIGSEGV)
            await until(lambda: supervisor.view("family").state is ProcessState.EXITED)
            await until(lambda: len(alive(world.run_id)) == 1)  # the one that left the group

    asyncio.run(scenario())
    assert "SIGSEGV" in world.exits[0].view.reason


def test_a_killed_process_comes_back_with_another_pid(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("app", WAIT))
            first = supervisor.view("app").pid
            supervisor.kill("app")
            await until(lambda: supervisor.view("app").restarts == 1)
            await supervisor.wait_ready("app", DEADLINE_S)
            assert supervisor.view("app").pid not in (None, first)

    asyncio.run(scenario())
    assert world.exits[0].expected
    assert world.exits[0].view.state is ProcessState.BACKOFF


def test_a_frozen_process_stands_still_and_can_still_be_stopped_in_order(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("family", FAMILY))
            await world.grown("family", 2)
            members = [psutil.Process(pid) for pid in alive(world.run_id)]
            supervisor.pause("family")
            await until(lambda: {member.status() for member in members} == {psutil.STATUS_STOPPED})
            assert supervisor.view("family").paused
            supervisor.resume("family")
            await until(lambda: psutil.STATUS_STOPPED not in {member.status() for member in members})
            supervisor.pause("family")
            await supervisor.stop("family")
            assert supervisor.view("family").exit_code == -signal.SIGTERM

    asyncio.run(scenario())


def test_ready_means_a_good_answer_over_http(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            port = free_port()
            probe = ReadyProbe(port=port, path="/health")
            await supervisor.start(world.spec("web", HTTP, str(port), ready=probe))
            assert supervisor.view("web").state is ProcessState.STARTING
            await supervisor.wait_ready("web", DEADLINE_S)

    asyncio.run(scenario())
    assert world.states("web")[:2] == ["starting", "running"]


def test_ready_means_a_connection_to_a_unix_socket(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def scenario() -> None:
        path = str(tmp_path_factory.mktemp("s") / "s")
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("unix", UNIX, path, ready=ReadyProbe(socket=path)))
            await supervisor.wait_ready("unix", DEADLINE_S)

    asyncio.run(scenario())


def test_what_is_not_ready_in_time_says_what_was_tried(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            probe = ReadyProbe(port=free_port(), path="/health", timeout_s=0.2)
            await supervisor.start(world.spec("mute", WAIT, ready=probe, restart=False))
            with pytest.raises(EnvironmentProblem, match=r"not ready within 0\.2 s: 127\.0\.0\.1:\d+/health"):
                await supervisor.wait_ready("mute", DEADLINE_S)

    asyncio.run(scenario())


def test_mistakes_of_the_caller_are_told(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            missing = ProcessSpec("gone", ("/no/such/program",), {}, "/", str(world.project / "gone.log"))
            with pytest.raises(
                EnvironmentProblem, match=r"cannot start gone \(/no/such/program\): No such file"
            ):
                await supervisor.start(missing)
            with pytest.raises(EnvironmentProblem, match=r"No such file or directory: /no/such/folder"):
                await supervisor.start(world.spec("lost", WAIT, cwd="/no/such/folder"))
            supervisor.forget("lost")
            await supervisor.start(world.spec("app", WAIT))
            with pytest.raises(HoldfastError, match="already running"):
                await supervisor.start(world.spec("app", WAIT))
            with pytest.raises(HoldfastError, match="no process web"):
                supervisor.pause("web")
            with pytest.raises(HoldfastError, match="gone is not running"):
                supervisor.pause("gone")
            supervisor.forget("gone")
            assert [view.name for view in supervisor.status()] == ["app"]
        with pytest.raises(HoldfastError, match="the system is stopping"):
            await supervisor.start(world.spec("late", WAIT))

    asyncio.run(scenario())


def test_stages_stop_one_after_the_other(world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            for name in ("database", "edge", "app-1", "app-2"):
                await supervisor.start(world.spec(name, WAIT))
            await supervisor.stop_all([["edge", "unknown"], ["app-1", "app-2"]])

    asyncio.run(scenario())
    ended = [exit_.view.name for exit_ in world.exits]
    assert (ended[0], set(ended[1:3]), ended[3]) == ("edge", {"app-1", "app-2"}, "database")


def test_a_process_inherits_nothing_but_what_its_spec_says(world: World) -> None:
    code = "import os; print(set(os.environ) - {'LC_CTYPE'} == {'HOLDFAST_RUN', 'ORDERS'}, os.read(0, 1), "
    code += "len(os.listdir('/proc/self/fd')), os.getsid(0) == os.getpid())"

    async def scenario() -> None:
        async with world.supervisor as supervisor:
            with socket.create_server(("127.0.0.1", 0)) as server:
                os.set_inheritable(server.fileno(), True)
                await supervisor.start(world.spec("app", code, restart=False, env={"ORDERS": "1"}))
                await until(lambda: supervisor.view("app").state is ProcessState.EXITED)

    asyncio.run(scenario())
    assert world.log("app").strip() == "True b'' 4 True"


def test_without_pidfd_ends_are_noticed_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    test_a_killed_process_comes_back_with_another_pid(world)


def test_a_guard_that_dies_is_replaced_and_ignores_polite_signals(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guardline, "SHORTEST_LIFE_S", 0.0)

    async def scenario() -> None:
        async with world.supervisor as supervisor:
            await supervisor.start(world.spec("family", FAMILY))
            await world.grown("family", 2)
            first = world.line.pid
            assert first is not None
            await until(lambda: ignored(first) & POLITE == POLITE)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(first, number)
            os.kill(first, signal.SIGKILL)
            await until(lambda: world.line.pid != first)
            assert len(alive(world.run_id)) == 3

    asyncio.run(scenario())
    (told,) = [event.message for event in world.events if event.kind == "guard"]
    assert "killed by signal 9 (SIGKILL)" in told
    assert alive(world.run_id) == []


def test_a_new_guard_knows_the_groups_of_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardline, "SHORTEST_LIFE_S", 0.0)
    untagged = subprocess.Popen([sys.executable, "-I", "-S", "-c", WAIT], env={}, start_new_session=True)

    async def scenario() -> None:
        line = GuardLine("test-no-run")
        line.open(lambda message: None)
        first = line.pid
        assert first is not None
        line.watch(untagged.pid)
        os.kill(first, signal.SIGKILL)
        await until(lambda: line.pid != first)
        await line.close()

    try:
        asyncio.run(scenario())
        assert untagged.wait(DEADLINE_S) == -signal.SIGKILL
    finally:
        untagged.kill()
        untagged.wait()


class Doomed:
    """A whole supervisor in a process of its own, to be killed; ``members``: its descendants but the guard.

    A plain child, a family of which one has left its group, the same frozen, and a family without a tag.
    """

    def __init__(self, project: Path) -> None:
        python = [sys.executable, "-I", "-S", "-c"]
        family = [*python, FAMILY]
        programs = {
            "plain": [*python, WAIT],
            "family": family,
            "frozen family": family,
            "bare family": [*family, "x"],
        }
        command = [sys.executable, "-c", SYSTEM, str(project), json.dumps(programs)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.guard = psutil.Process(json.loads(self.process.stdout.readline())["guard"])
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.members = [child for child in children if child != self.guard]

    def left(self) -> list[psutil.Process]:
        """The members that still run."""
        return [member for member in self.members if not ended(member)]

    def close(self) -> None:
        """End what a failed test has left."""
        for process in (psutil.Process(self.process.pid), self.guard, *self.members):
            if not ended(process):
                process.kill()
        self.process.communicate()


def ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Doomed]:
    system = Doomed(tmp_path)
    yield system
    system.close()


def test_a_killed_supervisor_leaves_no_process(doomed: Doomed, tmp_path: Path) -> None:
    assert len(doomed.left()) == 10
    assert psutil.STATUS_STOPPED in {member.status() for member in doomed.members}
    doomed.process.send_signal(signal.SIGKILL)
    wait_for(lambda: not doomed.left() and ended(doomed.guard))
    assert not rundir.is_running(tmp_path)
    assert rundir.clean_stale(tmp_path) == ()


def test_what_survives_supervisor_and_guard_is_cleaned_at_the_next_start(
    doomed: Doomed, tmp_path: Path
) -> None:
    doomed.process.send_signal(signal.SIGSTOP)  # it would replace the guard
    doomed.guard.kill()
    wait_for(lambda: ended(doomed.guard))
    doomed.process.send_signal(signal.SIGKILL)
    wait_for(lambda: len(doomed.left()) == 6)  # Linux has ended the four children, not the grandchildren
    wait_for(lambda: not rundir.is_running(tmp_path))
    survivors = {member.pid for member in doomed.left()}
    run = RunDir.create(tmp_path)
    run.close()
    assert {leftover.pid for leftover in run.cleaned} == survivors
    assert doomed.left() == []


def test_fifteen_processes_start_quickly(world: World) -> None:
    async def scenario() -> float:
        async with world.supervisor as supervisor:
            began = time.monotonic()
            for number in range(15):
                await supervisor.start(
                    ProcessSpec(f"true-{number}", ("true",), {}, "/", "/dev/null", restart=False)
                )
            took_s = time.monotonic() - began
            await until(lambda: len(world.exits) == 15)
            return took_s

    assert asyncio.run(scenario()) < 3.0


def fill(folder: Path) -> None:
    """Take all room, and every entry for another file."""
    with (folder / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            continue
    with suppress(OSError):
        for number in range(10000):
            (folder / f"ballast-{number}").touch()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=64", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_process_without_room_for_its_log_says_that_the_disk_is_full(tiny_disk: Path, world: World) -> None:
    async def scenario() -> None:
        async with world.supervisor as supervisor:
            fill(tiny_disk)
            with pytest.raises(EnvironmentProblem, match=r"cannot start app: the disk is full"):
                await supervisor.start(world.spec("app", WAIT, log=str(tiny_disk / "logs" / "app.log")))

    asyncio.run(scenario())


def test_a_full_disk_is_an_answer_and_not_a_crash(tiny_disk: Path, tmp_path: Path) -> None:
    run = RunDir.create(tiny_disk)
    fill(tiny_disk)
    with pytest.raises(EnvironmentProblem, match=r"disk is full: .*run\.json \(0\.0 MiB free\)"):
        run.publish({"api": "http://127.0.0.1:1"})
    found = rundir.read(tiny_disk)
    run.close()
    assert found is not None
    assert found.urls == {}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
