"""kill -9 of the profiler at random moments, over a real Kafka: it comes back to the offset that is on disk with the state."""
import random
import time

from support.cluster import Cluster


def test_kill9_profiler(kafka):
    r = random.Random()
    with Cluster(kafka) as c, c.reader() as reader:
        with c.load():
            for _ in range(5):
                reader.wait_answers()
                c.wait_acked(4000)
                time.sleep(r.uniform(0, 0.7))  # the random moment is the point of the test
                c.profilers[0].kill()
                c.profilers[0].start()
        reader.wait_answers()
        assert c.finish() > 500
