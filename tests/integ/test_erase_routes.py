"""DELETE of a profile and what is around it: the record before it, whose place it takes up, who may ask what, the commands
on a terminal, and what adopt and restore make of erasures that their log or state lacks."""
import datetime
import json
import os
import pty
import re
import shutil
import subprocess

import pytest

from support.instance import SERVER, WAYMARK, Instance, wait_until
from support.redis import Redis

FAST = '  commit_interval: 100ms\n'


@pytest.fixture
def inst():
    with Instance(more_profiler=FAST) as i:
        yield i


def say(inst, user, device=None, **more):
    event = {'type': 'track', 'event': 'Looked', 'userId': user, **more}
    if device:
        event['anonymousId'] = device
    assert inst.post('/v1/batch', [event], SERVER)[0] == 200


def known(inst, pid):
    inst.drain()
    return inst.profile(pid)[0]


def delete(inst, pid, query='', headers=None):
    s, h, b = inst.request('p', 'DELETE', f'/v1/profiles/{pid}{query}', headers=headers)
    return s, h, json.loads(b)


def over(inst, erasure):
    """The receipt, once there is one."""
    def receipt():
        s, _, b = inst.request('p', 'GET', f'/v1/erasures/{erasure}?wait=2s')
        assert s in (200, 202), b
        return s == 200 and json.loads(b)
    return wait_until(receipt, 60, 'the receipt')


def erased(inst, pid):
    s, _, b = delete(inst, pid)
    assert s in (200, 202), b
    return over(inst, b['id'])


def records(inst):
    code, out, err = inst.command('audit', '--json')
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


# --- the record --------------------------------------------------------------------------------------------------


def test_one_record_stands_before_the_command(inst):
    say(inst, 'u1', 'd1')
    assert known(inst, 'anon:d1') == 200
    receipt = erased(inst, 'anon:d1')['receipt']
    found = [r for r in records(inst) if r['kind'] == 'erasure']
    assert len(found) == 1 and found[0]['status'] == 202 and len(found[0]['targets']) == 2
    e = found[0]['erasure']
    assert e['hash'] == receipt['profile_hash'] and e['until'] == receipt['until']
    assert receipt['id'].startswith(f'{e["partition"]}-') and len(e['alias']) == 32
    for pid in ('user:u1', 'anon:d1'):
        assert len([1 for line in inst.command('audit', '--profile', pid, '--json')[1].splitlines()
                    if json.loads(line)['kind'] == 'erasure']) == 1


def test_nothing_is_erased_without_its_record(inst):
    audit = os.path.join(inst.dir, 'data', 'audit.log')
    say(inst, 'u1')
    assert known(inst, 'user:u1') == 200
    os.rename(audit, audit + '.aside')
    os.mkdir(audit)  # in its place, so that it cannot be written
    end = inst.metrics()['waymark_log_end_offset']
    assert inst.profile('user:u1')[0] == 200  # it waits to be written, which fails
    wait_until(lambda: inst.metrics()['waymark_audit_failed_total']['reason="file"'] > 0, 20, 'the file to fail')
    s, _, b = delete(inst, 'user:u1')
    assert (s, b['code']) == (503, 'unavailable') and 'audit' in b['message']
    assert inst.metrics()['waymark_log_end_offset'] == end and known(inst, 'user:u1') == 200
    os.rmdir(audit)
    wait_until(lambda: delete(inst, 'user:u1')[0] in (200, 202), 20, 'erasures to be taken again')
    assert known(inst, 'user:u1') == 404


# --- whose, and up to when ---------------------------------------------------------------------------------------


def test_what_is_ahead_of_our_clock_goes_too(inst):
    ahead = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)).strftime('%Y-%m-%dT%H:%M:%S.000Z')
    say(inst, 'early', 'd9')
    say(inst, 'early', 'd9', timestamp=ahead)
    assert known(inst, 'user:early') == 200
    receipt = erased(inst, 'user:early')['receipt']
    assert receipt['events'] == 2 and receipt['until'] >= ahead > receipt['completed_at']
    assert known(inst, 'user:early') == 404


