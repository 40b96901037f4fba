"""A person is erased: no look-up and no file below the data folder knows them any more, their neighbours are as before, what
arrives late stays out, and what comes later is a new life. Every search is made before, too, and finds everything then."""
import os
import shutil

import pytest
from support.erased import (FAST, Person, Shop, Story, check_gone,
                            found_in, named_in, places, profile_path)
from support.instance import Instance, check_conserved, wait_until
from support.talk import DAY, MINUTE, at, order, page


@pytest.fixture(params=[1, 4])
def inst(request):
    with Instance(partitions=request.param, more_profiler=FAST) as i:
        yield i


@pytest.fixture
def story(inst):
    return Story(Shop(inst))


def wait_on_disk(folder, person):
    """Until every value that is not sealed stands in the state and the log; a sealed one stands nowhere."""
    def lost():
        on_disk = found_in(folder, person.marks.made)
        states = {place for place, file in on_disk if '/state/' in file}
        return not set(person.marks.made) - states and not set(person.marks.made) - {p for p, f in on_disk if '/log/' in f}
    wait_until(lost, 30, 'the person to stand in files')
    assert found_in(folder, person.sealed.made) == set()


def check_files(folder, person):
    left = found_in(folder, {**person.marks.made, **person.sealed.made})
    assert left == set(), sorted(left)


def verified(inst):
    assert inst.stop() == 0, inst.log()[-3000:]
    code, out, err = inst.command('verify')
    assert code == 0 and '0 differences' in out, out + err


def late_events(person):
    """Of the user, of devices, of both, and what would link them again, all of before the erasure."""
    m, u = person.mid, {'userId': person.user}
    phone, old, shared = ({'anonymousId': d} for d in (person.phone, person.old, person.shared))
    yield page(50 * MINUTE, m('late user'), **u, properties=person.here('late user'))
    yield page(51 * MINUTE, m('late device'), **phone, properties=person.here('late device'))
    yield page(51 * MINUTE + 1, m('late old device'), **old, properties=person.here('late old device'))
    yield page(52 * MINUTE, m('late both'), **u, **phone, properties=person.here('late both'))
    yield page(53 * MINUTE, m('late new device'), **u, anonymousId=person.marks('new device'))
    yield {'type': 'identify', 'messageId': m('late identify'), 'timestamp': at(54 * MINUTE), **u, 'traits': {'plan': person.marks('late plan')}}
    yield {'type': 'alias', 'messageId': m('late alias'), 'timestamp': at(55 * MINUTE), **u, 'previousId': person.phone}
    # On the shared device, in the person's time: before their link, which was its first, and behind it.
    yield page(19 * MINUTE, m('late shared, before'), **shared, properties=person.here('late shared, before'))
    yield page(23 * MINUTE, m('late shared, after'), **shared, properties=person.here('late shared, after'))


def test_nothing_is_left_in_answers_and_files(inst, story):
    shop, person = story.shop, story.person
    wait_on_disk(inst.dir, person)
    shop.erase(person.ids[0])
    check_files(inst.dir, person)
    story.check_gone()
    check_conserved(inst.drain())
    assert inst.stop() == 0
    check_files(inst.dir, person)
    inst.start()
    inst.drain()
    story.check_gone()
    verified(inst)
    check_files(inst.dir, person)


def test_what_arrives_late_stays_out(inst, story):
    shop, person = story.shop, story.person
    shop.erase(person.ids[0])
    before = shop.outcomes('erased')
    late = list(late_events(person))
    for e in late:
        shop.send(e)
    inst.drain()
    assert shop.outcomes('erased') == before + len(late)
    story.check_gone()
    shop.post('/v1/orders', [order(person.orders[1], 'delivered', 56 * MINUTE, messageId=person.mid('late order'), userId=person.user),
                             order('late-' + person.orders[1], 'paid', 57 * MINUTE, messageId=person.mid('late new order'),
                                   userId=person.user, total=5)])
    inst.drain()
    assert shop.outcomes('erased') == before + len(late) + 2
    check_gone(shop, person)
    check_conserved(inst.drain())
    # What they left is gone with the next cleaning, whoever it is for.
    shop.erase('user:somebody')
    wait_until(lambda: not found_in(inst.dir, person.marks.made), 100, 'late events to leave the files')
    verified(inst)
    check_files(inst.dir, person)


