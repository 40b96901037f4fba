"""Orders, refunds and credit notes, as the reference of the figures words them. Every expected value is worked by
hand."""
import itertools
import json

import pytest

from support.instance import Instance
from support.talk import D, DAY, HOUR, Talk, at, fresh, order, page, track, talking


@pytest.fixture(scope='module')
def talk():
    with talking(Instance()) as t:
        yield t


def completed(oid, t, **properties):
    return track(t, 'Order Completed', properties={'order_id': oid, **properties})


def tell(talk, u, *statements):
    """Each is (key, event): beacon, server or order."""
    for key, event in statements:
        event = {'userId': u, **event}
        talk.orders(event) if key == 'order' else talk.beacon(event) if key == 'beacon' else talk.server(event)


def told(talk, *statements):
    """A user and an order id for which these were said; each is a function of the order id."""
    u, oid = fresh('u'), fresh('O')
    tell(talk, u, *((key, f(oid)) for key, f in statements))
    return 'user:' + u, oid


def log(status, t, **more):
    return 'order', lambda oid: order(oid, status, t, **more)


def line(price, quantity=None, **more):
    return {'price': price, **({} if quantity is None else {'quantity': quantity}), **more}


# --- statements of browser and back end -----------------------------------------------------------------------

FIVE = [
    ('beacon', lambda o: completed(o, 0, total=10, coupon='WEB', currency='GBP', tax=9, products=[line(10, sku='b')])),
    ('order', lambda o: order(o, 'paid', 1000, total=12, items=[line(6, 2, sku='s')], channel='shop')),
    ('server', lambda o: track(2000, 'Order Updated', properties={'order_id': o, 'total': 11, 'shipping': 1})),
    ('order', lambda o: order(o, 'shipped', 500, total=99, place={'city': 'Bath'})),
    ('beacon',
     lambda o: track(9000, 'Order Updated', properties={'order_id': o, 'total': 1, 'shipping': 7, 'channel': 'web'})),
]


@pytest.mark.parametrize('arrival', list(itertools.permutations(range(5)))[::7])
def test_browser_and_back_end_in_every_order(talk, arrival):
    pid, oid = told(talk, *(FIVE[n] for n in arrival))
    o = talk.order(pid, oid)
    assert (o['status'], o['placed_at'], o['total'], o['currency']) == ('paid', at(0), 11, 'GBP')
    assert o['history'] == [{'status': 'created', 'time': at(0)}, {'status': 'shipped', 'time': at(500)},
                            {'status': 'paid', 'time': at(1000)}]
    assert [(i['sku'], i['quantity'], i['price']) for i in o['items']] == [('s', 2, 6)]
    assert (o['channel'], o['place'], o['coupon'], o['tax'], o['shipping']) == ('shop', {'city': 'Bath'}, 'WEB', 9, 1)
    f = talk.facts(pid)
    assert (f['orders'], f['items'], f['gross'], f['spent'], f['events']) == (1, 2, 11, 11, 5)
    assert f['by']['channel'] == {'shop': {'orders': 1, 'amount': 11}}
    assert f['by']['city'] == {'Bath': {'orders': 1, 'amount': 11}}


def test_a_server_statement_beats_a_later_beacon(talk):
    pid, oid = told(talk, log('created', 0, total=5), ('beacon', lambda o: completed(o, DAY, total=7)))
    assert talk.order(pid, oid)['total'] == 5


def test_the_later_of_two_beacons_wins(talk):
    pid, oid = told(talk, ('beacon', lambda o: completed(o, 5, total=7)),
                    ('beacon', lambda o: completed(o, 0, total=5)))
    assert talk.order(pid, oid)['total'] == 7


def test_items_are_one_field(talk):
    pid, oid = told(talk, log('created', 0, items=[line(1, sku='a'), line(2, sku='b')]),
                    log('paid', 1, items=[line(3, sku='c')]))
    assert [i['sku'] for i in talk.order(pid, oid)['items']] == ['c']
    assert talk.order(pid, oid)['total'] == 3


