"""The scorecard of the sixteen: ours, and beside it the published rows of others."""
from collections import Counter
from dataclasses import dataclass

from .sixteen import SCENARIOS, View

VERDICTS = ("pass", "partial", "safe", "fail")
CONTROL = "no gateway"  # the published row that ours without a proxy must come to
# Failover Bench (failoverbench.dev), Saksham Kumar, CC BY 4.0: the verdicts of its scorecard of that
# day, S01 to S16. p pass, a partial, s safe, f fail.
PUBLISHED = {
    "Portkey OSS": "pppppp" "a" "ff" "ppp" "a" "f" "pp",
    "Bifrost v2.1.1": "a" "pppp" "f" "a" "ss" "ppp" "a" "s" "pp",
    "LiteLLM proxy": "ppppp" "aa" "sss" "pp" "a" "s" "pp",
    CONTROL: "ssssss" "p" "ss" "pp" "s" "p" "sss",
    "its reference client": "p" * 16,
}
WHY_CHARS = 70
LETTERS = {"p": "pass", "a": "partial", "s": "safe", "f": "fail"}


def published(who, scenario):
    return LETTERS[PUBLISHED[who][list(SCENARIOS).index(scenario.id)]]


@dataclass
class Result:
    view: View
    verdict: str
    why: str

    @property
    def evidence(self):
        """What both sides saw, in one line."""
        v = self.view
        if v.scenario.sequence:
            meanwhile, back = v.in_outage, v.back
            asked = sum(t < v.pace.down for t, _ in v.primary)
            return (f"{sum(c.outcome == 'answer' for c in meanwhile)} of {len(meanwhile)} answered while it was "
                    f"down, {asked} calls to it; " +
                    (f"back after {back:.1f} s" if back is not None else "never back"))
        call, parts = v.calls[0], [f"{len(v.primary)}p/{len(v.fallback)}f"]
        if v.gap is not None:
            parts.append(f"gap {v.gap:.1f} s")
        if call.first is not None:
            parts.append(f"first word {call.first:.1f} s")
        return ", ".join([*parts, f"end {call.took:.1f} s"])

    def plain(self):
        """For JSON."""
        v = self.view
        return {"id": v.scenario.id, "verdict": self.verdict, "why": self.why, "evidence": self.evidence,
                "primary": v.primary, "fallback": v.fallback, "alive": v.alive, "calls": [
                    {"at": c.at, "outcome": c.outcome, "why": c.why, "first_s": c.first, "took_s": c.took,
                     "model": c.model, "usage": c.usage} for c in v.calls]}


def off_control(results):
    """The scenarios in which our caller without a proxy fared otherwise than the published one: there
    the rebuilt fault is another one than theirs."""
    return [r.view.scenario.id for r in results if r.verdict != published(CONTROL, r.view.scenario)]


def counted(verdicts):
    n = Counter(verdicts)
    return " / ".join(str(n[v]) for v in VERDICTS)


def table(rows):
    """{who: results} as Markdown: a line a scenario."""
    lines = ["| | fault | " + " | ".join(f"{who} | seen" for who in rows) + " |",
             "|---|---|" + "---|---|" * len(rows)]
    for results in zip(*rows.values()):
        s = results[0].view.scenario
        cells = [f"{r.verdict} | {r.evidence}" + (f" ({r.why[:WHY_CHARS]})" if r.why else "")
                 for r in results]
        lines.append(f"| {s.id} | {s.title} | " + " | ".join(cells) + " |")
    totals = [f"{counted(r.verdict for r in results)} | " for results in rows.values()]
    lines.append("| | " + " / ".join(VERDICTS) + " | " + " | ".join(totals) + "|")
    return "\n".join(lines)


def beside_published(results):
    """Our row of a full run as the first column, the published ones behind it."""
    lines = ["| fault | Holdfast | " + " | ".join(PUBLISHED) + " |",
             "|---|---|" + "---|" * len(PUBLISHED)]
    for r in results:
        s, ours = r.view.scenario, "**pass**" if r.verdict == "pass" else r.verdict
        others = [published(who, s) for who in PUBLISHED]
        lines.append(f"| {s.id} {s.title} | {ours} | " + " | ".join(others) + " |")
    counts = [counted(r.verdict for r in results), *(counted(LETTERS[c] for c in row)
                                                    for row in PUBLISHED.values())]
    lines.append("| " + " / ".join(VERDICTS) + " | " + " | ".join(counts) + " |")
    return "\n".join(lines)
