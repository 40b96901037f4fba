"""Sessions, dwell times, where a visit came from, and touches, as the reference of the figures words them. Every
expected value is worked by hand."""
import itertools

import pytest

from support.instance import Instance
from support.talk import DAY, GAP, HOUR, at, column, fresh, order, page, track, talking


@pytest.fixture(scope='module')
def talk():
    with talking(Instance()) as t:
        yield t


def sessions(talk, pid):
    return column(talk.path(pid), 'session')


# --- the gap ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('times, want', [([0], [1]), ([0, GAP], [1, 1]), ([0, GAP + 1], [1, 2]),
                                         ([0, GAP, 2 * GAP], [1, 1, 1]), ([0, GAP, 2 * GAP + 1], [1, 1, 2]),
                                         ([0, GAP + 1, 2 * GAP + 2], [1, 2, 3]), ([0, 0, 0], [1, 1, 1]), ])
def test_a_session_ends_after_more_than_the_gap(talk, times, want):
    d = fresh('d')
    talk.beacon(*(page(t, anonymousId=d) for t in times))
    assert sessions(talk, 'anon:' + d) == want
    assert talk.facts('anon:' + d)['sessions'] == want[-1]


@pytest.mark.parametrize('arrival', itertools.permutations(range(3)))
def test_a_late_event_joins_two_sessions(talk, arrival):
    d = fresh('d')
    times = [0, GAP, 2 * GAP]
    for n in arrival:
        talk.beacon(page(times[n], anonymousId=d))
        talk.path('anon:' + d)
    assert sessions(talk, 'anon:' + d) == [1, 1, 1]
    f = talk.facts('anon:' + d)
    assert (f['sessions'], f['pages'], f['first_seen'], f['last_seen']) == (1, 3, at(0), at(2 * GAP))
    assert column(talk.path('anon:' + d), 'dwell_ms') == [GAP, GAP, None]


@pytest.mark.parametrize('arrival', itertools.permutations(range(4)))
def test_a_late_event_before_all_renumbers(talk, arrival):
    d = fresh('d')
    times = [0, 2 * HOUR, 2 * HOUR + GAP, 5 * HOUR]
    for n in arrival:
        talk.beacon(page(times[n], anonymousId=d))
    assert sessions(talk, 'anon:' + d) == [1, 2, 2, 3]
    assert column(talk.path('anon:' + d), 'session_start') == [at(0), at(2 * HOUR), at(2 * HOUR), at(5 * HOUR)]


def test_an_earlier_copy_moves_a_session(talk):
    d = fresh('d')
    talk.beacon(page(0, anonymousId=d), page(2 * GAP, 'same', anonymousId=d))
    assert sessions(talk, 'anon:' + d) == [1, 2]
    talk.beacon(page(GAP, 'same', anonymousId=d))
    assert sessions(talk, 'anon:' + d) == [1, 1]
    assert column(talk.path('anon:' + d), 'time') == [at(0), at(GAP)]
    assert talk.facts('anon:' + d)['last_seen'] == at(GAP)


# --- devices -------------------------------------------------------------------------------------------------


def test_sessions_are_per_device_and_numbered_over_the_profile(talk):
    u = fresh('u')
    who = [{'userId': u, 'anonymousId': u + 'a'}, {'userId': u, 'anonymousId': u + 'b'}, {'userId': u}]
    plan = [(0, 0), (1, 1), (2, 2), (0, 3), (1, GAP + 1), (0, GAP + 4), (2, GAP + 3), (1, 2 * GAP + 2)]
    talk.beacon(*(page(t, **who[w]) for w, t in plan))
    # a: 0, 3 | GAP+4;  b: 1, GAP+1 | 2 GAP+2 is GAP+1 later;  nobody's device: 2 | GAP+3
    assert [(e['time'], e['session']) for e in talk.path('user:' + u)] == [(at(0), 1), (at(1), 2),
                                                                           (at(2), 3), (at(3), 1), (at(GAP + 1), 2),
                                                                           (at(GAP + 3), 4), (at(GAP + 4), 5),
                                                                           (at(2 * GAP + 2), 6)]


def test_dwell_is_within_the_session_of_the_device(talk):
    u = fresh('u')
    a, b = {'userId': u, 'anonymousId': u + 'a'}, {'userId': u, 'anonymousId': u + 'b'}
    talk.beacon(page(0, **a), page(1000, **b), page(5000, **a), page(9000, **b))
    assert column(talk.path('user:' + u), 'dwell_ms') == [5000, 8000, None, None]


