"""Facts and their maps, as the reference of the figures words them. Every expected value is worked by hand."""
import random

import pytest

from support.instance import Instance
from support.talk import D, DAY, HOUR, at, fresh, order, page, track, talking

PRODUCT = ('views', 'added', 'ordered', 'amount')
NUMBERS = [
    'events', 'sessions', 'pages', 'products_viewed', 'products_added', 'products_removed', 'checkouts', 'orders',
    'orders_cancelled', 'orders_refunded', 'credit_notes', 'items', 'gross', 'refunded', 'spent', 'discount'
]
TIMES = ['first_seen', 'last_seen', 'first_event_at', 'last_event_at', 'first_order_at', 'last_order_at']
OTHERS = ['cost', 'margin', 'mean_days_between_orders', 'referred_by', 'amounts_by_currency', 'by']
MAPS = [
    'category', 'brand', 'style', 'color', 'size', 'product', 'store', 'city', 'district', 'channel', 'campaign',
    'module', 'hour', 'weekday'
]


@pytest.fixture(scope='module')
def talk():
    with talking(Instance()) as t:
        yield t


@pytest.fixture(scope='module')
def berlin():
    with talking(berlin_instance()) as t:
        yield t


def berlin_instance():
    inst = Instance()
    with open(inst.config) as f:
        text = f.read()
    with open(inst.config, 'w') as f:
        f.write(text.replace('timezone: UTC', 'timezone: Europe/Berlin').replace('currency: GBP', 'currency: EUR'))
    return inst


def counts(*numbers):
    return dict(zip(PRODUCT, numbers))


def by(talk, u, name):
    return talk.facts('user:' + u)['by'][name]


# --- what is always there -------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['identify', 'page', 'track', 'group', 'order'])
def test_no_fact_is_left_out(talk, kind):
    u = fresh('u')
    if kind == 'order':
        talk.orders(order(fresh('O'), 'paid', 0, userId=u))
    else:
        talk.beacon({**page(0, userId=u), 'type': kind, 'event': 'E', 'groupId': 'g'})
    p = talk.profile('user:' + u)
    assert set(p) >= {'id', 'ids', 'version', 'facts', 'traits', 'tags'}
    assert (p['id'], p['ids'], p['traits']) == ('user:' + u, ['user:' + u], {}) and isinstance(p['tags'], dict)
    f = p['facts']
    assert set(f) >= set(NUMBERS + TIMES + OTHERS) and set(f['by']) >= set(MAPS)
    assert f['events'] == 1 and all(isinstance(f[k], (int, D)) for k in NUMBERS)


def test_events_are_counted_by_name(talk):
    u = fresh('u')
    names = ['Product Viewed'] * 4 + ['Product Added'] * 3 + ['Product Removed'] * 2 + [
        'Checkout Started', 'product viewed', 'Products Viewed', ' Product Viewed'
    ]
    talk.beacon(*(track(n, name, userId=u) for n, name in enumerate(names)), {**page(99, userId=u), 'type': 'screen'},
                {**page(100, userId=u), 'name': 'Product Viewed'})
    f = talk.facts('user:' + u)
    counted = ('products_viewed', 'products_added', 'products_removed', 'checkouts', 'pages', 'events')
    assert [f[k] for k in counted] == [4, 3, 2, 1, 2, 15]


def test_server_tracks_count_without_a_session(talk):
    u = fresh('u')
    talk.server(track(0, 'Product Added', userId=u, properties={'category': 'c'}))
    assert by(talk, u, 'category') == {'c': counts(0, 1, 0, 0)}
    assert talk.facts('user:' + u)['products_added'] == 1


# --- maps of products -----------------------------------------------------------------------------------------


