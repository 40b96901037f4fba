"""Ids, message ids, event times and the order of copies, as the reference words them, through HTTP and back."""
import itertools
import json
import time
import urllib.parse

import pytest

from support.instance import BEACON, SERVER, Instance
from support.talk import DAY, HOUR, MINUTE, at, column, fresh, iso, order, page, track, talking


@pytest.fixture(scope='module')
def talk():
    with talking(two_keys()) as t:
        yield t


def two_keys():
    """Two beacon keys of one source, as while a key is replaced."""
    inst = Instance()
    with open(inst.config) as f:
        text = f.read()
    with open(inst.config, 'w') as f:
        f.write(text.replace('kind: beacon',
                             'kind: beacon, key: wk_next}\n    - {name: old, source: web, kind: beacon'))
    return inst


def now():
    return int(time.time() * 1000)


# --- odd ids through HTTP -------------------------------------------------------------------------------------

ODD = [
    'a/b', '/', '//', '..', '.', '../../etc', 'a%2Fb', '%', '%%', '%00', 'a\0b', '\0', 'a b', ' ', ' a', 'a ', 'a+b',
    '+', 'a?b=c&d', '#x', '😀', '\U0010ffff', '鞋', '\u00e9', 'e\u0301', '\u2028', '\ufeff', '"', "'", '\\', 'a:b',
    'user:x', 'anon:x', ':', ';', ',', '=', '&', '\n', '\r\n', '\t', '\x7f', '\x01', 'u' * 256, 'ü' * 128, '😀' * 64,
    '0x0', '-00x', '007', '1e3', 'null ', 'path', 'orders', '*', '{id}', '<script>', '\u202e', 'Nobody@Example.com'
]


@pytest.mark.parametrize('kind', ['user', 'anon'])
def test_odd_ids(talk, kind):
    field = {'user': 'userId', 'anon': 'anonymousId'}[kind]
    talk.beacon(*(page(n, f'odd{n}', **{field: i}) for n, i in enumerate(ODD)))
    for n, i in enumerate(ODD):
        pid = f'{kind}:{i}'
        p = talk.profile(pid)
        assert (p['id'], p['facts']['events']) == (pid, 1)
        assert column(talk.path(pid), 'message_id') == [f'odd{n}']
        assert talk.profile(pid, '/orders') == {'orders': []}
        everything = ''.join(f'%{b:02x}' for b in pid.encode())  # every byte encoded, lower-case
        assert talk.get('/v1/profiles/' + everything)['id'] == pid
    asked = json.dumps({'ids': [f'{kind}:{i}' for i in ODD]})
    s, _, b = talk.inst.request('p', 'POST', '/v1/profiles:lookup', body=asked)
    got = json.loads(b)
    assert s == 200 and [p['id'] for p in got['profiles']] == [f'{kind}:{i}' for i in ODD] and got['not_found'] == []


def test_odd_order_ids(talk):
    u = fresh('u')
    ids = [i for i in ODD if len(i.encode()) <= 256]
    talk.orders(*(order(i, 'paid', n, userId=u, total=n) for n, i in enumerate(ids)))
    got = talk.order_list('user:' + u)
    assert {i: o['total'] for i, o in got.items()} == {i: n for n, i in enumerate(ids)}
    for i in ids:
        assert talk.scene(i)['order']['order_id'] == i


def test_odd_message_ids(talk):
    u = fresh('u')
    talk.beacon(*(page(n, i, userId=u) for n, i in enumerate(ODD)))
    talk.beacon(*(page(n, i, userId=u) for n, i in enumerate(ODD)))
    assert column(talk.path('user:' + u), 'message_id') == ODD


@pytest.mark.parametrize('path', [
    '42', 'user%3A', 'anon:', 'user', 'USER:x', 'User:x', 'email:x', '%20user:x', 'user:%', 'user:%2', 'user:%zz',
    'user:%ff', 'user:%c0%80', 'user:%ed%a0%80', 'user:' + 'u' * 257
])
def test_ids_that_are_none(talk, path):
    for suffix in ('', '/path', '/orders'):
        s, b = talk.inst.get(f'/v1/profiles/{path}{suffix}')
        assert (s, b['code']) == (400, 'id_invalid') or s == 404 and '%' in path, (s, b)


