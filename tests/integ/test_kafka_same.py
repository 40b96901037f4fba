"""I2 over the seam: one workload gives the same profiles, paths and orders on the embedded log, on Kafka with 1, 4 and 16
partitions, with one profiler and with three, and from Redis."""
import itertools

import pytest
from support.cluster import Cluster, not_sanitized
from support.erased import OF_ALL
from support.instance import Instance
from support.redis import Redis
from support.shop_events import profiles, send

SEED = 20


def without(x, *keys):
    return {k: v for k, v in x.items() if k not in keys}


def dump(ask, whole_path):
    """All that I2 holds: everything but versions and times of receipt. `ask(profile, suffix)` gives (status, JSON)."""
    out = {}
    for i in profiles(SEED):
        status, profile = ask(i, '')
        assert status == 200, (i, status, profile)
        status, orders = ask(i, '/orders')
        assert status == 200, (i, status, orders)
        profile['tags'] = without(profile['tags'], *OF_ALL)  # these compare people with each other, as of a moment
        out[i] = (without(profile, 'version'), [without(e, 'received_at') for e in whole_path(i)], orders)
    return out


@pytest.fixture(scope='module')
def known():
    with Instance() as inst:
        send(inst, SEED)
        inst.drain()
        return dump(inst.profile, inst.whole_path)


def compare(cluster, known):
    """By all profilers in turn: whichever is asked, the owner's answer comes."""
    turn = itertools.cycle(p for p in cluster.profilers if p.alive())
    got = dump(lambda i, suffix: cluster.profile(i, suffix, by=next(turn)), lambda i: cluster.whole_path(i, by=next(turn)))
    assert got.keys() == known.keys()
    for i in known:
        assert got[i] == known[i], i


@not_sanitized
@pytest.mark.parametrize('partitions', [1, 4, 16])
def test_kafka_same(kafka, known, partitions):
    with Redis() as redis, Cluster(kafka, profilers=3, partitions=partitions, redis=redis) as c:
        one, *others = c.profilers
        for p in others:
            assert p.stop() == 0, p.log()[-2000:]
        send(c.collectors[0], SEED)
        c.drain()
        compare(c, known)
        # The same log once more, from its begin, by three that have no state.
        assert one.stop() == 0, one.log()[-2000:]
        for p in c.profilers:
            p.forget()
            p.start(ready=False)
        c.wait_ready()
        c.drain()
        compare(c, known)
        compare(c, known)  # what the first round put into Redis
        c.check_conserved()
        if partitions > 1:
            owned = [len(p.metrics().get('waymark_state_offset', {})) for p in c.profilers]
            print('partitions by profiler', owned)
        for p in c.programs():
            assert p.stop() == 0, p.log()[-2000:]
        for p in c.profilers:
            code, out, err = p.command('verify')
            assert code == 0, out + err