def test_maps_of_products(talk):
    u = fresh('u')
    p = {
        'product_id': 'p1', 'category': 'Shoes', 'brand': 'B', 'style': 'low', 'color': 'red', 'size': '42',
        'price': 9.5, 'quantity': 3
    }
    talk.beacon(track(0, userId=u, properties=p), track(1, userId=u, properties=p),
                track(2, 'Product Added', userId=u, properties=p), track(3, 'Product Removed', userId=u, properties=p),
                track(4, 'Checkout Started', userId=u, properties={'products': [p]}))
    talk.orders(
        order(
            fresh('O'), 'paid', 5, userId=u, items=[{
                'productId': 'p1', 'category': 'Shoes', 'brand': 'B', 'style': 'low', 'color': 'red', 'size': '42',
                'price': 9.5, 'quantity': 3
            }, {'productId': 'p2', 'category': 'Shoes', 'price': '0.000001'}]))
    got = talk.facts('user:' + u)['by']
    for name, key in (('brand', 'B'), ('style', 'low'), ('color', 'red'), ('size', '42')):
        assert got[name] == {key: counts(2, 1, 3, D('28.5'))}, name
    assert got['category'] == {'Shoes': counts(2, 1, 4, D('28.500001'))}
    assert got['product'] == {'p1': counts(2, 1, 3, D('28.5')), 'p2': counts(0, 0, 1, D('0.000001'))}
    assert talk.facts('user:' + u)['items'] == 4


def test_views_are_events_whatever_the_quantity(talk):
    u = fresh('u')
    talk.beacon(
        track(0, userId=u,
              properties={'products': [{'category': 'a', 'quantity': 5}, {'category': 'a'}, {'category': 'b'}]}))
    assert by(talk, u, 'category') == {'a': counts(1, 0, 0, 0), 'b': counts(1, 0, 0, 0)}
    assert talk.facts('user:' + u)['products_viewed'] == 1


def test_names_are_compared_byte_for_byte_and_odd_ones_live(talk):
    u = fresh('u')
    names = [
        'Shoes', 'shoes', ' Shoes', '\u00e9', 'e\u0301', '鞋', '😀', 'a\0b', '"', '\\', '\u2028', '*', 'null',
        '__proto__'
    ]
    talk.beacon(*(track(n, userId=u, properties={'category': c}) for n, c in enumerate(names)),
                track(50, userId=u, properties={'category': ''}), track(51, userId=u, properties={'category': None}))
    assert by(talk, u, 'category') == {c: counts(1, 0, 0, 0) for c in names}


def test_a_name_stands_while_something_counts_under_it(talk):
    u = fresh('u')
    talk.orders(
        order('A' + u, 'paid', 0, userId=u, total=4, channel='web',
              place={'storeId': 's', 'city': 'c',
                     'district': 'd'}, items=[{'sku': 'x', 'category': 'Hats', 'quantity': 2, 'price': 2}]))
    got = talk.facts('user:' + u)['by']
    assert got['category'] == {'Hats': counts(0, 0, 2, 4)}
    assert [got[k] for k in ('channel', 'city', 'district')] == [{n: {'orders': 1, 'amount': 4}}
                                                                 for n in ('web', 'c', 'd')]
    assert list(got['store'].values()) == [{'orders': 1, 'amount': 4}]
    talk.orders(order('A' + u, 'cancelled', 1, userId=u))
    got = talk.facts('user:' + u)['by']
    assert not any(got[k] for k in ('category', 'channel', 'city', 'district', 'store', 'product'))


def test_module_and_pages(talk):
    u = fresh('u')
    talk.beacon(page(0, userId=u, properties={'module': 'hero'}), page(1, userId=u, module='hero'),
                {**page(2, userId=u, module='nav'), 'type': 'screen'}, track(3, userId=u, module='cart'),
                page(4, userId=u))
    assert by(talk, u, 'module') == {'hero': {'pages': 2}, 'nav': {'pages': 1}}


def test_referred_by_is_of_the_first_event_that_has_one(talk):
    u = fresh('u')
    talk.beacon(page(5, userId=u, sharedBy='late'), page(0, userId=u))
    assert talk.facts('user:' + u)['referred_by'] == 'late'
    talk.beacon(page(3, userId=u, properties={'shared_by': 'early'}))
    talk.orders(order(fresh('O'), 'paid', 4, userId=u, sharedBy='order'))
    assert talk.facts('user:' + u)['referred_by'] == 'early'


# --- wide maps ------------------------------------------------------------------------------------------------


def views(u, numbers):
    return [track(n * 10, userId=u, mid=f'{u}.{n}', properties={'product_id': f'p{n}'}) for n in numbers]


