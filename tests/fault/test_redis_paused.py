"""Redis is stopped (SIGSTOP) and goes on, with commands that were sent before still in its sockets: what they write late
must not be believed (I4), and nobody waits for it meanwhile."""
import time

from support.cluster import Cluster, not_sanitized
from support.instance import PATIENCE
from support.outage import wait_hits, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_redis_paused(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            for _ in range(4):
                wait_hits(c)
                redis.pause()
                began = time.monotonic()
                c.wait_acked(40000)  # longer than a term
                reader.wait_answers()
                assert time.monotonic() - began < 30 * PATIENCE
                redis.resume()
            wait_hits(c)
        c.finish()