STATUSES = ['created', 'paid', 'shipped', 'delivered', 'refunded', 'cancelled']


@pytest.mark.parametrize('a, b', itertools.combinations(range(6), 2))
def test_status_of_one_moment_is_the_one_further_along(talk, a, b):
    for first, second in ((a, b), (b, a)):
        pid, oid = told(talk, log(STATUSES[first], 0, total=1), log(STATUSES[second], 0, total=1))
        assert talk.order(pid, oid)['status'] == STATUSES[b]


def test_a_later_status_wins_even_if_less_far(talk):
    pid, oid = told(talk, log('delivered', 0), log('paid', 1))
    assert talk.order(pid, oid)['status'] == 'paid'


def test_a_beacon_neither_cancels_nor_refunds(talk):
    u, oid = fresh('u'), fresh('O')
    tell(talk, u, ('beacon', completed(oid, 0, total=9)),
         ('beacon', track(1, 'Order Cancelled', properties={'order_id': oid, 'total': 3, 'channel': 'x'})),
         ('beacon', track(2, 'Order Refunded', properties={'order_id': oid, 'total': 3})))
    o = talk.order('user:' + u, oid)
    assert (o['status'], o['total'], o['refunded'], len(o['history'])) == ('created', 9, 0, 1) and 'channel' not in o
    assert [e['order_id'] for e in talk.path('user:' + u)] == [oid] * 3
    f = talk.facts('user:' + u)
    assert (f['orders'], f['spent'], f['orders_cancelled'], f['events']) == (1, 9, 0, 3)


def test_only_a_beacon_refund_is_no_order(talk):
    u, oid = fresh('u'), fresh('O')
    tell(talk, u, ('beacon', track(2, 'Order Refunded', properties={'order_id': oid, 'total': 3})))
    assert talk.order_list('user:' + u) == {}
    assert talk.facts('user:' + u)['credit_notes'] == 0
    assert talk.get(f'/v1/orders/{oid}/scene', status=404)['code'] == 'order_not_found'


def test_a_track_without_an_order_id_is_no_statement(talk):
    u = fresh('u')
    tell(talk, u, ('beacon', track(0, 'Order Completed', properties={'total': 3})))
    assert talk.order_list('user:' + u) == {} and talk.facts('user:' + u)['orders'] == 0


def test_order_updated_alone_places_nothing(talk):
    pid, oid = told(talk, ('server', lambda o: track(0, 'Order Updated', properties={'order_id': o, 'total': 3})))
    f = talk.facts(pid)
    assert (f['orders'], f['gross'], f['credit_notes'], f['orders_cancelled']) == (0, 0, 0, 0)
    o = talk.order(pid, oid)
    assert o['history'] == [] and o.get('placed_at') is None


# --- totals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('fields, total',
                         [({'total': 7, 'revenue': 8, 'subtotal': 9, 'shipping': 1}, 7),
                          ({'total': 0, 'subtotal': 9}, 0),
                          ({'subtotal': 9, 'discount': 2, 'shipping': 1, 'tax': 0.5}, D('10.5')),
                          ({'items': [line(3, 2), line(1.5)], 'discount': 2, 'shipping': 1, 'tax': 0.5}, 7),
                          ({'items': [line(3, 0)]}, 0), ({'items': [{'sku': 'x', 'quantity': 4}]}, 0),
                          ({'shipping': 4.5}, D('4.5')), ({'discount': 4.5}, D('-4.5')), ({}, 0),
                          ({'total': -5}, -5), ])
def test_total(talk, fields, total):
    pid, oid = told(talk, log('created', 0, **fields))
    assert talk.order(pid, oid)['total'] == total
    assert talk.facts(pid)['gross'] == total


def test_revenue_of_the_browser_beats_subtotal(talk):
    pid, oid = told(talk, ('beacon', lambda o: completed(o, 0, revenue=8, subtotal=9, shipping=1)))
    assert talk.order(pid, oid)['total'] == 9


