"""Every example of config/RULES.md against the people that the page describes: an audience of each rule has the members
that the page says, and every rule that it calls refused is refused there, at that column."""
import datetime
import json
import os
import re

import pytest

from tests.support.instance import SERVER, Instance, wait_until

PAGE = os.path.join(os.path.dirname(__file__), '..', '..', 'config', 'RULES.md')
PEOPLE = {'Ann': 'user:ann', 'Bob': 'user:bob', 'Cara': 'anon:cara'}
NOW = datetime.datetime.now(datetime.timezone.utc)


def ago(days, minutes=0):
    t = NOW - datetime.timedelta(days=days) + datetime.timedelta(minutes=minutes)
    return t.isoformat(timespec='milliseconds').replace('+00:00', 'Z')


def birthday():
    """In three days, of a year that has every day."""
    day = (NOW + datetime.timedelta(days=3)).date()
    return f'1992-{day.month:02}-{day.day:02}'


def order(who, number, days, total, category, **more):
    return {'orderId': number, 'userId': who, 'status': 'paid', 'timestamp': ago(days), 'total': total,
            'items': [{'productId': number, 'category': category, 'price': total, 'quantity': 1}], **more}


def seen(days, minutes, **more):
    return {'timestamp': ago(days, minutes), 'messageId': f'm{days}-{minutes}-{more.get("event", more["type"])}', **more}


def track(days, minutes, event, who, **properties):
    return seen(days, minutes, type='track', event=event, **who, properties=properties)


def story():
    ann, bob, cara = ({'userId': 'ann', 'anonymousId': 'a1'}, {'userId': 'bob', 'anonymousId': 'b1'}, {'anonymousId': 'cara'})
    hat, shoes = {'product_id': 'h', 'category': 'Hats', 'price': 50}, {'product_id': 's', 'category': 'Shoes'}
    events = [
        seen(400, 0, type='page', **ann, context={'page': {'url': 'https://shop.example/'}}),
        seen(300, -10, type='page', **ann, context={'campaign': {'name': 'summer', 'source': 'mail'},
                                                    'page': {'url': 'https://shop.example/shoes'}}),
        *(track(3, m, 'Product Viewed', ann, **hat) for m in (0, 5, 10)),
        track(3, 15, 'Product Added', ann, **hat),
        seen(20, 1, type='identify', userId='ann', traits={'city': 'Turin', 'birthday': birthday(),
                                                           'email': 'ANN@EXAMPLE.COM'}, context=consent(True)),
        track(40, 0, 'Product Viewed', bob, price=120, **shoes),
        seen(40, 1, type='identify', userId='bob', traits={'city': 'Milan'}, context=consent(False)),
        seen(1, 0, type='page', **cara, context={'page': {'url': 'https://shop.example/'}}),
        track(1, 2, 'Product Viewed', cara, price=70, **shoes),
    ]
    orders = [order('ann', 'A1', 300, 60, 'Shoes'), order('ann', 'A2', 200, 80, 'Shoes'), order('ann', 'A3', 100, 100, 'Shoes'),
              order('ann', 'A4', 20, 200, 'Hats'), order('bob', 'B1', 35, 30, 'Shoes'),
              {'orderId': 'B1', 'userId': 'bob', 'status': 'refunded', 'timestamp': ago(30), 'refund': {'id': 'r', 'amount': 30}}]
    return events, orders


def consent(email):
    return {'consent': {'categoryPreferences': {'email': email}}}


def examples():
    with open(PAGE) as f:
        text = f.read()
    found = re.findall(r'^(\d+)\. (.*?)\n +```cel\n(.*?)\n +```\n +Means: (.*?)$', text, re.M | re.S)
    return [(int(n), ' '.join(rule.split()), sorted(PEOPLE[w] for w in who.split(', '))) for n, _, rule, who in found]


def refusals():
    with open(PAGE) as f:
        text = f.read()
    table = text[text.index('## When a rule is refused'):]
    return re.findall(r'^\| `(.*?)` \| (\d+) \| (.*?) \|$', table[:table.index('\n## ')], re.M)


def put(shop, name, rule):
    status, _, body = shop.request('p', 'PUT', f'/v1/audiences/{name}', json.dumps({'rule': rule}).encode(),
                                   {'Content-Type': 'application/json'})
    return status, json.loads(body)


@pytest.fixture(scope='module')
def shop():
    with Instance() as inst:
        events, orders = story()
        assert inst.post('/v1/batch', {'batch': events}, SERVER)[2]['accepted'] == len(events)
        assert inst.post('/v1/orders', orders, SERVER)[2]['accepted'] == len(orders)
        inst.drain()
        yield inst


def test_there_are_twenty():
    assert [n for n, _, _ in examples()] == list(range(1, 21))
    assert len(refusals()) == 6


def test_examples(shop):
    wrong = []
    for n, rule, want in examples():
        name = 'loyal' if n == 1 else f'example-{n}'
        status, body = put(shop, name, rule)
        assert status in (200, 201), (n, rule, body)

        def members():
            s, b = shop.get(f'/v1/audiences/{name}/members')
            return s == 200 and sorted(b['members']) == want
        try:
            wait_until(members, 10)
        except AssertionError:
            wrong.append((n, rule, want, shop.get(f'/v1/audiences/{name}/members')))
    assert not wrong


@pytest.mark.parametrize('rule, column, words', refusals())
def test_refused(shop, rule, column, words):
    status, body = put(shop, 'refused', rule)
    assert status == 400 and body['code'] == 'rule_invalid', body
    assert (body['line'], body['column']) == (1, int(column)), body
    said, _, suggestion = words.partition('; suggests ')
    assert said in body['message'], body
    assert body.get('suggestion', '') == suggestion.strip('`'), body
