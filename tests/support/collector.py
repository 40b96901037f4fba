"""One waymark-collector in a folder of its own, and raw and plain HTTP to it. Standard library only."""
import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from support.instance import LEAST, PATIENCE

BEACON, SERVER, BOUND = 'wk_test_web', 'sk_test_backend', 'wk_test_bound'
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('WAYMARK_BUILD', os.path.join(ROOT, 'build'))


def wait_for(condition, what, limit=30.0):
    """The first true value of condition(), asked again and again until the limit."""
    limit = max(limit, LEAST) * PATIENCE
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f'{what}: not within {limit} s')


class Collector:
    def __init__(self, collector='', top=''):
        self.dir = tempfile.mkdtemp(prefix='waymark-collector-')
        self.config = os.path.join(self.dir, 'waymark.yaml')
        self.log = os.path.join(self.dir, 'log')
        self.proc = None
        listen = '' if 'listen:' in collector.replace('metrics_listen:', '') else '  listen: 127.0.0.1:0\n'
        with open(self.config, 'w') as f:
            f.write(f'''data: ./data
partitions: 4
{top}collector:
{listen}{collector}  keys:
    - {{name: web, source: web, kind: beacon, key: {BEACON}}}
    - {{name: backend, source: backend, kind: server, sha256: {hashlib.sha256(SERVER.encode()).hexdigest()}}}
    - {{name: bound, source: web, kind: beacon, key: {BOUND}, origins: ['https://shop.example']}}
''')

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        begin = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, 'ab') as out:
            self.proc = subprocess.Popen([os.path.join(BUILD, 'waymark-collector'), '--config', self.config],
                                         stdout=out, stderr=out, stdin=subprocess.DEVNULL)

        def port(what):
            assert self.alive(), self.words()
            found = re.search(rf'collector: {what} on \S+ port (\d+)', self.words()[begin:])
            return found and int(found.group(1))

        self.port = wait_for(lambda: port('listening'), 'the port in the log')
        self.metrics_port = port('metrics') or self.port
        wait_for(lambda: self.try_status('/readyz') == 200, '/readyz')
        return self

    def alive(self):
        return self.proc.poll() is None

    def words(self):
        with open(self.log, errors='replace') as f:
            return f.read()

    def stop(self, limit=30):
        """The exit code after SIGTERM."""
        self.proc.send_signal(signal.SIGTERM)
        return self.proc.wait(limit * PATIENCE)

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    # --- HTTP --------------------------------------------------------------------------------------
    def try_status(self, path):
        try:
            return self.request('GET', path)[0]
        except OSError:
            return None

    def request(self, method, path, body=None, headers=None, key=None, timeout=20, port=None):
        """(status, headers with lower-case names, bytes)"""
        h = dict(headers or {})
        if key:
            h['Authorization'] = basic(key)
        c = http.client.HTTPConnection('127.0.0.1', port or self.port, timeout=timeout)
        try:
            c.request(method, path, body=body, headers=h)
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        except http.client.HTTPException as e:
            raise OSError(str(e)) from e
        finally:
            c.close()

    def post(self, path, body, key=BEACON, headers=None, timeout=20):
        """(status, headers, parsed JSON)"""
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body, ensure_ascii=False)
        if isinstance(body, str):
            body = body.encode()
        s, h, b = self.request('POST', path, body, headers, key, timeout)
        return s, h, json.loads(b)

    def raw(self, *parts, timeout=20, shut=False):
        """Sends bytes as they are and reads until the other side closes or is silent."""
        with socket.create_connection(('127.0.0.1', self.port), timeout) as s:
            out = b''
            try:
                for p in parts:
                    s.sendall(p)
                if shut:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            try:
                while True:
                    b = s.recv(65536)
                    if not b:
                        return out
                    out += b
            except OSError:
                return out

    def metrics(self):
        """name -> {labels text: value}"""
        out = {}
        for line in self.request('GET', '/metrics', port=self.metrics_port)[2].decode().splitlines():
            if line and not line.startswith('#'):
                name, value = line.rsplit(' ', 1)
                name, _, labels = name.partition('{')
                out.setdefault(name, {})[labels.rstrip('}')] = float(value)
        return out

    def events(self):
        """(received, accepted, refused by reason, in flight)"""
        m = self.metrics()
        refused = {k.split('"')[1]: int(v) for k, v in m['waymark_events_refused_total'].items() if v}
        return (int(m['waymark_events_received_total']['']), int(m['waymark_events_accepted_total']['']), refused,
                int(m['waymark_events_in_flight']['']))


def basic(key):
    return 'Basic ' + base64.b64encode((key + ':').encode()).decode()
