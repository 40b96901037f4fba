"""The topics and the keys of Redis as config/TOPICS.md tells them, read by programs that share no code with Waymark: protobuf
of Python, kcat, protoc. The commands and programs of that page are run as they stand."""
import json
import os
import re
import subprocess
import time

import pytest
import redis
from google.protobuf import text_format
from support.cluster import Cluster
from support.instance import BEACON, SERVER, wait_until
from support.redis import Redis
from support.sealed import opened
from support.wire import messages

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
PARTITIONS = 4
PAGE = os.path.join(ROOT, 'config', 'TOPICS.md')


@pytest.fixture(scope='module')
def proto():
    return messages()


@pytest.fixture(scope='module')
def cluster(shared_kafka):
    with Redis() as r, Cluster(shared_kafka.well(), collectors=1, profilers=1, partitions=PARTITIONS, redis=r) as c:
        yield c


def blocks(language):
    with open(PAGE) as f:
        return re.findall(rf'^```{language}\n(.*?)^```', f.read(), re.M | re.S)


def program(cluster, text):
    """A block of the page with this cluster's names."""
    return re.sub(r'\bwaymark([.:](?=events|bad|claims|audit|profile|lease))', lambda m: cluster.prefix, text)


def parts(text, *names):
    """The named functions and classes of a block, without what stands around them."""
    space = {'json': json, 'redis': redis, 'time': time, 'PARTITIONS': PARTITIONS}
    for name in names:
        exec(re.search(rf'^(def|class) {name}\b.*?(?=^\S|\Z)', text, re.M | re.S)[0], space)
    return space


def murmur2(key):
    return parts(blocks('python')[1], 'murmur2')['murmur2'](key)


def post(cluster, path, body, key=BEACON):
    status, headers, answer = cluster.collectors[0].post(path, body, key)
    assert status == 200, answer
    return headers, answer


def records(cluster, topic):
    return cluster.kafka.records(cluster.prefix + topic)


def is_event(record):
    """As the page says: what the profilers tell one another is flagged."""
    return 'waymark-kind' not in dict(record.headers() or [])


EVENTS = [
    {'type': 'page', 'anonymousId': 'a1', 'messageId': 'm1', 'name': 'Schuhe',
     'properties': {'url': 'https://shop.example/s?utm_campaign=spring&gclid=x1', 'title': 'Schuhe für 9,99 €', 'path': '/s'}},
    {'type': 'track', 'userId': '42', 'anonymousId': 'a1', 'messageId': 'm2', 'event': 'Product Viewed',
     'context': {'library': {'name': 'x.js', 'version': '1.2'}, 'locale': 'de-DE'},
     'properties': {'product_id': 's1', 'name': 'Läufer', 'category': 'Shoes', 'price': 59.9, 'brand': 'B', 'extra': [1, {'a': None}]}},
    {'type': 'identify', 'userId': '42', 'messageId': 'm3', 'traits': {'email': 'x@example.com', 'nul': 'a\x00b'}},
    {'type': 'alias', 'userId': '42', 'previousId': 'a0', 'messageId': 'm4'},
]
ORDER = {'orderId': 'O1', 'status': 'paid', 'userId': '42', 'currency': 'EUR', 'total': '119.8', 'discount': 5, 'coupon': 'SUN',
         'channel': 'store', 'messageId': 'o1', 'place': {'storeId': 'st1', 'city': 'Köln'},
         'items': [{'sku': 's1', 'name': 'Läufer', 'price': 59.9, 'quantity': 2, 'cost': 20.25}]}


