"""A person who left something in every place where one may, neighbours who share as much as one may, their erasure, and the
search for what is left of them. An Instance and a Cluster are asked alike."""
import errno
import json
import os
import random
import string
import threading
import urllib.parse

from support.instance import BEACON, SERVER, TOKEN, decode, total, wait_until
from support.talk import MINUTE, at, order, page, track

ALPHABET = string.ascii_letters + string.digits
MARK = 24
OF_ALL = ('rfm_frequency', 'rfm_monetary', 'rfm_recency', 'rfm_score', 'rfm_segment', 'value_class', 'key_customer')
FAST = '  commit_interval: 100ms\n'


class Marks:
    """Values that stand nowhere else, each for one place: random, so that LZ4 leaves them as they are."""

    def __init__(self):
        self.made = {}

    def __call__(self, place):
        assert place not in self.made, place
        self.made[place] = ''.join(random.SystemRandom().choices(ALPHABET, k=MARK))
        return self.made[place]

    def of(self, *places):
        return {p: self.made[p] for p in places}


def pieces(value):
    """A chance match of four characters with what stands before breaks a value in two; some piece stays whole."""
    return [value[i:i + 10].encode() for i in (0, 7, 14)]


def read_whole(path):
    """What was ever written: a file may be much larger, as Kafka's indices and the log's next file are. Where something is
    left out stands a line's end."""
    data, at = [], 0
    try:
        with open(path, 'rb') as f:
            while True:
                try:
                    begin = os.lseek(f.fileno(), at, os.SEEK_DATA)
                except OSError as e:
                    if e.errno == errno.ENXIO:  # nothing is behind it
                        return b'\n'.join(data)
                    raise
                at = os.lseek(f.fileno(), begin, os.SEEK_HOLE)
                f.seek(begin)
                data.append(f.read(at - begin))
    except OSError:  # gone meanwhile, or a socket
        return b''


def found_in(folder, marks):
    """(place, file) of each value of which a piece stands in a file below the folder."""
    needles, found = [(p, n) for p, v in marks.items() for n in pieces(v)], set()
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            data = read_whole(path) + b'\n' + path.encode()
            found |= {(place, os.path.relpath(path, folder)) for place, needle in needles if needle in data}
    return found


def places(found):
    return {place for place, _ in found}


def found_in_redis(redis, marks):
    """(place, key) of each value of which a piece stands in a key or a value of Redis."""
    needles, found = [(p, n) for p, v in marks.items() for n in pieces(v)], set()
    client = redis.client()
    read = {b'string': client.get, b'hash': client.hgetall, b'list': lambda k: client.lrange(k, 0, -1),
            b'set': client.smembers, b'zset': lambda k: client.zrange(k, 0, -1)}
    for key in client.scan_iter(count=1000):
        data = key + b'\n' + repr(read.get(client.type(key), client.dump)(key)).encode()
        found |= {(place, key) for place, needle in needles if needle in data}
    return found


