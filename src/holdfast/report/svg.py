"""A few SVG shapes, and colours for light and dark screens. No fonts or scripts from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

# Plain rules instead of custom properties: several renderers of SVG files know no var().
_STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; font-size: 12px; fill: #1d2733; }
.title { font-size: 20px; font-weight: 600; } .name { font-weight: 600; } .small { font-size: 11px; fill: #526070; }
.page { fill: #ffffff; } .region { fill: #f4f6f9; stroke: #aab4c0; } .zone { fill: #e7ecf2; }
.block { fill: #ffffff; stroke: #5b6b7d; } .node { fill: #d7e7fb; stroke: #2f6db5; }
.spot { fill: #fdf0d5; stroke: #b07c1e; stroke-dasharray: 3 2; }
.link { fill: none; stroke: #2f6db5; stroke-width: 1.5; } .check { stroke: #7a8796; stroke-dasharray: 4 3; }
.head { fill: #2f6db5; } .checkhead { fill: #7a8796; }
@media (prefers-color-scheme: dark) {
  text { fill: #e3e9f0; } .small { fill: #9fb0c2; }
  .page { fill: #12181f; } .region { fill: #1a222c; stroke: #4a5868; } .zone { fill: #222d39; }
  .block { fill: #161e27; stroke: #8294a8; } .node { fill: #1d3a5c; stroke: #6ea8ea; }
  .spot { fill: #4a3a17; stroke: #d9a441; }
  .link { stroke: #6ea8ea; } .check { stroke: #8694a4; } .head { fill: #6ea8ea; } .checkhead { fill: #8694a4; }
}
"""
_HEADS = "".join(
    f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    f'<path class="{name}" d="M0 0 L8 4 L0 8 z"/></marker>'
    for name in ("head", "checkhead")
)
_CHARACTER_PX = {"title": 11.0, "name": 7.0, "small": 5.9, "": 6.4}
"""Average width of a character, on the wide side, so that text fits with any sans-serif font."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Horizontal middle."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width


class Canvas:
    """SVG elements in the order they are drawn."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._parts: list[str] = []

    def rect(self, box: Box, kind: str, *, radius: int = 6) -> None:
        """A rectangle of style class ``kind``."""
        self._parts.append(
            f'<rect class="{kind}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}"'
            f' height="{box.height:.1f}" rx="{radius}"/>'
        )

    def text(self, at: tuple[float, float], words: str, kind: str = "", *, anchor: str = "start") -> None:
        """``words`` from, around or up to ``at``, a point on the baseline."""
        where = f'x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}"'
        self._parts.append(f'<text class="{kind}" {where}>{escape(words, quote=False)}</text>')

    def arrow(self, *points: tuple[float, float], check: bool = False) -> None:
        """A line through ``points`` with a head at the end; dashed for health checks."""
        way = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        kind, head = ("link check", "checkhead") if check else ("link", "head")
        self._parts.append(f'<path class="{kind}" d="{way}" marker-end="url(#{head})"/>')

    def render(self, height: float, title: str) -> str:
        """The whole document, ``height`` pixels high."""
        size = f'width="{self.width}" height="{height:.0f}" viewBox="0 0 {self.width} {height:.0f}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{escape(title, quote=False)}</title>\n'
            f"<style>{_STYLE}</style>\n<defs>{_HEADS}</defs>\n"
            f'<rect class="page" width="100%" height="100%"/>\n' + "\n".join(self._parts) + "\n</svg>\n"
        )


def fit(words: str, width: float, kind: str = "") -> str:
    """``words``, cut with an ellipsis where they would not fit into ``width`` pixels."""
    room = int(width / _CHARACTER_PX[kind])
    return words if len(words) <= room else words[: max(room - 1, 0)].rstrip() + "…"


def wrap(words: str, width: float, kind: str = "") -> list[str]:
    """``words`` in lines of at most ``width`` pixels."""
    room, lines = int(width / _CHARACTER_PX[kind]), [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
