"""Kafka is paused (SIGSTOP): its connections stay, nothing answers. Short pauses end before the patience of the collector
does, long ones send what is under way to the spool, and its late ack makes a copy that must count once."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until


@not_sanitized
def test_paused(kafka):
    with Cluster(kafka) as c, c.reader() as reader:
        with c.load():
            for _ in range(3):
                c.wait_acked()
                kafka.pause()
                wait_until(c.spooled, 20, 'the spool to be used')
                c.wait_acked()
                kafka.resume()
                wait_until(lambda: c.spooled() == 0, 60, 'the spool to be drained')
                reader.wait_answers()
            for _ in range(3):
                c.wait_acked(4000)
                kafka.pause()
                kafka.resume()
        reader.wait_answers()
        assert c.finish() > 1000
