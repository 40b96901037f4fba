"""Webhooks over several profilers on one Kafka: when one dies, another tells on, and every change under one id whoever tells."""
import json

from support.cluster import Cluster, not_sanitized
from support.instance import SERVER, wait_until
from support.outage import wait_served
from support.receiver import Receiver, check_signed, hook


def view(cluster, users):
    events = [{'type': 'track', 'event': 'Product Viewed', 'userId': u, 'messageId': f'm-{u}'} for u in users]
    assert cluster.collectors[0].post('/v1/batch', events, SERVER)[0] == 200


@not_sanitized
def test_another_tells_on(kafka):
    first, second = [f'a{n}' for n in range(40)], [f'b{n}' for n in range(40)]
    with Receiver() as r, Cluster(kafka, profilers=2, partitions=4, more_profiler='  webhooks:\n' + hook('one', r.url())) as c:
        wait_served(c, by=c.profilers)
        s, _, b = c.profilers[0].request('PUT', '/v1/audiences/viewers', json.dumps({'rule': 'products_viewed >= 1'}).encode())
        assert s == 201, b
        view(c, first)
        wait_until(lambda: len(r.told()) == 40, 60, 'the first to be told')
        r.answer = lambda request: 503  # what is told to nobody is another's to tell
        view(c, second)
        wait_until(lambda: len({x['id'] for x in r.got if x['status'] == 503}) > 0, 60, 'a try')
        c.profilers[0].kill()
        r.answer = lambda request: 200
        wait_served(c, by=c.profilers[1:], limit=120)
        want = {(f'user:{u}', 'viewers'): ['entered'] for u in first + second}
        wait_until(lambda: set(r.told()) == set(want), 120, 'all to be told')
        ids = {}
        for x in r.taken():
            check_signed(x)
            d = x['json']['data']
            ids.setdefault(x['id'], set()).add((d['id'], d['audience'], x['json']['type']))
        assert all(len(v) == 1 for v in ids.values()) and r.told() == want
