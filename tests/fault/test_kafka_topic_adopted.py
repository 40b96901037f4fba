"""The topic of the events is lost and made again, and the profilers go on with it by `waymark adopt`: what was folded is
all there, what comes is folded once, also when the old events come again, and nobody ever sees a profile step back."""
import os
import re
import tempfile

import confluent_kafka
from support.cluster import Cluster, not_sanitized
from support.instance import total, wait_until
from support.redis import Redis


def wait_refused(profiler, partitions, since):
    def refused():
        return {int(p) for p in re.findall(r'partition (\d+) stops: .*see `waymark adopt`', profiler.log()[since:])} == \
            set(partitions)
    try:
        wait_until(refused, 60, f'{profiler.name} to refuse {partitions}')
    except AssertionError as e:
        raise AssertionError(f'{e}\n{profiler.log()[since:][-3000:]}') from None


def outcome(profiler, name):
    return int(profiler.metrics()['waymark_state_events'][f'outcome="{name}"'])


def send_again(kafka, topic, records):
    """The same keys and values, as from a copy of the topic that somebody still had."""
    p = confluent_kafka.Producer({'bootstrap.servers': kafka.address, 'log_level': 0})
    for r in records:
        p.produce(topic, value=r.value(), key=r.key(), partition=r.partition(), headers=r.headers())
    assert p.flush(60) == 0


def make_again(kafka, c, profiler):
    """Deletes and makes the topic under load, until the profiler has refused every partition of it."""
    since = len(profiler.log())
    kafka.delete_topics(c.events)
    with c.load(seed=2, people=40):
        wait_until(c.spooled, 30, 'the spool to be used')
        c.wait_acked(10000)
        kafka.create_topic(c.events, c.partitions)
        wait_until(lambda: c.spooled() == 0, 60, 'the spool to be drained')
        c.wait_acked(60000)  # past the old end in some partitions, short of it in others
    wait_refused(profiler, range(c.partitions), since)


def adopted(program, *args):
    code, out, err = program.command('adopt', *args)
    assert code == 0, out + err
    return {int(p): int(o) for p, o in re.findall(r'partition (\d+) goes on with record (\d+)', out)}


def refused(program, words, *args):
    code, out, err = program.command('adopt', *args)
    assert code == 1 and words in err, (code, out, err)


def test_adopted(kafka):
    with Redis() as redis, Cluster(kafka, redis=redis) as c:
        profiler, = c.profilers
        with c.reader() as reader:
            with c.load():
                c.wait_acked()
            c.drain()
            refused(profiler, 'in use by another process', '--yes')
            old = kafka.records(c.events)
            make_again(kafka, c, profiler)
            assert profiler.stop() == 0, profiler.log()[-2000:]
            refused(profiler, 'say --yes')
            assert adopted(profiler, '--yes', '--partition', '2') == {2: 0}
            refused(profiler, 'it goes on there by itself', '--yes', '--partition', '2,1')
            assert adopted(profiler, '--yes') == {0: 0, 1: 0, 3: 0}
            refused(profiler, 'no partition has to be adopted', '--yes')
            profiler.start(ready=False)
            profiler.kill()  # right after the adoption
            profiler.start()
            c.drain()
            reader.wait_answers()
            assert min(profiler.metrics()['waymark_state_began_offset'].values()) < 0
            c.check()

            before = outcome(profiler, 'duplicate')
            send_again(kafka, c.events, old)
            c.drain()
            events = [r for r in old if not r.headers()]  # the others are what partitions told each other
            assert outcome(profiler, 'duplicate') == before + len(events)
            assert outcome(profiler, 'bad') == 0
            with c.load(seed=3):
                c.wait_acked()
                profiler.kill()
                profiler.start()
                c.wait_acked()
            reader.wait_answers()
            assert c.finish() > 1000
        refused(profiler, 'no partition has to be adopted', '--yes')


@not_sanitized
def test_brokers_away(kafka):
    """Whether the log is another cannot be known: nothing is adopted."""
    with Cluster(kafka) as c:
        profiler, = c.profilers
        with c.load():
            c.wait_acked()
        c.drain()
        assert profiler.stop() == 0
        refused(profiler, 'no partition has to be adopted', '--yes')
        kafka.stop()
        try:
            refused(profiler, 'nothing was changed', '--yes')
        finally:
            kafka.start()
        kafka.delete_topics(c.events)
        refused(profiler, 'nothing was changed', '--yes')


@not_sanitized
def test_only_the_newest_state(kafka):
    """Of two profilers the one that had the partitions last adopts them; the other, whose state is older, may not, and
    takes the backup that was made after the adoption, not the one before."""
    with tempfile.TemporaryDirectory() as shared, \
            Cluster(kafka, profilers=2, more_profiler=f'  backups: {shared}\n') as c:
        a, b = c.profilers
        with c.reader() as reader:
            with c.load():
                c.wait_acked()
                assert b.stop() == 0
                c.wait_acked()
            c.profilers.remove(b)
            c.drain()
            assert a.command('backup', 'before')[0] == 0
            make_again(kafka, c, a)
            assert a.stop() == 0
            refused(b, f'{os.path.join(shared, a.name, "before")} has more of it than this state', '--yes')
            assert adopted(a, '--yes') == {p: 0 for p in range(c.partitions)}
            a.start()
            c.check()
            reader.wait_answers()
            assert a.command('backup', 'after')[0] == 0
            with c.load(seed=3):
                c.wait_acked()
            assert a.stop() == 0
            since = len(b.log())
            c.profilers[:] = [b]
            b.start(ready=False)
            wait_until(lambda: b.log()[since:].count('goes on from a backup') == c.partitions, 60, 'partitions from a backup')
            b.wait_ready()
            reader.wait_answers()
            c.finish()
