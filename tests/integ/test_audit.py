"""The audit log from outside: what is recorded, what is not, where it stands, and what happens when it cannot be
written."""
import json
import os
import signal
import subprocess
import threading

import pytest

from support.instance import SANITIZED, WAYMARK, Instance, sha256, wait_until
from support.talk import page, talking

CRM = {'Authorization': 'Bearer crm secret'}
SITE = {'Authorization': 'Bearer site secret'}
OPS = {'Authorization': 'Bearer ops secret'}
LINES = ''.join(f'- {{name: {n}, sha256: {sha256(n + " secret")}, scopes: [{s}]}}\n'
                for n, s in (('crm', 'lookup, pii'), ('site', 'lookup'), ('ops', 'admin')))


@pytest.fixture
def talk(tmp_path):
    (tmp_path / 'tokens.yaml').write_text(LINES)
    with talking(Instance(more_profiler=f'  tokens_file: {tmp_path}/tokens.yaml\n  audit_bytes: 64KiB\n')) as t:
        t.server(page(0, userId='anna@example.com'), page(1, userId='bo'))
        t.inst.drain()
        yield t


def shop_of(talk):
    return talk.inst


def data(shop, name='audit.log'):
    return os.path.join(shop.dir, 'data', name)


def records(shop, **filters):
    code, out, err = shop.command('audit', '--json', *(x for k, v in filters.items() for x in ('--' + k, v)))
    assert (code, err) == (0, ''), err
    return [json.loads(line) for line in out.splitlines()]


def wait_records(shop, n, **filters):
    return wait_until(lambda: (r := records(shop, **filters)) and len(r) >= n and r, what=f'{n} records')


def read(shop, path, who, body=None):
    return shop.request('p', 'POST' if body else 'GET', path, body, who)[0]


def test_who_sees_personal_values_is_recorded(talk):
    shop = shop_of(talk)
    asked = [('/v1/profiles/{id}', '/v1/profiles/user:bo', None, 200, 1),
             ('/v1/profiles/{id}/path', '/v1/profiles/user:bo/path', None, 200, 1),
             ('/v1/profiles/{id}/orders', '/v1/profiles/user:bo/orders', None, 200, 1),
             ('/v1/profiles/{id}', '/v1/profiles/user:nobody', None, 404, 0),
             ('/v1/orders/{id}/scene', '/v1/orders/none/scene', None, 404, 0),
             ('/v1/profiles:lookup', '/v1/profiles:lookup', '{"ids":["user:bo","user:nobody","anon:x"]}', 200, 1)]
    for who in (SITE, CRM):
        for _, path, body, status, _ in asked:
            assert read(shop, path, who, body) == status
    for path in ('/v1/profiles/bad', '/v1/profiles/user:bo?as_of=x', '/v1/profiles/user:bo/path?limit=0'):
        assert read(shop, path, CRM) == 400  # nothing was told
    assert read(shop, '/v1/tail', CRM) == 403
    got = wait_records(shop, len(asked))
    assert len(got) == len(asked) and [r['number'] for r in got] == list(range(1, len(asked) + 1))
    for r, (route, _, body, status, count) in zip(got, asked):
        assert (r['who'], r['from'], r['kind']) == ('crm', '127.0.0.1', 'read')
        assert (r['route'], r['status'], r['count']) == (route, status, count)
        assert r['method'] == ('POST' if body else 'GET') and 'forwarded' not in r
    assert [len(r['targets']) for r in got] == [1, 1, 1, 1, 1, 3]
    bo = got[0]['targets'][0]
    assert got[1]['targets'] == got[2]['targets'] == [bo] and got[5]['targets'][0] == bo or bo in got[5]['targets']
    assert got[3]['targets'] != [bo]


