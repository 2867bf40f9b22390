"""Draw the tables of bench.py: draw.py runs/hogwild.md docs/hogwild.png"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

SHOWN = {
    "gedanken 1 processes racy": "one worker",
    "gedanken 2 processes racy": "two, racy",
    "gedanken 2 threads racy": "two threads",
    "gedanken 2 processes atomic": "two, atomic",
    "gedanken 2 processes locked": "two, locked",
    "gedanken plain 1": "no workers",
    "sklearn one": "scikit-learn",
    "torch 1": "PyTorch, one",
    "torch 2": "PyTorch, two",
}
OURS, RIVALS, BASE = "#2b6ca3", "#b0b0b0", "#7fa8c9"


def tables(text: str) -> dict[str, dict[str, tuple[float, str]]]:
    """Return samples per second, and how many times one worker's, by table and candidate."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    for line in text.splitlines():
        if line.startswith("### "):
            rows = found.setdefault(line[4:].split(",")[0], {})
        elif line.startswith("| ") and not line.startswith(("| candidate", "| ---")):
            name, rate, ratio, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            if name in SHOWN:
                rows[SHOWN[name]] = float(rate.replace(",", "")), ratio
    return found


def main() -> None:
    """Read the tables, write the picture."""
    source, target = map(Path, sys.argv[1:])
    found = tables(source.read_text())
    figure, axes = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.2), layout="constrained")
    for axis, (title, rows) in zip(axes, found.items(), strict=True):
        names = list(rows)[::-1]
        rivals = [name for name in names if name.startswith(("PyTorch", "scikit"))]
        colours = [RIVALS if name in rivals else OURS if name == "two, racy" else BASE for name in names]
        bars = axis.barh(names, [rows[name][0] / 1e6 for name in names], color=colours)
        axis.bar_label(bars, [f"x {rows[name][1]}" for name in names], padding=3, fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("million samples a second", fontsize=9)
        axis.margins(x=0.18)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main()