# --- what makes sessions --------------------------------------------------------------------------------------


def test_a_server_track_needs_a_device(talk):
    u = fresh('u')
    talk.server(track(0, userId=u))
    assert sessions(talk, 'user:' + u) == [None]
    f = talk.facts('user:' + u)
    assert (f['sessions'], f['first_seen'], f['last_seen'], f['events'], f['products_viewed']) == (0, None, None, 1, 1)
    assert (f['first_event_at'], f['last_event_at'], f['by']['hour'], f['by']['weekday']) == (at(0), at(0), {}, {})
    talk.server(track(1, userId=u, anonymousId=u + 'd'))
    assert sessions(talk, 'user:' + u) == [None, 1]


def test_a_server_page_makes_a_session(talk):
    u = fresh('u')
    talk.server(page(0, userId=u), {**page(5, userId=u), 'type': 'screen'})
    assert sessions(talk, 'user:' + u) == [1, 1]
    assert talk.facts('user:' + u)['pages'] == 2


def test_a_server_track_without_a_device_in_a_session_of_the_user(talk):
    u = fresh('u')
    talk.server(page(0, userId=u), track(GAP, userId=u), page(GAP + 1, userId=u))
    assert sessions(talk, 'user:' + u) == [1, 1, 2]


@pytest.mark.parametrize('kind', ['identify', 'group', 'alias', 'order'])
def test_what_makes_no_session(talk, kind):
    u = fresh('u')

    def say(t):
        if kind == 'order':
            talk.orders(order(fresh('O'), 'created', t, userId=u, anonymousId=u + 'd'))
        else:
            more = {'identify': {}, 'group': {'groupId': 'g'}, 'alias': {'previousId': u + 'd'}}[kind]
            talk.beacon({
                'type': kind, 'messageId': fresh('m'), 'timestamp': at(t), 'userId': u, 'anonymousId': u + 'd', **more
            })

    who = {'userId': u, 'anonymousId': u + 'd'}
    talk.beacon(page(10 * GAP, **who), page(11 * GAP + 1, **who), page(12 * GAP, **who))
    for t in (10 * GAP - 1, 10 * GAP, 11 * GAP, 13 * GAP, 13 * GAP + 1):
        say(t)
    want = [(10 * GAP - 1, None), (10 * GAP, 1), (10 * GAP, 1), (11 * GAP, 1), (11 * GAP + 1, 2), (12 * GAP, 2),
            (13 * GAP, 2), (13 * GAP + 1, None)]
    assert [(e['time'], e.get('session')) for e in talk.path('user:' + u)] == [(at(t), s) for t, s in want]
    f = talk.facts('user:' + u)
    assert (f['sessions'], f['first_seen'], f['last_seen'], f['events']) == (2, at(10 * GAP), at(12 * GAP), 8)
    assert (f['first_event_at'], f['last_event_at']) == (at(10 * GAP - 1), at(13 * GAP + 1))


def test_an_order_without_a_device_is_in_no_session_of_one(talk):
    u = fresh('u')
    talk.beacon(page(0, userId=u, anonymousId=u + 'd'))
    talk.orders(order(fresh('O'), 'created', 5, userId=u))
    assert sessions(talk, 'user:' + u) == [1, None]


# --- dwell ----------------------------------------------------------------------------------------------------


def test_dwell(talk):
    d = fresh('d')
    talk.beacon(page(0, anonymousId=d), track(100, anonymousId=d), {**page(1000, anonymousId=d), 'type': 'screen'},
                track(1500, anonymousId=d), track(4000, anonymousId=d),
                {'type': 'identify', 'messageId': fresh('m'), 'anonymousId': d, 'timestamp': at(9000)},
                page(10 * HOUR, anonymousId=d))
    assert column(talk.path('anon:' + d), 'dwell_ms') == [1000, None, 3000, None, None, None, None]


def test_dwell_of_one_moment_is_zero(talk):
    d = fresh('d')
    talk.beacon(page(0, anonymousId=d), page(0, anonymousId=d), track(0, anonymousId=d))
    assert column(talk.path('anon:' + d), 'dwell_ms') == [0, 0, None]


def test_dwell_of_a_last_page_behind_its_tracks(talk):
    d = fresh('d')
    talk.beacon(track(0, anonymousId=d), page(10, anonymousId=d))
    assert column(talk.path('anon:' + d), 'dwell_ms') == [None, None]


# --- the order of events --------------------------------------------------------------------------------------


