"""Kafka is not there when collector and profiler start: events are taken and spooled, both stop cleanly without it, and
everything is folded once it is there."""
import os
import time

from support.cluster import Cluster, Program
from support.instance import PATIENCE, wait_until


def one(c, n):
    began = time.monotonic()
    status, headers, body = c.collectors[0].post('/v1/track', {'event': 'E', 'userId': 'absent', 'messageId': f'a{n}'})
    return status, headers.get('x-waymark-ack'), 'x-waymark-position' in headers, time.monotonic() - began


def test_absent_at_start(kafka):
    kafka.stop()
    c = Cluster(kafka)
    try:
        collector, profiler = c.collectors[0], c.profilers[0]
        for turn in range(2):
            collector.start()  # ready: it can make events durable
            profiler.start(ready=False)
            wait_until(lambda: profiler.request('GET', '/livez')[0] == 200, 20, '/livez of the profiler')
            status, ack, placed, took = one(c, turn)
            assert (status, ack, placed) == (200, 'spooled', False), 'the first event, however it comes'
            assert took < 3 * PATIENCE, took
            assert profiler.request('GET', '/readyz')[0] == 503
            assert profiler.get('/v1/profiles/user:absent')[0] == 503, 'not 404: nobody knows'
            with c.load():
                c.wait_acked(10000)
            assert collector.stop(20) == 0, collector.log()[-2000:]
            assert profiler.stop(20) == 0, profiler.log()[-2000:]
        c.start_without_waiting()
        kafka.start()
        c.create_topics()
        c.wait_ready()
        with c.reader() as reader:
            reader.wait_answers()
            wait_until(lambda: one(c, 9)[1] == 'durable', 30, 'events to go straight to Kafka')
            assert c.check() > 200
            assert {e['message_id'] for e in c.whole_path('user:absent')} == {'a0', 'a1', 'a9'}
            c.finish()
    finally:
        c.__exit__()


def test_both_in_one_folder():
    """One configuration and one folder for both, as in the demo: started at once, they agree on the name of the instance."""
    c = Cluster(None, address='127.0.0.1:1')
    try:
        folder = c.collectors[0].dir
        with open(c.collectors[0].config) as f:
            config = f.read().replace('instance: collector0\n', '')
        both = [Program(p.kind, p.name, folder, p.port, config) for p in c.programs()]
        c.collectors, c.profilers = both[:1], both[1:]
        for _ in range(3):
            for p in both:
                p.start(ready=False)
            for p in both:
                wait_until(lambda: not p.alive() or p.request('GET', '/livez')[0] == 200, 20, f'/livez of the {p.name}')
                assert p.alive(), p.log()
            with open(os.path.join(folder, 'data', 'instance')) as f:
                assert f.read().strip()
            for p in both:
                assert p.stop(20) == 0, p.log()
            c.collectors[0].forget()
    finally:
        c.__exit__()