class Shop:
    """`home`: an Instance or a Cluster."""

    def __init__(self, home):
        self.home, self.cluster = home, hasattr(home, 'collectors')

    def post(self, path, body, key=SERVER):
        def taken():
            s, h, b = (self.home.collectors[0] if self.cluster else self.home).post(path, body, key)
            return s != 503 and (s, h, b)
        s, h, b = wait_until(taken, 60, 'the collector to take events')
        assert s == 200 and not b['rejected'], (s, b)
        return h

    def send(self, *events, key=SERVER):
        return self.post('/v1/batch', {'batch': list(events)}, key)

    def ask_once(self, method, path, body=None, token=TOKEN, by=None):
        """(status, headers, answer)"""
        body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        headers = {'Authorization': 'Bearer ' + token}
        if self.cluster:
            by = by or next(p for p in self.home.profilers if p.alive())
            s, h, b = by.request(method, path, body, headers)
        else:
            s, h, b = self.home.request('p', method, path, body, headers)
        return s, h, decode(b)

    def ask(self, method, path, body=None, limit=60, **more):
        """A 503 is waited for."""
        def answered():
            answer = self.ask_once(method, path, body, **more)
            return answer[0] != 503 and answer
        return wait_until(answered, limit, f'an answer of {method} {path}')

    def get(self, path, **query):
        s, _, b = self.ask('GET', path + ('?' + urllib.parse.urlencode(query) if query else ''))
        return s, b

    def profile(self, pid, suffix='', **query):
        return self.get(profile_path(pid) + suffix, **query)

    def whole_path(self, pid):
        return self.home.whole_path(pid)

    def drain(self):
        """Until all that is on the log is folded."""
        self.home.drain()

    def outcomes(self, outcome):
        parts = [p.metrics() for p in self.home.profilers if p.alive()] if self.cluster else [self.home.metrics()]
        return int(sum(m['waymark_state_events'].get(f'outcome="{outcome}"', 0) for m in parts))

    def check_conserved(self):
        """Each record of the log has one outcome."""
        if self.cluster:
            self.home.check_conserved()
            return
        m = self.home.drain()
        assert total(m, 'waymark_log_end_offset') == total(m, 'waymark_state_events')

    # --- erasing --------------------------------------------------------------------------------------------------
    def erase_once(self, pid, **more):
        """(status, place to ask, answer)"""
        s, h, b = self.ask('DELETE', profile_path(pid), **more)
        assert s in (200, 202), (s, b)
        return s, h.get('location'), b

    def completed(self, location, limit=60):
        """The receipt, once it is there."""
        def done():
            s, _, b = self.ask('GET', location)
            assert s in (200, 202), (s, b)
            return s == 200 and b
        return wait_until(done, limit, f'the erasure {location} to be complete')

    def erase(self, pid, limit=60, **more):
        s, location, b = self.erase_once(pid, **more)
        return b if s == 200 else self.completed(location, limit)

    def check_stopped(self):
        """Everything is stopped and the state is the fold of its own events."""
        for p in self.home.programs() if self.cluster else [self.home]:
            assert p.stop() == 0, p.log()[-3000:]
        for p in self.home.profilers if self.cluster else [self.home]:
            code, out, err = p.command('verify')
            assert code == 0 and '0 differences' in out, out + err


def profile_path(pid):
    return '/v1/profiles/' + urllib.parse.quote(pid, safe='')


def item(sku, price, **more):
    return {'productId': sku, 'sku': sku, 'name': f'A {sku}', 'category': 'Things', 'price': price, 'quantity': 2, **more}


