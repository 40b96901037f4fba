"""Look-ups over several profilers on one Kafka: whoever is asked, for whatever route, the answer is the owner's."""
import json
import urllib.parse

import pytest
from support.cluster import LOOK, Cluster, not_sanitized
from support.instance import sha256, wait_until
from support.outage import rewrite, served_by, wait_served
from support.redis import Redis
from support.shop_events import linked, profiles, send

SEED = 5
PARTITIONS = 6


def quoted(profile):
    return urllib.parse.quote(profile, safe='')


def ask(program, path, body=None, **headers):
    """(status, bytes); a new profiler's 503 is waited for."""
    def answer():
        status, _, got = program.request('POST' if body is not None else 'GET', path, body=body, headers=headers)
        return None if status == 503 else (status, got)
    return wait_until(answer, 30, f'{program.name} to answer {path}')


def expect_same(cluster, path, status, body=None):
    answers = {p.name: ask(p, path, body) for p in cluster.profilers if p.alive()}
    first = next(iter(answers.values()))
    assert first[0] == status, (path, answers)
    assert all(a == first for a in answers.values()), (path, answers)
    return json.loads(first[1])


def order_ids(cluster):
    out = set()
    for i in profiles(SEED):
        _, b = cluster.profile(i, '/orders')
        out |= {o['order_id'] for o in b['orders']}
    return sorted(out)


def answers_as(i):
    """Whose profile is answered when `i` is asked for: of a linked device its user's."""
    return linked(SEED).get(i, i)


def shown(profiles):
    """id asked for -> profile, of an answer to many: a linked device is named beside its user."""
    return {p.get('asked', p['id']): {k: v for k, v in p.items() if k != 'asked'} for p in profiles}


def check_every_route(cluster):
    known = profiles(SEED)
    for i in known:
        assert expect_same(cluster, f'/v1/profiles/{quoted(i)}', 200)['id'] == answers_as(i)
    for i in known[:30]:
        for suffix in ('/path?limit=7&order=desc', '/orders', '?as_of=2100-01-01T00:00:00Z'):
            path = f'/v1/profiles/%s{suffix}'
            own, users = (expect_same(cluster, path % quoted(x), 200) for x in (i, answers_as(i)))
            if i != answers_as(i) and own.get('next'):  # a cursor is good for the id that was asked for
                assert own.pop('next') and users.pop('next')
            assert own == users
    for i in ('user:nobody', 'anon:nobody', 'user:a/b?c#d%', 'user:\u00e9'):
        expect_same(cluster, f'/v1/profiles/{quoted(i)}', 404)
    ids = [x for i in known for x in (i, 'anon:not ' + i)]
    many = expect_same(cluster, '/v1/profiles:lookup', 200, json.dumps({'ids': ids}).encode())
    assert [(p['id'], p.get('asked')) for p in many['profiles']] == \
        [(answers_as(i), i if answers_as(i) != i else None) for i in known]
    by_id = shown(many['profiles'])
    for i in known:
        assert by_id[i] == by_id[answers_as(i)]
        assert (i in by_id[i]['ids']) and by_id[i]['ids'] == \
            [answers_as(i)] + [d for d, u in linked(SEED).items() if u == answers_as(i)]
    assert many['not_found'] == ['anon:not ' + i for i in known]
    orders = order_ids(cluster)
    assert orders
    for o in orders[:20]:
        assert expect_same(cluster, f'/v1/orders/{quoted(o)}/scene', 200)['order']['order_id'] == o
    expect_same(cluster, '/v1/orders/none/scene', 404)
    expect_same(cluster, f'/v1/profiles/{quoted(known[0])}/path?limit=x', 400)
    return many


def forwarded(program, result='answered'):
    return program.metrics()['waymark_forwarded_total'].get(f'result="{result}"', 0)


def looked_up(c, ids):
    """The facts of these at every instance, by a token that may be answered from Redis."""
    body = json.dumps({'ids': ids}).encode()
    answers = [json.loads(ask(p, '/v1/profiles:lookup', body, Authorization='Bearer ' + LOOK)[1]) for p in c.profilers]
    return [[p['facts'] for p in a['profiles']] for a in answers]


