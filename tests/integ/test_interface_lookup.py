"""The look-up API as the reference words it: pages of a path, many profiles, errors, reading one's own writes,
versions."""
import base64
import json
import random
import statistics
import threading
import time

import pytest

from support.instance import PATIENCE, TOKEN, Instance, wait_until
from support.talk import DAY, MINUTE, Talk, at, column, fresh, order, page, track, talking


@pytest.fixture(scope='module')
def talk():
    with talking(Instance()) as t:
        yield t


@pytest.fixture(scope='module')
def long(talk):
    """A path of 2,500 events, a minute apart, in which each third shares its time with the one before."""
    u = 'long'
    times = [(n - (n % 3 == 2)) * MINUTE for n in range(2500)]
    talk.beacon(*(page(t, f'l{n}', userId=u) for n, t in enumerate(times)))
    return 'user:' + u, times


def pages(talk, pid, **query):
    cursor, out = None, []
    while True:
        b = talk.profile(pid, '/path', **query, **({'cursor': cursor} if cursor else {}))
        out.append(column(b['events'], 'message_id'))
        cursor = b['next']
        if cursor is None:
            return out


def flat(lists):
    return [x for part in lists for x in part]


# --- pages of a path ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('limit', [1000, 999, 7, 1])
@pytest.mark.parametrize('direction', ['asc', 'desc', None])
def test_pages(talk, long, limit, direction):
    pid, times = long
    span = {} if limit > 7 else {'from': at(60 * MINUTE), 'to': at(90 * MINUTE)}
    got = pages(talk, pid, limit=limit, **span, **({'order': direction} if direction else {}))
    want = [f'l{n}' for n, t in enumerate(times) if not span or 60 * MINUTE <= t < 90 * MINUTE]
    assert flat(got) == (want[::-1] if direction == 'desc' else want)
    assert all(len(p) == limit for p in got[:-1]) and 0 < len(got[-1]) <= limit


def test_the_standard_page_is_a_hundred(talk, long):
    b = talk.profile(long[0], '/path')
    assert len(b['events']) == 100 and b['next']
    assert column(b['events'], 'message_id') == [f'l{n}' for n in range(100)]
    b = talk.profile(long[0], '/path', order='desc', limit=2)
    assert column(b['events'], 'message_id') == ['l2499', 'l2498']


@pytest.mark.parametrize('start, end, want', [(0, 10, 10), (5, 5, 0), (9, 3, 0), (-100, -50, 0), (3000, 4000, 0),
                                              (None, 3, 3), (2497, None, 3)])
def test_from_and_to(talk, long, start, end, want):
    span = {k: at(v * MINUTE) for k, v in (('from', start), ('to', end)) if v is not None}
    assert len(talk.path(long[0], **span)) == want
    b = talk.profile(long[0], '/path', limit=max(want, 1), **span)
    assert len(b['events']) == want and b['next'] is None  # no empty page behind


def test_from_with_an_offset_and_milliseconds(talk, long):
    t = at(60 * MINUTE)
    shifted = t[:11] + '03' + t[13:-1] + '+02:00'  # 01:00Z is 03:00+02:00
    assert talk.path(long[0], **{'from': shifted})[0]['time'] == t
    assert talk.path(long[0], **{'from': at(60 * MINUTE + 1)})[0]['time'] == at(61 * MINUTE)


def test_a_page_is_no_other_session_than_the_whole(talk):
    u = fresh('u')
    talk.beacon(*(page(n * 20 * MINUTE * (1 + n % 3), f'{u}{n}', userId=u, properties={'url': f'https://s/{n}'})
                  for n in range(30)))
    whole = talk.path('user:' + u)
    for limit in (1, 4):
        cursor, got = None, []
        while True:
            b = talk.profile('user:' + u, '/path', limit=limit, **({'cursor': cursor} if cursor else {}))
            got += b['events']
            cursor = b['next']
            if not cursor:
                break
        assert got == whole
    first = column(whole, 'time').index(whole[10]['time'])
    assert talk.path('user:' + u, **{'from': whole[10]['time']}) == whole[first:]