def test_total_is_put_together_from_several_statements(talk):
    pid, oid = told(talk, log('created', 0, subtotal=10), ('beacon', lambda o: completed(o, 1, tax=2)),
                    log('paid', 2, shipping=3))
    assert talk.order(pid, oid)['total'] == 15


# --- amounts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('written, want', [('59.970000000000006', '59.97'), ('0.0000005', '0.000001'),
                                           ('-0.0000005', '-0.000001'), ('0.00000049', '0'), ('1e-7', '0'),
                                           ('-1e-7', '0'), ('-0', '0'), ('-0.0', '0'), ('1e9', '1000000000'),
                                           ('-1e9', '-1000000000'), ('1E+2', '100'), ('123e-6', '0.000123'),
                                           ('8300065.814', '8300065.814'), ('999999999.999999', '999999999.999999'),
                                           ('0.1', '0.1'), ('"12.345678"', '12.345678'), ('"7"', '7'),
                                           ('"-0.5"', '-0.5'), ('1.0000004999', '1'), ('1.0000005', '1.000001'),
                                           ('2.5e-6', '0.000003'), ('0e999', '0'), ('1e-400', '0'),
                                           ('100000000000000000000e-20', '1'), ])
def test_amounts_are_exact(talk, written, want):
    u, oid = fresh('u'), fresh('O')
    body = json.dumps({'orderId': oid, 'status': 'paid', 'userId': u})[:-1] + f',"total":{written}}}'
    s, h, b = talk.inst.post('/v1/orders', body, 'sk_test_backend')
    assert (s, b['accepted']) == (200, 1), b
    raw = talk.inst.request('p', 'GET',
                            f'/v1/profiles/user:{u}/orders?wait=5s&after={h["x-waymark-position"]}')[2].decode()
    assert f'"total":{want},' in raw, raw


@pytest.mark.parametrize('written', [
    '1000000001', '1e10', '-1000000001', '1e999', '"1.0000001"', '"1e3"', '""', '"1,5"', '" 1"', '"NaN"', 'true', '[]',
    '{}', '"0x10"', '"1."', '".5"'
])
def test_amounts_that_are_none(talk, written):
    body = '{"orderId":"O","status":"paid","userId":"nobody-pays","total":' + written + '}'
    s, h, b = talk.inst.post('/v1/orders', body, 'sk_test_backend')
    assert (s, b['accepted'], [x['code'] for x in b['rejected']]) == (200, 0, ['value_invalid'])
    assert 'total' in b['rejected'][0]['message']


@pytest.mark.parametrize('quantity, good', [(1_000_000, True), (1_000_001, False), (0, True), (1.5, False), ('3', None),
                                            (-2, True), (-1_000_001, False), (True, False)])
def test_quantities(talk, quantity, good):
    u, oid = fresh('u'), fresh('O')
    s, h, b = talk.inst.post('/v1/orders', order(oid, 'paid', 0, userId=u, items=[line(1, quantity)]),
                             'sk_test_backend')
    assert good is None or (b['accepted'] == 1) == good, b
    if not good and b['rejected']:
        assert b['rejected'][0]['code'] == 'value_invalid'


def test_sums_are_wide(talk):
    big = [line('999999999.999999', 1_000_000, category='Gold')] * 30
    pid, oid = told(talk, log('paid', 0, items=big))
    assert talk.order(pid, oid)['total'] == D('29999999999999970')
    f = talk.facts(pid)
    assert f['gross'] == f['by']['category']['Gold']['amount'] == D('29999999999999970')
    assert f['items'] == 30_000_000
    tell(talk, pid[5:], ('order', order(fresh('O'), 'paid', 0, items=big[:1] * 3)),
         ('order', order(fresh('O'), 'paid', 0, total='0.000001')))
    assert talk.facts(pid)['spent'] == D('32999999999999967.000001')


# --- placed, counted, cancelled -------------------------------------------------------------------------------


def figures(talk, pid):
    f = talk.facts(pid)
    return {
        k: f[k]
        for k in ('orders', 'orders_cancelled', 'orders_refunded', 'credit_notes', 'gross', 'refunded', 'spent')
    }


