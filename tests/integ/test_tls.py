"""TLS of collector and profiler: what is spoken, that HTTP over it is what it is without, that clients who are slow, rude
or mistaken hold nothing up, and that nothing acked is lost when they are many."""
import contextlib
import json
import os
import random
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest
from support.certificates import Authority, openssl
from support.instance import BEACON, PATIENCE, check_conserved, connection, free_ports, wait_until
from support.tls import Answers, TlsInstance, batch, client_hello, ends, post, reset

HEAD_S = 10  # LIMIT_HEAD_MS
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope='module')
def shop():
    with TlsInstance() as inst:
        yield inst


def accepted(answer, n):
    status, _, body = answer
    assert status == 200, answer
    assert json.loads(body)['accepted'] == n, body


@pytest.mark.filterwarnings('ignore:ssl.TLSVersion')
def test_versions_and_ciphers(shop):
    for version in (V12, V13):
        context = shop.authority.client(minimum_version=version, maximum_version=version)
        with shop.connected(context=context) as t:
            cipher = t.cipher()[0]
            assert 'GCM' in cipher or 'CHACHA20' in cipher, cipher
            assert version == V13 or cipher.startswith('ECDHE'), cipher
            t.sendall(post(batch(f'v{version}')))
            accepted(Answers(t).next(), 1)
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = shop.authority.client()
        context.set_ciphers('ALL:@SECLEVEL=0')
        context.minimum_version = context.maximum_version = old
        with pytest.raises((ssl.SSLError, OSError)), shop.connected(context=context):
            pass
    for weak in ('AES128-SHA', 'AES128-GCM-SHA256', 'ECDHE-ECDSA-AES128-SHA', 'DHE-RSA-AES128-GCM-SHA256'):
        context = shop.authority.client(maximum_version=V12)
        context.set_ciphers(weak + ':@SECLEVEL=0')
        with pytest.raises((ssl.SSLError, OSError)), shop.connected(context=context):
            pass


def test_rsa():
    with TlsInstance(rsa=True) as inst:
        assert inst.post('/v1/batch', {'batch': []})[0] == 200
        for version in (V12, V13):
            with inst.connected(context=inst.authority.client(minimum_version=version, maximum_version=version)) as t:
                t.sendall(post(batch('r')))
                accepted(Answers(t).next(), 1)


def test_both_parts_and_commands(shop):
    s, _, b = shop.post('/v1/batch', {'batch': [{'type': 'page', 'userId': 'cli', 'messageId': 'c1'}]})
    assert (s, b['accepted']) == (200, 1)
    wait_until(lambda: shop.profile('user:cli')[0] == 200, what='the profile')
    code, out, err = shop.command('profile', 'user:cli', '--json')
    assert code == 0 and json.loads(out)['id'] == 'user:cli', err
    code, out, err = shop.command('simulate', '--events', '500', '--seed', '3')
    assert code == 0, err
    code, out, err = shop.command('profile', 'user:cli', '--json', '--ca', shop.authority.cert)
    assert code == 0, err
    other = Authority(os.path.join(shop.dir, 'other'))
    code, out, err = shop.command('profile', 'user:cli', '--ca', other.cert)
    assert code == 1 and 'certificate' in err, (out, err)
    code, out, err = shop.command('profile', 'user:cli', '--ca', '/nowhere.pem')
    assert code == 1 and '/nowhere.pem' in err, (out, err)


