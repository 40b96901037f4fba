"""The disk of the spool is full, and then its own limit reached, while Kafka is away: what cannot be kept is refused with
503, what was acked stays, and it recovers by itself."""
import os

from support.cluster import Cluster, not_sanitized
from support.instance import wait_until
from support.small_disk import fill, make_room


def post(c, n):
    return c.collectors[0].post('/v1/track', {'event': 'E', 'userId': 'full', 'messageId': f'f{n}'})


def check_refused(answer):
    status, headers, body = answer
    assert status == 503 and body['code'] == 'unavailable' and 1 <= int(headers['retry-after']) <= 300


@not_sanitized
def test_disk_full(kafka, small_disk):
    with Cluster(kafka) as c, c.reader() as reader:
        collector = c.collectors[0]
        c.move(collector, os.path.join(small_disk, 'collector'))
        wait_until(lambda: post(c, 0)[1]['x-waymark-ack'] == 'durable', 30, 'events to go straight to Kafka')
        with c.load():
            c.wait_acked()
            reader.wait_answers()
            kafka.stop()
            for episode in range(2):
                wait_until(lambda: post(c, f'x{episode}')[1].get('x-waymark-ack') == 'spooled', 30, 'the spool to be used')
                c.wait_acked(4000)
                fill(small_disk, 0)
                check_refused(wait_until(lambda: (a := post(c, f'y{episode}'))[0] != 200 and a, 30, 'a refusal'))
                wait_until(lambda: collector.request('GET', '/readyz')[0] == 503, 20, '/readyz to say so')
                assert collector.request('GET', '/livez')[0] == 200
                make_room(small_disk)
                wait_until(lambda: post(c, f'z{episode}')[0] == 200, 30, 'the recovery')
                wait_until(lambda: collector.request('GET', '/readyz')[0] == 200, 20, '/readyz to say so')
            # What is on the small disk survives a kill, as on any.
            collector.kill()
            collector.start()
            kafka.start()
            wait_until(lambda: c.spooled() == 0, 60, 'the spool to be drained')
        c.wait_ready()
        reader.wait_answers()
        assert c.check() > 1000
        assert {e['message_id'] for e in c.whole_path('user:full')} >= {'f0', 'fx0', 'fx1', 'fz0', 'fz1'}
        c.finish()


@not_sanitized
def test_spool_at_its_limit(kafka):
    with Cluster(kafka, more_collector='  spool_bytes: 1MiB\n') as c, c.reader() as reader:
        collector = c.collectors[0]
        with c.load(rate=4000, batch=50):
            c.wait_acked(4000)
            kafka.stop()
            check_refused(wait_until(lambda: (a := post(c, 'l'))[0] != 200 and a, 60, 'a refusal'))
            wait_until(lambda: collector.request('GET', '/readyz')[0] == 503, 20, '/readyz to say so')
            kafka.start()
            wait_until(lambda: collector.request('GET', '/readyz')[0] == 200, 60, '/readyz to recover')
            wait_until(lambda: post(c, 'm')[1].get('x-waymark-ack') == 'durable', 30, 'events to go straight to Kafka')
        c.wait_ready()
        reader.wait_answers()
        assert c.finish() > 500