def want(orders=0, cancelled=0, fully=0, notes=0, gross=0, refunded=0):
    return {
        'orders': orders, 'orders_cancelled': cancelled, 'orders_refunded': fully, 'credit_notes': notes,
        'gross': gross, 'refunded': refunded, 'spent': gross - refunded
    }


@pytest.mark.parametrize('said, figures_wanted', [
    ([log('created', 0, total=10)], want(1, gross=10)),
    ([log('created', 0, total=10), log('cancelled', 1)], want(cancelled=1)),
    ([log('created', 1, total=10), log('cancelled', 0)], want(1, gross=10)), ([log('cancelled', 0, total=10)], want()),
    ([log('created', 0, total=10), log('cancelled', 1),
      log('paid', 2)], want(1, gross=10)),
    ([log('created', 0, total=10), log('refunded', 1)], want(1, fully=1, gross=10, refunded=10)),
    ([log('created', 0, total=10), log('refunded', 1, refund={'amount': 4})], want(1, gross=10, refunded=4)),
    ([log('created', 0, total=10), log('refunded', 1, refund={'amount': 40})], want(1, fully=1, gross=10, refunded=10)),
    ([log('created', 0, total=10),
      log('refunded', 1, refund={'amount': 6}),
      log('refunded', 2, refund={'amount': 6})], want(1, fully=1, gross=10, refunded=10)),
    ([log('created', 0, total=10), log('refunded', 1, refund={'amount': -6})], want(1, gross=10)),
    ([log('refunded', 1, total=10)], want(notes=1, refunded=10)),
    ([log('refunded', 1, refund={'amount': 4}),
      log('refunded', 2, refund={'amount': 5})], want(notes=1, refunded=9)),
    ([log('refunded', 1, refund={'amount': 4}), log('cancelled', 2)], want(notes=1, refunded=4)),
    ([log('created', 0, total=0), log('refunded', 1, refund={'amount': 4})], want(1, fully=1)),
    ([log('created', 0, total=-3), log('refunded', 1, refund={'amount': 4})], want(1, fully=1, gross=-3)),
    ([log('created', 0, total=10, items=[line(2, 3)]),
      log('refunded', 1, items=[line(1, 4)])], want(1, gross=10, refunded=4)),
    ([log('created', 0, total=10),
      log('refunded', 1, refund={'items': [line(2, 2)]}, items=[line(1, 1)])], want(1, gross=10, refunded=4)),
    ([('beacon', lambda o: completed(o, 0, total=10)),
      ('server', lambda o: track(1, 'Order Refunded', properties={'order_id': o, 'total': 3, 'products': [line(1, 1)]}))
      ], want(1, gross=10, refunded=3)),
    ([('beacon', lambda o: completed(o, 0, total=10)),
      ('server', lambda o: track(1, 'Order Refunded', properties={'order_id': o, 'products': [line(1, 2)]}))
      ], want(1, gross=10, refunded=2)),
    ([('beacon', lambda o: completed(o, 0, total=10)),
      ('server', lambda o: track(1, 'Order Refunded', properties={'order_id': o}))
      ], want(1, fully=1, gross=10, refunded=10)),
    ([('beacon', lambda o: completed(o, 0, total=10)),
      ('server', lambda o: track(1, 'Order Cancelled', properties={'order_id': o}))], want(cancelled=1)),
    ([log('created', 0, total=10),
      log('refunded', 1, refund={'amount': 4}),
      log('cancelled', 2)], want(cancelled=1)),
    ([log('created', 5, total=10), log('refunded', 1, refund={'amount': 4})], want(1, gross=10, refunded=4)),
])
def test_what_counts(talk, said, figures_wanted):
    for arrival in itertools.permutations(said):
        pid, oid = told(talk, *arrival)
        assert figures(talk, pid) == figures_wanted, arrival
        f = talk.facts(pid)
        assert f['amounts_by_currency'].get('GBP', {'spent': 0})['spent'] == figures_wanted['spent']


