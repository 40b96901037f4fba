"""Says things to an instance and asks it back, reading its own writes. Standard library only."""
import contextlib
import datetime
import decimal
import itertools
import time
import urllib.parse

from support.instance import BEACON, SERVER, check_conserved

D = decimal.Decimal
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
GAP = 30 * MINUTE
# A Monday far enough back for every test and recent enough for a beacon key.
_today = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
_monday = _today - datetime.timedelta(days=_today.weekday() + 98)
MONDAY = int(_monday.timestamp()) * 1000
_fresh = itertools.count()


def iso(ms):
    t = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return t.strftime('%Y-%m-%dT%H:%M:%S') + f'.{ms % 1000:03d}Z'


def at(ms):
    """The time so many milliseconds after that Monday, as clients write it and as answers give it."""
    return iso(MONDAY + ms)


def fresh(word='x'):
    return f'{word}{next(_fresh)}'


def page(t, mid=None, **more):
    return {'type': 'page', 'messageId': mid or fresh('m'), 'timestamp': at(t), **more}


def track(t, name='Product Viewed', mid=None, **more):
    return {'type': 'track', 'event': name, 'messageId': mid or fresh('m'), 'timestamp': at(t), **more}


def order(oid, status, t, **more):
    return {'orderId': oid, 'status': status, 'timestamp': at(t), **more}


class Talk:

    def __init__(self, inst):
        self.inst, self.seen = inst, {}

    def post(self, path, body, key, rejected=()):
        s, h, b = self.inst.post(path, body, key)
        assert s == 200, (s, b)
        assert [(x['index'], x['code']) for x in b['rejected']] == list(rejected), b
        for part in filter(None, h.get('x-waymark-position', '').split(',')):
            p, o = map(int, part.split(':'))
            self.seen[p] = max(o, self.seen.get(p, 0))
        return b

    def beacon(self, *events, key=BEACON, **how):
        return self.post('/v1/batch', {'batch': list(events)}, key, **how)

    def server(self, *events, **how):
        return self.beacon(*events, key=SERVER, **how)

    def orders(self, *logs, **how):
        return self.post('/v1/orders', list(logs), SERVER, **how)

    def tick(self):
        """What is sent from here on is received in a later millisecond than what was sent before."""
        start = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 <= start:
            pass

    def position(self):
        return ','.join(f'{p}:{o}' for p, o in sorted(self.seen.items()))

    def get(self, path, status=200, **query):
        if self.seen:
            query = {'after': self.position(), 'wait': '10s', **query}
        s, b = self.inst.get(path, **query)
        assert s == status, (path, query, s, b)
        return b

    def profile(self, pid, suffix='', **query):
        return self.get('/v1/profiles/' + urllib.parse.quote(pid, safe='') + suffix, **query)

    def facts(self, pid, **query):
        return self.profile(pid, **query)['facts']

    def path(self, pid, **query):
        return self.profile(pid, '/path', **{'limit': 1000, **query})['events']

    def order_list(self, pid, **query):
        return {o['order_id']: o for o in self.profile(pid, '/orders', **query)['orders']}

    def order(self, pid, oid, **query):
        return self.order_list(pid, **query)[oid]

    def scene(self, oid, **query):
        return self.get('/v1/orders/' + urllib.parse.quote(oid, safe='') + '/scene', **query)


@contextlib.contextmanager
def talking(inst):
    """A started instance to talk to. At the end its sums hold, and its state is the fold of its own events."""
    with inst:
        yield Talk(inst)
        check_conserved(inst.drain())
        assert inst.stop() == 0
        code, out, err = inst.command('verify')
        assert code == 0, out + err


def column(events, key):
    return [e.get(key) for e in events]
