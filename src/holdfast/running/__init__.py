"""What the commands about a running system do: start it, find it, follow it, and show what it says."""

from holdfast.running.find import connect, down
from holdfast.running.follow import fault, reload, watch
from holdfast.running.logs import show_events, show_logs
from holdfast.running.start import Request, show_plan, up, up_detached

__all__ = [
    "Request",
    "connect",
    "down",
    "fault",
    "reload",
    "show_events",
    "show_logs",
    "show_plan",
    "up",
    "up_detached",
    "watch",
]
