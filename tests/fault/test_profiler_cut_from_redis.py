"""The network between one profiler and Redis is cut under load while the other one reads on: copies of the one that is cut off are
believed no longer than its leases (I4)."""
from support.cluster import Cluster, not_sanitized
from support.outage import rewrite, wait_hits, watching
from support.proxy import Proxy
from support.redis import Redis

pytestmark = not_sanitized


def test_profiler_cut_from_redis(kafka):
    with Redis() as redis, Proxy(redis.port) as proxy:
        c = Cluster(kafka, profilers=2, redis=redis)
        rewrite(c.profilers[0], f'127.0.0.1:{redis.port}/', f'127.0.0.1:{proxy.port}/')
        with c:
            with c.load(people=20), watching(c) as reader:
                c.wait_acked()
                for how, back in ((proxy.cut, proxy.mend), (proxy.pause, proxy.resume)):
                    wait_hits(c)
                    how()
                    c.wait_acked()
                    reader.wait_answers()
                    back()
                for n in (50, 500, 5000, 20000):
                    wait_hits(c)
                    proxy.cut_after(n)
                    c.wait_acked(5000)
                    proxy.mend()
                wait_hits(c)
            c.finish()