class Person:
    """Somebody with a user id, three devices of their own (one known by an alias only) and a part in one that others use."""

    def __init__(self, shared=None):
        m = self.marks = Marks()
        self.sealed = Marks()  # these stand nowhere in the clear, ever
        self.user, self.phone, self.laptop, self.old = (m(x) for x in ('user', 'phone', 'laptop', 'old device'))
        self.shared = shared
        self.orders = [f'o{i}-{random.SystemRandom().randrange(10 ** 12)}' for i in range(4)]
        self.ids = ['user:' + self.user] + ['anon:' + d for d in (self.phone, self.laptop, self.old)]

    def mid(self, what):
        return self.marks('message id: ' + what)

    def here(self, what):
        """A place of the shop that nobody else visits."""
        return {'url': f'https://shop.example/{self.marks("url: " + what)}', 'title': self.marks('title: ' + what)}

    def devices_story(self):
        m, u = self.mid, {'userId': self.user}
        phone, laptop, old = ({'anonymousId': d} for d in (self.phone, self.laptop, self.old))
        yield page(0, m('before the link'), **phone, properties=self.here('before the link'),
                   context={'userAgent': self.marks('agent'), 'campaign': {'name': self.marks('campaign'), 'source': 'mail'}})
        yield track(MINUTE, 'Product Viewed', m('view'), **phone, properties={'sku': 's1', 'note': self.marks('property')})
        yield page(3 * MINUTE, m('after the link'), **phone, properties=self.here('after the link'))
        yield track(4 * MINUTE, 'Order Completed', m('order of the phone'), **phone, properties={
            'order_id': self.orders[0], 'total': 30, 'products': [item('s1', 15)], 'remark': self.marks('remark of the order')})
        yield page(5 * MINUTE, m('laptop'), **laptop, properties=self.here('laptop'))
        yield page(6 * MINUTE, m('log-in'), **laptop, **u, properties=self.here('log-in'))
        yield track(7 * MINUTE, self.marks('event name'), m('laptop again'), **laptop, properties={'email': self.sealed('property') + '@x.example'})
        yield {'type': 'group', 'messageId': m('group'), 'timestamp': at(7 * MINUTE), 'groupId': self.marks('group'), **u}
        yield {'type': 'screen', 'messageId': m('screen'), 'timestamp': at(8 * MINUTE), 'name': self.marks('screen'), **old}
        yield {'type': 'alias', 'messageId': m('alias'), 'timestamp': at(9 * MINUTE), 'previousId': self.old, **u}
        yield page(10 * MINUTE, m('after the alias'), **old, properties=self.here('after the alias'))
        if self.shared:
            shared = {'anonymousId': self.shared}
            yield page(20 * MINUTE, m('shared, before'), **shared, properties=self.here('shared, before'))
            yield page(21 * MINUTE, m('shared, log-in'), **shared, **u, properties=self.here('shared, log-in'))
            yield page(22 * MINUTE, m('shared, after'), **shared, properties=self.here('shared, after'))

    def traits(self, where):
        s = self.sealed
        return {'email': s(where + ' email') + '@x.example', 'phone': s(where + ' phone'), 'wechat': s(where + ' wechat'),
                'name': s(where + ' name'), 'street': s(where + ' street'), 'username': s(where + ' login'),
                'shipping_addresses': [{'receiver': s(where + ' receiver'), 'street': s(where + ' address'), 'default': True}],
                'bank_account': s(where + ' account'), 'passport': s(where + ' passport'),
                'nickname': self.marks(where + ' nickname'), 'plan': self.marks(where + ' plan'),
                'shoe': self.marks(where + ' trait of the shop')}

    def identify(self):
        return {'type': 'identify', 'messageId': self.mid('identify'), 'timestamp': at(2 * MINUTE), 'userId': self.user,
                'anonymousId': self.phone, 'traits': self.traits('identify'), 'traitsOnce': {'found': self.marks('trait once')},
                'traitsAdd': {'points': 7}, 'consent': {'marketing': True}}

    def order_logs(self):
        """The phone's order paid, one that only the back end speaks of, a guest's that is known later."""
        m, (phones, own, guests, _) = self.mid, self.orders
        who = {'userId': self.user}
        yield order(phones, 'paid', 11 * MINUTE, messageId=m('phone order paid'), **who)
        yield order(own, 'paid', 12 * MINUTE, messageId=m('own order'), total=50, items=[item('s2', 25)],
                    clerk_note=self.marks('note of the order'), email=self.sealed('order') + '@x.example', **who)
        yield order(own, 'refunded', 13 * MINUTE, messageId=m('refund'), refund={'id': 'r1', 'amount': 5}, **who)
        yield order(guests, 'paid', 14 * MINUTE, messageId=m('guest order'), total=20, items=[item('s3', 10)])
        yield order(guests, 'shipped', 15 * MINUTE, messageId=m('guest known'), **who)

    def put(self):
        return {'traits': self.traits('put'), 'time': at(16 * MINUTE)}

    def tell(self, shop):
        """Says all of it, shuffled."""
        events = [*self.devices_story(), self.identify()]
        logs = list(self.order_logs())
        random.Random(7).shuffle(events)
        random.Random(8).shuffle(logs)
        for e in events:
            shop.send(e)
        shop.post('/v1/orders', logs)
        s, _, b = shop.ask('PUT', profile_path('user:' + self.user) + '/traits', self.put())
        assert s == 200, (s, b)