def test_one_time_then_received_then_position(talk):
    d = fresh('d')
    talk.beacon(track(0, mid='z', anonymousId=d), track(0, mid='a', anonymousId=d))
    talk.tick()
    talk.beacon(track(0, mid='b', anonymousId=d), track(0, mid='0', anonymousId=d))
    assert column(talk.path('anon:' + d), 'message_id') == ['z', 'a', 'b', '0']


# --- where from -----------------------------------------------------------------------------------------------


def test_came_from_is_stated_else_the_page_before_else_the_referrer(talk):
    d = fresh('d')
    talk.beacon(
        page(0, anonymousId=d, properties={'url': 'https://shop.example/a', 'referrer': 'https://search.example/?q=1'}),
        page(1, anonymousId=d, properties={'url': 'https://shop.example/b', 'referrer': 'https://other.example/'}),
        page(2, anonymousId=d, cameFrom='banner', properties={'url': 'https://shop.example/c'}),
        page(3, anonymousId=d, properties={'url': 'https://shop.example/d', 'came_from': 'mail'}),
        track(4, anonymousId=d),
        page(10 * HOUR, anonymousId=d,
             properties={'url': 'https://shop.example/e', 'referrer': 'https://shop.example/d'}),
        page(20 * HOUR, anonymousId=d, properties={'url': 'https://shop.example/f'}))
    assert column(talk.path('anon:' + d), 'came_from') == [
        'https://search.example/?q=1', 'https://shop.example/a', 'banner', 'mail', 'https://shop.example/d', None, None
    ]


def test_came_from_is_of_the_own_session_and_device(talk):
    u = fresh('u')
    a, b = {'userId': u, 'anonymousId': u + 'a'}, {'userId': u, 'anonymousId': u + 'b'}
    talk.beacon(page(0, **a, properties={'url': 'https://s/a'}), page(1, **b, properties={'url': 'https://s/b'}),
                page(2, **a, properties={'url': 'https://s/a2'}), page(3, **b, properties={'url': 'https://s/b2'}))
    assert column(talk.path('user:' + u), 'came_from') == [None, None, 'https://s/a', 'https://s/b']


def test_a_late_page_changes_where_the_next_came_from(talk):
    d = fresh('d')
    talk.beacon(page(0, anonymousId=d, properties={'url': 'https://s/1'}),
                page(20, anonymousId=d, properties={'url': 'https://s/3'}))
    assert column(talk.path('anon:' + d), 'came_from') == [None, 'https://s/1']
    talk.beacon(page(10, anonymousId=d, properties={'url': 'https://s/2'}))
    assert column(talk.path('anon:' + d), 'came_from') == [None, 'https://s/1', 'https://s/2']


def test_a_page_is_named_by_its_address_else_its_name(talk):
    d = fresh('d')
    home = {**page(1, anonymousId=d, name='Home'), 'type': 'screen'}
    talk.beacon(page(0, anonymousId=d, properties={'path': '/p'}), home,
                track(2, anonymousId=d))
    assert column(talk.path('anon:' + d), 'came_from') == [None, '/p', 'Home']


# --- touches --------------------------------------------------------------------------------------------------


def touch_of(campaign):
    return {'context': {'campaign': {'name': campaign}}}


def visit(t, d, campaign=None, **properties):
    more = touch_of(campaign) if campaign else {}
    return page(t, anonymousId=d, properties={'url': 'https://shop.example/', **properties}, **more)


def touches(talk, oid):
    s = talk.scene(oid)
    return [
        t if isinstance(t, str) else t.get('campaign', {}).get('name') or t.get('referrer') or t.get('click_id')
        or t.get('type') for t in (s['first_touch'], s['last_touch'])
    ]


def buy(talk, d, t, total=10):
    oid = fresh('O')
    talk.orders(order(oid, 'created', t, anonymousId=d, total=total))
    return oid


def test_touches_of_an_order(talk):
    d = fresh('d')
    talk.beacon(visit(0, d, 'spring'), visit(5, d, 'within'), visit(DAY, d), visit(2 * DAY, d, 'summer'),
                visit(3 * DAY, d))
    oid = buy(talk, d, 3 * DAY + 1)
    assert touches(talk, oid) == ['spring', 'summer']
    assert talk.facts('anon:' + d)['by']['campaign'] == {'summer': {'orders': 1, 'amount': 10}}