def test_the_shared_device_is_the_neighbours_later(story):
    """A late event of the device in the neighbour's time is the neighbour's."""
    shop, n = story.shop, story.neighbour
    shop.erase(story.person.ids[0])
    shop.send(page(33 * MINUTE, 'theirs', anonymousId=n.shared))
    shop.drain()
    assert 'theirs' in [e['message_id'] for e in shop.whole_path('user:' + n.user)]


@pytest.mark.parametrize('refold', [False, True])
def test_a_new_life_shows_only_itself(inst, story, refold):
    shop, person = story.shop, story.person
    shop.erase(person.ids[0])
    device, user = {'anonymousId': person.phone}, {'userId': person.user}

    def now(mid, **who):
        return {'type': 'page', 'messageId': mid, **who}
    shop.send(now('life 1', **device))
    shop.send(now('life 2', **user))
    shop.send(now('life 3', anonymousId=person.shared))
    inst.drain()
    if refold:
        assert inst.stop() == 0
        shutil.rmtree(os.path.join(inst.dir, 'data', 'state'))
        inst.start()
        inst.drain()

    def told(pid):
        return [e['message_id'] for e in shop.whole_path(pid)]
    assert told('anon:' + person.phone) == ['life 1'] and told('user:' + person.user) == ['life 2']
    for pid, facts in (('anon:' + person.phone, 1), ('user:' + person.user, 1)):
        s, b = shop.profile(pid, include='contact,shipping')
        assert s == 200 and b['ids'] == [pid] and b['facts']['events'] == facts and b['traits'] == {}, b
    assert told('user:' + story.neighbour.user)[-1] == 'life 3'
    assert shop.profile('anon:' + person.phone, '/identity')[1]['users'] == []
    # Now they log in: the phone's life since is theirs, and nothing of before.
    shop.send(now('life 4', **device, **user), page(58 * MINUTE, person.mid('late again'), **device))
    inst.drain()
    lives = told('user:' + person.user)
    assert lives == told('anon:' + person.phone) and lives[2:] == ['life 4'], lives
    assert set(lives[:2]) == {'life 1', 'life 2'}, 'the two may have come in one millisecond'
    assert shop.profile('user:' + person.user, '/orders') == (200, {'orders': []})
    # And are erased once more.
    shop.erase('anon:' + person.phone)
    check_gone(shop, person)
    check_conserved(inst.drain())
    verified(inst)
    check_files(inst.dir, person)


def test_a_restored_backup_never_shows_them(inst, story, tmp_path):
    shop, person = story.shop, story.person
    wait_on_disk(inst.dir, person)
    assert inst.command('backup', 'before')[0] == 0
    backup = str(tmp_path / 'before')
    shutil.move(os.path.join(inst.dir, 'data', 'backups', 'before'), backup)
    assert places(found_in(backup, person.marks.made)) == set(person.marks.made), 'the backup holds them'
    shop.erase(person.ids[0])
    check_files(inst.dir, person)
    inst.drain()
    assert inst.stop() == 0
    code, out, err = inst.command('restore', backup)
    assert code == 0, out + err
    inst.start(ready=False)

    def seen():  # from the first answer on
        answers = [shop.ask_once('GET', profile_path(pid)) for pid in person.ids]
        assert all(s in (404, 503) for s, _, _ in answers), answers
        return all(s == 404 for s, _, _ in answers)
    wait_until(seen, 60, 'look-ups to be answered')
    inst.wait_ready()
    inst.drain()
    story.check_gone()
    for e in late_events(person):
        shop.send(e)
    inst.drain()
    story.check_gone()
    shop.erase(person.ids[0])
    check_files(inst.dir, person)
    check_conserved(inst.drain())
    verified(inst)
    check_files(inst.dir, person)


