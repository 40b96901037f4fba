"""Exports and campaign reports over several profilers on one Kafka: whoever is asked, the file and the figures are those of everybody, as
one instance that has all people would make them; or it is an error that says what to do."""
import collections
import csv
import hashlib
import io
import json
import os
import random
import time

import pytest
from support.cluster import TOKEN, Cluster, not_sanitized
from support.instance import SERVER, Instance, wait_until
from support.outage import wait_served

PEOPLE = 200
COLUMNS = ['id', 'email', 'facts.spent', 'traits.plan']


class Shop:
    """One `serve`, or a cluster: the same calls."""

    def __init__(self, one=None, cluster=None):
        self.one, self.cluster = one, cluster
        self.profilers = [None] if one else cluster.profilers

    def ask(self, p, method, path, body=None, headers=None):
        data = None if body is None else json.dumps(body).encode()
        s, h, b = self.one.request('p', method, path, data, headers) if self.one else p.request(method, path, data, headers)
        return s, (json.loads(b) if b[:1] in b'{[' and b else b), h

    def well(self, p, method, path, body=None, good=(200, 201)):
        """A new owner's 503 is waited for."""
        def answer():
            s, b, _ = self.ask(p, method, path, body)
            assert s in (*good, 503), (path, s, b)
            return (b, ) if s != 503 else None
        return wait_until(answer, 60, f'{path} to be answered')[0]

    def send(self, events):
        for at in range(0, len(events), 100):
            c = self.one if self.one else self.cluster.collectors[0]
            s, _, b = c.post('/v1/batch', events[at:at + 100], SERVER)
            assert s == 200 and not b['rejected'], b

    def orders(self, orders):
        c = self.one if self.one else self.cluster.collectors[0]
        s, _, b = c.post('/v1/orders', orders, SERVER)
        assert s == 200 and not b['rejected'], b

    def drain(self):
        (self.one or self.cluster).drain()

    def audience(self, name, rule, size):
        self.well(self.profilers[0], 'PUT', f'/v1/audiences/{name}', {'rule': rule})
        self.live(name, size)

    def live(self, name, size):
        for p in self.profilers:
            def is_live():
                s, b, _ = self.ask(p, 'GET', f'/v1/audiences/{name}')
                return s == 200 and b['state'] == 'live' and b['size'] == size
            wait_until(is_live, 60, f'{name} to have {size}')

    def export(self, name, p=None, **body):
        p = p or self.profilers[0]
        return self.finished(self.well(p, 'POST', f'/v1/audiences/{name}/exports', body)['id'], p)

    def finished(self, i, p=None):
        def over():
            s, b, _ = self.ask(p or self.profilers[0], 'GET', f'/v1/exports/{i}')
            assert s in (200, 503), (s, b)
            return s == 200 and b['state'] != 'running' and b
        e = wait_until(over, 60, f'export {i}')
        assert e['state'] == 'done', e
        return e

    def raw(self, p, i, headers=None, method='GET'):
        path = f'/v1/exports/{i}/file'
        return self.one.request('p', method, path, None, headers) if self.one else p.request(method, path, None, headers)

    def fetch(self, e, p=None):
        def got():
            s, _, b = self.raw(p or self.profilers[0], e['id'])
            assert s in (200, 503), b
            return s == 200 and (b, )
        b, = wait_until(got, 60, f'the file of {e["id"]}')
        assert len(b) == e['manifest']['bytes']
        return b


def people():
    """Identify calls and orders, the same for whoever gets them."""
    r = random.Random(7)
    calls, orders = [], []
    for n in range(PEOPLE):
        consent = [True, True, True, True, False, None][n % 6]
        traits = {'email': f'u{n}@x.example', 'plan': 'gold' if n % 3 else 'blocked' if n % 9 else 'basic'}
        if n % 11 == 0:
            del traits['email']
        calls.append({'type': 'identify', 'userId': f'u{n}', 'messageId': f'i{n}', 'timestamp': '2026-01-01T00:00:00Z',
                      'traits': traits, **({} if consent is None else {'context': {'consent': {'marketing': consent}}})})
        orders.append({'orderId': f'o{n}', 'status': 'paid', 'userId': f'u{n}', 'currency': 'GBP', 'total': round(r.uniform(5, 99), 2),
                       'timestamp': '2026-01-02T00:00:00Z', 'messageId': f'om{n}'})
    return calls, orders


