"""One profiler and one collector say another number of partitions than the topics have. They harm nobody: the others have all partitions,
the profiler says why it is not ready, the collector spools; put right, both are of use."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until
from support.outage import rewrite, wait_served, watching

pytestmark = not_sanitized


def test_partitions_differ(kafka):
    c = Cluster(kafka, collectors=2, profilers=3)
    wrong = (c.collectors[1], c.profilers[2])
    for p in wrong:
        rewrite(p, 'partitions: 4', 'partitions: 8')
    try:
        c.create_topics()
        for p in (c.collectors[0], *c.profilers[1:]):  # the wrong one is among the first of the group
            p.start(ready=False)
        wait_until(lambda: 'the configuration says 8' in c.profilers[2].log(), 30, 'the wrong number to be said')
        c.profilers[0].start(ready=False)
        c.collectors[1].start(ready=False)
        c.collectors[0].wait_ready()
        with c.load(people=20), watching(c) as reader:
            wait_served(c, by=c.profilers[:2])
            c.wait_acked()
            reader.wait_answers()
            status, _, body = c.profilers[2].request('GET', '/readyz')
            assert status == 503 and b'not as the configuration says' in body
            _, headers, _ = wait_until(lambda: (a := c.collectors[1].post(
                '/v1/track', {'event': 'E', 'userId': 'spooled', 'messageId': 'm1'}))[0] == 200 and a, 30, 'an event to be taken')
            assert headers['x-waymark-ack'] == 'spooled'
            for p in wrong:
                assert p.stop() == 0
                rewrite(p, 'partitions: 8', 'partitions: 4')
            c.profilers[2].forget()
            for p in wrong:
                p.start()
            wait_served(c, by=c.profilers)
            reader.wait_answers()
        assert c.check() > 1000
        assert [e['message_id'] for e in c.whole_path('user:spooled')] == ['m1']
        c.finish()
    finally:
        c.__exit__()
