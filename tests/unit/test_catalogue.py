"""Which checkpoints a bank has, where its indices are wrong, and the names that users give to checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from restore_worker.bank import Bank, Value, open_bank
from restore_worker.catalogue import list_checkpoints, parse_time, resolve
from restore_worker.errors import BankUnavailableError, CheckpointError
from tests.support.banks import INDEX, BankCheckpoint, Damage, Edited, Missing, Truncated, write

WEBAPP = Path(__file__).parents[2] / "examples" / "webapp"
NOON = datetime(2020, 3, 5, 12, tzinfo=UTC)
NIGHTLY = "33333333-0000-4000-8000-000000000001"
WEEKLY = "33333333-0000-4000-8000-000000000002"


def checkpoint(number: int, hours: float = 0, **changes: Any) -> BankCheckpoint:
    """A checkpoint made so many hours after noon."""
    plain = BankCheckpoint(nodes=(), id=id_of(number), plan_id=NIGHTLY, created=NOON + timedelta(hours=hours))
    return replace(plain, **changes)


def id_of(number: int) -> str:
    return f"11111111-0000-4000-8000-{number:012}"


def bank_of(directory: Path, *checkpoints: BankCheckpoint) -> Bank:
    (directory / "checkpoints").mkdir()
    for each in checkpoints:
        write(each, directory, indices=each.status != "deleted")
    return open_bank(str(directory))


def damaged(directory: Path, made: BankCheckpoint, *damage: Damage) -> Bank:
    write(made, directory, damage)
    return open_bank(str(directory))


def numbers(bank: Bank, **choice: Any) -> list[int]:
    return [int(entry.id[-12:]) for entry in list_checkpoints(bank, **choice).entries]


class Counting:
    """A bank that notes which index.json were read."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self.indices_read: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    def read(self, key: str) -> Value:
        if key.endswith(INDEX):
            self.indices_read.append(key.split("/")[1])
        return self._bank.read(key)


# Listing


def test_lists_what_karbor_wrote() -> None:
    listing = list_checkpoints(open_bank(str(WEBAPP)))
    assert listing.disagreements == ()
    (entry,) = listing.entries
    assert entry.id == "3d60acf8-b132-4930-bc5b-90294204e9f6"
    assert (entry.plan_name, entry.plan_id) == ("webapp-nightly", "01019336-fa5a-4a50-8fd5-7be882c04611")
    assert entry.project_id == "ba272eed93114ffeb96b66044196c1cd"
    assert entry.provider_id == "cf56bd3e-97a7-4078-b6d5-f36246333fd9"
    assert (entry.status, entry.created) == ("available", datetime(2020, 3, 5, 2, 0, 7, tzinfo=UTC))


def test_lists_the_newest_first(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, *(checkpoint(n, hours) for n, hours in enumerate((3, -300, 0, 3.5, 9000))))
    assert numbers(bank) == [4, 3, 0, 2, 1]


def test_lists_more_than_are_held_at_once(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, *(checkpoint(number, number) for number in range(200)))
    assert numbers(bank) == list(reversed(range(200)))


def test_chooses_by_plan_date_and_status(tmp_path: Path) -> None:
    bank = bank_of(
        tmp_path,
        checkpoint(1, -24),
        checkpoint(2, plan_id=WEEKLY, plan_name="weekly"),
        checkpoint(3, 1, status="error"),
        checkpoint(4, 24, status="protecting"),
    )
    assert numbers(bank, plan="weekly") == [2]
    assert numbers(bank, plan=NIGHTLY) == [4, 3, 1]
    assert numbers(bank, plan="night") == []
    assert numbers(bank, since=NOON, until=NOON + timedelta(hours=1)) == [3, 2]
    assert numbers(bank, since=NOON.astimezone(timezone(timedelta(hours=5)))) == [4, 3, 2]
    assert numbers(bank, status="available") == [2, 1]
    assert numbers(bank, status="error", plan="nightly") == [3]


