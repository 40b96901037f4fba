"""waymark backup and restore from outside: under load, onto a stopped instance, onto another machine's folder, some
partitions only; after the next start every acked event is there exactly once."""
import contextlib
import json
import os
import shutil
import subprocess

from support.acked import check_everything_acked_is_there
from support.instance import WAYMARK, Instance, check_conserved, total, wait_until

FAST = '  commit_interval: 100ms\n'


@contextlib.contextmanager
def load(inst, seed):
    """Traffic whose acked events are written down."""
    journal = os.path.join(inst.dir, f'acked-{seed}')
    p = subprocess.Popen([WAYMARK, 'simulate', '--config', inst.config, '--seed', str(seed), '--events', '100000000', '--rate',
                          '3000', '--people', '150', '--batch', '7', '--acked', journal],
                         stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        yield journal
        assert p.poll() is None, 'the load ended early'
    finally:
        p.terminate()
        p.wait()


def lines(journal):
    return os.path.exists(journal) and sum(1 for _ in open(journal, 'rb'))


def more(journal, n=1500):
    before = lines(journal) or 0
    wait_until(lambda: (lines(journal) or 0) >= before + n, 60, 'acked events')


def backup(inst, *args):
    code, out, err = inst.command('backup', *args)
    assert code == 0, out + err
    return out


def restore(inst, *args):
    code, out, err = inst.command('restore', *args)
    assert code == 0, out + err
    assert 'the next start folds what came after' in out
    return out


def folder(inst, name):
    return os.path.join(inst.dir, 'data', 'backups', name)


def offsets(inst, name):
    with open(os.path.join(folder(inst, name), 'manifest.json')) as f:
        return {p['partition']: p['offset'] for p in json.load(f)['partitions']}


def verified(inst):
    code, out, err = inst.command('verify')
    assert code == 0, out + err
    return out


def check_all(inst, *journals):
    """Everything acked is there once, after it has caught up; then the whole state is right."""
    check_conserved(inst.drain())
    for journal in journals:
        check_everything_acked_is_there(inst, journal)
    assert inst.stop() == 0
    return verified(inst)


def test_restored_it_catches_up():
    with Instance(more_profiler=FAST) as inst:
        with load(inst, 1) as journal:
            more(journal)
            out = backup(inst, 'under-load')
            assert 'backup under-load: ' in out
            more(journal)
            backup(inst)
            code, out, err = inst.command('verify', '--backup', 'under-load')
            assert code == 0 and '0 differences' in out, out + err
            more(journal)
        assert inst.stop() == 0
        before = verified(inst)
        at = offsets(inst, 'under-load')
        assert len(at) == 4 and sum(at.values()) > 0
        out = restore(inst, 'under-load')
        for p, offset in at.items():
            assert f'partition {p} stands at offset {offset}\n' in out
        assert 'kept in' in out
        verified(inst)
        inst.start()
        assert check_all(inst, journal) == before
        # The state that was there is kept, and nothing else is left.
        left = sorted(os.listdir(os.path.join(inst.dir, 'data')))
        assert [n for n in left if n.startswith('state')] == ['state', next(n for n in left if 'before-restore' in n)]


def test_a_lost_state_comes_back():
    with Instance(more_profiler=FAST) as inst:
        with load(inst, 2) as journal:
            more(journal)
            backup(inst, 'b')
            more(journal)
            inst.kill()
        shutil.rmtree(os.path.join(inst.dir, 'data', 'state'))
        restore(inst, folder(inst, 'b'))
        inst.start()
        check_all(inst, journal)


def test_restore_on_another_machine():
    with Instance(more_profiler=FAST) as one, Instance(more_profiler=FAST) as other:
        with load(one, 3) as journal:
            more(journal)
            backup(one, 'b')
            more(journal)
        one.drain()
        assert one.stop() == 0 and other.stop() == 0
        copied = os.path.join(other.dir, 'brought-here')
        shutil.copytree(folder(one, 'b'), copied)
        shutil.rmtree(os.path.join(other.dir, 'data', 'log'))
        shutil.copytree(os.path.join(one.dir, 'data', 'log'), os.path.join(other.dir, 'data', 'log'))
        assert 'is whole' in backup(other, '--check', copied)
        restore(other, copied)
        other.start()
        assert check_all(other, journal) == verified(one)


def test_two_partitions_are_restored():
    with Instance(more_profiler=FAST) as inst:
        with load(inst, 4) as journal:
            more(journal)
            backup(inst, 'b')
            more(journal)
        assert inst.stop() == 0
        at = offsets(inst, 'b')
        out = restore(inst, 'b', '--partition', '1,3')
        assert [p for p in at if f'partition {p} stands at offset {at[p]}\n' in out] == [1, 3]
        assert 'kept in' not in out
        verified(inst)
        inst.start()
        check_all(inst, journal)


def test_what_is_wrong_is_said_and_changes_nothing():
    with Instance(more_profiler=FAST) as inst:
        with load(inst, 5) as journal:
            more(journal)
        inst.drain()
        wait_until(lambda: total(inst.metrics(), 'waymark_state_offset') > 0, 10)
        backup(inst, 'b')
        code, _, err = inst.command('backup', 'b')
        assert code == 1 and 'there is a backup of that name' in err
        code, _, err = inst.command('backup', 'not/a/name')
        assert code == 1 and 'letters' in err
        code, _, err = inst.command('restore', 'b')
        assert code == 1 and 'in use' in err
        assert inst.stop() == 0
        code, _, err = inst.command('backup', 'c')
        assert code == 1 and err
        before = verified(inst)
        for args in (['restore'], ['restore', 'b', 'c'], ['restore', 'b', '--partition', '4'],
                     ['restore', 'b', '--partition', '1,1'], ['restore', 'b', '--partition', ''],
                     ['restore', 'b', '--partition', '1,'], ['backup', 'a', 'b'], ['backup', '--list', 'a']):
            assert inst.command(*args)[0] == 2, args
        code, _, err = inst.command('restore', 'nowhere')
        assert code == 1 and 'there is no backup nowhere' in err
        state = folder(inst, 'b') + '/state'
        names = [n for n in os.listdir(state) if n.endswith('.sst')]
        name = max(names, key=lambda n: os.path.getsize(os.path.join(state, n)))
        path = os.path.join(state, name)
        with open(path, 'rb') as f:
            whole = f.read()
        for damaged in (whole[:-1], whole + b'x', whole[:5] + bytes([whole[5] ^ 1]) + whole[6:], None):
            os.remove(path)  # it may be a link to a file of the state
            if damaged is not None:
                with open(path, 'wb') as f:
                    f.write(damaged)
            for args in (['restore', 'b'], ['backup', '--check', 'b']):
                code, _, err = inst.command(*args)
                assert code == 1 and name in err, (args, err)
            if damaged is None:
                with open(path, 'wb'):
                    pass
        assert verified(inst) == before


def test_settings_are_compared():
    with Instance(more_profiler=FAST) as inst:
        assert inst.post('/v1/track', {'userId': 'u', 'event': 'x'})[0] == 200
        inst.drain()
        backup(inst, 'b')
        assert inst.stop() == 0
        with open(inst.config) as f:
            config = f.read()
        with open(inst.config, 'w') as f:
            f.write(config.replace('currency: GBP', 'currency: EUR'))
        code, _, err = inst.command('restore', 'b')
        assert code == 1 and 'currency' in err and 'nothing was restored' in err


def test_list_and_http():
    with Instance(more_profiler=FAST) as inst:
        assert backup(inst, '--list') == ''
        backup(inst, 'one')
        backup(inst, 'two')
        assert {line.split()[0] for line in backup(inst, '--list').splitlines()} == {'one', 'two'}

        def post(body, token='tk_test_all'):
            status, _, answer = inst.request('p', 'POST', '/v1/backups', body, {'Authorization': 'Bearer ' + token})
            return status, json.loads(answer)

        status, answer = post('{"name":"three"}')
        assert status == 201 and answer['name'] == 'three' and answer['bytes'] > 0 and answer['event_log'] == 'embedded'
        status, answer = post('')
        assert status == 201 and os.path.isdir(folder(inst, answer['name']))
        assert post('{"name":"three"}') == (409, post('{"name":"three"}')[1])
        assert post('{"name":"three"}')[1]['code'] == 'backup_exists'
        assert post('{"name":".."}')[1]['code'] == 'parameter_invalid'
        assert post('{"name":7}')[1]['code'] == 'parameter_invalid'
        assert post('[')[1]['code'] == 'json_invalid'
        assert post('[]')[1]['code'] == 'json_invalid'
        assert post('{}', 'tk_test_lookup') == (403, post('{}', 'tk_test_lookup')[1])
        status, _, answer = inst.request('p', 'GET', '/v1/backups')
        assert status == 200 and json.loads(answer)['running'] is False
        assert inst.request('p', 'DELETE', '/v1/backups')[0] == 405
        metrics = inst.metrics()
        assert metrics['waymark_backups_total']['outcome="made"'] == 4
        assert metrics['waymark_backups_total']['outcome="failed"'] == 0
        assert metrics['waymark_backup_last_size_bytes'][''] > 0
        # One that cannot be read is said to be so.
        with open(folder(inst, 'two') + '/manifest.json', 'w') as f:
            f.write('{}')
        code, out, err = inst.command('backup', '--list')
        assert code == 1 and 'two/manifest.json' in err and 'one' in out


def test_by_the_clock():
    with Instance(more_profiler=FAST + '  backup_interval: 200ms\n  backup_keep: 2\n') as inst:
        place = os.path.join(inst.dir, 'data', 'backups')

        def made():
            return inst.metrics()['waymark_backups_total']['outcome="made"'] >= 4

        wait_until(made, 60, 'four backups')
        assert inst.stop() == 0
        assert 1 <= len(os.listdir(place)) <= 3
        newest = max(os.listdir(place))
        assert 'is whole' in backup(inst, '--check', newest)


def send_large(inst, first, n):
    pad = os.urandom(200_000).hex()
    for i in range(first, first + n):
        assert inst.post('/v1/track', {'userId': 'u', 'event': 'E', 'messageId': f'm{i}', 'properties': {'p': pad}})[0] == 200
    inst.drain()


def drop_what_is_folded(inst):
    """Stopped in the end; its log gives records back when they are older than a second."""
    log = os.path.join(inst.dir, 'data', 'log')
    assert inst.stop() == 0
    inst.start()
    wait_until(lambda: sum(os.path.getsize(os.path.join(log, f)) for f in os.listdir(log) if f.endswith('.sst'))
               < 10_000_000, 60, 'the log to give its files back')
    assert inst.stop() == 0


def test_a_backup_that_the_log_no_longer_reaches():
    """Folded records go by the log's own rule; a restore says what cannot be caught up with."""
    with Instance(partitions=1, more_profiler=FAST, more_log=', retain: 1s') as inst:
        send_large(inst, 0, 3)
        wait_until(lambda: 'stands at offset 3' in backup(inst), 10, 'a commit')
        backup(inst, 'b')
        send_large(inst, 3, 100)
        drop_what_is_folded(inst)
        code, out, err = inst.command('restore', 'b')
        assert code == 0 and 'partition 0 cannot catch up from there: the log begins at' in err, out + err