def test_ids_and_secrets_stand_nowhere(talk):
    shop = shop_of(talk)
    assert read(shop, '/v1/profiles/user:anna%40example.com', CRM) == 200
    assert read(shop, '/v1/profiles:lookup', CRM, '{"ids":["user:anna@example.com"]}') == 200
    wait_records(shop, 2)
    for name in os.listdir(os.path.join(shop.dir, 'data')):
        path = data(shop, name)
        if name.startswith('audit') and os.path.isfile(path):
            assert os.stat(path).st_mode & 0o777 == 0o600
            text = open(path).read()
            assert 'anna' not in text and 'crm secret' not in text
    for secret in ('crm secret', 'site secret', 'ops secret'):
        assert secret not in shop.log()


def test_the_command_finds_a_person(talk):
    shop = shop_of(talk)
    for path in ('/v1/profiles/user:bo', '/v1/profiles/user:bo/path', '/v1/profiles/user:anna%40example.com'):
        assert read(shop, path, CRM) == 200
    wait_records(shop, 3)
    assert len(records(shop, profile='user:bo')) == 2
    assert len(records(shop, profile='user:anna@example.com')) == 1
    assert records(shop, profile='user:nobody') == []
    assert records(shop, who='site') == [] and len(records(shop, who='crm')) == 3
    assert records(shop, since='2100-01-01T00:00:00Z') == [] and len(records(shop, since='1h')) == 3
    code, out, _ = shop.command('audit')
    assert code == 0 and len(out.splitlines()) == 3 and 'crm from 127.0.0.1' in out
    assert shop.command('audit', '--since', 'yesterday')[0] == 2
    with open(data(shop)) as f:
        lines = f.readlines()
    with open(data(shop), 'w') as f:
        f.writelines(lines[:1] + ['what\n'] + lines[2:])
    code, out, err = shop.command('audit')
    assert (code, len(out.splitlines())) == (0, 2) and '1 lines are no records' in err
    assert 'records 2 to 2 are missing' in err


def test_tail_is_recorded_whoever_reads_it(talk):
    shop = shop_of(talk)
    status, _, body = shop.request('p', 'GET', '/v1/tail', None, OPS)  # nothing in it
    before = json.loads(body)
    assert (status, before['events']) == (200, [])
    talk.server(page(2, userId='bo'), page(3, userId='bo'))
    shop.drain()
    assert read(shop, f'/v1/tail?after={before["position"]}', OPS) == 200
    got = wait_records(shop, 1)
    assert [(r['who'], r['route'], r['count']) for r in got] == [('ops', '/v1/tail', 2)]


def change(shop, method, path, body, who=OPS):
    status, _, answer = shop.request('p', method, path, json.dumps(body), who)
    return status, json.loads(answer)


def test_a_change_is_on_disk_and_on_the_log_when_it_is_answered(talk):
    shop = shop_of(talk)
    link = {'anonymous_id': 'd1', 'user_id': 'bo'}
    assert change(shop, 'POST', '/v1/identity:unlink', link, CRM)[0] == 403
    for path, body in (('/v1/identity:unlink', {'user_id': 'bo'}), ('/v1/identity:unlink', 7)):
        assert change(shop, 'POST', path, body)[0] == 400
    assert not os.path.getsize(data(shop))
    before = shop.metrics()['waymark_audit_records_total']['kind="identity"']
    status, answer = change(shop, 'POST', '/v1/identity:unlink', link)
    assert status == 200, answer
    shop.kill()  # what was answered stands there, whatever comes
    unlinked, = records(shop)
    assert (unlinked['kind'], unlinked['who'], unlinked['route']) == ('identity', 'ops', '/v1/identity:unlink')
    assert len(unlinked['targets']) == 2
    assert records(shop, profile='anon:d1') == records(shop, profile='user:bo') == [unlinked]
    shop.start()
    assert shop.metrics()['waymark_audit_records_total']['kind="identity"'] == before
    assert change(shop, 'PUT', '/v1/profiles/user:bo/traits', {'traits': {'nickname': 'Bo'}})[0] in (200, 400)
    shop.drain()


