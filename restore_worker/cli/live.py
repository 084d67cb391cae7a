"""A restore as it goes on, on one screen that is drawn anew."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from restore_worker.attendance import QUIET_SECONDS
from restore_worker.cli.tracking import AT_WORK, TrackedResource, Tracking
from restore_worker.cli.wording import label
from restore_worker.entries import RestoreRecord
from restore_worker.errors import LedgerUnavailableError, printable
from restore_worker.restore import Restore
from restore_worker.states import FINAL_RESTORE_STATES, ResourceState, RestoreState

# Seconds between two pictures: more would cost more than anybody sees.
_PACE = 0.5
# Seconds between two pictures while nothing happens: clocks go on.
_TICK = 1.0
_FORETOLD_FOR = timedelta(seconds=2)
# Columns from which each count of a state has its word; below that there is a line that tells them.
_WIDE = 100
_WAY = (
    RestoreState.CHECKING,
    RestoreState.RESTORING,
    RestoreState.ASSEMBLING,
    RestoreState.CREATING,
)
_SIGNS = {
    ResourceState.DONE: ("✔", "green"),
    ResourceState.FAILED: ("✘", "bold red"),
    ResourceState.SKIPPED: ("-", "magenta"),
    ResourceState.RUNNING: ("●", "cyan"),
    ResourceState.WAITING: ("◌", "yellow"),
    ResourceState.READY: ("·", "dim"),
    ResourceState.PLANNED: ("·", "dim"),
}


def follow_live(restore: Restore, console: Console) -> None:
    """Show a restore on the console until it ends; what was there stays."""
    tracking = Tracking([each.node for each in restore.resources], restore.children)
    picture = Picture(restore.status, tracking)
    heard = time.monotonic()
    # It is drawn when something happened, not by rich's own thread in between.
    with Live(picture, console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for events in restore.watch_lists(quiet=_TICK, pace=_PACE):
            now = time.monotonic()
            for event in events:
                tracking.take(event)
            if events:
                picture.complaints, heard = (), now
            elif now - heard >= QUIET_SECONDS:
                picture.complaints, heard = _complaints(restore), now
            if tracking.stack and not picture.titles:
                picture.titles = restore.titles
            live.refresh()


def _complaints(restore: Restore) -> Sequence[str]:
    """Return why nothing happens, as far as that is known."""
    try:
        return restore.complaints()
    except LedgerUnavailableError as error:
        return [str(error)]


class Picture:
    """All of a restore on one screen, as big as the console is.

    complaints: why nothing happens.
    titles: what people call the resources of the stack, by their names in it.
    """

    complaints: Sequence[str] = ()
    titles: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, record: RestoreRecord, tracking: Tracking, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Begin with what is known. now: the clock."""
        self._record = record
        self._tracking = tracking
        self._now = now
        self._foretold: tuple[datetime, float | None] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what fits on the console."""
        width, height = options.max_width, options.height or console.height
        now = self._now()
        lines = [*self._heading(now), *(Text(f"! {each}", "bold yellow") for each in self.complaints)]
        room = max(height - len(lines) - 1, 3)
        stack = self._stack_lines(room // 2)
        lines += [*self._resource_lines(room - len(stack), width, now), *stack]
        for line in lines[: max(height - 1, 1)]:
            if isinstance(line, Text):
                line.truncate(width, overflow="ellipsis")
                line.no_wrap = True
            yield line

    def _heading(self, now: datetime) -> Iterator[Text | Table]:
        record, tracking = self._record, self._tracking
        where = f" → {record.cloud}" if record.cloud else ""
        yield Text.assemble(("Restore ", "bold"), (record.id, "bold"), printable(f"  {record.plan}{where}"))
        ended = tracking.phases.get(tracking.state) if tracking.state in FINAL_RESTORE_STATES else None
        yield self._way(_clock((ended or now) - record.created))
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        total = len(tracking.resources)
        built = self._built()
        told = f"{tracking.settled}/{total} resources" + (f", {built[0]}/{built[1]} by Heat" if built else "")
        left = self._left(now) if tracking.state is RestoreState.RESTORING else None
        told += f", {_about(left)} left for resources" if left is not None else ""
        done, all_ = tracking.settled + (built[0] if built else 0), total + (built[1] if built else 0)
        bar.add_row(ProgressBar(total=max(all_, 1), completed=done), told)
        yield bar
        yield Text(tracking.reason, "bold red" if tracking.state is RestoreState.FAILED else "yellow")

    def _way(self, clock: str) -> Text:
        tracking = self._tracking
        line = Text(f"{clock}  ")
        for state in _WAY:
            if state is tracking.state:
                line.append(f"● {state}  ", "bold cyan")
            elif state in tracking.phases:
                line.append(f"✔ {state}  ", "green")
            else:
                line.append(f"· {state}  ", "dim")
        if tracking.state not in _WAY:
            good = tracking.state in {RestoreState.COMPLETE, RestoreState.DESTROYED, RestoreState.FORGOTTEN}
            failed = tracking.state is RestoreState.FAILED
            line.append(tracking.state, "bold green" if good else "bold red" if failed else "bold yellow")
        return line

    def _left(self, now: datetime) -> float | None:
        """Return how long it may still take; for a thousand resources that is not found out at each picture."""
        if self._foretold is None or now - self._foretold[0] >= _FORETOLD_FOR:
            self._foretold = now, self._tracking.remaining(now)
        begun, left = self._foretold
        return left if left is None else max(left - (now - begun).total_seconds(), 0.0)

    def _built(self) -> tuple[int, int] | None:
        """Return of how many resources of the stack Heat has told how many are there, None if of none."""
        parts = self._parts()
        return (sum(status.endswith("_COMPLETE") for _, status, _ in parts), len(parts)) if parts else None

    def _parts(self) -> list[tuple[str, str, str]]:
        """Return title, status and reason of the resources of the stack that Heat told of."""
        stack = self._tracking.stack
        return [
            (self.titles[name], each.status, each.reason) for name, each in stack.items() if name in self.titles
        ]

    def _stack_lines(self, room: int) -> list[Text]:
        parts = self._parts()
        if not parts:
            return []
        order = ("_FAILED", "_IN_PROGRESS", "_COMPLETE")
        parts.sort(key=lambda each: next(place for place, end in enumerate(order) if each[1].endswith(end)))
        lines = [Text("Heat", "bold")]
        for title, status, reason in parts[: max(room - 2, 1)]:
            style = next(
                style
                for end, style in zip(order, ("bold red", "cyan", "green"), strict=True)
                if status.endswith(end)
            )
            lines.append(Text.assemble("  ", (f"{status:<18} ", style), printable(title), (f"  {reason}", "red")))
        if more := parts[max(room - 2, 1) :]:
            lines.append(Text(f"  … {len(more)} more", "dim"))
        return lines

    def _resource_lines(self, room: int, width: int, now: datetime) -> list[Text]:
        resources = self._tracking.resources
        if len(resources) <= room:
            return [
                _line(resources[index], now, prefix) for index, prefix in _tree(self._tracking.children, resources)
            ]
        if width >= _WIDE:
            return list(_folded(list(resources.values()), room, now))
        legend = Text()
        for state, (sign, style) in _SIGNS.items():
            if state is not ResourceState.READY:
                legend.append(f"{sign} {state}  ", style)
        return [*_folded(list(resources.values()), room - 1, now, words=False), legend]


def _folded(
    resources: Sequence[TrackedResource], room: int, now: datetime, *, words: bool = True
) -> Iterator[Text]:
    """Yield a line for each type, and below it those of its resources that matter most now."""
    by_type: dict[str, list[TrackedResource]] = defaultdict(list)
    for each in resources:
        by_type[each.node.type].append(each)
    shown = _foremost(resources, max(room - len(by_type), 0))
    for kind, members in list(by_type.items())[:room]:
        line = Text(f"{printable(kind):<26}", "bold")
        counts = Counter(each.state for each in members)
        for state, (sign, style) in _SIGNS.items():
            if count := counts[state]:
                line.append(f"  {sign} {count}{f' {state}' if words else ''}", style)
        yield line
        for each in members:
            if each.node.index in shown:
                yield _line(each, now, "  ", typed=False)


def _foremost(resources: Sequence[TrackedResource], room: int) -> set[int]:
    """Return the places of those to show: what failed, but of the room half is for what is at work."""
    failed = [each.node.index for each in resources if each.state is ResourceState.FAILED]
    at_work = [each.node.index for each in resources if each.state in AT_WORK]
    shown = failed[: max(room // 2, room - len(at_work))]
    return {*shown, *at_work[: room - len(shown)]}


def _line(each: TrackedResource, now: datetime, prefix: str, *, typed: bool = True) -> Text:
    sign, style = _SIGNS[each.state]
    node = each.node
    name = label(node.type, node.id, node.name) if typed else printable(node.name or node.id)
    line = Text.assemble((prefix, "dim"), (f"{sign} ", style), (name, "dim" if style == "dim" else ""))
    if each.began:
        line.append(f"  {_clock((each.ended or now) - each.began)}", "dim")
    if each.bytes and each.state is ResourceState.RUNNING:
        line.append(f"  {decimal(each.bytes)}", "cyan")
    if each.attempts > 1:
        line.append(f"  attempt {each.attempts}", "yellow")
    if each.reason:
        line.append(f"  {each.reason}", style)
    return line


def _tree(
    children: Mapping[int, Sequence[int]], resources: Mapping[int, TrackedResource]
) -> Iterator[tuple[int, str]]:
    """Yield every resource once, with the branches before it: below the nearest one that depends on it."""
    # Parents come after their children, so the nearest is the first.
    nearest: dict[int, int] = {}
    for parent in sorted(children):
        for child in children[parent]:
            nearest.setdefault(child, parent)
    below: dict[int, list[int]] = defaultdict(list)
    for child in resources:
        if child in nearest:
            below[nearest[child]].append(child)
    pending = [(index, "", "") for index in reversed(list(resources)) if index not in nearest]
    while pending:
        index, prefix, indent = pending.pop()
        yield index, prefix
        for place, child in enumerate(reversed(below[index])):
            branch, bar = ("├ ", "│ ") if place else ("└ ", "  ")
            pending.append((child, indent + branch, indent + bar))


def _clock(duration: timedelta) -> str:
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02} min"


def _about(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004 - below it, minutes say too little
        return f"about {max(round(seconds), 1)} s"
    return f"about {round(seconds / 60)} min"
