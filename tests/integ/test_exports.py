"""Exports from outside: the networks' hashes, free lists, who is left out and why, deltas, campaigns, erasure, restarts."""
import csv
import hashlib
import io
import json
import math
import os
import random
import time

import pytest

from support.instance import SERVER, Instance, wait_until

PEOPLE = {
    'ann': ({'email': ' Ann.Bee+shop@Gmail.com', 'phone': '020 7946 0958', 'firstName': 'Mrs. Ann', 'lastName': 'Bee',
             'country': 'United Kingdom', 'postal_code': 'sw1a 1aa', 'city': 'London', 'gender': 'female',
             'birthday': '1990-05-01', 'nickname': '=cmd|x'}, True),
    'bob': ({'email': 'john_smith@gmail.com', 'phone': '+1 650 555 1212', 'firstName': 'Bob', 'nickname': 'a "b", c'}, True),
    'cat': ({'email': 'cat@x.example'}, False),
    'dan': ({'email': 'dan@x.example'}, None),
    'eve': ({'nickname': 'no address'}, True),
    'fay': ({'email': 'fay@x.example', 'plan': 'blocked'}, True),
    'gus': ({'email': '62A14E44F765419D10FEA99367361A727C12365E2520F32218D505ED9AA0F62F'}, True),
}
CONFIG = '  country: GB\n'


def sha(s):
    return hashlib.sha256(s.encode()).hexdigest()


def state(shop, user, traits, consent=None, **more):
    body = {'traits': traits, **({} if consent is None else {'consent': {'marketing': consent}}), **more}
    s, _, b = shop.request('p', 'PUT', f'/v1/profiles/user:{user}/traits', json.dumps(body))
    assert s == 200, b
    return json.loads(b)['position']


def ordered(shop, user, order, total, at=None):
    s, _, b = shop.post('/v1/orders', {'orderId': order, 'status': 'paid', 'userId': user, 'currency': 'GBP', 'total': total,
                                       **({'timestamp': at} if at else {})}, SERVER)
    assert s == 200 and not b['rejected'], b


def call(shop, method, path, body=None, headers=None):
    s, h, b = shop.request('p', method, path, None if body is None else json.dumps(body), headers)
    return s, (json.loads(b) if b[:1] in b'{[' and b else b)


def audience(shop, name, rule):
    s, b = call(shop, 'PUT', f'/v1/audiences/{name}', {'rule': rule})
    assert s in (200, 201), b


def members(shop, name):
    s, b = call(shop, 'GET', f'/v1/audiences/{name}/members?limit=1000')
    return sorted(b['members']) if s == 200 else None


def settled(shop, name, users):
    want = sorted('user:' + u for u in users)
    wait_until(lambda: members(shop, name) == want, 20, f'{name} to be {want}, it is {members(shop, name)}')


def export(shop, name, **body):
    s, b = call(shop, 'POST', f'/v1/audiences/{name}/exports', body)
    assert s == 201, b
    return finished(shop, b['id'])


def finished(shop, i):
    def over():
        s, b = call(shop, 'GET', f'/v1/exports/{i}')
        return s == 200 and b['state'] != 'running' and b
    e = wait_until(over, 60, f'export {i}')
    assert e['state'] == 'done', e
    return e


def fetch(shop, e):
    s, h, b = shop.request('p', 'GET', f'/v1/exports/{e["id"]}/file')
    assert s == 200, b
    assert len(b) == e['manifest']['bytes'] and hashlib.sha256(b).hexdigest() == e['manifest']['sha256']
    return b.decode()


def rows(text):
    return list(csv.reader(io.StringIO(text, newline='')))


def records(text):
    """Rows by the name of their column; of several of one name a list."""
    head, *body = rows(text)
    out = []
    for row in body:
        assert len(row) == len(head)
        r = {}
        for k, v in zip(head, row):
            r.setdefault(k, []).append(v)
        out.append(r)
    return out


