"""Redis comes back with a dump of a while ago: copies in it are old, and so are the leases, which look alive. Nobody may
believe them (rule `run`), nor after new leases are there (I4)."""
from support.cluster import Cluster
from support.outage import wait_hits
from support.redis import Redis


def test_redis_restarted_with_an_old_dump(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        with c.load(people=20), c.reader() as reader:
            c.wait_acked()
            for _ in range(3):
                wait_hits(c)
                redis.dump()
                assert any(b'profile:' in k for k in redis.client().keys('*')), 'the dump holds copies'
                c.wait_acked()
                redis.restart_with_dump()
                reader.wait_answers()
                wait_hits(c)
        c.finish()
