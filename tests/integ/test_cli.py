"""The commands as a person or a script uses them."""
import csv
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.parse

import pytest
from support.instance import BEACON, PATIENCE, SERVER, TOKEN, WAYMARK, Instance, check_conserved, total, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))


def run(*args, cwd=None, env=None):
    r = subprocess.run([WAYMARK, *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, cwd=cwd,
                       env={**os.environ, **(env or {})})
    return r.returncode, r.stdout, r.stderr


@pytest.fixture(scope='module')
def inst():
    with Instance() as i:
        yield i


# --- words and codes ---------------------------------------------------------------------------------------

def test_usage_errors_are_2_and_help_is_0():
    assert run()[0] == 2
    assert run('frobnicate')[0] == 2
    assert run('profile')[0] == 2
    assert run('profile', 'user:1', '--colour')[0] == 2
    assert run('simulate', '--events', 'many')[0] == 2
    assert run('path', 'user:1', '--limit', '5x')[0] == 2
    assert run('tail', '--limit', '0')[0] == 2
    assert run('import', '--patience', '-1', 'a.ndjson')[0] == 2
    assert run('import', 'a.csv')[0] == 2
    assert run('init', '--config', 'a.yaml')[0] == 2
    for command in ('init', 'serve', 'check', 'import', 'profile', 'path', 'orders', 'scene', 'tail', 'simulate', 'verify'):
        code, out, _ = run(command, '--help')
        assert code == 0 and f'waymark {command}' in out and '--config' in out
    assert re.match(r'waymark \d', run('--version')[1])


def test_serve_without_configuration_says_where_it_looked(tmp_path):
    code, out, err = run('serve', cwd=tmp_path)
    assert code == 1 and './waymark.yaml' in err and 'waymark init' in err
    assert os.listdir(tmp_path) == []


def test_init_then_check_then_init_again(tmp_path):
    shop = str(tmp_path / 'shop')
    assert run('init', shop, '--currency', 'EUR', '--timezone', 'Europe/Berlin')[0] == 0
    assert os.stat(shop + '/waymark.secrets').st_mode & 0o777 == 0o600
    secrets = open(shop + '/waymark.secrets').read()
    config = open(shop + '/waymark.yaml').read()
    for name in ('server_key', 'token'):
        secret = re.search(rf'^{name}: (\S+)$', secrets, re.M)[1]
        assert secret not in config
    assert run('check', '--config', shop + '/waymark.yaml')[0] == 0
    code, _, err = run('init', shop)
    assert code == 1 and 'has a configuration' in err
    assert open(shop + '/waymark.yaml').read() == config


@pytest.mark.parametrize('option, value', [('--currency', 'POUND'), ('--timezone', 'Mars/Olympus')])
def test_init_refuses_what_would_not_start(tmp_path, option, value):
    code, _, err = run('init', str(tmp_path / 'shop'), option, value)
    assert code == 1 and 'nothing was written' in err and 'wrote' not in err
    assert not os.path.exists(tmp_path / 'shop')


def test_a_second_serve_on_the_same_data_refuses(inst):
    r = subprocess.run([WAYMARK, 'serve', '--config', inst.config], capture_output=True, text=True, timeout=60,
                       stdin=subprocess.DEVNULL)
    assert r.returncode == 1 and 'in use' in r.stderr, r.stderr


def test_verify_of_a_running_instance_is_refused(inst):
    code, out, err = inst.command('verify')
    assert code == 1 and 'in use' in err, out + err


def test_serve_prints_what_to_do_next(inst):
    wait_until(lambda: 'curl -H' in inst.log(), 10, 'the next steps')
    assert BEACON in inst.log() and SERVER not in inst.log() and TOKEN not in inst.log()


# --- look-ups ------------------------------------------------------------------------------------------------

def test_lookups_for_people_and_programs(inst):
    inst.post('/v1/batch', [{'type': 'page', 'userId': 'kim', 'messageId': 'c1', 'properties': {'title': 'A\x1b[31mB\x9b31mC é'}},
                            {'type': 'track', 'event': 'Product Viewed', 'userId': 'kim', 'messageId': 'c2',
                             'properties': {'name': 'Walker', 'category': 'Shoes'}}])
    inst.post('/v1/orders', {'orderId': 'cli-1', 'status': 'paid', 'userId': 'kim', 'total': 12.5,
                             'timestamp': time.time() + 1, 'items': [
        {'sku': 'w', 'name': 'Walker', 'price': 12.5}]}, SERVER)
    inst.drain()
    code, out, _ = inst.command('profile', 'user:kim')
    assert code == 0 and out.startswith('user:kim') and re.search(r'orders +1\n', out) and re.search(r'spent +12.5\n', out)
    code, out, _ = inst.command('path', 'user:kim')
    assert code == 0 and 'session 1' in out and 'Product Viewed' in out and 'B\\x9b31mC é' in out and '\x1b' not in out
    code, out, _ = inst.command('path', 'user:kim', '--json', '--newest', '--limit', '1')
    assert code == 0 and len(out.splitlines()) == 1 and json.loads(out)['type'] == 'order'
    code, out, _ = inst.command('orders', 'user:kim', '--json')
    assert code == 0 and json.loads(out)['orders'][0]['total'] == 12.5
    code, out, _ = inst.command('scene', 'cli-1')
    assert code == 0 and 'cli-1  paid' in out and 'Walker' in out and 'user:kim' in out
    for command in (('profile', 'user:nobody'), ('path', 'anon:nobody'), ('scene', 'nothing')):
        code, out, err = inst.command(*command)
        assert code == 4 and not out and err
    assert inst.command('profile', 'kim')[0] == 1
    assert inst.command('profile', 'user:kim', env={'WAYMARK_TOKEN': 'wrong'})[0] == 1


def test_tail_shows_events_and_refusals_within_a_second(inst):
    for more, body, expected in (([], {'type': 'page', 'userId': 'tail', 'messageId': 't1'}, 'user:tail'),
                                 (['--bad'], {'type': 'page'}, 'id_missing')):
        p = subprocess.Popen([WAYMARK, 'tail', '--limit', '1', '--config', inst.config, *more], stdout=subprocess.PIPE,
                             text=True, stdin=subprocess.DEVNULL)
        try:
            # Tail begins at the present, so the event is sent until it has been seen.
            wait_until(lambda: inst.post('/v1/batch', [body]) and p.poll() is not None, 20, 'tail to see it')
            assert p.returncode == 0 and expected in p.stdout.read()
        finally:
            p.kill()
            p.wait()
            p.stdout.close()


def test_tail_goes_on_where_it_was_in_every_partition(tmp_path):
    position, asked = ','.join(f'{p}:{10**12 + p}' for p in range(1024)), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get('after'))
            body = json.dumps({'events': [{'n': len(asked)}], 'position': position}).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    os.mkdir(tmp_path / 'shop')
    inst = Instance(folder=str(tmp_path / 'shop'))
    with http.server.HTTPServer(('127.0.0.1', inst.pport), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
        thread.start()
        try:
            code, out, err = inst.command('tail', '--json', '--limit', '2')
        finally:
            server.shutdown()
            thread.join()
    assert (code, out) == (0, '{"n": 1}\n{"n": 2}\n'), (out, err)
    assert asked == [None, [position]]


# --- import ----------------------------------------------------------------------------------------------------

MAPPING = '''format: csv
to: /v1/orders
group_by: Invoice
cases:
  - when: {column: Invoice, starts: C}
    event: {orderId: "{Invoice}", userId: "{Customer}", messageId: "i-{Invoice}", status: refunded,
            refund: {id: "{Invoice}", items: [{sku: "{Code}", quantity: "{Count|negate}", price: "{Price|number}"}]}}
  - event: {orderId: "{Invoice}", userId: "{Customer|strip:.0}", messageId: "i-{Invoice}", status: created,
            timestamp: "{Day}T10:00:00Z", items: [{sku: "{Code}", quantity: "{Count|number}", price: "{Price|number}"}]}
'''
ROWS = [['Invoice', 'Code', 'Count', 'Day', 'Price', 'Customer'],
        ['1', 'a', '2', '2026-01-02', '1.255', '77.0'], ['1', 'b, "c"', '1', '2026-01-02', '3', '77.0'],
        ['2', 'a', 'two', '2026-01-02', '1', '78.0'], ['3', 'a', '1', '2026-13-02', '1', '78.0'],
        ['C4', 'a', '-2', '2026-01-02', '1.255', '77'], ['5', 'a', '1', '2026-01-02', '4', '']]


@pytest.fixture
def files(tmp_path):
    (tmp_path / 'map.yaml').write_text(MAPPING)
    with open(tmp_path / 'rows.csv', 'w', newline='') as f:
        csv.writer(f).writerows(ROWS)
        f.write('6,too,short\n')
    return tmp_path


def test_import_counts_every_row_and_is_exact(inst, files):
    before = inst.metrics()
    skipped = files / 'skipped'
    code, out, err = inst.command('import', '--map', str(files / 'map.yaml'), '--skipped', str(skipped),
                                  str(files / 'rows.csv'))
    assert code == 0, err
    assert '7 rows read, 4 events made, 3 accepted, 3 skipped' in out
    for reason in ('number_invalid', 'timestamp_invalid', 'wrong_number_of_columns'):
        assert re.search(rf'{reason} +1 ', out), out
    assert len(skipped.read_text().splitlines()) == 3
    assert '100%' in err
    m = inst.drain()
    assert total(m, 'waymark_events_accepted_total') - total(before, 'waymark_events_accepted_total') == 3
    facts = inst.profile('user:77')[1]['facts']
    assert (facts['orders'], facts['credit_notes'], float(facts['gross']), float(facts['refunded'])) == (1, 1, 5.51, 2.51)
    assert [i['sku'] for i in inst.profile('user:77', '/orders')[1]['orders'][0]['items']] == ['a', 'b, "c"']
    assert inst.profile('anon:order:5')[0] == 200

    code, out, err = inst.command('import', '--map', str(files / 'map.yaml'), str(files / 'rows.csv'))
    assert code == 0 and 'imported whole before' in err and '3 accepted, 3 skipped' in out
    code, out, err = inst.command('import', '--again', '--map', str(files / 'map.yaml'), str(files / 'rows.csv'))
    assert code == 0 and '3 accepted' in out
    m = inst.drain()
    assert inst.profile('user:77')[1]['facts'] == facts
    check_conserved(m)


def test_lines_without_a_message_id_count_once(inst, tmp_path):
    line = json.dumps({'type': 'page', 'userId': 'noid', 'properties': {'title': 'x'}})
    path = tmp_path / 'noid.ndjson'
    path.write_text(f'{line}\n{line}\n{{}}\n')  # the same twice is two visits of a page
    for more in ([], ['--again']):
        code, out, err = inst.command('import', *more, str(path))
        assert code == 0 and '2 accepted, 1 skipped' in out, out + err
        inst.drain()
        assert inst.profile('user:noid')[1]['facts']['pages'] == 2


def test_import_goes_on_where_it_was_cut(inst, tmp_path):
    lines = [{'type': 'page', 'userId': 'cut', 'messageId': f'cut-{n}', 'properties': {'pad': 'x' * 500}}
             for n in range(60000)]
    path = tmp_path / 'many.ndjson'
    path.write_text('\n'.join(map(json.dumps, lines)))
    p = subprocess.Popen([WAYMARK, 'import', str(path), '--config', inst.config], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    folder = os.path.join(inst.dir, 'data', 'import')

    def progress():
        texts = [open(os.path.join(folder, f)).read() for f in os.listdir(folder) if not f.endswith('.new')]
        return any(0 < int(t.split()[1]) < 60000 and t.split()[9] == '0' for t in texts) or p.poll() is not None
    wait_until(progress, 30, 'some progress')
    assert p.poll() is None, 'the import was over before it could be cut'
    p.send_signal(signal.SIGKILL)
    p.wait()
    p.stderr.close()
    code, out, err = inst.command('import', str(path))
    assert code == 0 and 'going on after' in err, err
    assert '60000 accepted, 0 skipped' in out
    inst.drain()
    assert inst.profile('user:cut')[1]['facts']['pages'] == 60000


@pytest.mark.parametrize('text, line', [
    ('format: csv\nto: /v1/orders\nevent: {orderId: "{Nope}"}\n', 3), ('format: xml\nto: /v1/orders\nevent: {}\n', 1),
    ('to: /v1/orders\nevents: {}\n', 2), ('to: /v1/orders\nevent: {a: [1, 2]}\n', 2), ('to: [\n', 2), ('to: /v1/batch\nevent: {type: page}\n', 2), ('', 1),
    ('to: /v1/orders\nevent: {a: [{b: [1]}]}\n', 2), ('to: /v1/orders\nevent: {a: "{Code|upper}"}\n', 2),
    ('to: /v1/orders\ncases:\n  - when: {column: Nope, starts: C}\n    event: {a: b}\n', 3),
    ('to: /v1/orders\ncases:\n  - when: {column: Code}\n    event: {a: b}\n', 3),
    ('to: /v1/orders\ncases:\n  - {when: {column: Code, starts: C}}\n', 3),
    ('to: /v1/orders\nevent: &e\n  a: *e\n', 2)])
def test_a_bad_mapping_is_refused_with_its_place(inst, files, text, line):
    (files / 'bad.yaml').write_text(text)
    code, out, err = inst.command('import', '--map', str(files / 'bad.yaml'), str(files / 'rows.csv'))
    assert code == 1 and f'bad.yaml:{line}:' in err, err


def import_csv(inst, tmp_path, mapping, rows):
    (tmp_path / 'm.yaml').write_text(mapping)
    with open(tmp_path / 'r.csv', 'w', newline='') as f:
        csv.writer(f).writerows(rows)
    return inst.command('import', '--map', str(tmp_path / 'm.yaml'), str(tmp_path / 'r.csv'))


def test_import_of_groups_that_no_case_fits(inst, tmp_path):
    code, out, err = import_csv(inst, tmp_path, '''to: /v1/orders
group_by: Invoice
cases:
  - when: {column: Invoice, starts: C}
    event: {orderId: "{Invoice}", status: created, items: [{sku: "{Code}"}]}
''', [['Invoice', 'Code'], ['X1', 'a'], ['X1', 'b'], ['C1', 'a'], ['X1', 'c']])
    assert code == 0, (code, err)
    assert '4 rows read, 1 events made, 1 accepted, 3 skipped' in out and re.search('no_case_fits +3 ', out)


def test_import_takes_a_group_from_its_first_good_row_on(inst, tmp_path):
    code, out, err = import_csv(inst, tmp_path, '''to: /v1/orders
group_by: Invoice
event: {orderId: "gb-{Invoice}", status: created, total: "{Total|number}", items: [{sku: "{Code}"}]}
''', [['Invoice', 'Total', 'Code'], ['1', 'much', 'a'], ['1', '5', 'b'], ['2', 'much', 'a'], ['1', 'no matter', 'c']])
    assert code == 0, (code, err)
    assert '4 rows read, 1 events made, 1 accepted, 2 skipped' in out and re.search('number_invalid +2 ', out)
    inst.drain()
    order = inst.profile('anon:order:gb-1', '/orders')[1]['orders'][0]
    assert order['total'] == 5 and [i['sku'] for i in order['items']] == ['b', 'c']
    assert inst.profile('anon:order:gb-2')[0] == 404


def test_import_skips_what_is_too_large_and_goes_on(inst, tmp_path):
    rows = [['Invoice', 'Text']] + [['1', 'x' * 300000] for _ in range(5)] + [['2', 'y'], ['3', 'z' * 2000000]]
    code, out, err = import_csv(inst, tmp_path, '''to: /v1/orders
group_by: Invoice
event: {orderId: "big-{Invoice}", status: created, items: [{sku: s, note: "{Text|strip:no}"}]}
''', rows)
    assert code == 0, (code, err)
    assert re.search('event_too_large +3 ', out), out
    lines = ['{"type":"page","userId":"deep"}', '[' * 1000 + ']' * 1000, '{"a":' * 40 + '1' + '}' * 40,
             '{"type":"page","userId":"deep","properties":{"a":[' + '0,' * 1500000 + '0]}}', '7', '\r',
             '{"type":"page","userId":"deep"}\r']
    (tmp_path / 'deep.ndjson').write_text('\n'.join(lines))
    code, out, err = inst.command('import', str(tmp_path / 'deep.ndjson'))
    assert code == 0, (code, err)
    assert '6 rows read, 2 events made, 2 accepted, 4 skipped' in out, out
    assert all(re.search(f'{reason} +{n} ', out) for reason, n in (('not_object', 2), ('too_deep', 1), ('too_large', 1))), out


def test_import_of_what_is_no_file(inst, tmp_path):
    assert inst.command('import', str(tmp_path))[0] == 1
    assert inst.command('import', str(tmp_path / 'none.ndjson'))[0] == 1


def test_import_with_a_wrong_key_says_so(inst, tmp_path):
    (tmp_path / 'a.ndjson').write_text('{"type":"page","userId":"a"}\n')
    code, _, err = inst.command('import', str(tmp_path / 'a.ndjson'), env={'WAYMARK_SERVER_KEY': 'wrong'})
    assert code == 1 and '401: there is no such write key' in err


def test_import_without_an_instance_ends_with_advice(tmp_path):
    i = Instance()
    try:
        (tmp_path / 'a.ndjson').write_text('{"type":"page","userId":"a"}\n')
        code, _, err = i.command('import', '--patience', '1', str(tmp_path / 'a.ndjson'))
        assert code == 1 and 'start the same import again later' in err and 'is \'waymark serve\' running?' in err
        began = time.monotonic()
        code, out, err = i.command('simulate', '--events', '3000', '--patience', '1')
        assert code == 1 and 'never acked 3000' in out and 'is \'waymark serve\' running?' in err
        assert time.monotonic() - began < 30 * PATIENCE, 'an outage is waited out once, not for each request'
        for command in (['tail'], ['profile', 'user:1'], ['path', 'user:1'], ['scene', '1']):
            code, out, err = i.command(*command)
            assert code == 1 and 'is \'waymark serve\' running?' in err
        os.remove(os.path.join(i.dir, 'waymark.secrets'))
        code, _, err = i.command('tail')
        assert code == 1 and 'WAYMARK_TOKEN' in err and 'waymark.secrets' in err
    finally:
        i.__exit__()


# --- simulate and verify ---------------------------------------------------------------------------------------

def test_simulate_is_seeded_and_conserved():
    facts = []
    for partitions in (1, 5):
        with Instance(partitions=partitions) as i:
            code, out, err = i.command('simulate', '--seed', '7', '--events', '3000', '--people', '60', '--start',
                                       '2026-10-01T00:00:00Z')
            assert code == 0 and re.search(r'sent +3000 ', out) and re.search(r'accepted +3000 ', out), out + err
            m = i.drain()
            check_conserved(m)
            assert total(m, 'waymark_events_refused_total') == 0
            people = [i.profile(f'user:u{s}-{n}') for s in range(4) for n in range(15)]
            facts.append([b['facts'] for s, b in people if s == 200 and b['facts']['last_seen']])
            assert i.stop() == 0
            code, out, err = i.command('verify')
            assert code == 0 and ': 0 differences' in out
    # Clocks that are wrong are corrected by the time of sending, which differs by run: compare what does not.
    assert len(facts[0]) == len(facts[1]) > 20
    same = ('events', 'pages', 'products_viewed', 'products_added', 'orders', 'gross', 'refunded')
    for a, b in zip(*facts):
        assert [a[k] for k in same] == [b[k] for k in same]