def test_a_deleted_checkpoint_needs_no_index(tmp_path: Path) -> None:
    listing = list_checkpoints(bank_of(tmp_path, checkpoint(1, status="deleted"), checkpoint(2, 1)))
    assert [entry.status for entry in listing.entries] == ["available", "deleted"]
    assert listing.disagreements == ()


def test_a_bank_without_checkpoints_lists_none(tmp_path: Path) -> None:
    listing = list_checkpoints(bank_of(tmp_path))
    assert (listing.entries, listing.disagreements) == ((), ())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (Truncated(INDEX), "has an unusable index.json: invalid JSON: EOF"),
        (Truncated(INDEX, 0), "has an unusable index.json: invalid JSON: EOF"),
        (Missing(INDEX), "has no index.json"),
        (Edited(INDEX, lambda _: [1]), "has an unusable index.json: "),
        (
            Edited(INDEX, lambda index: index | {"timestamp": "1"}),
            "index.json, field timestamp: input should be a",
        ),
        (Edited(INDEX, lambda index: index | {"timestamp": 10**15}), "index.json, field timestamp: "),
        (Edited(INDEX, lambda index: index | {"status": None}), "index.json, field status: "),
        (Edited(INDEX, lambda index: index | {"protection_plan": {}}), "field protection_plan.id: field required"),
    ],
)
def test_an_unusable_checkpoint_is_told_beside_the_others(tmp_path: Path, damage: Damage, sentence: str) -> None:
    bank_of(tmp_path, checkpoint(1))
    listing = list_checkpoints(damaged(tmp_path, checkpoint(2, 1), damage))
    assert [entry.id for entry in listing.entries] == [id_of(1)]
    (told,) = listing.disagreements
    assert told.startswith(f"checkpoint {id_of(2)} ")
    assert sentence in told


def test_what_a_listing_does_not_need_may_have_any_form(tmp_path: Path) -> None:
    bank_of(tmp_path)
    changes = {"extra_info": {}, "resource_graph": None, "owner_id": 1, "version": 2, "new": []}
    bank = damaged(
        tmp_path,
        checkpoint(1, plan_name=""),
        Edited(INDEX, lambda index: index | changes),
        Edited(INDEX, lambda index: index | {"protection_plan": {"id": NIGHTLY, "name": None, "resources": 0}}),
    )
    listing = list_checkpoints(bank)
    assert [entry.plan_name for entry in listing.entries] == [""]
    assert listing.disagreements == ()


def index_file(made: BankCheckpoint, directory: Path, kind: str) -> Path:
    (found,) = (directory / "indices" / kind).rglob(f"{made.timestamp}@{made.id}")
    return found


@pytest.mark.parametrize("kind", ["by-plan", "by-date", "by-provider"])
def test_an_index_that_lacks_a_checkpoint_is_told(tmp_path: Path, kind: str) -> None:
    bank = bank_of(tmp_path, checkpoint(1))
    missing = index_file(checkpoint(1), tmp_path, kind)
    missing.unlink()
    key = missing.relative_to(tmp_path)
    assert list_checkpoints(bank).disagreements == (
        f"checkpoint {id_of(1)} (available) is not in the indices as {key}",
    )


def test_an_index_that_names_a_checkpoint_that_is_gone_is_told(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, checkpoint(1))
    (tmp_path / "checkpoints" / id_of(1) / INDEX).unlink()
    (tmp_path / "checkpoints" / id_of(1)).rmdir()
    (told,) = list_checkpoints(bank).disagreements
    assert told.startswith(f"checkpoint {id_of(1)} is gone, but named by indices/by-date/2020-03-05/")
    assert told.count(" and indices/by-") == 2


def test_a_deleted_checkpoint_that_is_still_indexed_is_told(tmp_path: Path) -> None:
    bank_of(tmp_path)
    bank = damaged(tmp_path, checkpoint(1, status="deleted"))
    (told,) = list_checkpoints(bank).disagreements
    assert told.startswith(f"checkpoint {id_of(1)} (deleted) should not be in the indices as indices/by-date/")


