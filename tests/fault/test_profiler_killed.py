"""kill -9 of one of three profilers: its partitions move to the others, nothing is lost or counted twice, look-ups never
step back, and it finds its place again."""
import time

from support.cluster import GROUP, Cluster, not_sanitized
from support.instance import wait_until
from support.outage import wait_hits, wait_served, watching
from support.redis import Redis

pytestmark = not_sanitized
SESSION = GROUP['session.timeout.ms'] / 1000


def back_in_time(c):
    """Who is back before the session is over has what it had. False: it was too slow for that."""
    before = {n: p.name for n, p in wait_served(c, by=c.profilers).items()}
    began = time.monotonic()
    c.profilers[2].kill()
    c.profilers[2].start()
    if time.monotonic() - began > SESSION - 1:
        return False
    assert {n: p.name for n, p in wait_served(c, by=c.profilers).items()} == before
    return True


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
            wait_until(lambda: back_in_time(c), 60, 'a start that takes less than the session lasts')
            c.wait_acked()
        c.finish()
