"""Redis comes back with a dump of a moment ago: copies in it are old, and so are the leases, which are not over yet. Nobody may believe
them (rule `run`), nor the old copies once new leases are there (I4)."""
from support.cluster import Cluster, not_sanitized
from support.outage import wait_hits, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_redis_restarted_with_an_old_dump(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            for more in (500, 500, 500, 40000):  # three times with leases that last, once with all over
                wait_hits(c)
                redis.dump()
                assert any(b'profile:' in k for k in redis.client().keys('*')), 'the dump holds copies'
                c.wait_acked(more)
                reader.wait_answers(10)
                redis.restart_with_dump()
                reader.wait_answers()
                wait_hits(c)
        c.finish()
