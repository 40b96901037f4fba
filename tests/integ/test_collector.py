"""waymark-collector from outside: what each request is answered, however broken it is, and that good neighbours are
kept, nothing crashes and the counters add up to the unit."""
import base64
import gzip
import json
import os
import socket
import subprocess
import threading
import time
import zlib

import pytest

from support.collector import BEACON, BOUND, BUILD, SERVER, Collector, basic, wait_for

GIF = base64.b64decode('R0lGODlhAQABAPAAAP///wAAACH5BAUAAAAALAAAAAABAAEAAAICRAEAOw==')


def track(mid=None, **more):
    e = {'type': 'track', 'event': 'Product Viewed', 'userId': 'u', **more}
    return {**e, 'messageId': mid} if mid else e


def order(**more):
    return {'orderId': 'O1', 'status': 'paid', 'userId': 'u', 'total': 9.99, **more}


def without(d, *names):
    return {k: v for k, v in d.items() if k not in names}


def nested(depth):
    v = {}
    for _ in range(depth):
        v = {'d': v}
    return v


def amid(bad):
    """A bad event between two good ones, as text where it is none of Python's."""
    return {'batch': [track('a'), bad, track('b')]}


def text(*parts):
    return b''.join(p if isinstance(p, bytes) else json.dumps(p).encode() for p in parts)


GOOD = json.dumps(track('good')).encode()
BATCH = json.dumps({'batch': [track('good')]}).encode()

