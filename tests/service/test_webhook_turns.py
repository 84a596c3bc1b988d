"""Whose webhooks a replica takes on."""

from __future__ import annotations

import pytest

from service.webhook_turns import AT_ONCE_A_HOST, WAITING_A_HOST, BusyError, Place, Turns


def taken(turns: Turns, tenant: str, *, hosts: int) -> list[Place]:
    """All that a tenant gets who wants as much as possible, for so many hosts of its own."""
    places: list[Place] = []
    for number in range(hosts):
        try:
            while True:
                places.append(turns.take(tenant, f"{tenant}-{number}.example"))
        except BusyError:
            pass
    return places


def test_a_host_has_places_for_those_under_way_and_as_many_that_wait() -> None:
    assert len(taken(Turns(1024), "one", hosts=1)) == AT_ONCE_A_HOST + WAITING_A_HOST


def test_a_tenant_alone_gets_a_fifth_however_many_hosts_it_names() -> None:
    turns = Turns(1024)
    assert 200 <= len(taken(turns, "one", hosts=500)) <= 206
    assert len(taken(turns, "two", hosts=500)) > 150


def test_whoever_comes_after_twenty_greedy_tenants_still_finds_a_place() -> None:
    turns = Turns(1024)
    for number in range(20):
        assert taken(turns, f"greedy-{number}", hosts=100)
    assert turns.free > 0
    assert turns.take("another", "another.example")


def test_what_is_given_back_is_there_for_others() -> None:
    turns = Turns(64)
    places = taken(turns, "one", hosts=4)
    for place in places:
        turns.give_back(place)
    assert turns.free == 64
    assert len(taken(turns, "one", hosts=4)) == len(places)


def test_those_that_are_put_off_come_back_one_after_the_other_and_within_ten_minutes() -> None:
    turns = Turns(1024)
    taken(turns, "one", hosts=1)
    delays = []
    for _ in range(20_000):
        with pytest.raises(BusyError) as busy:
            turns.take("one", "one-0.example")
        delays.append(busy.value.delay_s)
    assert delays[0] == pytest.approx(0.5, abs=0.1)
    assert 0.6 < delays[10] < delays[100] < delays[1000]
    assert max(delays) <= 600
