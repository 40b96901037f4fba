"""Redis answers slowly, at last so slowly that it is no use: look-ups keep their time limit, events are shown all the same, and
nothing stale is seen (I4). Also when it is slow for the profiler that writes and quick for the one that reads."""
import time
import types

from support.cluster import Cluster
from support.instance import SANITIZED
from support.outage import rewrite, wait_hits, watching
from support.proxy import Proxy
from support.redis import Redis

# Within the 50 ms of a batch there and back, around them, beyond the 100 ms of a reader, and beyond a term; each way.
DELAYS = (0.01, 0.03, 0.2, 2.0)


def check_limits(c):
    """Whatever Redis does, an owner answers in time: who waits for the slowest there and back takes longer."""
    took = []
    for p in c.profilers:
        for profile in c.acked_profiles()[:5]:
            began = time.monotonic()
            assert p.get('/v1/profiles/' + profile)[0] in (200, 503)
            took.append(time.monotonic() - began)
    assert max(took) < 2 * DELAYS[-1] * (2 if SANITIZED else 1), took


def test_redis_slow_for_all(kafka):
    with Redis() as redis, Proxy(redis.port) as proxy, \
            Cluster(kafka, profilers=2, redis=types.SimpleNamespace(url=f'redis://127.0.0.1:{proxy.port}/0')) as c:
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            wait_hits(c)
            for proxy.delay in DELAYS:
                c.wait_acked()
                check_limits(c)
                reader.wait_answers()
            proxy.delay = 0.0
            wait_hits(c)
            proxy.pause()  # what was accepted is shown all the same
            c.wait_acked()
            reader.wait_answers()
            proxy.resume()
            wait_hits(c)
        c.finish()


def test_redis_slow_for_one(kafka):
    with Redis() as redis, Proxy(redis.port) as proxy:
        c = Cluster(kafka, profilers=2, redis=redis)
        rewrite(c.profilers[0], f'127.0.0.1:{redis.port}/', f'127.0.0.1:{proxy.port}/')
        with c:
            with c.load(people=20), watching(c) as reader:
                c.wait_acked()
                wait_hits(c)
                for proxy.delay in DELAYS:
                    c.wait_acked()
                    reader.wait_answers()
                proxy.delay = 0.0
                wait_hits(c)
            c.finish()
