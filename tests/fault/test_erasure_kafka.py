"""A person is erased over Kafka, with two profilers and Redis: gone from every answer, from the files of every program and from
Redis; in Kafka's files no personal value ever stood in the clear, and the receipt names the day by which the rest is gone."""
import json

import pytest
from support.cluster import Cluster, not_sanitized
from support.erased import (Person, Shop, Story, check_gone, found_in,
                            found_in_redis, killed_soon, places, profile_path)
from support.instance import wait_until
from support.outage import wait_served
from support.redis import Redis
from support.talk import MINUTE, page

pytestmark = not_sanitized


def see_in_redis(cluster, redis, person):
    """Look-ups until Redis holds copies of the person, by whatever id."""
    def held():
        for p in cluster.profilers:
            for pid in person.ids:
                p.look(pid)
        return 'user' in places(found_in_redis(redis, person.marks.made))
    wait_until(held, 30, 'copies in Redis')


def check_clean(cluster, person, redis=None):
    left = {f for f in found_in(cluster.dir, {**person.marks.made, **person.sealed.made})}
    assert left == set(), sorted(left)
    if redis:
        assert found_in_redis(redis, {**person.marks.made, **person.sealed.made}) == set()


@pytest.fixture(scope='module')
def redis():
    with Redis() as r:
        yield r


@pytest.mark.parametrize('partitions', [1, 4, 16])
def test_gone_everywhere(kafka, redis, partitions):
    with Cluster(kafka, profilers=2, partitions=partitions, redis=redis) as c:
        wait_served(c)
        shop = Shop(c)
        story = Story(shop)
        person = story.person
        see_in_redis(c, redis, person)
        wait_until(lambda: 'user' in places(found_in(c.dir, person.marks.made)), 30, 'the person to stand in files')
        receipt = shop.erase(person.ids[0], by=c.profilers[partitions % 2])
        check_clean(c, person, redis)
        story.check_gone()
        for p in c.profilers:
            for pid in person.ids:
                assert p.look(pid)[0] == 404
        assert places(found_in(kafka.dir, person.marks.made)) >= {'user', 'phone'}, 'what is not sealed is found'
        assert found_in(kafka.dir, person.sealed.made) == set()
        assert 'until' in json.dumps(receipt, default=str)
        for e in (page(50 * MINUTE, person.mid('late'), userId=person.user),
                  page(51 * MINUTE, person.mid('late device'), anonymousId=person.phone)):
            shop.send(e)
        c.drain()
        story.check_gone()
        for p in c.profilers:
            for pid in person.ids:
                assert p.look(pid)[0] == 404
        c.check_conserved()
        check_clean(c, person, redis)
        shop.check_stopped()
        check_clean(c, person, redis)


