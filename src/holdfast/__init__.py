"""Holdfast: describe an HTTP API once, run it highly available on this machine, break it, and put it on AWS."""

from __future__ import annotations

__version__ = "0.1.0"
