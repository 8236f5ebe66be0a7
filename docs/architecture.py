"""Draw `architecture.svg`: the folders, and arrows for what each imports.

    python docs/architecture.py

The rows are the layers that `pyproject.toml` gives import-linter; the arrows are the imports that
grimp, its reader of imports, sees in the sources. An arrow that follows from others is left out.
"""

import sys
import tomllib
from collections.abc import Iterable
from itertools import combinations, pairwise
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "architecture.svg"
PACKAGE, MODELS = "bitsback", "bitsback.models"
BOX, GAP, SPACE, LANE = 30, 38, 26, 6  # pixels: a box, between rows, between boxes, of an arrow
LETTER = 7.6  # mean width of a letter, pixels
STYLE = """
text { font: 13px ui-sans-serif, system-ui, sans-serif; text-anchor: middle; fill: #1f2933 }
rect { fill: #eef3f8; stroke: #52708f; rx: 6 }
.frame { fill: none; stroke: #9aa9b8; stroke-dasharray: 4 4 }
.note { text-anchor: start; fill: #6b7a89 }
path { fill: none; stroke: #52708f; stroke-width: 1.2; marker-end: url(#head) }
.up { stroke: #c0392b }
"""

Arrow = tuple[str, str]


def rows() -> list[list[str]]:
    """Modules and folders by layer, from the roof down, `bitsback.models` in layers of its own."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {
        container: contract["layers"]
        for contract in tool["contracts"]
        if contract["type"] == "layers"
        for container in contract["containers"]
    }

    def names(container: str) -> Iterable[list[str]]:
        for layer in layers[container]:
            siblings = layer.replace(":", "|").split("|")
            row = [f"{container}.{name.strip(' ()')}" for name in siblings]
            if row == [MODELS] and MODELS in layers:
                yield from names(MODELS)
            else:
                yield row

    return list(names(PACKAGE))


def imports(names: Iterable[str]) -> set[Arrow]:
    """Which of these modules and folders import which."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    home = {name: name for name in names}
    for name in list(home):
        home |= dict.fromkeys(graph.find_descendants(name) if name in graph.modules else (), name)
    pairs = {
        (home[module], home[other])
        for module in graph.modules & home.keys()
        for other in graph.find_modules_directly_imported_by(module) & home.keys()
    }
    return {(a, b) for a, b in pairs if a != b}


def reduced(arrows: set[Arrow]) -> set[Arrow]:
    """The arrows that do not follow from others."""
    after: dict[str, set[str]] = {}
    for a, b in arrows:
        after.setdefault(a, set()).add(b)

    def reached(begin: str, seen: set[str]) -> set[str]:
        for name in after.get(begin, set()) - seen:
            seen.add(name)
            reached(name, seen)
        return seen

    return {(a, b) for a, b in arrows if not any(b in reached(c, set()) for c in after[a] - {b})}


