"""Killed while somebody is erased: what was answered holds after the next start, and what was begun completes by itself."""
import random

from support.erased import FAST, Person, Shop, Story, check_gone, found_in, killed_soon, profile_path
from support.instance import SANITIZED, Instance, check_conserved, wait_until
from support.talk import MINUTE, page

TRIES = 6 if SANITIZED else 20


def small(shop):
    p = Person()
    m, u, phone = p.mid, {'userId': p.user}, {'anonymousId': p.phone}
    shop.send(page(0, m('1'), **phone, properties=p.here('1')), page(MINUTE, m('2'), **phone, **u, properties=p.here('2')),
              page(2 * MINUTE, m('3'), **phone))
    p.ids = p.ids[:2]
    return p


def check_small_gone(shop, p):
    for pid in p.ids:
        s, b = shop.profile(pid)
        assert s == 404, (pid, s, b)


def wait_no_file(inst, p):
    wait_until(lambda: not found_in(inst.dir, p.marks.made), 100, 'the files to be clean')


def finish(inst):
    check_conserved(inst.drain())
    assert inst.stop() == 0
    code, out, err = inst.command('verify')
    assert code == 0 and '0 differences' in out, out + err


def test_killed_as_soon_as_it_is_answered():
    with Instance(more_profiler=FAST) as inst:
        shop, people = Shop(inst), []
        for n in range(TRIES):
            p = small(shop)
            people.append(p)
            if n % 3:
                inst.drain()
            s, location, b = shop.erase_once(p.ids[n % 2] if n % 3 else p.ids[0])
            inst.kill()
            inst.start()
            if n % 3 == 0:
                inst.drain()
            for q in people:
                check_small_gone(shop, q)
            if location:
                shop.completed(location)
            else:
                wait_no_file(inst, p)
        for p in people:
            wait_no_file(inst, p)
        finish(inst)


def test_killed_somewhere_on_the_way():
    """The answer may be lost, then it is asked again; what was answered with 202 needs nobody to ask."""
    with Instance(more_profiler=FAST) as inst:
        shop, seeded, answered = Shop(inst), random.Random(11), 0
        for _ in range(TRIES):
            p = small(shop)
            inst.drain()
            killer = killed_soon(inst, seeded.uniform(0, 0.25))
            try:
                s, _, b = shop.ask_once('DELETE', profile_path(p.ids[0]) + '?wait=0ms')
            except OSError:
                s = None
            assert s in (None, 200, 202), (s, b)
            killer.join()
            inst.process.wait()
            inst.start()
            if s is None:
                shop.erase(p.ids[0])
            else:
                answered += 1
                inst.drain()
            check_small_gone(shop, p)
            wait_no_file(inst, p)
            check_small_gone(shop, p)
        assert answered, 'none was answered: nothing was killed while it completes'
        finish(inst)


def test_the_whole_story_killed_again_and_again_until_it_is_complete():
    with Instance(more_profiler=FAST) as inst:
        story = Story(Shop(inst))
        s, _, b = story.shop.ask('DELETE', profile_path(story.person.ids[0]) + '?wait=0ms')
        assert s in (200, 202), (s, b)
        for delay in (0, 0.02, 0.1, 0.3):
            killed_soon(inst, delay).join()
            inst.process.wait()
            inst.start()
        inst.drain()
        story.check_gone()
        wait_until(lambda: not found_in(inst.dir, {**story.person.marks.made, **story.person.sealed.made}), 100, 'clean files')
        check_gone(story.shop, story.person)
        finish(inst)