@pytest.mark.parametrize('direction', ['asc', 'desc'])
def test_paging_while_events_arrive(talk, direction):
    """What was there at the start comes exactly once and in order, whatever arrives before, between and behind."""
    u = fresh('u')
    pid = 'user:' + u
    r = random.Random(7)
    talk.beacon(*(page(n * 1000, f'old{n}', userId=u) for n in range(300)))
    cursor, got = None, []
    while True:
        b = talk.profile(pid, '/path', order=direction, limit=17, **({'cursor': cursor} if cursor else {}))
        got += [(e['time'], e['message_id']) for e in b['events']]
        cursor = b['next']
        if not cursor:
            break
        talk.beacon(*(page(r.randrange(-5000, 305_000), fresh('new'), userId=u) for _ in range(9)))
    old = [m for _, m in got if m.startswith('old')]
    want = [f'old{n}' for n in range(300)]
    assert old == (want if direction == 'asc' else want[::-1])
    assert len(set(got)) == len(got) and [t for t, _ in got] == sorted((t for t, _ in got), reverse=direction == 'desc')


def test_a_cursor_whose_event_got_an_earlier_time(talk):
    u = fresh('u')
    talk.beacon(*(page(n * 1000, f'{u}.{n}', userId=u) for n in range(10, 20)))
    b = talk.profile('user:' + u, '/path', limit=5)
    talk.beacon(page(1, f'{u}.14', userId=u))  # the last one shown moves to the front
    got = column(talk.profile('user:' + u, '/path', cursor=b['next'])['events'], 'message_id')
    assert got == [f'{u}.{n}' for n in range(15, 20)]


def test_a_cursor_keeps_the_range(talk, long):
    b = talk.profile(long[0], '/path', limit=3, order='desc', **{'from': at(10 * MINUTE), 'to': at(20 * MINUTE)})
    rest = talk.profile(long[0], '/path', cursor=b['next'])
    # l20 is of minute 19, l11 of minute 10
    assert column(b['events'] + rest['events'], 'message_id') == [f'l{n}' for n in range(20, 9, -1)]


@pytest.mark.parametrize('query, code',
                         [({'limit': 0}, 'parameter_invalid'), ({'limit': 1001}, 'parameter_invalid'),
                          ({'limit': -1}, 'parameter_invalid'), ({'limit': 'ten'}, 'parameter_invalid'),
                          ({'limit': '1e2'}, 'parameter_invalid'),
                          ({'limit': '99999999999999999999'}, 'parameter_invalid'),
                          ({'order': 'up'}, 'parameter_invalid'), ({'order': 'ASC'}, 'parameter_invalid'),
                          ({'from': 'yesterday'}, 'parameter_invalid'),
                          ({'to': '2026-02-30T00:00:00Z'}, 'parameter_invalid'), ({'as_of': 'x'}, 'parameter_invalid'),
                          ({'cursor': 'x'}, 'cursor_invalid'), ({'cursor': 'A' * 5000}, 'cursor_invalid'),
                          ({'cursor': base64.b64encode(b'\0' * 64).decode()}, 'cursor_invalid'),
                          ({'cursor': '%00'}, 'cursor_invalid'), ({'wait': '11s'}, 'parameter_invalid'),
                          ({'wait': 'long'}, 'parameter_invalid'), ({'wait': '-1s'}, 'parameter_invalid'),
                          ({'after': 'x'}, 'parameter_invalid'), ({'after': '0'}, 'parameter_invalid'),
                          ({'after': '0:x'}, 'parameter_invalid'), ({'after': '99:1'}, 'parameter_invalid'),
                          ({'after': '0:1,'}, 'parameter_invalid'), ({'after': '0:-1'}, 'parameter_invalid'),
                          ({'after': '0:99999999999999999999'}, 'parameter_invalid'), ])
def test_bad_parameters(talk, long, query, code):
    s, b = talk.inst.profile(long[0], '/path', **query)
    assert (s, b['code']) == (400, code) and b['message'] and set(b) == {'code', 'message'}, (s, b)


def test_a_cursor_is_of_one_path_and_order(talk, long):
    u = fresh('u')
    talk.beacon(page(0, userId=u))
    cursor = talk.profile(long[0], '/path', limit=5)['next']
    for pid, more in ((f'user:{u}', {}), (long[0], {'order': 'desc'}), (long[0], {'cursor': cursor[:-1]}),
                      (long[0], {'cursor': cursor + 'A'})):
        s, b = talk.inst.profile(pid, '/path', **{'cursor': cursor, **more})
        assert (s, b['code']) == (400, 'cursor_invalid')