# name, body, what else of the request, and the answer: (status, code) of a refused request, or (200, accepted, rejected).
WHOLE = [
    ('not JSON', b'{"batch":[', {}, (400, 'json_invalid')),
    ('rubbish', b'hello', {}, (400, 'json_invalid')),
    ('empty', b'', {}, (400, 'json_invalid')),
    ('blank', b' \r\n\t \n', {}, (400, 'json_invalid')),
    ('NUL bytes', b'\0\0\0', {}, (400, 'json_invalid')),
    ('byte order mark and rubbish', b'\xef\xbb\xbfx', {}, (400, 'json_invalid')),
    ('UTF-16', '{"a":1}'.encode('utf-16'), {}, (400, 'json_invalid')),
    ('bad UTF-8', b'{"type":"track","event":"\xff\xfe","userId":"u"}', {}, (400, 'json_invalid')),
    ('over-long UTF-8', b'{"type":"track","event":"\xc0\xaf","userId":"u"}', {}, (400, 'json_invalid')),
    ('surrogate in UTF-8', b'{"type":"track","event":"\xed\xa0\x80","userId":"u"}', {}, (400, 'json_invalid')),
    ('control character in a string', b'{"type":"track","event":"a\x01","userId":"u"}', {}, (400, 'json_invalid')),
    ('bad escape', b'{"type":"track","event":"\\x41","userId":"u"}', {}, (400, 'json_invalid')),
    ('trailing comma', b'{"batch":[{},]}', {}, (400, 'json_invalid')),
    ('two documents on one line', GOOD + GOOD, {}, (400, 'json_invalid')),
    ('something behind', GOOD + b' x', {}, (400, 'json_invalid')),
    ('NaN', b'{"type":"track","event":"E","userId":"u","properties":{"n":NaN}}', {}, (400, 'json_invalid')),
    ('leading zero', b'{"type":"track","event":"E","userId":"u","properties":{"n":01}}', {}, (400, 'json_invalid')),
    ('single quotes', b"{'type':'track'}", {}, (400, 'json_invalid')),
    ('a comment', b'{"batch":[]/**/}', {}, (400, 'json_invalid')),
    ('deep arrays', b'[' * 100_000, {}, (400, 'json_invalid')),
    ('deep closed arrays', b'[' * 5000 + b']' * 5000, {}, (400, 'json_invalid')),
    ('deep objects', b'{"a":' * 100_000, {}, (400, 'json_invalid')),
    ('form', b'data=eyJhIjoxfQ%3D%3D', {'headers': {'Content-Type': 'application/x-www-form-urlencoded'}},
     (400, 'json_invalid')),
    ('a number', b'7', {}, (400, 'event_invalid')),
    ('a string', b'"track"', {}, (400, 'event_invalid')),
    ('null', b'null', {}, (400, 'event_invalid')),
    ('batch is no array', b'{"batch":{"type":"track"}}', {}, (400, 'event_invalid')),
    ('batch is null', b'{"batch":null}', {}, (400, 'event_invalid')),
    ('NDJSON of rubbish only', b'rubbish\nmore\n', {}, (400, 'json_invalid')),
    ('gzip of nothing readable', b'\x1f\x8b\x08nonsense', {}, (400, 'gzip_invalid')),
    ('gzip cut short', gzip.compress(BATCH * 50)[:-9], {}, (400, 'gzip_invalid')),
    ('gzip with a wrong checksum', gzip.compress(BATCH)[:-8] + b'\0' * 8, {}, (400, 'gzip_invalid')),
    ('gzip of an empty body', gzip.compress(b''), {}, (400, 'json_invalid')),
    ('gzip of rubbish', gzip.compress(b'rubbish'), {}, (400, 'json_invalid')),
    ('gzip bomb', gzip.compress(b' ' * (200 << 20)), {}, (413, 'body_too_large')),
    ('gzip bomb under a server key', gzip.compress(b' ' * (200 << 20)), {'key': SERVER}, (413, 'body_too_large')),
    ('gzip bomb of many members', gzip.compress(b' ' * (1 << 20)) * 100, {}, (413, 'body_too_large')),
    ('too large', b' ' * (5 << 20), {}, (413, 'body_too_large')),
    ('far too large', b' ' * (32 << 20), {}, (413, 'body_too_large')),
    ('too many values', text(b'{"type":"page","userId":"u","x":[', b'0,' * 400_000, b'0]}'), {}, (413, 'body_too_large')),
    ('too many values in a first line', text(b'{"x":[', b'0,' * 400_000, b'0]}\n', GOOD), {}, (413, 'body_too_large')),
    ('as many under a server key', text(b'{"type":"page","userId":"u","x":[', b'0,' * 400_000, b'0]}'), {'key': SERVER},
     (200, 1, [])),
    ('too large for a server key', b' ' * (21 << 20), {'key': SERVER}, (413, 'body_too_large')),
    ('a server key in the body does not widen it', text({'writeKey': SERVER, 'batch': [], 'x': 'x' * (5 << 20)}),
     {'key': None}, (413, 'body_too_large')),
    ('no key', BATCH, {'key': None}, (401, 'key_missing')),
    ('empty key', BATCH, {'key': None, 'headers': {'Authorization': 'Basic Og=='}}, (401, 'key_missing')),
    ('unknown key', BATCH, {'key': 'wk_nobody'}, (401, 'key_unknown')),
    ('unknown key, not JSON', b'{', {'key': 'wk_nobody'}, (401, 'key_unknown')),
    ('no key, not JSON', b'{', {'key': None}, (400, 'json_invalid')),
    ('unknown bearer', BATCH, {'key': None, 'headers': {'Authorization': 'Bearer nobody'}}, (401, 'key_unknown')),
    ('Basic that is no base64', BATCH, {'key': None, 'headers': {'Authorization': 'Basic \x7f!'}}, (401, 'key_unknown')),
    ('another scheme', BATCH, {'key': None, 'headers': {'Authorization': 'Digest x'}}, (401, 'key_missing')),
    ('unknown key in the body', text({'batch': [], 'writeKey': 'nobody'}), {'key': None}, (401, 'key_unknown')),
    ('a key that is no string', text({'batch': [], 'writeKey': 7}), {'key': None}, (401, 'key_missing')),
    ('a huge key', text({'batch': [], 'writeKey': 'k' * 100_000}), {'key': None}, (401, 'key_unknown')),
    ('half a key', BATCH, {'key': BEACON[:-1]}, (401, 'key_unknown')),
    ('a key and more', BATCH, {'key': BEACON + 'x'}, (401, 'key_unknown')),
    ('server key in the query', BATCH, {'key': None, 'path': f'/v1/batch?writeKey={SERVER}'}, (401, 'key_unknown')),
    ('beacon key on orders', text(order()), {'path': '/v1/orders'}, (403, 'key_not_allowed')),
    ('beacon key in the body on orders', text(order(writeKey=BEACON)), {'path': '/v1/orders', 'key': None},
     (403, 'key_not_allowed')),
    ('a page of another origin', BATCH, {'key': BOUND, 'headers': {'Origin': 'https://evil.example'}},
     (403, 'key_not_allowed')),
    ('a sandboxed page', BATCH, {'key': BOUND, 'headers': {'Origin': 'null'}}, (403, 'key_not_allowed')),
    ('no such route', BATCH, {'path': '/v1/nothing'}, (404, 'not_found')),
    ('a route with a slash behind', BATCH, {'path': '/v1/batch/'}, (404, 'not_found')),
    ('an encoded route', BATCH, {'path': '/v1/%62atch'}, (404, 'not_found')),
    ('an encoded slash', BATCH, {'path': '/v1%2Fbatch'}, (404, 'not_found')),
    ('an encoded NUL', BATCH, {'path': '/v1/batch%00'}, (404, 'not_found')),
    ('GET of a POST route', None, {'method': 'GET'}, (405, 'method_not_allowed')),
    ('PUT', BATCH, {'method': 'PUT'}, (405, 'method_not_allowed')),
    ('DELETE', None, {'method': 'DELETE'}, (405, 'method_not_allowed')),
    ('POST to the pixel', BATCH, {'path': '/v1/pixel.gif'}, (405, 'method_not_allowed')),
    ('POST to readyz', BATCH, {'path': '/readyz'}, (405, 'method_not_allowed')),
    ('single call without a name', b'{"userId":"u"}', {'path': '/v1/track'}, (400, 'event_invalid', 'name_missing')),
    ('single call without an id', b'{"event":"E"}', {'path': '/v1/track'}, (400, 'event_invalid', 'id_missing')),
    ('single call of another type', text(track(type='teleport')), {'path': '/t'}, (400, 'event_invalid', 'type_unknown')),
    ('alias without the former id', text({'userId': 'u'}), {'path': '/v1/alias'}, (400, 'event_invalid', 'id_missing')),
    ('single call nested too deep', text(track(properties=nested(40))), {'path': '/v1/t'},
     (400, 'event_invalid', 'too_deep')),
]

