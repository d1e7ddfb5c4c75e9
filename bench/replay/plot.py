"""One picture a replay: what failed when, and who answered, with holdfast and without it."""
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

from .scripts import Fault  # noqa: E402

# (who, colour, words)
ANSWERS = (("P", "#3b6fb6", "P, the primary"), ("B", "#58a55c", "B"), ("C", "#c9a227", "C"),
           ("offline", "#9a9a9a", "offline answer"), ("waited", "#f2a65a", "answered late"),
           ("failed", "#d1495b", "failed"))
WORDS = {"bad_gateway": "502", "server_error": "500", "overloaded": "503", "auth": "401",
         "quota": "no quota", "gone": "404", "portal": "web page", "proxy_auth": "407",
         "slow": "slow x10", "cut": "cut", "stall": "stall"}
BIN_S = 2
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "holdfast", "font.size": 8, "axes.titlesize": 9,
         "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Arial"],
         "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#888888",
         "text.color": "#222222"}


def percent(share):
    a, b = (round(100 * x) for x in (share if isinstance(share, tuple) else (share, share)))
    return f"{a} %" if a == b else f"{a}-{b} %"


def words(phase):
    if not isinstance(phase, Fault):
        return "busy " + percent(phase.busy)
    what = WORDS.get(phase.kind, phase.kind)
    return what if phase.share == 1 else f"{percent(phase.share)} {what}"


def bars(script):
    """{who: {(start, end): [words of the phases there]}} for those that have any."""
    found = {}
    for who, _ in script.capacity:
        for p in script.phases:
            if who in p.who:
                found.setdefault(who, {}).setdefault((p.start, p.end), []).append(p)
    return found


def draw_outage(axes, script):
    rows = bars(script)
    for y, (who, spans) in enumerate(rows.items()):
        for (start, end), phases in spans.items():
            fails = any(isinstance(p, Fault) for p in phases)
            axes.barh(y, end - start, left=start, height=0.8, edgecolor="white",
                      color="#f0b9bf" if fails else "#e8e2c8")
            axes.text((start + end) / 2, y, " + ".join(map(words, phases)), fontsize=6.5,
                      ha="center", va="center", clip_on=True)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="both", length=0, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_title("what fails", loc="left")


def draw_answers(axes, title, s, script):
    """Requests a second by the time they came in, stacked by who answered them."""
    bins = int(script.seconds // BIN_S)
    heights = {who: [0.0] * (bins + 1) for who, _, _ in ANSWERS}
    for second, counts in s.seconds.items():
        for who, n in counts.items():
            heights[who][second // BIN_S] += n / BIN_S
    for row in heights.values():
        row[bins] = row[bins - 1]  # a step needs its right end
    shown = [a for a in ANSWERS if any(heights[a[0]])]
    axes.stackplot([i * BIN_S for i in range(bins + 1)], [heights[who] for who, _, _ in shown],
                   colors=[colour for _, colour, _ in shown], step="post", zorder=2)
    for p in script.phases:
        if isinstance(p, Fault) and "P" in p.who:
            axes.axvspan(p.start, p.end, color="#d1495b", alpha=0.09, linewidth=0, zorder=0)
    axes.set_title(f"{title}: {s.goodput:.1f} % answered", loc="left")
    axes.set_xlim(0, script.seconds)
    axes.set_ylabel("requests/s")


def write(result, path):
    script = result.script
    rows = len(bars(script))
    with plt.rc_context(STYLE):
        figure, (top, with_, without) = plt.subplots(
            3, 1, sharex=True, figsize=(9.375, 3.0 + 0.22 * rows), layout="constrained",
            height_ratios=(0.18 * rows, 1, 1))
        draw_outage(top, script)
        draw_answers(with_, "with holdfast", result.holdfast, script)
        draw_answers(without, "without a proxy", result.direct, script)
        without.set_xlabel("seconds; a request is counted when it comes in")
        seen = {who for s in (result.holdfast, result.direct) for n in s.seconds.values() for who in n}
        shown = [a for a in ANSWERS if a[0] in seen]
        figure.legend([plt.Rectangle((0, 0), 1, 1, color=colour) for _, colour, _ in shown],
                      [text for _, _, text in shown], loc="outside upper right", ncols=len(shown),
                      frameon=False)
        figure.savefig(path, metadata={"Date": None, "Title": f"{result.name}: {result.title}"})
        plt.close(figure)
