"""Reads the ledger and says what must not have happened.

Nobody's word is taken for a death but the killer's, and that of whoever ended
itself and had said so before.
"""

import signal
from collections import Counter, defaultdict
from collections.abc import Iterable

from ledger import Record

# What nobody may note.
FAILURES = ("wrong", "hung", "crashed", "left")

KILLS = (-signal.SIGKILL, -signal.SIGTERM)


class Audit:
    """Faults found in a ledger, and what it was about."""

    def __init__(
        self, records: Iterable[Record], sent: Counter[tuple[int, int]]
    ) -> None:
        self.deaths = {(pid, -signum) for pid, signum in sent}
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._by_kind: dict[str, dict[str, list[Record]]] = {
            kind: defaultdict(list) for kind in JUDGES
        }
        settled = set()
        for record in records:
            self.counts[record.what] += 1
            if record.what in FAILURES:
                self.faults.append(f"noted: {record}")
            elif record.what == "suicide":
                self.deaths.add((record.pid, int(record.more[0])))
            elif record.what == "slain":
                self.deaths.add((record.number, int(record.more[0])))
            elif record.what == "settled":
                settled.add(record.tag)
            # Put by a process that another has forked, and that nobody waits for, after all was
            # taken out: it is lost to nobody.
            is_late = record.what == "put" and record.tag in settled
            if record.what in KIND_OF and not is_late:
                self._by_kind[KIND_OF[record.what]][record.tag].append(record)
        if not self.counts["over"]:
            self.faults.append("the program did not come to its end")
        for kind, judge in JUDGES.items():
            for tag, lines in self._by_kind[kind].items():
                whole = tag.partition(":")[0] in settled
                self.faults += [
                    f"{tag}: {fault}" for fault in judge(self, lines, whole)
                ]

    def tasks(self, records: list[Record], whole: bool) -> Iterable[str]:
        """Done as often as it may be, or failed with a real death, or pending at another error."""
        by_number = defaultdict(list)
        for record in records:
            by_number[record.number].append(record)
        charged: Counter[int] = Counter()
        for number, lines in by_number.items():
            had = Counter(line.what for line in lines)
            given = next((line for line in lines if line.what == "submit"), None)
            tries = 1 + int(given.more[0]) if given is not None and given.more else 1
            told = next((line for line in lines if line.what in OUTCOMES), None)
            if had["begin"] > tries or had["end"] > tries:
                yield f"task {number} ran {had['begin']} times"
            if sum(had[outcome] for outcome in OUTCOMES) > 1:
                yield f"task {number} had several outcomes: {dict(had)}"
            if told is None:
                if whole and had["submit"]:
                    yield f"task {number} was forgotten"
                continue
            if told.what == "done" and not had["end"]:
                yield f"task {number} was done, but ended {had['end']} times"
            if told.what in ("died", "mapped", "lost"):
                death = int(told.more[0]), int(told.more[1])
                if death not in self.deaths:
                    yield f"task {number} names a death that was none: {death}"
                if told.what == "died":
                    charged[death[0]] += 1
                    begun = [line.pid for line in lines if line.what == "begin"]
                    if begun and begun[-1] != death[0]:
                        yield f"task {number} ran in {begun}, yet {death} is named"
        for pid, count in charged.items():
            if count > 1:
                yield f"the death of {pid} cost {count} tasks"

    def items(self, records: list[Record], whole: bool) -> Iterable[str]:
        """Each comes out once, and in its sender's order; one is in dead hands."""
        intended, put, got = set(), set(), Counter()
        open_gets: dict[int, bool] = {}
        latest: dict[tuple[int, int], int] = {}
        for line in records:
            item = line.pid, line.number
            if line.what == "put?":
                intended.add(item)
            elif line.what == "put":
                put.add(item)
            elif line.what in ("get?", "got"):
                open_gets[line.pid] = line.what == "get?"
            else:
                open_gets[line.pid] = False
                sender = int(line.more[0])
                got[sender, line.number] += 1
                # An item that a dead getter of a hub had not confirmed goes to another, who
                # may have later ones.
                is_far = line.tag.startswith("hubs")
                if line.number <= latest.get((line.pid, sender), -1) and not is_far:
                    yield f"item {line.number} of {sender} overtook a later one"
                latest[line.pid, sender] = line.number
        for item, count in got.items():
            if count > 1:
                yield f"item {item} came {count} times"
            if item not in intended:
                yield f"item {item} was never put"
        lost = put - set(got)
        hands = sum(open_gets.values())
        if whole and len(lost) > hands:
            yield f"{len(lost)} items are lost, of {hands} dead getters: {sorted(lost)[:5]}"

    def holds(self, records: list[Record], whole: bool) -> Iterable[str]:
        """One holder at a time, and each that died is told of, once."""
        limit = {"semaphore": 2, "bounded": 3}.get(records[0].tag.rpartition(":")[2], 1)
        last = {line.pid: line.what for line in records}
        holders: set[int] = set()
        told = 0
        for line in records:
            told += line.what == "orphaned"
            if line.what == "have":
                # Those who came to free it were alive all the while.
                alive = {pid for pid in holders if last[pid] != "have"}
                if len(alive) >= limit:
                    yield f"{line.pid} had it while {alive} had it"
                holders.add(line.pid)
            elif line.what == "free":
                holders.discard(line.pid)
        if limit > 1:
            return
        held = sum(what == "have" for what in last.values())
        perhaps = sum(what in ("want", "free") for what in last.values())
        if told > held + perhaps:
            yield f"{told} were told that a holder died, but {held}-{held + perhaps} did"
        if whole and told < held - perhaps:
            yield f"{told} were told that a holder died, but {held} did"

    def messages(self, records: list[Record], whole: bool) -> Iterable[str]:
        """What arrives is what was sent, from the first on; nothing is missing."""
        sent = [line.number for line in records if line.what == "sent"]
        came = [line.number for line in records if line.what == "recv"]
        whats = {line.what for line in records}
        if came != list(range(len(came))):
            yield f"messages came as {came[:20]}"
        receiver_lived = "eof" in whats
        if whole and receiver_lived and len(came) < len(sent):
            yield f"{len(sent)} messages were sent, {len(came)} came"


JUDGES = {
    "tasks": Audit.tasks,
    "items": Audit.items,
    "holds": Audit.holds,
    "messages": Audit.messages,
}

OUTCOMES = ("done", "died", "mapped", "lost", "gone")

KIND_OF = {
    what: kind
    for kind, whats in {
        "tasks": ("submit", "begin", "end", *OUTCOMES),
        "items": ("put?", "put", "get?", "get", "got"),
        "holds": ("want", "have", "free", "freed", "orphaned"),
        "messages": ("sent", "recv?", "recv", "eof", "deaf", "bye"),
    }.items()
    for what in whats
}
