"""People who are in audiences, exports, campaigns and on their way to webhooks are erased: nothing of them stands in any file
below the data folder once it is answered that they are gone, whatever is under way, and they left what they were in."""
import json
import os
import random

import pytest
from support.erased import FAST, Marks, Shop, found_in, killed_soon, places, profile_path
from support.instance import Instance, wait_until
from support.receiver import Receiver, hook

PEOPLE = 10
COLUMNS = ['id', 'traits.nickname']


class People:
    """Each with a device, a trait and tags by hand that say what nobody else's do."""

    def __init__(self, shop):
        self.shop = shop
        self.marks = [Marks() for _ in range(PEOPLE)]
        self.ids = ['user:' + m('user') for m in self.marks]
        for m in self.marks:
            who = {'userId': m.made['user'], 'anonymousId': m('device')}
            shop.send({'type': 'track', 'event': 'Product Viewed', 'messageId': m('message'), **who},
                      {'type': 'identify', 'messageId': m('identify'), **who, 'traits': {'nickname': m('nickname')},
                       'consent': {'marketing': True}})
        for m, i in zip(self.marks, self.ids):
            s, _, b = shop.ask('PUT', f'/v1/profiles/{i}/tags/crm', {'value': m('tag')})
            assert s == 200, b
        many = {'tags': [{'id': i, 'name': 'note', 'value': m('tag of many')} for m, i in zip(self.marks, self.ids)]}
        s, _, b = shop.ask('POST', '/v1/profiles:tag', many)
        assert s == 200 and b['accepted'] == PEOPLE, b
        shop.drain()

    def of(self, *who):
        return {f'{n} {place}': v for n in who for place, v in self.marks[n].made.items()}

    def check_gone(self, *who):
        left = found_in(self.shop.home.dir, self.of(*who))
        assert left == set(), sorted(left)


def define(shop, name, rule):
    s, _, b = shop.ask('PUT', f'/v1/audiences/{name}', {'rule': rule})
    assert s in (200, 201), b


def size(shop, name, want):
    def is_it():
        s, _, b = shop.ask('GET', f'/v1/audiences/{name}')
        return s == 200 and b['state'] == 'live' and b['size'] == want
    wait_until(is_it, 30, f'{name} to have {want}')


def begin_export(shop, name, **body):
    s, _, b = shop.ask('POST', f'/v1/audiences/{name}/exports', body)
    assert s == 201, b
    return b['id']


def over(shop, i):
    def is_over():
        s, _, b = shop.ask('GET', f'/v1/exports/{i}')
        return s == 200 and b['state'] != 'running' and b
    return wait_until(is_over, 60, f'the export {i}')


def export(shop, name, **body):
    b = over(shop, begin_export(shop, name, **body))
    assert b['state'] == 'done', b
    return b


@pytest.fixture
def away():
    with Receiver(lambda r: 503) as r:
        yield r


@pytest.fixture
def shop(away):
    config = FAST + '  webhooks:\n' + hook('away', away.url()) + hook('gone', away.url('/gone'))
    with Instance(partitions=2, more_profiler=config) as i:
        yield Shop(i)


def test_nothing_is_left_beside_the_state(shop, away):
    define(shop, 'all', 'products_viewed >= 1')
    define(shop, 'spring', 'exported("spring")')
    p = People(shop)
    size(shop, 'all', PEOPLE)
    wait_until(lambda: len({r['json']['data']['id'] for r in away.got}) == PEOPLE, 30, 'a try of each')
    first = export(shop, 'all', format='csv', columns=COLUMNS, campaign='spring', hold_out=0.4)
    delta = export(shop, 'all', format='csv', columns=COLUMNS, delta=True)
    held = first['manifest']['excluded']['held_out']
    assert delta['manifest']['rows'] == PEOPLE
    assert shop.ask('GET', f'/v1/exports/{delta["id"]}/file')[0] == 200  # they are told of by that
    size(shop, 'spring', PEOPLE - held)
    data = os.path.join(shop.home.dir, 'data')
    wait_until(lambda: {'exports', 'audiences', 'state', 'log'} <= {f.split('/')[0] for _, f in found_in(data, p.of(*range(PEOPLE)))}, 30,
               'them to stand in files of every kind')
    # While exports are made of them.
    running = [begin_export(shop, 'all', format='ndjson', columns=COLUMNS, campaign=f'c{n}') for n in range(3)]
    for n in range(4):
        shop.erase(p.ids[n])
        p.check_gone(*range(n + 1))
    for i in running:
        assert over(shop, i)['state'] in ('done', 'erased')
    p.check_gone(*range(4))
    size(shop, 'all', PEOPLE - 4)
    # Whoever is told of them later on is not told of those who are gone.
    away.answer = lambda r: 410 if r['path'] == '/gone' else 204
    wait_until(lambda: len(away.told()) >= PEOPLE - 4, 60, 'the others to be told of')
    told = json.dumps([[r['path'], r['json']] for r in away.taken()])
    assert not [v for v in p.of(*range(4)).values() if v in told]
    again = export(shop, 'all', format='csv', columns=COLUMNS, delta=True)
    assert again['manifest']['rows'] <= 4, again
    p.check_gone(*range(4))
    assert places(found_in(data, p.of(*range(4, PEOPLE)))) == set(p.of(*range(4, PEOPLE))), 'the others are there'
    shop.check_stopped()
    p.check_gone(*range(4))


def test_twice_in_a_row(shop):
    """And with a life between."""
    define(shop, 'all', 'products_viewed >= 1')
    p = People(shop)
    size(shop, 'all', PEOPLE)
    for _ in range(2):
        answers = [shop.erase_once(p.ids[0]) for _ in range(2)]
        for s, location, _ in answers:
            if s == 202:
                shop.completed(location)
        p.check_gone(0)
        size(shop, 'all', PEOPLE - 1)
        # Ids are all that a next life has of the one before.
        p.marks[0].made = p.marks[0].of('user', 'device')
        shop.send({'type': 'track', 'event': 'Product Viewed', 'userId': p.marks[0].made['user']})
        size(shop, 'all', PEOPLE)
    shop.erase(p.ids[0])
    size(shop, 'all', PEOPLE - 1)
    p.check_gone(0)
    shop.check_stopped()


def test_killed_while_erased(shop):
    """At any moment: who comes back is who stays, and they leave all the same."""
    define(shop, 'all', 'products_viewed >= 1')
    p, inst, seeded = People(shop), shop.home, random.Random(5)
    size(shop, 'all', PEOPLE)
    for n in range(4):
        killer = killed_soon(inst, seeded.uniform(0, 0.4))
        try:
            shop.ask_once('DELETE', profile_path(p.ids[n]) + '?wait=0ms')
        except OSError:
            pass
        killer.join()
        inst.process.wait()
        inst.start()
        shop.erase(p.ids[n])
        p.check_gone(*range(n + 1))
        size(shop, 'all', PEOPLE - 1 - n)
    shop.check_stopped()