def test_restored_the_files_are_cleaned_without_being_asked(inst, story, tmp_path):
    person = story.person
    wait_on_disk(inst.dir, person)
    assert inst.command('backup', 'before')[0] == 0
    backup = str(tmp_path / 'before')
    shutil.move(os.path.join(inst.dir, 'data', 'backups', 'before'), backup)
    story.shop.erase(person.ids[0])
    assert inst.stop() == 0
    assert inst.command('restore', backup)[0] == 0
    inst.start()
    inst.drain()
    wait_until(lambda: not found_in(inst.dir, person.marks.made), 100, 'the restored files to be cleaned')
    story.check_gone()
    verified(inst)


def fold_anew(inst):
    """From what is left on the log."""
    assert inst.stop() == 0
    shutil.rmtree(os.path.join(inst.dir, 'data', 'state'))
    inst.start()
    check_conserved(inst.drain())


def test_folded_anew_from_the_log(inst, story):
    shop, person, n = story.shop, story.person, story.neighbour
    shop.erase(person.ids[0])
    paths = [shop.whole_path('user:' + x.user) for x in (n, story.stranger)]
    fold_anew(inst)
    check_gone(shop, person)
    assert [shop.whole_path('user:' + x.user) for x in (n, story.stranger)] == paths
    assert story.stranger.shown(shop) == story.before[1]
    before = shop.outcomes('erased')
    late = [e for e in late_events(person) if 'userId' in e]
    for e in late:
        shop.send(e)
    inst.drain()
    assert shop.outcomes('erased') >= before + len(late)
    assert shop.profile(person.ids[0])[0] == 404
    check_conserved(inst.drain())
    verified(inst)


def test_folded_anew_late_events_of_devices_stay_out(inst, story):
    shop, person = story.shop, story.person
    shop.erase(person.ids[0])
    fold_anew(inst)
    for e in late_events(person):
        shop.send(e)
    inst.drain()
    check_gone(shop, person)
    assert shop.whole_path('user:' + story.neighbour.user) == [
        e for e in shop.whole_path('user:' + story.neighbour.user) if not named_in(e, person)]


def test_folded_anew_the_amounts_of_orders_are_there(inst, story):
    story.shop.erase(story.person.ids[0])
    fold_anew(inst)
    story.check_gone()


def test_links_that_do_not_count_name_nobody(inst):
    """Undone, or beyond the cap: the device keeps who it was, and must not."""
    shop, person = Shop(inst), Person()
    m, u = person.mid, {'userId': person.user}
    shop.send(page(0, m('link'), anonymousId=person.phone, **u), page(1, m('of the phone'), anonymousId=person.phone))
    inst.drain()
    s, _, b = shop.ask('POST', '/v1/identity:unlink', {'anonymous_id': person.phone, 'user_id': person.user, 'until': at(DAY)})
    assert s == 200, b
    inst.drain()
    assert named_in(shop.profile('anon:' + person.phone, '/identity')[1], person) >= {'user'}
    shop.erase('user:' + person.user)
    s, b = shop.profile('anon:' + person.phone)
    assert s == 200 and b['id'] == 'anon:' + person.phone and b['facts']['events'] == 1
    for suffix in ('/identity', '/data', '/path'):
        assert 'user' not in named_in(shop.profile('anon:' + person.phone, suffix)[1], person), suffix
    check_conserved(inst.drain())
    gone = person.marks.of('user', 'message id: link')
    assert found_in(inst.dir, gone) == set()
    assert places(found_in(inst.dir, person.marks.of('phone', 'message id: of the phone'))), 'the device stays'
    verified(inst)
    assert found_in(inst.dir, gone) == set()