def test_an_index_file_in_the_wrong_place_is_told(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, checkpoint(1))
    old = index_file(checkpoint(1), tmp_path, "by-plan")
    new = tmp_path / "indices" / "by-plan" / WEEKLY / old.name
    new.parent.mkdir()
    old.rename(new)
    lacks, surplus = list_checkpoints(bank).disagreements
    assert lacks.endswith(f"is not in the indices as {old.relative_to(tmp_path)}")
    assert surplus.endswith(f"should not be in the indices as {new.relative_to(tmp_path)}")


def test_an_index_file_that_holds_another_id_is_told_and_its_name_counts(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, checkpoint(1), checkpoint(2, -1))
    for kind in ("by-plan", "by-date", "by-provider"):
        index_file(checkpoint(1), tmp_path, kind).write_text(id_of(2))
    told = list_checkpoints(bank).disagreements
    assert len(told) == 3
    assert all(
        sentence.endswith(f"@{id_of(1)} holds b'{id_of(2)}' instead of the id in its name") for sentence in told
    )
    assert resolve(bank, "latest") == id_of(1)


def test_an_index_file_may_hold_the_id_in_quotes(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, checkpoint(1))
    index_file(checkpoint(1), tmp_path, "by-plan").write_text(f'"{id_of(1)}"')
    assert list_checkpoints(bank).disagreements == ()


def test_a_file_among_the_indices_that_is_none_is_told(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, checkpoint(1))
    (tmp_path / "indices" / "by-date" / "notes").write_text("x")
    assert list_checkpoints(bank).disagreements == (
        "indices/by-date/notes is not named <timestamp>@<checkpoint id>, as index files are",
    )


def test_disagreements_are_told_whatever_is_chosen(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, checkpoint(1))
    index_file(checkpoint(1), tmp_path, "by-plan").unlink()
    listing = list_checkpoints(bank, plan="weekly")
    assert (len(listing.entries), len(listing.disagreements)) == (0, 1)


# Names


def test_an_id_names_its_checkpoint_whatever_its_status(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, checkpoint(1, status="error"), checkpoint(2, 1))
    assert resolve(bank, id_of(1)) == id_of(1)


def test_latest_is_the_newest_that_is_available(tmp_path: Path) -> None:
    bank = bank_of(
        tmp_path,
        checkpoint(1, 1),
        checkpoint(2, 0),
        checkpoint(3, 2, status="error"),
        checkpoint(4, 3, status="deleted"),
        checkpoint(5, 4, status="protecting"),
    )
    assert resolve(bank, "latest") == id_of(1)


def plans(directory: Path) -> Bank:
    return bank_of(
        directory,
        checkpoint(1, -48),
        checkpoint(2, -24),
        checkpoint(3, -12, plan_id=WEEKLY, plan_name="weekly: all @ home"),
        checkpoint(4, 0, status="error"),
        checkpoint(5, 24),
    )


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("latest", 5),
        ("latest:nightly", 5),
        (f"latest:{NIGHTLY}", 5),
        ("latest:weekly: all @ home", 3),
        (f"latest:{WEEKLY}", 3),
        ("nightly@2020-03-06T12:00", 5),
        ("nightly@2020-03-06T12:00:00Z", 5),
        ("nightly@2020-03-06T11:59:59", 2),
        ("nightly@2020-03-06T13:59+02:00", 2),
        ("nightly@2020-03-06T14:00+02:00", 5),
        ("nightly@2020-03-06", 5),
        ("nightly@2020-03-05", 2),
        (f"{NIGHTLY}@2020-03-05T12:00", 2),
        ("nightly@2020-03-03", 1),
        ("nightly@2020-03-03T12:00", 1),
        ("weekly: all @ home@2021-01-01", 3),
    ],
)
def test_a_plan_and_a_time_name_the_newest_until_then(tmp_path: Path, name: str, number: int) -> None:
    assert resolve(plans(tmp_path), name) == id_of(number)