@pytest.fixture(scope='module')
def shop():
    with Instance(more_profiler=CONFIG) as i:
        for user, (traits, consent) in PEOPLE.items():
            ordered(i, user, 'o-' + user, 10.5)
            state(i, user, traits, consent)
        audience(i, 'all', 'orders >= 1')
        audience(i, 'blocked', 'traits.plan == "blocked"')
        i.drain()
        settled(i, 'all', PEOPLE)
        settled(i, 'blocked', ['fay'])
        yield i


def test_google(shop):
    e = export(shop, 'all', format='google', suppress=['blocked'])
    got = records(fetch(shop, e))
    assert rows(fetch(shop, e))[0] == ['Email'] * 3 + ['Phone'] * 2 + ['First Name', 'Last Name', 'Country', 'Zip']
    by = {r['Email'][0]: r for r in got}
    ann = by[sha('ann.bee+shop@gmail.com')]
    assert ann['Email'][1:] == [sha('annbee@gmail.com'), ''] and ann['Phone'] == [sha('+442079460958'), '']
    assert [ann[k][0] for k in ('First Name', 'Last Name', 'Country', 'Zip')] == [sha('ann'), sha('bee'), 'GB', 'SW1A1AA']
    bob = by['62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f']
    assert sum(r['Email'][0] == bob['Email'][0] for r in got) == 2          # Bob's, and Gus's that was hashed already
    assert any(r['Phone'][0] == sha('+16505551212') for r in got)
    assert all(r['First Name'] == [''] for r in got if r is not ann)         # an address needs all four
    m = e['manifest']
    assert m['rows'] == len(got) == 3 and m['people'] == 7 and m['purpose'] == 'marketing' and m['by'] == 'test'
    assert m['excluded'] == {'no_consent': 2, 'suppressed': 1, 'no_identifier': 1, 'capped': 0, 'control_group': 0,
                             'held_out': 0}
    assert m['rows'] + sum(m['excluded'].values()) == m['people']
    assert m['identifiers'] == {'email': 3, 'phone': 2, 'address': 1, 'device': 0}
    assert m['rule'] == 'orders >= 1' and not m['partial'] and m['audience'] == 'all'


def test_meta(shop):
    e = export(shop, 'all', format='meta', suppress=['blocked'], value=True)
    got = records(fetch(shop, e))
    ann = next(r for r in got if r['email'][0] == sha('ann.bee+shop@gmail.com'))
    assert ann['phone'] == [sha('442079460958'), '', ''] and ann['madid'] == [''] and ann['value'] == ['10.5']
    assert {k: ann[k][0] for k in ('fn', 'ln', 'zip', 'ct', 'country', 'doby', 'gen', 'st')} == {
        'fn': sha('ann'), 'ln': sha('bee'), 'zip': sha('sw1a1'), 'ct': sha('london'), 'country': sha('gb'),
        'doby': sha('1990'), 'gen': sha('f'), 'st': ''}
    assert any(r['phone'][0] == 'e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176' for r in got)


def test_free_columns(shop):
    columns = ['id', 'email', 'phone', 'traits.nickname', 'facts.spent', 'spent * 2', 'consent.marketing', 'tags.lifecycle',
               'first_order_at']
    e = export(shop, 'all', format='csv', columns=columns)
    text = fetch(shop, e)
    got = {r['id'][0]: {k: v[0] for k, v in r.items()} for r in records(text)}
    assert set(got) == {'user:' + u for u, (_, c) in PEOPLE.items() if c}
    ann, bob = got['user:ann'], got['user:bob']
    assert ann['traits.nickname'] == "'=cmd|x" and '"\'=cmd|x"' in text      # no formula
    assert bob['traits.nickname'] == 'a "b", c' and bob['phone'] == '+16505551212' and bob['facts.spent'] == '10.5'
    assert ann['spent * 2'] == '21' and ann['consent.marketing'] == 'true' and ann['first_order_at'][:2] == '20'
    assert text.endswith('\r\n')
    e = export(shop, 'all', format='ndjson', columns=columns, channel='email')
    lines = [json.loads(x) for x in fetch(shop, e).splitlines()]
    assert {x['id'] for x in lines} == set(got) - {'user:eve'} and e['manifest']['excluded']['no_identifier'] == 1
    assert all(list(x) == columns for x in lines)
    assert next(x for x in lines if x['id'] == 'user:ann')['traits.nickname'] == '=cmd|x'
    assert next(x for x in lines if x['id'] == 'user:fay')['phone'] is None


