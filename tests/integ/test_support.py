"""The tools on which the fault tests rest: a reader that cannot see a step back, or a proxy that does not cut, proves
nothing."""
import contextlib
import json
import socket
import threading

import pytest
from support.acked import check_everything_acked_is_there
from support.chaos import Callers, Shown
from support.cluster import StaleReader
from support.instance import wait_until
from support.kafka import Kafka
from support.proxy import Proxy


class Answers:
    """A profiler that gives these answers in turn, the last for ever."""

    def __init__(self, *answers):
        self.answers, self.name = list(answers), 'fake'

    def request(self, *_, **__):
        status, version, events = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 0:
            raise OSError('away')
        return status, {}, json.dumps({'version': version, 'facts': {'events': events}}).encode()


class FakeCluster:
    def __init__(self, *profilers):
        self.profilers = profilers


def read(*profilers):
    r = StaleReader(FakeCluster(*profilers), ['user:a'])
    with contextlib.suppress(AssertionError):
        wait_until(lambda: r.faults or r.answers + r.refusals >= 12, 5)
    r.end()
    return r


@pytest.mark.parametrize('steps_back', [
    [(200, 5, 5), (200, 4, 4)],
    [(200, 5, 5), (200, 6, 4)],
    [(200, 5, 5), (200, 5, 6)],
    [(200, 5, 5), (503, 0, 0), (0, 0, 0), (404, 0, 0)],
])
def test_the_reader_sees_a_step_back(steps_back):
    with pytest.raises(AssertionError, match='after'):
        read(Answers(*steps_back)).check()


def test_the_reader_sees_a_step_back_between_instances():
    with pytest.raises(AssertionError, match='after'):
        read(Answers((200, 7, 7)), Answers((200, 6, 6))).check()


def test_the_reader_takes_what_is_fair():
    r = read(Answers((404, 0, 0), (503, 0, 0), (200, 1, 1), (0, 0, 0), (200, 1, 1), (200, 3, 2), (503, 0, 0), (200, 9, 8)))
    r.check()
    assert r.answers and r.refusals


def test_a_reader_that_was_never_answered_proves_nothing():
    with pytest.raises(AssertionError, match='no look-up was answered'):
        read(Answers((503, 0, 0))).check()


class FakeInstance:
    """Shows whoever is asked for as one user."""

    def __init__(self, path, counted=None):
        self.path, self.counted = path, counted or {}

    def whole_path(self, i):
        assert i == 'user:a'
        return [{'message_id': m} for m in self.path]

    def profile(self, i):
        if i == 'anon:lost':
            return 404, {'code': 'not_found'}
        return 200, {'id': 'user:a', 'facts': {'events': self.counted.get(i, len(set(self.path)))}}


@pytest.mark.parametrize('path,more,counted,fault', [
    (['m1', 'm3'], '', {}, 'acked and lost'),
    (['m1', 'm2'], '', {}, 'acked and lost'),  # the device's, and it is shown as the user
    (['m1', 'm2', 'm2', 'm3'], '', {}, 'counts twice'),
    (['m1', 'm2', 'm3'], 'anon:lost\tm4\n', {}, 'acked and lost'),
    (['m1', 'm2', 'm3'], '', {'anon:d': 2}, 'with other events'),
    (['m1', 'm2', 'm3'], '', {'user:a': 4, 'anon:d': 4}, 'count 4 events'),
    (['m1', 'm2', 'm3'], '', {}, None),
])
def test_the_journal_is_held_against_the_state(tmp_path, path, more, counted, fault):
    journal = tmp_path / 'acked'
    journal.write_text(f'user:a\tm1\nuser:a\tm2\nanon:d\tm3\n{more}user:a\tm5, cut of')
    if not fault:
        assert check_everything_acked_is_there(FakeInstance(path, counted), journal) == 3
        return
    with pytest.raises(AssertionError, match=fault):
        check_everything_acked_is_there(FakeInstance(path, counted), journal)


USER, DEVICES = 'user:u0-1', ('anon:d0-1-0', 'anon:d0-1-1')


def shown_in_turn(*answers):
    """Asked for a device, profilers show its user as (version, events, devices)."""
    callers, asked = Callers(FakeCluster(), 1), DEVICES[0]
    for version, events, devices in answers:
        before = callers.before([asked])
        callers.take('fake', before, {asked: (USER, Shown(version, events, frozenset((USER, *devices))))})
    callers.check()


@pytest.mark.parametrize('answers', [
    [(5, 5, DEVICES), (4, 5, DEVICES)],
    [(5, 5, DEVICES), (6, 4, DEVICES)],
    [(5, 5, DEVICES), (6, 6, DEVICES[1:])],
    [(5, 5, DEVICES), (5, 5, DEVICES[1:])],
])
def test_callers_see_what_is_taken_back(answers):
    with pytest.raises(AssertionError, match='after'):
        shown_in_turn(*answers)


def test_callers_take_that_a_user_is_told_of_the_device_later():
    shown_in_turn((3, 2, ()), (4, 2, DEVICES[1:]), (5, 5, DEVICES), (5, 5, DEVICES))
    shown_in_turn((5, 5, DEVICES[1:]), (5, 6, DEVICES))


def echo(server):
    def serve(s):
        with contextlib.suppress(OSError):
            while data := s.recv(65536):
                s.sendall(data)
        s.close()
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


@pytest.fixture
def proxy():
    with socket.create_server(('127.0.0.1', 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        with Proxy(server.getsockname()[1]) as p:
            yield p
        server.shutdown(socket.SHUT_RDWR)


def connect(proxy):
    return socket.create_connection(('127.0.0.1', proxy.port), timeout=5)


def ended(s):
    try:
        return s.recv(1) == b''
    except ConnectionError:
        return True


def refused(proxy):
    try:
        return ended(connect(proxy))
    except ConnectionError:  # the end came before the call returned
        return True


def test_proxy_carries_and_cuts(proxy):
    s = connect(proxy)
    s.sendall(b'a' * 200000)
    got = 0
    while got < 200000:
        got += len(s.recv(65536))
    proxy.cut()
    assert ended(s) and refused(proxy)
    proxy.mend()
    s = connect(proxy)
    s.sendall(b'x')
    assert s.recv(1) == b'x'


def test_proxy_cuts_in_the_middle(proxy):
    s = connect(proxy)
    proxy.cut_after(3)
    s.sendall(b'abcdef')  # three bytes reach the other side, none comes back
    assert ended(s)
    wait_until(proxy.is_cut, 5)


def test_proxy_pauses(proxy):
    s = connect(proxy)
    proxy.pause()
    s.sendall(b'x')
    s.settimeout(0.1)
    with pytest.raises(socket.timeout):
        s.recv(1)
    proxy.resume()
    s.settimeout(5)
    assert s.recv(1) == b'x'
    s.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b'', 'an end is carried too'


@pytest.mark.parametrize('ci', [False, True])
def test_where_kafka_cannot_be_fetched(tmp_path, monkeypatch, ci):
    """Tests are skipped with words; in CI that is a failure."""
    script = tmp_path / 'kafka'
    script.write_text('#!/bin/sh\n[ "$1" = stop ] || { echo "kafka: no network" >&2; exit 3; }\n')
    script.chmod(0o755)
    monkeypatch.setattr('support.kafka.SCRIPT', str(script))
    monkeypatch.setenv('CI', 'true' if ci else '')
    with pytest.raises(AssertionError if ci else pytest.skip.Exception, match='no network'):
        Kafka().__enter__()