def test_nothing_is_changed_that_cannot_be_recorded(talk):
    shop = shop_of(talk)
    os.rename(data(shop), data(shop, 'kept'))
    os.mkdir(data(shop))
    assert read(shop, '/v1/profiles/user:bo', CRM) == 200  # it waits to be written, which fails
    wait_until(lambda: shop.metrics()['waymark_audit_failed_total']['reason="file"'] > 0, what='the file to fail')
    end = shop.metrics()['waymark_log_end_offset']
    status, answer = change(shop, 'POST', '/v1/identity:unlink', {'anonymous_id': 'd1', 'user_id': 'bo'})
    assert (status, answer['code']) == (503, 'unavailable') and 'audit' in answer['message']
    assert change(shop, 'PUT', '/v1/profiles/user:bo/traits', {'traits': {'gender': 'f'}})[0] == 503
    assert shop.metrics()['waymark_log_end_offset'] == end
    os.rmdir(data(shop))
    wait_until(lambda: change(shop, 'POST', '/v1/identity:unlink', {'anonymous_id': 'd1', 'user_id': 'bo'})[0] == 200,
               what='changes to be made again')
    shop.drain()


def test_files_are_closed_when_full_and_records_survive_kill9(talk):
    shop = shop_of(talk)
    ids = json.dumps({'ids': [f'user:{i}' for i in range(300)]})
    for _ in range(20):
        assert read(shop, '/v1/profiles:lookup', CRM, ids) == 200
    wait_records(shop, 20)
    shop.kill()
    assert os.path.exists(data(shop, 'audit.log.000001'))
    assert [r['number'] for r in records(shop)] == list(range(1, 21))
    shop.start()
    assert read(shop, '/v1/profiles/user:bo', CRM) == 200
    got = wait_records(shop, 21)
    assert [r['number'] for r in got] == list(range(1, 22))
    assert shop.stop() == 0
    shop.start()
    assert len(records(shop)) == 21


def test_without_an_audit_log_nobody_sees_personal_values(talk):
    """The data folder's audit.log cannot be written: a folder stands in its place."""
    shop = shop_of(talk)
    assert read(shop, '/v1/profiles/user:bo', CRM) == 200
    wait_records(shop, 1)
    os.rename(data(shop), data(shop, 'kept'))
    os.mkdir(data(shop))
    ids = json.dumps({'ids': [f'user:{i}' for i in range(1000)]})
    wait_until(lambda: read(shop, '/v1/profiles:lookup', CRM, ids) == 503, 120, 'the queue to be full')
    assert read(shop, '/v1/profiles/user:bo', SITE) == 200
    m = shop.metrics()
    assert m['waymark_audit_failed_total']['reason="refused"'] > 0 and m['waymark_audit_failed_total']['reason="file"'] > 0
    assert m['waymark_audit_waiting'][''] > 0
    os.rmdir(data(shop))
    wait_until(lambda: read(shop, '/v1/profiles:lookup', CRM, ids) == 200, 60, 'reads to be answered again')
    wait_until(lambda: shop.metrics()['waymark_audit_waiting'][''] == 0, 120, 'the queue to be empty')


def test_many_at_once_are_all_recorded(talk):
    shop = shop_of(talk)
    each, threads = 40 if SANITIZED else 150, 4

    def run():
        for _ in range(each):
            assert read(shop, '/v1/profiles/user:bo', CRM) == 200

    all_threads = [threading.Thread(target=run) for _ in range(threads)]
    for t in all_threads:
        t.start()
    for t in all_threads:
        t.join()
    got = wait_records(shop, each * threads)
    assert [r['number'] for r in got] == list(range(1, each * threads + 1))


# --- tokens -------------------------------------------------------------------------------------------------------