@not_sanitized
@pytest.mark.parametrize('cache', ['redis', 'off'])
def test_every_route_at_every_instance(kafka, cache):
    more = '  cache: off\n' if cache == 'off' else ''
    with Redis() as redis, Cluster(kafka, profilers=3, partitions=PARTITIONS, redis=redis, more_profiler=more) as c:
        wait_served(c, by=c.profilers)
        send(c.collectors[0], SEED)
        c.drain()
        first = check_every_route(c)
        assert all(forwarded(p) > 0 for p in c.profilers)
        if cache == 'redis':
            # All of it from Redis and from the own state, but for linked devices, whose users their homes know.
            users = [i for i in profiles(SEED) if i not in linked(SEED)]
            want = [shown(first['profiles'])[i]['facts'] for i in users]
            assert looked_up(c, users) == [want] * len(c.profilers)

            def from_redis():
                before = [forwarded(p) for p in c.profilers]
                assert looked_up(c, users) == [want] * len(c.profilers)
                return [forwarded(p) for p in c.profilers] == before
            wait_until(from_redis, 30, 'all to be answered from Redis')  # which may be late: then it is a miss
        else:
            assert not redis.client().keys('*')
            assert all('waymark_cache_reads_total' not in p.metrics() for p in c.profilers)
        check_reading_ones_writes(c)
        check_tails(c)
        check_loops(c)


def check_reading_ones_writes(c):
    """At whichever profiler, at once."""
    for i in range(30):
        user = f'w{i}'
        position, _ = c.placed('/v1/batch', {'type': 'track', 'event': 'Product Viewed', 'userId': user})
        s, b = ask(c.profilers[i % len(c.profilers)], f'/v1/profiles/user:{user}?after={position}&wait=5s')
        assert s == 200 and json.loads(b)['facts']['events'] == 1, (i, s, b)


def check_tails(c):
    """Each tells the partitions that it owns; together they tell every event once."""
    events, partitions = 0, []
    for p in c.profilers:
        # A position beyond the first record of partition 0 only: from the begin.
        position, told = '0:0', None
        while True:
            s, _, b = p.request('GET', f'/v1/tail?wait=0&limit=1000&after={position}')
            page = json.loads(b)
            assert s == 200, page
            told = told or page['partitions']
            events += len(page['events'])
            if not page['events']:
                break
            position = page['position']
        partitions += told
    assert sorted(partitions) == list(range(PARTITIONS))

    def add_up():
        # What partitions tell each other is not shown; it may be the first record of partition 0, too. Cut points may come meanwhile.
        ends = sum(c.kafka.ends(c.events))
        moved = sum(int(p.metrics()['waymark_state_events'].get('outcome="moved"', 0)) for p in c.profilers)
        return ends - moved - 1 <= events <= ends - moved
    wait_until(add_up, 20, f'{events} events to be all')
    _, _, b = c.collectors[0].post('/v1/batch', {'type': 'nonsense', 'userId': 'x'})
    assert b['rejected']
    for p in c.profilers:  # what was refused they all tell
        def refused(p=p):
            s, _, b = p.request('GET', '/v1/tail?topic=bad&wait=1s&limit=1000&after=0:0')
            return s == 200 and [e for e in json.loads(b)['events'] if 'nonsense' in e['bytes']]
        wait_until(refused, 30, f'{p.name} to tell of the refused event')


def check_loops(c):
    """Who is said to have been sent on sends nobody on."""
    owners = served_by(c)
    for p in c.profilers:
        before = forwarded(p)
        statuses = set()
        for i in profiles(SEED):
            s, h, b = p.request('GET', f'/v1/profiles/{quoted(i)}', headers={'X-Waymark-Forwarded': '1'})
            statuses.add(s)
            if s == 421:  # the home of a device says who has it, and asks nobody
                assert linked(SEED)[i] in json.loads(b).values()
            else:
                assert s == 200 or (s == 503 and json.loads(b)['code'] == 'not_yet' and h['retry-after'] == '1')
            assert h['x-waymark-instance'] == p.name
        assert forwarded(p) == before
        if set(owners.values()) != {p}:
            assert 503 in statuses


