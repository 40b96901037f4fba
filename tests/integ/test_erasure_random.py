"""Random shops, told to two instances: to one in a random order, to the other in another one, where people are erased on the way
and the program is killed. Who was not erased is the same with both, whenever what arrived; of who was, nothing is left."""
import os
import random
import shutil

import pytest
from support.erased import ALPHABET, FAST, MARK, OF_ALL, Shop, found_in, profile_path
from support.instance import SANITIZED, Instance, check_conserved, wait_until
from support.talk import MINUTE, at

CAP = '  identity: {max_users_per_device: 3}\n'
USERS, DEVICES, EVENTS, ERASED = 12, 14, 300, 4


class Shops:
    """Events at times of their own, and who did them."""

    def __init__(self, seed):
        self.r = r = random.Random(seed)
        self.users, self.devices = [self.name() for _ in range(USERS)], [self.name() for _ in range(DEVICES)]
        # Some devices are one user's, some go from hand to hand, some are nobody's; a few have more users than count.
        self.hands = {d: r.sample(self.users, r.choice([0, 1, 1, 1, 2, 2, 3, 4])) for d in self.devices}
        self.linked = {d: set() for d in self.devices}
        self.events = [self.event(i) for i in range(EVENTS)]
        self.erased = r.sample(self.users, ERASED)

    def name(self):
        return ''.join(self.r.choices(ALPHABET, k=MARK))

    def event(self, i):
        r, d = self.r, self.r.choice(self.devices)
        base = {'messageId': self.name(), 'timestamp': at(i * MINUTE)}
        kind, user = r.random(), r.choice(self.hands[d] or self.users)
        if kind < 0.15:
            return '/v1/orders', {**base, 'orderId': f'o{i}', 'status': 'paid', 'total': i, 'userId': user}
        if kind < 0.25:
            return '/v1/batch', {'type': 'track', 'event': 'Order Completed', **base, 'anonymousId': d,
                                 'properties': {'order_id': f'o{i}', 'total': i}}
        if kind < 0.3:
            return '/v1/batch', {'type': 'identify', **base, 'userId': user, 'traits': {'plan': self.name(), 'email': f'{i}@x.example'}}
        if kind < 0.45 and self.hands[d]:
            self.linked[d].add(user)
            if kind < 0.35:
                return '/v1/batch', {'type': 'alias', **base, 'userId': user, 'previousId': d}
            return '/v1/batch', {'type': 'page', **base, 'userId': user, 'anonymousId': d}
        return '/v1/batch', {'type': 'page', **base, 'anonymousId': d, 'properties': {'url': f'https://shop.example/{i % 9}'}}

    def shuffled(self, seed):
        events = self.events[:]
        random.Random(seed).shuffle(events)
        return events

    def erased_after(self, seed):
        """Shuffled, but for the links that say what of an erased user's devices is somebody else's: what is gone when they come
        cannot be given back. And how many these are."""
        def first(e):
            device = e.get('previousId') or 'userId' in e and e.get('anonymousId')
            return device and e['userId'] not in self.erased and self.linked[device] & set(self.erased)
        events = self.shuffled(seed)
        events.sort(key=lambda x: not first(x[1]))
        return events, sum(1 for _, e in events if first(e))

    def others(self):
        """Whom an erasure does not concern."""
        return ['user:' + u for u in self.users if u not in self.erased] + \
            ['anon:' + d for d in self.devices if not self.linked[d] & set(self.erased)]


def tell(shop, events):
    for path, e in events:
        shop.post(path, {'batch': [e]} if path == '/v1/batch' else [e])


def shown(shop, pid):
    def plain(answer):
        if isinstance(answer, dict):
            return {k: plain(v) for k, v in answer.items() if k not in ('version', 'received_at', *OF_ALL)}
        return [plain(v) for v in answer] if isinstance(answer, list) else answer
    return [(suffix, s, plain(b)) for suffix, query in (('', {'include': 'contact'}), ('/path', {'limit': 1000}), ('/orders', {}))
            for s, b in [shop.profile(pid, suffix, **query)]]


def check_others(shop, made, whole):
    for pid in made.others():
        assert shown(shop, pid) == whole[pid], pid
    for u in made.erased:
        for suffix in ('', '/path', '/orders', '/identity'):
            assert shop.profile('user:' + u, suffix)[0] == 404, (u, suffix)


def check_left(inst, marks):
    left = found_in(inst.dir, marks)
    assert left == set(), sorted(left)


@pytest.mark.parametrize('partitions', [1, 4, 16])
@pytest.mark.parametrize('seed', [1] if SANITIZED else [1, 2, 3])
def test_others_are_as_if_nobody_had_been_erased(partitions, seed):
    made = Shops(seed)
    with Instance(partitions=partitions, more_profiler=CAP) as inst:
        shop = Shop(inst)
        tell(shop, made.shuffled(seed + 100))
        inst.drain()
        whole = {pid: shown(shop, pid) for pid in made.others()}
        theirs = {u: {e['message_id'] for e in shop.whole_path('user:' + u)} for u in made.erased if shop.profile('user:' + u)[0] == 200}
    marks = {u: u for u in made.erased} | {m: m for u in theirs for m in theirs[u]}
    assert len(marks) > 20
    with Instance(partitions=partitions, more_profiler=FAST + CAP) as inst:
        shop, (events, first) = Shop(inst), made.erased_after(seed + 200)
        moments = sorted(made.r.sample(range(first + 20, EVENTS), ERASED))
        for n, u in enumerate(made.erased):
            tell(shop, events[moments[n - 1] if n else 0:moments[n]])
            if n % 2:
                inst.drain()
            if n == 2:
                inst.kill()
                inst.start()
            s, _, b = shop.ask('DELETE', profile_path('user:' + u) + '?wait=0ms')
            assert s in (200, 202), (s, b)
        tell(shop, events[moments[-1]:])
        check_conserved(inst.drain())
        check_others(shop, made, whole)
        shop.erase('user:somebody')  # takes with it what arrived late
        wait_until(lambda: not found_in(inst.dir, marks), 100, 'the files to be clean')
        check_others(shop, made, whole)
        for folder in ([], ['data', 'state']):  # what is left on the log gives the same
            assert inst.stop() == 0
            code, out, err = inst.command('verify')
            assert code == 0 and '0 differences' in out, out + err
            check_left(inst, marks)
            if folder:
                shutil.rmtree(os.path.join(inst.dir, *folder))
            inst.start()
            inst.drain()
            check_others(shop, made, whole)
        check_left(inst, marks)
