"""waymark adopt on the embedded log, whose folder is lost: what was folded is all there, what comes is folded, versions
only grow, and what is not confirmed or not needed changes nothing."""
import contextlib
import os
import pty
import re
import shutil
import subprocess

from support.acked import check_everything_acked_is_there, read_journal
from support.instance import WAYMARK, Instance, total, wait_until

FAST = '  commit_interval: 100ms\n'


def load(inst, seed, events=3000):
    journal = os.path.join(inst.dir, f'acked-{seed}')
    subprocess.run([WAYMARK, 'simulate', '--config', inst.config, '--seed', str(seed), '--events', str(events), '--people', '60',
                    '--batch', '9', '--acked', journal], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                   timeout=120)
    return journal


def lose_log(inst):
    shutil.rmtree(os.path.join(inst.dir, 'data', 'log'))


def adopted(inst, *args):
    code, out, err = inst.command('adopt', *args)
    assert code == 0, out + err
    return {int(p): int(o) for p, o in re.findall(r'partition (\d+) goes on with record (\d+)', out)}


def refused(inst, words, *args, code=1):
    is_code, out, err = inst.command('adopt', *args)
    assert is_code == code and words in err, (is_code, out, err)


def versions(inst, journal):
    """Of some profiles."""
    return {pid: inst.profile(pid)[1]['version'] for pid in sorted(read_journal(journal))[:40]}


def check(inst, *journals):
    m = inst.drain()
    assert total(m, 'waymark_log_end_offset') == total(m, 'waymark_state_events') + total(m, 'waymark_state_began_offset')
    for journal in journals:
        check_everything_acked_is_there(inst, journal)


def verified(inst):
    code, out, err = inst.command('verify')
    assert code == 0 and ' 0 differences' in out, out + err


def answer(inst, text):
    """The command on a terminal."""
    mine, its = pty.openpty()
    p = subprocess.Popen([WAYMARK, 'adopt', '--config', inst.config], stdin=its, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.close(its)
    os.write(mine, text)
    out, _ = p.communicate(timeout=60)
    os.close(mine)
    assert b'Go on? Type yes: ' in out
    return p.returncode, out.decode()


def test_log_lost():
    with Instance(more_profiler=FAST) as inst:
        first = load(inst, 1)
        check(inst, first)
        before = versions(inst, first)
        refused(inst, 'in use by another process', '--yes')
        assert inst.stop() == 0
        refused(inst, 'no partition has to be adopted', '--yes')
        lose_log(inst)
        since = len(inst.log())
        inst.start(ready=False)
        wait_until(lambda: inst.log()[since:].count('see `waymark adopt`') == 4, 60, 'all partitions to stop')
        with contextlib.suppress(OSError):
            wait_until(lambda: inst.request('c', 'GET', '/readyz')[0] == 200, 60, 'the collector')
        second = load(inst, 2, 500)
        assert inst.stop() == 1, 'what it took is not folded'
        refused(inst, 'say --yes')
        assert answer(inst, b'no\n')[0] == 1
        assert answer(inst, b'yes\n')[0] == 0
        refused(inst, 'no partition has to be adopted', '--yes')
        verified(inst)
        inst.start(ready=False)
        inst.kill()
        inst.start()
        check(inst, first, second)
        after = versions(inst, first)
        assert all(after[pid] == before[pid] or after[pid] > 10**12 for pid in before)
        assert any(after[pid] > before[pid] for pid in before)
        third = load(inst, 3)
        check(inst, first, second, third)
        assert inst.stop() == 0
        verified(inst)

        # Once more, with some partitions before the others, and a log that was never there again.
        lose_log(inst)
        assert adopted(inst, '--yes', '--partition', '3,1') == {1: 0, 3: 0}
        refused(inst, 'partition 1 is not adopted: it goes on there by itself', '--yes', '--partition', '0,1')
        assert adopted(inst, '--yes') == {0: 0, 2: 0}
        inst.start()
        fourth = load(inst, 4)
        check(inst, first, second, third, fourth)
        assert inst.stop() == 0
        verified(inst)


def test_nothing_to_adopt():
    with Instance() as inst:
        inst.kill()
        refused(inst, 'needs numbers below 4', '--partition', '4', code=2)
        refused(inst, 'needs numbers below 4', '--partition', '1,', code=2)
        refused(inst, 'no arguments', 'x', code=2)
        refused(inst, 'there is no state of it', '--yes', '--partition', '0')
        shutil.rmtree(os.path.join(inst.dir, 'data', 'state'))
        refused(inst, 'there is no state in', '--yes')
        assert not os.path.exists(os.path.join(inst.dir, 'data', 'state'))


def test_a_backup_is_further():
    """Of two states of a partition only the newer one may go on."""
    with Instance(more_profiler=FAST) as inst:
        first = load(inst, 1)
        check(inst, first)
        assert inst.command('backup', 'early')[0] == 0
        second = load(inst, 2)
        check(inst, first, second)
        assert inst.command('backup', 'late')[0] == 0
        assert inst.stop() == 0
        assert inst.command('restore', 'early')[0] == 0
        lose_log(inst)
        refused(inst, 'late has more of it than this state', '--yes')
        assert inst.command('restore', 'late')[0] == 0
        assert adopted(inst, '--yes') == {p: 0 for p in range(4)}
        inst.start()
        check(inst, first, second)
        assert inst.command('backup', 'after')[0] == 0
        third = load(inst, 3)
        check(inst, first, second, third)
        assert inst.stop() == 0
        # A backup from after it carries what belongs to the log that there is.
        assert inst.command('restore', 'after')[0] == 0
        refused(inst, 'no partition has to be adopted', '--yes')
        inst.start()
        check(inst, first, second, third)
        assert inst.stop() == 0
        verified(inst)