def test_a_huge_page_of_huge_events(talk):
    u = fresh('u')
    for n in range(0, 40, 8):
        talk.server(*(track(k, 'E', f'{u}.{k}', userId=u, properties={'blob': chr(97 + k % 26) * 900_000})
                      for k in range(n, n + 8)))
    got = pages(talk, 'user:' + u, limit=1000)
    assert flat(got) == [f'{u}.{k}' for k in range(40)]


def test_fields_without_a_value_are_left_out(talk):
    u = fresh('u')
    talk.server({'type': 'identify', 'userId': u, 'messageId': 'm', 'timestamp': at(0)})
    e, = talk.path('user:' + u)
    assert e.keys() == {'message_id', 'type', 'time', 'received_at', 'source'} and e['source'] == 'backend'


# --- many profiles --------------------------------------------------------------------------------------------


def lookup(talk, body, status=200, **headers):
    s, _, b = talk.inst.request('p', 'POST', '/v1/profiles:lookup',
                                body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
    assert s == status, (s, b[:300])
    return json.loads(b)


def test_many_profiles(talk):
    u = fresh('u')
    talk.beacon(page(0, userId=u), page(0, anonymousId=u))
    one = talk.profile('user:' + u)
    b = lookup(talk, {'ids': ['anon:nobody', 'user:' + u, 'user:nobody', 'anon:' + u, 'user:' + u]})
    assert [p['id'] for p in b['profiles']] in (['user:' + u, 'anon:' + u, 'user:' + u], ['user:' + u, 'anon:' + u])
    assert json.dumps(b['profiles'][0], default=str) == json.dumps(one, default=str)
    assert b['not_found'] == ['anon:nobody', 'user:nobody']
    assert lookup(talk, {'ids': []}) == {'profiles': [], 'not_found': []}


@pytest.mark.parametrize('body, code', [(b'', 'json_invalid'), (b'{', 'json_invalid'), (b'\xff', 'json_invalid'),
                                        ([], 'parameter_invalid'), ({}, 'parameter_invalid'),
                                        ({'ids': 'user:x'}, 'parameter_invalid'), ({'ids': ['x']}, 'id_invalid'),
                                        ({'ids': [7]}, 'id_invalid'), ({'ids': [None]}, 'id_invalid'),
                                        ({'ids': ['user:' + 'x' * 257]}, 'id_invalid'),
                                        ({'ids': ['user:']}, 'id_invalid'),
                                        ({'ids': ['user:x'] * 1001}, 'parameter_invalid'),
                                        (b'[' * 10000, 'json_invalid')])
def test_bad_questions(talk, body, code):
    assert lookup(talk, body, 400)['code'] == code


def test_a_question_that_is_too_large(talk):
    assert lookup(talk, {'ids': ['user:' + 'x' * 250] * 10000}, 413)['code'] == 'body_too_large'


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path, status, code', [('/v1/profiles/user:nobody', 404, 'profile_not_found'),
                                                ('/v1/profiles/anon:nobody/path', 404, 'profile_not_found'),
                                                ('/v1/profiles/user:nobody/orders', 404, 'profile_not_found'),
                                                ('/v1/orders/none/scene', 404, 'order_not_found'),
                                                ('/v1/profiles', 404, 'not_found'), ('/v1/profiles/', None, None),
                                                ('/v1/profiles/user:x/', 404, 'not_found'),
                                                ('/v1/profiles/user:x/nothing', 404, 'not_found'),
                                                ('/v1/profiles/user:x/path/more', 404, 'not_found'),
                                                ('/', 404, 'not_found'), ('/v1/orders/x', 404, 'not_found'),
                                                ('/v2/profiles/user:x', 404, 'not_found'),
                                                ('//v1/profiles/user:x', 404, 'not_found'),
                                                ('/v1/profiles/user:a/b', 404, 'not_found'),
                                                ('/v1%2Fprofiles/user:x', 404, 'not_found'),
                                                ('/v1/profiles/../profiles/user:x', 404, 'not_found'),
                                                ('/v1/orders//scene', None, None),
                                                ('/v1/profiles/nobody', 400, 'id_invalid')])