def wide(numbers, kept):
    """The map when each of these was viewed once and only those stand by name."""
    out = {f'p{n}': counts(1, 0, 0, 0) for n in numbers if n in kept}
    rest = sum(n not in kept for n in numbers)
    return {**out, '*': counts(rest, 0, 0, 0)} if rest else out


def test_a_thousand_names_and_the_rest(talk):
    u = fresh('u')
    talk.beacon(*views(u, range(10, 1010)))
    assert by(talk, u, 'product') == wide(range(10, 1010), range(10, 1010))
    talk.beacon(*views(u, range(1010, 1013)))
    assert by(talk, u, 'product') == wide(range(10, 1013), range(10, 1010))
    talk.beacon(*views(u, [3, 5]))  # late: earlier than all the others
    assert by(talk, u, 'product') == wide([3, 5, *range(10, 1013)], [3, 5, *range(10, 1008)])
    talk.beacon(track(1, userId=u, properties={'product_id': 'p1012'}))
    want = wide([3, 5, *range(10, 1012)], [3, 5, *range(10, 1007)])
    assert by(talk, u, 'product') == {**want, 'p1012': counts(2, 0, 0, 0)}
    assert talk.facts('user:' + u)['products_viewed'] == 1006


def test_wide_maps_whatever_the_arrival(talk):
    want = None
    for seed in range(3):
        u = fresh('u')
        events = views(u, range(1200))
        random.Random(seed).shuffle(events)
        for n in range(0, len(events), 171):
            talk.beacon(*events[n:n + 171])
            by(talk, u, 'product')
        want = want or wide(range(1200), range(1000))
        assert by(talk, u, 'product') == want


def test_an_order_gives_its_names_at_placed_at(talk):
    u = fresh('u')
    talk.beacon(*views(u, range(1, 1001)))
    items = [{'productId': 'late', 'price': 2, 'quantity': 3}]
    talk.orders(order('A' + u, 'paid', 20_000, userId=u, items=items))
    assert by(talk, u, 'product') == {**wide(range(1, 1001), range(1, 1001)), '*': counts(0, 0, 3, 6)}
    talk.orders(order('A' + u, 'created', 1, userId=u))  # placed earlier now
    assert by(talk, u, 'product') == {**wide(range(1, 1001), range(1, 1000)), 'late': counts(0, 0, 3, 6)}
    talk.orders(order('A' + u, 'cancelled', 30_000, userId=u))
    assert by(talk, u, 'product') == wide(range(1, 1001), range(1, 1001))
    assert '*' not in by(talk, u, 'product')


def test_a_name_called_star_and_the_rest(talk):
    u = fresh('u')
    talk.beacon(track(1, userId=u, properties={'product_id': '*'}), *views(u, range(1, 1002)))
    got = by(talk, u, 'product')
    assert sum(v['views'] for v in got.values()) == 1002 and got['*']['views'] >= 2


def test_wide_maps_of_orders(talk):
    u = fresh('u')
    talk.orders(*(order(f'{u}.{n}', 'paid', n, userId=u, total=2, channel=f'c{n}') for n in range(1003)))
    got = by(talk, u, 'channel')
    assert got == {**{f'c{n}': {'orders': 1, 'amount': 2} for n in range(1000)}, '*': {'orders': 3, 'amount': 6}}
    talk.orders(order(f'{u}.0', 'cancelled', 5000, userId=u))
    got = by(talk, u, 'channel')
    assert got == {**{f'c{n}': {'orders': 1, 'amount': 2} for n in range(1, 1001)}, '*': {'orders': 2, 'amount': 4}}


# --- the local clock ------------------------------------------------------------------------------------------


def seen(talk, times):
    d = fresh('d')
    talk.server(*({'type': 'page', 'anonymousId': d, 'timestamp': t} for t in times))
    f = talk.facts('anon:' + d)
    return {int(k): v for k, v in f['by']['hour'].items()}, {int(k): v for k, v in f['by']['weekday'].items()}


