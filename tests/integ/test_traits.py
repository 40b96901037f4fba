"""What a shop states about people, from outside: identify calls and PUT, what answers show to whom, consent, and that
nothing personal lies on the disk in the clear."""
import json
import os
import shutil
import urllib.parse

import pytest

from support.instance import SERVER, Instance
from support.stated import files_with, identify, traits

LOOKUP = {'Authorization': 'Bearer tk_test_lookup'}
ZOE = {'firstName': 'Zoe', 'lastName': 'Hallsecret', 'email': 'zoe.hallsecret@mail.example', 'phone': '138 1234 5678',
       'plan': 'gold', 'city': 'Bath', 'birthday': '1990-05-01', 'shade': 'teal',
       'addresses': [{'street': '1 Secretstreet', 'city': 'Bath', 'default': True}, {'street': '2 Otherstreet', 'city': 'York'}]}
SECRETS = [b'Hallsecret', b'hallsecret', b'138 1234 5678', b'Secretstreet', b'Otherstreet', b'1990-05-01']


@pytest.fixture(scope='module')
def shop():
    with Instance() as i:
        yield i


def put(shop, pid, body, headers=None):
    s, h, b = shop.request('p', 'PUT', '/v1/profiles/' + urllib.parse.quote(pid, safe='') + '/traits', json.dumps(body),
                           headers)
    return s, h, json.loads(b)


def test_who_sees_what(shop):
    at = identify(shop, 'zoe', ZOE)
    public = {'plan': 'gold', 'city': 'Bath', 'shade': 'teal'}
    assert traits(shop, 'user:zoe', LOOKUP, after=at) == public
    assert traits(shop, 'user:zoe', after=at) == public
    masked = traits(shop, 'user:zoe', LOOKUP, include='contact,shipping')
    assert masked == {**public, 'email': 'z***@mail.example', 'phone': '138****5678',
                      'shipping_addresses': [{'city': 'Bath', 'default': True}, {'city': 'York'}]}
    assert traits(shop, 'user:zoe', LOOKUP, include='demographic') == \
        {**public, 'first_name': 'Z***', 'last_name': 'H***', 'birthday': '1990'}
    clear = traits(shop, 'user:zoe', include='demographic,contact,shipping')
    assert clear == {**public, 'first_name': 'Zoe', 'last_name': 'Hallsecret', 'birthday': '1990-05-01',
                     'email': ZOE['email'], 'phone': ZOE['phone'], 'shipping_addresses': ZOE['addresses']}
    s, b = shop.profile('user:zoe', include='contact,nothing')
    assert s == 400 and b['code'] == 'parameter_invalid'
    assert shop.profile('user:zoe', verbose='perhaps')[0] == 400


def test_verbose_says_when_and_who(shop):
    identify(shop, 'vera', {'plan': 'gold'}, timestamp='2026-01-02T03:04:05.678Z')
    at = identify(shop, 'vera', {'plan': 'red', 'email': 'vera@mail.example'}, timestamp='2026-01-01T00:00:00Z')
    got = traits(shop, 'user:vera', LOOKUP, after=at, verbose='true', include='contact')
    assert got == {'plan': {'value': 'gold', 'time': '2026-01-02T03:04:05.678Z', 'source': 'backend'},
                   'email': {'value': 'v***@mail.example', 'time': '2026-01-01T00:00:00.000Z', 'source': 'backend'}}


def test_put_is_seen_at_its_position(shop):
    s, h, b = put(shop, 'user:putty', {'traits': {'plan': 'gold', 'email': 'putty@mail.example', 'age': '42'},
                                       'traitsOnce': {'found': 'fair'}, 'traitsAdd': {'points': 5},
                                       'consent': {'marketing': True, 'sms': False}, 'time': '2026-01-01T00:00:00Z'})
    assert s == 200 and b['id'] == 'user:putty' and h['x-waymark-position'] == b['position'], b
    s, p = shop.profile('user:putty', after=b['position'], include='contact')
    assert p['traits'] == {'plan': 'gold', 'email': 'putty@mail.example', 'age': 42, 'found': 'fair', 'points': 5}
    said = {'time': '2026-01-01T00:00:00.000Z', 'source': 'api'}
    assert p['consent'] == {'marketing': {'granted': True, **said}, 'sms': {'granted': False, **said}}
    s, h, b = put(shop, 'user:putty', {'traits': {'plan': None}, 'traitsOnce': {'found': 'web'}, 'traitsAdd': {'points': 2.5}})
    got = traits(shop, 'user:putty', after=b['position'])
    assert 'plan' not in got and got['found'] == 'fair' and float(got['points']) == 7.5
    assert [e['type'] for e in shop.whole_path('user:putty')] == ['identify'] * 2


