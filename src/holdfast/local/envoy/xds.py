"""File xDS: how configuration reaches a running Envoy.

Envoy watches the *folder* for renames, so a file is written beside its place and renamed over it; an in-place
write would be ignored. JSON, not YAML: Envoy's YAML reads a bare ``n`` or ``on`` as a boolean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TYPE = "type.googleapis.com/"
Json = dict[str, Any]


def typed(type_name: str, **fields: Any) -> Json:
    """``fields`` as a ``google.protobuf.Any`` of ``type_name`` (without the ``type.googleapis.com/``)."""
    return {"@type": TYPE + type_name, **fields}


def extension(name: str, type_name: str, **fields: Any) -> Json:
    """A named, typed extension such as a filter."""
    return {"name": name, "typed_config": typed(type_name, **fields)}


def from_file(path: str) -> Json:
    """A config source that reads one xDS file. Relative paths are relative to Envoy's working directory."""
    return {"resource_api_version": "V3", "path_config_source": {"path": path}}


def resources(*items: Json) -> Json:
    """An xDS response file with these resources."""
    return {"resources": list(items)}


def write(folder: Path, files: Mapping[str, Json | str]) -> None:
    """Write each file (relative name -> JSON value or text) so that a running Envoy sees a whole file or the old one.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        os.replace(beside, target)


def duration(seconds: float) -> str:
    """Protobuf JSON duration; Envoy refuses ``.5s`` and exponents."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
