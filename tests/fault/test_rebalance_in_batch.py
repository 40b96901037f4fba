"""Partitions are taken and given while batches are being folded: a backlog that takes a while, and a group that changes all
through it."""
from support.cluster import Cluster, not_sanitized
from support.instance import SANITIZED
from support.outage import wait_served

pytestmark = not_sanitized


def test_rebalance_in_mid_batch(kafka):
    with Cluster(kafka, profilers=3, partitions=6, more_profiler='  threads: 1\n') as c:
        for p in c.profilers:
            assert p.stop() == 0
        code, out, err = c.collectors[0].command('simulate', '--events', '30000' if SANITIZED else '200000', '--people', '100', '--batch', '500',
                                                 '--seed', '2', '--acked', c.journal)
        assert code == 0, out + err
        backlog = sum(c.kafka.ends(c.events))
        a, b, d = c.profilers
        a.start(ready=False)
        for p in (b, d):  # each takes a part of what the others have begun
            p.start(ready=False)
        with c.load(batch=50), c.reader():
            for p in (b, d, b):
                # Killed as soon as it has folded something more, and back while the others take over.
                p.kill()
                p.start(ready=False)
                c.wait_acked(5000)
            wait_served(c, limit=120)
        assert backlog >= (30000 if SANITIZED else 200000)
        c.finish()
