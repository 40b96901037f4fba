"""Audiences over several profilers on one Kafka: whoever is asked, the numbers are of everybody, or it is an error; never
a part that is told as the whole."""
import json
import os
import urllib.parse

from support.cluster import Cluster, not_sanitized
from support.erased import Marks, Shop, found_in, places
from support.instance import SERVER, wait_until
from support.outage import wait_served

PEOPLE = 60


def call(program, method, path, body=None):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    status, head, answer = program.request(method, path, data)
    return status, json.loads(answer) if answer[:1] == b'{' else answer, head


def well(program, method, path, body=None):
    """The answer; a new profiler's 503, and one of who has just got a partition, are waited for."""
    def answer():
        s, b, _ = call(program, method, path, body)
        assert s in (200, 201, 503), (path, s, b)
        return b if s != 503 else None
    return wait_until(answer, 30, f'{program.name} to answer {path}')


def said(program, method, path, body=None):
    """What is defined, once the log has taken it: said again after a 503 it may be there, or gone, already."""
    tries = []

    def answer():
        tries.append(call(program, method, path, body))
        return tries[-1][0] != 503 and tries[-1]
    s, b, h = wait_until(answer, 60, f'{program.name} to take {method} {path}')
    assert s in (200, 201) or (s == 404 and method == 'DELETE' and len(tries) > 1), (path, s, b)
    return s if len(tries) == 1 else None, b, h


def members(program, name, limit=7):
    out, cursor = [], None
    while True:
        b = well(program, 'GET', f'/v1/audiences/{name}/members?limit={limit}' + (f'&cursor={cursor}' if cursor else ''))
        assert len(b['members']) <= limit
        out += b['members']
        cursor = b['next']
        if cursor is None:
            return sorted(out)


def live(program, name, size):
    def is_live():
        s, b, _ = call(program, 'GET', f'/v1/audiences/{name}')
        return s == 200 and b['state'] == 'live' and b['size'] == size and b
    return wait_until(is_live, 30, f'{name} to be live at {program.name} with {size}')


def send(cluster):
    events = [{'type': 'track', 'event': 'Product Viewed', 'userId': f'u{n}', 'messageId': f'm{n}-{k}',
               'traits': {}} for n in range(PEOPLE) for k in range(n % 3 + 1)]
    events += [{'type': 'identify', 'userId': f'u{n}', 'messageId': f'i{n}', 'traits': {'email': f'u{n}@x.com'}}
               for n in range(0, PEOPLE, 2)]
    assert cluster.collectors[0].post('/v1/batch', events, SERVER)[0] == 200
    cluster.drain()


