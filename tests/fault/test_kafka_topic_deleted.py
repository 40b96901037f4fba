"""The topic of the events is deleted under Waymark. What comes is spooled, also over a restart; the profiler says what is
wrong, goes on to nothing, and its state stays what it was."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until


@not_sanitized
def test_topic_deleted(kafka):
    with Cluster(kafka) as c, c.reader() as reader:
        collector, profiler = c.collectors[0], c.profilers[0]
        with c.load():
            c.wait_acked()
            reader.wait_answers()
        c.check()
        kafka.delete_topics(c.events)
        c.journal += '-after'
        wait_until(lambda: collector.post('/v1/track', {'event': 'E', 'userId': 'x', 'messageId': 'm'})[1]['x-waymark-ack'] ==
                   'spooled', 30, 'the spool to be used')
        with c.load(seed=2):
            c.wait_acked(10000)
        wait_until(lambda: profiler.request('GET', '/readyz')[0] == 503, 30, '/readyz of the profiler to say so')
        assert collector.request('GET', '/readyz')[0] == 200
        for p in c.programs():
            assert p.stop() == 0, p.log()[-2000:]
        code, out, err = profiler.command('verify')
        assert code == 0, out + err
        for p in c.programs():
            p.start(ready=False)
        wait_until(lambda: (c.spooled() or 0) > 200, 20, 'the spooled events to be there after a restart')
        with c.load(seed=3):
            c.wait_acked(4000)
        wait_until(lambda: profiler.request('GET', '/livez')[0] == 200, 20, '/livez of the profiler')
        assert profiler.request('GET', '/readyz')[0] == 503
        for p in c.programs():
            assert p.stop() == 0, p.log()[-2000:]
        code, out, err = profiler.command('verify')
        assert code == 0, out + err