def test_listed_people_are_left_out(shop):
    e = export(shop, 'all', format='csv', suppress_list=['user:bob', 'FAY@x.example', '+44 20 7946 0958'])
    assert e['manifest']['excluded']['suppressed'] == 3 and e['manifest']['rows'] == 2
    assert 'suppress_list' not in json.dumps(e)
    for name in os.listdir(os.path.join(shop.dir, 'data', 'exports')):
        path = os.path.join(shop.dir, 'data', 'exports', name)
        assert os.stat(path).st_mode & 0o077 == 0, name
        if name.endswith('.json'):
            assert b'fay@' not in open(path, 'rb').read()


@pytest.mark.parametrize('body, code', [
    ({}, 'parameter_invalid'), ({'format': 'xml'}, 'parameter_invalid'), ({'format': 'csv', 'colums': ['id']}, 'parameter_invalid'),
    ({'format': 'csv', 'columns': []}, 'parameter_invalid'), ({'format': 'csv', 'columns': ['spnt']}, 'parameter_invalid'),
    ({'format': 'csv', 'columns': ['count("page")']}, 'parameter_invalid'),
    ({'format': 'google', 'columns': ['id']}, 'parameter_invalid'), ({'format': 'csv', 'hold_out': 0.5}, 'parameter_invalid'),
    ({'format': 'csv', 'campaign': 'a b'}, 'parameter_invalid'), ({'format': 'csv', 'hold_out': 1, 'campaign': 'c'}, 'parameter_invalid'),
    ({'format': 'csv', 'suppress': ['nobody-knows']}, 'parameter_invalid'),
    ({'format': 'csv', 'cap': {'times': 1, 'per_days': 7}}, 'parameter_invalid'),
    ({'format': 'csv', 'suppress_list': ['what?']}, 'parameter_invalid'), ({'format': 'csv', 'value': True}, 'parameter_invalid'),
])
def test_mistakes_are_told(shop, body, code):
    s, b = call(shop, 'POST', '/v1/audiences/all/exports', body)
    assert (s, b.get('code')) == (400, code), b


def test_no_such_audience(shop):
    assert call(shop, 'POST', '/v1/audiences/none/exports', {'format': 'csv'})[0] == 404


def deltas(shop, name, **body):
    e = export(shop, name, delta=True, **body)
    return e, records(fetch(shop, e))


def test_delta(shop):
    for u in ('d1', 'd2', 'd3', 'd4'):
        ordered(shop, u, 'o-' + u, 5)
        state(shop, u, {'email': f'{u}@x.example', 'plan': 'delta'}, True)
    audience(shop, 'delta', 'traits.plan == "delta"')
    settled(shop, 'delta', ['d1', 'd2', 'd3', 'd4'])
    e, got = deltas(shop, 'delta', format='google')
    assert e['manifest']['added'] == 4 and {r['action'][0] for r in got} == {'add'}
    e, got = deltas(shop, 'delta', format='google')
    assert (e['manifest']['rows'], e['manifest']['unchanged'], got) == (0, 4, [])
    free, _ = deltas(shop, 'delta', format='csv', columns=['id', 'email'])       # its own chain
    assert free['manifest']['added'] == 4
    state(shop, 'd1', {'plan': 'other'})                                    # leaves
    state(shop, 'd2', {}, False)                                            # withdraws
    state(shop, 'd3', {'email': 'new@x.example'})                           # another address
    ordered(shop, 'd5', 'o-d5', 5)
    state(shop, 'd5', {'email': 'd5@x.example', 'plan': 'delta'}, True)     # enters
    settled(shop, 'delta', ['d2', 'd3', 'd4', 'd5'])
    e, got = deltas(shop, 'delta', format='google')
    said = [(r['action'][0], r['Email'][0]) for r in got]
    assert sorted(said) == sorted([('remove', sha('d1@x.example')), ('remove', sha('d2@x.example')),
                                   ('remove', sha('d3@x.example')), ('add', sha('new@x.example')), ('add', sha('d5@x.example'))])
    assert [a for a, _ in said] == ['remove'] * 3 + ['add'] * 2             # removals first
    m = e['manifest']
    assert (m['added'], m['removed'], m['unchanged']) == (2, 3, 1)
    assert m['removals']['no_consent'] == 1 and m['removals']['left'] == 1 and m['removals']['identifiers_changed'] == 1
    free, got = deltas(shop, 'delta', format='csv', columns=['id', 'email'])
    by = {r['key'][0]: r for r in got}
    assert len(by) == len(got) and sorted((r['action'][0], r['email'][0]) for r in got) == [
        ('add', 'd5@x.example'), ('add', 'new@x.example'), ('remove', ''), ('remove', '')]
    assert deltas(shop, 'delta', format='google')[0]['manifest']['rows'] == 0


