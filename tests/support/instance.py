"""One `waymark serve` in a temporary folder on free loopback ports, for tests from outside. Standard library only."""
import base64
import contextlib
import decimal
import hashlib
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

BUILD = os.environ.get('WAYMARK_BUILD', os.path.join(os.path.dirname(__file__), '..', '..', 'build'))
WAYMARK = os.path.join(os.path.abspath(BUILD), 'waymark')
SANITIZED = bool(os.environ.get('WAYMARK_SANITIZED'))  # then everything is several times slower
# Limits are those of a quick machine that has nothing else to do: here other tests run beside. Who waits longer checks no less.
PATIENCE = 4 if SANITIZED else 2
LEAST = 30  # seconds, before that
BEACON, SERVER, TOKEN = 'wk_test_web', 'sk_test_backend', 'tk_test_all'
CONFIG = '''data: ./data
partitions: {partitions}
currency: GBP
timezone: UTC
log: {{reserve: 1MiB{more_log}}}
collector:
  listen: 127.0.0.1:{collector}
{more_collector}  keys:
    - {{name: web, source: web, kind: beacon, key: {beacon}}}
    - {{name: backend, source: backend, kind: server, sha256: {server}}}
profiler:
  listen: 127.0.0.1:{profiler}
{more_profiler}  tokens:
    - {{name: test, sha256: {token}, scopes: [lookup, pii, audience, export, admin]}}
    - {{name: lookup, sha256: {lookup}, scopes: [lookup]}}
'''


def sha256(s):
    return hashlib.sha256(s.encode()).hexdigest()


def _own_ports():
    """Below the ephemeral range, so that nothing takes one while its program is down; of each of several workers (pytest -n) others."""
    worker, workers = os.environ.get('PYTEST_XDIST_WORKER', 'gw0'), int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))
    size = (32000 - 15000) // workers
    return range(15000 + size * int(worker[2:]), 15000 + size * (int(worker[2:]) + 1))


OWN_PORTS = _own_ports()
_ports = itertools.cycle(OWN_PORTS)
for _ in range(random.randrange(len(OWN_PORTS))):  # who runs them elsewhere on this machine begins with others
    next(_ports)


def free_ports(n):
    """None is given again before all others were."""
    free = []
    while len(free) < n:
        with contextlib.suppress(OSError):
            port = next(_ports)
            socket.create_server(('127.0.0.1', port)).close()
            free.append(port)
    return free


def wait_until(condition, limit=30, what='the condition'):
    """Waits for a condition with a limit; what it raises as OSError counts as not yet."""
    limit = max(limit, LEAST) * PATIENCE
    end = time.monotonic() + limit
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            result = condition()
            if result:
                return result
        time.sleep(0.02)
    raise AssertionError(f'waited {limit} s for {what}')


def connection(port, tls=None, timeout=30):
    """With an SSLContext it speaks TLS."""
    if tls:
        return http.client.HTTPSConnection('127.0.0.1', port, timeout=timeout, context=tls)
    return http.client.HTTPConnection('127.0.0.1', port, timeout=timeout)


