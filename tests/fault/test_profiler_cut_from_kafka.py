"""The network between one profiler and Kafka is cut under load. It cannot know whether it still owns anything: within its
term it stops showing what it had, the other takes over, and after the mend nothing is doubled or old (I4)."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until
from support.outage import rewrite, served_by, wait_hits, wait_served, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_profiler_cut_from_kafka(kafka):
    with kafka.proxied() as proxy, Redis() as redis:
        c = Cluster(kafka, profilers=2, redis=redis)
        rewrite(c.profilers[0], kafka.address, kafka.proxy_address)
        with c:
            with c.load(people=20), watching(c) as reader:
                c.wait_acked()
                wait_served(c, by=c.profilers)
                wait_hits(c)
                for how, back in ((proxy.cut, proxy.mend), (proxy.pause, proxy.resume)):
                    how()
                    wait_until(lambda: c.profilers[0] not in served_by(c).values(), 10, 'the end of its term')
                    assert not c.profilers[0].ready()
                    wait_served(c, by=[c.profilers[1]])
                    reader.wait_answers()
                    back()
                    wait_served(c, by=c.profilers)
                    c.wait_acked()
                # A cut in the middle of answers, shorter than the session.
                for n in (100, 3000, 50000):
                    proxy.cut_after(n)
                    wait_until(proxy.is_cut, 20, 'the cut')
                    proxy.mend()
                    wait_served(c)
                c.wait_acked()
            c.finish()
