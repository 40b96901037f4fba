"""Audiences over a real Kafka while profilers come, go, are killed, lose their disks and sleep, and the broker is restarted:
whatever happens, once it is over everybody is in what their own path, orders and profile say, told once and in turn."""
import os
import random

from support.audience_story import RULES, TAGS, VIEWED_LESS, Book, Events, Pump, evaluate, members, quoted, told
from support.cluster import Cluster, not_sanitized
from support.erased import Shop
from support.instance import wait_until
from support.outage import wait_served

pytestmark = not_sanitized


class Story:
    def __init__(self, cluster, kafka, draw):
        self.cluster, self.kafka, self.draw = cluster, kafka, draw
        self.shop, self.events = Shop(cluster), Events(draw)
        self.erased, self.said, self.viewed_rule = set(), {}, None

    def say(self, name, rule):
        def taken():
            s, _, b = self.shop.ask('PUT', f'/v1/audiences/{name}', {'rule': rule})
            later = s == 400 and 'there is no audience' in b['message']  # said to another profiler a moment ago
            assert s in (200, 201) or later, (name, s, b)
            return None if later else b
        b = wait_until(taken, 10, f'{name} to be taken')
        self.said.setdefault(name, []).append(b.get('rule_version') or b.get('version'))
        if name == 'viewed':
            self.viewed_rule = rule

    def erase_one(self):
        victim = self.draw.choice([f'user:u{i}' for i in range(20)])
        s, _, b = self.shop.ask('DELETE', quoted(victim))
        assert s in (200, 202, 404), (victim, s, b)
        self.erased |= {victim}

    def unlink_one(self):
        link = {'anonymous_id': f'd{self.draw.randrange(14)}', 'user_id': f'u{self.draw.randrange(20)}'}
        s, _, b = self.shop.ask('POST', '/v1/identity:unlink', link)
        assert s in (200, 404), (link, s, b)

    # --- what happens to profilers: each returns with all of them up -------------------------------------------------
    def others_serve(self, p):
        """Only they are asked: one that sleeps answers nothing for long."""
        others = [q for q in self.cluster.profilers if q is not p]

        def served():
            ready = [q.metrics()['waymark_partition_ready'].values() for q in others]
            return sum(map(sum, ready)) == self.cluster.partitions
        wait_until(served, 60, f'others to serve what {p.name} had')

    def kill_and_wait(self, p):
        p.kill()
        self.others_serve(p)
        p.start(ready=False)

    def restart(self, p):
        p.kill()
        p.start(ready=False)

    def leave(self, p):
        assert p.stop() == 0, p.log()[-3000:]
        p.start(ready=False)

    def sleep(self, p):
        p.pause()
        try:
            self.others_serve(p)
        finally:
            p.resume()

    def lose_disk(self, p):
        p.kill()
        p.forget()
        p.start(ready=False)

    def broker(self, p):
        self.kafka.restart()

    def all_up(self):
        for p in self.cluster.programs():
            p.wait_ready()

    # --- at rest -----------------------------------------------------------------------------------------------------
    def check(self):
        """Everything sent is folded, and nothing happens but for time: what is true, what is told and what the topic says agree."""
        self.cluster.drain()
        last = {}

        def agree():
            before, got = evaluate(self.shop, self.viewed_rule), {name: members(self.shop, name) for name in RULES}
            book = Book(told(self.kafka, self.cluster.prefix + 'audiences'), self.said, self.erased)
            after = evaluate(self.shop, self.viewed_rule)
            last.update(wrong=[(name, set(got[name]) ^ before[name]) for name in RULES if before and sorted(before[name]) != got[name]],
                        topic=[(name, set(got[name]) ^ set(book.members(name))) for name in RULES if book.members(name) != got[name]],
                        book=book)
            return before is not None and before == after and not last['wrong'] and not last['topic'] and (got, book)
        try:
            got, book = wait_until(agree, 40, 'audiences to be what is true')
        except AssertionError as e:
            raise AssertionError(f'{e}: told and true differ: {last["wrong"]}; the topic differs: {last["topic"]}; '
                                 f'{last["book"].faults[:5]}') from None
        assert not book.faults, f'{len(book.faults)} faults, said {self.said}:\n' + '\n'.join(map(str, book.explain()[:99]))
        self.check_sizes(got)
        return got

    def check_sizes(self, got):
        for p in self.cluster.profilers:
            def sizes(p=p):
                s, _, b = self.shop.ask_once('GET', '/v1/audiences', by=p)
                return s == 200 and {x['name']: x['size'] for x in b['audiences']}
            steady = [name for name in RULES if name not in ('fresh', 'cart')]
            told_sizes = wait_until(sizes, 30, f'{p.name} to tell sizes')
            assert {n: told_sizes[n] for n in steady} == {n: len(got[n]) for n in steady}, p.name


def test_audiences_are_true_whatever_happens(kafka, tmp_path):
    seed = int(os.environ.get('WAYMARK_AUDIENCE_SEED', 1 if os.environ.get('CI') == 'true' else random.randrange(1 << 30)))
    print(f'WAYMARK_AUDIENCE_SEED={seed}')
    draw = random.Random(seed)
    (tmp_path / 'tags.yaml').write_text(TAGS)
    with Cluster(kafka, profilers=3, partitions=4, more_profiler=f'  tags: {tmp_path}/tags.yaml\n') as c:
        wait_served(c)
        story = Story(c, kafka, draw)
        for name, rule in RULES.items():
            story.say(name, rule)
        happen = [story.kill_and_wait, story.restart, story.leave, story.sleep, story.lose_disk, story.broker]
        draw.shuffle(happen)
        for i, what in enumerate(happen):
            p = draw.choice(c.profilers)
            print(f'{i}: {what.__name__} {p.name}')
            with Pump(story.shop, story.events) as pump:
                pump.wait_sent(40)
                what(p)
                story.erase_one()
                story.unlink_one()
                if i == 2:
                    story.say('viewed', VIEWED_LESS)
                pump.wait_sent(10)
                story.all_up()
            story.check()
