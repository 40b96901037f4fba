"""Personal values over every route: nothing of them is on any disk in the clear, in the log, the state, the spool or what
the programs say; keys rotate while the programs run; userHash, headers and addresses as configured."""
import base64
import gzip
import hashlib
import hmac
import json
import os
import subprocess
import types
import urllib.parse

from support.cluster import Cluster
from support.instance import SERVER, WAYMARK, Instance, wait_until

SECRET = 'the-shop-and-nobody-else'


class Values:
    """Values that are each only in one place, so that a find says where it came from."""

    def __init__(self):
        self.made = {}

    def __call__(self, place, form='{}@example.com'):
        assert place not in self.made
        self.made[place] = form.format('zq' + hashlib.sha256(place.encode()).hexdigest()[:14])
        return self.made[place]


def forms(value):
    """How a value may be written."""
    raw = value.encode()
    return {raw, urllib.parse.quote(value, safe='').encode(), base64.b64encode(raw), raw.hex().encode(),
            raw.replace(b'@', b'\\u0040'), value.encode('utf-16-le')}


def found_in(folder, values):
    """(place, file) of each value that stands in a file below the folder."""
    needles = [(place, form) for place, value in values.items() for form in forms(value)]
    found = set()
    for top, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(top, name), 'rb') as f:
                data = f.read()
            found |= {(place, os.path.join(top, name)) for place, needle in needles if needle in data}
    return found


def everything(v):
    """(route, key or None, body or None, headers) with a personal value in every place where one may stand."""
    def call(i, **more):
        return {'type': 'track', 'event': f'E{i}', 'userId': 'ann', 'messageId': f'm{i}', **more}
    identify = {'type': 'identify', 'userId': 'ann', 'messageId': 'i1', 'traits': {
        'email': v('trait'), 'name': v('name', 'Ann {}'), 'phone': v('phone', '+44 {}'), 'street': v('street', '{} Road'),
        'birthday': v('birthday', '1990-{}'), 'shipping_addresses': [{'street': v('list', '{} Lane'), 'default': True}],
        'custom': {'deep': [{'receiver': v('deep', '{}')}]}, '$set_once': {'wechat': v('once', '{}')},
        'cards': [{'number': '4111 1111 1111 1111', 'holder': v('card', '{}')}], 'memberLevel': 'gold'}}
    batch = {'context': {'traits': {'email': v('batch context trait')}, 'qq': v('batch context', '{}')}, 'batch': [
        identify,
        call(1, properties={'email': v('property'), 'customer': {'phone': v('nested property', '{}')}, 'a': 1}),
        call(2, context={'traits': {'weibo': v('context trait', '{}')}, 'email': v('context')}),
        call(3, email=v('top level'), person={'mail': v('nested top level')}),
        call(4, properties={'url': 'https://x.example/?email=' + v('url'), 'referrer': 'https://y.example/#token=' +
                            v('fragment', '{}'), 'link': f'https://{v("credentials", "{}:pw")}@x.example/',
                            'next': 'https://x.example/?to=https%3A%2F%2Fx%2F%3Femail%3D' + v('url in url', '{}')}),
        call(5, context={'page': {'url': 'https://x.example/?password=' + v('page url', '{}'),
                                  'search': '?email=' + v('page search', '{}')}}),
        call(6, context={'externalIds': [{'id': v('external id'), 'type': 'email'}]}),
        {'type': 'page', 'messageId': 'b1', 'email': v('refused'), 'traits': {'phone': v('refused trait', '{}')}},
        7]}
    order = {'orderId': 'O1', 'status': 'paid', 'userId': 'ann', 'total': 5, 'email': v('order'),
             'customer': {'name': 'Ann', 'email': v('order customer')}, 'billing_address': {'street': v('billing', '{} St')},
             'items': [{'sku': 's', 'price': 5, 'receiver': v('item', 'Bob {}')}]}
    lines = b'\n'.join(json.dumps(e).encode() for e in (
        call(7, properties={'phone': v('line', '{}')}), {'type': 'nonsense', 'email': v('refused line')})) + \
        b'\n{"email":"' + v('broken line').encode() + b'\n'
    query = urllib.parse.urlencode({'writeKey': 'wk_test_web', 'userId': 'ann', 'email': v('pixel'), 'a': '1'})
    bad_query = urllib.parse.urlencode({'writeKey': 'wk_test_web', 'email': v('refused pixel')})
    traits = urllib.parse.urlencode({'writeKey': 'wk_test_web', 'type': 'identify', 'userId': 'ann', 'phone': v('pixel trait', '{}')})
    web = 'wk_test_web'
    yield '/v1/batch', web, json.dumps(batch), {}
    yield '/v1/b', web, gzip.compress(json.dumps([call(8, properties={'email': v('gzip')})]).encode()), \
        {'Content-Encoding': 'gzip'}
    yield '/v1/batch', web, lines, {}
    for i, (long, short) in enumerate((('identify', 'i'), ('track', 't'), ('page', 'p'), ('screen', 's'), ('alias', 'a'))):
        for route in (long, short):
            yield f'/v1/{route}', web, json.dumps({
                'userId': 'ann', 'previousId': 'd', 'event': 'E', 'messageId': f's{i}{route}', 'traits': {'email': v(f'{route} trait')},
                'properties': {'email': v(f'{route} property')}, 'context': {'traits': {'qq': v(f'{route} context', '{}')}}}), {}
    yield '/v1/track', web, json.dumps({'userId': 'ann', 'email': v('refused single')}), {}
    yield '/v1/track', web, '{"email":"' + v('not json'), {}
    yield '/v1/group', web, json.dumps({'userId': 'ann', 'groupId': 'g', 'context': {'traits': {'email': v('group context')}}}), {}
    yield '/v1/orders', SERVER, json.dumps(order), {}
    yield '/v1/orders', SERVER, json.dumps({'status': 'paid', 'email': v('refused order')}), {}
    yield f'/v1/pixel.gif?{query}', None, None, {}
    yield f'/v1/pixel.gif?{bad_query}', None, None, {}
    yield f'/v1/pixel.gif?{traits}', None, None, {}