def test_events_read_by_others(cluster, proto):
    post(cluster, '/v1/batch', {'batch': EVENTS})
    position, _ = cluster.placed('/v1/orders', ORDER, SERVER)
    said = dict(map(int, p.split(':')) for p in position.split(','))
    found, internal = {}, 0
    wait_until(lambda: not all(map(is_event, records(cluster, 'events'))), 20, 'what the device and the user tell each other')
    for r in records(cluster, 'events'):
        if dict(r.headers() or []).get('waymark-kind') == b'command':
            continue  # a profiler's own: cut points of quintiles
        if not is_event(r):
            m = proto.Internal.FromString(r.value())
            assert not m.FindInitializationErrors() and not list(m.UnknownFields()) and m.version == 1
            assert m.sender < PARTITIONS and len(r.headers()) == 1
            internal += 1
            continue
        e = proto.Event.FromString(r.value())
        assert not e.FindInitializationErrors() and not list(e.UnknownFields())
        assert e.version == 1 and len(e.uid) == 16
        assert r.key() == (e.user_id or e.anonymous_id), 'keyed by the user, else the device'
        assert r.partition() == (murmur2(r.key()) & 0x7fffffff) % PARTITIONS
        assert not r.headers(), 'an event has no header'
        assert abs(r.timestamp()[1] - e.received) < 60_000
        found[e.message_id.decode()] = (e, r)
    assert sorted(found) == ['m1', 'm2', 'm3', 'm4', 'o1'] and internal

    page, viewed, who, alias, order = (found[m][0] for m in ('m1', 'm2', 'm3', 'm4', 'o1'))
    assert (page.type, page.trust) == (proto.EVENT_PAGE, proto.TRUST_BEACON)
    assert page.url.decode() == EVENTS[0]['properties']['url'] and page.title.decode() == 'Schuhe für 9,99 €'
    assert page.campaign.name == b'spring' and page.campaign.click_id == b'gclid=x1' and page.source == b'web'
    assert not page.HasField('user_id') and page.anonymous_id == b'a1'
    assert viewed.type == proto.EVENT_TRACK and viewed.name == b'Product Viewed' and viewed.locale == b'de-DE'
    assert viewed.library.name == b'x.js' and viewed.library.version == b'1.2'
    assert [(i.product_id, i.name.decode(), i.price, i.brand) for i in viewed.items] == [(b's1', 'Läufer', 59_900_000, b'B')]
    assert json.loads(viewed.properties) == EVENTS[1]['properties']
    assert who.type == proto.EVENT_IDENTIFY and json.loads(who.traits) == {'nul': 'a\x00b'}
    assert json.loads(opened(cluster, who.sealed)) == {'traits': {'email': 'x@example.com'}}
    assert not any(b'x@example.com' in r.value() for r in records(cluster, 'events')), 'what is personal is sealed'
    assert alias.type == proto.EVENT_ALIAS and alias.previous_id == b'a0' and alias.user_id == b'42'
    assert (order.type, order.trust, order.source) == (proto.EVENT_ORDER, proto.TRUST_SERVER, b'backend')
    assert (order.order.order_id, order.order.status) == (b'O1', proto.STATUS_PAID)
    assert (order.order.total, order.order.discount, order.order.currency) == (119_800_000, 5_000_000, b'EUR')
    assert order.order.coupon == b'SUN' and order.order.channel == b'store' and order.order.has_items
    assert (order.place.store_id, order.place.city.decode()) == (b'st1', 'Köln')
    assert [(i.sku, i.price, i.quantity, i.cost) for i in order.items] == [(b's1', 59_900_000, 2, 20_250_000)]
    p, o = found['o1'][1].partition(), found['o1'][1].offset()
    assert said == {p: o}, 'the position that the answer said is where the record stands'


def test_copies_have_one_uid(cluster, proto):
    event = {'type': 'track', 'userId': 'twin', 'event': 'E', 'messageId': 'twice'}
    post(cluster, '/v1/track', event)
    post(cluster, '/v1/track', event)
    copies = [e for r in records(cluster, 'events') if is_event(r) and (e := proto.Event.FromString(r.value())).message_id == b'twice']
    assert len(copies) == 2 and copies[0].uid == copies[1].uid


def test_what_was_refused(cluster, proto):
    rubbish = {'type': 'track', 'userId': 'bad', 'messageId': 'r1', 'properties': {'ö': 1}}
    _, answer = post(cluster, '/v1/batch', {'batch': [{'type': 'page', 'userId': 'bad'}, rubbish]})
    (said,) = answer['rejected']
    (bad,) = [b for r in records(cluster, 'bad') if (b := proto.BadEvent.FromString(r.value())).source == b'web']
    assert bad.version == 1 and bad.code.decode() == said['code'] == 'name_missing' and bad.message.decode() == said['message']
    assert bad.route == b'/v1/batch' and bad.position == 1 == said['index'] and bad.sealed
    assert b'r1' not in bad.bytes and json.loads(opened(cluster, bad.bytes)) == rubbish
    assert not bad.HasField('log_partition') and not bad.HasField('log_offset')


def test_claims(cluster, proto):
    claims = {}
    for r in sorted(records(cluster, 'claims'), key=lambda r: r.offset()):
        claims[r.partition()] = proto.Claim.FromString(r.value())
    assert sorted(claims) == list(range(PARTITIONS)), 'each partition has an owner'
    p = cluster.profilers[0]
    for c in claims.values():
        assert c.version == 1 and c.instance.decode() == p.name and c.url.decode().endswith(f':{p.port}')


# --- the page itself ---

