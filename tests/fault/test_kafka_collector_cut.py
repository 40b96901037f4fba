"""The network between the collector and Kafka is cut in the middle of requests, goes silent, and is slow."""
import random

from support.cluster import Cluster
from support.instance import wait_until


def ack(c):
    status, headers, _ = c.collectors[0].post('/v1/track', {'event': 'E', 'userId': 'cut'})
    assert status == 200, status
    return headers['x-waymark-ack']


def test_collector_cut(kafka):
    seed = random.randrange(1 << 30)
    print('seed', seed)
    r = random.Random(seed)
    with kafka.proxied() as network, Cluster(kafka, collector_address=kafka.proxy_address) as c, c.reader() as reader:
        with c.load():
            c.wait_acked()
            for episode in range(8):
                network.cut_after(r.randrange(1, 30000))  # in the middle of some record, or of an ack
                wait_until(network.is_cut, 20, 'the cut')
                if episode % 2:  # long enough to be noticed; else it comes back at once
                    wait_until(lambda: ack(c) == 'spooled', 20, 'the spool to be used')
                network.mend()
                wait_until(lambda: ack(c) == 'durable', 30, 'events to go straight to Kafka')
            network.pause()
            wait_until(lambda: ack(c) == 'spooled', 20, 'the spool to be used')
            c.wait_acked()
            network.resume()
            wait_until(lambda: ack(c) == 'durable', 30, 'events to go straight to Kafka')
            network.delay = 0.2
            c.wait_acked()
            network.delay = 0.0
        reader.wait_answers()
        assert c.finish() > 1000