def send(ask, values):
    for path, key, body, headers in everything(values):
        status = ask('POST' if key else 'GET', path, body, headers, key)[0]
        assert status == 200 or (status == 400 and any(w in path for w in ('track', 'orders', 'page', 'alias'))), (path, status)


def test_nothing_personal_is_on_disk_in_the_clear():
    values = Values()
    with Instance(more_collector='  cut_parameters: [email, password, token]\n') as inst:
        send(lambda method, path, body, headers, key: inst.request('c', method, path, body, headers, key), values)
        inst.post('/v1/track', {'event': 'Seen', 'userId': 'bob', 'properties': {'colour': 'zqcontrol'}})
        inst.drain()
        assert found_in(inst.dir, {'control': 'zqcontrol'}), 'what is not sealed is found'
        assert found_in(inst.dir, values.made) == set(), 'while it runs'
        m = inst.metrics()
        assert m['waymark_card_numbers_refused_total'][''] == 1
        assert m['waymark_events_sealed_total'][''] >= 20
        status, path = inst.get('/v1/profiles/user%3Aann/path', headers={'Authorization': 'Bearer tk_test_lookup'})
        assert status == 200 and len(path['events']) >= 15
        shown = json.dumps(path, default=str)
        assert not [place for place, value in values.made.items() if value in shown]
        assert '"a": 1' in shown, 'what is not personal stays'
        assert inst.stop() == 0
        assert found_in(inst.dir, values.made) == set(), 'after the stop'
        assert found_in(inst.dir, {'card': '4111 1111 1111 1111', 'bare': '4111111111111111'}) == set()
        code, out, err = inst.command('verify')
        assert code == 0, out + err


def test_nothing_personal_is_in_the_spool():
    values = Values()
    away = types.SimpleNamespace(address='127.0.0.1:1')
    c = Cluster(away, collectors=1, profilers=0)
    try:
        collector = c.collectors[0].start()
        send(lambda method, path, body, headers, key: collector.request(method, path, body, headers, key), values)
        ready = json.loads(collector.request('GET', '/readyz')[2])
        assert ready['log'] == 'spool' and ready['spool']['records'] >= 30, ready
        assert found_in(c.dir, values.made) == set()
        assert collector.stop() == 0
        assert found_in(c.dir, values.made) == set()
    finally:
        c.__exit__()


