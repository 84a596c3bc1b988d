"""What the tests of the doctor share."""

from tests.jobs.conftest import own_nats

__all__ = ["own_nats"]
