"""Faults at random, several at once: collectors and profilers killed, stopped and paused, Redis flushed, killed, paused and brought back with
an old dump, Kafka killed and paused, networks cut, stalled and slow; while callers at every instance look up by one id and by many, and
others write through both collectors and read their own writes. Nothing acked is lost or doubled, no look-up is stale, and after the last
fault all is well by itself within seconds. WAYMARK_CHAOS_SEED and WAYMARK_CHAOS_ROUNDS choose another and longer run; CI has always the same."""
import contextlib
import os
import random

import pytest
from support.chaos import Callers, Chaos, Writers, crowd
from support.cluster import Cluster, not_sanitized
from support.instance import free_ports, wait_until
from support.kafka import Kafka
from support.outage import rewrite, served_by
from support.proxy import Proxy
from support.redis import Redis

pytestmark = [not_sanitized, pytest.mark.alone]  # four crowds and eight programs: how soon they answer is asked, too
WELL_AFTER = 30


def is_well(c):
    return len(served_by(c)) == c.partitions and all(p.ready() for p in c.programs())


def wait_written(c, writers):
    """What they write goes straight to Kafka again once the spools are empty, which a busy machine takes long for."""
    try:
        writers.wait_answers(5, 90)
    except AssertionError as e:
        raise AssertionError(f'{e}; in the spools: {c.spooled()}; {[p.log()[-1500:] for p in c.collectors]}') from None


def test_chaos():
    seed = int(os.environ.get('WAYMARK_CHAOS_SEED', 1 if os.environ.get('CI') == 'true' else random.randrange(1 << 30)))
    rounds = int(os.environ.get('WAYMARK_CHAOS_ROUNDS', 4))
    print(f'WAYMARK_CHAOS_SEED={seed} WAYMARK_CHAOS_ROUNDS={rounds}')
    with Kafka(proxy=free_ports(2)) as kafka, Redis() as redis, contextlib.ExitStack() as stack:
        network = stack.enter_context(kafka.proxied())
        c = Cluster(kafka, collectors=2, profilers=3, partitions=6, redis=redis)
        to_redis = [stack.enter_context(Proxy(redis.port)) for _ in c.profilers]
        for p, proxy in zip(c.profilers, to_redis):
            rewrite(p, redis.url, f'redis://127.0.0.1:{proxy.port}/0')
        for p in (c.profilers[0], c.collectors[0]):
            rewrite(p, kafka.address, kafka.proxy_address)
        chaos = Chaos(random.Random(seed), c, kafka, redis, [network, *to_redis])
        with c:
            with c.load(rate=250, people=40, seed=1), c.load(rate=250, people=40, seed=2, collector=1), \
                    crowd(Callers(c, seed)) as callers, crowd(Writers(c, seed)) as writers:
                for _ in range(rounds):
                    callers.wait_answers(100)
                    chaos.round()
                    wait_until(lambda: is_well(c), WELL_AFTER, 'all to be well again')
                callers.wait_answers(100)
                wait_written(c, writers)
            c.drain()
            writers.check_drained()
            callers.check_drained()
            c.finish()