def test_put_twice_with_one_key_is_once(shop):
    for amount in (5, 5):
        s, _, b = put(shop, 'anon:twice', {'traitsAdd': {'points': amount}}, {'Idempotency-Key': 'k1'})
        assert s == 200
    assert traits(shop, 'anon:twice', after=b['position']) == {'points': 5}


@pytest.mark.parametrize('body, says', [
    ({'traits': {'birthday': 'soon', 'age': []}}, ['traits.birthday', 'date', 'traits.age', 'number']),
    ({'traits': {'cards': [{'number': '4111 1111 1111 1111'}]}}, ['traits.cards', 'card number']),
    ({'traits': {'whatever': '4111-1111-1111-1111'}}, ['card number']),
    ({'traits': {'whatever': 4111111111111111}}, ['card number']),
    ({'traitsAdd': {'email': 1}}, ['traitsAdd.email']),
    ({'traitsAdd': {'points': 'x'}}, ['traitsAdd.points']),
    ({'consent': {'marketing': 'yes'}}, ['consent.marketing']),
    ({'traits': {'addresses': [{'default': True}, {'default': True}]}}, ['default']),
    ({'traits': {'long': 'x' * 9000}}, ['8 KiB']),
    ({'traits': {'$set': {}}}, ['traits.$set']),
    ({'traits': {}}, ['nothing']),
    ({}, ['nothing']),
    ({'traits': []}, ['object']),
    ({'trait': {'a': 1}}, ['body.trait']),
    ({'traits': {'a': 1}, 'time': 'now'}, ['body.time']),
    ({'traits': {'a': 1}, 'time': '2999-01-01T00:00:00Z'}, ['future']),
    ({'traits': {str(i): 1 for i in range(501)}}, ['500']),
])
def test_a_wrong_put_states_nothing(shop, body, says):
    s, _, b = put(shop, 'user:wrong', {**body, **({'traits': {**body['traits'], 'plan': 'gold'}}
                                                  if body.get('traits') and isinstance(body['traits'], dict) else {})})
    assert s == 400 and b['code'] == 'value_invalid', b
    assert all(word in b['message'] for word in says), b
    assert '4111' not in b['message'] and '4111' not in shop.log()
    shop.drain()
    assert shop.profile('user:wrong')[0] == 404


def test_put_needs_a_person_and_json(shop):
    for pid, code in (('user:null', 'id_invalid'), ('anon:order:O1', 'id_invalid'), ('nobody', 'id_invalid')):
        s, _, b = put(shop, pid, {'traits': {'a': 1}})
        assert s == 400 and b['code'] == code, (pid, b)
    s, _, b = shop.request('p', 'PUT', '/v1/profiles/user:a/traits', '{"traits":')
    assert s == 400 and json.loads(b)['code'] == 'json_invalid'
    s, _, b = put(shop, 'user:a', {'traits': {'a': 1}}, {'Idempotency-Key': 'k' * 300})
    assert s == 400 and b['code'] == 'parameter_invalid'


def test_consent_of_events(shop):
    shop.post('/v1/batch', {'batch': [
        {'type': 'track', 'event': 'x', 'userId': 'cora', 'timestamp': '2026-01-02T00:00:00Z',
         'context': {'consent': {'categoryPreferences': {'marketing': False}}}}]}, SERVER)
    at = identify(shop, 'cora', {'consent': {'marketing': True, 'personalisation': True}}, timestamp='2026-01-01T00:00:00Z')
    shop.drain()
    s, p = shop.profile('user:cora', after=at)
    assert {k: v['granted'] for k, v in p['consent'].items()} == {'marketing': False, 'personalisation': True}
    assert p['traits'] == {}


def test_many_take_the_same_options(shop):
    at = identify(shop, 'many1', {'plan': 'a', 'email': 'many1@mail.example'})
    shop.drain()
    for query, body in (('?include=contact&verbose=true', {}), ('', {'include': ['contact'], 'verbose': True}),
                        ('', {'include': 'contact', 'verbose': True})):
        s, _, b = shop.request('p', 'POST', '/v1/profiles:lookup' + query, json.dumps({'ids': ['user:many1'], **body}), LOOKUP)
        got = json.loads(b)['profiles'][0]['traits']
        assert s == 200 and got['email']['value'] == 'm***@mail.example' and got['plan']['value'] == 'a', (b, at)
    s, _, b = shop.request('p', 'POST', '/v1/profiles:lookup', json.dumps({'ids': [], 'include': ['x']}), LOOKUP)
    assert s == 400


def test_as_of(shop):
    identify(shop, 'asof', {'plan': 'a', 'email': 'old@mail.example'}, timestamp='2026-01-01T00:00:00Z')
    at = identify(shop, 'asof', {'plan': 'b', 'email': None}, timestamp='2026-02-01T00:00:00Z')
    assert traits(shop, 'user:asof', after=at, include='contact') == {'plan': 'b'}
    assert traits(shop, 'user:asof', include='contact', as_of='2026-01-15T00:00:00Z') == \
        {'plan': 'a', 'email': 'old@mail.example'}