def test_redis_is_paused_meanwhile(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        wait_served(c)
        story = Story(Shop(c))
        person = story.person
        see_in_redis(c, redis, person)
        redis.pause()
        s, location, b = story.shop.erase_once(person.ids[0])
        assert s == 202, b
        check_gone(story.shop, person)
        assert story.shop.ask('GET', location)[0] == 202
        redis.resume()
        story.shop.completed(location)
        check_clean(c, person, redis)
        story.check_gone()
        story.shop.check_stopped()


def test_redis_is_killed_meanwhile_and_comes_back_with_what_it_had(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        wait_served(c)
        story = Story(Shop(c))
        person = story.person
        see_in_redis(c, redis, person)
        redis.dump()
        redis.kill()
        s, location, b = story.shop.erase_once(person.ids[0])
        assert s == 202, b
        check_gone(story.shop, person)
        redis.restart_with_dump()
        story.shop.completed(location)
        assert found_in_redis(redis, {**person.marks.made, **person.sealed.made}) == set()
        check_clean(c, person)
        story.check_gone()
        story.shop.check_stopped()


def test_a_profiler_is_killed_meanwhile(kafka, redis):
    """Whichever has the partitions then completes it; what is left with the one that was down goes once that is up."""
    with Cluster(kafka, profilers=2, redis=redis, more_profiler='  keep_lost: 2s\n') as c:
        wait_served(c)
        for n, delay in enumerate((0, 0.05, 0.3)):
            story = Story(Shop(c))
            person, (killed, asked) = story.person, (c.profilers[n % 2], c.profilers[1 - n % 2])
            see_in_redis(c, redis, person)
            killer = killed_soon(killed, delay)
            s, h, b = story.shop.ask('DELETE', profile_path(person.ids[0]), by=asked)
            killer.join()
            assert s in (200, 202), (s, b)
            if s == 202:
                story.shop.completed(h['location'])
            killed.start()
            wait_served(c)
            story.check_gone()
            wait_until(lambda: not found_in(c.dir, {**person.marks.made, **person.sealed.made}), 100, 'clean files')
            check_clean(c, person, redis)
        c.check_conserved()
        story.shop.check_stopped()


def test_nothing_is_left_with_a_profiler_that_had_the_partitions_before(kafka):
    """One had all; another came and took some over; then the person is erased."""
    with Cluster(kafka, profilers=2, partitions=4) as c:
        one, other = c.profilers
        wait_served(c)
        assert other.stop() == 0
        wait_served(c, by=[one])
        story = Story(Shop(c))
        person = story.person
        wait_until(lambda: 'user' in places(found_in(one.dir, person.marks.made)), 30, 'the person to stand in files')
        other.start()
        wait_served(c, by=[one, other])
        story.shop.erase(person.ids[0])
        check_clean(c, person)
        story.check_gone()
        story.shop.check_stopped()


def test_the_spool_forgets(kafka):
    with Cluster(kafka) as c:
        shop, person = Shop(c), Person()
        c.drain()
        kafka.pause()
        events = [page(n * MINUTE, person.mid(f'{n}'), userId=person.user, anonymousId=person.phone, properties=person.here(f'{n}'))
                  for n in range(20)]
        for e in events:
            h = shop.post('/v1/batch', {'batch': [e]})
            assert h['x-waymark-ack'] == 'spooled'
        assert places(found_in(c.collectors[0].dir, person.marks.made)) >= set(person.marks.of('user', 'phone', 'url: 3'))
        kafka.resume()
        c.drain()
        assert shop.profile('user:' + person.user)[1]['facts']['events'] == 20
        shop.erase('user:' + person.user)
        wait_until(lambda: not found_in(c.collectors[0].dir, person.marks.made), 30, 'the spool to be clean')
        wait_until(lambda: not found_in(c.dir, person.marks.made), 5, 'all files to be clean')
        assert shop.profile('user:' + person.user)[0] == 404
        shop.check_stopped()


def test_erased_while_events_wait_in_the_spool(kafka):
    """What comes to Kafka after the erasure stays out, and the spool does not keep it."""
    with Cluster(kafka) as c:
        shop, story = Shop(c), None
        story = Story(shop)
        person = story.person
        kafka.pause()
        h = shop.post('/v1/batch', {'batch': [page(50 * MINUTE, person.mid('spooled'), userId=person.user),
                                              page(51 * MINUTE, person.mid('spooled too'), anonymousId=person.phone)]})
        assert h['x-waymark-ack'] == 'spooled'
        kafka.resume()
        shop.erase(person.ids[0])
        c.drain()
        story.check_gone()
        wait_until(lambda: not found_in(c.dir, person.marks.made), 100, 'all files to be clean')
        c.check_conserved()
        shop.check_stopped()


def test_a_profiler_that_starts_from_nothing_does_not_know_them(kafka):
    """It folds the topic, which still holds what the person did."""
    with Cluster(kafka) as c:
        story = Story(Shop(c))
        person, p = story.person, c.profilers[0]
        story.shop.erase(person.ids[0])
        assert p.stop() == 0
        p.forget()
        p.start(ready=False)

        def seen():
            for pid in person.ids:
                s, _, b = story.shop.ask_once('GET', profile_path(pid))
                assert s in (404, 503), (pid, s, b)
            return p.ready() and c.state_offsets() == kafka.ends(c.events)
        wait_until(seen, 60, 'the fold')
        story.check_gone()
        wait_until(lambda: not found_in(c.dir, person.marks.made), 100, 'all files to be clean')
        c.check_conserved()
        story.shop.check_stopped()