def test_a_plus_in_a_path_is_a_plus(talk):
    u = fresh('a+')
    talk.beacon(page(0, userId=u))
    assert talk.get('/v1/profiles/user:' + u)['id'] == 'user:' + u


def test_integers_are_their_digits(talk):
    n = 900_000_001
    talk.beacon(page(0, 'i1', userId=n), page(1, 'i2', userId=str(n)), page(2, 'i3', userId='0' + str(n)),
                page(3, 4711, userId=n))
    talk.beacon(page(3, '4711', userId=n))
    assert column(talk.path(f'user:{n}'), 'message_id') == ['i1', 'i2', '4711']
    talk.beacon(page(0, userId=-5), page(0, userId=12345678901234567890123))
    assert talk.profile('user:-5')['id'] == 'user:-5'
    assert talk.profile('user:12345678901234567890123')['id'] == 'user:12345678901234567890123'


@pytest.mark.parametrize('blocked', [
    'null', 'NULL', 'Undefined', '0', 0, '-1', -1, '', None, 'true', '[object Object]',
    '00000000-0000-0000-0000-000000000000', 'ANONYMOUS', 'NaN'
])
def test_blocked_ids_count_as_absent(talk, blocked):
    d = fresh('d')
    talk.beacon(page(0, anonymousId=d, userId=blocked), page(1, userId=d, anonymousId=blocked))
    assert len(talk.path('anon:' + d)) == 1 and len(talk.path('user:' + d)) == 1
    talk.beacon(page(0, userId=blocked, anonymousId=blocked), rejected=[(0, 'id_missing')])
    # one event, with the blocked id or without: one uid
    talk.beacon(page(0, 'one', anonymousId=d + 'x'), page(0, 'one', anonymousId=d + 'x', userId=blocked))
    assert len(talk.path(f'anon:{d}x')) == 1


def test_blocked_ids_are_not_trimmed(talk):
    for i in (' null', 'null\n', 'nulls', '0.0', 'ＮＵＬＬ'):
        talk.beacon(page(0, userId=i))
        assert talk.profile('user:' + i)['id'] == 'user:' + i


def test_ids_of_one_length_limit(talk):
    talk.beacon(page(0, userId='u' * 257), page(0, anonymousId='d' * 257), page(0, 'm' * 257, userId='u'),
                page(0, userId=[], anonymousId='d'), rejected=[(n, 'id_invalid') for n in range(4)])


# --- one event ------------------------------------------------------------------------------------------------


def test_one_event_is_source_device_user_and_message(talk):
    a, b = fresh('a'), fresh('b')
    for _ in range(2):
        talk.beacon(page(0, 'm', userId=a), page(0, 'm', userId=a, anonymousId=b), page(0, 'm', anonymousId=b),
                    page(0, 'm', userId=a, anonymousId=a), page(0, 'M', userId=a))
        talk.server(page(0, 'm', userId=a))
    assert len(talk.path('user:' + a)) == 6
    talk.beacon(page(0, 'm', userId=a), key='wk_next')  # another key of the same source
    assert len(talk.path('user:' + a)) == 6


def test_device_and_user_of_one_name_are_two(talk):
    x = fresh('x')
    talk.beacon(page(0, 'm', userId=x), page(0, 'm', anonymousId=x))
    assert len(talk.path('user:' + x)) == 1 and len(talk.path('anon:' + x)) == 1


@pytest.mark.parametrize('missing', [{}, {'messageId': ''}, {'messageId': None}])
def test_without_a_message_id_each_is_its_own(talk, missing):
    u = fresh('u')
    e = {k: v for k, v in page(0, userId=u).items() if k != 'messageId'}
    talk.beacon({**e, **missing}, {**e, **missing})
    talk.server({**e, **missing}, {**e, **missing})
    ids = column(talk.path('user:' + u), 'message_id')
    assert len(set(ids)) == 4 and all(ids)


@pytest.mark.parametrize('arrival', itertools.permutations(range(3)))
def test_the_earliest_copy_stands(talk, arrival):
    u = fresh('u')
    copies = [track(t, f'E{t}', 'm', userId=u, properties={'n': t, 'category': f'c{t}'}) for t in (7, 3, 5)]
    for n in arrival:
        talk.beacon(copies[n])
        talk.facts('user:' + u)
    e, = talk.path('user:' + u)
    assert (e['time'], e['name'], e['properties']) == (at(3), 'E3', {'n': 3, 'category': 'c3'})