HUGE = '1' * 400
BAD_EVENTS = [
    ('an array', [], 'not_object'),
    ('a number', 7, 'not_object'),
    ('null', None, 'not_object'),
    ('a string', 'x', 'not_object'),
    ('true', True, 'not_object'),
    ('unknown type', track(type='teleport'), 'type_unknown'),
    ('type of another case', track(type='TRACK'), 'type_unknown'),
    ('a type that is a number', track(type=5), 'type_unknown'),
    ('no type', without(track(), 'type'), 'type_unknown'),
    ('an order log among events', {**order(), 'type': 'order'}, 'type_unknown'),
    ('nobody', without(track(), 'userId'), 'id_missing'),
    ('empty id', track(userId=''), 'id_missing'),
    ('blocked id', track(userId='undefined'), 'id_missing'),
    ('blocked id in capitals', track(userId='NULL'), 'id_missing'),
    ('null id', track(userId=None), 'id_missing'),
    ('over-long id', track(userId='u' * 257), 'id_invalid'),
    ('over-long id in bytes', track(userId='ü' * 129), 'id_invalid'),
    ('an id that is an object', track(userId={'a': 1}), 'id_invalid'),
    ('an id that is true', track(userId=True), 'id_invalid'),
    ('an id that is a fraction', track(userId=1.5), 'id_invalid'),
    ('a device that is a list', track(anonymousId=[1]), 'id_invalid'),
    ("a guest's device", track(anonymousId='order:O1'), 'id_invalid'),
    ('over-long message id', track('m' * 257), 'id_invalid'),
    ('a message id that is a list', track(messageId=['m']), 'id_invalid'),
    ('a track without a name', without(track(), 'event'), 'name_missing'),
    ('a track with an empty name', track(event=''), 'name_missing'),
    ('a word for a time', track(timestamp='yesterday'), 'timestamp_invalid'),
    ('a day that is none', track(timestamp='2026-02-30T00:00:00Z'), 'timestamp_invalid'),
    ('an hour that is none', track(timestamp='2026-02-03T24:00:00Z'), 'timestamp_invalid'),
    ('a time that is an object', track(timestamp={}), 'timestamp_invalid'),
    ('a sent time that is a list', track(sentAt=[]), 'timestamp_invalid'),
    ('too large', track(properties={'blob': 'x' * (1 << 20)}), 'too_large'),
    ('too deep', track(properties=nested(40)), 'too_deep'),
    ('an amount that is a word', track(event='Order Completed', properties={'order_id': 'O', 'total': 'lots'}),
     'value_invalid'),
    ('an amount over the bound', track(event='Order Completed', properties={'order_id': 'O', 'total': 1e300}),
     'value_invalid'),
]

BAD_ORDERS = [
    ('no id', without(order(), 'orderId'), 'order_invalid'),
    ('no status', without(order(), 'status'), 'order_invalid'),
    ('unknown status', order(status='eaten'), 'order_invalid'),
    ('a status that is a number', order(status=2), 'order_invalid'),
    ('no object', 7, 'not_object'),
    ('an amount that is a word', order(total='lots'), 'value_invalid'),
    ('an amount over the bound', order(total=1e300), 'value_invalid'),
    ('an amount with too many decimals', order(total='1.0000001'), 'value_invalid'),
    ('an amount that is a list', order(total=[]), 'value_invalid'),
    ('a huge quantity', order(items=[{'sku': 's', 'price': 1, 'quantity': 1e30}]), 'value_invalid'),
    ('half a piece', order(items=[{'sku': 's', 'price': 1, 'quantity': 0.5}]), 'value_invalid'),
    ('items that are none', order(items={'sku': 's'}), 'value_invalid'),
    ('a currency that is none', order(currency='pounds'), 'value_invalid'),
    ('a time that is none', order(timestamp='soon'), 'timestamp_invalid'),
    ('an over-long user', order(userId='u' * 300), 'id_invalid'),
]