class Neighbour:
    """Somebody who shares a device, and an order, with the person, or nothing at all."""

    def __init__(self, shared=None, their_order=None):
        m = self.marks = Marks()
        self.user, self.phone = m('user'), m('phone')
        self.shared, self.their_order = shared, their_order
        self.order = f'n-{random.SystemRandom().randrange(10 ** 12)}'
        self.ids = ['user:' + self.user, 'anon:' + self.phone] + (['anon:' + shared] if shared else [])

    def tell(self, shop):
        m, u, phone = self.marks, {'userId': self.user}, {'anonymousId': self.phone}
        events = [page(0, m('message id 0'), **phone, properties={'url': 'https://shop.example/' + m('url')}),
                  {'type': 'identify', 'messageId': m('message id 1'), 'timestamp': at(MINUTE), **u, **phone,
                   'traits': {'email': 'n@x.example', 'plan': m('plan')}},
                  page(2 * MINUTE, m('message id 2'), **phone)]
        logs = [order(self.order, 'paid', 3 * MINUTE, messageId=m('message id 3'), total=9, items=[item('s1', 4)], **u)]
        if self.shared:
            shared = {'anonymousId': self.shared}
            events += [page(30 * MINUTE, m('message id 4'), **shared, **u), page(31 * MINUTE, m('message id 5'), **shared)]
        if self.their_order:  # both speak of it, the back end for the neighbour
            logs.append(order(self.their_order, 'paid', 40 * MINUTE, messageId=m('message id 6'), total=77, **u))
        for e in events:
            shop.send(e)
        shop.post('/v1/orders', logs)

    def shown(self, shop):
        """All that there is to see of them, to be compared; a version is nothing that events say, nor is a tag that compares
        them with everybody."""
        def plain(answer):
            if isinstance(answer, dict) and 'first_evidence' in answer:  # of a device; its own home alone tells more
                return {k: answer[k] for k in ('id', 'linked', 'reason', 'first_evidence')}
            if isinstance(answer, dict):
                return {k: plain(v) for k, v in answer.items() if k not in ('version', 'made_at', *OF_ALL)}
            return [plain(v) for v in answer] if isinstance(answer, list) else answer
        out = {}
        for pid in self.ids[:2]:
            for suffix, query in (('', {'include': 'contact', 'verbose': 'true'}), ('/path', {'limit': 1000}), ('/orders', {}),
                                  ('/data', {}), ('/identity', {})):
                s, b = shop.profile(pid, suffix, **query)
                assert s == 200, (pid, suffix, s, b)
                out[pid + suffix] = plain(b)
        s, b = shop.get(f'/v1/orders/{self.order}/scene')
        assert s == 200, (s, b)
        out['scene'] = plain(b)
        return out


class Story:
    """The person, a neighbour who shares a device and an order, and one who shares nothing, told to a shop."""

    def __init__(self, shop):
        self.shop = shop
        tablet = 'tablet' + str(random.SystemRandom().randrange(10 ** 12))
        self.person = Person(tablet)
        self.neighbour = Neighbour(tablet, self.person.orders[3])
        self.stranger = Neighbour()
        self.person.tell(shop)
        shop.send(track(39 * MINUTE, 'Order Completed', self.person.mid('order of both'), userId=self.person.user,
                        properties={'order_id': self.person.orders[3], 'total': 70}), key=BEACON)
        self.neighbour.tell(shop)
        self.stranger.tell(shop)
        shop.drain()
        self.before = self.others()
        self.amounts = {o: self.amount(o) for o in self.person.orders[:3]}
        check_told(shop, self.person)

    def others(self):
        return [self.neighbour.shown(self.shop), self.stranger.shown(self.shop)]

    def amount(self, oid):
        s, b = self.shop.get(f'/v1/orders/{oid}/scene')
        assert s == 200, (oid, s, b)
        o = b['order']
        return {k: o[k] for k in ('order_id', 'status', 'currency', 'total', 'refunded', 'placed_at')}

    def check_neighbours(self):
        for was, is_ in zip(self.before, self.others()):
            assert set(was) == set(is_)
            for what, answer in was.items():
                assert is_[what] == answer, f'{what}: {is_[what]}\nwas {answer}'

    def check_gone(self):
        check_gone(self.shop, self.person)
        for o in self.person.orders[:3]:
            assert self.amount(o) == self.amounts[o], o
            s, b = self.shop.get(f'/v1/orders/{o}/scene')
            assert named_in(b, self.person) == set(), b
        assert named_in(self.others(), self.person) == set()
        self.check_neighbours()