def test_a_collector_of_kafka_needs_the_public_key():
    c = Cluster(types.SimpleNamespace(address='127.0.0.1:1'), collectors=1, profilers=0)
    try:
        for name in ('profiler.key', 'master.key'):
            os.unlink(os.path.join(c.dir, 'keys', name))
        c.collectors[0].start()
        c.collectors[0].stop()
        os.unlink(os.path.join(c.dir, 'keys', 'profiler.pub'))
        c.collectors[0].start(ready=False)
        assert c.collectors[0].process.wait(30) == 1
        assert 'profiler.pub is missing' in c.collectors[0].log() and 'waymark keys init' in c.collectors[0].log()
        assert not os.path.exists(os.path.join(c.dir, 'keys', 'profiler.key')), 'keys of its own would open nowhere'
    finally:
        c.__exit__()


def test_profilers_of_kafka_need_the_secret_keys():
    """Without them what is personal on the topics would be folded past, for good; keys of their own would open none of it."""
    c = Cluster(types.SimpleNamespace(address='127.0.0.1:1'), collectors=0, profilers=1)
    try:
        profiler, keys = c.profilers[0], os.path.join(c.dir, 'keys')
        for name in ('master.key', 'profiler.key', 'profiler.pub'):
            os.unlink(os.path.join(keys, name))
            profiler.start(ready=False)
            assert profiler.process.wait(30) == 1
            code, _, err = profiler.command('serve', limit=30)
            assert code == 1
            for said in (profiler.log(), err):
                assert 'cannot start' in said and 'would be folded past' in said, said
                assert f'.key is missing in {keys}' in said and 'waymark keys init' in said, said
        assert sorted(os.listdir(keys)) == ['erasure.key', 'receipt.key', 'receipt.pub']
        assert profiler.command('keys', 'init')[0] == 0
        profiler.start(ready=False)
        wait_until(lambda: profiler.request('GET', '/livez')[0] == 200, 30, 'the profiler to run')
        profiler.kill()
    finally:
        c.__exit__()


def test_a_part_of_the_keys_is_not_enough():
    for name in ('master.key', 'profiler.key'):
        with Instance() as inst:
            assert inst.stop() == 0
            os.unlink(os.path.join(inst.dir, 'data', 'keys', name))
            for said in (inst.command('verify'), inst.command('serve')):
                assert said[0] == 1 and name in said[2], said
            alone = subprocess.run([WAYMARK + '-profiler', '--config', inst.config], capture_output=True, text=True, timeout=30)
            assert alone.returncode == 1 and 'would be folded past' in alone.stderr and name in alone.stderr, alone


def bad_of(inst, token='tk_test_all'):
    status, page = inst.get('/v1/tail', topic='bad', after='0:0', headers={'Authorization': 'Bearer ' + token})
    assert status == 200, page
    return page['events']


def test_refused_events_are_shown_to_whom_may_see_them():
    admin = hashlib.sha256(b'tk_admin').hexdigest()
    inst = Instance(more_profiler='  tokens_file: tokens.yaml\n')
    with open(os.path.join(inst.dir, 'tokens.yaml'), 'w') as f:
        f.write(f'- {{name: admin, sha256: {admin}, scopes: [admin]}}\n')
    with inst:
        body = '{"type":"page","email":"ann@example.com"}'
        assert inst.post('/v1/batch', '[7]')[0] == 200  # the tail is asked for what comes behind it
        assert inst.post('/v1/batch', f'[{body}]')[0] == 200
        assert inst.command('keys', 'rotate')[0] == 0
        assert inst.post('/v1/batch', f'[{body}]')[0] == 200
        for e in wait_until(lambda: (b := bad_of(inst)) and len(b) == 2 and b, 20, 'both'):
            assert e['bytes'] == body and e['code'] == 'id_missing' and e['size'] == len(body)
        for e in bad_of(inst, 'tk_admin'):
            assert 'bytes' not in e and 'pii' in e['sealed'] and e['code'] == 'id_missing'


