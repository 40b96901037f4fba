"""The configuration as the reference words it: `waymark check`, and settings that change what an instance does."""
import hashlib
import os
import re
import subprocess

import pytest

from support.instance import SERVER, WAYMARK, Instance
from support.talk import GAP, Talk, column, fresh, order, page

HEX = hashlib.sha256(b'x').hexdigest()
SAMPLE = f'''data: ./waymark-data
event_log: embedded
partitions: 4
currency: GBP
timezone: UTC
blocked_ids: [null, undefined]
collector:
  listen: 127.0.0.1:8080
  ack: durable
  trusted_proxies: 0
  require_user_hash: false
  keys:
    - {{name: web, source: web, kind: beacon, key: wk_2b7e}}
    - {{name: backend, source: backend, kind: server, sha256: {HEX}}}
profiler:
  listen: 127.0.0.1:8081
  session_gap: 30m
  orders_count_from: created
  identity:
    link_by_order: false
    max_users_per_device: 20
    max_devices_per_user: 1000
  tokens:
    - {{name: site, sha256: {HEX}, scopes: [lookup]}}
'''


def check(tmp_path, text, *args):
    with open(tmp_path / 'waymark.yaml', 'w') as f:
        f.write(text)
    r = subprocess.run([WAYMARK, 'check', *args], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    return r.returncode, r.stdout + r.stderr


def places(words):
    return [(int(l), int(c)) for l, c in re.findall(r'waymark\.yaml:(\d+):(\d+):', words)]


def test_the_example_is_good(tmp_path):
    assert check(tmp_path, SAMPLE)[0] == 0, check(tmp_path, SAMPLE)[1]


@pytest.mark.parametrize('old, new, good',
                         [('session_gap: 30m', 'session_gap: 1800s', True),
                          ('session_gap: 30m', 'session_gap: 500ms', False),
                          ('session_gap: 30m', 'session_gap: 30', False),
                          ('session_gap: 30m', 'session_gap: -30m', False),
                          ('session_gap: 30m', 'session_gap: 30 m', False),
                          ('session_gap: 30m', 'session_gap: [30m]', False),
                          ('session_gap: 30m', 'session_gap: 400d', False),
                          ('session_gap: 30m', 'session_gap: 99999999999999999999d', False),
                          ('partitions: 4', 'partitions: 0', False), ('partitions: 4', 'partitions: four', False),
                          ('partitions: 4', 'partitions: 4.5', False),
                          ('partitions: 4', 'partitions: 99999999999999999999', False),
                          ('partitions: 4', 'partitions: 1', True), ('currency: GBP', 'currency: pounds', False),
                          ('currency: GBP', 'currency: gbp', None), ('currency: GBP', 'currency: JPY', True),
                          ('timezone: UTC', 'timezone: Europe/Berlin', True),
                          ('timezone: UTC', 'timezone: Mars/Olympus', False),
                          ('timezone: UTC', 'timezone: ../../etc/passwd', False),
                          ('event_log: embedded', 'event_log: files', False),
                          ('listen: 127.0.0.1:8080', 'listen: 127.0.0.1:0', True),
                          ('listen: 127.0.0.1:8080', 'listen: 127.0.0.1:65536', False),
                          ('listen: 127.0.0.1:8080', 'listen: 8080', False), ('ack: durable', 'ack: enqueued', True),
                          ('ack: durable', 'ack: maybe', False), ('trusted_proxies: 0', 'trusted_proxies: -1', False),
                          ('require_user_hash: false', 'require_user_hash: perhaps', False),
                          ('orders_count_from: created', 'orders_count_from: paid', True),
                          ('orders_count_from: created', 'orders_count_from: shipped', False),
                          ('scopes: [lookup]', 'scopes: [lookup, pii, audience, export, admin]', True),
                          ('scopes: [lookup]', 'scopes: [look]', False), ('scopes: [lookup]', 'scopes: []', False),
                          ('key: wk_2b7e', 'sha256: ' + HEX, False),
                          (f'sha256: {HEX}}}\nprofiler', 'sha256: 12ab}\nprofiler', False),
                          ('kind: server', 'kind: butler', False), ('source: backend', 'source: web', False),
                          ('name: backend', 'name: web', False), ('link_by_order: false', 'link_by_order: 7', False),
                          ('max_users_per_device: 20', 'max_users_per_device: 0', False),
                          ('blocked_ids: [null, undefined]', 'blocked_ids: []', True),
                          ('blocked_ids: [null, undefined]', 'blocked_ids: null', None),
                          ('data: ./waymark-data', 'dato: ./waymark-data', False),
                          ('  ack: durable', '  ack: durable\n  ack: durable', False),
                          ('profiler:', 'profiler: 7\nx:', False), ('key: wk_2b7e', "key: ''", False),
                          ('key: wk_2b7e', 'key: wk_2b7e, origins: [https://shop.example]', True),
                          (', source: web', '', True), ('event_log: embedded', 'event_log: kafka', False),
                          ('event_log: embedded', 'event_log: kafka\nkafka: {bootstrap.servers: x}', True),
                          ('partitions: 4', 'partitions: &a 4', None), ])
def test_one_setting(tmp_path, old, new, good):
    assert SAMPLE.count(old) == 1 or old == 'profiler:'
    code, words = check(tmp_path, SAMPLE.replace(old, new, 1))
    if good is not None:
        assert (code == 0) == good, words
    if code != 0:
        line = next(
            n for n, (a, b) in enumerate(zip(SAMPLE.replace(old, new, 1).splitlines(), (SAMPLE + '\n').splitlines()), 1)
            if a != b)
        assert code == 1 and any(line <= l <= line + 1 for l, _ in places(words)), words


def test_all_mistakes_in_one_run(tmp_path):
    text = SAMPLE
    for old, new in (('partitions: 4', 'partitions: many'), ('ack: durable', 'ack: soon'), ('session_gap', 'sesion_gap'),
                     ('kind: server', 'kind: butler'), ('[lookup]', '[look]'), ('currency: GBP', 'currency: pounds')):
        text = text.replace(old, new)
    code, words = check(tmp_path, text)
    lines = text.splitlines()
    want = {
        n
        for n, l in enumerate(lines, 1) if any(w in l for w in ('many', 'soon', 'sesion', 'butler', '[look]', 'pounds'))
    }
    assert code == 1 and want <= {l for l, _ in places(words)}, words
    line = next(n for n, l in enumerate(lines, 1) if 'soon' in l)
    assert (line, lines[line - 1].index('soon') + 1) in places(words)


def test_check_is_found_by_config_from_elsewhere(tmp_path):
    os.mkdir(tmp_path / 'a')
    with open(tmp_path / 'a' / 'shop.yaml', 'w') as f:
        f.write(SAMPLE)
    r = subprocess.run([WAYMARK, 'check', '--config', 'a/shop.yaml'], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 0
    r = subprocess.run([WAYMARK, 'check', '--config', 'a/nothing.yaml'], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 1 and 'nothing.yaml' in r.stderr


@pytest.mark.parametrize('text', [
    '', '\n', '# only words\n', '[]', '7', 'a: b: c', '\t', '{', 'data: "', '\0', 'a: &a [*a]', '---\n---\n',
    '%YAML 9.9\n---\n'
])
def test_rubbish(tmp_path, text):
    code, words = check(tmp_path, text)
    assert code in (0, 1) and (code == 0 or 'waymark.yaml' in words)


def test_serve_refuses_what_check_refuses(tmp_path):
    with open(tmp_path / 'waymark.yaml', 'w') as f:
        f.write(SAMPLE.replace('partitions: 4', 'partitions: many'))
    r = subprocess.run([WAYMARK, 'serve'], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert r.returncode == 1 and 'waymark.yaml:3:' in r.stderr and not os.path.exists(tmp_path / 'waymark-data')


# --- settings that change what is done ------------------------------------------------------------------------


def edited(old, new, **how):
    inst = Instance(**how)
    with open(inst.config) as f:
        text = f.read()
    assert old in text
    with open(inst.config, 'w') as f:
        f.write(text.replace(old, new))
    return inst


def test_blocked_ids_replace_the_list():
    with edited('timezone: UTC', 'timezone: UTC\nblocked_ids: [Robot, 17]') as inst:
        talk = Talk(inst)
        talk.beacon(page(0, userId='undefined'), page(0, userId='ROBOT', anonymousId='d'), page(0, userId=0))
        talk.beacon(page(0, userId='robot'), page(0, userId=17), page(0, userId=''),
                    rejected=[(n, 'id_missing') for n in range(3)])
        assert [len(talk.path(p)) for p in ('user:undefined', 'anon:d', 'user:0')] == [1, 1, 1]


def test_session_gap():
    with Instance(more_profiler='  session_gap: 5m\n') as inst:
        talk = Talk(inst)
        d = fresh('d')
        talk.beacon(page(0, anonymousId=d), page(GAP // 6, anonymousId=d), page(GAP // 3 + 1, anonymousId=d))
        assert column(talk.path('anon:' + d), 'session') == [1, 1, 2]


def test_partitions_change_nothing():
    """The same events over 1 and over 7 partitions give the same answers."""
    answers = []
    for partitions in (1, 7):
        with Instance(partitions=partitions) as inst:
            talk = Talk(inst)
            talk.beacon(*(page(n * GAP // 2, f'm{n}', userId=f'u{n % 5}') for n in range(40)))
            talk.orders(*(order(f'O{n}', 'paid', n, userId=f'u{n % 5}', total=n) for n in range(10)))
            answers.append([(talk.facts(f'user:u{n}'), talk.order_list(f'user:u{n}')) for n in range(5)])
    assert answers[0] == answers[1]


def test_another_number_of_partitions_is_refused():
    with Instance(partitions=2) as inst:
        Talk(inst).beacon(page(0, userId='u'))
        assert inst.stop() == 0
        with open(inst.config) as f:
            text = f.read()
        with open(inst.config, 'w') as f:
            f.write(text.replace('partitions: 2', 'partitions: 3'))
        inst.start(ready=False)
        assert inst.process.wait(30) == 1 and 'partitions' in inst.log()


def test_metrics_stand_where_they_are_told():
    with Instance() as inst:
        port = inst.cport
    with edited('profiler:\n', f'profiler:\n  metrics_listen: 127.0.0.1:{port}\n') as inst:
        assert inst.get('/metrics')[0] == 404
        inst.pport = port
        assert inst.request('p', 'GET', '/metrics')[0] == 200


def test_a_server_key_is_never_read_from_a_query():
    with Instance() as inst:
        s, _, b = inst.request('c', 'POST', '/v1/orders?writeKey=' + SERVER, b'{"orderId":"O","status":"paid"}')
        assert (s, b'key_' in b) == (401, True)