def test_commands_of_the_page(cluster, proto):
    commands = blocks('sh')
    assert len(commands) == 5
    post(cluster, '/v1/batch', {'batch': [{'type': 'page', 'userId': 'p1', 'messageId': 'c1'}, {'type': 'track', 'userId': 'p1'}]})
    post(cluster, '/v1/page', {'userId': 'p1', 'anonymousId': 'p2', 'messageId': 'c2'})
    cluster.profile('user:p1')
    wait_until(lambda: sum(cluster.kafka.ends(cluster.prefix + 'audit')) > 0, 20, 'the record that somebody looked')

    def places():
        return {(r.partition(), r.offset()): is_event(r) for r in records(cluster, 'events')}
    before = wait_until(lambda: set((p := places()).values()) == {True, False} and p, 20, 'events and internal records')
    out = []
    for text in commands:
        r = subprocess.run(['bash', '-o', 'pipefail', '-ec', program(cluster, text)], cwd=ROOT, capture_output=True, text=True,
                           timeout=60, env={**os.environ, 'KAFKA': cluster.kafka.address})
        assert r.returncode == 0, text + r.stderr
        out.append(r.stdout)
    lines = out[0].splitlines()
    said = {}
    for line in lines:
        m = re.match(r'(\d+) (\d+) \d+ \S* ?(waymark-kind=.+)?$', line)
        said[int(m[1]), int(m[2])] = not m[3]
    assert before.items() <= said.items() <= places().items() and len(lines) == len(said)
    event = proto.Event()
    text_format.Parse(out[1], event)
    assert event.version == 1 and len(event.uid) == 16 and event.type
    assert 'code: "name_missing"' in out[2]
    assert 'who: "test"' in out[3] and 'kind: AUDIT_READ' in out[3] and 'p1' not in out[3]
    assert f'instance: "{cluster.profilers[0].name}"' in out[4]


def test_the_reader_of_the_page(cluster, tmp_path):
    subprocess.run(['protoc', '-I', 'proto', '--python_out', str(tmp_path), 'proto/waymark.proto'], cwd=ROOT, check=True)
    post(cluster, '/v1/page', {'userId': 'reader', 'messageId': 'reader1'})
    r = subprocess.run(['/usr/bin/python3', '-c', program(cluster, blocks('python')[0])], capture_output=True, text=True, timeout=90,
                       env={**os.environ, 'KAFKA': cluster.kafka.address, 'PYTHONPATH': str(tmp_path)})
    assert r.returncode == 0, r.stderr
    assert any(line.endswith(' reader') for line in r.stdout.splitlines()), r.stdout[-500:]


def test_the_keys_of_the_page(cluster):
    """A copy is read past Waymark only while its lease stands, and is the answer that the profiler gives."""
    post(cluster, '/v1/page', {'userId': '42', 'messageId': 'keys'})
    cluster.drain()
    text = program(cluster, blocks('python')[1])
    env = {**os.environ, 'REDIS': cluster.redis.url}

    def read():
        cluster.profile('user:42')  # what somebody asks for is what is kept
        r = subprocess.run(['/usr/bin/python3', '-c', text], capture_output=True, text=True, timeout=30, env=env)
        assert r.returncode == 0, r.stderr
        return None if r.stdout.strip() == 'None' else r.stdout
    out = wait_until(read, 20, 'a copy in Redis that may be believed')
    _, answer = cluster.profile('user:42')
    assert f"'version': {answer['version']}" in out and "'id': 'user:42'" in out

    client = cluster.redis.client()

    def with_leases():  # of one that is late to make its lease longer there may be none for a moment
        keys = {k.decode() for k in client.keys('*')}
        return len([n for n in keys if n.startswith(cluster.prefix + 'lease:')]) == PARTITIONS and keys
    names = wait_until(with_leases, 20, 'a lease of every partition')
    shape = rf'{re.escape(cluster.prefix)}(profile:(user|anon):.+|lease:\d+:[0-9a-f]{{40}})'
    assert names and all(re.fullmatch(shape, n) for n in names), names
    head = client.get(f'{cluster.prefix}profile:user:42').split(b'\n')[0]
    assert re.fullmatch(rb'[0-9a-f]+ \d+ \d+ \d+', head), head
    leases = [n for n in names if n.startswith(cluster.prefix + 'lease:')]
    assert all(client.pttl(n) <= 1000 for n in leases)

    reader = parts(text, 'murmur2', 'Profiles')['Profiles'](cluster.redis.url)
    wait_until(lambda: reader.read('user:42'), 20, 'a copy that may be believed')
    run, reader.run_id = reader.run_id, 'another run'
    assert reader.read('user:42') is None
    reader.run_id = run
    # A profiler that is killed is believed no longer than its lease.
    cluster.profilers[0].kill()
    wait_until(lambda: reader.read('user:42') is None, 5, 'the lease to be over')
    assert client.exists(f'{cluster.prefix}profile:user:42'), 'the copy is still there'
    cluster.profilers[0].start()


# Last: readers by the page stop at what is no event.
def test_a_record_that_is_no_event(cluster, proto):
    place = cluster.kafka.produce(cluster.events, b'\xffno event', key=b'x')

    def set_aside():
        return [b for r in records(cluster, 'bad') if (b := proto.BadEvent.FromString(r.value())).HasField('log_offset')]
    (bad,) = wait_until(set_aside, 20, 'the record to be set aside')
    assert (bad.log_partition, bad.log_offset) == place
    assert not bad.sealed, 'whoever reads the topic has it anyway'
    assert bad.code == b'record_invalid' and bad.bytes == b'\xffno event' and bad.message
