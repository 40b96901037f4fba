"""Redis is killed and comes back empty, again and again, under load: look-ups go on without it, and nothing stale is seen
while it is away, when it comes back, or later (I4)."""
from support.cluster import Cluster, not_sanitized
from support.outage import wait_hits, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_redis_killed(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            for _ in range(3):
                wait_hits(c)
                redis.kill()
                c.wait_acked()
                reader.wait_answers()
                redis.restart_empty()
            wait_hits(c)
        c.finish()


def test_redis_absent_at_the_start(kafka):
    with Redis() as redis:
        redis.kill()
        with Cluster(kafka, profilers=2, redis=redis) as c:
            with c.load(people=20), watching(c) as reader:
                c.wait_acked()
                reader.wait_answers()
                redis.start()
                wait_hits(c)
                redis.kill()
            c.finish()  # and stops without it
