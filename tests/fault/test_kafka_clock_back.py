"""The wall clock of collector and profiler steps back an hour, forth a day and back again under load: nothing waits for it,
nothing is lost, no look-up steps back."""
import time

from support.clock import StepClock
from support.cluster import Cluster, not_sanitized
from support.instance import PATIENCE, wait_until

HOUR = 3600


def acked_soon(c):
    began = time.monotonic()
    status, headers, _ = c.collectors[0].post('/v1/track', {'event': 'E', 'userId': 'clock'})
    assert status == 200 and time.monotonic() - began < 3 * PATIENCE, (status, headers, time.monotonic() - began)
    return headers['x-waymark-ack'] == 'durable'


@not_sanitized
def test_clock_back(kafka, tmp_path):
    clock = StepClock(str(tmp_path))
    c = Cluster(kafka)
    for p in c.programs():
        p.env = clock.env
    with c, c.reader() as reader:
        with c.load():
            c.wait_acked()
            reader.wait_answers()
            for off in (-HOUR, 24 * HOUR, -HOUR, 0):
                clock.step(off)
                assert acked_soon(c) or wait_until(lambda: acked_soon(c), 10, 'events to go straight to Kafka')
                c.wait_acked()
                reader.wait_answers()
            clock.step(-2 * HOUR)
            for p in c.programs():
                p.kill()
            c.start()
            c.wait_acked()
        reader.wait_answers()
        assert c.finish() > 1000
