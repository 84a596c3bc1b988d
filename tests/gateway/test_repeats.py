"""Repeated submissions: one request where nobody can tell the difference, two where somebody can."""

from __future__ import annotations

from tests.gateway.door import Door


async def test_equal_bodies_without_a_seed_are_two_requests(shared_door: Door) -> None:
    assert await shared_door.submitted() != await shared_door.submitted()


async def test_equal_bodies_with_a_seed_are_one_request(shared_door: Door) -> None:
    first = await shared_door.submitted(seed=3)
    assert await shared_door.submitted(seed=3) == first
    assert await shared_door.submitted(seed=4) != first
    assert await shared_door.submitted(seed=3, export_fps=8) != first
    assert await shared_door.submitted(seed=3, headers={"x-fal-queue-priority": "low"}) != first
    async with shared_door.stranger() as stranger:
        assert await stranger.submitted(seed=3) != first


async def test_a_finished_request_answers_for_its_repetition(door: Door) -> None:
    await door.deployment.worker()
    first = await door.submitted(seed=3)
    await door.reaches(first, "COMPLETED")
    assert await door.submitted(seed=3) == first


async def test_a_cancelled_request_does_not_answer_for_its_repetition(shared_door: Door) -> None:
    first = await shared_door.submitted(seed=3)
    await shared_door.cancel(first)
    second = await shared_door.submitted(seed=3)
    assert second != first
    assert await shared_door.submitted(seed=3) == second
    await shared_door.cancel(second)
    assert await shared_door.submitted(seed=3) not in {first, second}


async def test_a_key_makes_a_repetition_safe_and_another_body_is_refused_for_good(shared_door: Door) -> None:
    headers = {"idempotency-key": "order 17"}
    first = await shared_door.submitted(headers=headers)
    assert await shared_door.submitted(headers=headers) == first
    assert await shared_door.submitted(headers={"idempotency-key": "order 18"}) != first
    conflict = await shared_door.submit(headers=headers, export_fps=8)
    assert conflict.status_code == 422  # clients repeat a 409
    assert conflict.json()["detail"][0]["loc"] == ["header", "idempotency-key"]
