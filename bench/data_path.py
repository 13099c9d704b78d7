"""What Holdfast's data path costs beside a bare Envoy in front of the same program, in one run.

``python -m bench.data_path [--rounds 3] [--seconds 3] [--json]``. The program is nginx with one fixed JSON answer, so
that the proxies are what is measured. Every Envoy of a variant is pinned to one core and its CPU is added up; the
load generator and nginx share the other core. The variants take turns and the least disturbed round counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import zone_filters
from bench.zone_filters import HOST, OPTIONS, PARTS, Bench, Files, cpu_s, free_port, product, started

from holdfast.components import component
from holdfast.local import certs
from holdfast.local.dns.responder import Responder
from holdfast.local.dns.server import DnsServer
from holdfast.local.dns.zone import Record
from holdfast.local.dns.zones import hosted
from holdfast.local.envoy import binary, edge, xds
from holdfast.local.envoy.edge import Edge, Origin
from holdfast.model import Group

ORIGIN = "origin.bench.test"


@dataclass(frozen=True, slots=True)
class Variant:
    """``proxies``: the Envoys on the way, first the one that clients reach; ``url`` is what they ask."""

    name: str
    proxies: Sequence[Files]
    url: str


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU of all proxies a request in microseconds, and requests/s."""

    cpu_us: float
    rps: float


def edge_files(http_port: int, gateway_port: int, dns: tuple[str, int], folder: Path) -> Files:
    """The product's edge in front of one gateway, API paths only."""
    block, function = component("cloudfront"), component("edgefunction")
    cdn = Group(
        "cloudfront", block.name, block.role, None, block.Settings(), block.behaviour(block.Settings()), ()
    )
    acts = function.behaviour(function.Settings())
    viewer = Group("edgefunction", function.name, function.role, None, function.Settings(), acts, ())
    made = certs.ensure(folder / "ca", ("localhost",))
    described = Edge(
        host=HOST,
        http_port=http_port,
        https_port=free_port(),
        admin_socket="admin.sock",
        access_log="access.log",
        cdn=cdn,
        edge_function=viewer,
        bucket_dir=None,
        api_hostname=ORIGIN,
        origins=(Origin("r", ORIGIN, gateway_port, 0),),
        dns=dns,
        certificate=str(made.cert_path),
        key=str(made.key_path),
        folder=".",
    )
    return dict(edge.boot(described))


@contextmanager
def name_server() -> Iterator[tuple[str, int]]:
    """The product's name server, in a thread, with one name."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    zone = hosted("bench.test", [Record(ORIGIN, values=(HOST,), ttl_s=60)])
    server = DnsServer(Responder(zone, lambda check: True))
    asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0), loop).result(5)
    try:
        yield ("127.0.0.1", server.port)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def variants(bench: Bench, dns: tuple[str, int]) -> list[Variant]:
    """From nothing in front of the program to the whole way."""
    bare = product(bench.port, bench.target)
    for drop in PARTS.values():
        drop(bare)
    gateway = product(bench.port, bench.target)
    edge_port = free_port()
    way = [edge_files(edge_port, bench.port, dns, bench.folder), gateway]
    at = {"program": bench.target, "first": bench.port, "edge": edge_port}
    urls = {name: f"http://{HOST}:{port}/" for name, port in at.items()}
    return [
        Variant("the program alone", [], urls["program"]),
        Variant("bare Envoy -> program", [bare], urls["first"]),
        Variant("gateway -> program", [gateway], urls["first"]),
        Variant("edge -> gateway -> program", way, urls["edge"]),
    ]


def sample(bench: Bench, variant: Variant) -> Sample:
    """Run one variant once."""
    with ExitStack() as stack:
        pids = []
        for files in variant.proxies:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.folder)))
            xds.write(folder, files)
            argv = (binary.path(), "-c", "envoy.json", *OPTIONS)
            pids.append(stack.enter_context(started(argv, folder, bench.cores[0])).pid)
        zone_filters.wait_for_200(int(variant.url.rsplit(":", 1)[1].rstrip("/")))
        bench.load(0.5, variant.url)
        before = sum(cpu_s(pid) for pid in pids)
        result = bench.load(bench.seconds, variant.url)
        spent = sum(cpu_s(pid) for pid in pids) - before
    if result["failed"] or set(result["statuses"]) != {"200"}:
        raise SystemExit(f"unexpected answers from {variant.name}: {result}")
    return Sample(spent / result["requests"] * 1e6, result["rps"])


def rows(results: dict[str, Sample]) -> list[dict[str, Any]]:
    """``cpu_share`` and ``rps_share``: how much of the bare Envoy's efficiency and speed is left (1 = all of it)."""
    bare = results["bare Envoy -> program"]
    return [
        {
            "variant": name,
            "cpu_us": round(one.cpu_us, 1),
            "cpu_share": round(bare.cpu_us / one.cpu_us, 2) if one.cpu_us else None,
            "rps": round(one.rps),
            "rps_share": round(one.rps / bare.rps, 2),
        }
        for name, one in results.items()
    ]


def measure(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """The whole table; for each variant its least CPU and its most requests/s."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, name_server() as dns:
        bench = Bench(Path(name), free_port(), free_port(), seconds, (cores[-1], cores[0]))
        with bench.target_server():
            found: dict[str, list[Sample]] = {}
            for _ in range(rounds):
                for variant in variants(bench, dns):
                    found.setdefault(variant.name, []).append(sample(bench, variant))
    return rows(
        {n: Sample(min(s.cpu_us for s in runs), max(s.rps for s in runs)) for n, runs in found.items()}
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    table = measure(args.rounds, args.seconds)
    if args.json:
        print(json.dumps(table))
        return
    print(f"{'variant':28} {'CPU us':>7} {'share':>6} {'req/s':>7} {'share':>6}")
    for row in table:
        print("{variant:28} {cpu_us:7} {cpu_share!s:>6} {rps:7} {rps_share:6}".format(**row))


if __name__ == "__main__":
    main()