def fill(shop):
    calls, orders = people()
    shop.send(calls)
    shop.orders(orders)
    shop.drain()
    shop.audience('all', 'orders >= 1', PEOPLE)
    shop.audience('blocked', 'traits.plan == "blocked"', sum(n % 3 == 0 and n % 9 != 0 for n in range(PEOPLE)))


def lines(b):
    """The head, and what follows it in no order."""
    head, *rest = b.split(b'\r\n')
    return head, collections.Counter(rest)


def rows(b):
    """(action, first address) of a delta for Google."""
    head, *body = csv.reader(io.StringIO(b.decode(), newline=''))
    return [(r[head.index('action')], r[head.index('Email')]) for r in body]


FIGURES = ('people', 'rows', 'excluded', 'identifiers', 'phones_without_country', 'rule', 'format', 'audience', 'partial', 'bytes')


def figures(e, *more):
    return {k: e['manifest'].get(k) for k in (*FIGURES, *more)}


@pytest.fixture(scope='module')
def one():
    with Instance() as i:
        shop = Shop(one=i)
        fill(shop)
        yield shop


@pytest.fixture(scope='module')
def two(shared_kafka):
    with Cluster(shared_kafka.well(), profilers=2, partitions=4) as c:
        wait_served(c, by=c.profilers)
        shop = Shop(cluster=c)
        fill(shop)
        yield shop


WISHES = [
    {'format': 'csv', 'columns': COLUMNS},
    {'format': 'google', 'suppress': ['blocked'], 'campaign': 'same', 'hold_out': 0.3},
    {'format': 'ndjson', 'columns': ['id'], 'channel': 'email', 'suppress_list': ['user:u1', 'U2@x.example']},
    {'format': 'csv', 'columns': ['id'], 'channel': 'ads', 'cap': {'times': 1, 'per_days': 30}},
]


@pytest.mark.parametrize('wish', WISHES, ids=['csv', 'google', 'ndjson', 'capped'])
def test_the_file_is_that_of_one_instance(one, two, wish):
    want = one.export('all', **wish)
    for p in two.profilers:
        e = two.export('all', p, **wish)
        text = two.fetch(e, p)
        assert figures(e) == figures(want)
        if wish['format'] == 'ndjson':
            assert sorted(text.splitlines()) == sorted(one.fetch(want).splitlines())
        else:
            assert lines(text) == lines(one.fetch(want))
        assert len(e['manifest']['parts']) == 2 and e['manifest']['partitions'] == {'here': 4, 'all': 4}
        assert sum(x['rows'] for x in e['manifest']['parts']) == e['manifest']['rows']
        other = two.profilers[two.profilers.index(p) - 1]
        assert two.fetch(e, other) == text and two.well(other, 'GET', f'/v1/exports/{e["id"]}') == e
        listed = [x for x in two.well(other, 'GET', '/v1/exports')['exports'] if x['id'] == e['id']]
        assert listed == [e]
        two.drain()  # what a campaign noted


@not_sanitized
def test_ranges(two):
    e = two.export('all', format='csv', columns=COLUMNS)
    text = two.fetch(e)
    n, tag = len(text), f'"{e["id"]}"'
    borders = [0, 1, e['manifest']['parts'][0]['bytes'], n - 1]
    for p in two.profilers:
        for at in borders:
            for a, b in ((max(at - 3, 0), at + 5), (at, n - 1), (0, at)):
                s, h, got = two.raw(p, e['id'], {'Range': f'bytes={a}-{b}'})
                assert (s, got) == (206, text[a:b + 1]), (a, b)
                assert h['content-range'] == f'bytes {a}-{min(b, n - 1)}/{n}' and h['etag'] == tag
        assert two.raw(p, e['id'], {'Range': 'bytes=-7'})[2] == text[-7:]
        assert two.raw(p, e['id'], {'Range': f'bytes={n}-'})[0] == 416
        assert two.raw(p, e['id'], {'Range': 'bytes=5-', 'If-Range': '"other"'})[::2] == (200, text)
        s, h, got = two.raw(p, e['id'], method='HEAD')
        assert (s, got) == (200, b'') and int(h['content-length']) == n


