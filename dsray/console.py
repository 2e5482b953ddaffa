"""What a person sees of a build: a line a stage with progress, then a short table."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dsray import cost
from dsray.build import Outcome
from dsray.cost import Estimate
from dsray.dataset import find
from dsray.errors import DsrayError
from dsray.lake import manifests
from dsray.lake.manifests import Manifest
from dsray.lake.store import Store
from dsray.planning import Planned, plan
from dsray.recipe import Recipe
from dsray.report import scores
from dsray.schema import SPLITS
from dsray.stages.gates import refused
from dsray.stages.select import by_count

if TYPE_CHECKING:
    from crawlers.status import Status
    from dsray.stages.choose.whatif import Counts

_TELL_S = 20


class Lines:
    """A build's listener: a live line for the running step, a lasting one for each that ended.

    With a `name` before each line, others write beside it, and no line is live.
    """

    def __init__(self, console: Console, name: str = "") -> None:
        self.console, self.name = console, name
        self.live: Live | None = None
        self.step, self.count, self.note = "", "", ""
        self.began = self.told = time.monotonic()

    def started(self, step: str) -> None:
        self.step, self.count, self.note = step, "", ""
        self.began = self.told = time.monotonic()
        if self.console.is_terminal and not self.name:
            self.live = Live(console=self.console, refresh_per_second=5, transient=True, get_renderable=self._now)
            self.live.start()

    def progress(self, step: str, done: int, total: int | None, note: str) -> None:
        spent = time.monotonic() - self.began
        self.count = f"{done:,}" + (f" / {total:,}" if total else "")
        self.note = note or (f"{done / spent:,.0f} rows/s" if done and spent > 0.5 else "")
        if self.live is None and time.monotonic() - self.told > _TELL_S:  # a log gets a line now and then
            self.told = time.monotonic()
            self.console.print(Text(self.name) + self._now(), highlight=False)

    def finished(self, step: str, manifest: Manifest, seconds: float, reused: bool) -> None:
        self.stop()
        line = _line(step, *_result(step, manifest), "up to date" if reused else f"{seconds:.1f} s")
        self.console.print(Text(self.name) + line, highlight=False)

    def stop(self) -> None:
        """Takes the live line away."""
        if self.live:
            self.live.stop()
            self.live = None

    def _now(self) -> Text:
        return _line(self.step, self.count, self.note, f"{time.monotonic() - self.began:.0f} s")


def _line(step: str, count: str, note: str, end: str) -> Text:
    return Text.assemble((f"  {step:<15}", "bold"), f"{count:>16}  ", (f"{note:<52}", "dim"), f" {end:>10}")


def _result(step: str, manifest: Manifest) -> tuple[str, str]:
    counts, details = manifest.counts, manifest.details
    if step == "collect":
        left = f", {details['left']:,} URLs left" if details.get("left") else ""  # beyond a budget, or not due yet
        return f"{counts['in']:,} rows", f"{details.get('pages', 0):,} pages, {len(manifest.shards)} raw shards{left}"
    if step == "select":
        return (
            f"{counts['kept']:,} kept",
            f"{counts['quarantined']:,} quarantined by {len(details['quarantine'])} rules",
        )
    if step == "label":
        return f"{details['labelled']:,} labelled", f"{details.get('conflicts', 0):,} conflicts"
    if manifest.stage == "train":
        last = details["curve"][-1] if details.get("curve") else {}
        return (
            f"{int(last.get('images', 0)):,} images",
            f"{last.get('images_per_s', 0):,.0f} images/s, {details['workers']} workers",
        )
    if manifest.stage == "synthesize" and "candidates" in details:
        words = {"near": "near to training rows", "unreal": "not real enough", "denied": "of another class",
                 "sure": "too sure"}  # fmt: skip
        left = ", ".join(f"{details[said]:,} {word}" for said, word in words.items() if said in details)
        return f"{counts['kept']:,} rows", f"of {details['candidates']:,} candidates; {left}"
    if step == "evaluate":
        ratios = [f"{model} {score['usefulness']['ratio']:.3f}" for model, score in details["scores"].items()]
        return "", "usefulness " + ", ".join(ratios)
    if step == "release":
        return f"{counts['kept']:,} rows", f"v{details['version']}, {len(manifest.shards)} shards"
    if step == "moments":
        return f"{len(details['mean'])} channels", "mean and deviation of the training rows"
    return f"{counts.get('kept', 0):,} rows", f"{len(manifest.shards)} shards"


def summary(console: Console, outcome: Outcome) -> None:
    """The short table at the end of a build."""
    made = outcome.made
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("rows in", f"{made['collect'].counts['in']:,}", "")
    table.add_row("kept", f"{made['gather'].counts['kept']:,}", "")
    table.add_row("quarantined", f"{made['select'].counts['quarantined'] + made['gather'].counts['quarantined']:,}", "")
    for rule, count in by_count(made["select"].details["quarantine"]):
        table.add_row(f"  {rule}", f"{count:,}", "")
    if "augment" in made:
        table.add_row("augmented", f"{made['augment'].counts['kept']:,}", "")
    for name, manifest in made.items():
        if manifest.stage == "synthesize":
            table.add_row(f"synthetic, {name.split()[1]}", f"{manifest.counts['kept']:,}", "")
    for model, score in (made["evaluate"].details["scores"] if "evaluate" in made else {}).items():
        _score_rows(table, model, score)
    console.print()
    console.print(table)
    if accepted := made["release"].params.get("accepted") if "release" in made else None:
        console.print(f"\nReleased although {refused(made['release'].params['gates'])}.", highlight=False)
        console.print(f"  accepted: {accepted}", highlight=False)


def _score_rows(table: Table, model: str, score: dict[str, Any]) -> None:
    for name, value, note in scores.summary(score):
        table.add_row(f"{name}, {model}", value, note)


def plan_table(console: Console, planned: list[Planned], estimates: Mapping[str, Estimate], start: float = 0.0) -> None:
    """What would run and why, and what it would take where that was ever measured."""
    measured = any(one.seconds is not None for one in estimates.values())
    colours = {"reuse": "dim", "make": "bold", "unknown": ""}
    for step in planned:
        count, note = _result(step.name, step.manifest) if step.manifest else ("", "")
        note = step.why or note
        words = {"reuse": "up to date", "make": "make", "unknown": "make"}
        line = Text.assemble(
            (f"  {step.name:<15}", colours[step.state]), f"{words[step.state]:<12}", (f"{count:>14}  {note}", "dim")
        )
        console.print(line, highlight=False)
        if measured and step.name in estimates:
            console.print(f"{'':45}{cost.told(estimates[step.name])}", highlight=False, style="dim")
    console.print(f"\n{cost.sentence(estimates, start)}", highlight=False)


def difference(console: Console, now: "Counts", then: "Counts") -> None:
    """What another `select` keeps and drops, beside the present one; rules whose rows stay the same are left out."""
    rules = sorted({*now.quarantine, *then.quarantine}, key=lambda rule: -max(
        now.quarantine.get(rule, 0), then.quarantine.get(rule, 0)))  # fmt: skip
    dropped = [(rule, now.quarantine.get(rule, 0), then.quarantine.get(rule, 0)) for rule in rules]
    rows = [("kept", now.kept, then.kept), *((f"  {split}", now.splits[split], then.splits[split]) for split in SPLITS),
            ("quarantined", sum(row[1] for row in dropped), sum(row[2] for row in dropped)),
            *((f"  {rule}", before, after) for rule, before, after in dropped if before != after)]  # fmt: skip
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=True, header_style="dim")
    table.add_column("rows", style="bold")
    for column in ("now", "then", "difference"):
        table.add_column(column, justify="right")
    for name, before, after in rows:
        table.add_row(name, f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else "")
    console.print()
    console.print(table)


def crawl(console: Console, told: "Status") -> None:
    """How a crawl stands: rounds, outcomes, hosts, and what is due."""
    console.print(f"\n{told.source}: {told.state}, crawl {told.number}", highlight=False)
    if not told.rounds:
        return
    names = ("round", "chosen", "pages", "items", "unchanged", "errors", "seconds", "URLs/s")
    table = Table(box=None, pad_edge=True)
    for name in names:
        table.add_column(name, justify="right")
    for one in told.rounds[-10:]:
        done = one["pages"] + one["items"] + one["unchanged"] + one["errors"]
        speed = f"{done / one['seconds']:,.0f}" if one["seconds"] else ""
        table.add_row(*(f"{one[name]:,.0f}" for name in names[:-1]), speed)
    console.print(table, highlight=False)
    for title, counts in (("URLs", told.urls), ("outcomes", told.outcomes)):
        console.print(f"  {title:<9}" + " · ".join(f"{name} {n:,}" for name, n in by_count(counts)), highlight=False)
    hosts = Table(box=None, pad_edge=True)
    for name in ("host", "known", "waiting", "failed"):
        hosts.add_column(name, justify="left" if name == "host" else "right")
    for host, *sums in told.hosts:
        hosts.add_row(host or "(no URL)", *(f"{n:,}" for n in sums))
    console.print(hosts, highlight=False)
    later = f", the next in {(told.next_due - time.time()) / 3600:,.1f} h" if told.next_due else ""
    console.print(f"  due now  {told.due:,}{later}", highlight=False)


def console_of(file: Any = None) -> Console:
    """A console that never wraps a line of ours in a log, and prints brackets of names and reasons as they are."""
    console = Console(file=file or sys.stdout, soft_wrap=True, markup=False)
    return console if console.is_terminal else Console(file=file or sys.stdout, soft_wrap=True, markup=False, width=120)


def _selected(store: Store, what: str | Recipe) -> tuple[str, Manifest, Manifest]:
    """The name of a release, or of a recipe's dataset, and the manifests of its raw rows and of their verdicts."""
    if isinstance(what, str):
        version = find(store, what)
        name, stages = f"{version.dataset}@v{version.number}", version.manifest["stages"]
        raw, select = (manifests.find(store, stage, stages[stage]["key"]) for stage in ("collect", "select"))
    else:
        name, steps = what.dataset, {one.name: one.manifest for one in plan(what, store)}
        raw, select = steps["collect"], steps["select"]
    if raw is None or select is None:
        raise DsrayError(f"The verdicts behind {name} are not on {store.url}.", "Run its recipe.")
    return name, raw, select


