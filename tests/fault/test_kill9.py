"""kill -9 of `waymark serve` at random moments under load: nothing acked is missing, nothing counts twice (I1, I2, I3)."""
import os
import random
import subprocess
import time

from support.acked import check_everything_acked_is_there
from support.instance import SANITIZED, WAYMARK, Instance, check_conserved, wait_until

KILLS = 6 if SANITIZED else 20


def test_kill9_under_load():
    seed = random.randrange(1 << 30)
    print('seed', seed)
    r = random.Random(seed)
    # Small commits, so that kills fall before, into and after them.
    with Instance(more_profiler='  commit_interval: 200ms\n') as inst:
        journal = os.path.join(inst.dir, 'acked')
        load = subprocess.Popen([WAYMARK, 'simulate', '--config', inst.config, '--seed', str(seed), '--events', '100000000',
                                 '--rate', '4000', '--people', '200', '--batch', '7', '--acked', journal],
                                stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            for _ in range(KILLS):
                before = os.path.getsize(journal) if os.path.exists(journal) else 0
                wait_until(lambda: os.path.exists(journal) and os.path.getsize(journal) > before, 60, 'acked events')
                time.sleep(r.uniform(0, 0.7))  # the random moment is the point of the test
                inst.kill()
                inst.start()
            assert load.poll() is None, 'the load ended early'
        finally:
            load.kill()
            load.wait()
        inst.kill()
        inst.start()
        metrics = inst.drain()
        # The collector's counters begin anew with each process; the state's do not.
        check_conserved(metrics)
        events = check_everything_acked_is_there(inst, journal)
        print(events, 'acked events over', KILLS, 'kills')
        assert inst.stop() == 0
        code, out, err = inst.command('verify')
        assert code == 0, out + err
