"""What commands show: text, JSON and pictures of the values that the engines make."""

from holdfast.report.graph import graph_svg
from holdfast.report.implications import Implication, implications
from holdfast.report.jsonable import to_json
from holdfast.report.tree import tree

__all__ = ["Implication", "graph_svg", "implications", "to_json", "tree"]