# Requests that carry good events in some odd way.
FORMS = [
    ('plain text', GOOD, {'path': '/v1/track', 'headers': {'Content-Type': 'text/plain'}}, (200, 1, [])),
    ('gzip under a wrong type', gzip.compress(BATCH),
     {'headers': {'Content-Type': 'application/x-www-form-urlencoded', 'Content-Encoding': 'gzip'}}, (200, 1, [])),
    ('gzip that nobody announced', gzip.compress(BATCH), {}, (200, 1, [])),
    ('gzip of two members', gzip.compress(BATCH[:9]) + gzip.compress(BATCH[9:]), {}, (200, 1, [])),
    ('plain though gzip was announced', BATCH, {'headers': {'Content-Encoding': 'gzip'}}, (200, 1, [])),
    ('deflate', zlib.compress(BATCH), {}, (200, 1, [])),
    ('blanks around', b'\n\n  ' + BATCH + b' \r\n', {}, (200, 1, [])),
    ('over several lines', json.dumps({'batch': [track('x'), track('y')]}, indent=1).encode(), {}, (200, 2, [])),
    ('empty batch', b'{"batch":[]}', {}, (200, 0, [])),
    ('empty array', b'[]', {}, (200, 0, [])),
    ('array on a single-call route', text([track('1'), track('2')]), {'path': '/v1/t'}, (200, 2, [])),
    ('array with a bad one on a single-call route', text([track('1'), 7]), {'path': '/v1/t'},
     (200, 1, [(1, 'not_object')])),
    ('batch on a single-call route', text({'batch': [without(track('1'), 'type')]}), {'path': '/v1/t'}, (200, 1, [])),
    ('a single object on the batch route', GOOD, {}, (200, 1, [])),
    ('a bad single object on the batch route', b'{"event":"E"}', {}, (200, 0, [(0, 'type_unknown')])),
    ('the route gives the type', text({'userId': 'u', 'traits': {}}), {'path': '/i'}, (200, 1, [])),
    ('NDJSON', GOOD + b'\n' + GOOD + b'\n', {}, (200, 2, [])),
    ('NDJSON with blank lines', b'\r\n' + GOOD + b'\r\n\r\n \n' + GOOD, {}, (200, 2, [])),
    ('NDJSON with a broken line', GOOD + b'\n{"type":\n' + GOOD, {}, (200, 2, [(1, 'not_object')])),
    ('NDJSON with a line of bad UTF-8', GOOD + b'\n{"a":"\xff"}\n' + GOOD, {}, (200, 2, [(1, 'not_object')])),
    ('NDJSON with a broken first line', b'{"type" 1}\n' + GOOD + b'\n', {}, (200, 1, [(0, 'not_object')])),
    ('NDJSON cut off', GOOD + b'\n' + GOOD + b'\n{"type":"tra', {}, (200, 2, [(2, 'not_object')])),
    ('NDJSON with a line too deep to read', GOOD + b'\n' + b'[' * 5000 + b'\n' + GOOD, {}, (200, 2, [(1, 'not_object')])),
    ('NDJSON with a bad event', GOOD + b'\n{"type":"page"}\n', {}, (200, 1, [(1, 'id_missing')])),
    ('NDJSON, gzip', gzip.compress((GOOD + b'\n') * 1000), {}, (200, 1000, [])),
    ('numbers over 64 bits', text(b'{"type":"track","event":"E","userId":"u","properties":{"n":', HUGE.encode(),
                                  b',"m":1e999,"o":-0.0}}'), {}, (200, 1, [])),
    ('a huge integer id', text(b'{"type":"track","event":"E","userId":', HUGE[:200].encode(), b'}'), {}, (200, 1, [])),
    ('an id of 256 bytes', text(track(userId='u' * 256)), {}, (200, 1, [])),
    ('an id with a NUL', text(track(userId='a\0b')), {}, (200, 1, [])),
    ('a cut emoji', b'{"type":"track","event":"E","userId":"u","properties":{"a":"\\ud83d"}}', {}, (200, 1, [])),
    ('odd text', text(track(properties={'nul': 'a\0b', '线': '\u2028', '😀': '𝒳'})), {}, (200, 1, [])),
    ('a member twice', b'{"type":"page","type":"track","event":"E","userId":"","userId":"u"}', {}, (200, 1, [])),
    ('1 MiB but a little', text(track(properties={'blob': 'x' * ((1 << 20) - 200)})), {}, (200, 1, [])),
    ('3,000 events', text({'batch': [track(str(n)) for n in range(3000)]}), {}, (200, 3000, [])),
    ('a large body under a server key', text([track(str(n), properties={'x': 'x' * 9000}) for n in range(1000)]),
     {'key': SERVER}, (200, 1000, [])),
    ('the old import', BATCH, {'path': '/v1/import'}, (200, 1, [])),
    ('short and without /v1', GOOD, {'path': '/b'}, (200, 1, [])),
    ('key as bearer', BATCH, {'key': None, 'headers': {'Authorization': f'Bearer {BEACON}'}}, (200, 1, [])),
    ('key with a password', BATCH, {'key': None, 'headers': {
        'Authorization': 'basic ' + base64.b64encode(f'{BEACON}:secret'.encode()).decode()}}, (200, 1, [])),
    ('key without a colon', BATCH, {'key': None, 'headers': {
        'Authorization': 'Basic ' + base64.b64encode(BEACON.encode()).decode().rstrip('=')}}, (200, 1, [])),
    ('key at the top', text({'batch': [track()], 'writeKey': BEACON}), {'key': None}, (200, 1, [])),
    ('key in the first item', text({'batch': [track(writeKey=BEACON), track()]}), {'key': None}, (200, 2, [])),
    ('key in the first line', text(track(writeKey=BEACON), b'\n', track()), {'key': None}, (200, 2, [])),
    ('key in the query', BATCH, {'key': None, 'path': f'/v1/batch?writeKey={BEACON}'}, (200, 1, [])),
    ('key in a field of its own', BATCH, {'key': None, 'headers': {'X-Write-Key': f'{BEACON}:secret'}}, (200, 1, [])),
    ('token of somebody else and a key in the body', text({'batch': [track()], 'writeKey': BEACON}),
     {'key': None, 'headers': {'Authorization': 'Bearer oauth'}}, (200, 1, [])),
    ('a page of the right origin', BATCH, {'key': BOUND, 'headers': {'Origin': 'https://shop.example'}}, (200, 1, [])),
    ('a bound key and no page', BATCH, {'key': BOUND}, (200, 1, [])),
    ('one order log', text(order()), {'path': '/v1/orders', 'key': SERVER}, (200, 1, [])),
    ('order logs', text([order(), order(orderId='O2')]), {'path': '/v1/orders', 'key': SERVER}, (200, 2, [])),
    ('order logs as NDJSON', text(order(), b'\n', order(orderId='O2'), b'\nrubbish'), {'path': '/v1/orders', 'key': SERVER},
     (200, 2, [(2, 'not_object')])),
    ('a bad order log alone', text(order(status='eaten')), {'path': '/v1/orders', 'key': SERVER},
     (200, 0, [(0, 'order_invalid')])),
    ('an order with a batch number', text(order(batch='B7')), {'path': '/v1/orders', 'key': SERVER}, (200, 1, [])),
    ("a guest's order", text(without(order(), 'userId')), {'path': '/v1/orders', 'key': SERVER}, (200, 1, [])),
    ('server key in the body of orders', text(order(writeKey=SERVER)), {'path': '/v1/orders', 'key': None}, (200, 1, [])),
]

