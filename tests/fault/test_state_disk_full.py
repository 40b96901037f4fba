"""The disk of a profiler's state is full under load: collecting goes on, look-ups go on, nothing is lost, and it commits again when
there is room."""
import os

from support.cluster import Cluster, not_sanitized
from support.instance import total, wait_until
from support.small_disk import fill, make_room

pytestmark = not_sanitized


def behind(program):
    """Records shown and not on disk."""
    m = program.metrics()
    return total(m, 'waymark_state_offset') - total(m, 'waymark_state_disk_offset')


def test_state_disk_full(kafka, small_disk):
    c = Cluster(kafka, profilers=1)
    p = c.profilers[0]
    os.symlink(small_disk, os.path.join(p.dir, 'data'))
    with c:
        with c.load(), c.reader() as reader:
            for _ in range(2):
                c.wait_acked()
                before = p.log().count('cannot commit')
                fill(small_disk, 0)
                wait_until(lambda: p.log().count('cannot commit') > before, 30, 'a commit that fails')
                c.wait_acked()
                reader.wait_answers()
                assert p.alive() and p.request('GET', '/livez')[0] == 200
                wait_until(lambda: behind(p) > 0, 20, 'something that is not on disk')
                make_room(small_disk)
                wait_until(lambda: 'commits again' in p.log()[-20000:], 60, 'commits to work again')
            # Killed while it is full: the log has what the disk has not.
            fill(small_disk, 0)
            c.wait_acked()
            p.kill()
            make_room(small_disk)
            p.start()
            c.wait_acked()
        c.finish()