def test_the_earliest_copy_takes_its_counts_with_it(talk):
    u = fresh('u')
    talk.beacon(track(9, 'Product Added', 'm', userId=u, properties={'category': 'x'}))
    assert talk.facts('user:' + u)['products_added'] == 1
    talk.beacon(page(8, 'm', userId=u, module='hero'))
    f = talk.facts('user:' + u)
    assert (f['products_added'], f['pages'], f['by']['category'], f['by']['module']) == (0, 1, {},
                                                                                         {'hero': {'pages': 1}})
    talk.beacon(track(7, 'Product Viewed', 'm', userId=u))
    f = talk.facts('user:' + u)
    assert (f['pages'], f['products_viewed'], f['by']['module'], f['events']) == (0, 1, {}, 1)


def test_copies_in_one_request_and_of_one_moment(talk):
    u = fresh('u')
    talk.beacon(track(0, 'first', 'm', userId=u), track(0, 'second', 'm', userId=u))
    assert column(talk.path('user:' + u), 'name') == ['first']


# --- event time -----------------------------------------------------------------------------------------------


def one(talk, event, key=BEACON):
    u = fresh('u')
    e = {k: v for k, v in page(0, userId=u).items() if k != 'timestamp'}
    before = now()
    talk.beacon({**e, **event}, key=key)
    e, = talk.path('user:' + u)
    return e, before, now()


def received(e, before, after):
    return e['time'] == e['received_at'] and iso(before) <= e['time'] <= iso(after)


def test_without_a_time_it_is_the_receipt(talk):
    assert received(*one(talk, {}))
    assert received(*one(talk, {}, SERVER))
    assert received(*one(talk, {'sentAt': iso(now() - HOUR)}))


def test_the_time_of_a_beacon_is_corrected_by_its_clock(talk):
    wrong = now() - 5 * DAY  # a clock five days behind; the event a minute before it was sent
    e, before, after = one(talk, {'timestamp': iso(wrong - MINUTE), 'sentAt': iso(wrong)})
    assert iso(before - MINUTE) <= e['time'] <= iso(after - MINUTE)
    assert e['original_time'] == iso(wrong - MINUTE)
    e, before, after = one(talk, {'timestamp': iso(wrong + DAY * 9), 'sentAt': iso(wrong + 9 * DAY)})
    assert iso(before) <= e['time'] <= iso(after)


def test_the_time_of_a_server_is_taken_as_it_is(talk):
    e, _, _ = one(talk, {'timestamp': at(5), 'sentAt': at(500)}, SERVER)
    assert e['time'] == at(5)


def test_the_batch_says_when_it_was_sent(talk):
    u = fresh('u')
    wrong = now() - 7 * DAY
    before = now()
    s, h, b = talk.inst.post(
        '/v1/batch', {'sentAt': iso(wrong), 'batch': [{'type': 'page', 'userId': u, 'timestamp': iso(wrong - HOUR)}]})
    e, = talk.path('user:' + u, after=h['x-waymark-position'])
    assert iso(before - HOUR) <= e['time'] <= iso(now() - HOUR)


@pytest.mark.parametrize('key, offset, kept', [(BEACON, 9 * MINUTE, True), (BEACON, 11 * MINUTE, False),
                                               (SERVER, 9 * MINUTE, True), (SERVER, 11 * MINUTE, False),
                                               (BEACON, -399 * DAY, True), (BEACON, -401 * DAY, False),
                                               (SERVER, -401 * DAY, True), (SERVER, -9000 * DAY, True)])
def test_times_too_far_off_are_those_of_receipt(talk, key, offset, kept):
    t = iso(now() + offset)
    e, before, after = one(talk, {'timestamp': t}, key)
    if kept:
        assert e['time'] == t
    else:
        assert received(e, before, after) and e['original_time'] == t