def test_paths(talk, path, status, code):
    s, b = talk.inst.get(path)
    assert set(b) == {'code', 'message'} and b['message']
    if status:
        assert (s, b['code']) == (status, code)
    else:
        assert s in (400, 404)


@pytest.mark.parametrize('method, path, allow', [('POST', '/v1/profiles/user:x', 'GET'),
                                                 ('DELETE', '/v1/profiles/user:x/path', 'GET'),
                                                 ('PUT', '/v1/orders/x/scene', 'GET'),
                                                 ('GET', '/v1/profiles:lookup', 'POST'), ('POST', '/metrics', 'GET')])
def test_methods(talk, method, path, allow):
    s, h, b = talk.inst.request('p', method, path, b'{}' if method != 'GET' else None)
    assert (s, json.loads(b)['code']) == (405, 'method_not_allowed') and allow in h['allow']


@pytest.mark.parametrize('authorization, status, code', [('', 401, 'token_missing'), ('Bearer', 401, 'token_missing'),
                                                         ('Bearer ', 401, 'token_missing'),
                                                         ('Basic eA==', 401, 'token_missing'),
                                                         ('Bearer wrong', 401, 'token_unknown'),
                                                         (f'Bearer {TOKEN}x', 401, 'token_unknown'),
                                                         (f'Bearer {TOKEN[:-1]}', 401, 'token_unknown'),
                                                         (f'Bearer {TOKEN.upper()}', 401, 'token_unknown'),
                                                         (f'Bearer {TOKEN}', 404, 'profile_not_found'),
                                                         (f'bearer {TOKEN}', 404, 'profile_not_found'),
                                                         ('Bearer tk_test_lookup', 404, 'profile_not_found')])
def test_tokens(talk, authorization, status, code):
    for path in ('/v1/profiles/user:nobody', '/v1/profiles/user:nobody/path', '/v1/profiles/user:nobody/orders'):
        s, b = talk.inst.get(path, headers={'Authorization': authorization})
        assert (s, b['code']) == (status, code)


def test_a_scope_is_needed():
    with Instance() as inst:
        with open(inst.config) as f:
            text = f.read()
        with open(inst.config, 'w') as f:
            f.write(text.replace('scopes: [lookup]}', 'scopes: [audience]}'))
        inst.stop()
        inst.start()
        s, b = inst.get('/v1/profiles/user:x', headers={'Authorization': 'Bearer tk_test_lookup'})
        assert (s, b['code']) == (403, 'scope_missing')
        assert inst.get('/v1/profiles/user:x')[0] == 404


def test_a_token_is_never_read_from_a_query(talk):
    s, b = talk.inst.get('/v1/profiles/user:x', headers={'Authorization': ''}, token=TOKEN, access_token=TOKEN)
    assert (s, b['code']) == (401, 'token_missing')


def test_the_same_words_for_known_and_unknown_without_a_token(talk, long):
    answers = {
        json.dumps(talk.inst.get(f'/v1/profiles/{i}', headers={'Authorization': 'Bearer no'}))
        for i in (long[0], 'user:nobody')
    }
    assert len(answers) == 1


# --- reading one's own writes ---------------------------------------------------------------------------------


def test_a_position_that_does_not_come(talk, long):
    for suffix in ('', '/path', '/orders'):
        t = time.monotonic()
        s, h, b = talk.inst.request('p', 'GET', f'/v1/profiles/{long[0]}{suffix}?after=0:99999999&wait=60ms')
        assert (s, json.loads(b)['code']) == (503, 'not_yet') and int(h['retry-after']) > 0
        assert 0.05 < time.monotonic() - t < 5 * PATIENCE
    s, _, b = talk.inst.request('p', 'GET', '/v1/orders/none/scene?after=0:99999999&wait=0s')
    assert (s, json.loads(b)['code']) == (503, 'not_yet')


def test_wait_is_a_second_if_not_given(talk, long):
    t = time.monotonic()
    assert talk.inst.request('p', 'GET', f'/v1/profiles/{long[0]}?after=0:99999999')[0] == 503
    assert 0.9 < time.monotonic() - t < 5 * PATIENCE


