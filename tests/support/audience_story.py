"""A small shop whose people come and go, log in on each other's devices, buy, are unlinked and erased, drawn from a seed; and
who is in which audience, worked out anew in Python for everybody from their profile, path and orders."""
import datetime
import json
import threading
import time
import urllib.parse

from support.instance import SERVER, wait_until

USERS = [f'u{i}' for i in range(20)]
DEVICES = [f'd{i}' for i in range(14)]
IDS = [f'user:{u}' for u in USERS] + [f'anon:{d}' for d in DEVICES]
TAGS = 'word:\n  values:\n    - gold: orders >= 2\n    - some: pages >= 1\n'
FRESH_S, CART_S, MONTH_S = 4, 60, 30 * 86400
# Those that depend on what is known alone, and those that time changes.
RULES = {
    'viewed': 'products_viewed >= 3',
    'buyers': 'orders >= 1 && spent > 50',
    'many': 'events >= 8',
    'gold': 'tags.word == "gold"',
    'calm': 'in_audience("viewed") && !in_audience("buyers")',
    'recent': 'count("Product Viewed", 30) >= 2',
    'fresh': f'now - last_event_at < duration("{FRESH_S}s")',
    'cart': f'not_followed_by("Product Added", "Order Completed", minutes({CART_S // 60}))',
}
NAMES = {'calm': ('viewed', 'buyers')}  # audiences that a rule names
BY_TIME = ('recent', 'fresh', 'cart')
VIEWED_LESS = 'products_viewed >= 2'  # the other rule that `viewed` gets


def iso(t):
    return datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3] + 'Z'


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp()


class Events:
    """What happens next: of one seed always the same in the same order; only how long ago is told by the clock."""

    def __init__(self, draw):
        self.draw, self.n, self.orders = draw, 0, []

    def _who(self):
        return self.draw.choice(({'userId': self.draw.choice(USERS)}, {'anonymousId': self.draw.choice(DEVICES)}))

    def _track(self, name, ago, **more):
        return '/v1/batch', {'type': 'track', 'event': name, **self._who(), 'timestamp': iso(time.time() - ago), **more}

    def view(self):
        return self._track('Product Viewed', self.draw.uniform(0, 60 * 86400), properties={'sku': 's1'})

    def add(self):
        return self._track('Product Added', self.draw.uniform(0, 1.5 * CART_S), properties={'sku': 's1'})

    def ping(self):
        return self._track('Ping', 0)

    def page(self):
        return '/v1/batch', {'type': 'page', **self._who(), 'timestamp': iso(time.time() - self.draw.uniform(0, 86400))}

    def link(self):
        """Logs in; whoever had the device is logged out by it."""
        return '/v1/batch', {'type': 'identify', 'anonymousId': self.draw.choice(DEVICES), 'userId': self.draw.choice(USERS),
                             'timestamp': iso(time.time() - self.draw.uniform(0, 40 * 86400))}

    def order(self):
        """A new one, or a word more about one."""
        if self.orders and self.draw.random() < 0.3:
            oid, who, when = self.draw.choice(self.orders)
            status = self.draw.choice(('cancelled', 'shipped'))
        else:
            oid, who, status, when = f'o{self.n}', self._who(), 'paid', self.draw.uniform(0, 2 * CART_S)
            self.orders.append((oid, who, when))
        return '/v1/orders', {'orderId': oid, 'status': status, **who, 'timestamp': iso(time.time() - when), 'currency': 'GBP',
                              'total': self.draw.randrange(10, 60)}

    def next(self):
        self.n += 1
        kinds = (self.view, self.add, self.ping, self.page, self.link, self.order)
        path, event = self.draw.choices(kinds, (6, 3, 3, 2, 2, 3))[0]()
        return path, {**event, 'messageId': f'm{self.n}'}


class Pump:
    """Sends while the block runs. A refusal is sent again: each counts once."""

    def __init__(self, shop, events, pause=0.02):
        self.shop, self.events, self.pause = shop, events, pause
        self.over, self.sent, self.fault = threading.Event(), 0, None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self.over.wait(self.pause):
                self.shop.post(*self.events.next(), SERVER)
                self.sent += 1
        except BaseException as e:  # for who waits
            self.fault = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join(60)
        if self.fault and not exc[0]:
            raise self.fault

    def wait_sent(self, more, limit=60):
        before = self.sent
        wait_until(lambda: self.fault or self.sent >= before + more, limit, 'events to be sent')


# --- what is true ---------------------------------------------------------------------------------------------------

