"""kill -9 of one of three profilers: its partitions move to the others, nothing is lost or counted twice, look-ups never
step back, and it finds its place again."""
from support.cluster import Cluster, not_sanitized
from support.outage import wait_hits, wait_served, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_one_of_three_killed(kafka):
    with Redis() as redis, Cluster(kafka, profilers=3, partitions=6, redis=redis) as c:
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            wait_served(c, by=c.profilers)
            wait_hits(c)
            for victim in c.profilers[:2]:
                rest = [p for p in c.profilers if p is not victim]
                victim.kill()
                wait_served(c, by=rest)  # after the session is over
                reader.wait_answers()
                victim.start(ready=False)
                wait_served(c, by=c.profilers)
                wait_hits(c)
            # Back before the session is over: nothing has moved.
            before = {n: p.name for n, p in wait_served(c, by=c.profilers).items()}
            c.profilers[2].kill()
            c.profilers[2].start()
            assert {n: p.name for n, p in wait_served(c, by=c.profilers).items()} == before
            c.wait_acked()
        c.finish()
