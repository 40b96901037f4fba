"""kill -9 of Kafka under load: what it cannot take is spooled and comes to it later, nothing acked is lost or counts twice."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until


@not_sanitized
def test_kill9_broker(kafka):
    with Cluster(kafka) as c, c.reader() as reader:
        with c.load():
            for _ in range(2):
                c.wait_acked()
                reader.wait_answers()
                kafka.kill()
                wait_until(c.spooled, 20, 'the spool to be used')
                c.wait_acked()
                kafka.start()
                wait_until(lambda: c.spooled() == 0, 60, 'the spool to be drained')
        c.wait_ready()
        reader.wait_answers()
        assert c.finish() > 1000