def test_the_path_shows_what_was_sealed_only_with_pii(shop):
    s, h, b = shop.post('/v1/track', {'userId': 'pat', 'event': 'Form', 'properties': {'email': 'pat@mail.example', 'step': 2}},
                        SERVER)
    s, b = shop.get('/v1/profiles/user:pat/path', LOOKUP, after=h['x-waymark-position'])
    assert b['events'][0]['properties'] == {'step': 2}
    assert shop.whole_path('user:pat')[0]['properties'] == {'step': 2, 'email': 'pat@mail.example'}


def test_nothing_personal_lies_on_the_disk():
    with Instance() as shop:
        identify(shop, 'zoe', ZOE)
        put(shop, 'user:zoe', {'traits': {'middleName': 'Hallsecret'}, 'traitsOnce': {'weibo': 'hallsecret'}})
        shop.drain()
        want = traits(shop, 'user:zoe', include='demographic,contact,shipping')
        assert want['weibo'] == 'hallsecret'
        assert shop.stop() == 0
        assert files_with(shop.dir, [b'teal']), 'the search finds what is there'
        assert not files_with(shop.dir, SECRETS)
        code, out, err = shop.command('verify')
        assert code == 0, out + err
        shop.start()
        shop.drain()
        assert traits(shop, 'user:zoe', include='demographic,contact,shipping') == want


def test_parts_of_identify_are_sealed():
    """Set-onces and $set hold traits, too, wherever they stand."""
    with Instance() as shop:
        identify(shop, 'zoe', {'$set_once': {'name': 'Zoe Hallsecret', 'email': 'a@hallsecret.example', 'shade': 'teal'},
                               '$set': {'lastName': 'Hallsecret'}, '$add': {'points': 2}},
                 traitsOnce={'phone': '138 1234 5678', 'firstName': 'hallsecret'}, traitsAdd={'n': 1},
                 context={'traits': {'weibo': 'hallsecret', 'plan': 'gold'}})
        shop.drain()
        assert traits(shop, 'user:zoe') == {'plan': 'gold', 'shade': 'teal', 'points': 2, 'n': 1}
        assert traits(shop, 'user:zoe', include='demographic,contact') == {
            'plan': 'gold', 'shade': 'teal', 'points': 2, 'n': 1, 'name': 'Zoe Hallsecret', 'last_name': 'Hallsecret',
            'email': 'a@hallsecret.example', 'phone': '138 1234 5678', 'first_name': 'hallsecret', 'weibo': 'hallsecret'}
        assert shop.stop() == 0
        assert not files_with(shop.dir, SECRETS)


def test_a_vocabulary_of_the_shop():
    with Instance() as shop:
        assert shop.stop() == 0
        file = os.path.join(shop.dir, 'traits.yaml')
        with open(shop.config, 'a') as f:
            f.write('traits: traits.yaml\n')
        with open(file, 'w') as f:
            f.write('contact:\n  email: {mask: all}\nhobbies:\n  a: {}\nother:\n  golf: {typ: number}\n  e-mail:\n')
        code, out, err = shop.command('check')
        assert code == 1
        for place in ('traits.yaml:2:17: mask', 'traits.yaml:3:1: unknown group', 'traits.yaml:6:10: unknown member',
                      "traits.yaml:7:3: 'e-mail' stands for email"):
            assert place in err, err
        with open(file, 'w') as f:
            f.write('other:\n  golf: {aliases: [handicap], type: number, personal: true}\n')
        shop.start(ready=False)
        assert shop.process.wait(30) == 1 and 'made with another value of traits' in shop.log()
        shutil.rmtree(os.path.join(shop.dir, 'data', 'state'))
        shop.start()
        at = identify(shop, 'zoe', {'handicap': '7', 'email': 'zoe@mail.example'})
        assert traits(shop, 'user:zoe', after=at) == {'email': 'zoe@mail.example'}
        assert traits(shop, 'user:zoe', include='other') == {'email': 'zoe@mail.example', 'golf': 7}


def test_the_commands(shop):
    code, out, err = shop.command('traits', 'user:cli', 'set', 'plan=gold', 'age=42', 'email=cli@mail.example')
    assert code == 0, err
    shop.drain()
    code, out, err = shop.command('traits', 'user:cli')
    assert code == 0 and 'plan' in out and 'gold' in out and 'cli@mail.example' in out, (out, err)
    code, out, err = shop.command('traits', 'user:cli', '--json')
    assert json.loads(out)['traits']['age']['value'] == 42
    assert shop.command('traits', 'user:cli', 'set', 'age=old')[0] == 1
    assert shop.command('traits', 'user:cli', 'set', 'plan')[0] == 2
    assert shop.command('traits', 'user:unknown')[0] == 4
    code, out, err = shop.command('profile', 'user:cli')
    assert 'plan' in out, out