def test_what_nobody_fetched_is_not_told(shop):
    """A file that went before anybody took it is not what the next delta begins from."""
    audience(shop, 'unread', 'traits.plan == "unread"')
    ordered(shop, 'u1', 'o-u1', 5)
    state(shop, 'u1', {'email': 'u1@x.example', 'plan': 'unread'}, True)
    settled(shop, 'unread', ['u1'])
    first = export(shop, 'unread', format='google', delta=True)
    ordered(shop, 'u2', 'o-u2', 5)
    shop.drain()
    s, b = call(shop, 'DELETE', '/v1/profiles/user:u2')
    assert s in (200, 202), b
    wait_until(lambda: call(shop, 'GET', f'/v1/exports/{first["id"]}')[1]['state'] == 'erased', 60, 'the file to go')
    assert shop.request('p', 'GET', f'/v1/exports/{first["id"]}/file')[0] in (404, 410)
    e, got = deltas(shop, 'unread', format='google')
    assert [(r['action'][0], r['Email'][0]) for r in got] == [('add', sha('u1@x.example'))]


def test_erasure_takes_files_and_tells_removals(shop):
    for u in ('e1', 'e2'):
        ordered(shop, u, 'o-' + u, 5)
        state(shop, u, {'email': f'{u}@secret.example', 'plan': 'erase'}, True)
    audience(shop, 'erase', 'traits.plan == "erase"')
    settled(shop, 'erase', ['e1', 'e2'])
    e, _ = deltas(shop, 'erase', format='meta')
    plain = export(shop, 'erase', format='csv', columns=['id', 'email'])
    fetch(shop, plain)
    s, b = call(shop, 'DELETE', '/v1/profiles/user:e1')
    assert s in (200, 202), b
    settled(shop, 'erase', ['e2'])
    wait_until(lambda: call(shop, 'GET', f'/v1/exports/{plain["id"]}')[1]['state'] == 'erased', 60, 'the file to go')
    folder = os.path.join(shop.dir, 'data', 'exports')
    for name in os.listdir(folder):
        data = open(os.path.join(folder, name), 'rb').read()
        assert b'e1@secret' not in data and b'user:e1' not in data, name
    e, got = deltas(shop, 'erase', format='meta')
    assert [(r['action'][0], r['email'][0]) for r in got] == [('remove', sha('e1@secret.example'))]
    e, got = deltas(shop, 'erase', format='meta')
    assert got == []
    for name in os.listdir(folder):
        if name.startswith(e['id']) or name.endswith('.sent'):
            assert sha('e1@secret.example').encode() not in open(os.path.join(folder, name), 'rb').read(), name


def lift_of_shares(a, m, b, n, z=1.959963984540054):
    def wilson(x, k):
        p = x / k
        mid, reach = p + z * z / 2 / k, z * math.sqrt(p * (1 - p) / k + z * z / 4 / k / k)
        return p, (mid - reach) / (1 + z * z / k), (mid + reach) / (1 + z * z / k)
    p1, l1, u1 = wilson(a, m)
    p2, l2, u2 = wilson(b, n)
    return p1 - p2, p1 - p2 - math.hypot(p1 - l1, u2 - p2), p1 - p2 + math.hypot(u1 - p1, p2 - l2)


