"""Redis is emptied under load, leases and all: look-ups go to the owners, copies come back, nothing stale is seen (I4)."""
from support.cluster import Cluster, not_sanitized
from support.outage import wait_hits, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_redis_flushed(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            for _ in range(10):
                wait_hits(c, 2)
                redis.flush()
                reader.wait_answers()
            wait_hits(c)
        c.finish()
