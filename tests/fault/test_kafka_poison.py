"""Records that are no events in the topic, put there by somebody else, under load: each goes to waymark.bad with its place,
and the partition goes on."""
from support import wire
from support.cluster import Cluster
from support.instance import total, wait_until
from support.sealed import opened

POISON = [b'', b'\0', b'poison' * 50, b'\x08\x01', b'\xff' * 100000, b'\x08\x01\x10\x01\x18\x01', None]


def test_poison(kafka):
    with Cluster(kafka) as c, c.reader() as reader:
        places = {}
        with c.load():
            c.wait_acked()
            for i, value in enumerate(POISON * 2):
                places[kafka.produce(c.events, value, key=None if i % 2 else b'k', partition=i % c.partitions)] = value
                c.wait_acked(1000)
            reader.wait_answers()
        c.drain()
        assert sum(m.metrics()['waymark_state_events']['outcome="bad"'] for m in c.profilers) == len(places)
        # A crash between the bad record and the commit may write it twice, never not at all.
        bad = [wire.decode('BadEvent', r.value()) for r in kafka.records(c.bad)]
        assert {(b.log_partition, b.log_offset): b.bytes for b in bad} == {k: v or b'' for k, v in places.items()}
        assert all(b.code and b.message for b in bad), bad
        # An internal record that this version does not know is no poison for the other readers, nor for this one.
        before = c.state_offsets()
        kafka.produce(c.events, b'\1', partition=0, headers={'waymark-kind': b'\x63'})
        wait_until(lambda: c.state_offsets()[0] > before[0], 30, 'the record of an unknown kind to be passed')
        assert total(c.collectors[0].metrics(), 'waymark_events_refused_total') == 0
        assert c.finish() > 1000


def test_the_records_are_what_the_format_says(kafka):
    """Read by a decoder that shares nothing with ours."""
    with Cluster(kafka, profilers=0) as c:
        collector = c.collectors[0]
        c.placed('/v1/track', {'event': 'E', 'userId': 'first'})  # the first one may be late
        s, h, b = collector.post('/v1/batch', {'batch': [
            {'type': 'track', 'event': 'Product Viewed', 'userId': 'ü\0ser', 'anonymousId': 'a1', 'messageId': 'm1',
             'properties': {'product_id': 'p1', 'price': 9.99, 'currency': 'EUR'}, 'timestamp': '2026-01-02T03:04:05.678Z'},
            {'type': 'track', 'userId': 'x', 'messageId': 'm2'}]})
        assert s == 200 and b['accepted'] == 1 and h['x-waymark-ack'] == 'durable', (s, h, b)
        (record,), (bad,) = [r for r in kafka.records(c.events) if r.key() != b'first'], kafka.records(c.bad)
        e = wire.decode('Event', record.value())
        assert record.key() == 'ü\0ser'.encode() == e.user_id and not record.headers()
        assert h['x-waymark-position'] == f'{record.partition()}:{record.offset()}'
        assert (e.version, e.type, e.trust, e.name, e.anonymous_id, e.message_id, e.source) == \
            (1, wire.messages().EVENT_TRACK, wire.messages().TRUST_BEACON, b'Product Viewed', b'a1', b'm1', b'web')
        assert (e.time, len(e.uid)) == (1767323045678, 16) and abs(record.timestamp()[1] - e.received) < 60000
        assert (e.items[0].product_id, e.items[0].price) == (b'p1', 9990000)
        bad = wire.decode('BadEvent', bad.value())
        assert (bad.version, bad.code, bad.position, bad.source) == (1, b'name_missing', 1, b'web')
        assert bad.sealed and b'"m2"' not in bad.bytes and b'"m2"' in opened(c, bad.bytes)