def quarantine(console: Console, store: Store, what: str | Recipe, rule: str) -> None:
    """Why rows of a release were dropped, a rule at a time: examples, and what other thresholds would bring back. Of a
    recipe: what its last run dropped, though nothing may have been left to release."""
    from dsray.stages.choose.quarantine import caught

    name, raw, select = _selected(store, what)
    found = caught(raw, select, store, 3 if not rule else 20)
    if rule and rule not in {one.rule for one in found}:
        known = ", ".join(one.rule for one in found) or "none"
        raise DsrayError(f"No row of {name} was dropped by '{rule}'.", f"Rules that dropped rows: {known}.")
    dropped = sum(one.rows for one in found)
    said = f"{name}  {dropped:,} of {select.counts['in']:,} rows are in quarantine"
    console.print(said, highlight=False, style="bold")
    for one in found:
        if rule in ("", one.rule):
            head = (f"\n{one.rule:<20}", "bold"), f"{one.rows:>10,}  {one.share:>7.2%}", (f"  {one.threshold}", "dim")
            console.print(Text.assemble(*head), highlight=False)
            for value, url in one.examples:
                console.print(Text.assemble(f"  {value or '–':<28}", ("  " + url, "dim")), highlight=False)
            if one.back:
                steps = " · ".join(f"{threshold} → {rows:,}" for threshold, rows in one.back)
                console.print(f"  would bring back  {steps}", highlight=False)
    if any(one.back for one in found):
        console.print("\nA rule sees rows that passed those before it: later ones may still catch what comes back.",
                      highlight=False, style="dim")  # fmt: skip
