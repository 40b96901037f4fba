"""Links that move events between persons whose partitions two profilers share: what was just sent is in the very next answer,
whoever is asked; and no look-up is older than one before it (I4), whatever becomes of Redis."""
import contextlib
import json
import random
import threading
import types
import uuid

import pytest
from support.cluster import LOOK, Cluster, not_sanitized
from support.instance import wait_until
from support.outage import wait_hits, wait_served, watching
from support.proxy import Proxy
from support.redis import Redis

pytestmark = not_sanitized

DAY = '2026-01-01T'
TIMES = 60


def at(second):
    return f'{DAY}{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z'


def page(second, device=None, user=None):
    e = {'type': 'page', 'timestamp': at(second), 'properties': {'url': 'https://shop.example/p'}}
    return {**e, **({'anonymousId': device} if device else {}), **({'userId': user} if user else {})}


def send(c, *events):
    """Sent until an answer names the position: one that a slow broker left to the spool has none. Each counts once."""
    batch = {'batch': [{**e, 'messageId': str(uuid.uuid4())} for e in events]}

    def position():
        s, h, b = c.collectors[0].post('/v1/batch', batch)
        assert s == 200 and not b['rejected'], (s, b)
        return h.get('x-waymark-position')
    return wait_until(position, 30, 'the broker to ack')


def look(program, profile, position):
    s, _, b = program.request('GET', f'/v1/profiles/{profile}?after={position}&wait=10s', headers={'Authorization': 'Bearer ' + LOOK})
    return s, json.loads(b)


def play_one(c, i):
    """Sent, asked, and asked at the other: each answer has all that was sent before."""
    def answer(program, profile, position):
        s, b = look(program, profile, position)
        return s != 503 and (s, b)  # it says so when it cannot know: when the log was slow to confirm its owner

    def expect(position, profile, user, events):
        for k in range(2):
            program = c.profilers[(i + k) % len(c.profilers)]
            s, b = wait_until(lambda: answer(program, profile, position), 30, f'{program.name} to answer {profile}')
            assert (s, b.get('id'), b.get('facts', {}).get('events')) == (200, user, events), (i, k, profile, s, b)
    d, u, v = f'd{i}', f'u{i}', f'v{i}'
    expect(send(c, page(10, d)), f'anon:{d}', f'anon:{d}', 1)
    expect(send(c, page(20, d, u)), f'anon:{d}', f'user:{u}', 2)
    expect(send(c, page(30, d)), f'user:{u}', f'user:{u}', 3)
    p = send(c, page(25, d, v))
    expect(p, f'user:{v}', f'user:{v}', 2)
    expect(p, f'user:{u}', f'user:{u}', 2)
    expect(p, f'anon:{d}', f'user:{v}', 2)


@pytest.mark.parametrize('partitions', [1, 4, 16])
@pytest.mark.parametrize('cache', ['redis', 'off'])
def test_own_writes(kafka, partitions, cache):
    more = '  cache: off\n' if cache == 'off' else ''
    with Redis() as redis, Cluster(kafka, profilers=2, partitions=partitions, redis=redis, more_profiler=more) as c:
        wait_served(c, by=c.profilers if partitions > 1 else None)  # whose place is found: none moves between the questions
        for i in range(TIMES):
            play_one(c, i)
        c.drain()
        c.check_conserved()


@contextlib.contextmanager
def linking(c, people=4, devices=6):
    """Devices that go from hand to hand, told in no order of time: each link moves what was seen after it."""
    over, faults, sent = threading.Event(), [], []

    def run():
        dice = random.Random(7)
        n = 0
        while not over.wait(0.02):
            d, second = f'd{dice.randrange(devices)}', dice.randrange(40000)
            user = f'p{dice.randrange(people)}' if n % 3 == 0 else None
            try:
                sent.append(send(c, page(second, d, user)))
            except (OSError, AssertionError) as e:
                faults.append(e)
            n += 1
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield [f'user:p{i}' for i in range(people)], sent
    finally:
        over.set()
        thread.join()
    assert not faults, faults[:3]


def expect_one_truth(c, ids):
    """Everything settled, both say the same, from their own state and from Redis."""
    def same(i):
        answers = [look(p, i, '0:0') for p in c.profilers]
        return all(s == 200 for s, _ in answers) and answers[0] == answers[1] and answers[0][1]['facts']['events'] > 0
    c.drain()
    for i in ids:
        wait_until(lambda i=i: same(i), 60, f'both to say the same of {i}')


@pytest.mark.parametrize('partitions', [1, 4])
def test_never_older_while_redis_is_slow_or_gone(kafka, partitions):
    with Redis() as redis, Proxy(redis.port) as proxy, \
            Cluster(kafka, profilers=2, partitions=partitions,
                    redis=types.SimpleNamespace(url=f'redis://127.0.0.1:{proxy.port}/0')) as c:
        wait_served(c)
        with linking(c) as (ids, sent), watching(c, exact=False) as reader:
            def go_on():
                before = len(sent)
                reader.wait_answers(100)
                wait_until(lambda: len(sent) >= before + 60, 60, 'more links')
            reader.profiles = ids
            wait_hits(c)
            for proxy.delay in (0.01, 0.03, 0.2):
                go_on()
            proxy.delay = 0.0
            for _ in range(2):
                go_on()
                redis.kill()
                go_on()
                redis.restart_empty()
            wait_hits(c)
            go_on()
        expect_one_truth(c, ids)
        c.check_conserved()
