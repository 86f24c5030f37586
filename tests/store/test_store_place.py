"""Each gateway has data of its own; whose a folder is cannot be told otherwise by one edit."""

import json
from pathlib import Path

import pytest
from stored_desk import StoppedClock, at, tamper

from risk_manager.store.place import PRACTICE, database_of, folder_of, gateway_name, locks_of
from risk_manager.store.sidecar_files import marker_path
from risk_manager.store.store import Store

REAL, OWN = "api.topstepx.com", "127.0.0.1-9999"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.topstepx.com/api", REAL),
        ("https://API.TopstepX.com./api", REAL),
        ("https://api.topstepx.com:443", REAL),
        ("http://api.topstepx.com:80/x/y", REAL),
        ("https://api.topstepx.com:8443/api", REAL + "-8443"),
        ("http://127.0.0.1:9999/api", OWN),
        ("http://LOCALHOST:9999/api", OWN),
        ("http://[::1]:9999/api", "--1-9999"),
    ],
)
def test_a_gateway_has_one_name_however_its_address_is_written(url: str, name: str) -> None:
    assert gateway_name("projectx", url) == name
    assert gateway_name("practice", url) == PRACTICE


async def used_with(folder: Path, gateway: str) -> Path:
    """A start and a stop with this gateway; where its data were."""
    found = folder_of(folder, gateway)
    async with Store.open(found / "state.db", StoppedClock()) as store:
        await store.belongs_to(gateway)
    return found


async def test_another_gateway_has_data_of_its_own_and_going_back_finds_the_first(
    tmp_path: Path,
) -> None:
    """F6.2: The data folder stays with its gateway, whatever else is guarded in between."""
    assert await used_with(tmp_path, REAL) == tmp_path
    own = await used_with(tmp_path, OWN)
    assert own == tmp_path / "gateways" / OWN
    assert await used_with(tmp_path, REAL) == tmp_path
    assert await used_with(tmp_path, PRACTICE) == tmp_path / "gateways" / "practice"
    assert await used_with(tmp_path, OWN) == own
    assert await used_with(tmp_path, REAL) == tmp_path


async def test_practice_makes_room_for_the_first_real_gateway(tmp_path: Path) -> None:
    """F6.2: From practice into production with the same folder: nothing blocks, nothing mixes."""
    assert await used_with(tmp_path, PRACTICE) == tmp_path
    (tmp_path / "limits.json").write_text("{}")
    assert folder_of(tmp_path, REAL) == tmp_path
    assert not (tmp_path / "state.db").exists()
    assert not (tmp_path / "limits.json").exists()
    assert await used_with(tmp_path, REAL) == tmp_path
    aside = await used_with(tmp_path, PRACTICE)
    assert aside == tmp_path / "gateways" / "practice"
    assert (aside / "limits.json").exists()
    async with at(aside) as store:
        assert store.opened_as.is_trusted


@pytest.mark.parametrize("moved", range(6))
async def test_making_room_goes_on_where_it_was_interrupted(tmp_path: Path, moved: int) -> None:
    await used_with(tmp_path, PRACTICE)
    aside = tmp_path / "gateways" / "practice"
    names = ["journal", "audit.head", "state.marker", "state.db-wal", "state.db-shm"][:moved]
    aside.mkdir(parents=True)
    for name in names:
        if (tmp_path / name).exists():
            (tmp_path / name).rename(aside / name)
    assert await used_with(tmp_path, REAL) == tmp_path
    assert await used_with(tmp_path, PRACTICE) == aside
    assert await used_with(tmp_path, REAL) == tmp_path


async def test_practice_of_long_ago_does_not_stand_in_the_way(tmp_path: Path) -> None:
    await used_with(tmp_path, PRACTICE)
    aside = tmp_path / "gateways" / "practice"
    for name in ("state.db", "journal/1"):
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).write_text("kept")
    (tmp_path / "journal").mkdir()
    assert await used_with(tmp_path, REAL) == tmp_path
    assert (aside / "state.db").read_text() == "kept"
    assert (tmp_path / "gateways" / "practice-2" / "state.db").exists()


EDITS = {
    "the note": "UPDATE meta SET value = 'elsewhere' WHERE key = 'note:gateway'",
    "no note": "DELETE FROM meta WHERE key = 'note:gateway'",
    "no seal": "DELETE FROM seal",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_an_edited_database_is_still_that_of_its_gateway(tmp_path: Path, edit: str) -> None:
    """F6.2: By no single edit does the first gateway's data become another's."""
    await used_with(tmp_path, REAL)
    tamper(tmp_path, edit)
    assert folder_of(tmp_path, OWN) != tmp_path
    assert folder_of(tmp_path, REAL) == tmp_path


@pytest.mark.parametrize("marker", ["gone", "garbled", "of another", "of no gateway"])
@pytest.mark.parametrize("database", ["there", "gone"])
async def test_nor_by_an_edited_marker(tmp_path: Path, marker: str, database: str) -> None:
    """F6.2: The gateway's own start still finds its data, to answer for what is lost."""
    await used_with(tmp_path, REAL)
    path = marker_path(tmp_path / "state.db")
    stored = json.loads(path.read_text())
    match marker:
        case "gone":
            path.unlink()
        case "garbled":
            path.write_text("{")
        case "of another":
            path.write_text(json.dumps({**stored, "gateway": OWN}))
        case "of no gateway":
            path.write_text(json.dumps({**stored, "gateway": ""}))
    if database == "gone":
        (tmp_path / "state.db").unlink()
    is_lost = database == "gone" and marker == "of another"
    assert (folder_of(tmp_path, REAL) == tmp_path) is not is_lost


async def test_the_database_to_read_is_the_one_the_daemon_names(tmp_path: Path) -> None:
    await used_with(tmp_path, REAL)
    own = await used_with(tmp_path, OWN)
    assert database_of(tmp_path) == tmp_path / "state.db"
    told = tmp_path / "daemon.json"
    for named in (f"gateways/{OWN}/state.db", "gateways/none/state.db", "../state.db", 7, None):
        told.write_text(json.dumps({"database": named}))
        known = own if named == f"gateways/{OWN}/state.db" else tmp_path
        assert database_of(tmp_path) == known / "state.db"
    assert locks_of(tmp_path) == []