def test_campaign(shop):
    users = [f'c{i}' for i in range(120)]
    for u in users:
        ordered(shop, u, 'o-' + u, 5, '2026-01-01T00:00:00Z')
        state(shop, u, {'email': f'{u}@x.example', 'plan': 'campaign'}, True)
    audience(shop, 'campaign', 'traits.plan == "campaign"')
    settled(shop, 'campaign', users)
    e = export(shop, 'campaign', format='google', campaign='spring', hold_out=0.3)
    m = e['manifest']
    assert m['assigned'] == 120 and m['rows'] + m['excluded']['held_out'] == 120 and 15 <= m['excluded']['held_out'] <= 60
    held = {u for u in users if int.from_bytes(hashlib.sha256(b'waymark hold-out\0spring\0user:' + u.encode()).digest()[:8], 'big')
            * 10**6 < 300000 << 64}
    taken = {r['Email'][0] for r in records(fetch(shop, e))}
    assert taken == {sha(f'{u}@x.example') for u in users if u not in held}
    audience(shop, 'taken', 'exported("spring")')
    settled(shop, 'taken', [u for u in users if u not in held])
    # the same people stay in their groups, whatever the share is, and nobody is marked twice
    again = export(shop, 'campaign', format='google', campaign='spring', hold_out=0.9)
    assert again['manifest']['rows'] == m['rows'] and again['manifest']['assigned'] == 0
    other = export(shop, 'campaign', format='csv', campaign='summer', hold_out=0.3)
    out = {'user:' + u for u in users} - {r['id'][0] for r in records(fetch(shop, other))}
    assert out != {'user:' + u for u in held}
    # a cap of one campaign in 30 days, by the channel of ads: all that were in spring are left out
    capped = export(shop, 'campaign', format='google', campaign='autumn', cap={'times': 1, 'per_days': 30})
    assert capped['manifest']['excluded']['capped'] == m['rows']
    # what it earned
    r = random.Random(1)
    spent = {u: 0 for u in users}
    time.sleep(0.01)
    for u in users:
        if r.random() < (0.1 if u in held else 0.4):
            spent[u] = round(r.uniform(5, 50), 2)
            ordered(shop, u, 'late-' + u, spent[u])
    shop.drain()
    s, b = call(shop, 'GET', '/v1/campaigns/spring/report')
    assert s == 200, b
    groups = [[u for u in users if u not in held], [u for u in users if u in held]]
    bought = [sum(spent[u] > 0 for u in g) for g in groups]
    assert b['reach'] == {'exported': len(groups[0]), 'held_out': len(groups[1])} and b['days'] == 14
    c = b['conversions']
    assert (c['exported'], c['held_out']) == tuple(bought)
    d, low, high = lift_of_shares(bought[0], len(groups[0]), bought[1], len(groups[1]))
    assert c['lift'] == pytest.approx(d) and c['interval'] == pytest.approx([low, high])
    means = [sum(spent[u] for u in g) / len(g) for g in groups]
    var = [sum((spent[u] - m) ** 2 for u in g) / (len(g) - 1) for g, m in zip(groups, means)]
    a = b['amount']
    assert a['lift'] == pytest.approx(means[0] - means[1])
    assert float(a['exported']) == pytest.approx(sum(spent[u] for u in groups[0]))
    se2 = [v / len(g) for v, g in zip(var, groups)]
    reach = (a['interval'][1] - a['interval'][0]) / 2 / math.sqrt(sum(se2))
    assert 1.96 < reach < 2.05                                             # Student's t of these degrees of freedom
    assert len(b['by_day']) == 14 and b['by_day'][0]['exported']['conversions'] == bought[0]
    assert [x['exported']['people'] for x in b['by_assignment']] == [len(groups[0])]
    assert b['days_not_over'] == b['reach'] and not b['partial']
    assert call(shop, 'GET', '/v1/campaigns/never/report')[0] == 404


