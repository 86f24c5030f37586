"""Contracts to roots, and patterns over roots."""

from decimal import Decimal

import pytest

from risk_manager.domain.symbols import Contract, PatternSet, Symbols, matches, root_of_name


@pytest.mark.parametrize(
    ("contract_id", "name", "root"),
    [
        ("CON.F.US.EP.Z26", "ESZ6", "ES"),
        ("CON.F.US.EP.Z26", None, "ES"),
        ("CON.F.US.ENQ.U25", None, "NQ"),
        ("CON.F.US.MNQ.U25", "MNQU5", "MNQ"),
        ("CON.F.US.EU6.Z26", "6EZ6", "6E"),
        ("CON.F.US.EU6.Z26", None, "6E"),
        ("CON.F.US.M2K.Z26", "M2KZ6", "M2K"),
        ("CON.F.US.CLE.F27", None, "CL"),
        ("CON.F.US.NEW.Z26", "XYZH27", "XYZ"),
        ("CON.F.US.NEW.Z26", "no expiry", "NEW"),
        ("CON.X", None, "CON.X"),
    ],
)
def test_roots(contract_id: str, name: str | None, root: str) -> None:
    record = Contract(contract_id, name, Decimal(1), Decimal(1)) if name else None
    assert Symbols().root(contract_id, record) == root


def test_the_operators_alias_wins_over_the_built_in() -> None:
    assert Symbols(aliases={"EP": "SPX"}).root("CON.F.US.EP.Z26", None) == "SPX"


@pytest.mark.parametrize(
    ("pattern", "root", "hit"),
    [
        ("ES", "ES", True),
        ("ES", "MES", False),
        ("*ES", "MES", True),
        ("M*", "MES", True),
        ("M*", "MET", True),
        ("M*", "ES", False),
        ("GC*", "MGC", False),
        ("CON.F.US.EP.Z26", "ES", True),
        ("CON.F.US.EP.*", "ES", True),
        ("[M]ES", "MES", False),  # brackets are no wildcard here
    ],
)
def test_patterns(pattern: str, root: str, hit: bool) -> None:
    assert matches(pattern, root, "CON.F.US.EP.Z26") is hit


@pytest.mark.parametrize(
    ("pattern", "apart"),
    [
        ("CON.F.US.EP.Z26", True),
        ("CON.F.US.RTY.Z26", False),
        ("CON.F.US.*.Z26", True),
        ("ES", False),
        ("E*", False),
        ("*", False),
    ],
)
def test_only_words_on_contract_ids_part_the_expiries_of_a_product(
    pattern: str, apart: bool
) -> None:
    def root_of(contract_id: str) -> str:
        return Symbols().root(contract_id, None)

    assert PatternSet.of([pattern]).tells_apart("ES", root_of) is apart


def test_exact_beats_long_beats_short() -> None:
    assert PatternSet.of(["M*", "MN*", "MNQ"]).best("MNQ", "") == "MNQ"
    assert PatternSet.of(["M*", "MN*"]).best("MNQ", "") == "MN*"
    assert PatternSet.of(["ES"]).best("MNQ", "") is None


@pytest.mark.parametrize(("name", "root"), [("ESU5", "ES"), ("6EZ26", "6E"), ("ES", None)])
def test_names(name: str, root: str | None) -> None:
    assert root_of_name(name) == root


def test_a_tick_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        Contract("C", "C", Decimal(0), Decimal(1))
