"""The state folder of an hour ago is put back while the profiler is stopped: it catches up from the log before it shows anything,
and counts nothing twice. Redis holds newer copies all the while (I4)."""
import os
import shutil

from support.cluster import Cluster, not_sanitized
from support.outage import wait_hits, wait_served, watching
from support.redis import Redis

pytestmark = not_sanitized


def test_state_copied_back(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        victim = c.profilers[0]
        state, old = (os.path.join(victim.dir, name) for name in ('data/state', 'old'))
        with c.load(people=20), watching(c) as reader:
            c.wait_acked()
            wait_served(c, by=c.profilers)
            assert victim.stop() == 0
            shutil.copytree(state, old)
            victim.start()
            c.wait_acked(60000)
            wait_hits(c)
            for end in (lambda: victim.stop(), victim.kill):
                end()
                shutil.rmtree(state)
                shutil.copytree(old, state)
                victim.start()
                wait_served(c, by=c.profilers)
                reader.wait_answers()
                c.wait_acked()
        c.finish()