@not_sanitized
def test_owner_killed(kafka):
    """503 at first, with words; then the other one answers. What Redis holds is answered meanwhile, and never older."""
    with Redis() as redis, Cluster(kafka, profilers=2, partitions=PARTITIONS, redis=redis) as c:
        wait_served(c, by=c.profilers)
        send(c.collectors[0], SEED)
        c.drain()
        a, b = c.profilers
        known = {i: ask(a, f'/v1/profiles/{quoted(i)}') for i in profiles(SEED)}
        theirs = [i for i in known if b.request('GET', f'/v1/profiles/{quoted(i)}/orders',
                                                headers={'X-Waymark-Forwarded': '1'})[0] != 503]
        assert theirs
        unknown = next(o for o in map('none{}'.format, range(200)) if b.request(
            'GET', f'/v1/orders/{o}/scene', headers={'X-Waymark-Forwarded': '1'})[0] == 404)  # its home is b's
        assert ask(a, f'/v1/orders/{unknown}/scene')[0] == 404
        b.kill()
        refused = 0
        for i in theirs[:5]:
            s, h, body = a.request('GET', f'/v1/profiles/{quoted(i)}/path')
            assert s in (200, 503)
            refused += s == 503
            if s == 503:
                assert h['retry-after'] == '1' and json.loads(body)['code'] in ('not_yet', 'unavailable'), body
            s, _, body = a.request('GET', f'/v1/profiles/{quoted(i)}')
            assert s == 503 or (s, body) == known[i]
        s, _, body = a.request('POST', '/v1/profiles:lookup?as_of=2100-01-01T00:00:00Z',
                               body=json.dumps({'ids': theirs}).encode())
        assert refused and s == 503, 'the owner was missed too late to test anything'
        s, _, body = a.request('GET', f'/v1/orders/{unknown}/scene')
        assert s == 503, body  # not 404: it could not be asked
        wait_served(c, by=[a])
        for i in known:
            assert ask(a, f'/v1/profiles/{quoted(i)}') == known[i]
        check_every_route(c)
        b.start(ready=False)
        wait_served(c, by=[a, b])
        check_every_route(c)
        c.check_conserved()


def test_tokens(kafka):
    """Each instance checks for itself, and the owner checks again."""
    with Cluster(kafka, profilers=2, partitions=2) as c:
        wait_served(c, by=c.profilers)
        send(c.collectors[0], SEED)
        c.drain()
        a, b = c.profilers
        theirs = [i for i in profiles(SEED) if b.request('GET', f'/v1/profiles/{quoted(i)}',
                                                         headers={'X-Waymark-Forwarded': '1'})[0] == 200]
        path = f'/v1/profiles/{quoted(theirs[0])}'
        assert ask(a, path)[0] == 200
        before = forwarded(a)
        assert a.request('GET', path, headers={'Authorization': ''})[0] == 401
        assert a.request('GET', path, headers={'Authorization': 'Bearer wrong'})[0] == 401
        assert b.request('GET', path, headers={'Authorization': 'Bearer wrong', 'X-Waymark-Forwarded': '1'})[0] == 401
        assert forwarded(a) == before
        assert b.stop() == 0
        other = f'name: other, sha256: {sha256("tk_other")}, scopes: [lookup]}}\n    - {{name: admin, sha256: '
        rewrite(b, 'name: test, sha256: ', other)
        rewrite(b, 'scopes: [lookup, pii, audience, export, admin]', 'scopes: [admin]')
        b.start()
        wait_served(c, by=c.profilers)

        def refused():
            s, _, body = a.request('GET', path)
            return s == 403 and json.loads(body)['code'] == 'scope_missing'
        wait_until(refused, 30, 'the owner to refuse a token that only the asked one has')
