"""Tags over several profilers, Kafka and Redis: cut points are of everybody, wherever they are, and what an instance
answers from Redis is never by other tags, other cut points or an earlier time than its owner would say."""
import datetime
import os
import signal
import time

from support.cluster import Cluster
from support.instance import SERVER, wait_until
from support.redis import Redis

PEOPLE = [f'p{i}' for i in range(40)]
FILE = '''frequency: {rule: quintile(orders)}
money: {rule: quintile(spent)}
word: {values: [{first: orders > 0}]}
fresh: {rule: 'now - last_event_at < duration("3s")'}
'''


def orders(cluster):
    """One to four each; p0 spends least."""
    now = datetime.datetime.utcnow() - datetime.timedelta(days=9)
    for i, who in enumerate(PEOPLE):
        for k in range(1 + i // 10):
            s, _, b = cluster.collectors[0].post('/v1/orders', {
                'orderId': f'{who}-{k}', 'status': 'created', 'userId': who, 'total': 100 + i, 'currency': 'GBP',
                'timestamp': (now + datetime.timedelta(hours=k)).isoformat() + 'Z'}, SERVER)
            assert s == 200 and not b['rejected'], b


def quintile(values, value):
    return 1 + 5 * (2 * sum(v < value for v in values) + values.count(value)) // (2 * len(values))


def ranks():
    n, spent = [1 + i // 10 for i in range(40)], [(1 + i // 10) * (100 + i) for i in range(40)]
    return {who: (quintile(n, n[i]), quintile(spent, spent[i])) for i, who in enumerate(PEOPLE)}


def tags(program, who):
    s, b = program.look('user:' + who)
    return b['tags'] if s == 200 else None


def last_event_at(program, who):
    s, b = program.look('user:' + who)
    return datetime.datetime.fromisoformat(b['facts']['last_event_at'].replace('Z', '+00:00')).timestamp() if s == 200 else 0


def test_tags_of_everybody_from_everywhere(kafka, tmp_path):
    path = str(tmp_path / 'tags.yaml')
    with open(path, 'w') as f:
        f.write(FILE)
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis, more_profiler=f'  tags: {path}\n') as cluster:
        orders(cluster)
        cluster.drain()
        want = ranks()

        def ranked():
            """By the owner (the token sees personal values, so nothing is from Redis) and by whoever is asked."""
            for who in PEOPLE:
                for program in cluster.profilers:
                    s, b = program.get('/v1/profiles/user%3A' + who)
                    t = b['tags'] if s == 200 else {}
                    if (t.get('frequency'), t.get('money')) != want[who]:
                        return False
            return True
        wait_until(ranked, 90, 'cut points of the people of both')
        made = [p.metrics()['waymark_cuts_total'].get('result="made"', 0) for p in cluster.profilers]
        assert sum(made) >= 1 and 0 in made, 'who has partition 0 makes them'
        for who in PEOPLE:  # a miss puts a copy there, the next one finds it
            for program in cluster.profilers * 2:
                t = tags(program, who)
                assert t is None or (t['frequency'], t['money'], t['word']) == (*want[who], 'first'), (who, t)
        hits = sum(p.metrics()['waymark_cache_reads_total']['result="hit"'] for p in cluster.profilers)
        assert hits >= 20, 'copies with tags are believed'

        # Another meaning of the same people: nobody answers by the file of before once its owner has read the next one.
        with open(path + '.new', 'w') as f:
            f.write(FILE.replace('first', 'second'))
        os.replace(path + '.new', path)
        for program in cluster.profilers:
            program.process.send_signal(signal.SIGHUP)
        # Once or twice: by the signal, and by a look just before it.
        wait_until(lambda: all(p.metrics()['waymark_tags_reloads_total']['result="taken"'] >= 1 for p in cluster.profilers), 20, 'the file')
        wait_until(lambda: all(tags(p, w) and tags(p, w)['word'] == 'second' for p in cluster.profilers for w in PEOPLE), 20,
                   'answers by the new file')

        # Time alone: a copy is not believed past the moment at which a tag of it changes.
        seen = rounds = 0
        while rounds < 3 or (seen <= 60 and rounds < 12):
            who, sent = PEOPLE[rounds], time.time()
            rounds += 1
            s, _, _ = cluster.collectors[0].post('/v1/track', {'event': 'E', 'userId': who, 'messageId': f'm{rounds}',
                                                               'timestamp': datetime.datetime.utcnow().isoformat() + 'Z'}, SERVER)
            assert s == 200
            at = wait_until(lambda: (a := last_event_at(cluster.profilers[0], who)) > sent - 1 and a, 10, 'the event')
            while time.time() < at + 3.5:
                for program in cluster.profilers:
                    asked = time.time()
                    t = tags(program, who)
                    assert t is None or t['fresh'] or time.time() > at + 2.9
                    assert t is None or not t['fresh'] or asked < at + 3.1, 'a copy outlived its time'
                    seen += t is not None and t['fresh']
                time.sleep(0.02)
        assert seen > 60
        held = redis.client()
        copy = next(held.get(k) for k in held.scan_iter(match='*profile:user:*'))
        assert len(copy.split(b'\n')[0].split(b' ')) == 4 and b'"tags":{' in copy
