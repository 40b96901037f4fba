"""A profiler that lost its disk comes back under load: it takes its partitions from the backups in the folder that the
profilers share, not from the beginning of the log, and no event is lost or counts twice."""
import os
import tempfile

from support.cluster import Cluster
from support.instance import wait_until


def backed_up(profiler, most=30):
    """Makes backups until one holds what the profiler follows."""
    def made():
        code, out, err = profiler.command('backup')
        assert code == 0, out + err
        return out.count('stands at offset') >= 2
    wait_until(made, most, 'a backup of two partitions')


def test_takes_backups(kafka):
    with tempfile.TemporaryDirectory() as shared, \
            Cluster(kafka, profilers=2, more_profiler=f'  backups: {shared}\n') as c:
        a, b = c.profilers
        with c.load():
            c.wait_acked()
            backed_up(a)
            backed_up(b)
            assert sorted(os.listdir(shared)) == ['profiler0', 'profiler1']
            c.wait_acked()
            b.kill()
            b.forget()
            # One that is damaged and claims to be far is passed over.
            newest = os.path.join(shared, 'profiler1', max(os.listdir(os.path.join(shared, 'profiler1'))))
            worse = os.path.join(shared, 'zz')
            os.mkdir(worse)
            with open(os.path.join(newest, 'manifest.json'), 'rb') as f, \
                    open(os.path.join(worse, 'manifest.json'), 'wb') as g:
                g.write(f.read().replace(b'"offset":', b'"offset":9'))
            before = len(b.log())
            b.start(ready=False)
            wait_until(lambda: 'goes on from a backup' in b.log()[before:], 60, 'a partition taken from a backup')
            b.wait_ready()
            c.wait_acked()
        assert 'passed over' in b.log()[before:]
        c.finish()