def test_tokens_change_without_a_restart(talk, tmp_path):
    shop, file = shop_of(talk), tmp_path / 'tokens.yaml'
    pid = shop.process.pid
    r = subprocess.run([WAYMARK, 'token', 'fresh', '--scopes', 'lookup,admin', '--file', str(file)], capture_output=True,
                       text=True, check=True)
    secret, line = r.stdout.splitlines()
    assert line in file.read_text() and secret not in file.read_text()
    fresh = {'Authorization': f'Bearer {secret}'}
    wait_until(lambda: read(shop, '/v1/profiles/user:bo', fresh) == 200, 20, 'the token to count')
    assert read(shop, '/v1/profiles/user:bo', CRM) == 200
    file.write_text(LINES + '- {name: broken')
    wait_until(lambda: f'{file}:' in shop.log() and 'has a mistake' in shop.log(), 20, 'the mistake to be said')
    assert read(shop, '/v1/profiles/user:bo', fresh) == 200  # the tokens of before
    assert shop.metrics()['waymark_tokens_file_good'][''] == 0
    code, _, err = shop.command('check')
    assert code == 1 and f'{file}:' in err
    file.write_text(LINES)
    shop.process.send_signal(signal.SIGHUP)
    wait_until(lambda: read(shop, '/v1/profiles/user:bo', fresh) == 401, 20, 'the token to be gone')
    assert read(shop, '/v1/profiles/user:bo', CRM) == 200
    assert shop.command('check')[0] == 0
    assert shop.process.poll() is None and shop.process.pid == pid
    assert secret not in shop.log()


def test_a_bad_file_of_tokens_refuses_the_start(tmp_path):
    (tmp_path / 'tokens.yaml').write_text('- {name: x, sha256: y, scopes: [z]}\n')
    shop = Instance(more_profiler=f'  tokens_file: {tmp_path}/tokens.yaml\n')
    try:
        shop.start(ready=False)
        assert shop.process.wait(30) == 1
        assert f'{tmp_path}/tokens.yaml:1:' in shop.log()
    finally:
        shop.__exit__()


def test_the_command_that_makes_tokens(tmp_path):
    def token(*args):
        r = subprocess.run([WAYMARK, 'token', *args], capture_output=True, text=True, cwd=tmp_path)
        return r.returncode, r.stdout, r.stderr

    code, out, err = token('crm', '--scopes', 'pii,lookup')
    secret, line = out.splitlines()
    assert (code, err) == (0, '')
    assert line == f'- {{name: crm, sha256: {sha256(secret)}, scopes: [lookup, pii]}}'
    assert token('crm')[0] == 2 and token('crm', '--scopes', 'everything')[0] == 2 and token('--scopes', 'pii')[0] == 2
    assert token('a b', '--scopes', 'pii')[0] == 2 and token('x' * 65, '--scopes', 'pii')[0] == 2
    file = tmp_path / 'f.yaml'
    assert token('one', '--scopes', 'admin', '--file', 'f.yaml')[0] == 0
    assert os.stat(file).st_mode & 0o777 == 0o600
    before = file.read_text()
    code, out, err = token('one', '--scopes', 'pii', '--file', 'f.yaml')
    assert (code, out) == (1, '') and 'has the name' in err and file.read_text() == before
    os.chmod(file, 0o640)
    file.write_text(before.rstrip('\n'))
    assert token('two', '--scopes', 'pii', '--file', 'f.yaml')[0] == 0
    assert file.read_text().startswith(before) and file.read_text().count('\n') == 2
    assert os.stat(file).st_mode & 0o777 == 0o640
    file.write_text('[]\n')
    assert token('three', '--scopes', 'pii', '--file', 'f.yaml')[0] == 0
    assert os.listdir(tmp_path) == ['f.yaml']
    running = [subprocess.Popen([WAYMARK, 'token', f't{i}', '--scopes', 'pii', '--file', 'f.yaml'], cwd=tmp_path,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(8)]
    assert [p.wait(60) for p in running] == [0] * 8
    assert file.read_text().count('\n') == 9
