"""Lets the tests import tests/support wherever pytest is started, and shares what is dear to start."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from support.small_disk import small_disk  # noqa: E402,F401 a fixture


def pytest_configure(config):
    config.addinivalue_line('markers', 'alone: needs the machine for itself; script/test runs it after the others')


@pytest.fixture(scope='session')
def shared_kafka():
    from support.instance import free_ports
    from support.kafka import Kafka
    with Kafka(proxy=free_ports(2)) as kafka:
        yield kafka


@pytest.fixture
def kafka(shared_kafka):
    """One broker for all tests of a worker, up and well when each begins; topics are a test's own by support.kafka.fresh_prefix."""
    return shared_kafka.well()