class Instance:
    tls = None  # an SSLContext where both parts serve TLS

    def __init__(self, partitions=4, more_collector='', more_profiler='', more_log='', folder=None):
        self.own_folder = folder is None
        self.dir = folder or tempfile.mkdtemp(prefix='waymark-test-')
        self.cport, self.pport = free_ports(2)
        self.config = os.path.join(self.dir, 'waymark.yaml')
        self.process = None
        with open(self.config, 'w') as f:
            f.write(CONFIG.format(partitions=partitions, collector=self.cport, profiler=self.pport, beacon=BEACON,
                                  server=sha256(SERVER), token=sha256(TOKEN), lookup=sha256('tk_test_lookup'),
                                  more_collector=more_collector, more_profiler=more_profiler, more_log=more_log))
        with open(os.path.join(self.dir, 'waymark.secrets'), 'w') as f:
            f.write(f'server_key: {SERVER}\ntoken: {TOKEN}\n')

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        if self.process and self.process.poll() is None:
            self.kill()
        if self.own_folder:
            shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with open(os.path.join(self.dir, 'log'), 'rb') as f:
            return f.read().decode(errors='replace')

    def start(self, ready=True):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen([WAYMARK, 'serve', '--config', self.config], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)
        if ready:
            self.wait_ready()

    def wait_ready(self, limit=60):
        def up():
            assert self.process.poll() is None, f'serve ended with {self.process.returncode}:\n{self.log()[-3000:]}'
            return all(self.request(p, 'GET', '/readyz')[0] == 200 for p in 'cp')
        wait_until(up, limit, 'the instance to be ready')

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, limit=120):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit * PATIENCE)

    def command(self, *args, limit=600, env=None):
        r = subprocess.run([WAYMARK, *args, '--config', self.config], capture_output=True, text=True, timeout=limit,
                           stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        return r.returncode, r.stdout, r.stderr

    def request(self, part, method, path, body=None, headers=None, key=None, timeout=30):
        """(status, headers with lower-case names, bytes). Part c: collector, p: profiler."""
        h = dict(headers or {})
        if key:
            h['Authorization'] = 'Basic ' + base64.b64encode((key + ':').encode()).decode()
        elif part == 'p' and 'Authorization' not in h:
            h['Authorization'] = 'Bearer ' + TOKEN
        c = connection(self.cport if part == 'c' else self.pport, self.tls, timeout)
        try:
            c.request(method, path, body=body, headers=h)
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        except http.client.HTTPException as e:
            raise OSError(str(e)) from e
        finally:
            c.close()

    def post(self, path, obj, key=BEACON, headers=None):
        body = obj if isinstance(obj, (bytes, str)) else json.dumps(obj, ensure_ascii=False)
        if isinstance(body, str):
            body = body.encode()
        s, h, b = self.request('c', 'POST', path, body, headers, key)
        return s, h, decode(b)

    def get(self, path, headers=None, **query):
        """What a look-up is to see is waited for as long as may be, unless it says how long."""
        if 'after' in query and path.startswith('/v1/profiles/'):
            query.setdefault('wait', '10s')
        q = '?' + urllib.parse.urlencode(query) if query else ''
        s, _, b = self.request('p', 'GET', path + q, headers=headers)
        return s, decode(b)

    def profile(self, pid, suffix='', **query):
        return self.get('/v1/profiles/' + urllib.parse.quote(pid, safe='') + suffix, **query)

    def whole_path(self, pid, page=1000):
        events, cursor = [], None
        while True:
            s, b = self.profile(pid, '/path', limit=page, **({'cursor': cursor} if cursor else {}))
            assert s == 200, (pid, s, b)
            events += b['events']
            cursor = b['next']
            if not cursor:
                return events

    def metrics(self):
        """name -> {labels text: value} of both parts"""
        out = {}
        for part in 'cp':
            for line in self.request(part, 'GET', '/metrics')[2].decode().splitlines():
                if line and not line.startswith('#'):
                    name, value = line.rsplit(' ', 1)
                    name, _, labels = name.partition('{')
                    out.setdefault(name, {})[labels.rstrip('}')] = float(value)
        return out

    def drain(self, limit=120):
        """Waits until everything in the log is folded; the metrics of that moment."""
        def drained():
            m = self.metrics()
            return total(m, 'waymark_log_end_offset') == total(m, 'waymark_state_offset') and m
        return wait_until(drained, limit, 'the fold to catch up')


def total(metrics, name):
    return int(sum(metrics.get(name, {}).values()))


def check_conserved(metrics):
    """I3 of a drained instance, to the unit."""
    assert total(metrics, 'waymark_log_end_offset') == total(metrics, 'waymark_state_events')
    assert total(metrics, 'waymark_events_received_total') == \
        total(metrics, 'waymark_events_accepted_total') + total(metrics, 'waymark_events_refused_total')
    assert total(metrics, 'waymark_events_in_flight') == 0


def decode(b):
    try:
        return json.loads(b, parse_float=decimal.Decimal) if b else None
    except ValueError:
        return b