def test_cancelled_then_refunded_does_not_count(talk):
    pid, oid = told(talk, log('created', 0, total=10), log('cancelled', 1), log('refunded', 2))
    f = figures(talk, pid)
    assert (f['orders'], f['gross'], f['refunded'], f['spent'], f['credit_notes']) == (0, 0, 0, 0, 0)
    assert talk.order(pid, oid)['status'] == 'refunded'


def test_a_credit_note_that_becomes_an_order(talk):
    pid, oid = told(talk, log('refunded', DAY, total=10, refund={'amount': 30}, channel='till'))
    assert figures(talk, pid) == want(notes=1, refunded=30)
    assert talk.order(pid, oid)['channel'] == 'till'
    tell(talk, pid[5:], ('order', order(oid, 'paid', 0, total=20, items=[line(10, 2, category='Shoes')])))
    assert figures(talk, pid) == want(1, fully=1, gross=20, refunded=20)
    o = talk.order(pid, oid)
    assert (o['total'], o['refunded'], o['status'], o['placed_at']) == (20, 20, 'refunded', at(0))
    assert 'channel' not in o
    f = talk.facts(pid)
    assert (f['first_order_at'], f['items'], f['by']['category']['Shoes']['ordered']) == (at(0), 2, 2)


def test_a_refund_speaks_only_of_itself(talk):
    pid, oid = told(
        talk, log('created', 0, total=10, channel='a'),
        log('refunded', 1, total=3, channel='b', currency='EUR', discount=1, coupon='c', tax=4, place={'city': 'Bath'},
            items=[line(1, 2, category='X')]))
    o = talk.order(pid, oid)
    assert (o['total'], o['channel'], o['currency'], o['refunded']) == (10, 'a', 'GBP', 2)
    assert not {'discount', 'coupon', 'tax', 'place', 'items'} & {k for k, v in o.items() if v}
    f = talk.facts(pid)
    assert (f['by']['category'], f['by']['city'], f['discount']) == ({}, {}, 0)


# --- refunds with ids -----------------------------------------------------------------------------------------


def refunds_of(o):
    return [(r['time'], r['amount']) for r in o['refunds']]


def test_refunds_of_one_id_are_one(talk):
    r = lambda t, **more: log('refunded', t, refund={'id': 'r1', **more})
    for said in itertools.permutations(
        [log('created', 0, total=100),
         r(5, amount=10), r(3), r(9, amount=20),
         r(7, amount=15)]):
        pid, oid = told(talk, *said)
        o = talk.order(pid, oid)
        assert (o['refunded'], refunds_of(o)) == (20, [(at(3), 20)])


def test_a_refund_that_never_gets_an_amount_is_the_total(talk):
    pid, oid = told(talk, log('created', 0, total=100), log('refunded', 1, refund={'id': 'a', 'amount': 10}),
                    log('refunded', 2, refund={'id': 'b'}))
    assert refunds_of(talk.order(pid, oid)) == [(at(1), 10), (at(2), 90)]


def test_the_cut_is_in_the_order_of_events(talk):
    said = [
        log('created', 9, total=10),
        log('refunded', 1, refund={'id': 'a', 'amount': 6}),
        log('refunded', 2, refund={'id': 'b', 'amount': 6}),
        log('refunded', 3, refund={'id': 'c', 'amount': 6})
    ]
    for arrival in itertools.permutations(said):
        pid, oid = told(talk, *arrival)
        assert refunds_of(talk.order(pid, oid)) == [(at(1), 6), (at(2), 4), (at(3), 0)]


def test_a_refund_id_of_track_and_log_is_one(talk):
    pid, oid = told(
        talk, log('paid', 0, total=50), log('refunded', 5, refund={'id': 77, 'amount': 10}),
        ('server', lambda o: track(6, 'Order Refunded', properties={'order_id': o, 'total': 12, 'refund_id': '77'})))
    assert refunds_of(talk.order(pid, oid)) == [(at(5), 12)]


