"""Redis is emptied under load, leases and all: look-ups go to the owners, copies come back, nothing stale is seen (I4)."""
from support.cluster import Cluster
from support.outage import wait_hits
from support.redis import Redis


def test_redis_flushed(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        with c.load(), c.reader() as reader:
            c.wait_acked()
            for _ in range(10):
                wait_hits(c, 2)
                redis.flush()
                reader.wait_answers(5)
            wait_hits(c)
        c.finish()
