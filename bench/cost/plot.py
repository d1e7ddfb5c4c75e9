"""Pictures of the tables; readable on a light and on a dark page."""
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

from .growth import series  # noqa: E402
from .results import COST, middle, ratio  # noqa: E402

INK = "#808080"
COLOURS = {"nginx": "#9a9a9a", "haproxy": "#c9a227", "holdfast": "#3b7dd8", "to Anthropic": "#58a55c",
           "to Gemini": "#d1495b"}
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "holdfast", "font.size": 9, "axes.titlesize": 9,
         "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Arial"],
         "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "text.color": INK,
         "axes.labelcolor": INK, "axes.titlecolor": INK, "xtick.color": INK, "ytick.color": INK,
         "grid.color": INK, "grid.alpha": 0.25, "legend.frameon": False, "savefig.transparent": True}


def colour(name):
    return COLOURS.get(name, "#8d6fb8")


def save(figure, path):
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return path


def draw_cost(figures, path):
    """The ratios to nginx, as bars."""
    workloads = [w for w in COST if w in figures]
    names = [n for n in COLOURS if n != "nginx" and any(n in figures[w] for w in workloads)]
    figure, axes = plt.subplots(figsize=(8, 0.3 + 0.62 * len(workloads)))
    y, ticks = 0, []
    for w in workloads:
        bars = [(n, r) for n in names if (r := ratio(figures, "cpu", (w, n), (w, "nginx")))]
        ticks.append(y + (len(bars) - 1) / 2)
        for n, r in bars:
            axes.barh(y, r, height=0.85, color=colour(n), label=n)
            axes.text(r, y, f" {r:.2f}", va="center", fontsize=7)
            y += 1
        y += 0.8
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_yticks(ticks, workloads)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_title("CPU time of the proxy per answer or event, nginx = 1", loc="left")
    legend = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    axes.legend(legend.values(), legend.keys(), loc="lower right")
    return save(figure, path)


def draw_lines(axes, figures, kind, title):
    rows = series(figures, kind)
    for name in rows[0][1]:
        points = [(n, cpu[name]) for n, cpu in rows if cpu[name] is not None]
        axes.plot(*zip(*points), marker="o", markersize=3.5, color=colour(name), label=name)
    axes.set_xscale("log")
    axes.set_xticks([n for n, _ in rows], [f"{n:,}" for n, _ in rows], rotation=45)
    axes.minorticks_off()
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    axes.grid(axis="y")
    axes.set_title(title, loc="left")
    axes.legend(loc="lower left")


def draw_workers(axes, figures):
    """Answers a second, one worker and two."""
    kinds = dict.fromkeys(w.removeprefix("workers-")[:-2] for w in figures if w.startswith("workers-"))
    bars = [(kind, name) for kind in kinds for name in figures[f"workers-{kind}-1"]]
    for x, (kind, name) in enumerate(bars):
        one, two = (middle(figures, f"workers-{kind}-{n}", name, "rate") for n in (1, 2))
        if one and two:
            axes.bar(x, two / one, color=colour(name), width=0.7)
            axes.text(x, two / one, f"{two / one:.2f}", ha="center", va="bottom", fontsize=7)
    axes.axhline(1, color=INK, linewidth=1)
    axes.set_xticks(range(len(bars)), [f"{name}\n{kind}" for kind, name in bars], rotation=45, ha="right", fontsize=7)
    axes.tick_params(axis="x", length=0)
    axes.set_title("answers/s, two workers / one", loc="left")


def draw_growth(figures, path):
    panels = [p for p in ("connections", "streams", "workers") if any(w.startswith(f"{p}-") for w in figures)]
    figure, all_axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 2.8), squeeze=False)
    for panel, axes in zip(panels, all_axes[0]):
        if panel == "workers":
            draw_workers(axes, figures)
        else:
            draw_lines(axes, figures, panel, "CPU us per answer, by connections" if panel == "connections"
                       else "CPU us per event, by open streams")
    figure.tight_layout()
    return save(figure, path)


def write(figures, directory):
    """Returns the files that it wrote."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.rc_context(STYLE):
        if any(w in figures for w in COST):
            written.append(draw_cost(figures, directory / "cost.svg"))
        if any(w.startswith(("connections-", "streams-", "workers-")) for w in figures):
            written.append(draw_growth(figures, directory / "growth.svg"))
    return written
