"""How many a rule means: by bitmaps where they tell, else by a walk, and both say the same."""
import json

import pytest
from support.instance import SERVER, Instance, wait_until

PEOPLE = 60
TAGS = '''level:
  rule: pages
keen:
  rule: pages >= 4
part:
  rule: pages / 3
kind:
  values:
    - looker: pages >= 3
    - passer: pages == 2
'''


class Person:
    def __init__(self, n):
        self.id, self.pages = f'u{n:02}', n % 5 + 1
        self.email, self.phone = n % 3 == 0, n % 4 == 0
        self.kind = 'looker' if self.pages >= 3 else 'passer' if self.pages == 2 else None

    def said(self):
        traits = {**({'email': f'{self.id}@x.com'} if self.email else {}), **({'phone': '+441632960001'} if self.phone else {})}
        return [{'type': 'identify', 'userId': self.id, 'messageId': f'i{self.id}', 'traits': traits}] + \
            [{'type': 'page', 'userId': self.id, 'messageId': f'{k}{self.id}'} for k in range(self.pages)]


people = [Person(n) for n in range(PEOPLE)]


@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    file = tmp_path_factory.mktemp('tags') / 'tags.yaml'
    file.write_text(TAGS)
    with Instance(partitions=4, more_profiler=f'  tags: {file}\n') as inst:
        s, _, b = inst.post('/v1/batch', [e for p in people for e in p.said()], SERVER)
        assert s == 200, b
        inst.drain()
        assert inst.request('p', 'PUT', '/v1/audiences/keeners', json.dumps({'rule': 'pages >= 4'}))[0] in (200, 201)
        wait_until(lambda: json.loads(inst.request('p', 'GET', '/v1/audiences/keeners')[2])['state'] == 'live', 30, 'the audience')
        yield inst


def count(inst, rule):
    s, _, b = inst.request('p', 'POST', '/v1/audiences:count', json.dumps({'rule': rule}))
    assert s == 200, b
    return json.loads(b)


BY_BITMAPS = [
    ('true', lambda p: True),
    ('tags.level == 3', lambda p: p.pages == 3),
    ('tags.level > 3', lambda p: p.pages > 3),
    ('tags.level >= 3', lambda p: p.pages >= 3),
    ('tags.level < 3', lambda p: p.pages < 3),
    ('tags.level <= 2.5', lambda p: p.pages <= 2.5),
    ('2 < tags.level', lambda p: p.pages > 2),
    ('4 >= tags.level && 2 <= tags.level', lambda p: 2 <= p.pages <= 4),
    ('!(tags.level >= 3)', lambda p: p.pages < 3),
    ('tags.keen', lambda p: p.pages >= 4),
    ('!tags.keen || has(traits.email)', lambda p: p.pages < 4 or p.email),
    ('tags.kind == "looker"', lambda p: p.kind == 'looker'),
    ('!(tags.kind == "looker")', lambda p: p.kind != 'looker'),
    ('has(traits.phone) && !has(traits.email)', lambda p: p.phone and not p.email),
    ('in_audience("keeners") && has(traits.phone)', lambda p: p.pages >= 4 and p.phone),
    ('pages >= 4', lambda p: p.pages >= 4),  # the rule of an audience
    ('tags.level > 9', lambda p: False),
]
BY_A_WALK = [
    ('tags.part == 1', lambda p: p.pages == 3),  # a third has no exact text
    ('tags.part > 0.3333333333333333', lambda p: p.pages > 0),
    ('pages >= 2 && tags.keen', lambda p: p.pages >= 4),
    ('has(traits.name)', lambda p: False),
    ('tags.level + 1 > 3', lambda p: p.pages > 2),
]


@pytest.mark.parametrize('method, rule, means', [('bitmap', *r) for r in BY_BITMAPS] + [('scan', *r) for r in BY_A_WALK])
def test_count(shop, method, rule, means):
    meant = [p for p in people if means(p)]
    b = count(shop, rule)
    assert (b['count'], b['method']) == (len(meant), method), b
    assert b['reachable'] == {'email': sum(p.email for p in meant), 'phone': sum(p.phone for p in meant)}, b
    assert 'behind' not in b
    walked = count(shop, f'({rule}) && events > 0')
    assert (walked['method'], walked['count'], walked['reachable']) == ('scan', len(meant), b['reachable'])


def test_clauses_by_bitmaps_and_by_a_walk(shop):
    b = count(shop, 'tags.keen && events > 3 && has(traits.email)')
    assert {c['expression']: c['count'] for c in b['clauses']} == {
        'tags.keen': sum(p.pages >= 4 for p in people), 'events > 3': sum(p.pages >= 3 for p in people),
        'has(traits.email)': sum(p.email for p in people)}, b


def test_an_address_comes_and_goes(shop):
    def says(traits, reachable, n):
        s, _, b = shop.post('/v1/batch', [{'type': 'identify', 'userId': 'u01', 'traits': traits}], SERVER)
        assert s == 200, b
        shop.drain()
        b = count(shop, 'tags.level == 2')
        assert (b['method'], b['reachable']) == ('bitmap', reachable), (n, b)
    twos = [p for p in people if p.pages == 2]
    email, phone = sum(p.email for p in twos), sum(p.phone for p in twos)
    says({'email': 'late@x.com'}, {'email': email + 1, 'phone': phone}, 1)
    says({'phone': '+441632960002', 'email': None}, {'email': email, 'phone': phone + 1}, 2)
    says({'phone': None}, {'email': email, 'phone': phone}, 3)
