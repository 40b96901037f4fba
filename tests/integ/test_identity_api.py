"""Who uses which device, from outside: the graph of a person with its evidence, unlink, and what a preview says, with one
partition and several; and over two profilers."""
import json
import time
import urllib.parse

import pytest

from support.cluster import Cluster, not_sanitized
from support.instance import SERVER, Instance, decode, wait_until
from support.outage import wait_served

CAPS = '''  identity:
    link_by_order: true
    max_users_per_device: 2
    max_devices_per_user: 2
'''


def at(minute):
    return f'2026-03-01T10:{minute:02d}:00Z'


def page(minute, device=None, user=None, **more):
    e = {'type': 'page', 'messageId': f'm{minute} {device} {user}', 'timestamp': at(minute), **more}
    if device:
        e['anonymousId'] = device
    if user:
        e['userId'] = user
    return e


def shown(minute):
    return at(minute).replace('Z', '.000Z')


def figures(instance):
    m = instance.metrics()
    return (m['waymark_identity_shared_devices'][''], m['waymark_identity_refused']['reason="cap"'],
            m['waymark_identity_refused']['reason="unlinked"'])


class Shop:
    def __init__(self, instance):
        self.i = instance

    def send(self, *events):
        s, h, b = self.i.post('/v1/batch', {'batch': list(events)}, key=SERVER)
        assert s == 200 and not b['rejected'], b
        return self.settle(h['x-waymark-position'])

    def order(self, *logs):
        s, h, b = self.i.post('/v1/orders', list(logs), key=SERVER)
        assert s == 200 and not b['rejected'], b
        return self.settle(h['x-waymark-position'])

    def settle(self, position):
        self.i.drain()
        return position

    def identity(self, profile, status=200):
        s, b = self.i.profile(profile, '/identity')
        assert s == status, (profile, s, b)
        return b

    def post(self, path, body, status=200, headers=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        s, h, b = self.i.request('p', 'POST', path, body, headers)
        assert s == status, (path, body, s, b)
        return decode(b), h

    def unlink(self, device, user, **until):
        b, h = self.post('/v1/identity:unlink', {'anonymous_id': device, 'user_id': user, **until})
        assert (b['anonymous_id'], b['user_id']) == (device, user)
        self.settle(h['x-waymark-position'])
        return b

    def preview(self, kind, device, user, **time):
        return self.post('/v1/identity:preview', {kind: {'anonymous_id': device, 'user_id': user, **time}})[0]

    def times(self, profile):
        """Minutes of the events of a profile."""
        s, b = self.i.profile(profile, '/path')
        return sorted(int(e['time'][14:16]) for e in b['events']) if s == 200 else []


@pytest.fixture(params=[1, 4])
def shop(request):
    with Instance(partitions=request.param, more_profiler=CAPS) as i:
        yield Shop(i)


def user_row(user, *minutes, linked=True, reason=None, by_order=0, until=None):
    return {'id': user, 'linked': linked, 'reason': reason, 'links': len(minutes), 'by_order': by_order,
            'first': shown(min(minutes)), 'last': shown(max(minutes)), 'unlinked_until': until}


def device_row(device, *minutes, evidence=None, **more):
    row = user_row(device, *minutes, **more)
    return {**row, 'first_evidence': shown(min(minutes) if evidence is None else evidence)}


def test_the_graph_with_its_evidence(shop):
    shop.send(page(1, 'd1'), page(3, 'd1', 'u1'), page(4, 'd1'), page(5, 'd1', 'u2'), page(6, 'd1'), page(7, 'd1', 'u1'),
              page(8, 'd2', 'u1'), page(9, 'd3'), page(10, None, 'u3'))
    expected = {
        'anon:d1': {'id': 'anon:d1', 'profile': 'user:u1', 'shared': False, 'reason': None, 'events': 3,
                    'users': [user_row('user:u1', 3, 7), user_row('user:u2', 5)],
                    'runs': [{'id': 'user:u1', 'from': None, 'to': shown(5)},
                             {'id': 'user:u2', 'from': shown(5), 'to': shown(7)},
                             {'id': 'user:u1', 'from': shown(7), 'to': None}]},
        'anon:d3': {'id': 'anon:d3', 'profile': 'anon:d3', 'shared': False, 'reason': None, 'events': 1, 'users': [],
                    'runs': []},
        'user:u1': {'id': 'user:u1', 'ids': ['user:u1', 'anon:d1', 'anon:d2'], 'capped': False,
                    'devices': [device_row('anon:d1', 3, 7), device_row('anon:d2', 8)]},
        'user:u2': {'id': 'user:u2', 'ids': ['user:u2', 'anon:d1'], 'capped': False,
                    'devices': [device_row('anon:d1', 5)]},
        'user:u3': {'id': 'user:u3', 'ids': ['user:u3'], 'capped': False, 'devices': []},
    }

    def check():
        for profile, answer in expected.items():
            got = shop.identity(profile)
            got.get('users', []).sort(key=lambda u: u['id'])
            assert got == answer, profile
        for nobody in ('user:nobody', 'anon:nobody'):
            assert shop.identity(nobody, 404)['code'] == 'profile_not_found'
        assert shop.identity('nobody', 400)['code'] == 'id_invalid'

    check()
    assert shop.i.stop() == 0
    assert shop.i.command('verify')[0] == 0
    shop.i.start()  # now from disk
    check()
    shop.send(page(11, 'd1', 'u1'))  # from both
    expected['anon:d1']['users'][0] = user_row('user:u1', 3, 7, 11)
    expected['user:u1']['devices'][0] = device_row('anon:d1', 3, 7, 11)
    check()
    shop.i.kill()
    shop.i.start()
    check()


def test_unlink_is_durable_and_gives_the_events_back(shop):
    shop.send(page(1, 'd1'), page(2, 'd1', 'u1'), page(3, 'd1'), page(4, 'd1', 'u2'), page(5, 'd1'))
    assert (shop.times('user:u1'), shop.times('user:u2')) == ([1, 2, 3], [4, 5])
    answer, headers = shop.post('/v1/identity:unlink', {'anonymous_id': 'd1', 'user_id': 'u2', 'until': at(30)})
    assert answer == {'anonymous_id': 'd1', 'user_id': 'u2', 'until': shown(30)}
    shop.i.kill()
    shop.i.start()
    after = {'after': headers['x-waymark-position'], 'wait': '10s'}
    s, b = shop.i.profile('anon:d1', '/identity', **after)
    assert s == 200 and b['profile'] == 'user:u1', b
    shop.i.drain()
    assert (shop.times('user:u1'), shop.times('user:u2')) == ([1, 2, 3, 5], [4])
    assert shop.identity('anon:d1')['runs'] == [{'id': 'user:u1', 'from': None, 'to': None}]
    row = shop.identity('user:u2')['devices'][0]
    assert row == device_row('anon:d1', 4, linked=False, reason='unlinked', until=shown(30))
    assert shop.identity('user:u2')['ids'] == ['user:u2']
    shop.unlink('d1', 'u1')
    assert (shop.times('user:u1'), shop.times('user:u2'), shop.times('anon:d1')) == ([2], [4], [1, 3, 5])
    assert shop.identity('anon:d1')['profile'] == 'anon:d1'
    shop.send(page(31, 'd1', 'u2'))  # later evidence links again
    assert shop.times('user:u2') == [1, 3, 4, 5, 31]
    row = shop.identity('user:u2')['devices'][0]
    assert row == device_row('anon:d1', 4, 31, until=shown(30))
    assert shop.i.stop() == 0
    assert shop.i.command('verify')[0] == 0


def test_unlink_knows_nobody_and_takes_effect_later(shop):
    answer = shop.unlink('d1', 'u1', until=at(3))
    assert answer['until'] == shown(3)
    shop.send(page(1, 'd1'), page(2, 'd1', 'u1'))
    assert (shop.times('anon:d1'), shop.times('user:u1')) == ([1], [2])
    shop.send(page(4, 'd1', 'u1'))
    assert shop.times('user:u1') == [1, 2, 4]


def test_preview_says_what_then_happens(shop):
    shop.send(page(1, 'd1'), page(2, 'd1', 'u1'), page(3, 'd1'), page(4, 'd1', 'u2'), page(5, 'd1'), page(6, 'd9'))
    shop.order({'orderId': 'O1', 'status': 'created', 'timestamp': at(7), 'anonymousId': 'd9', 'total': 5})
    before = {p: shop.identity(p) for p in ('anon:d1', 'anon:d9', 'user:u1', 'user:u2')}
    p = shop.preview('unlink', 'd1', 'u2')
    assert p == {'events': 1, 'from': {'user:u2': 1}, 'to': {'user:u1': 1}, 'orders': 0, 'first': shown(5),
                 'last': shown(5), 'linked_after': False, 'shared_after': False}
    p = shop.preview('unlink', 'd1', 'u1', until=at(1))
    assert (p['events'], p['linked_after']) == (0, True)
    p = shop.preview('unlink', 'd1', 'nobody')
    assert (p['events'], p['linked_after']) == (0, False)
    p = shop.preview('link', 'd1', 'u3', time=at(1))
    assert (p['shared_after'], p['from'], p['to']) == (True, {'user:u1': 2, 'user:u2': 1}, {'anon:d1': 3})
    p = shop.preview('link', 'nobody', 'u1', time=at(1))
    assert (p['events'], p['first'], p['linked_after']) == (0, None, True)
    p = shop.preview('link', 'd9', 'u1', time=at(8))
    assert p == {'events': 2, 'from': {'anon:d9': 2}, 'to': {'user:u1': 2}, 'orders': 1, 'first': shown(6),
                 'last': shown(7), 'linked_after': True, 'shared_after': False}
    assert {p: shop.identity(p) for p in before} == before, 'a preview changed something'
    shop.unlink('d1', 'u2')
    shop.send(page(8, 'd9', 'u1'))
    assert (shop.times('user:u1'), shop.times('user:u2')) == ([1, 2, 3, 5, 6, 7, 8], [4])


def test_refused_links_say_why(shop):
    shop.send(page(1, 'd1', 'u1'), page(2, 'd2', 'u1'), page(3, 'd3', 'u1'), page(4, 'd3'),
              page(5, 's', 'u5'), page(6, 's', 'u6'), page(7, 's'))
    kept = shop.identity('user:u1')  # of what is beyond the cap the device's home knows
    assert (kept['ids'], kept['capped'], len(kept['devices'])) == (['user:u1', 'anon:d1', 'anon:d2'], True, 2)
    assert shop.identity('anon:d3')['users'] == [user_row('user:u1', 3, linked=False, reason='cap')]
    assert shop.times('anon:d3') == [4]
    shop.send(page(0, 'd4', 'u1'))  # earlier evidence than all
    assert shop.identity('user:u1')['ids'] == ['user:u1', 'anon:d1', 'anon:d4']
    assert shop.times('user:u6') == [6, 7]
    shop.send(page(8, 's', 'u7'))
    shared = shop.identity('anon:s')
    assert (shared['shared'], shared['reason'], shared['profile'], shared['runs']) == (True, 'users', 'anon:s', [])
    assert [u['reason'] for u in shared['users']] == ['shared'] * 3
    assert shop.identity('user:u6')['devices'] == [device_row('anon:s', 6, linked=False, reason='shared')]
    assert (shop.times('anon:s'), shop.times('user:u6')) == ([7], [6])
    assert shop.preview('unlink', 's', 'u7')['shared_after']  # a pair counts for the cap, unlinked or not
    assert figures(shop.i) == (1, 2, 0)
    shop.unlink('d1', 'u1')
    assert figures(shop.i) == (1, 2, 1)
    assert shop.i.stop() == 0
    code, out, err = shop.i.command('verify')  # counts them, too
    assert code == 0, out + err
    shop.i.start()
    assert figures(shop.i) == (1, 2, 1)
    shop.send(page(59, 'd1', 'u1', timestamp='2040-01-01T00:00:00Z'))  # at its receipt: after the unlink
    assert figures(shop.i) == (1, 2, 0)
    shop.i.kill()
    shop.i.start()
    shop.i.drain()
    assert figures(shop.i) == (1, 2, 0)


def test_links_by_orders_are_told_apart(shop):
    shop.order({'orderId': 'O1', 'status': 'created', 'timestamp': at(1), 'anonymousId': 'd1', 'total': 5},
               {'orderId': 'O1', 'status': 'paid', 'timestamp': at(2), 'userId': 'u1'})
    assert shop.identity('anon:d1')['users'] == [user_row('user:u1', 1, by_order=1)]
    assert shop.identity('user:u1')['devices'] == [device_row('anon:d1', 1, by_order=1)]


def test_what_is_refused(shop):
    def refused(path, body, code):
        assert shop.post(path, body, 400)[0]['code'] == code, body

    d, u = {'anonymous_id': 'd'}, {'user_id': 'u'}
    for bad in (b'{', b''):
        refused('/v1/identity:unlink', bad, 'json_invalid')
        refused('/v1/identity:preview', bad, 'json_invalid')
    for bad in ([], 'x', {**d, **u, 'untill': at(1)}, {**d, **u, 'until': 'soon'}, {**d, **u, 'until': 5}):
        refused('/v1/identity:unlink', bad, 'parameter_invalid')
        refused('/v1/identity:preview', {'unlink': bad}, 'parameter_invalid')
    for bad in (d, u, {}, {'anonymous_id': '', **u}, {'anonymous_id': 'x' * 257, **u}, {'anonymous_id': 'NULL', **u},
                {**d, 'user_id': 'undefined'}, {**d, 'user_id': ['u']}, {**d, 'user_id': None}, {**d, 'user_id': 1.5}):
        refused('/v1/identity:unlink', bad, 'id_invalid')
        refused('/v1/identity:preview', {'unlink': bad}, 'id_invalid')
        refused('/v1/identity:preview', {'link': {**bad, 'time': at(1)}}, 'id_invalid')
    for bad in ([], {}, {'link': {**d, **u, 'time': at(1)}, 'unlink': {**d, **u}}, {'link': {**d, **u}},
                {'link': {**d, **u, 'until': at(1)}}, {'other': {}}):
        refused('/v1/identity:preview', bad, 'parameter_invalid')
    assert shop.i.metrics()['waymark_log_appends_total']['by="command"'] == 0
    shop.unlink('order:O1', '77')
    shop.post('/v1/identity:unlink', {'anonymous_id': 12, 'user_id': 34})
    assert shop.i.metrics()['waymark_log_appends_total']['by="command"'] == 2
    lookup = {'Authorization': 'Bearer tk_test_lookup'}
    shop.post('/v1/identity:unlink', {**d, **u}, 403, lookup)
    shop.post('/v1/identity:preview', {'unlink': {**d, **u}}, 403, lookup)


def test_an_unlink_stands_in_the_audit_log(shop):
    shop.unlink('d1', 'u1')
    shop.preview('unlink', 'd1', 'u1')
    code, out, _ = shop.i.command('audit', '--json')
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [(r['kind'], r['route'], len(r['targets'])) for r in records][:1] == \
        [('identity', '/v1/identity:unlink', 2)]
    code, out, _ = shop.i.command('audit', '--json', '--profile', 'user:u1')
    assert '/v1/identity:unlink' in [json.loads(line)['route'] for line in out.splitlines()]


def test_the_commands(shop):
    shop.send(page(1, 'd1'), page(2, 'd1', 'u1'), page(3, 'd1', 'u2'))

    def waymark(*args, code=0):
        got, out, err = shop.i.command(*args)
        assert got == code, (args, out, err)
        return out if code == 0 else err

    assert json.loads(waymark('identity', 'anon:d1', '--json')) == shop.identity('anon:d1')
    text = waymark('identity', 'anon:d1')
    assert text.startswith('anon:d1 is user:u2, events without a user: 1\n') and 'had by user:u1' in text
    assert 'anon:d1' in waymark('identity', 'user:u1') and 'linked' in waymark('identity', 'user:u1')
    waymark('identity', 'user:nobody', code=4)
    waymark('identity', code=2)
    waymark('identity', 'user:\x1b[31m', code=4)
    assert 'would move: 1 events' in waymark('unlink', 'd1', 'u1', '--preview')
    assert 'from  user:u1  1' in waymark('unlink', 'anon:d1', 'user:u1', '--preview')
    assert shop.times('user:u1') == [1, 2]
    assert json.loads(waymark('unlink', 'd1', 'u1', '--until', at(2), '--json'))['until'] == shown(2)
    shop.i.drain()
    assert (shop.times('user:u1'), shop.times('user:u2')) == ([2], [1, 3])
    assert 'anon:d1 and user:u2 are unlinked up to ' in waymark('unlink', 'anon:d1', 'user:u2')
    waymark('unlink', 'd1', code=2)
    waymark('unlink', 'd1', 'u1', '--until', 'soon', code=1)
    assert shop.i.command('identity', 'anon:d1', env={'WAYMARK_TOKEN': 'wrong'})[0] == 1


# --- two profilers ------------------------------------------------------------------------------------------------------

@not_sanitized
def test_two_profilers_give_one_answer(kafka):
    with Cluster(kafka, profilers=2, partitions=4) as c:
        wait_served(c, by=c.profilers)
        devices, users = [f'd{i}' for i in range(8)], [f'u{i}' for i in range(8)]
        events = [page(2 * i, d) for i, d in enumerate(devices)]
        events += [page(2 * i + 1, d, u) for i, (d, u) in enumerate(zip(devices, users))]
        s, _, b = c.collectors[0].post('/v1/batch', {'batch': events}, key=SERVER)
        assert s == 200 and not b['rejected']
        c.drain()

        def everywhere(path, body=None, status=200):
            def answers():
                got = [p.request('POST' if body else 'GET', path, body and json.dumps(body).encode()) for p in c.profilers]
                return None if any(s == 503 for s, _, _ in got) else [(s, json.loads(b)) for s, _, b in got]
            first, second = wait_until(answers, 30, path)
            assert first == second and first[0] == status, (path, first, second)
            return first[1]

        def identity(profile, status=200):
            return everywhere(f'/v1/profiles/{urllib.parse.quote(profile, safe="")}/identity', status=status)

        def settled():
            return all(c.profile(f'anon:{d}', '/identity')[1]['profile'] == f'user:{u}' and
                       c.profile(f'user:{u}', '/identity')[1]['ids'] == [f'user:{u}', f'anon:{d}']
                       for d, u in zip(devices, users))
        wait_until(settled, 30, 'the links')
        elsewhere = 0
        for i, (d, u) in enumerate(zip(devices, users)):
            assert identity(f'anon:{d}')['users'] == [user_row(f'user:{u}', 2 * i + 1)]
            row = identity(f'user:{u}')['devices'][0]
            if row.get('elsewhere'):
                elsewhere += 1
                assert row == {'id': f'anon:{d}', 'linked': True, 'reason': None, 'first_evidence': shown(2 * i + 1),
                               'elsewhere': True}
            else:
                assert row == device_row(f'anon:{d}', 2 * i + 1)
            p = everywhere('/v1/identity:preview', {'unlink': {'anonymous_id': d, 'user_id': u}})
            assert (p['events'], p['from'], p['to']) == (1, {f'user:{u}': 1}, {f'anon:{d}': 1})
        identity('user:nobody', 404)
        everywhere('/v1/identity:preview', {'unlink': {'anonymous_id': 'd0'}}, 400)
        owners = {tuple(sorted(p.metrics()['waymark_state_offset'])) for p in c.profilers}
        assert len(owners) == 2, 'one profiler has everything'
        for i, (d, u) in enumerate(zip(devices, users)):  # each by either profiler
            s, h, b = c.profilers[i % 2].well(
                'POST', '/v1/identity:unlink', json.dumps({'anonymous_id': d, 'user_id': u}).encode())
            assert s == 200, b
            s, b = c.profile(f'anon:{d}', '/identity', by=c.profilers[(i + 1) % 2], after=h['x-waymark-position'],
                             wait='10s')
            assert s == 200 and b['profile'] == f'anon:{d}', b
            assert identity(f'user:{u}')['ids'] == [f'user:{u}']
        c.drain()
        for p in c.programs():
            assert p.stop() == 0
        for p in c.profilers:
            assert p.command('verify')[0] == 0


@not_sanitized
def test_a_log_that_does_not_answer_is_no_unlink(kafka):
    with Cluster(kafka, profilers=1, partitions=1) as c:
        wait_served(c, by=c.profilers)
        body = json.dumps({'anonymous_id': 'd1', 'user_id': 'u1'}).encode()
        kafka.pause()
        try:
            began = time.monotonic()
            s, h, b = c.profilers[0].request('POST', '/v1/identity:unlink', body)
            took = time.monotonic() - began
        finally:
            kafka.resume()
        assert (s, json.loads(b)['code']) == (503, 'unavailable'), (s, b)
        assert 'x-waymark-position' not in h and h['retry-after'] == '1'
        assert took < 8, took

        def taken():
            return c.profilers[0].request('POST', '/v1/identity:unlink', body)[0] == 200
        wait_until(taken, 30, 'the unlink')
        c.drain()
        assert c.profilers[0].stop() == 0