def test_the_same_refund_id_in_two_orders_is_two(talk):
    u = fresh('u')
    for n in range(2):
        oid = fresh('O')
        tell(talk, u, ('order', order(oid, 'paid', 0, total=50)),
             ('order', order(oid, 'refunded', 1, refund={'id': 'r', 'amount': 5})))
    assert talk.facts('user:' + u)['refunded'] == 10


# --- currencies -----------------------------------------------------------------------------------------------


def test_another_currency(talk):
    u = fresh('u')
    tell(talk, u,
         ('order',
          order(fresh('O'), 'paid', 0, total=10, discount=1, channel='web', items=[line(10, 1, category='S', cost=4)])),
         ('order',
          order(fresh('O'), 'paid', DAY, total=7, discount=2, currency='EUR', channel='web', place={'city': 'Bonn'},
                items=[line(7, 3, category='S', cost=1)])),
         ('order', order(fresh('O'), 'refunded', DAY, refund={'amount': 3}, currency='EUR')))
    f = talk.facts('user:' + u)
    assert (f['orders'], f['items'], f['credit_notes'], f['mean_days_between_orders']) == (2, 4, 1, 1)
    assert (f['gross'], f['refunded'], f['spent'], f['discount'], f['cost'], f['margin']) == (10, 0, 10, 1, 4, 6)
    assert f['amounts_by_currency'] == {
        'GBP': {'gross': 10, 'refunded': 0, 'spent': 10, 'discount': 1},
        'EUR': {'gross': 7, 'refunded': 3, 'spent': 4, 'discount': 2}
    }
    assert f['by']['category'] == {'S': {'views': 0, 'added': 0, 'ordered': 4, 'amount': 10}}
    assert f['by']['channel'] == {'web': {'orders': 2, 'amount': 10}}
    assert f['by']['city'] == {'Bonn': {'orders': 1, 'amount': 0}}


def test_a_currency_stated_late(talk):
    pid, oid = told(talk, log('created', 0, total=10))
    assert talk.facts(pid)['gross'] == 10
    tell(talk, pid[5:], ('beacon', completed(oid, 5, currency='EUR')))
    assert (talk.facts(pid)['gross'], talk.order(pid, oid)['currency']) == (0, 'EUR')


# --- dates, costs ---------------------------------------------------------------------------------------------


def test_dates_of_orders(talk):
    u = fresh('u')
    for t in (DAY, 0, 10 * DAY, 4 * DAY):
        tell(talk, u, ('order', order(fresh('O'), 'paid', t, total=1)))
    tell(talk, u, ('order', order('gone' + u, 'paid', -DAY, total=1)),
         ('order', order('gone' + u, 'cancelled', 20 * DAY)))
    f = talk.facts('user:' + u)
    assert (f['first_order_at'], f['last_order_at'], f['orders'], f['orders_cancelled']) == (at(0), at(10 * DAY), 4, 1)
    assert abs(float(f['mean_days_between_orders']) - 10 / 3) < 1e-9


def test_placed_at_is_the_earliest_placing_statement(talk):
    pid, oid = told(talk, log('cancelled', 0), log('refunded', 1, refund={'amount': 1}), log('shipped', 7),
                    log('paid', 5), log('delivered', 9))
    assert talk.order(pid, oid)['placed_at'] == at(5)


def test_cost_and_margin(talk):
    u = fresh('u')
    tell(talk, u, ('order', order('A' + u, 'paid', 0, total=10, items=[line(5, 2, cost=1.25)])))
    f = talk.facts('user:' + u)
    assert (f['cost'], f['margin']) == (D('2.5'), D('7.5'))
    tell(talk, u, ('order', order('B' + u, 'paid', 0, total=10, items=[line(5, 2)])))
    f = talk.facts('user:' + u)
    assert (f['cost'], f['margin']) == (None, None)
    tell(talk, u, ('order', order('B' + u, 'cancelled', 1)))
    f = talk.facts('user:' + u)
    assert (f['cost'], f['margin']) == (D('2.5'), D('7.5'))