def test_control_group_and_restart():
    with Instance(more_profiler=CONFIG + '  control_group: 50\n') as i:
        users = [f'k{n}' for n in range(60)]
        for u in users:
            ordered(i, u, 'o-' + u, 5)
            state(i, u, {'email': f'{u}@x.example'}, True)
        audience(i, 'all', 'orders >= 1')
        settled(i, 'all', users)
        one = export(i, 'all', format='csv', campaign='a')
        two = export(i, 'all', format='csv', campaign='b')
        assert fetch(i, one) == fetch(i, two) and 15 <= one['manifest']['excluded']['control_group'] <= 45
        delta, got = deltas(i, 'all', format='meta')
        assert got
        i.kill()
        folder = os.path.join(i.dir, 'data', 'exports')
        rest = os.path.join(folder, '.ex_00000000000deadbeef.all')
        open(rest, 'w').close()
        # one that was being made when the program ended
        record = json.load(open(os.path.join(folder, one['id'] + '.json')))
        record.update(state='running', request={'format': 'csv', 'campaign': 'a'}, manifest=None, ended_at=0)
        json.dump(record, open(os.path.join(folder, one['id'] + '.json'), 'w'))
        i.start()
        assert not os.path.exists(rest)
        # made anew, the same people; their order is that of the state, which had nothing on disk and was made anew, too
        assert sorted(fetch(i, finished(i, one['id'])).splitlines()) == sorted(fetch(i, two).splitlines())
        assert deltas(i, 'all', format='meta')[1] == []                    # what was told is known
        s, b = call(i, 'GET', '/v1/exports')
        assert s == 200 and [x['id'] for x in b['exports']] == sorted((x['id'] for x in b['exports']), reverse=True)


def test_who_may(shop):
    assert call(shop, 'POST', '/v1/audiences/all/exports', {'format': 'csv'}, {'Authorization': 'Bearer tk_test_lookup'})[0] == 403
    assert call(shop, 'GET', '/v1/exports', headers={'Authorization': 'Bearer tk_test_lookup'})[0] == 403


def test_metrics(shop):
    before = shop.metrics()
    e = export(shop, 'all', format='csv')
    m = shop.metrics()

    def rise(name, labels=''):
        return m[name][labels] - before[name][labels]
    assert rise('waymark_exports_total', 'outcome="made"') == 1 and rise('waymark_exports_total', 'outcome="failed"') == 0
    assert rise('waymark_export_rows_total') == e['manifest']['rows'] and rise('waymark_export_bytes_total') == e['manifest']['bytes']
    assert rise('waymark_export_kept_bytes') == e['manifest']['bytes']
    assert m['waymark_export_running'][''] == 0 and m['waymark_export_waiting'][''] == 0


def test_personal_columns_need_pii():
    key = hashlib.sha256(b'tk_export').hexdigest()
    more = CONFIG + '  exports_keep: 1m\n'
    with Instance(more_profiler=more) as i:
        with open(i.config) as f:
            text = f.read()
        with open(i.config, 'w') as f:
            f.write(text + f'    - {{name: mailer, sha256: {key}, scopes: [export, audience]}}\n')
        i.kill()
        i.start()
        mailer = {'Authorization': 'Bearer tk_export'}
        ordered(i, 'p', 'o-p', 5)
        state(i, 'p', {'email': 'p@x.example', 'plan': 'gold'}, True)
        audience(i, 'all', 'orders >= 1')
        settled(i, 'all', ['p'])
        for columns in (['email'], ['id', 'traits.email'], ['phone'], ['traits.first_name == "x"']):
            s, b = call(i, 'POST', '/v1/audiences/all/exports', {'format': 'csv', 'columns': columns}, mailer)
            assert s == 403, (columns, b)
        for body in ({'format': 'csv', 'columns': ['id', 'traits.plan']}, {'format': 'google'}):
            assert call(i, 'POST', '/v1/audiences/all/exports', body, mailer)[0] == 201