@pytest.mark.parametrize(
    "name",
    [
        "latest:monthly",
        "latest:",
        "latest:../checkpoints",
        "nightly@2020-03-03T11:59:59",
        "monthly@2020-03-05",
        "nightly@yesterday",
        "@2020-03-05",
        "nightly",
        "",
        "../checkpoints",
        id_of(9),
    ],
)
def test_a_name_for_nothing_says_what_there_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        resolve(plans(tmp_path), name)
    told = str(raised.value)
    assert f"has no checkpoint for {name!r}" in told
    assert "write an id, latest, latest:PLAN or PLAN@2020-03-05T12:00" in told
    assert (
        f"{id_of(5)} (plan 'nightly', available, 2020-03-06T12:00:00Z); {id_of(4)} (plan 'nightly', error" in told
    )


def test_an_empty_bank_says_that_it_is_empty(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="it has none at all"):
        resolve(bank_of(tmp_path), "latest")


@pytest.mark.parametrize("moment", ["2020-13-01", "2020-03-05T25:00", "2020-03-05 nine", "2020-03-05Z"])
def test_a_time_that_is_none_is_told(tmp_path: Path, moment: str) -> None:
    with pytest.raises(CheckpointError, match=r"is not a time: write 2020-03-05, 2020-03-05T12:00"):
        resolve(plans(tmp_path), f"nightly@{moment}")


def test_a_date_alone_is_its_first_or_its_last_moment() -> None:
    assert parse_time("2020-03-05") == datetime(2020, 3, 5, tzinfo=UTC)
    assert parse_time("2020-03-05", end_of_day=True) == datetime(2020, 3, 5, 23, 59, 59, 999999, tzinfo=UTC)
    assert parse_time("2020-03-05T00:00", end_of_day=True) == datetime(2020, 3, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0001-01-01T00:00+05:00", "", "now"])
def test_a_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("latest", [99]),
        (f"latest:{NIGHTLY}", [99]),
        (f"latest:{WEEKLY}", [50]),
        (f"{NIGHTLY}@2020-03-06T12:00", [24]),
        ("nightly@2020-03-06T12:00", [24]),
        ("latest:nightly", [99]),
        (id_of(7), []),
    ],
)
def test_only_what_the_indices_leave_open_is_read(tmp_path: Path, name: str, read: Sequence[int]) -> None:
    made = [checkpoint(number, number) for number in range(100)]
    made[50] = replace(made[50], plan_id=WEEKLY, plan_name="weekly")
    bank = Counting(bank_of(tmp_path, *made))
    resolve(bank, name)
    assert bank.indices_read == [id_of(number) for number in read]


def test_a_name_is_sought_from_the_newest_on(tmp_path: Path) -> None:
    made = [checkpoint(number, number) for number in range(100)]
    made[90] = replace(made[90], plan_id=WEEKLY, plan_name="weekly")
    bank = Counting(bank_of(tmp_path, *made))
    assert resolve(bank, "latest:weekly") == id_of(90)
    assert bank.indices_read[:10] == [id_of(number) for number in range(99, 89, -1)]
    assert len(bank.indices_read) < 30


def test_without_indices_the_checkpoints_themselves_are_read(tmp_path: Path) -> None:
    for number, hours in ((1, 0), (2, 5), (3, 2)):
        write(checkpoint(number, hours), tmp_path, indices=False)
    bank = open_bank(str(tmp_path))
    assert resolve(bank, "latest") == id_of(2)
    assert resolve(bank, "nightly@2020-03-05T14:00") == id_of(3)


def test_an_unusable_checkpoint_is_passed_over(tmp_path: Path) -> None:
    bank_of(tmp_path, checkpoint(1))
    bank = damaged(tmp_path, checkpoint(2, 1), Truncated(INDEX))
    write(checkpoint(3, 2), tmp_path, [Missing(INDEX)])
    assert resolve(bank, "latest") == id_of(1)


def test_a_bank_that_does_not_answer_is_no_empty_bank(tmp_path: Path) -> None:
    class Gone(Counting):
        def read(self, _: str) -> Value:
            raise BankUnavailableError

    bank = Gone(bank_of(tmp_path, checkpoint(1)))
    for ask in (list_checkpoints, lambda bank: resolve(bank, "latest")):
        with pytest.raises(BankUnavailableError):
            ask(bank)