TABLE = WHOLE + FORMS
TABLE += [(f'event: {what}', text(amid(bad)), {}, (200, 2, [(1, code)])) for what, bad, code in BAD_EVENTS]
TABLE += [(f'order: {what}', text([order(), bad, order(orderId='O2')]), {'path': '/v1/orders', 'key': SERVER},
           (200, 2, [(1, code)])) for what, bad, code in BAD_ORDERS]


class Sums:
    """What the counters must say after the requests so far."""

    def __init__(self):
        self.accepted, self.refused, self.logged = 0, {}, 0

    def refuse(self, code, n=1, logged=True):
        self.refused[code] = self.refused.get(code, 0) + n
        self.logged += n if logged else 0

    def check(self, c):
        received, accepted, refused, in_flight = c.events()
        assert (accepted, refused, in_flight) == (self.accepted, self.refused, 0)
        assert received == accepted + sum(refused.values())
        appends = c.metrics()['waymark_log_appends_total']
        assert appends['by="collector"'] == accepted + self.logged


@pytest.fixture(scope='module')
def shared():
    with Collector() as c:
        c.sums = Sums()
        yield c
        assert c.alive() and c.request('GET', '/livez')[0] == 200, c.words()
        c.sums.check(c)
        assert c.stop() == 0, c.words()


def check_positions(h, accepted):
    pairs = [p.split(':') for p in h.get('x-waymark-position', '').split(',') if p]
    assert bool(pairs) == (accepted > 0) and pairs == sorted(pairs)
    assert all(0 <= int(p) < 4 and int(o) >= 0 for p, o in pairs)


def check_refused(c, s, h, b, want):
    assert (s, b['code']) == want[:2] and b['message'] and set(b) == {'code', 'message'}, (s, b)
    assert 'x-waymark-position' not in h
    if len(want) > 2:
        assert b['message'].startswith(want[2] + ': ')
        c.sums.refuse(want[2])
    if s == 405:
        assert 'OPTIONS' in h['allow']


def check_taken(c, s, h, b, want):
    status, accepted, rejected = want
    assert (s, b['success'], b['accepted']) == (status, True, accepted), (s, b)
    assert [(x['index'], x['code']) for x in b['rejected']] == rejected
    assert all(x['message'] for x in b['rejected'])
    assert h['x-waymark-ack'] == 'durable'
    check_positions(h, accepted)
    c.sums.accepted += accepted
    for _, code in rejected:
        c.sums.refuse(code)


@pytest.mark.parametrize('body,how,want', [r[1:] for r in TABLE], ids=[r[0] for r in TABLE])
def test_answer(shared, body, how, want):
    how = {'method': 'POST', 'path': '/v1/batch', 'key': BEACON, **how}
    s, h, b = shared.request(how['method'], how['path'], body, how.get('headers'), how['key'])
    assert h['content-type'] == 'application/json'
    (check_taken if want[0] == 200 else check_refused)(shared, s, h, json.loads(b), want)


def test_table_is_large():
    assert len(WHOLE) + len(BAD_EVENTS) + len(BAD_ORDERS) >= 60


def test_too_many_events(shared):
    s, _, b = shared.post('/v1/batch', b'[' + b'0,' * 50_000 + b'0]')
    assert (s, b['code']) == (413, 'body_too_large')
    shared.sums.refuse('body_too_large', 50_001, logged=False)