# --- one order log, said twice --------------------------------------------------------------------------------

SAME = [[{'total': 9.9}, {'total': '9.90'}], [{'total': 59.97}, {'total': 59.970000000000006}],
        [{'total': 0}, {'total': -0.0}],
        [{'items': [{'productId': 'p', 'listedAt': '2024-01-01T00:00:00Z'}]},
         {'items': [{'product_id': 'p', 'listed_at': '2024-01-01T01:00:00+01:00'}]}],
        [{'sharedBy': 'f'}, {'shared_by': 'f'}], [{'note': 'a'}, {'note': 'b'}],
        [{'total': 1}, {'total': 1, 'coupon': None}], [{'timestamp': at(7)}, {'timestamp': at(7)[:-1] + '999Z'}],
        [{'timestamp': at(7)}, {'timestamp': at(7)[:-1] + '+00:00'}], [{'orderId': 17}, {'orderId': '17'}],
        [{'refund': {'id': 5}}, {'refund': {'id': '5'}}], [{'refund': {'amount': 1}},
                                                           {'refund': {'amount': '1.000000'}}],
        [{'currency': 'EUR'}, {'currency': 'EUR'}], ]


@pytest.mark.parametrize('a, b', SAME)
def test_one_log_twice(talk, a, b):
    u = fresh('u')
    base = {'orderId': 'O' + u, 'status': 'refunded', 'userId': u, 'timestamp': at(7)}
    for log_ in (a, b):
        if 'orderId' in log_:
            base['anonymousId'] = u
        talk.orders({**base, **log_})
    assert talk.facts('user:' + u)['events'] == 1


OTHER = [[{'total': 9.9}, {'total': 9.91}], [{'coupon': 'a'}, {'coupon': 'b'}],
         [{'place': {'city': 'a'}}, {'place': {'district': 'a'}}], [{}, {'total': 0}], [{'items': []}, {}],
         [{'items': [{'sku': 'a'}, {'sku': 'b'}]}, {'items': [{'sku': 'b'}, {'sku': 'a'}]}],
         [{'channel': 'ab', 'coupon': 'c'}, {'channel': 'a', 'coupon': 'bc'}],
         [{'timestamp': at(7)}, {'timestamp': at(8)}],
         [{'items': [{'sku': 'a', 'quantity': 1}]}, {'items': [{'sku': 'a'}]}],
         [{'status': 'paid'}, {'status': 'shipped'}], [{'refund': {'id': 'a'}}, {'refund': {'id': 'b'}}],
         [{'tax': 1}, {'shipping': 1}], [{'currency': 'GBP'}, {}], [{'anonymousId': 'a'}, {}],
         [{'messageId': 'a'}, {'messageId': 'b'}], [{'channel': ''}, {}], ]


@pytest.mark.parametrize('a, b', OTHER)
def test_two_different_logs(talk, a, b):
    u = fresh('u')
    base = {'orderId': 'O' + u, 'status': 'refunded', 'userId': u, 'timestamp': at(7)}
    talk.orders({**base, **a}, {**base, **b})
    assert talk.facts('user:' + u)['events'] == 2


def test_a_log_without_a_time_said_twice_counts_once(talk):
    u = fresh('u')
    for _ in range(3):
        talk.orders({'orderId': 'O' + u, 'status': 'refunded', 'refund': {'amount': 2}, 'userId': u})
    f = talk.facts('user:' + u)
    assert (f['events'], f['refunded']) == (1, 2)


@pytest.mark.parametrize('arrival', itertools.permutations(range(3)))
def test_the_earliest_copy_of_a_statement_stands(talk, arrival):
    u, oid = fresh('u'), fresh('O')
    copies = [
        order(oid, 'paid', t, userId=u, messageId='m', total=t, items=[line(1, t, category=f'c{t}')]) for t in (5, 2, 9)
    ]
    for n in arrival:
        talk.orders(copies[n])
        talk.facts('user:' + u)
    o = talk.order('user:' + u, oid)
    assert (o['total'], o['placed_at'], [i['quantity'] for i in o['items']]) == (2, at(2), [2])
    f = talk.facts('user:' + u)
    assert (f['events'], f['orders'], f['gross'], list(f['by']['category'])) == (1, 1, 2, ['c2'])