@not_sanitized
def test_command(two, tmp_path):
    p = two.profilers[1]
    code, out, err = p.command('audience', 'export', 'all', '--format', 'csv', '--columns', ','.join(COLUMNS), '--output',
                               str(tmp_path / 'f.csv'))
    assert code == 0, out + err
    e = next(x for x in two.well(p, 'GET', '/v1/exports')['exports'])
    text = (tmp_path / 'f.csv').read_bytes()
    assert text == two.fetch(e)
    (tmp_path / 'g.csv').write_bytes(text[:len(text) // 2])
    code, out, err = two.profilers[0].command('export', 'get', e['id'], '--output', str(tmp_path / 'g.csv'), '--continue')
    assert code == 0 and (tmp_path / 'g.csv').read_bytes() == text, out + err


@not_sanitized
def test_mistakes_and_who_may(two):
    for p in two.profilers:
        assert two.ask(p, 'POST', '/v1/audiences/all/exports', {'format': 'xml'})[0] == 400
        assert two.ask(p, 'POST', '/v1/audiences/none/exports', {'format': 'csv'})[0] == 404
        assert two.ask(p, 'GET', '/v1/exports/ex_0')[0] == 404 and two.raw(p, 'ex_0')[0] == 404
        assert two.ask(p, 'GET', '/v1/exports/..')[0] == 404
        assert two.ask(p, 'POST', '/v1/audiences/all/exports?partial=true', {'format': 'csv', 'delta': True})[0] == 400
        assert two.ask(p, 'POST', '/v1/internal/exports', {})[0] == 404
        look = {'Authorization': 'Bearer tk_look', 'X-Waymark-Forwarded': '0123456789abcdef'}
        for method, path in (('GET', '/v1/internal/exports'), ('POST', '/v1/internal/exports'), ('GET', '/v1/internal/exports/x'),
                             ('GET', '/v1/internal/exports/x/part?first=0&bytes=9')):
            assert two.ask(p, method, path, {} if method == 'POST' else None, look)[0] == 403
    e = two.well(two.profilers[0], 'POST', '/v1/audiences/all/exports?partial=true', {'format': 'csv'})
    m = two.finished(e['id'])['manifest']
    assert m['partial'] and m['partitions'] == {'here': 2, 'all': 4} and 0 < m['people'] < PEOPLE


@not_sanitized
def test_who_pretends_to_be_a_profiler(two):
    forged = {'X-Waymark-Forwarded': '0123456789abcdef', 'Authorization': f'Bearer {TOKEN}'}
    e = two.export('all', format='csv', columns=COLUMNS)
    for p in two.profilers:
        for method, path, body in (('GET', '/v1/exports', None), ('GET', f'/v1/exports/{e["id"]}', None),
                                   ('GET', f'/v1/exports/{e["id"]}/file', None),
                                   ('POST', '/v1/audiences/all/exports', {'format': 'csv'})):
            assert two.ask(p, method, path, body, forged)[0] == 503, path
        own = two.ask(p, 'GET', '/v1/internal/exports', None, forged)[1]
        makers = [{k: own[k] for k in ('instance', 'url', 'partitions')}]
        part = {'id': 'ex_0pretended', 'audience': 'all', 'base': '', 'makers': makers, 'request': {'format': 'csv'}}
        for wrong, good in (({'id': 'people'}, 400), ({'makers': []}, 503),
                            ({'makers': makers + [{'instance': 'x', 'url': 'http://127.0.0.1:9', 'partitions': [0]}]}, 503)):
            s, b, _ = two.ask(p, 'POST', '/v1/internal/exports', {**part, **wrong}, forged)
            assert s == good, b
        assert two.well(p, 'GET', f'/v1/exports/{e["id"]}') == e


@not_sanitized
def test_parameters_that_are_between_profilers(two):
    wish = {'format': 'google', 'delta': True, 'destination': 'parameters'}
    inside = {'X-Waymark-Forwarded': '0123456789abcdef'}
    p, other = two.profilers
    first = two.export('all', **wish)
    for word in ('taken', 'go', 'stop'):
        two.well(p, 'GET', f'/v1/exports/{first["id"]}?{word}=true')
    for q in two.profilers:
        s, b, _ = two.ask(q, 'GET', f'/v1/internal/exports/{first["id"]}', None, inside)
        assert s == 200 and b['state'] == 'done' and not b['fetched']
    second = two.finished(two.well(p, 'POST', '/v1/audiences/all/exports?delta=none&bytes=1', wish)['id'])
    assert first['manifest']['from_nothing'] and first['manifest']['rows'] > 0
    assert not second['manifest']['from_nothing'] and second['manifest']['rows'] == 0
    ids = [x['id'] for x in two.well(p, 'GET', '/v1/exports?delta=none')['exports']]
    assert {first['id'], second['id']} <= set(ids)
    s, b, _ = two.ask(other, 'GET', f'/v1/exports/{first["id"]}/file?bytes=1&first=3')
    assert s == 200 and len(b) == first['manifest']['bytes']


def close(a, b):
    """Equal, but for the last bits of what is computed."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-9 * max(1, abs(a))
    return a == b


@not_sanitized
def test_report(one, two):
    r = random.Random(3)
    bought = []
    for shop in (one, two):
        e = shop.export('all', format='csv', campaign='report', hold_out=0.4)
        assert e['manifest']['excluded']['held_out'] > 20 and e['manifest']['assigned'] > 100
        shop.drain()
        time.sleep(0.01)
    for n in range(PEOPLE):
        if r.random() < 0.4:
            bought.append({'orderId': f'late{n}', 'status': 'paid', 'userId': f'u{n}', 'currency': 'GBP', 'total': round(r.uniform(5, 99), 2),
                           'messageId': f'late{n}'})
    for shop in (one, two):
        shop.orders(bought)
        shop.drain()
    want = one.ask(None, 'GET', '/v1/campaigns/report/report?days=30')[1]
    assert want['conversions']['exported'] > 10 and want['conversions']['interval']
    for p in two.profilers:
        got = two.well(p, 'GET', '/v1/campaigns/report/report?days=30')
        for k in ('as_of', 'first_assigned_at', 'last_assigned_at'):
            assert got.pop(k) and (k in want)
        assert close({k: v for k, v in want.items() if k in got}, got) and got['partial'] is False
        assert two.ask(p, 'GET', '/v1/campaigns/nobody/report')[0] == 404
        part = two.well(p, 'GET', '/v1/campaigns/report/report?days=30&partial=true')
        assert part['partial'] and part['partitions'] == {'here': 2, 'all': 4}
        assert 0 < part['reach']['exported'] < want['reach']['exported']


def sha(s):
    return hashlib.sha256(s.encode()).hexdigest()


def consent(shop, users, plan, granted=True):
    shop.send([{'type': 'identify', 'userId': u, 'traits': {'email': f'{u}@x.example', 'plan': plan},
                'context': {'consent': {'marketing': granted}}} for u in users])
    shop.drain()


def apply(told, text):
    """What a network that takes the files has in the end; removals stand first."""
    got = rows(text)
    assert [a for a, _ in got] == sorted((a for a, _ in got), reverse=True)
    for action, address in got:
        if action == 'remove':
            told.discard(address)
        else:
            told.add(address)
    return got


def hashes(users):
    return {sha(f'{u}@x.example') for u in users}


def size(shop, name, users):
    shop.live(name, len(users))


@not_sanitized
def test_delta(two):
    a, b = two.profilers
    users = [f'd{n}' for n in range(40)]
    consent(two, users, 'delta')
    two.audience('delta', 'traits.plan == "delta"', 40)
    told = set()
    e = two.export('delta', a, format='google', delta=True)
    apply(told, two.fetch(e, b))
    assert told == hashes(users) and e['manifest'].get('based_on') is None and e['manifest']['added'] == 40
    assert e['manifest']['from_nothing'] and all(x['from_nothing'] for x in e['manifest']['parts'])
    # asked at the other one: it begins where the first has ended
    consent(two, users[:5], 'left')
    consent(two, users[5:8], 'delta', False)
    consent(two, ['new1', 'new2', 'new3'], 'delta')
    two.live('delta', 38)
    f = two.export('delta', b, format='google', delta=True)
    got = apply(told, two.fetch(f, a))
    assert told == hashes(users[8:] + ['new1', 'new2', 'new3']) and len(got) == 11
    m = f['manifest']
    assert not m['from_nothing'] and not any(x['from_nothing'] for x in m['parts'])
    assert m['based_on'] == e['id'] and (m['added'], m['removed'], m['unchanged']) == (3, 8, 32)
    assert m['removals']['left'] == 5 and m['removals']['no_consent'] == 3 and m['removals']['moved'] == 0
    assert two.fetch(two.export('delta', a, format='google', delta=True)).count(b'\r\n') == 1
    # and anew, when somebody asks for that
    code, out, err = b.command('audience', 'export', 'delta', '--format', 'google', '--delta', '--anew')
    assert code == 0 and 'begins from nothing' in out, out + err
    g = two.export('delta', b, format='google', delta=True, anew=True)
    assert g['manifest']['from_nothing']
    assert g['manifest']['added'] == 35 and g['manifest']['removed'] == 0 and g['manifest'].get('based_on') is None
    told = set()
    apply(told, two.fetch(g))
    assert told == hashes(users[8:] + ['new1', 'new2', 'new3'])


@not_sanitized
def test_what_one_refuses_leaves_nothing(two):
    """No part is made and nobody is marked when one profiler does not take its part."""
    a, b = two.profilers
    folder = os.path.join(b.dir, 'data', 'exports')
    before = {x['id'] for x in two.well(a, 'GET', '/v1/exports')['exports']}
    os.rename(folder, folder + '.away')
    try:
        for p in (a, b):
            s, got, _ = two.ask(p, 'POST', '/v1/audiences/all/exports', {'format': 'csv', 'campaign': 'refused', 'channel': 'email'})
            assert s in (503, 507), got
    finally:
        os.rename(folder + '.away', folder)
    two.drain()
    for p in (a, b):
        assert two.ask(p, 'GET', '/v1/campaigns/refused/report')[0] == 404
    left = [x for x in two.well(a, 'GET', '/v1/exports')['exports'] if x['id'] not in before]
    assert all(x['state'] == 'failed' for x in left), left
    e = two.export('all', b, format='csv', columns=['id'], campaign='refused', channel='email')
    two.drain()
    assert two.well(a, 'GET', '/v1/campaigns/refused/report')['reach']['exported'] == e['manifest']['rows'] > 0


@not_sanitized
def test_erasure_takes_the_whole(two):
    a, b = two.profilers
    users = [f'e{n}' for n in range(12)]
    consent(two, users, 'erase')
    two.audience('erase', 'traits.plan == "erase"', 12)
    e = two.export('erase', a, format='google', delta=True)
    told = set()
    apply(told, two.fetch(e))
    for p in (a, b):
        assert two.raw(p, e['id'])[0] == 200
    two.well(a, 'DELETE', '/v1/profiles/user:e3', good=(200, 202))
    for p in (a, b):
        wait_until(lambda p=p: two.well(p, 'GET', f'/v1/exports/{e["id"]}')['state'] == 'erased', 60, 'the file to go')
        assert two.raw(p, e['id'])[0] == 404
    two.live('erase', 11)
    f = two.export('erase', b, format='google', delta=True)
    assert f['manifest']['based_on'] == e['id']
    got = apply(told, two.fetch(f))
    assert got == [('remove', sha('e3@x.example'))] and told == hashes(set(users) - {'e3'})


def partition(user, n):
    """As Kafka's Java client and ours choose it."""
    data, m = user.encode(), 0x5bd1e995
    h = 0x9747b28c ^ len(data)
    for at in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[at:at + 4], 'little') * m & 0xffffffff
        h = (h * m & 0xffffffff) ^ ((k ^ k >> 24) * m & 0xffffffff)
    rest = data[len(data) // 4 * 4:]
    if rest:
        h = (h ^ int.from_bytes(rest, 'little')) * m & 0xffffffff
    h = (h ^ h >> 13) * m & 0xffffffff
    return ((h ^ h >> 15) & 0x7fffffff) % n


def owners(shop):
    """The profiler of each partition, by index."""
    out = {}
    for i, p in enumerate(shop.profilers):
        s, b, _ = shop.ask(p, 'GET', '/v1/internal/exports?delta=', None, {'X-Waymark-Forwarded': '0123456789abcdef'})
        assert s == 200, b
        out.update(dict.fromkeys(b['partitions'], i))
    assert len(out) == shop.cluster.partitions
    return out


def check_joined(shop, told, users, base, had):
    """A third profiler has got people of the first two: what they told is not lost, and nobody is told who has left."""
    c = shop.cluster
    a, b, d = c.profilers
    shop.profilers = c.profilers
    wait_served(c, by=c.profilers)
    consent(shop, users[:6], 'left')
    shop.live('moving', len(users) - 6)
    e = shop.export('moving', d, format='google', delta=True)
    m = e['manifest']
    apply(told, shop.fetch(e, b))
    assert told == hashes(users[6:])
    # whether those who moved have left is not known where they were
    has, n = owners(shop), c.partitions
    moved = [u for u in users if had[partition(u, n)] != has[partition(u, n)]]
    stayed = [u for u in users[:6] if u not in moved]
    assert m['based_on'] == base['id'] and m['removals']['left'] == len(stayed) and m['removals']['moved'] == len(moved) > 0
    assert m['removed'] == len(stayed) + len(moved) and m['added'] == len([u for u in moved if u not in users[:6]])
    assert [x['from_nothing'] for x in sorted(m['parts'], key=lambda x: x['instance'])] == [False, False, True]
    assert not m['from_nothing']
    return e


@not_sanitized
def test_partitions_that_move(kafka):
    with Cluster(kafka, profilers=3, partitions=6) as c:
        a, b, d = c.profilers
        assert d.stop() == 0
        wait_served(c, by=[a, b])
        shop = Shop(cluster=c)
        shop.profilers = [a, b]
        users = [f'm{n}' for n in range(60)]
        consent(shop, users, 'moving')
        shop.audience('moving', 'traits.plan == "moving"', 60)
        told = set()
        base = shop.export('moving', a, format='google', delta=True)
        apply(told, shop.fetch(base, b))
        assert told == hashes(users)
        had = owners(shop)
        d.start()
        e = check_joined(shop, told, users, base, had)
        # erased at its owner by now: files of who had the partition before go as well
        shop.well(a, 'DELETE', '/v1/profiles/user:m20', good=(200, 202))
        wait_until(lambda: shop.well(a, 'GET', f'/v1/exports/{base["id"]}')['state'] == 'erased', 60, 'the files to go')
        # while somebody is away there is no file, and never a part of one
        plain = shop.export('moving', a, format='csv', columns=['id'])
        text = shop.fetch(plain, b)
        d.kill()
        silent = False
        for _ in range(20):
            s, h, got = shop.raw(b, plain['id'])
            assert s == 503 or got == text, (s, got)
            silent = silent or (s == 503 and b'does not answer' in got)
            s, got, _ = shop.ask(b, 'POST', '/v1/audiences/moving/exports', {'format': 'google', 'delta': True})
            assert s == 503, got
        assert silent, 'it was missed too late to test anything'
        wait_served(c, by=[a, b])
        shop.profilers = [a, b]
        shop.live('moving', 53)
        # what it told is not forgotten: it must be there, or all begins anew
        s, got, _ = shop.ask(b, 'POST', '/v1/audiences/moving/exports', {'format': 'google', 'delta': True})
        assert s == 503 and 'anew' in got['message'], got
        wait_until(lambda: shop.ask(a, 'GET', '/v1/campaigns/none/report')[0] == 404, 30, 'a report of those who are there')
        full = shop.export('moving', a, format='csv', columns=['id'])
        assert full['manifest']['people'] == 53
        d.start()
        wait_served(c, by=c.profilers)
        shop.profilers = c.profilers
        shop.live('moving', 53)
        f = shop.export('moving', b, format='google', delta=True)
        assert f['manifest']['based_on'] == e['id']
        apply(told, shop.fetch(f, d))
        assert told == hashes(users[6:]) - hashes(['m20'])