def test_commands_take_no_other_server(shop):
    """A configuration with another certificate than the one that answers: somebody else is there."""
    cert, key = Authority(os.path.join(shop.dir, 'stranger')).sign('stranger')
    config = os.path.join(shop.dir, 'stranger.yaml')
    with open(shop.config) as f, open(config, 'w') as g:
        g.write(f.read().replace('profiler.pem', cert).replace('profiler.key', key))
    r = subprocess.run([os.path.join(os.environ.get('WAYMARK_BUILD', 'build'), 'waymark'), 'profile', 'user:cli', '--config',
                        config], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and 'key' in r.stderr, (r.stdout, r.stderr)


def test_keep_alive_and_pipelining(shop):
    with shop.connected() as t:
        answers = Answers(t)
        for i in range(50):
            t.sendall(post(batch(f'k{i}')))
            accepted(answers.next(), 1)
        # In one record, and in records of a few bytes: the next request waits in GnuTLS while the one before is on its
        # way to the disk.
        t.sendall(b''.join(post(batch(f'p{i}')) for i in range(30)))
        for _ in range(30):
            accepted(answers.next(), 1)
        for c in post(batch('slow')) + post(batch('slower')):
            t.sendall(bytes([c]))
        accepted(answers.next(), 1)
        accepted(answers.next(), 1)
        t.sendall(b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n' * 200)
        assert all(answers.next()[0] == 200 for _ in range(200))


def test_large_bodies_and_answers(shop):
    big = json.dumps({'batch': [{'type': 'track', 'event': 'Big', 'userId': 'big', 'messageId': f'b{i}',
                                 'properties': {'text': 'x' * 3000}} for i in range(1000)]}).encode()
    assert len(big) > 3_000_000
    for _ in range(3):
        with shop.connected() as t:
            t.sendall(post(big))
            accepted(Answers(t).next(), 1000)
    wait_until(lambda: len(shop.whole_path('user:big')) == 1000, what='the path')
    with shop.connected(shop.pport) as t:
        ask = ('GET /v1/profiles/user:big/path?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tk_test_all\r\n\r\n')
        answers = Answers(t)
        t.sendall(ask.encode() * 2)
        first, second = answers.next(), answers.next(piece=7777)
        assert first[0] == second[0] == 200 and first[2] == second[2] and len(first[2]) > 3_000_000


def test_refusals_are_seen(shop):
    """The answer to a body that is too large reaches a client that is still sending it."""
    with shop.connected() as t:
        with contextlib.suppress(OSError):
            t.sendall(post(b'', length=100 << 20))
            for _ in range(100):
                t.sendall(b'x' * 65536)
        assert Answers(t).next()[0] == 413
    with shop.connected() as t:
        t.sendall(b'GET /livez HTTP/1.1\r\nHost: x\r\nX: ' + b'y' * 50000 + b'\r\n\r\n')
        assert Answers(t).next()[0] == 431
    with shop.connected() as t:
        t.sendall(b'POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n')
        assert Answers(t).next()[0] == 400
        assert ends(t) == b''


def test_not_tls(shop):
    """Plain HTTP, noise and nothing end at once; they get no answer that could be taken for one."""
    rng = random.Random(7)
    for rude in (b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n', b'\0' * 600, bytes(rng.randrange(256) for _ in range(5000)),
                 b'\x16\x03\x01\xff\xff' + b'a' * 70000, client_hello()[:80] + b'\xff' * 700):
        with socket.create_connection(('127.0.0.1', shop.cport), timeout=HEAD_S + 20) as s:
            with contextlib.suppress(OSError):
                s.sendall(rude)
            got = ends(s)
            assert b'HTTP/' not in got and len(got) < 4000, got
    assert shop.request('c', 'GET', '/livez')[0] == 200


def test_renegotiation_ends_the_connection(shop):
    r = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{shop.cport}', '-tls1_2', '-CAfile', shop.authority.cert],
                       input=b'R\n', capture_output=True, timeout=HEAD_S + 30)
    assert b'Verify return code: 0' in r.stdout
    assert b'RENEGOTIATING' in r.stderr + r.stdout
    assert shop.request('c', 'GET', '/livez')[0] == 200


def slow(shop, send, took, i):
    begun = time.monotonic()
    with socket.create_connection(('127.0.0.1', shop.cport), timeout=60) as s:
        with contextlib.suppress(OSError):
            send(s)
        ends(s)
    took[i] = time.monotonic() - begun


def drip(data):
    def send(s):
        s.settimeout(0.2)
        for c in data * 100:
            s.sendall(bytes([c]))
            with contextlib.suppress(TimeoutError):
                if not s.recv(4096):
                    return
    return send


def slow_head(shop):
    def send(s):
        with shop.tls.wrap_socket(s.dup(), server_hostname='127.0.0.1') as t:
            t.sendall(b'GET /livez HTTP/1.1\r\n')
            drip(b'X: y\r\n')(t)
    return send


def test_slow_handshakes_are_cut_off(shop):
    """Silence, a part of a hello, a hello byte by byte, a hello and then nothing, and a slow head behind a good handshake:
    all end with the time for a head, which runs from the accept. Meanwhile others are served."""
    ways = [lambda s: None, lambda s: s.sendall(client_hello()[:100]), drip(client_hello()), lambda s: s.sendall(client_hello()),
            slow_head(shop)]
    took = [None] * len(ways) * 4
    threads = [threading.Thread(target=slow, args=(shop, ways[i % len(ways)], took, i)) for i in range(len(took))]
    for t in threads:
        t.start()
    served = 0
    while any(t.is_alive() for t in threads):
        assert shop.request('c', 'GET', '/livez', timeout=5 * PATIENCE)[0] == 200
        served += 1
        threads[0].join(0.1)
    assert served > 5
    assert all(HEAD_S - 0.2 < t < HEAD_S + 4 * PATIENCE for t in took), took


def cpu_s(inst):
    with open(f'/proc/{inst.process.pid}/stat') as f:
        fields = f.read().rsplit(') ', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def test_waiting_for_clients_costs_nothing(shop):
    """Whatever a client leaves undone, no thread turns round and round until it is done."""
    old = shop.authority.client(maximum_version=V12)
    big = b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' * 2000
    with contextlib.ExitStack() as stack:
        for part in (b'', client_hello()[:100], client_hello(), client_hello(old)):
            stack.enter_context(socket.create_connection(('127.0.0.1', shop.cport))).sendall(part)
        for context in (shop.tls, old):
            for part in (b'', b'GET /livez HTTP/1.1\r\n', post(b'', length=1000) + b'x', post(batch('idle')), post(b'', length=9)):
                stack.enter_context(shop.connected(context=context)).sendall(part)
        t = stack.enter_context(shop.connected())
        t.settimeout(1)
        with contextlib.suppress(OSError):
            t.sendall(big)  # answers that nobody reads
        time.sleep(0.5)
        before = cpu_s(shop)
        time.sleep(2)  # the time itself is what is tested here
        assert cpu_s(shop) - before < 0.5, cpu_s(shop) - before


def descriptors(inst):
    return len(os.listdir(f'/proc/{inst.process.pid}/fd'))


def test_many_rude_clients_leave_nothing(shop):
    """Handshakes that are reset or left at every stage: no descriptor and no memory stays, and others are answered."""
    rng = random.Random(11)
    hello = client_hello(shop.tls)

    def rude(n):
        for _ in range(n):
            s = socket.create_connection(('127.0.0.1', shop.cport), timeout=30)
            with contextlib.suppress(OSError):
                how = rng.randrange(5)
                if how < 2:
                    s.sendall(hello[:rng.randrange(len(hello) + 1)])
                elif how == 2:
                    s.sendall(hello)
                    s.recv(100)
                else:
                    s = shop.tls.wrap_socket(s, server_hostname='127.0.0.1')
                    s.sendall(post(batch('x' * 2000))[:rng.randrange(2000)])
            reset(s) if rng.randrange(2) else s.close()

    rude(200)
    wait_until(lambda: shop.request('c', 'GET', '/livez')[0] == 200)
    before = [None]

    def settled():
        now = descriptors(shop)
        same, before[0] = now == before[0], now
        return same

    wait_until(settled, HEAD_S + 20, 'the descriptors to settle')
    first = before[0]
    rude(1000)
    wait_until(lambda: descriptors(shop) <= first + 2, HEAD_S + 20, f'the descriptors to be {first} again')
    assert shop.post('/v1/batch', {'batch': [{'type': 'page', 'userId': 'well', 'messageId': 'w1'}]})[0] == 200


def test_conserved(shop):
    check_conserved(shop.drain())


def test_stop_with_open_connections():
    """SIGTERM while handshakes, heads, bodies and answers are on their way: it ends in time, and what was acked is there."""
    with TlsInstance() as inst, contextlib.ExitStack() as stack:
        acked, stop = [], threading.Event()

        def send(n):
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    with inst.connected() as t:
                        answers = Answers(t)
                        for i in range(1000):
                            name = f's{n}-{len(acked)}-{i}'
                            t.sendall(post(batch(name, user='kept')))
                            answer = answers.next()
                            if answer[0] == 503:  # it is stopping
                                return
                            accepted(answer, 1)
                            acked.append(name)
        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for part in (b'', client_hello()[:50], client_hello()):
            s = stack.enter_context(socket.create_connection(('127.0.0.1', inst.cport), timeout=30))
            s.sendall(part)
        for part in (b'', b'GET', post(b'', length=1000) + b'x' * 10, post(batch('whole'))):
            stack.enter_context(inst.connected()).sendall(part)
        wait_until(lambda: len(acked) > 500, what='acked events')
        begun = time.monotonic()
        assert inst.stop() == 0
        assert time.monotonic() - begun < 30 * PATIENCE
        stop.set()
        for t in threads:
            t.join()
        inst.start()
        inst.drain()
        path = {e['message_id'] for e in inst.whole_path('user:kept')}
        assert set(acked) <= path


def test_metrics_listen_stays_plain():
    port, = free_ports(1)
    with TlsInstance(more_collector=f'  metrics_listen: 127.0.0.1:{port}\n') as inst:
        c = connection(port)
        c.request('GET', '/metrics')
        text = c.getresponse().read().decode()
        c.close()
        ends_at = int(float(re.search(r'^waymark_tls_certificate_expiry_seconds (\S+)', text, re.M)[1]))
        said = openssl('x509', '-noout', '-enddate', '-in', inst.file('collector', 'pem'))
        assert ends_at == ssl.cert_time_to_seconds(said.strip().split('=')[1])
        assert 'waymark_tls_reload_failed_total 0' in text
        assert inst.post('/v1/batch', {'batch': []}, key=BEACON)[0] == 200
