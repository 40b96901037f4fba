"""kill -9 of the collector at random moments, over a real Kafka."""
import random
import time

from support.cluster import Cluster


def test_kill9_collector(kafka):
    r = random.Random()
    with Cluster(kafka) as c, c.reader() as reader:
        with c.load():
            for _ in range(6):
                c.wait_acked(4000)
                time.sleep(r.uniform(0, 0.3))  # the random moment is the point of the test
                c.collectors[0].kill()
                c.collectors[0].start()
            c.wait_acked()
        reader.wait_answers()
        assert c.finish() > 1000