def test_a_place_of_something_else_is_no_erasure(inst):
    say(inst, 'u1')
    s, h, _ = inst.request('p', 'POST', '/v1/identity:unlink', json.dumps({'anonymous_id': 'd', 'user_id': 'u1'}))
    assert s == 200
    inst.drain()
    for place in (h['x-waymark-position'].replace(':', '-'), '0-999999', '4-0', '-1-0', 'x', '0-', '0', '0-0-0',
                  '0-99999999999999999999', '%30'):
        s, _, b = inst.request('p', 'GET', f'/v1/erasures/{place}?wait=100ms')
        assert s == 404 and json.loads(b)['code'] == 'erasure_not_found', place


def test_the_receipt_is_there_after_a_restart(inst):
    say(inst, 'u1', 'd1')
    assert known(inst, 'user:u1') == 200
    first = erased(inst, 'user:u1')['receipt']
    inst.kill()
    inst.start()
    again = over(inst, first['id'])['receipt']
    assert {k: again[k] for k in again if k != 'completed_at'} == {k: first[k] for k in first if k != 'completed_at'}
    assert again['completed_at'] > first['completed_at']


def test_nobody_gets_a_receipt_by_saying_that_it_was_sent_on(inst):
    say(inst, 'u1')
    assert known(inst, 'user:u1') == 200
    sent_on = {'X-Waymark-Forwarded': '0123456789abcdef'}
    assert delete(inst, 'user:u1', headers=sent_on)[0] == 404
    assert known(inst, 'user:u1') == 200
    receipt = erased(inst, 'user:u1')['receipt']
    s, _, b = inst.request('p', 'GET', f'/v1/erasures/{receipt["id"]}', headers=sent_on)
    assert s == 200 and 'receipt' not in json.loads(b) and 'signature' not in json.loads(b)


# --- commands ----------------------------------------------------------------------------------------------------


