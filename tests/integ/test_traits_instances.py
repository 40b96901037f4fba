"""Traits over several profilers, Kafka and Redis: any instance answers and states them, and Redis and the topics never
hold a personal value in the clear."""
import json
import urllib.parse

from support.cluster import Cluster
from support.instance import SERVER, Instance, wait_until
from support.redis import Redis

SECRETS = [b'hallsecret', b'138 1234 5678', b'Secretstreet']
TRAITS = {'email': 'zoe@hallsecret.example', 'phone': '138 1234 5678', 'address': {'street': '1 Secretstreet', 'city': 'Bath'},
          'shade': 'teal'}
CLEAR = 'contact,demographic'


def held_by(redis):
    client, out = redis.client(), b''
    for key in client.scan_iter(count=1000):
        out += key + b' ' + (client.get(key) or b'') + b'\n'
    return out


def test_redis_holds_no_personal_value():
    with Redis() as redis, Instance() as shop:
        assert shop.stop() == 0
        with open(shop.config, 'a') as f:
            f.write(f'redis: {{url: "{redis.url}"}}\n')
        shop.start()

        def stated():
            """Copies are made of what changes while Redis is there; it may be connected to only now."""
            s, _, _ = shop.post('/v1/identify', {'userId': 'zoe', 'traits': TRAITS}, SERVER)
            assert s == 200
            shop.drain()
            s, p = shop.profile('user:zoe', include=CLEAR)
            assert s == 503 or p['traits']['email'] == TRAITS['email']
            return b'teal' in held_by(redis)
        wait_until(stated, 20, 'a copy in Redis')
        s, _ = shop.profile('user:zoe', include=CLEAR, verbose='true')
        assert not [x for x in SECRETS if x in held_by(redis)]


def test_any_instance_answers_and_states(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as cluster:
        people = [f'p{i}' for i in range(8)]
        for who in people:
            s, _, b = cluster.collectors[0].post('/v1/identify', {'userId': who, 'traits': {**TRAITS, 'nickname': who}}, SERVER)
            assert s == 200
        cluster.drain()
        for program in cluster.profilers:
            for who in people:
                s, p = cluster.profile('user:' + who, by=program)
                assert s == 200 and p['traits'] == {'shade': 'teal', 'nickname': who}
                s, p = cluster.profile('user:' + who, by=program, include=CLEAR)
                assert p['traits'] == {**TRAITS, 'nickname': who}, (program.name, p)
                s, p = cluster.profile('user:' + who, by=program, verbose='true')
                assert p['traits']['shade']['value'] == 'teal' and p['traits']['shade']['source'] == 'backend'

        def looked_up(program):
            s, _, b = program.request('POST', '/v1/profiles:lookup', json.dumps(
                {'ids': ['user:' + w for w in people], 'include': ['contact'], 'verbose': True}))
            return s == 200 and json.loads(b)
        for program in cluster.profilers:
            found = wait_until(lambda p=program: looked_up(p), what='the answer for many')
            assert [p['traits']['email']['value'] for p in found['profiles']] == [TRAITS['email']] * len(people)
        for program in cluster.profilers:
            for who in people[:4]:
                s, h, b = program.well('PUT', f'/v1/profiles/{urllib.parse.quote("user:" + who)}/traits',
                                       json.dumps({'traits': {'email': f'{program.name}@hallsecret.example'}}))
                assert s == 200, b
                s, p = cluster.profile('user:' + who, by=program, include='contact', after=h['x-waymark-position'],
                                       wait='5s')
                assert p['traits']['email'] == f'{program.name}@hallsecret.example', p
        held = held_by(redis)
        assert b'teal' in held and not [x for x in SECRETS if x in held]
        topics = b''.join(r.value() for r in cluster.kafka.records(cluster.events))
        assert b'teal' in topics and not [x for x in SECRETS if x in topics]
        cluster.check_conserved()
