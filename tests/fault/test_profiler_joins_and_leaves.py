"""Profilers come and go in good order under load: each change moves partitions, and none loses or doubles an event or shows
an old profile."""
from support.cluster import Cluster, not_sanitized
from support.outage import wait_served, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_joins_and_leaves(kafka):
    with Redis() as redis, Cluster(kafka, profilers=3, partitions=6, redis=redis) as c:
        a, b, d = c.profilers
        assert b.stop() == 0 and d.stop() == 0
        wait_served(c, by=[a])
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            for members in ([a, b], [a, b, d], [a, d], [d], [a, d]):
                for p in c.profilers:
                    if p in members and not p.alive():
                        p.start(ready=False)
                    elif p not in members and p.alive():
                        assert p.stop() == 0, p.log()[-2000:]
                wait_served(c, by=members)
                c.wait_acked()
                reader.wait_answers()
            b.start()
            wait_served(c, by=c.profilers)
        c.finish()