@pytest.mark.parametrize('written, want', [('2024-05-06T07:08:09.1239Z', '2024-05-06T07:08:09.123Z'),
                                           ('2024-05-06T07:08:09.999999999Z', '2024-05-06T07:08:09.999Z'),
                                           ('2024-05-06T07:08:09Z', '2024-05-06T07:08:09.000Z'),
                                           ('2024-05-06T07:08:09.5Z', '2024-05-06T07:08:09.500Z'),
                                           ('2024-05-06T07:08:09+02:00', '2024-05-06T05:08:09.000Z'),
                                           ('2024-05-06T07:08:09-0330', '2024-05-06T10:38:09.000Z'),
                                           ('2024-05-06T07:08:09', '2024-05-06T07:08:09.000Z'),
                                           ('2024-05-06T07:08:09.000000+00:00', '2024-05-06T07:08:09.000Z'),
                                           (1714979289123, '2024-05-06T07:08:09.123Z'),
                                           ('1969-12-31T23:59:59.9999Z', '1969-12-31T23:59:59.999Z')])
def test_spellings_of_times(talk, written, want):
    e, _, _ = one(talk, {'timestamp': written}, SERVER)
    assert e['time'] == want


def test_both_spellings_are_taken(talk):
    u = fresh('u')
    talk.beacon({
        'type': 'page', 'user_id': u, 'anonymous_id': u + 'd', 'message_id': 'm', 'timestamp': at(0), 'shared_by': 's'
    })
    talk.beacon(
        {'type': 'page', 'userId': u, 'anonymousId': u + 'd', 'messageId': 'm', 'timestamp': at(0), 'sharedBy': 's'})
    talk.beacon(track(1, 'Product Viewed', userId=u, properties={'productId': 'p'}),
                track(2, 'Order Completed', userId=u, properties={'orderId': u, 'total': 3}))
    talk.orders({
        'order_id': u + 'x', 'status': 'paid', 'user_id': u, 'timestamp': at(3), 'shared_by': 't',
        'place': {'store_id': 's', 'store_name': 'n'}, 'items': [{'product_id': 'q', 'listed_at': at(0), 'price': 1}]
    })
    f = talk.facts('user:' + u)
    assert (f['events'], f['referred_by'], set(f['by']['product']), f['orders'], f['gross']) == (4, 's', {'p',
                                                                                                          'q'}, 2, 4)
    assert talk.scene(u + 'x')['what'][0]['listed_at'] == at(0)


# --- forms of requests ----------------------------------------------------------------------------------------


def test_each_single_call_gives_its_type(talk):
    u = fresh('u')
    # Each at a time of its own: two that are received in one millisecond would be ordered by their uids.
    for n, (route, kind) in enumerate([('identify', 'identify'), ('track', 'track'), ('page', 'page'), ('screen', 'screen'),
                        ('group', 'group'), ('alias', 'alias'),
                        *((k[0], k) for k in ('identify', 'track', 'page', 'screen', 'group', 'alias'))]):
        talk.post(
            '/v1/' + route,
            {'userId': u, 'event': 'E', 'groupId': 'g', 'previousId': u + 'd', 'messageId': route, 'timestamp': at(n)},
            BEACON)
        assert talk.path('user:' + u)[-1]['type'] == kind, route


def test_the_pixel_is_an_event(talk):
    d = fresh('d')
    pixel = lambda **q: talk.inst.request(
        'c', 'GET', '/v1/pixel.gif?' + urllib.parse.urlencode({'writeKey': BEACON, 'anonymousId': d, **q}))
    for q in ({'messageId': 'a', 'timestamp': at(0), 'color': 'blue & red',
               'name': 'Home'}, {'messageId': 'a', 'timestamp': at(1)},
              {'type': 'track', 'event': 'Product Viewed', 'category': 'Shoes', 'messageId': 'b',
               'timestamp': at(2)}, {'type': 'nonsense'}):
        s, h, b = pixel(**q)
        assert (s, h['content-type'], b[:3]) == (200, 'image/gif', b'GIF')
    talk.inst.drain()
    a, b = talk.path('anon:' + d)
    assert (a['type'], a['name'], a['properties']['color'], a['time']) == ('page', 'Home', 'blue & red', at(0))
    assert (b['name'], talk.facts('anon:' + d)['by']['category']['Shoes']['views']) == ('Product Viewed', 1)


def test_what_else_was_sent_is_kept(talk):
    u = fresh('u')
    odd = {
        'nul': 'a\0b', '线': '\u2028', '😀': '𝒳', 'n': [1, {'x': None, 'y': True}], '': 'empty',
        'big': 12345678901234567890123, 'e': {}
    }
    talk.beacon(track(0, 'E', userId=u, properties=odd))
    assert talk.path('user:' + u)[0]['properties'] == odd
