"""The classic stories of identity as a table, with the results worked by hand; how they are sent, and checked."""
import random

from support.instance import BEACON, SERVER
from support.talk import MINUTE, MONDAY, iso

MAX_USERS, MAX_DEVICES = 3, 2
MORE = f'''  identity:
    link_by_order: true
    max_users_per_device: {MAX_USERS}
    max_devices_per_user: {MAX_DEVICES}
'''

# A story is what happened, in the order of events: `WHO:NAME`, WHO is `a` (device a), `/u` (user u), `a/u` (both), `a>u` (alias
# of device a to user u) with the letter x as its name, `a#O` (device a states order O), `/u#O` (user u does, at the back end),
# `#O` (a guest at the till does), `a-u` (an unlink up to then). Several at one minute are joined by `&`. The result: each
# profile, the names of its events in their order (of a statement its order id), and the devices in its ids.
CASES = {
    'simple': ('a:p a/u:l a:q', {'u': ('plq', 'a'), 'a': 'u'}),
    'no link': ('a:p /u:q', {'a': ('p', ''), 'u': ('q', '')}),
    'link before any event': ('a/u:l a:p', {'u': ('lp', 'a')}),
    'late link': ('a:p a:q a:r b/u:l a/u:m', {'u': ('pqrlm', 'ab')}),
    'alias': ('a:p a>u a:q', {'u': ('pxq', 'a')}),
    'chain': ('a:p a/u:l b/u:m b:q b/v:n b:r a:s', {'u': ('plmqs', 'ab'), 'v': ('nr', 'b')}),
    'fan-in': ('a:p b:q a/u:l b/u:m a:r b:s', {'u': ('pqlmrs', 'ab')}),
    'fan-out': ('a:p a/u:l a:q a/v:m a:r a/w:n a:s', {'u': ('plq', 'a'), 'v': ('mr', 'a'), 'w': ('ns', 'a')}),
    'diamond': ('a:p b:q a/u:k b/u:l a/v:m b/v:n a:r b:s', {'u': ('pqkl', 'ab'), 'v': ('mnrs', 'ab')}),
    'disjoint': ('a:p b:q a/u:l b/v:m a:r b:s', {'u': ('plr', 'a'), 'v': ('qms', 'b')}),
    'long chain': ('a/u:h b/u:i b/v:j c/v:k c/w:l d/w:m d/x:n a:p b:q c:r d:s',
                   {'u': ('hip', 'ab'), 'v': ('jkq', 'bc'), 'w': ('lmr', 'cd'), 'x': ('ns', 'd')}),
    'shared device': ('a:p a/u:k a/v:l a/w:m a:q a/x:n a:r',
                      {'a': ('pqr', ''), 'u': ('k', ''), 'v': ('l', ''), 'w': ('m', ''), 'x': ('n', '')}),
    'log-out and in': ('a/u:l a:p a:q a/u:m a:r', {'u': ('lpqmr', 'a')}),
    'second user': ('a:p a/u:l a:q a/v:m a:r', {'u': ('plq', 'a'), 'v': ('mr', 'a'), 'a': 'v'}),
    'back to the first': ('a/u:l a/v:m a:p a/u:n a:q', {'u': ('lnq', 'a'), 'v': ('mp', 'a'), 'a': 'u'}),
    # The later in its request is the later in the order of events.
    'conflicting links at one time': ('a:p a/u:l&a/v:m a:q', {'u': ('pl', 'a'), 'v': ('mq', 'a')}),
    'blocked user': ('a/NULL:p a/undefined:q a/0:r', {'a': ('pqr', '')}),
    'blocked device': ('none/u:p none/v:q null:z', {'u': ('p', ''), 'v': ('q', '')}),
    'as many devices as a user keeps': ('a/u:l b/u:m a:p b:q', {'u': ('lmpq', 'ab')}),
    'one device too many': ('a/u:l b/u:m c/u:n a:p b:q c:r', {'u': ('lmnpq', 'ab'), 'c': ('r', '')}),
    'an unlinked pair counts towards the cap': ('a/u:l b/u:m c/u:n a-u c:r a:s',
                                                {'u': ('lmn', 'b'), 'c': ('r', ''), 'a': ('s', '')}),
    'order joins': ('a:p a#O a:q /u#O a:r', {'u': ('pOqOr', 'a')}),
    'orders of two people': ('a#O b#O /u#O a:p b:q', {'u': ('OOp', 'a'), 'b': ('Oq', '')}),
    'a guest who is known later': ('#O a:p /u#O', {'u': ('OO', ''), 'a': ('p', '')}),
    'a guest who stays one': ('#O', {'order:O': ('O', '')}),
    'guests count towards no cap': ('a/u:l b/u:m #O /u#O #Q /u#Q a:p', {'u': ('lmOOQQp', 'ab')}),
    'unlink: simple': ('a:p a/u:l a:q a-u a:r', {'u': ('l', ''), 'a': ('pqr', '')}),
    'unlink: evidence after it links again': ('a:p a/u:l a-u a:q a/u:m a:r', {'u': ('plqmr', 'a')}),
    'unlink: chain': ('a:p a/u:l b/u:m b/v:n b:q b-v b:r', {'u': ('plmqr', 'ab'), 'v': ('n', '')}),
    'unlink: fan-in': ('a:p b:q a/u:l b/u:m b-u a:r', {'u': ('plmr', 'a'), 'b': ('q', '')}),
    'unlink: fan-out': ('a:p a/u:l a/v:m a:q a-u a:r', {'u': ('l', ''), 'v': ('pmqr', 'a')}),
    'unlink: diamond': ('a:p b:q a/u:k b/u:l a/v:m b/v:n a-v b:r a:s', {'u': ('pqkls', 'ab'), 'v': ('mnr', 'b')}),
    'unlink: long chain': ('a/u:h b/u:i b/v:j c/v:k b-v b:q c:r', {'u': ('hiq', 'ab'), 'v': ('jkr', 'c')}),
    'unlink: a shared device stays shared': ('a:p a/u:k a/v:l a/w:m a/x:n a-x a:q',
                                            {'a': ('pq', ''), 'u': ('k', ''), 'x': ('n', '')}),
    'unlink: second user': ('a:p a/u:l a:q a/v:m a-v a:r', {'u': ('plqr', 'a'), 'v': ('m', '')}),
    'unlink: late link': ('a:p a:q a/u:l b/u:m a-u', {'u': ('lm', 'b'), 'a': ('pq', '')}),
    'unlink: conflicting links': ('a:p a/u:l&a/v:m a-v a:q', {'u': ('plq', 'a'), 'v': ('m', '')}),
    'unlink: order': ('a#O /u#O a-u a:p', {'a': ('Op', ''), 'u': ('O', '')}),
    'unlink: alias': ('a:p a>u a-u a:q', {'a': ('pq', ''), 'u': ('x', '')}),
    'unlink: nobody': ('a:p a-u a:q', {'a': ('pq', '')}),
}
BLOCKED = {'NULL', 'undefined', '0', 'null', 'none'}