def answer(inst, text, *args):
    """The command on a terminal."""
    mine, its = pty.openpty()
    p = subprocess.Popen([WAYMARK, 'erase', *args, '--config', inst.config], stdin=its, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    os.close(its)
    os.write(mine, text)
    out, err = p.communicate(timeout=60)
    os.close(mine)
    return p.returncode, out.decode(), err.decode()


def test_the_commands(inst, tmp_path):
    say(inst, 'u1', 'd1')
    assert known(inst, 'user:u1') == 200
    file = str(tmp_path / 'receipt.json')
    code, out, err = answer(inst, b'no\n', 'user:u1')
    assert code == 1 and 'user:u1' in out and 'nothing was erased' in err
    assert inst.command('erase', 'user:u1')[0] == 1  # no terminal, and no --yes
    open(file, 'w').close()
    code, _, err = inst.command('erase', 'user:u1', '--yes', '--output', file)
    assert code == 1 and 'nothing was erased' in err
    os.unlink(file)
    assert inst.command('erase', 'nobody', '--yes', '--output', file)[0] == 1 and not os.path.exists(file)
    assert known(inst, 'user:u1') == 200
    code, out, err = answer(inst, b'yes\n', 'user:u1', '--output', file)
    assert code == 0, err
    assert known(inst, 'user:u1') == 404 and os.stat(file).st_mode & 0o777 == 0o600
    code, out, err = inst.command('receipt', file)
    assert code == 0 and 'the receipt is good' in out and '1 events' in out, out + err
    text = open(file).read()
    for wrong in (text.replace('"events":1', '"events":0'), text.replace('{"id"', '{ "id"', 2), text[:-20], '{}', ''):
        with open(tmp_path / 'wrong', 'w') as f:
            f.write(wrong)
        code, out, err = inst.command('receipt', str(tmp_path / 'wrong'))
        assert code == 1 and 'good' not in out, wrong
    code, out, err = inst.command('receipt', '--id', json.loads(text)['id'])
    assert code == 0 and json.loads(out)['receipt']['events'] == 1, err
    assert inst.command('receipt', '--id', '0-99999')[0] == 4
    assert inst.command('receipt')[0] == 2 and inst.command('erase')[0] == 2


def test_the_command_waits(inst, tmp_path):
    """Redis does not say that it has forgotten: nobody gets a receipt before it has."""
    with Redis() as redis:
        assert inst.stop() == 0
        with open(inst.config, 'a') as f:
            f.write(f'redis: {{url: "{redis.url}"}}\n')
        inst.start()
        say(inst, 'u1', 'd1')
        assert wait_until(lambda: known(inst, 'user:u1') == 200, 20, 'the profile')
        redis.pause()
        said, file = tmp_path / 'said', tmp_path / 'receipt'
        with open(said, 'w') as f:
            p = subprocess.Popen([WAYMARK, 'erase', 'user:u1', '--yes', '--output', file, '--config', inst.config],
                                 stdin=subprocess.DEVNULL, stderr=f)
        try:
            wait_until(lambda: 'waiting until nothing is left' in said.read_text(), 30, 'the command to wait')
            assert p.poll() is None
            erasure = re.search(r'ordered as (\d+-\d+)', said.read_text()).group(1)
            code, _, err = inst.command('receipt', '--id', erasure)
            assert code == 1 and 'not over yet' in err, err
        finally:
            redis.resume()
        assert p.wait(60) == 0, said.read_text()
        answer = json.loads(file.read_text())
        assert answer['id'] == erasure and 'cache' in answer['receipt']['done']


def test_a_lost_key_of_hashes_is_not_made_anew(inst):
    """With another one the erased would be let in again."""
    assert inst.stop() == 0
    os.unlink(os.path.join(inst.dir, 'data', 'keys', 'erasure.key'))
    inst.start(ready=False)
    assert inst.process.wait(60) == 1
    assert 'no erasure.key' in inst.log()


# --- another state, another log ----------------------------------------------------------------------------------


def backup(inst):
    """After a stop, so that all is on disk."""
    assert inst.stop() == 0
    inst.start()
    code, out, err = inst.command('backup', 'before')
    assert code == 0, out + err
    return os.path.join(inst.dir, 'data', 'backups', 'before')


def with_backup(inst):
    """A backup that has somebody who is erased since."""
    say(inst, 'gone', 'd1', messageId='m1')
    say(inst, 'stays', 'd2')
    assert known(inst, 'user:gone') == known(inst, 'user:stays') == 200
    folder = backup(inst)
    erased(inst, 'user:gone')
    assert inst.stop() == 0
    return folder


def late(inst, user):
    say(inst, user, timestamp='2026-01-02T03:04:05Z')
    return known(inst, 'user:' + user)


def test_restore_says_how_many_came_after(inst):
    folder = with_backup(inst)
    code, out, err = inst.command('restore', folder)
    assert code == 0 and '1 erasures came after the backup; the next start applies them' in out, out + err
    inst.start()
    assert known(inst, 'user:gone') == 404 and known(inst, 'user:stays') == 200
    assert late(inst, 'gone') == 404


def test_adopt_puts_them_on_the_log_again(inst):
    folder = with_backup(inst)
    shutil.rmtree(os.path.join(inst.dir, 'data', 'log'))
    code, out, err = inst.command('restore', folder)
    assert code == 0, out + err
    code, out, err = inst.command('adopt', '--yes')
    assert code == 0 and '1 erasures are on the log again' in out, out + err
    inst.start()
    assert known(inst, 'user:gone') == 404 and known(inst, 'user:stays') == 200
    assert late(inst, 'gone') == 404 and late(inst, 'stays') == 200
    assert inst.stop() == 0
    code, out, err = inst.command('verify')
    assert code == 0 and ' 0 differences' in out, out + err


def test_adopt_after_all_is_lost_but_the_state(inst):
    """The erasure was folded: another command for it changes nothing."""
    with_backup(inst)
    shutil.rmtree(os.path.join(inst.dir, 'data', 'log'))
    code, out, err = inst.command('adopt', '--yes')
    assert code == 0 and '1 erasures are on the log again' in out, out + err
    inst.start()
    assert known(inst, 'user:gone') == 404 and known(inst, 'user:stays') == 200
    assert late(inst, 'gone') == 404
