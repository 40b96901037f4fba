"""Two shops have one Redis and, by mistake, one prefix. Neither shows what the other has copied there (rule `shop`), and the operators are told."""
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until
from support.outage import rewrite, wait_served
from support.redis import Redis

pytestmark = not_sanitized


def test_two_shops_on_one_prefix(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as one:
        other = Cluster(kafka, profilers=2, redis=redis)
        for p in other.profilers:
            rewrite(p, f'  prefix: "{other.prefix}"', f'  prefix: "{one.prefix}"')
        with other:
            for shop in (one, other):
                wait_served(shop, by=shop.profilers)
            users = [f'user:u{n}' for n in range(20)]
            for u in users:
                one.collectors[0].post('/v1/track', {'event': 'E', 'userId': u[5:], 'messageId': u})
            one.drain()

            def told():
                # The first shop's callers have their misses copied; the other one's find the copies.
                for u in users:
                    for p in one.profilers:
                        assert p.look(u)[0] in (200, 503)
                    for p in other.profilers:
                        assert p.look(u)[0] in (404, 503), f'{p.name} shows {u} of another shop'
                return any('another shop uses the prefix' in p.log() for p in other.profilers)
            wait_until(told, 30, 'the mistake to be said')
            for shop in (one, other):
                assert all(p.stop() == 0 for p in shop.programs())
