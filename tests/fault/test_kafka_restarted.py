"""Kafka is restarted with its log kept, under load."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until


@not_sanitized
def test_restarted(kafka):
    with Cluster(kafka) as c, c.reader() as reader:
        with c.load():
            c.wait_acked()
            reader.wait_answers()
            kafka.restart()
            wait_until(lambda: c.spooled() == 0, 60, 'the spool to be drained')
            c.wait_ready()
            c.wait_acked()
        reader.wait_answers()
        assert c.finish() > 1000
