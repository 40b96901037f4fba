"""A seeded shop whose events are the same whatever the clock says: sent with a server key, at times of their own, in
disorder and with copies. What the functions return is kept: nobody changes it."""
import functools
import random

from support.instance import SERVER
from support.talk import MONDAY, iso

PRODUCTS = [(f'sku{i}', f'Thing {i}', ['Shoes', 'Hats', 'Ünder\u0101'][i % 3], 5 + i * 3.17) for i in range(12)]


def _event(r, i, person):
    when = iso(MONDAY + i * 61_007 + r.randrange(1000))  # no two of a person at one time
    who = {'userId': f'u{person}'} if r.random() < 0.7 else {'anonymousId': f'd{person}'}
    if r.random() < 0.2:
        who = {'userId': f'u{person}', 'anonymousId': f'd{person}'}
    base = {'messageId': f'm{i}', 'timestamp': when, **who}
    sku, name, category, price = r.choice(PRODUCTS)
    kind = r.random()
    if kind < 0.4:
        return {'type': 'page', **base, 'properties': {'url': f'https://shop.example/{sku}', 'title': name}}
    if kind < 0.7:
        return {'type': 'track', 'event': r.choice(['Product Viewed', 'Product Added', 'Checkout Started']), **base,
                'properties': {'product_id': sku, 'name': name, 'category': category, 'price': round(price, 2)}}
    if kind < 0.75:
        return {'type': 'identify', **base, 'traits': {'tier': r.choice('abc')}}
    return None


def _order(r, i, person):
    """A user states each of their orders themselves: statements of one order meet under one id."""
    sku, name, category, price = r.choice(PRODUCTS)
    n = r.randrange(1, 4)
    status = r.choice(['created', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded'])
    return {'orderId': f'o{person}-{r.randrange(6)}', 'status': status, 'userId': f'u{person}', 'messageId': f'm{i}',
            'timestamp': iso(MONDAY + i * 61_007 + r.randrange(1000)), 'currency': r.choice(['GBP', 'GBP', 'EUR']),
            'total': round(price * n, 2), 'channel': r.choice(['web', 'store']),
            'items': [{'sku': sku, 'name': name, 'category': category, 'price': round(price, 2), 'quantity': n}]}


@functools.cache
def requests(seed, events=1500, people=40, batch=60):
    """(path, body) of every request, in the order of sending."""
    r = random.Random(seed)
    said = []
    for i in range(events):
        person = min(r.randrange(people), r.randrange(people))
        e = _event(r, i, person)
        said.append(('/v1/batch', e) if e else ('/v1/orders', _order(r, i, person)))
    for path, e in r.sample(said, events // 8):
        said.append((path, e))
        if path == '/v1/batch' and r.random() < 0.3:  # a copy that says a later time: the earlier one stands
            said.append((path, {**e, 'timestamp': iso(MONDAY + events * 61_007 + 1000 * len(said)), 'context': {'late': True}}))
    said.append(('/v1/batch', {'type': 'track', 'userId': 'u1'}))
    r.shuffle(said)
    out = []
    for i in range(0, len(said), batch):
        for path in ('/v1/batch', '/v1/orders'):
            body = [e for p, e in said[i:i + batch] if p == path]
            if body:
                out.append((path, {'batch': body} if path == '/v1/batch' else body))
    return out


def send(target, seed):
    """Through anything that has Instance's or Program's `post`."""
    for path, body in requests(seed):
        status, _, answer = target.post(path, body, SERVER)
        assert status == 200, (status, answer)


@functools.cache
def profiles(seed):
    ids = set()
    for _, body in requests(seed):
        for e in body['batch'] if isinstance(body, dict) else body:
            ids.add('user:' + e['userId'] if 'userId' in e else 'anon:' + e['anonymousId'])
    return sorted(ids)


@functools.cache
def linked(seed):
    """device -> its user, of the devices that an event with both ids links; each is one user's."""
    users = {}
    for _, body in requests(seed):
        for e in body['batch'] if isinstance(body, dict) else body:
            if 'userId' in e and 'anonymousId' in e:
                user = users.setdefault('anon:' + e['anonymousId'], 'user:' + e['userId'])
                assert user == 'user:' + e['userId']
    return users