def test_no_touch_is_direct(talk):
    d = fresh('d')
    talk.beacon(visit(0, d), visit(2 * DAY, d, 'after'))
    oid = buy(talk, d, DAY)
    assert touches(talk, oid) == ['direct', 'direct']
    assert talk.facts('anon:' + d)['by']['campaign'] == {}


def test_a_touch_is_the_start_of_a_session_only(talk):
    d = fresh('d')
    talk.beacon(visit(0, d), visit(1, d, 'late', gclid='x', referrer='https://search.example/'))
    assert touches(talk, buy(talk, d, 5)) == ['direct', 'direct']


@pytest.mark.parametrize('t, want', [(0, 'old'), (-1, 'direct')])
def test_thirty_days(talk, t, want):
    d = fresh('d')
    talk.beacon(visit(t, d, 'old'))
    assert touches(talk, buy(talk, d, 30 * DAY)) == [want, want]


def test_a_touch_at_the_moment_of_the_order(talk):
    d = fresh('d')
    talk.beacon(visit(7, d, 'now'))
    assert touches(talk, buy(talk, d, 7)) == ['now', 'now']


def test_kinds_of_touches(talk):
    for properties, is_touch in [({'referrer': 'https://search.example/'}, True),
                                 ({'referrer': 'https://shop.example/x'}, False),
                                 ({'url': 'https://shop.example/?gclid=abc'}, True),
                                 ({'url': 'https://shop.example/?fbclid=abc'}, True),
                                 ({'url': 'https://shop.example/?utm_source=mail'}, True),
                                 ({'url': 'https://shop.example/?q=1'}, False),
                                 ({'referrer': 'https://www.paypal.com/pay'}, False),
                                 ({'referrer': 'https://checkout.stripe.com/'}, False),
                                 ({'referrer': 'https://notpaypal.com/'}, True)]:
        d = fresh('d')
        talk.beacon(visit(0, d, **properties))
        got = touches(talk, buy(talk, d, 5))
        assert (got != ['direct', 'direct']) == is_touch, (properties, got)


def test_a_late_event_takes_the_touch_away(talk):
    d = fresh('d')
    talk.beacon(visit(GAP, d, 'spring'))
    oid = buy(talk, d, GAP + 5, 3)
    assert talk.facts('anon:' + d)['by']['campaign'] == {'spring': {'orders': 1, 'amount': 3}}
    talk.beacon(visit(1, d))
    assert touches(talk, oid) == ['direct', 'direct']
    assert talk.facts('anon:' + d)['by']['campaign'] == {}


def test_touches_are_of_the_person(talk):
    u = fresh('u')
    for n, c in enumerate(['a', 'b']):
        talk.beacon({**visit(n * HOUR, u + c, c), 'userId': u})
    oid = fresh('O')
    talk.orders(order(oid, 'created', 5 * HOUR, userId=u, total=1))
    assert touches(talk, oid) == ['a', 'b']


def test_a_session_that_begins_before_an_order_moves_its_placed_at(talk):
    """An earlier statement moves placed_at before the touch."""
    d = fresh('d')
    talk.beacon(visit(HOUR, d, 'spring'))
    oid = buy(talk, d, 2 * HOUR)
    assert touches(talk, oid) == ['spring', 'spring']
    talk.orders(order(oid, 'paid', 1, anonymousId=d))
    assert touches(talk, oid) == ['direct', 'direct']
    assert talk.facts('anon:' + d)['by']['campaign'] == {}


def test_the_scene(talk):
    d = fresh('d')
    talk.beacon(visit(0, d, 'spring', module='hero'),
                track(1000, anonymousId=d, properties={'product_id': 'p', 'category': 'Shoes'}))
    oid = fresh('O')
    talk.orders(
        order(oid, 'created', 840_000, anonymousId=d, total=5, sharedBy='friend',
              place={'storeId': 's1', 'storeName': 'Main',
                     'city': 'Bath'}, items=[{'productId': 'p', 'category': 'Shoes', 'price': 5}]))
    talk.beacon(page(900_000, anonymousId=d))
    s = talk.scene(oid)
    assert (s['order']['order_id'], s['who']['id'], s['who']['shared_by']) == (oid, 'anon:' + d, 'friend')
    assert [i['product_id'] for i in s['what']] == ['p']
    assert s['where']['offline'] == {'store_id': 's1', 'store_name': 'Main', 'city': 'Bath'}
    assert [e['type'] for e in s['path']] == ['page', 'track', 'order']
    assert s['took_ms'] == 840_000
    assert s['who']['facts']['pages'] == 1  # as of then