def test_a_look_up_waits_for_what_comes(talk):
    """Asked before the event is sent, answered with it."""
    u, got = fresh('u'), []
    _, h, _ = talk.inst.post('/v1/batch', [page(0, userId=u)])
    p, o = map(int, h['x-waymark-position'].split(':'))
    asker = threading.Thread(
        target=lambda: got.append(talk.inst.profile('user:' + u, after=f'{p}:{o + 1}', wait='10s')))
    asker.start()
    wait_until(lambda: talk.inst.metrics()['waymark_lookups_waiting'][''] == 1, what='the look-up to wait')
    talk.beacon(page(1, userId=u))
    asker.join(60)
    assert got[0][0] == 200 and got[0][1]['facts']['pages'] == 2


def test_own_writes_are_seen_at_once(talk):
    users = [fresh('u') for _ in range(5)]
    for n in range(60):
        u = users[n % 5]
        s, h, b = talk.inst.post('/v1/batch', [page(n, userId=u)])
        s, p = talk.inst.profile('user:' + u, after=h['x-waymark-position'])
        assert (s, p['facts']['pages']) == (200, n // 5 + 1)


def test_visible_within_a_second_without_asking(talk):
    took = []
    for _ in range(9):
        u = fresh('u')
        talk.inst.post('/v1/batch', [page(0, userId=u)])
        t = time.monotonic()
        wait_until(lambda: talk.inst.profile('user:' + u)[0] == 200, 10)
        took.append(time.monotonic() - t)
    assert statistics.median(took) < 1, took  # of a few it may be the machine that is late


# --- versions -------------------------------------------------------------------------------------------------


def test_versions_only_grow(talk):
    u, versions = fresh('u'), []
    for n in (5, 1, 9, 0):
        talk.beacon(page(n, userId=u), page(n, anonymousId=fresh('other')))
        versions.append(talk.profile('user:' + u)['version'])
    talk.orders(order(u, 'paid', 3, userId=u))
    versions.append(talk.profile('user:' + u)['version'])
    assert versions == sorted(set(versions)) and versions[0] >= 1
    for n in range(50):
        talk.beacon(page(n, userId=fresh('x')))
    assert talk.profile('user:' + u)['version'] == versions[-1]  # others do not move it
    talk.beacon(page(0, 'dup', userId=u))
    v = talk.profile('user:' + u)['version']
    talk.beacon(page(7, 'dup', userId=u))
    assert talk.profile('user:' + u)['version'] >= v > versions[-1]


def test_version_and_answers_survive_a_restart():
    with Instance() as inst:
        talk = Talk(inst)
        talk.beacon(*(page(n * 1000, userId=f'u{n % 3}') for n in range(20)))
        talk.orders(order('O', 'paid', 5, userId='u0', total=5))
        ask = lambda: [(talk.profile(f'user:u{n}'), talk.path(f'user:u{n}'), talk.order_list(f'user:u{n}'))
                       for n in range(3)] + [talk.scene('O')]
        before = ask()
        inst.kill()
        inst.start()
        assert ask() == before
        assert inst.stop() == 0
        assert inst.command('verify')[0] == 0
        inst.start()
        assert ask() == before


# --- as HTTP --------------------------------------------------------------------------------------------------


def test_head_and_types(talk, long):
    s, h, b = talk.inst.request('p', 'HEAD', '/v1/profiles/' + long[0])
    assert (s, b) == (200, b'') and int(h['content-length']) > 100
    s, h, b = talk.inst.request('p', 'GET', '/v1/profiles/' + long[0])
    assert h['content-type'].startswith('application/json') and len(b) == int(h['content-length'])


def test_amounts_are_numbers_and_times_have_milliseconds(talk):
    u = fresh('u')
    talk.orders(order(fresh('O'), 'paid', 0, userId=u, total='8300065.814'))
    raw = talk.inst.request('p', 'GET', f'/v1/profiles/user:{u}?after={talk.position()}&wait=10s')[2].decode()
    assert '"gross":8300065.814,' in raw and f'"first_order_at":"{at(0)}"' in raw


def test_an_order_stands_with_its_owner_only(talk):
    a, b = fresh('a'), fresh('b')
    talk.orders(order(a, 'paid', DAY, userId=a, total=1))
    talk.beacon(page(0, userId=b))
    assert list(talk.order_list('user:' + a)) == [a] and talk.order_list('user:' + b) == {}
