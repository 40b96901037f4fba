"""The topic of the events is deleted and made again. The profiler must not read the new one from the middle, nor from its
start as if it were the old one: it stops with a named error. What was spooled meanwhile comes to the new topic, where a
profiler without a state folds all of it."""
import re

from support import wire
from support.acked import check_everything_acked_is_there, read_journal
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until


def wait_refused(profiler, partitions, since):
    """Until each partition has said that this is not its log, in the log since that place, and /readyz is false."""
    def refused():
        said = {int(p) for p in re.findall(r'partition (\d+) stops: .*(?:not made from this log|the log was replaced)',
                                           profiler.log()[since:])}
        return said == set(range(partitions)) and profiler.request('GET', '/readyz')
    status, _, body = wait_until(refused, 60, 'every partition to be refused')
    assert status == 503 and b'log' in body, (status, body)


@not_sanitized
def test_topic_made_again(kafka):
    with Cluster(kafka, profilers=2) as c:
        collector, profiler, other = c.collectors[0], *c.profilers
        assert other.stop() == 0
        with c.load():
            c.wait_acked()
        c.drain()
        check_everything_acked_is_there(c, c.journal)
        folded = sum(c.state_offsets())
        kafka.delete_topics(c.events)
        since = len(profiler.log())
        c.journal += '-after'
        with c.load(seed=2, people=40):
            wait_until(c.spooled, 30, 'the spool to be used')
            c.wait_acked(10000)
            kafka.create_topic(c.events, c.partitions)
            wait_until(lambda: c.spooled() == 0, 60, 'the spool to be drained')
            c.wait_acked(60000)  # past the old end in some partitions, short of it in others
        wait_refused(profiler, c.partitions, since)
        assert sum(c.state_offsets()) == folded, 'nothing of the new topic was folded into the old state'

        # Nothing that was acked since is missing in the new topic.
        ids = {e.message_id.decode() for e in wire.events(kafka.records(c.events))}
        acked = set().union(*read_journal(c.journal).values())
        assert acked <= ids, sorted(acked - ids)[:5]

        # Again after a restart.
        profiler.kill()
        since = len(profiler.log())
        profiler.start(ready=False)
        wait_refused(profiler, c.partitions, since)
        assert profiler.stop() == 0, profiler.log()[-2000:]
        code, out, err = profiler.command('verify')
        assert code == 0, out + err

        # One that has no state begins with the new topic.
        c.profilers = [other]
        other.forget()
        other.start()
        with c.reader() as reader:
            reader.wait_answers()
            assert c.finish() > 500
        assert collector.process.returncode == 0
