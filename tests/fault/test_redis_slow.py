"""Redis answers slowly, at last so slowly that it is no use: look-ups keep their time limit, events are shown all the same,
and nothing stale is seen (I4)."""
import time
import types

from support.cluster import Cluster
from support.instance import SANITIZED
from support.outage import wait_hits
from support.proxy import Proxy
from support.redis import Redis


def test_redis_slow(kafka):
    with Redis() as redis, Proxy(redis.port) as proxy, \
            Cluster(kafka, profilers=2, redis=types.SimpleNamespace(url=f'redis://127.0.0.1:{proxy.port}/0')) as c:
        with c.load(), c.reader() as reader:
            c.wait_acked()
            wait_hits(c)
            # Within the reader's 100 ms, around the 50 ms of a batch, and beyond both; each way.
            for delay in (0.01, 0.03, 0.2, 2.0):
                proxy.delay = delay
                c.wait_acked()
                profile = c.acked_profiles()[0]
                took = []
                for p in c.profilers:
                    began = time.monotonic()
                    status = p.get('/v1/profiles/' + profile)[0]
                    took.append(time.monotonic() - began)
                    assert status in (200, 503)
                assert max(took) < (8 if SANITIZED else 2.5), f'{took} at {delay} s'
                reader.wait_answers(10)
            proxy.delay = 0.0
            wait_hits(c)
            # What was shown is not held up for ever by a Redis that stalls.
            proxy.pause()
            c.wait_acked()
            reader.wait_answers()
            proxy.resume()
            wait_hits(c)
        c.finish()
