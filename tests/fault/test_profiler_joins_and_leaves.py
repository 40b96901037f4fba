"""Profilers come and go in good order under load: each change moves partitions, and none loses or doubles an event or shows
an old profile."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until
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


def forgotten(program):
    return program.log().count("is another's: its state is taken off the disk")


def test_what_moves_away_is_forgotten_and_folded_anew_when_it_is_back(kafka):
    """States of partitions that another has do not stay."""
    with Cluster(kafka, profilers=2, partitions=4, more_profiler='  keep_lost: 100ms\n') as c:
        a, b = c.profilers
        assert b.stop() == 0
        wait_served(c, by=[a])
        with c.load(people=20, rate=300), c.reader() as reader:
            c.wait_acked(5000)
            for _ in range(2):
                before = forgotten(a)
                b.start(ready=False)
                wait_served(c, by=[a, b])
                wait_until(lambda n=before: forgotten(a) >= n + 2, 60, 'what went to the other to be forgotten')
                reader.wait_answers()
                assert b.stop() == 0, b.log()[-2000:]
                wait_served(c, by=[a])
                c.wait_acked(5000)
                reader.wait_answers()
            b.start()
            wait_served(c, by=[a, b])
        c.finish()
