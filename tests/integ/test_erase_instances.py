"""Erasure over several profilers: any of them takes it, waits for the partitions of the others, and signs; what one says
to another is no receipt; the day up to which Kafka keeps the rest is named."""
import datetime
import json
import urllib.parse

from support.cluster import Cluster
from support.instance import SERVER, wait_until
from support.redis import Redis

PEOPLE = [f'person{i}' for i in range(6)]


def asked(program, method, path, headers=None):
    """(status, headers, answer); while partitions move it is asked again."""
    def answered():
        s, h, b = program.request(method, path, headers=headers)
        return s != 503 and (s, h, json.loads(b))
    return wait_until(answered, 60, f'{program.name} to answer {method} {path}')


def erased(program, pid):
    s, h, b = asked(program, 'DELETE', '/v1/profiles/' + urllib.parse.quote(pid, safe=''))
    assert s in (200, 202), b
    return receipt(program, h['location'])


def receipt(program, location):
    def over():
        s, _, b = asked(program, 'GET', location + '?wait=2s')
        assert s in (200, 202), b
        return s == 200 and b
    return wait_until(over, 60, 'the receipt')


def tell(cluster):
    """Each has two devices, before and after they were known on them, and an order."""
    for who in PEOPLE:
        events = [{'type': 'page', 'anonymousId': f'{who}-{d}'} for d in (1, 2)]
        events += [{'type': 'track', 'event': 'Looked', 'userId': who, 'anonymousId': f'{who}-{d}'} for d in (1, 2)]
        s, _, b = cluster.collectors[0].post('/v1/batch', events, SERVER)
        assert s == 200 and not b['rejected'], b
        s, _, b = cluster.collectors[0].post('/v1/orders', {'orderId': f'order-{who}', 'status': 'created', 'userId': who,
                                                            'total': 10, 'currency': 'GBP'}, SERVER)
        assert s == 200, b


def gone(cluster, who):
    for program in cluster.profilers:
        for pid in (f'user:{who}', f'anon:{who}-1', f'anon:{who}-2'):
            for rest in ('', '/path', '/orders'):
                s, _, b = asked(program, 'GET', f'/v1/profiles/{pid}{rest}')
                assert s == 404, (program.name, pid, rest, b)


def test_any_instance_takes_it(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, partitions=4, redis=redis) as cluster:
        tell(cluster)
        cluster.drain()
        one, two = cluster.profilers
        for i, who in enumerate(PEOPLE):
            assert cluster.profile(f'user:{who}', by=one)[0] == 200
            by, other = (one, two) if i % 2 else (two, one)
            answer = erased(by, f'user:{who}' if i < 3 else f'anon:{who}-1')
            told = answer['receipt']
            assert told['devices'] == 2 and told['orders'] == 1, told
            assert 'cache' in told['done'] and 'event_log' not in told['done']
            if told['kafka']['ids_and_behaviour_until'] is not None:
                day = datetime.date.fromisoformat(told['kafka']['ids_and_behaviour_until'])
                assert day > datetime.datetime.now(datetime.timezone.utc).date()
            assert receipt(other, '/v1/erasures/' + answer['id'])['receipt']['profile_hash'] == told['profile_hash']
            gone(cluster, who)
        s, _, b = asked(one, 'GET', '/v1/erasures/0-99999999')
        assert s == 404 and b['code'] == 'erasure_not_found'
        code, out, err = one.command('receipt', '--id', answer['id'])
        assert code == 0 and json.loads(out)['signature'], err
        cluster.check_conserved()


def test_another_that_does_not_answer_delays_it(kafka):
    """It is asked again, and no thread of this one waits for it."""
    with Cluster(kafka, profilers=2, partitions=4) as cluster:
        tell(cluster)
        cluster.drain()
        one, two = cluster.profilers
        ids = [b['id'] for who in PEOPLE for b in (asked(one, 'DELETE', f'/v1/profiles/user:{who}?wait=0ms')[2],)]
        two.pause()
        try:
            s, _, _ = one.request('GET', f'/v1/erasures/{ids[0]}?wait=100ms')
            assert s in (200, 202)
            assert one.request('GET', '/livez')[0] == 200
        finally:
            two.resume()
        for erasure in ids:
            assert receipt(one, '/v1/erasures/' + erasure)['receipt']['devices'] == 2
        for who in PEOPLE:
            gone(cluster, who)