class Layout:
    """Boxes in rows, and long arrows in lanes between them.

    Args:
        rows: names by row.
        arrows: each from an earlier row to a later one.
    """

    def __init__(self, rows: list[list[str]], arrows: set[Arrow]) -> None:
        self.rows = [list(row) for row in rows]
        self.row = {name: number for number, row in enumerate(rows) for name in row}
        self.chains: dict[Arrow, list[str]] = {}
        for a, b in sorted(arrows):
            lanes = [f"{a}>{b}>{number}" for number in range(self.row[a] + 1, self.row[b])]
            self.chains[a, b] = [a, *lanes, b]
            for lane, number in zip(lanes, range(self.row[a] + 1, self.row[b]), strict=True):
                self.rows[number].append(lane)
                self.row[lane] = number
        self.neighbours: dict[str, list[str]] = {name: [] for name in self.row}
        for chain in self.chains.values():
            for a, b in pairwise(chain):
                self.neighbours[a].append(b)
                self.neighbours[b].append(a)
        self.x = dict.fromkeys(self.row, 0.0)
        for row in self.rows:
            self._place(row, dict.fromkeys(row, 0.0))
        for sweep in range(60):
            for row in self.rows if sweep % 2 else self.rows[::-1]:
                wish = {name: self._mean(name) for name in row}
                # What passes by `models` stays at its right.
                row.sort(key=lambda name: (not inside(name), wish[name]))
                self._place(row, wish)
        self._swap()
        for sweep in range(60):
            for row in self.rows if sweep % 2 else self.rows[::-1]:
                self._place(row, {name: self._mean(name) for name in row})
        left = min(self.x[name] - self.width(name) / 2 - SPACE for name in self.x)
        if any(map(inside, self.x)):
            left = min(left, self.frame()[0] - SPACE)
        self.x = {name: x - left for name, x in self.x.items()}

    @staticmethod
    def width(name: str) -> float:
        return LANE if ">" in name else LETTER * len(label(name)) + 20

    def _crossings(self) -> int:
        place = {name: number for row in self.rows for number, name in enumerate(row)}
        steps = [step for chain in self.chains.values() for step in pairwise(chain)]
        return sum(
            self.row[a] == self.row[c] and (place[a] - place[c]) * (place[b] - place[d]) < 0
            for (a, b), (c, d) in combinations(steps, 2)
        )

    def _swap(self) -> None:
        """Swap neighbours while that costs no crossing; keep the order of the fewest."""
        fewest, best = self._crossings(), [list(row) for row in self.rows]
        for _ in range(4):
            for row in self.rows:
                for number, (a, b) in enumerate(list(pairwise(row))):
                    before = self._crossings()
                    if row[number : number + 2] == [a, b] and inside(a) == inside(b):
                        row[number : number + 2] = b, a
                        if self._crossings() > before:
                            row[number : number + 2] = a, b
            if (crossings := self._crossings()) < fewest:
                fewest, best = crossings, [list(row) for row in self.rows]
        self.rows = best

    def _mean(self, name: str) -> float:
        near = self.neighbours[name]
        return sum(self.x[other] for other in near) / len(near) if near else self.x[name]

    def _place(self, row: list[str], wish: dict[str, float]) -> None:
        """The places nearest to those wished for, in the row's order, with space between."""
        offsets = [0.0]
        for a, b in pairwise(row):
            offsets.append(offsets[-1] + (self.width(a) + self.width(b)) / 2 + SPACE)
        pools: list[tuple[float, float, int]] = []  # neighbours that would overlap move as one
        for name, offset in zip(row, offsets, strict=True):
            weight = 8.0 if ">" in name else 1.0  # long arrows are straight
            pools.append((weight * (wish[name] - offset), weight, 1))
            while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
                last, before = pools.pop(), pools.pop()
                pools.append((last[0] + before[0], last[1] + before[1], last[2] + before[2]))
        means = [total / weight for total, weight, number in pools for _ in range(number)]
        self.x |= {n: m + o for n, m, o in zip(row, means, offsets, strict=True)}

    def frame(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a frame round `models` and its arrows."""
        tops = [self.top(name) for name in self.row if inside(name) and ">" not in name]
        y0, y1 = min(tops) - 12, max(tops) + BOX + 12
        names = [name for name in self.row if inside(name) and y0 < self.top(name) < y1]
        x0 = min(self.x[name] - self.width(name) / 2 for name in names) - 70
        return x0, y0, max(self.x[name] + self.width(name) / 2 for name in names) + 14, y1

    def top(self, name: str) -> float:
        return SPACE + self.row[name] * (BOX + GAP)


def inside(name: str) -> bool:
    """Whether a box, or an end of a lane's arrow, is part of `models`."""
    return any(end.startswith(f"{MODELS}.") for end in name.split(">"))


def label(name: str) -> str:
    """As the drawing says it: a folder with a slash, a module as a file."""
    path = ROOT / name.replace(MODELS, "models").replace(".", "/")
    short = name.removeprefix(f"{MODELS}.").removeprefix(f"{PACKAGE}.")
    return f"{short}/" if path.is_dir() else f"{short}.py"


def ports(layout: Layout) -> dict[tuple[str, str, int], float]:
    """Where each arrow leaves (0) and meets (1) its boxes, so that no two share a point."""
    found: dict[tuple[str, str, int], float] = {}
    for end in (0, 1):
        for name in layout.row:
            mine = [(a, b) for a, b in layout.chains if (a, b)[end] == name]
            mine.sort(key=lambda arrow: layout.x[layout.chains[arrow][1 if end == 0 else -2]])
            reach = min(layout.width(name) - 20, 16.0 * (len(mine) - 1))
            for number, (a, b) in enumerate(mine):
                share = number / (len(mine) - 1) - 0.5 if len(mine) > 1 else 0.0
                found[a, b, end] = layout.x[name] + share * reach
    return found


def drawing() -> str:
    """The SVG's text."""
    every = rows()
    names = [name for row in every for name in row]
    row = {name: number for number, layer in enumerate(every) for name in layer}
    arrows = imports(names)
    used = {name for arrow in arrows for name in arrow}
    every = [kept for layer in every if (kept := [name for name in layer if name in used])]
    up = {(a, b) for a, b in arrows if row[a] >= row[b]}
    layout = Layout(every, reduced(arrows - up))
    width = max(layout.x[name] + layout.width(name) / 2 for name in layout.x) + SPACE
    height = 2 * SPACE + len(every) * (BOX + GAP) - GAP
    at = ports(layout)
    lines = []
    for (a, b), chain in layout.chains.items():
        points = [(at[a, b, 0], layout.top(a) + BOX)]
        for lane in chain[1:-1]:
            points += [(layout.x[lane], layout.top(lane)), (layout.x[lane], layout.top(lane) + BOX)]
        points.append((at[a, b, 1], layout.top(b) - 2))
        lines.append(f'<path d="{curve(points)}"/>')
    for a, b in sorted(up):
        points = [(layout.x[a], layout.top(a)), (layout.x[b], layout.top(b) + BOX)]
        lines.append(f'<path class="up" d="{curve(points)}"/>')
    if any(map(inside, names)):
        lines.append(frame(layout))
    for name in (name for layer in every for name in layer):
        lines.append(box(layout, name, sorted(label(b) for a, b in arrows if a == name)))
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0,0 8,4 0,8z" style="fill: #52708f; stroke: none"/></marker>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
            f' width="{width:.0f}" height="{height:.0f}">',
            f"<style>{STYLE}</style>",
            f"<defs>{head}</defs>",
            *lines,
            "</svg>\n",
        ]
    )


def curve(points: list[tuple[float, float]]) -> str:
    """A path that leaves and meets every point vertically."""
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path += f" C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}"
    return path


def box(layout: Layout, name: str, others: list[str]) -> str:
    x, y, wide = layout.x[name], layout.top(name), layout.width(name)
    title = f"imports {', '.join(others)}" if others else "imports none of these"
    return (
        f'<g><title>{title}</title><rect x="{x - wide / 2:.1f}" y="{y:.1f}" width="{wide:.1f}"'
        f' height="{BOX}"/><text x="{x:.1f}" y="{y + 19.5:.1f}">{label(name)}</text></g>'
    )


def frame(layout: Layout) -> str:
    """A frame round the folders of `models`."""
    x0, y0, x1, y1 = layout.frame()
    return (
        f'<rect class="frame" x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}"'
        f' height="{y1 - y0:.1f}"/>'
        f'<text class="note" x="{x0 + 8:.1f}" y="{y0 + 18:.1f}">models/</text>'
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: python docs/architecture.py")
    sys.path.insert(0, str(ROOT))  # this checkout, whatever is installed
    FILE.write_text(drawing())