def named_in(answer, person):
    """Which of the person's values an answer holds."""
    text = json.dumps(answer, default=str)
    return {place for place, v in {**person.marks.made, **person.sealed.made}.items() if v in text}


def tail(shop):
    """Every event that the tails of all profilers still tell."""
    out = []
    for by in [p for p in shop.home.profilers if p.alive()] if shop.cluster else [None]:
        position = '0:0'
        while position:
            s, _, b = shop.ask('GET', f'/v1/tail?after={position}&limit=1000&wait=0ms', by=by)
            assert s == 200, (s, b)
            out += b['events']
            position = b['events'] and b['position']
    return out


def check_told(shop, person):
    """Who is to be erased is there, over all routes that the erasure is checked by."""
    pid = 'user:' + person.user
    for i in person.ids:
        s, b = shop.profile(i)
        assert s == 200 and b['id'] == pid, (i, s, b)
    s, b = shop.profile(pid, '/orders')
    assert {o['order_id'] for o in b['orders']} == set(person.orders[:3]), b
    s, b = shop.profile(pid, '/data')
    shown = named_in(b, person)
    missing = {p for p in {**person.marks.made, **person.sealed.made} if p not in shown and not p.startswith('identify ')}
    assert s == 200 and not missing - {'old device', 'message id: order of both'}, missing
    lost = set(person.marks.of(*(p for p in person.marks.made if p.startswith('url: ')))) - named_in(tail(shop), person)
    assert len(lost) <= 1, lost  # the first record of all is not asked for


def check_gone(shop, person):
    """The person is answered as somebody who never was, whoever is asked."""
    nobody = random.SystemRandom().randrange(10 ** 18)
    for pid in person.ids:
        kind = pid.split(':')[0]
        for suffix, query in (('', {}), ('', {'include': 'contact,shipping,payment,certification', 'verbose': 'true'}),
                              ('', {'as_of': at(18 * MINUTE)}), ('/path', {}), ('/orders', {}), ('/data', {}), ('/identity', {}), ('/traits', {})):
            s, b = shop.profile(pid, suffix, **query)
            want_s, want = shop.profile(f'{kind}:{nobody}', suffix, **query)
            assert s == want_s and s in (404, 405), (pid, suffix, s, b)
            assert json.dumps(b).replace(pid, '') == json.dumps(want).replace(f'{kind}:{nobody}', ''), (pid, suffix, b, want)
    s, _, b = shop.ask('POST', '/v1/profiles:lookup', {'ids': person.ids})
    assert s == 200 and b['profiles'] == [] and sorted(b['not_found']) == sorted(person.ids), b
    assert named_in(tail(shop), person) == set()
    if person.shared:
        for suffix in ('', '/identity', '/path', '/data'):
            s, b = shop.profile('anon:' + person.shared, suffix)
            assert s == 200 and named_in(b, person) == set(), (suffix, b)


def killed_soon(program, seconds):
    """Kills it that much later."""
    t = threading.Timer(seconds, program.kill)
    t.start()
    return t