def test_events_that_grow_beyond_the_log(shared):
    """A context that counts for each of 30,000 events: a retry would not help."""
    batch = {'context': {'x': 'x' * 7000}, 'batch': [track()] * 30_000}
    s, _, b = shared.post('/v1/batch', batch, key=BEACON)
    assert (s, b['code']) == (413, 'body_too_large')
    shared.sums.refuse('body_too_large', 30_000, logged=False)


def test_the_largest_batch(shared):
    """50,000 events, all bad: answered whole, each with its index."""
    s, _, b = shared.post('/v1/batch', b'[' + b'0,' * 49_999 + b'0]')
    assert (s, b['accepted'], len(b['rejected'])) == (200, 0, 50_000)
    assert [x['index'] for x in b['rejected']] == list(range(50_000))
    shared.sums.refuse('not_object', 50_000)


# --- HTTP that is broken below the routes ----------------------------------------------------------

AUTH = f'Authorization: {basic(BEACON)}\r\n'.encode()


def head(fields, method=b'POST', path=b'/v1/batch', version=b'HTTP/1.1'):
    return method + b' ' + path + b' ' + version + b'\r\nHost: x\r\nConnection: close\r\n' + AUTH + fields + b'\r\n'


BROKEN = [
    ('two lengths', head(b'Content-Length: %d\r\nContent-Length: 5\r\n' % len(GOOD)) + GOOD, b' 400 '),
    ('the same length twice', head(b'Content-Length: 5\r\nContent-Length: 5\r\n') + b'hello', b' 400 '),
    ('length and chunked', head(b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n') + b'0\r\n\r\n', b' 400 '),
    ('gzip as transfer encoding', head(b'Transfer-Encoding: gzip, chunked\r\n') + b'0\r\n\r\n', b' 400 '),
    ('a negative length', head(b'Content-Length: -5\r\n') + b'hello', b' 400 '),
    ('a length that is a word', head(b'Content-Length: five\r\n') + b'hello', b' 400 '),
    ('a length over 64 bits', head(b'Content-Length: 99999999999999999999\r\n') + b'hello', b' 4'),
    ('a bad chunk', head(b'Transfer-Encoding: chunked\r\n') + b'zz\r\nhello\r\n0\r\n\r\n', b' 400 '),
    ('a head too large', head(b'X-Pad: ' + b'x' * 70_000 + b'\r\n'), b' 4'),
    ('a path too long', head(b'', b'GET', b'/v1/' + b'x' * 70_000), b' 4'),
    ('no host', b'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', b' 400 '),
    ('rubbish', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', b''),
    ('HTTP/3.7', b'GET /livez HTTP/3.7\r\nHost: x\r\n\r\n', b''),
]


@pytest.mark.parametrize('data,want', [r[1:] for r in BROKEN], ids=[r[0] for r in BROKEN])
def test_broken_http(shared, data, want):
    got = shared.raw(data, shut=True)
    assert want in got.split(b'\r\n')[0] + b' ' and b' 200 ' not in got.split(b'\r\n')[0]


def test_an_upload_that_is_given_up_is_nothing(shared):
    shared.raw(head(b'Content-Length: %d\r\n' % (len(GOOD) + 1)) + GOOD, shut=True)
    shared.raw(head(b'Transfer-Encoding: chunked\r\n') + b'%x\r\n' % len(GOOD) + GOOD + b'\r\n', shut=True)
    shared.sums.check(shared)


def test_chunked(shared):
    data = b''.join(b'%x\r\n%s\r\n' % (len(GOOD[i:i + 7]), GOOD[i:i + 7]) for i in range(0, len(GOOD), 7))
    got = shared.raw(head(b'Transfer-Encoding: chunked\r\n') + data + b'0\r\n\r\n')
    assert b'200 OK' in got and b'"accepted":1' in got
    shared.sums.accepted += 1


def test_pipelining(shared):
    one = head(b'Content-Length: %d\r\n' % len(GOOD)).replace(b'Connection: close\r\n', b'') + GOOD
    got = shared.raw(one * 20 + b'GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    assert got.count(b'HTTP/1.1 200 OK') == 21 and got.count(b'"accepted":1') == 20
    assert got.rstrip().endswith(b'{"live":true}')
    shared.sums.accepted += 20


def test_slow_bodies_hold_nobody_up(shared):
    """200 uploads that stand still, and a neighbour that is served meanwhile; then they go on and are served too."""
    slow = []
    for _ in range(200):
        s = socket.create_connection(('127.0.0.1', shared.port), 20)
        s.sendall(head(b'Content-Length: %d\r\n' % len(GOOD)) + GOOD[:20])
        slow.append(s)
    begin = time.monotonic()
    for n in range(20):
        assert shared.post('/v1/batch', [track(f'quick{n}')])[0] == 200
    assert time.monotonic() - begin < 20  # the uploads are cut off after 30
    for s in slow:
        s.sendall(GOOD[20:30])
    for s in slow:
        s.sendall(GOOD[30:])
    for s in slow:
        got = s.recv(4096)
        assert b'200 OK' in got, got
        s.close()
    shared.sums.accepted += 220


# --- CORS, pixel, health ------------------------------------------------------------------------------

@pytest.mark.parametrize('path', ['/v1/batch', '/v1/t', '/b', '/v1/orders', '/v1/pixel.gif', '/v1/m', '/v1/nothing'])
def test_preflight(shared, path):
    s, h, _ = shared.request('OPTIONS', path, headers={
        'Origin': 'https://shop.example', 'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,content-type,x-retry-count'})
    assert s == 200
    assert h['access-control-allow-origin'] == 'https://shop.example' and h['vary'] == 'Origin'
    assert h['access-control-allow-credentials'] == 'true' and h['access-control-max-age'] == '86400'
    assert h['access-control-allow-headers'] == 'authorization,content-type,x-retry-count'
    assert h['access-control-allow-methods'] == 'GET, POST, OPTIONS, HEAD'


@pytest.mark.parametrize('body,key,status', [
    (BATCH, BEACON, 200), (b'', BEACON, 400), (BATCH, None, 401), (b' ' * (9 << 20), BEACON, 413)])
def test_cors_on_every_answer(shared, body, key, status):
    s, h, _ = shared.request('POST', '/v1/batch', body, {'Origin': 'https://shop.example'}, key)
    assert s == status and h['access-control-allow-origin'] == 'https://shop.example'
    assert h['access-control-expose-headers'] == 'Retry-After, X-Waymark-Ack, X-Waymark-Position'
    shared.sums.accepted += status == 200


PIXEL = f'/v1/pixel.gif?writeKey={BEACON}&type=page&anonymousId=pix&url=https%3A%2F%2Fx%2F'


@pytest.mark.parametrize('path,refused', [
    (PIXEL, None), (PIXEL.replace('type=page', ''), None), (PIXEL.replace('type=page', 'type=teleport'), 'type_unknown'),
    (PIXEL.replace('anonymousId=pix', 'anonymousId='), 'id_missing'), (PIXEL + '&timestamp=soon', 'timestamp_invalid'),
    (PIXEL + '&userId=' + 'u' * 300, 'id_invalid'), (PIXEL.replace('type=page', 'type=track'), 'name_missing'),
    (PIXEL + '&bad=%zz%ff&' + '&'.join(f'p{n}={n}' for n in range(100)), None)])
def test_pixel(shared, path, refused):
    s, h, b = shared.request('GET', path)
    assert (s, h['content-type'], b) == (200, 'image/gif', GIF)
    assert 'no-store' in h['cache-control'] and h['x-waymark-ack'] == 'durable'
    if refused:
        shared.sums.refuse(refused)
    else:
        shared.sums.accepted += 1


def test_pixel_without_a_key(shared):
    for query, code in (('', 'key_missing'), ('?writeKey=nobody', 'key_unknown'), (f'?writeKey={SERVER}', 'key_unknown')):
        s, _, b = shared.request('GET', '/v1/pixel.gif' + query)
        assert (s, json.loads(b)['code']) == (401, code)


def test_pixel_head_is_no_event(shared):
    s, h, b = shared.request('HEAD', PIXEL)
    assert (s, h['content-type'], h['content-length'], b) == (200, 'image/gif', str(len(GIF)), b'')


def test_pixel_of_an_old_client(shared):
    got = shared.raw(b'GET ' + PIXEL.encode() + b' HTTP/1.0\r\n\r\n')
    assert got.split(b'\r\n')[0].endswith(b'200 OK') and got.endswith(GIF)
    shared.sums.accepted += 1


def test_the_metrics_of_an_sdk_are_ignored(shared):
    for path in ('/v1/m', '/m'):
        s, _, b = shared.post(path, b'{"series":[', key=None)
        assert (s, b) == (200, {'success': True})


def test_health_and_figures(shared):
    assert shared.request('GET', '/livez')[0] == 200
    assert shared.request('HEAD', '/readyz')[::2] == (200, b'')
    s, h, b = shared.request('GET', '/metrics')
    assert s == 200 and h['content-type'].startswith('text/plain')
    names = {line.split(' ')[2] for line in b.decode().splitlines() if line.startswith('# TYPE')}
    used = {line.split('{')[0].split(' ')[0] for line in b.decode().splitlines() if line and line[0] != '#'}
    assert {n for n in used if n.removesuffix('_bucket').removesuffix('_sum').removesuffix('_count') not in names} == set()
    assert {'waymark_events_received_total', 'waymark_events_accepted_total', 'waymark_events_refused_total',
            'waymark_events_in_flight', 'waymark_requests_total', 'waymark_request_duration_seconds',
            'waymark_log_appends_total', 'waymark_build_info'} <= names
    m = shared.metrics()
    assert 'version="' in list(m['waymark_build_info'])[0]
    assert m['waymark_requests_total']['route="/metrics",status="200"'] >= 1


def test_the_counters_add_up_so_far(shared):
    shared.sums.check(shared)


# --- with a configuration of their own ------------------------------------------------------------------

def test_sums_hold_at_every_moment():
    """Scrapes amid traffic: never is anything answered that was not received."""
    with Collector() as c:
        done = threading.Event()
        sent = []

        def send(n):
            while not done.is_set():
                assert c.post('/v1/batch', [track(f'{n}.{len(sent)}'), 7])[0] == 200
                sent.append(1)

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        try:
            for _ in range(200):
                received, accepted, refused, in_flight = c.events()
                assert received == accepted + sum(refused.values()) + in_flight and in_flight >= 0
            wait_for(lambda: len(sent) >= 50, 'traffic')
        finally:
            done.set()
            for t in threads:
                t.join()
        assert c.events() == (2 * len(sent), len(sent), {'not_object': len(sent)}, 0)
        assert c.stop() == 0


def test_enqueued_is_said():
    with Collector('  ack: enqueued\n') as c:
        s, h, b = c.post('/v1/batch', [track('e'), 7])
        assert (s, h['x-waymark-ack'], b['accepted']) == (200, 'enqueued', 1) and 'x-waymark-position' not in h
        assert c.stop() == 0


def test_rate_limit():
    with Collector('  rate_limit: 100\n') as c:
        assert c.post('/v1/batch', [track()] * 1000)[0] == 200  # more than a second's worth, once
        s, h, b = c.post('/v1/batch', [track(), 7])
        assert (s, b['code']) == (429, 'rate_limited') and 1 <= int(h['retry-after']) <= 11
        s, _, _ = c.post('/v1/batch', [track()], key=SERVER)
        assert s == 200  # each key has its own
        assert c.events() == (1003, 1001, {'rate_limited': 2}, 0)
        assert c.stop() == 0


def test_figures_stand_elsewhere():
    with Collector('  metrics_listen: 127.0.0.1:0\n') as c:
        assert c.metrics_port != c.port
        assert c.request('GET', '/metrics')[0] == 404
        c.post('/v1/batch', [track()])
        assert c.events() == (1, 1, {}, 0)
        for path, status in (('/livez', 200), ('/readyz', 200), ('/v1/batch', 404)):
            assert c.request('GET', path, port=c.metrics_port)[0] == status
        assert c.stop() == 0


def test_no_figures_for_everybody():
    with Collector('  listen: 0.0.0.0:0\n') as c:
        assert c.request('GET', '/metrics')[0] == 404
        assert c.request('GET', '/livez')[0] == 200
        assert c.stop() == 0


def test_stop_answers_what_is_under_way_and_positions_go_on():
    with Collector() as c:
        answers = []

        def send(n):
            try:
                while True:
                    answers.append(c.post('/v1/batch', [track(f'{n}.{i}') for i in range(20)])[0])
            except OSError:
                pass

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        wait_for(lambda: len(answers) > 20, 'traffic')
        assert c.stop() == 0
        for t in threads:
            t.join()
        acked = answers.count(200)
        assert set(answers) <= {200, 503}
        c.start()
        s, h, _ = c.post('/v1/batch', [track('after')])
        assert s == 200 and int(h['x-waymark-position'].split(':')[1]) >= 20 * acked
        assert c.stop() == 0


def test_kill_loses_nothing_that_was_answered():
    with Collector() as c:
        for n in range(5):
            s, h, _ = c.post('/v1/batch', [track(f'k{n}')])
            assert s == 200 and h['x-waymark-position'].split(':')[1] == str(n)
            c.kill()
            c.start()
        assert c.stop() == 0


# --- the program ------------------------------------------------------------------------------------------

def program(*args):
    r = subprocess.run([os.path.join(BUILD, 'waymark-collector'), *args], capture_output=True, text=True, timeout=30,
                       stdin=subprocess.DEVNULL)
    return r.returncode, r.stdout, r.stderr


def test_arguments(tmp_path):
    assert program('--version')[0] == 0 and program('--version')[1].startswith('waymark-collector ')
    assert program('--help')[0] == 0 and '--config FILE' in program('--help')[1]
    for args in (['--nonsense'], ['something'], ['--config']):
        code, out, err = program(*args)
        assert code == 2 and not out and err
    code, out, err = program('--config', str(tmp_path / 'none.yaml'))
    assert code == 1 and not out and 'none.yaml' in err
    bad = tmp_path / 'bad.yaml'
    bad.write_text('collector:\n  listne: x\n')
    code, out, err = program('--config', str(bad))
    assert code == 1 and 'bad.yaml:2:' in err


def test_a_port_in_use_and_a_folder_in_use_are_said():
    with Collector() as c:
        for setting, word in ((f'  listen: 127.0.0.1:{c.port}\n', 'collector.listen'), ('', 'log')):
            other = Collector(setting)
            if not setting:
                with open(other.config) as f:
                    text = f.read().replace('data: ./data', f'data: {c.dir}/data')
                with open(other.config, 'w') as f:
                    f.write(text)
            code, _, err = program('--config', other.config)
            other.__exit__()
            assert code == 1 and 'cannot start' in err and word in err, err
        assert c.post('/v1/batch', [track()])[0] == 200
        assert c.stop() == 0