def judge(profile, path, orders, now, viewed_rule):
    """The names of the audiences somebody is in."""
    facts = profile['facts']
    viewed = facts['products_viewed'] >= (2 if viewed_rule == VIEWED_LESS else 3)
    buyer = facts['orders'] >= 1 and facts['spent'] > 50
    views = [seconds(e['time']) for e in path if e.get('name') == 'Product Viewed']
    added = max((seconds(e['time']) for e in path if e.get('name') == 'Product Added'), default=now)
    placed = [seconds(o['placed_at']) for o in orders if o['status'] != 'cancelled' and o.get('placed_at')]
    true = {'viewed': viewed, 'buyers': buyer, 'many': facts['events'] >= 8, 'gold': facts['orders'] >= 2,
            'calm': viewed and not buyer, 'recent': sum(t > now - MONTH_S for t in views) >= 2,
            'fresh': now - seconds(facts['last_event_at']) < FRESH_S,
            'cart': added + CART_S < now and not any(t > added for t in placed)}
    return {name for name, is_in in true.items() if is_in}


def quoted(pid, suffix=''):
    return '/v1/profiles/' + urllib.parse.quote(pid, safe='') + suffix


def everybody(shop):
    """id -> profile of each person there is: a linked device is its user."""
    found = {}
    for pid in IDS:
        s, b = shop.get(quoted(pid))
        assert s in (200, 404), (pid, s, b)
        if s == 200:
            found[b['id']] = b
    return found


def evaluate(shop, viewed_rule):
    """audience -> ids, of everybody from scratch. None: somebody changed meanwhile."""
    who = {name: set() for name in RULES}
    for pid in everybody(shop):
        answers = [shop.get(quoted(pid, suffix), **query) for suffix, query in (('', {}), ('/path', {'limit': 1000}), ('/orders', {}))]
        if any(s != 200 for s, _ in answers):
            return None
        profile, path, orders = (b for _, b in answers)
        assert path['next'] is None
        for name in judge(profile, path['events'], orders['orders'], time.time(), viewed_rule):
            who[name].add(pid)
    return who


def names_of(name):
    return (name, *NAMES.get(name, ()))


# --- what is told ---------------------------------------------------------------------------------------------------

def members(shop, name):
    """Sorted, each as often as it is told."""
    out, cursor = [], None
    while True:
        s, b = shop.get(f'/v1/audiences/{name}/members', limit=11, **({'cursor': cursor} if cursor else {}))
        assert s == 200, (name, s, b)
        out += b['members']
        cursor = b['next']
        if cursor is None:
            return sorted(out)


def told(kafka, topic):
    """The changes in the order in which they stand, of one partition after the other: (record, change)."""
    out = []
    for r in sorted(kafka.records(topic), key=lambda r: (r.partition(), r.offset())):
        out.append((r, json.loads(r.value())))
    return out


class Book:
    """What a reader of the topic knows who began at its start: who is in what since when, and what is wrong with what was told."""

    def __init__(self, changes, rules_said, erased):
        self.inside, self.faults, self.doubled = {}, [], 0
        self.rules_said, self.erased, self.rule_of, self.all = rules_said, erased, {}, []
        for record, change in changes:
            self._take(record, change)

    def members(self, name):
        return sorted(pid for audience, pid in self.inside if audience == name)

    def explain(self):
        """The faults, and everything that was told of the first one's person."""
        first = next((c for fault in self.faults for c in fault if isinstance(c, dict)), {})
        return self.faults[:9] + [('told', p, o, c) for p, o, c in self.all if c['id'] == first.get('id')]

    def _take(self, record, c):
        self.all.append((record.partition(), record.offset(), c))
        key = c['audience'], c['id']
        before = self.inside.get(key)
        if record.key() != c['id'].partition(':')[2].encode():
            self.faults.append(('not the key of the person', record.key(), c))
        if c['action'] == 'entered':
            self._enter(key, before, c)
        elif before is None:
            self.faults.append(('left and was not in', c))
        else:
            del self.inside[key]
            if c['entered_at'] != before['entered_at']:
                self.faults.append(('left with another entered_at', c, before))
        self._check_because(key, c)

    def _enter(self, key, before, c):
        if before is not None:
            self.doubled += 1
            self.faults.append(('entered twice', c, before))
        if c['entered_at'] != c['time']:
            self.faults.append(('entered at another time', c))
        self.inside[key] = c

    def _rules_at(self, c):
        """When the audience's rule was said, and those that it depends on, as known at the change."""
        others = names_of(c['audience'])[1:]
        return (c.get('rule_version'), *(max([v for v in self.rules_said[n] if v <= c['time']], default=None) for n in others))

    def _check_because(self, key, c):
        """`rule` once after a rule was said at most, its own or that of one that it names, `time` where time has a say, `erased` of the erased and their devices."""
        because, said = c['because'], self._rules_at(c)
        fine = {'event': True, 'time': c['audience'] in BY_TIME, 'erased': c['action'] == 'left' and (c['id'] in self.erased or c['id'].startswith('anon:')),
                'rule': self.rule_of.get(key, tuple(self.rules_said[n][0] for n in names_of(c['audience']))) != said}[because]
        self.rule_of[key] = said
        if not fine:
            self.faults.append((f'because {because}', c))
