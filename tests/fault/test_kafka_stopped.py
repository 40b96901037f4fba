"""Kafka is stopped for longer than every time-out, under load, and comes back with its log."""
import time

from support.cluster import Cluster
from support.instance import PATIENCE, wait_until


def one(c, n):
    began = time.monotonic()
    status, headers, _ = c.collectors[0].post('/v1/track', {'event': 'E', 'userId': 'stopped', 'messageId': f's{n}'})
    assert status == 200 and time.monotonic() - began < 3 * PATIENCE, (status, time.monotonic() - began)
    return headers['x-waymark-ack']


def test_stopped(kafka):
    with Cluster(kafka) as c, c.reader() as reader:
        wait_until(lambda: one(c, 0) == 'durable', 30, 'events to go straight to Kafka')
        with c.load(rate=500):
            c.wait_acked()
            reader.wait_answers()
            kafka.stop()
            wait_until(lambda: one(c, 1) == 'spooled', 20, 'the spool to be used')
            # At this rate that is half a dozen seconds; with the stop and the start of the broker it is longer than the
            # session of the group, the term of the owner and every patience.
            c.wait_acked(more=120000)
            collector, profiler = c.collectors[0], c.profilers[0]
            assert collector.request('GET', '/readyz')[0] == 200, 'what comes is made durable'
            assert profiler.request('GET', '/livez')[0] == 200
            assert profiler.request('GET', '/readyz')[0] == 503, 'nobody knows who owns what'
            assert profiler.get('/v1/profiles/user:stopped')[0] == 503
            kafka.start()
            wait_until(lambda: one(c, 2) == 'durable', 30, 'new events to go straight to Kafka')
        c.wait_ready()
        reader.wait_answers()
        assert c.finish() > 2000