def named(prefix, who):
    """An id of a case; blocked ones are the same for all."""
    return who if not who or who in BLOCKED else f'order:{prefix}{who[6:]}' if who.startswith('order:') else prefix + who


class Event:
    """One event of a story as it is sent."""

    def __init__(self, prefix, number, minute, text):
        self.text, self.minute, self.unlink = text, minute, None
        self.route, self.key = '/v1/batch', BEACON
        self.body = {'messageId': f'{prefix}{number}', 'timestamp': iso(MONDAY + minute * MINUTE)}
        if '-' in text:
            device, user = text.split('-')
            self.unlink = {'anonymous_id': prefix + device, 'user_id': prefix + user, 'until': self.body['timestamp']}
        elif '#' in text:
            self.states_order(prefix, *text.split('#'))
        elif '>' in text:
            device, user = text.split('>')
            self.body |= {'type': 'alias', 'previousId': prefix + device, 'userId': prefix + user}
        else:
            who, name = text.split(':')
            self.body |= {'type': 'track', 'event': name, **self.ids(prefix, *who.partition('/')[::2])}

    @staticmethod
    def ids(prefix, device, user):
        return {k: v for k, v in (('anonymousId', named(prefix, device)), ('userId', named(prefix, user))) if v}

    def states_order(self, prefix, who, order):
        if who.startswith('/') or not who:
            self.route, self.key = '/v1/orders', SERVER
            self.body |= {'orderId': prefix + order, 'status': 'paid', 'total': 5, **self.ids(prefix, '', who[1:])}
        else:
            self.body |= {'type': 'track', 'event': 'Order Completed', 'properties': {'order_id': prefix + order},
                          **self.ids(prefix, who, '')}


def events_of(prefix, story):
    """Requests: lists of events that are sent together."""
    number = 0
    for minute, moment in enumerate(story.split()):
        request = []
        for text in moment.split('&'):
            request.append(Event(prefix, number, minute + 1, text))
            number += 1
        yield request


def requests(order):
    all_of_them = [r for n, (story, _) in enumerate(CASES.values()) for r in events_of(f'c{n}', story)]
    if order == 'backwards':
        all_of_them.reverse()
    if order == 'shuffled':
        random.Random(7).shuffle(all_of_them)
    return all_of_them


def check_sent(status, answer, request):
    """An event with blocked ids only is refused; all else is taken."""
    assert status == 200, (status, answer)
    assert answer['accepted'] + len(answer['rejected']) == len(request)
    assert all(x['code'] == 'id_missing' for x in answer['rejected']), answer


def pid(prefix, who):
    return ('anon:' if who.startswith('order:') or who in 'abcd' else 'user:') + named(prefix, who)


def names(path, prefix):
    return ''.join(e.get('order_id', '')[len(prefix):] or e.get('name') or 'x' for e in path)


def check_case(shop, case):
    """`shop` has profile() and whole_path()."""
    prefix, (_, want) = f'c{list(CASES).index(case)}', CASES[case]
    for who, result in want.items():
        s, b = shop.profile(pid(prefix, who))
        assert s == 200, (case, who, s, b)
        if isinstance(result, str):  # a look-up of a linked device answers its user
            assert b['id'] == pid(prefix, result), case
            continue
        path, devices = result
        assert names(shop.whole_path(pid(prefix, who)), prefix) == path, (case, who)
        assert b['facts']['events'] == len(path), (case, who)
        assert sorted(b['ids']) == sorted([pid(prefix, who)] + [f'anon:{prefix}{d}' for d in devices]), (case, who)
