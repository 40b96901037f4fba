"""kill -9 of collector and profiler together, over a real Kafka."""
import random
import time

from support.cluster import Cluster, not_sanitized


@not_sanitized
def test_kill9_both(kafka):
    r = random.Random()
    with Cluster(kafka) as c, c.reader() as reader:
        with c.load():
            for _ in range(4):
                reader.wait_answers()
                c.wait_acked(4000)
                time.sleep(r.uniform(0, 0.7))  # the random moment is the point of the test
                for p in c.programs():
                    p.kill()
                c.start()
        reader.wait_answers()
        assert c.finish() > 500
