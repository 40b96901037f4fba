"""Everything held about a person: each value that was sent, over whatever route, is in the answer, and nothing of anybody
else is; by pages, for linked devices, as of a time, through any profiler, and as one document by the command."""
import contextlib
import decimal
import http.server
import json
import os
import shutil
import stat
import subprocess
import threading
import urllib.parse

import pytest

from support.cluster import Cluster, not_sanitized
from support.instance import SANITIZED, SERVER, WAYMARK, Instance, decode, sha256
from support.outage import wait_served
from support.talk import DAY, HOUR, MINUTE, Talk, at, order, page, track

MORE = '''  identity: {link_by_order: true, max_users_per_device: 2}
'''
PEOPLE = {'pii': 'pii', 'nosy': 'lookup, audience, export, admin'}


class Marks:
    """Values that stand nowhere else, each once."""

    def __init__(self, who):
        self.who, self.all = who, []

    def __call__(self):
        self.all.append(f'mk-{self.who}-{len(self.all)}-end')
        return self.all[-1]

    def number(self):
        self.all.append(f'7{len(self.who)}{len(self.all):03d}71')
        return int(self.all[-1])

    def many(self, *names):
        return {n: self() for n in names}


def leaves(value):
    """Every key and value, as text."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield k
            yield from leaves(v)
    elif isinstance(value, list):
        for v in value:
            yield from leaves(v)
    else:
        yield str(value)


def text_of(document):
    return '\n'.join(leaves(document))


def missing(document, marks):
    text = text_of(document)
    return [m for m in marks.all if m not in text]


@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    file = tmp_path_factory.mktemp('tokens') / 'tokens.yaml'
    file.write_text(''.join(f'- {{name: {n}, sha256: {sha256(n)}, scopes: [{s}]}}\n' for n, s in PEOPLE.items()))
    with Instance(more_profiler=MORE + f'  tokens_file: {file}\n') as i:
        yield Talk(i)


def data(talk, pid, **query):
    return talk.profile(pid, '/data', **query)


def pages(talk, pid, **query):
    """All pages, and the document that they make."""
    got, cursor = [], {}
    while True:
        got.append(data(talk, pid, **query, **cursor))
        if not got[-1]['next']:
            break
        cursor = {'cursor': got[-1]['next']}
    whole = {k: v for k, v in got[0].items() if k not in ('made_at', 'next')}
    for p in got[1:]:
        assert set(p) - {'as_of'} == {'id', 'made_at', 'version', 'orders', 'events', 'next'}
        whole['orders'] = whole['orders'] + p['orders']
        whole['events'] = whole['events'] + p['events']
    return got, whole


def command(talk, *args):
    code, out, err = talk.inst.command('data', *args)
    assert code == 0, (out, err)
    return json.loads(out, parse_float=decimal.Decimal)


# --- everything, and nothing else -----------------------------------------------------------------------------------------

def product(m):
    return {**m.many('product_id', 'sku', 'name', 'category', 'brand', 'color', 'size', 'style'), 'price': m.number()}


def context(m):
    return {**m.many('userAgent', 'locale', 'surroundings'), 'library': m.many('name', 'version'),
            'campaign': m.many('name', 'source', 'medium', 'term', 'content'), 'page': {'title': m(), 'more': {'deep': [m()]}}}


def log_of(m, oid, who, t, **more):
    items = [{**m.many('productId', 'sku', 'name', 'category', 'brand', 'color', 'size', 'style', 'weight'), 'price': m.number(),
              'cost': m.number(), 'quantity': 3}]
    return order(oid, 'paid', t, userId=who, items=items, total=m.number(), subtotal=m.number(), discount=m.number(),
                 shipping=m.number(), tax=m.number(), place=m.many('storeId', 'storeName', 'city', 'district', 'address'),
                 **m.many('messageId', 'coupon', 'channel', 'sharedBy', 'clerk', 'note'), **more)


def say_everything(talk, m, who, device):
    """Over every route, with every kind of field. Personal ones are sealed on the way."""
    both = {'userId': who, 'anonymousId': device}
    where = {'url': f'https://shop.example/{m()}', 'path': f'/{m()}', 'title': m(), 'referrer': f'https://{m()}.example/x'}
    talk.server(page(0, m(), anonymousId=device, name=m(), properties={**where, 'module': m(), 'a': {'b': [m(), {'c': m()}]}},
                     context=context(m)))
    for route, event in (
            ('page', page(MINUTE, m(), **both, name=m(), context=context(m))),
            ('screen', {'type': 'screen', 'timestamp': at(2 * MINUTE), 'messageId': m(), **both, 'name': m()}),
            ('track', track(3 * MINUTE, m(), m(), **both, properties={'phone': m(), 'email': m() + '@mail.example', 'free': m()},
                            context=context(m))),
            ('track', track(4 * MINUTE, 'Product Added', m(), **both, properties=product(m))),
            ('identify', {'timestamp': at(5 * MINUTE), 'messageId': m(), **both, 'traitsOnce': {'found': m(), 'weibo': m()},
                          'traits': {'email': m() + '@mail.example', 'phone': m(), 'plan': m(), 'lastName': m(),
                                     'address': m.many('street', 'city'), 'hobbies': [m(), m()]},
                          'traitsAdd': {'points': m.number()}, 'consent': {'marketing': True}}),
            ('group', {'timestamp': at(6 * MINUTE), 'messageId': m(), 'groupId': m(), 'traits': {'company': m()}, **both}),
            ('alias', {'timestamp': at(7 * MINUTE), 'messageId': m(), 'userId': who, 'previousId': m()})):
        talk.post('/v1/' + route, event, SERVER)
    talk.server(track(8 * MINUTE, 'Order Completed', m(), **both, context=context(m), properties={
        'order_id': m(), 'revenue': m.number(), 'total': m.number(), 'coupon': m(), 'products': [product(m), product(m)]}))
    talk.orders(log_of(m, m(), who, 9 * MINUTE), log_of(m, m(), who, 10 * MINUTE, refund={
        'id': m(), 'amount': 5, 'items': [m.many('sku', 'name')]}))
    query = urllib.parse.urlencode({'writeKey': 'wk_test_web', 'userId': who, 'type': 'track', 'event': m(), 'messageId': m(),
                                    'shade': m()})
    assert talk.inst.request('c', 'GET', '/v1/pixel.gif?' + query)[0] == 200
    body = json.dumps({'traits': {'qq': m(), 'nickname': m()}, 'time': at(11 * MINUTE)})
    s, _, b = talk.inst.request('p', 'PUT', f'/v1/profiles/{urllib.parse.quote("user:" + who)}/traits', body)
    assert s == 200, b
    talk.inst.drain()


def test_all_that_was_sent_is_there_and_nothing_of_others(shop):
    zoe, other = Marks('zoe'), Marks('other')
    me, you = zoe(), other()
    say_everything(shop, zoe, me, 'common')
    say_everything(shop, other, you, 'tablet')
    # The other one logs in on zoe's device, too, and states zoe's order, once as a log and once as a track.
    shop.server(page(12 * MINUTE, other(), userId=you, anonymousId='common', context=context(other)))
    shared = next(m for m in zoe.all if m in shop.order_list('user:' + me))
    shop.server(track(HOUR, 'Order Updated', other(), userId=you, properties={'order_id': shared, 'email': other()},
                      context={'surroundings': other()}))
    shop.inst.drain()
    _, mine = pages(shop, 'user:' + me)
    _, yours = pages(shop, 'user:' + you)
    assert missing(mine, zoe) == [] and [m for m in other.all if m in text_of(mine)] == []
    assert missing(yours, other) == []
    # Whoever has the order: that the other one speaks of it is counted, and no more.
    both = [o for d in (mine, yours) for o in d['orders'] if o['order_id'] == shared]
    assert [(len(o['statements']), o['statements_of_others']) for o in both] == [(1, 1)]
    assert mine['profile']['traits']['email']['value'].endswith('@mail.example')
    assert set(mine['profile']['traits']['email']) == {'value', 'time', 'source'}
    assert mine['profile']['consent']['marketing']['granted'] is True
    assert mine['ids'][0] == 'user:' + me and 'anon:common' in mine['ids']
    assert not [e for d in (mine, yours) for e in d['events'] if 'unopened' in e]
    documented = command(shop, 'user:' + me)
    assert missing(documented, zoe) == [] and not [m for m in other.all if m in text_of(documented)]


def test_it_agrees_with_the_other_routes(shop):
    shop.server(page(0, anonymousId='a1'), track(1, userId='agree', anonymousId='a1', properties={'sku': 's'}))
    shop.orders(order('agree1', 'paid', 2, userId='agree', total=5), order('agree2', 'created', HOUR, userId='agree', total=7))
    shop.inst.drain()
    d = data(shop, 'user:agree')
    p = shop.profile('user:agree')
    assert (d['id'], d['ids'], d['version'], d['next']) == (p['id'], p['ids'], p['version'], None)
    assert d['profile']['facts'] == p['facts'] and d['profile']['tags'] == p['tags'] and p['tags']['risk'] == 'low'
    assert d['identity'] == shop.profile('user:agree', '/identity')
    plain = shop.path('user:agree', order='asc')
    assert [{k: e[k] for k in was} for was, e in zip(plain, d['events'])] == plain and len(plain) == len(d['events'])
    orders = shop.profile('user:agree', '/orders')['orders']
    assert [{k: o[k] for k in was} for was, o in zip(orders, d['orders'])] == orders and len(orders) == len(d['orders']) == 2
    assert [len(o['statements']) for o in d['orders']] == [1, 1]


def test_a_linked_device_is_its_user(shop):
    shop.server(page(0, 'before', anonymousId='phone'), page(1, 'link', anonymousId='phone', userId='linda'))
    for pid in ('anon:phone', 'user:linda'):
        got, d = pages(shop, pid, limit=1)
        assert d['id'] == 'user:linda' and [e['message_id'] for e in d['events']] == ['before', 'link'] and len(got) == 2


def test_a_shared_device_names_nobody(shop):
    marks = Marks('visitor')
    shop.server(*(page(i, userId=marks(), anonymousId='kiosk') for i in range(4)), page(9, 'own', anonymousId='kiosk'))
    d = data(shop, 'anon:kiosk')
    assert [e['message_id'] for e in d['events']] == ['own'] and d['identity']['shared'] is True
    assert d['identity']['users'] == [] and d['identity']['users_left_out'] > 2
    assert missing(d, marks) == marks.all


def test_nobody_and_wrong_questions(shop):
    shop.server(page(0, userId='asked'), page(1, userId='asked'), page(0, userId='asked2'), page(1, userId='asked2'))
    shop.inst.drain()
    for pid in ('user:nobody', 'anon:nobody'):
        assert data(shop, pid, status=404)['code'] == 'profile_not_found'
    assert data(shop, 'nobody', status=400)['code'] == 'id_invalid'
    for query in ({'limit': 0}, {'limit': 1001}, {'limit': 'x'}, {'as_of': 'soon'}):
        assert data(shop, 'user:asked', status=400, **query)['code'] == 'parameter_invalid', query
    other = data(shop, 'user:asked2', limit=1)['next']
    mine = data(shop, 'user:asked', limit=1)['next']
    backwards = shop.profile('user:asked', '/path', limit=1, order='desc')['next']
    for cursor in (other, backwards, 'x', mine[:-1], mine + 'A'):
        assert data(shop, 'user:asked', status=400, cursor=cursor)['code'] == 'cursor_invalid', cursor
    code, out, err = shop.inst.command('data', 'user:nobody')
    assert (code, out) == (4, '') and err
    assert shop.inst.command('data')[0] == 2 and shop.inst.command('data', 'user:asked', '--as-of', 'soon')[0] == 1


def test_only_with_pii_and_recorded(shop):
    shop.server(page(0, userId='seen', anonymousId='seen1'), page(1, userId='seen', anonymousId='seen1'))
    shop.inst.drain()
    url = '/v1/profiles/anon:seen1/data?limit=1'
    s, _, b = shop.inst.request('p', 'GET', url, headers={'Authorization': 'Bearer nosy'})
    assert s == 403 and decode(b)['code'] == 'scope_missing'
    s, _, b = shop.inst.request('p', 'GET', url, headers={'Authorization': 'Bearer pii'})
    assert s == 200 and decode(b)['id'] == 'user:seen'
    s, _, _ = shop.inst.request('p', 'GET', f'{url}&cursor={decode(b)["next"]}', headers={'Authorization': 'Bearer pii'})
    assert s == 200
    for pid in ('user:seen', 'anon:seen1'):
        code, out, _ = shop.inst.command('audit', '--json', '--who', 'pii', '--profile', pid)
        records = [json.loads(line) for line in out.splitlines()]
        assert [(r['kind'], r['route'], r['status']) for r in records] == [('read', '/v1/profiles/{id}/data', 200)] * 2
    assert 'nosy' not in shop.inst.command('audit', '--json')[1]


# --- times ---------------------------------------------------------------------------------------------------------------

def test_as_of(shop):
    shop.server({'type': 'identify', 'userId': 'then', 'timestamp': at(0), 'traits': {'plan': 'old', 'email': 'o@mail.example'}},
                page(1, 'p1', userId='then'))
    shop.orders(order('then1', 'created', 2, userId='then', total=5), order('then1', 'paid', 2 * DAY, userId='then', total=5))
    shop.server({'type': 'identify', 'userId': 'then', 'timestamp': at(DAY), 'traits': {'plan': 'new', 'email': None}})
    got, d = pages(shop, 'user:then', as_of=at(HOUR), limit=1)
    assert len(got) == 3 and d['as_of'] == at(HOUR)
    assert {k: v['value'] for k, v in d['profile']['traits'].items()} == {'plan': 'old', 'email': 'o@mail.example'}
    assert d['profile']['facts']['events'] == len(d['events']) == 3
    assert [(o['status'], len(o['statements'])) for o in d['orders']] == [('created', 1)]
    now = command(shop, 'user:then')
    assert len(now['events']) == 5 and 'as_of' not in now and now['orders'][0]['status'] == 'paid'
    assert command(shop, 'user:then', '--as-of', at(HOUR))['events'] == d['events']
    assert data(shop, 'user:then', status=404, as_of=at(-DAY))['code'] == 'profile_not_found'


def test_one_reads_ones_own_write(shop):
    for i in range(20):
        shop.server(page(i, f'w{i}', userId='writer'))
        assert len(data(shop, 'user:writer')['events']) == i + 1  # Talk asks with `after`


# --- pages ---------------------------------------------------------------------------------------------------------------

def test_many_large_orders_go_over_pages(shop):
    """Some at one time; each page is bounded, none is lost, none twice, and events come when all orders are given."""
    line = [{'sku': f's{k}', 'name': 'x' * 1000} for k in range(20)]
    n = 500
    for i in range(0, n, 100):
        shop.orders(*(order(f'L{k}', 'paid', k // 7, userId='large', items=line, total=1) for k in range(i, i + 100)))
    shop.inst.drain()
    got, d = pages(shop, 'user:large', limit=1000)
    assert sorted(o['order_id'] for o in d['orders']) == sorted(f'L{k}' for k in range(n))
    assert len(d['events']) == n and len([p for p in got if p['orders']]) >= 3
    assert all(not p['events'] for p, after in zip(got, got[1:]) if after['orders'])
    assert max(len(json.dumps(p, default=str)) for p in got) < 2 * (5 << 20)
    among = got[0]['next']
    assert shop.profile('user:large', '/path', status=400, cursor=among)['code'] == 'cursor_invalid'
    document = command(shop, 'user:large')
    assert document['orders'] == d['orders'] and document['events'] == d['events']


def test_what_comes_in_between_pages(shop):
    """Behind the cursor it is there; the command says that the document is not of one moment."""
    shop.server(*(page(i, f'b{i}', userId='between') for i in range(10)))
    first = data(shop, 'user:between', limit=4)
    shop.server(page(20, 'late', userId='between'))
    rest = data(shop, 'user:between', limit=1000, cursor=first['next'])
    assert [e['message_id'] for e in first['events'] + rest['events']] == [f'b{i}' for i in range(10)] + ['late']
    assert rest['version'] > first['version']


def test_fifty_thousand_events_as_one_document(shop, tmp_path):
    n = 5_000 if SANITIZED else 50_000
    for i in range(0, n, 5000):
        shop.server(*(page(1000 * k, f'e{k}', userId='busy', properties={'n': k}) for k in range(i, i + 5000)))
    shop.orders(order('busy1', 'paid', 1, userId='busy', total=1))
    shop.inst.drain()
    file = tmp_path / 'busy.json'
    code, out, err = shop.inst.command('data', 'user:busy', '--output', str(file))
    assert (code, out, err) == (0, '', '')
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600 and os.listdir(tmp_path) == ['busy.json']
    d = json.loads(file.read_text())
    assert d['changed_meanwhile'] is False and len(d['events']) == n + 1 == d['profile']['facts']['events']
    assert [e['properties']['n'] for e in d['events'] if e['type'] == 'page'] == list(range(n))
    assert [o['order_id'] for o in d['orders']] == ['busy1']


def test_a_file_is_whole_or_not_there(shop, tmp_path):
    shop.server(page(0, userId='filed'))
    shop.inst.drain()
    for pid, folder in (('user:nobody', tmp_path), ('user:filed', tmp_path / 'none')):
        code, _, err = shop.inst.command('data', pid, '--output', str(folder / 'x.json'))
        assert code in (1, 4) and err and os.listdir(tmp_path) == []
    (tmp_path / 'x.json').write_text('old')
    os.symlink('/nowhere/else', tmp_path / 'y.json.part')
    assert shop.inst.command('data', 'user:filed', '--output', str(tmp_path / 'y.json'))[0] == 1
    assert shop.inst.command('data', 'user:filed', '--output', str(tmp_path / 'x.json'))[0] == 0
    assert json.loads((tmp_path / 'x.json').read_text())['id'] == 'user:filed'
    assert stat.S_IMODE(os.stat(tmp_path / 'x.json').st_mode) == 0o600
    if os.path.exists('/dev/full'):
        with open('/dev/full', 'w') as full:
            r = subprocess.run([WAYMARK, 'data', 'user:filed', '--config', shop.inst.config], stdout=full, stderr=subprocess.PIPE)
        assert r.returncode == 1 and b'cannot be written' in r.stderr


@contextlib.contextmanager
def answering(inst, *answers):
    """In the place of a profiler: answers one after the other, (status, body)."""
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = left.pop(0)
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(('127.0.0.1', inst.pport), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
        thread.start()
        try:
            yield left
        finally:
            server.shutdown()
            thread.join()


def test_the_command_says_when_pages_do_not_fit(tmp_path):
    def answer(version, orders, events, following):
        return 200, {'id': 'user:x', 'version': version, 'orders': orders, 'events': events, 'next': following}

    os.mkdir(tmp_path / 'shop')
    inst = Instance(folder=str(tmp_path / 'shop'))
    file = str(tmp_path / 'x.json')
    one = answer(1, [{'order_id': 'a'}], [], 'c1')
    with answering(inst, one, (503, {'code': 'not_yet', 'message': 'moving'}), answer(2, [{'order_id': 'b'}], [{'n': 1}], 'c2'),
                   answer(2, [], [{'n': 2}], None)) as left:
        code, out, err = inst.command('data', 'user:x')
    assert code == 0 and not left and 'run it again' in err, (out, err)
    assert json.loads(out) == {'id': 'user:x', 'version': 1, 'orders': [{'order_id': 'a'}, {'order_id': 'b'}],
                               'events': [{'n': 1}, {'n': 2}], 'changed_meanwhile': True}
    # Somebody erased meanwhile, an answer that is none, one that is cut off: no file.
    for second, expected in (((404, {'code': 'profile_not_found', 'message': 'gone'}), 4), ((200, b'{"orders":[]}'), 1),
                             ((200, b'{"orders":[],"events":[{'), 1), ((403, {'code': 'scope_missing', 'message': 'no'}), 1)):
        with answering(inst, one, second):
            code, out, err = inst.command('data', 'user:x', '--output', file)
        assert (code, out) == (expected, '') and err and not os.path.exists(file) and not os.path.exists(file + '.part')


def test_large_events_go_over_pages(shop):
    """Each page is bounded by its bytes, whatever `limit` says."""
    for i in range(24):
        shop.server(track(i, f'big{i}', f'big{i}', userId='big', properties={'x': ['y' * 8000] * 100}))
    shop.inst.drain()
    got, d = pages(shop, 'user:big', limit=1000)
    assert [e['message_id'] for e in d['events']] == [f'big{i}' for i in range(24)] and len(got) >= 4
    assert max(len(json.dumps(p, default=str)) for p in got) < 6 << 20


def test_what_no_key_opens_is_marked():
    with Instance() as i:
        s, _, _ = i.post('/v1/identify', {'userId': 'u', 'traits': {'email': 'z@x.example', 'plan': 'gold'}}, SERVER)
        assert s == 200
        i.drain()
        assert 'unopened' not in i.profile('user:u', '/data')[1]['events'][0]
        assert i.stop() == 0
        shutil.rmtree(os.path.join(i.dir, 'data', 'keys'))
        i.start()
        s, d = i.profile('user:u', '/data')
        assert s == 200 and d['events'][0]['unopened'] is True and d['events'][0]['traits'] == {'plan': 'gold'}
        assert list(d['profile']['traits']) == ['plan']


# --- two profilers -------------------------------------------------------------------------------------------------------

@not_sanitized
def test_any_profiler_gives_it(kafka, tmp_path):
    file = tmp_path / 'tokens.yaml'
    file.write_text(f'- {{name: pii, sha256: {sha256("pii")}, scopes: [pii]}}\n')
    with Cluster(kafka, profilers=2, partitions=4, more_profiler=f'  tokens_file: {file}\n') as c:
        wait_served(c, by=c.profilers)
        for k in range(8):
            s, _, b = c.collectors[0].post('/v1/batch', {'batch': [
                page(0, f'p{k}', anonymousId=f'd{k}'), page(1, f'q{k}', anonymousId=f'd{k}', userId=f'u{k}'),
                {'type': 'identify', 'timestamp': at(2), 'messageId': f'r{k}', 'userId': f'u{k}',
                 'traits': {'email': f'u{k}@mail.example'}}]}, key=SERVER)
            assert s == 200 and not b['rejected']
            position, _ = c.placed('/v1/orders', [order(f'O{k}', 'paid', 3, userId=f'u{k}', total=1)], key=SERVER)
        c.drain()
        for k in range(8):
            seen = []
            for by in c.profilers:
                for pid in (f'user:u{k}', f'anon:d{k}'):
                    s, first = c.profile(pid, f'/data?limit=2&wait=5s&after={position}', by=by)
                    assert s == 200 and first['next'], (pid, first)
                    s, rest = c.profile(pid, '/data', by=by, cursor=first['next'])
                    assert s == 200 and rest['next'] is None, (pid, rest)
                    seen.append({'id': first['id'], 'ids': first['ids'], 'profile': first['profile'], 'orders': first['orders'],
                                 'events': first['events'] + rest['events']})
            assert all(d == seen[0] for d in seen), seen
            assert [e['message_id'] for e in seen[0]['events']][:3] == [f'p{k}', f'q{k}', f'r{k}'] and len(seen[0]['events']) == 4
            assert seen[0]['profile']['traits']['email']['value'] == f'u{k}@mail.example'
            assert [o['order_id'] for o in seen[0]['orders']] == [f'O{k}']
        for by in c.profilers:  # the scope pii alone is enough, also where the other one is asked what is folded
            s, _, b = by.well('GET', f'/v1/profiles/user:u7/data?after={position}', headers={'Authorization': 'Bearer pii'})
            assert s == 200 and len(decode(b)['events']) == 4, b
        code, out, err = c.profilers[1].command('data', 'anon:d3')
        assert code == 0 and json.loads(out)['id'] == 'user:u3' and len(json.loads(out)['events']) == 4, err
        assert c.profile('user:nobody', '/data', by=c.profilers[0])[0] == 404