def test_keys_rotate_while_the_shop_runs():
    with Instance() as inst:
        code, before, err = inst.command('keys', 'list')
        assert code == 0 and before.count('newest') == 6, before + err
        inst.post('/v1/identify', {'userId': 'u', 'messageId': '1', 'traits': {'email': 'old@example.com'}})
        code, out, err = inst.command('keys', 'rotate')
        assert code == 0 and out.count('newest') == 2, out + err
        fresh = inst.command('keys', 'list')[1]
        assert fresh.count('profiler.key') == 2 and fresh.count('profiler.pub') == 2 and fresh.count('master.key') == 2
        wait_until(lambda: inst.post('/v1/page', {'email': 'x'}) and 'keys: read again' in inst.log(), 20,
                   'the collector to take up the key')
        inst.post('/v1/identify', {'userId': 'u', 'messageId': '2', 'traits': {'phone': '+441'}})
        inst.drain()
        assert inst.command('keys', 'rotate', '--master')[1].count('newest') == 1
        assert inst.command('keys', 'init')[0] == 0 and 'complete' in inst.command('keys', 'init')[2]
        assert inst.command('keys')[0] == 2 and inst.command('keys', 'list', '--master')[0] == 2
        inst.kill()
        inst.start()
        inst.drain()
        assert inst.stop() == 0
        code, out, err = inst.command('verify')
        assert code == 0, out + err


def test_user_hash():
    def hashed(user):
        return hmac.new(SECRET.encode(), user.encode(), hashlib.sha256).hexdigest()
    inst = Instance(more_collector='  require_user_hash: true\n  user_hash_secret_file: hash.secret\n')
    with open(os.path.join(inst.dir, 'hash.secret'), 'w') as f:
        f.write(SECRET + '\n')
    with inst:
        inst.post('/v1/page', {'userId': 'good', 'userHash': hashed('good')})
        inst.post('/v1/page', {'userId': 'other', 'userHash': hashed('good'), 'anonymousId': 'd'})
        inst.post('/v1/page', {'userId': 'nohash', 'anonymousId': 'd'})
        assert inst.post('/v1/page', {'userId': 'nohash'})[0] == 400
        inst.post('/v1/batch', {'batch': [{'type': 'page', 'userId': 'good'}], 'context': {'userHash': hashed('good')}})
        inst.request('c', 'GET', f'/v1/pixel.gif?writeKey=wk_test_web&userId=pixel&userHash={hashed("pixel")}')
        inst.request('c', 'GET', '/v1/pixel.gif?writeKey=wk_test_web&userId=pixel2&anonymousId=d')
        inst.post('/v1/page', {'userId': 'server'}, key=SERVER)
        inst.post('/v1/page', {'userId': 'undefined', 'anonymousId': 'd', 'userHash': hashed('undefined')})
        inst.drain()
        for user, status in (('good', 200), ('other', 404), ('nohash', 404), ('pixel', 200), ('pixel2', 404), ('server', 200)):
            assert inst.profile('user:' + user)[0] == status, user
        assert len(inst.whole_path('anon:d')) == 4
        ignored = inst.metrics()['waymark_user_ids_ignored_total']
        assert ignored == {'reason="blocked"': 1, 'reason="hash_missing"': 3, 'reason="hash_wrong"': 1}
        assert found_in(os.path.join(inst.dir, 'data'), {'hash': hashed('good')}) == set()


def test_user_hash_needs_its_secret():
    inst = Instance(more_collector='  require_user_hash: true\n')
    code, _, err = inst.command('check')
    assert code == 1 and 'user_hash_secret_file' in err
    inst.__exit__()
    inst = Instance(more_collector='  require_user_hash: true\n  user_hash_secret_file: nowhere\n')
    inst.start(ready=False)
    assert inst.process.wait(30) == 1 and 'nowhere' in inst.log()
    inst.__exit__()


def test_addresses_are_truncated():
    for how, want in (('', b'203.0.113.0'), ('  ip: full\n', b'203.0.113.77'), ('  ip: none\n', None)):
        with Instance(partitions=1, more_collector='  trusted_proxies: 1\n' + how) as inst:
            inst.post('/v1/page', {'userId': 'u', 'context': {'ip': '198.51.100.77', 'device': {'ip': '198.51.100.78'}}},
                      headers={'X-Forwarded-For': '203.0.113.77'})
            inst.post('/v1/page', {'userId': 'v', 'context': {'ip': '192.0.2.77'}}, key=SERVER)
            inst.drain()
            assert inst.stop() == 0
            full = found_in(inst.dir, {a: a for a in ('203.0.113.77', '198.51.100.77', '198.51.100.78', '192.0.2.77')})
            assert bool(full) == ('full' in how), full
            if want:
                assert found_in(inst.dir, {'kept': want.decode()})