@pytest.mark.parametrize(
    'times, hours, weekdays',
    [
        (['2024-01-15T12:00:00Z'], {13: 1}, {1: 1}),  # winter, a Monday
        (['2024-07-15T12:00:00Z'], {14: 1}, {1: 1}),  # summer
        (['2024-03-31T00:59:59.999Z', '2024-03-31T01:00:00Z'], {1: 1, 3: 1}, {7: 2}),  # no 2 o'clock
        (['2024-10-27T00:30:00Z', '2024-10-27T01:30:00Z', '2024-10-27T02:00:00Z'], {2: 2, 3: 1}, {7: 3
                                                                                                  }),  # 2 o'clock twice
        (['2024-06-30T21:59:59Z', '2024-06-30T22:00:00Z'], {23: 1, 0: 1}, {7: 1, 1: 1}),  # Sunday becomes Monday
        (['2024-12-31T23:00:00Z', '2025-01-01T22:59:59Z'], {0: 1, 23: 1}, {3: 2}),  # Wednesday
        (['1970-01-01T00:00:00Z'], {1: 1}, {4: 1}),
        (['1980-04-06T00:59:59Z', '1980-04-06T01:00:00Z'], {1: 1, 3: 1}, {7: 2}),  # the first summer time since the war
        (['2024-02-29T23:30:00+01:00'], {23: 1}, {4: 1}),
    ])
def test_hours_and_weekdays_in_berlin(berlin, times, hours, weekdays):
    assert seen(berlin, times) == (hours, weekdays)


def test_hours_in_utc(talk):
    assert seen(talk,
                ['2024-10-27T00:30:00Z', '2024-10-27T01:30:00Z', '2024-10-26T23:59:59.999Z']) == ({0: 1, 1: 1,
                                                                                                   23: 1}, {7: 2, 6: 1})


def test_the_configured_currency(berlin):
    u = fresh('u')
    berlin.orders(order('A' + u, 'paid', 0, userId=u, total=5),
                  order('B' + u, 'paid', 0, userId=u, total=7, currency='GBP'))
    f = berlin.facts('user:' + u)
    assert (f['gross'], f['orders']) == (5, 2)
    assert f['amounts_by_currency'].keys() == {'EUR', 'GBP'}


def test_hours_count_session_events_only(talk):
    u = fresh('u')
    talk.server(track(0, userId=u), page(HOUR, userId=u), {**page(2 * HOUR, userId=u), 'type': 'identify'})
    assert by(talk, u, 'hour') == {'1': 1} and by(talk, u, 'weekday') == {'1': 1}


def test_discounts(talk):
    u = fresh('u')
    talk.orders(order('A' + u, 'paid', 0, userId=u, total=5, discount=1.5),
                order('B' + u, 'paid', 0, userId=u, total=5, discount=2),
                order('C' + u, 'paid', 0, userId=u, total=5, discount=4), order('C' + u, 'cancelled', 1, userId=u))
    assert talk.facts('user:' + u)['discount'] == D('3.5')


def test_mean_days_with_one_order_is_null(talk):
    u = fresh('u')
    talk.orders(order('A' + u, 'paid', 0, userId=u))
    assert talk.facts('user:' + u)['mean_days_between_orders'] is None
    talk.orders(order('B' + u, 'paid', 36 * HOUR, userId=u))
    assert talk.facts('user:' + u)['mean_days_between_orders'] == D('1.5')


def test_as_of(talk):
    u = fresh('u')
    talk.beacon(page(0, userId=u), page(DAY, userId=u), track(2 * DAY, userId=u, properties={'category': 'c'}))
    talk.orders(order('A' + u, 'created', DAY, userId=u, total=9), order('A' + u, 'cancelled', 3 * DAY, userId=u),
                order('A' + u, 'created', DAY, userId=u, total=9))
    f = talk.facts('user:' + u, as_of=at(DAY))
    assert (f['events'], f['pages'], f['orders'], f['gross'], f['last_seen'], f['by']['category']) == (3, 2, 1, 9,
                                                                                                       at(DAY), {})
    assert talk.order('user:' + u, 'A' + u, as_of=at(DAY))['status'] == 'created'
    assert len(talk.path('user:' + u, as_of=at(DAY))) == 3
    f = talk.facts('user:' + u, as_of=at(DAY - 1))
    assert (f['events'], f['orders']) == (1, 0)
    assert talk.order_list('user:' + u, as_of=at(DAY - 1)) == {}
    assert talk.facts('user:' + u, as_of=at(3 * DAY)) == talk.facts('user:' + u)
    talk.profile('user:' + u, status=404, as_of=at(-1))