def test_a_copy_that_names_another_order(talk):
    u = fresh('u')
    talk.orders(order('A' + u, 'paid', 5, userId=u, messageId='m', total=1))
    assert list(talk.order_list('user:' + u)) == ['A' + u]
    talk.orders(order('B' + u, 'paid', 4, userId=u, messageId='m', total=2))
    assert list(talk.order_list('user:' + u)) == ['B' + u]
    assert talk.facts('user:' + u)['gross'] == 2
    talk.get(f'/v1/orders/A{u}/scene', status=404)


def test_a_copy_may_be_of_another_type(talk):
    u, v = fresh('u'), fresh('v')
    talk.server(track(5, 'E', 'm', userId=u))
    talk.orders(order('A' + u, 'paid', 3, userId=u, messageId='m', total=1))
    assert [e['type'] for e in talk.path('user:' + u)] == ['order'] and talk.facts('user:' + u)['orders'] == 1
    talk.orders(order('A' + v, 'paid', 5, userId=v, messageId='m', total=1))
    talk.server(track(3, 'E', 'm', userId=v))
    assert [e['type'] for e in talk.path('user:' + v)] == ['track'] and talk.order_list('user:' + v) == {}
    talk.get(f'/v1/orders/A{v}/scene', status=404)


def test_an_order_that_names_nobody(talk):
    oid = fresh('O')
    talk.orders(order(oid, 'paid', 0, total=5), order(oid, 'shipped', 1))
    o = talk.order('anon:order:' + oid, oid)
    assert (o['profile'], o['status'], o['total']) == ('anon:order:' + oid, 'shipped', 5)
    assert talk.scene(oid)['who']['id'] == 'anon:order:' + oid


def test_blocked_ids_of_an_order_log_are_nobody(talk):
    oid = fresh('O')
    talk.orders(order(oid, 'paid', 0, userId='null', anonymousId='', total=5))
    assert talk.order('anon:order:' + oid, oid)['total'] == 5


# --- settings -------------------------------------------------------------------------------------------------


def test_orders_count_from_paid():
    with Instance(more_profiler='  orders_count_from: paid\n') as inst:
        talk = Talk(inst)
        pid, oid = told(talk, log('created', 0, total=10))
        assert figures(talk, pid) == want()
        assert (talk.order(pid, oid)['status'], talk.order(pid, oid).get('placed_at')) == ('created', None)
        tell(talk, pid[5:], ('order', order(oid, 'shipped', 9)))
        assert talk.order(pid, oid)['placed_at'] == at(9)
        tell(talk, pid[5:], ('order', order(oid, 'paid', 5)))
        assert (talk.order(pid, oid)['placed_at'], figures(talk, pid)) == (at(5), want(1, gross=10))
        # never placed and refunded, but stated as created: no credit note
        pid, oid = told(talk, log('created', 0, total=10), log('refunded', 1, refund={'amount': 4}))
        assert figures(talk, pid) == want()
        pid, oid = told(talk, log('created', 0, total=10), log('cancelled', 1))
        assert figures(talk, pid) == want()


def test_took_and_history_of_many_statements(talk):
    pid, oid = told(talk,
                    *(log(s, n * HOUR) for n, s in enumerate(['created', 'paid', 'shipped', 'delivered', 'refunded'])))
    o = talk.order(pid, oid)
    assert [(h['status'], h['time']) for h in o['history']
            ] == [(s, at(n * HOUR)) for n, s in enumerate(['created', 'paid', 'shipped', 'delivered', 'refunded'])]


def test_no_orders(talk):
    u = fresh('u')
    talk.beacon(page(0, userId=u))
    assert talk.profile('user:' + u, '/orders') == {'orders': []}