@not_sanitized
def test_whoever_is_asked(kafka):
    with Cluster(kafka, profilers=3, partitions=6) as c:
        wait_served(c, by=c.profilers)
        send(c)
        a, b, d = c.profilers
        s, one, head = said(a, 'PUT', '/v1/audiences/two', {'rule': 'products_viewed >= 2', 'description': 'x'})
        assert s in (201, None) and one['name'] == 'two' and head['x-waymark-position'].count(':') == 6, one
        want = sorted(f'user:u{n}' for n in range(PEOPLE) if n % 3 >= 1)
        for p in c.profilers:
            one = live(p, 'two', len(want))
            assert one['rule'] == 'products_viewed >= 2' and 'partitions' not in one
            assert members(p, 'two') == members(p, 'two', 1000) == want
            assert [x['size'] for x in well(p, 'GET', '/v1/audiences')['audiences']] == [len(want)]
            n = well(p, 'POST', '/v1/audiences:count', {'rule': 'products_viewed >= 2 && has(traits.email)'})
            emails = sum(i % 3 >= 1 and i % 2 == 0 for i in range(PEOPLE))
            assert n['count'] == emails and n['reachable'] == {'email': emails, 'phone': 0}
            assert [x['count'] for x in n['clauses']] == [len(want), PEOPLE // 2]
            assert well(p, 'POST', '/v1/audiences:count', {'audience': 'two'})['count'] == len(want)
            for i in range(12):
                e = well(p, 'GET', f'/v1/audiences/two/explain?id=user:u{i}')
                assert e['member'] is (i % 3 >= 1) and e['id'] == f'user:u{i}'
            s, _, e = p.well('GET', '/v1/audiences/two/explain?id=user:unknown')
            e = json.loads(e)
            assert s == 404 and e['code'] == 'profile_not_found'

            def all_tagged(p=p):
                tags = {t['name']: t for t in well(p, 'GET', '/v1/tags')['tags']}
                return sum(tags['lifecycle']['values'].values()) == PEOPLE
            wait_until(all_tagged, 30, f'{p.name} to tell of the tags of all')
        check_own_writes(c)
        check_linked(c)
        s, one, _ = said(b, 'PUT', '/v1/audiences/two', {'rule': 'products_viewed >= 3'})
        assert s in (200, None), one
        for p in c.profilers:
            assert live(p, 'two', PEOPLE // 3)['rule'] == 'products_viewed >= 3'
        said(d, 'DELETE', '/v1/audiences/two')
        for p in c.profilers:
            wait_until(lambda p=p: call(p, 'GET', '/v1/audiences/two')[0] == 404, 10, 'the audience to be gone')
        check_nobody_lies(c)


def check_own_writes(c):
    """What was accepted is counted at once when it is asked for by its position, at whichever instance."""
    said(c.profilers[0], 'PUT', '/v1/audiences/own', {'rule': 'count("Own") > 0'})
    for p in c.profilers:
        live(p, 'own', 0)
    for n in range(12):
        position, _ = c.placed('/v1/batch', {'type': 'track', 'event': 'Own', 'userId': f'u{n}'})
        p = c.profilers[n % len(c.profilers)]
        one = well(p, 'GET', f'/v1/audiences/own?after={position}&wait=5s')
        assert one['size'] == n + 1, (n, one)
    said(c.profilers[1], 'DELETE', '/v1/audiences/own')


def check_linked(c):
    """A device and its user may be of different instances."""
    said(c.profilers[0], 'PUT', '/v1/audiences/link', {'rule': 'count("Before") > 0'})
    for n in range(9):
        c.collectors[0].post('/v1/batch', [{'type': 'track', 'event': 'Before', 'anonymousId': f'd{n}'},
                                           {'type': 'identify', 'anonymousId': f'd{n}', 'userId': f'l{n}'}], SERVER)
    c.drain()
    for p in c.profilers:
        live(p, 'link', 9)
        assert members(p, 'link') == sorted(f'user:l{n}' for n in range(9))
        for n in range(9):
            e = well(p, 'GET', f'/v1/audiences/link/explain?id=anon:d{n}')
            assert e['id'] == f'user:l{n}' and e['member'] is True, e
    said(c.profilers[2], 'DELETE', '/v1/audiences/link')


def check_nobody_lies(c):
    """While an instance is away the whole cannot be told."""
    a, b, d = c.profilers
    said(a, 'PUT', '/v1/audiences/left', {'rule': 'products_viewed >= 1'})
    for p in c.profilers:
        live(p, 'left', PEOPLE)
    d.kill()
    refused = 0
    for _ in range(20):
        s, one, h = call(a, 'GET', '/v1/audiences/left')
        assert s == 503 or one['size'] == PEOPLE, one
        refused += s == 503
        s, one, h = call(b, 'POST', '/v1/audiences:count', {'rule': 'products_viewed >= 1'})
        assert s == 503 or one['count'] == PEOPLE, one
        assert s != 503 or (h['retry-after'] == '1' and one['code'] in ('not_yet', 'unavailable')), one
    assert refused, 'the instance was missed too late to test anything'
    wait_served(c, by=[a, b])
    for p in (a, b):
        live(p, 'left', PEOPLE)
        assert members(p, 'left') == sorted(f'user:u{n}' for n in range(PEOPLE))


@not_sanitized
def test_tags_by_hand_anywhere(kafka):
    with Cluster(kafka, profilers=2, partitions=4) as c:
        wait_served(c, by=c.profilers)
        send(c)
        for n in range(12):
            p, q = c.profilers[n % 2], c.profilers[(n + 1) % 2]
            _, _, h = said(p, 'PUT', f'/v1/profiles/user:u{n}/tags/crm', {'value': n})
            got = well(q, 'GET', f'/v1/profiles/user:u{n}?after={urllib.parse.quote(h["x-waymark-position"])}&wait=5s')
            assert got['tags']['crm'] == n
        assert call(c.profilers[0], 'PUT', '/v1/audiences/crm', {'rule': 'tags.crm >= 6'})[0] in (201, 400, 503)
        entries = {'tags': [{'id': f'user:u{n}', 'name': 'wave', 'value': 'a'} for n in range(PEOPLE)]}
        s, b, h = said(c.profilers[1], 'POST', '/v1/profiles:tag', entries)
        assert b['accepted'] == PEOPLE and h['x-waymark-position'].count(':') == 4


@not_sanitized
def test_nothing_is_left_in_the_rows_of_who_had_the_partitions_before(kafka):
    """One had all, and another took some over; then people are erased whose tags say what nobody else's do."""
    with Cluster(kafka, profilers=2, partitions=4) as c:
        one, other = c.profilers
        wait_served(c, by=c.profilers)
        assert other.stop() == 0
        wait_served(c, by=[one])
        send(c)
        said(one, 'PUT', '/v1/audiences/two', {'rule': 'products_viewed >= 2'})
        shop, marks = Shop(c), Marks()
        for n in range(8):
            shop.ask('PUT', f'/v1/profiles/user:u{n}/tags/crm', {'value': marks(f'u{n}')})
        stays = marks.made.pop('u7')
        live(one, 'two', PEOPLE * 2 // 3)
        rows = os.path.join(one.dir, 'data', 'audiences')
        wait_until(lambda: places(found_in(rows, marks.made)) == set(marks.made), 30, 'the tags to stand among the rows')
        other.start()
        wait_served(c, by=[one, other])
        wait_until(lambda: places(found_in(other.dir, marks.made)), 30, 'the other to have rows, too')
        for n in range(7):
            shop.erase(f'user:u{n}', by=c.profilers[n % 2])
            assert found_in(c.dir, {'value': marks.made[f'u{n}']}) == set()
        assert found_in(c.dir, marks.made) == set()
        assert shop.profile('user:u7')[1]['tags']['crm'] == stays
        gone = {f'user:u{n}' for n in range(7)}
        for p in c.profilers:
            live(p, 'two', PEOPLE * 2 // 3 - len([n for n in range(7) if n % 3 >= 1]))
            assert not gone & set(members(p, 'two'))
        shop.check_stopped()


def changes(kafka, cluster, who):
    """Those of one person in their order."""
    return [(r, json.loads(r.value())) for r in kafka.records(cluster.prefix + 'audiences') if json.loads(r.value())['id'] == who]


def test_what_an_owner_before_says_late_is_taken(kafka):
    """It gets to the topic after the partitions were taken over, and nothing else happens."""
    with Cluster(kafka, partitions=2) as c:
        p = c.profilers[0]
        wait_served(c)
        said(p, 'PUT', '/v1/audiences/some', {'rule': 'events >= 1'})
        assert c.collectors[0].post('/v1/batch', [{'type': 'track', 'event': 'Seen', 'userId': f'u{n}'} for n in range(9)], SERVER)[0] == 200
        c.drain()
        live(p, 'some', 9)
        assert p.stop() == 0
        p.start(ready=False)
        wait_served(c)
        (record, entered), = changes(kafka, c, 'user:u3')
        left = {**entered, 'action': 'left'}
        kafka.produce(record.topic(), json.dumps(left).encode(), record.key(), record.partition(), record.headers())
        wait_until(lambda: [x['action'] for _, x in changes(kafka, c, 'user:u3')] == ['entered', 'left', 'entered'], 30,
                   'what was wrongly said to be made good')
        live(p, 'some', 9)
        assert len(members(p, 'some')) == 9
