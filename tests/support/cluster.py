"""Collectors and profilers as processes of their own over one Kafka (and Redis), the load on them, and the checks that end
every fault test: all that was acked is there exactly once, the sums hold, `verify` is clean, no look-up was stale."""
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.parse

import pytest
from support.acked import check_everything_acked_is_there, read_journal
from support.instance import (BEACON, BUILD, PATIENCE, SANITIZED, SERVER, TOKEN, WAYMARK, connection, decode, free_ports, sha256, total,
                              wait_until)
from support.kafka import fresh_prefix

CONFIG = '''data: ./data
keys: {keys}
event_log: {event_log}
partitions: {partitions}
instance: {name}
topic_prefix: "{prefix}"
currency: GBP
timezone: UTC
log: {{reserve: 1MiB}}
collector:
  listen: 127.0.0.1:{collector}
{more_collector}  keys:
    - {{name: web, source: web, kind: beacon, key: {beacon}}}
    - {{name: backend, source: backend, kind: server, sha256: {server}}}
profiler:
  listen: 127.0.0.1:{profiler}
{more_profiler}  tokens:
    - {{name: test, sha256: {token}, scopes: [lookup, pii, audience, export, admin]}}
    - {{name: look, sha256: 6dae6613ce6567c12bb89e0b62a0828ab8f941883df9d3ae88257e5b489976d3, scopes: [lookup]}}
{kafka}{redis}'''
LOOK = 'tk_look'  # what it sees may come from Redis
# A process that is killed leaves its place in the group at once, not after most of a minute.
GROUP = {'session.timeout.ms': 6000, 'heartbeat.interval.ms': 500}

# Under a sanitizer everything is several times slower: a few of these tests run there, chosen by their file.
not_sanitized = pytest.mark.skipif(SANITIZED, reason='one of many alike: runs without a sanitizer only')


class Program:
    """A collector or a profiler in a folder of its own."""

    tls = None  # an SSLContext where it serves TLS

    def __init__(self, kind, name, folder, port, config):
        self.kind, self.name, self.dir, self.port = kind, name, folder, port
        self.process, self.env = None, None
        os.makedirs(folder, exist_ok=True)
        self.config = os.path.join(folder, 'waymark.yaml')
        with open(self.config, 'w') as f:
            f.write(config)
        with open(os.path.join(folder, 'waymark.secrets'), 'w') as f:
            f.write(f'server_key: {SERVER}\ntoken: {TOKEN}\n')

    def log(self):
        with open(os.path.join(self.dir, 'log'), 'rb') as f:
            return f.read().decode(errors='replace')

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self, ready=True):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen([os.path.join(os.path.abspath(BUILD), 'waymark-' + self.kind), '--config',
                                             self.config], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(self.env or {})})
        if ready:
            self.wait_ready()
        return self

    def ready(self):
        with contextlib.suppress(OSError):
            return self.request('GET', '/readyz')[0] == 200
        return False

    def wait_ready(self, limit=60):
        def up():
            assert self.alive(), f'{self.name} ended with {self.process.returncode}:\n{self.log()[-3000:]}'
            return self.ready()
        try:
            wait_until(up, limit, f'{self.name} to be ready')
        except AssertionError as e:
            with contextlib.suppress(OSError):
                raise AssertionError(f'{e}\n{self.request("GET", "/readyz")}\n{self.log()[-3000:]}') from None
            raise

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, limit=90):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit * PATIENCE)

    def forget(self):
        """Drops its data, as on a new machine."""
        shutil.rmtree(os.path.join(self.dir, 'data'))

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def command(self, *args, limit=300):
        r = subprocess.run([WAYMARK, *args, '--config', self.config], capture_output=True, text=True, timeout=limit,
                           stdin=subprocess.DEVNULL)
        return r.returncode, r.stdout, r.stderr

    def request(self, method, path, body=None, headers=None, key=None, timeout=30):
        """(status, headers with lower-case names, bytes)"""
        h = dict(headers or {})
        if key:
            h['Authorization'] = 'Basic ' + base64.b64encode((key + ':').encode()).decode()
        elif self.kind == 'profiler':
            h.setdefault('Authorization', 'Bearer ' + TOKEN)
        c = connection(self.port, self.tls, timeout)
        try:
            c.request(method, path, body=body, headers=h)
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        except http.client.HTTPException as e:
            raise OSError(str(e)) from e
        finally:
            c.close()

    def post(self, path, obj, key=BEACON, **more):
        s, h, b = self.request('POST', path, json.dumps(obj, ensure_ascii=False).encode(), key=key, **more)
        return s, h, decode(b)

    def well(self, method, path, body=None, headers=None):
        """The answer once it is no 503: the log may be slow to confirm who owns what, or to take what is said."""
        def answer():
            a = self.request(method, path, body, headers)
            return a[0] != 503 and a
        return wait_until(answer, 60, f'{self.name} to answer {method} {path}')

    def get(self, path, **query):
        s, _, b = self.request('GET', path + ('?' + urllib.parse.urlencode(query) if query else ''))
        return s, decode(b)

    def look(self, profile):
        """(status, answer) of a look-up that Redis may answer."""
        path = '/v1/profiles/' + urllib.parse.quote(profile, safe='')
        s, _, b = self.request('GET', path, headers={'Authorization': 'Bearer ' + LOOK})
        return s, decode(b)

    def metrics(self):
        """name -> {labels text: value}"""
        out = {}
        for line in self.request('GET', '/metrics')[2].decode().splitlines():
            if line and not line.startswith('#'):
                name, value = line.rsplit(' ', 1)
                name, _, labels = name.partition('{')
                out.setdefault(name, {})[labels.rstrip('}')] = float(value)
        return out

    def answers_metrics(self):
        with contextlib.suppress(OSError):
            return self.metrics()
        return None


class Cluster:
    """`kafka` may be absent yet, or away. `address`: by which the processes reach it, when not directly. `more_*` are
    lines of configuration."""

    def __init__(self, kafka, collectors=1, profilers=1, partitions=4, redis=None, address=None, collector_address=None,
                 more_collector='', more_profiler='', kafka_settings=None, folder=None, more_redis=''):
        self.kafka, self.redis, self.partitions = kafka, redis, partitions
        self.own_folder = folder is None
        self.dir = folder or tempfile.mkdtemp(prefix='waymark-cluster-')
        self.prefix = fresh_prefix()
        self.events, self.bad = self.prefix + 'events', self.prefix + 'bad'
        self.journal = os.path.join(self.dir, 'acked')
        ports = free_ports(collectors + profilers)
        cports, pports = ports[:collectors], ports[collectors:]

        def program(kind, i, cport, pport, where):
            settings = {'bootstrap.servers': where or kafka.address, **GROUP, **(kafka_settings or {})}
            text = CONFIG.format(
                event_log='kafka', keys=os.path.join(self.dir, 'keys'), partitions=partitions, name=f'{kind}{i}', prefix=self.prefix, collector=cport,
                profiler=pport, beacon=BEACON, server=sha256(SERVER), token=sha256(TOKEN), more_collector=more_collector,
                more_profiler='  commit_interval: 300ms\n' + more_profiler,
                kafka='kafka:\n' + ''.join(f'  {k}: {v}\n' for k, v in settings.items()),
                redis=f'redis:\n  url: {redis.url}\n  prefix: "{self.prefix}"\n{more_redis}' if redis else '')
            return Program(kind, f'{kind}{i}', os.path.join(self.dir, f'{kind}{i}'), cport if kind == 'collector' else pport,
                           text)
        self.collectors = [program('collector', i, p, (pports or [1])[0], collector_address or address)
                           for i, p in enumerate(cports)]
        self.profilers = [program('profiler', i, (cports or [1])[0], p, address) for i, p in enumerate(pports)]
        code, out, err = self.programs()[0].command('keys', 'init')
        assert code == 0, out + err

    def __enter__(self):
        try:
            self.create_topics()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for p in self.programs():
            if p.alive():
                p.kill()
        if self.own_folder:
            shutil.rmtree(self.dir, ignore_errors=True)

    def programs(self):
        return self.collectors + self.profilers

    def create_topics(self):
        code, out, err = self.programs()[0].command('topics', 'create')
        assert code == 0, out + err

    def start(self):
        self.start_without_waiting()
        self.wait_ready()

    def start_without_waiting(self):
        for p in self.programs():
            p.start(ready=False)

    def wait_ready(self, limit=60):
        for p in self.programs():
            p.wait_ready(limit)

    def move(self, program, folder):
        """Stops it, and starts it with its data in another folder."""
        assert program.stop() == 0, program.log()[-2000:]
        shutil.move(program.dir, folder)
        program.dir, program.config = folder, os.path.join(folder, 'waymark.yaml')
        program.start()

    def placed(self, path, body, key=BEACON):
        """(position, answer): sent until it is on the log. What a slow broker left to the spool has no position. Each event
        has an id that makes it count once."""
        events = body['batch'] if 'batch' in body else body if isinstance(body, list) else [body]
        for e in events:
            e.setdefault('messageId', os.urandom(8).hex())

        def sent():
            s, h, b = self.collectors[0].post(path, body, key)
            assert s in (200, 503), (s, b)
            return 'x-waymark-position' in h and (h['x-waymark-position'], b)
        return wait_until(sent, 60, 'the broker to ack')

    # --- what the checks of tests/support/acked.py ask: any profiler answers for all -----------------------------
    def get(self, path, limit=30, by=None, **query):
        def answer():
            s, b = (by or next(p for p in self.profilers if p.alive())).get(path, **query)
            return None if s == 503 else (s, b)
        return wait_until(answer, limit, f'an answer of {path}')

    def profile(self, pid, suffix='', by=None, **query):
        return self.get('/v1/profiles/' + urllib.parse.quote(pid, safe='') + suffix, by=by, **query)

    def whole_path(self, pid, page=1000, by=None):
        events, cursor = [], None
        while True:
            query = {'limit': page, **({'cursor': cursor} if cursor else {})}
            s, b = self.get(f'/v1/profiles/{urllib.parse.quote(pid, safe="")}/path?{urllib.parse.urlencode(query)}', by=by)
            assert s == 200, (pid, s, b)
            events += b['events']
            cursor = b['next']
            if not cursor:
                return events

    # --- the load --------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def load(self, rate=1000, people=100, seed=1, batch=7, collector=0, patience=60):
        """`simulate` against a collector while the block runs, with every acked event in the journal."""
        c = self.collectors[collector]
        with open(os.path.join(self.dir, 'simulate.log'), 'ab') as log:
            p = subprocess.Popen([WAYMARK, 'simulate', '--config', c.config, '--seed', str(seed), '--events', '100000000',
                                  '--rate', str(rate), '--people', str(people), '--batch', str(batch), '--patience',
                                  str(patience * PATIENCE), '--acked', self.journal], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield p
            assert p.poll() is None, 'the load ended early:\n' + open(log.name).read()[-2000:]
        finally:
            p.kill()
            p.wait()

    def acked_bytes(self):
        return os.path.getsize(self.journal) if os.path.exists(self.journal) else 0

    def wait_acked(self, more=20000, limit=60):
        """Until so many bytes more stand in the journal: some 40 an event."""
        before = self.acked_bytes()
        wait_until(lambda: self.acked_bytes() >= before + more, limit, 'acked events')

    # --- what is left at the end -----------------------------------------------------------------------------------
    def spooled(self):
        """Records that wait in the collectors' spools; None while one does not answer."""
        answers = [c.answers_metrics() for c in self.collectors if c.alive()]
        return None if None in answers else sum(total(m, 'waymark_spool_records') for m in answers)

    def state_offsets(self):
        """Of each partition, as its owner says."""
        out = [0] * self.partitions
        for p in self.profilers:
            for labels, value in ((p.alive() and p.answers_metrics()) or {}).get('waymark_state_offset', {}).items():
                n = int(labels.split('"')[1])
                out[n] = max(out[n], int(value))
        return out

    def drain(self, limit=90):
        """Until the spools are empty and everything in the log, as Kafka itself tells, is folded and on show."""
        wait_until(lambda: self.spooled() == 0, limit, 'the spools to be empty')
        wait_until(lambda: self.state_offsets() == self.kafka.ends(self.events), limit, 'the fold to catch up')
        for p in self.profilers:
            if p.alive():
                p.wait_ready(limit)

    def check_conserved(self):
        """I3, drained: each record of the log has one outcome, whichever profilers folded it; a state that began before
        the log did has more. Profilers write to it, too, the cuts of tags among it, so its ends are asked each time."""
        def balanced():
            ends = self.kafka.ends(self.events)
            metrics = [p.metrics() for p in self.profilers if p.alive()]
            return sum(ends) == sum(total(m, 'waymark_state_events') + total(m, 'waymark_state_began_offset')
                                    for m in metrics) and metrics
        wait_until(balanced, 20, 'the outcomes to add up to the ends')
        for c in self.collectors:
            m = c.metrics()
            assert total(m, 'waymark_events_received_total') == total(m, 'waymark_events_accepted_total') + \
                total(m, 'waymark_events_refused_total') + total(m, 'waymark_events_in_flight')
            assert total(m, 'waymark_events_in_flight') == 0

    def check(self):
        """I1 to I3 of the drained cluster. Returns how many events were acked."""
        self.drain()
        self.check_conserved()
        return check_everything_acked_is_there(self, self.journal)

    def finish(self):
        """The end of every test: checks all, stops all, verifies each state."""
        acked = self.check()
        for p in self.programs():
            assert p.stop() == 0, f'{p.name} did not stop cleanly:\n{p.log()[-3000:]}'
        for p in self.profilers:
            code, out, err = p.command('verify')
            assert code == 0, f'{p.name}: {out}{err}'
        return acked

    def acked_profiles(self):
        return sorted(read_journal(self.journal))

    @contextlib.contextmanager
    def reader(self, profiles=None):
        """A caller that looks up throughout the block and must never see a profile step back (I4)."""
        r = StaleReader(self, profiles)
        try:
            yield r
        finally:
            r.end()
        r.check()


class StaleReader(threading.Thread):
    """Looks up a few busy profiles at all instances in turn. Refusals are fair, steps back are not."""

    def __init__(self, cluster, profiles=None):
        super().__init__(daemon=True)
        self.cluster, self.profiles = cluster, profiles
        self.seen, self.faults, self.answers, self.refusals = {}, [], 0, 0
        self._stop_asking = threading.Event()
        self.start()

    def run(self):
        turn = 0
        while not self._stop_asking.is_set() and not self.faults:
            if not self.profiles:
                self.profiles = self._busy()
                if not self.profiles:
                    self._stop_asking.wait(0.05)
                    continue
            profile = self.profiles[turn % len(self.profiles)]
            for p in self.cluster.profilers:
                self._ask(p, profile)
            turn += 1
            self._stop_asking.wait(0.002)

    def _busy(self):
        """Of the first that were acked: users, whose events are many."""
        with contextlib.suppress(OSError):
            ids = [i for i in read_journal(self.cluster.journal) if i.startswith('user:')]
            return ids[:8] if len(ids) >= 8 else None
        return None

    def _ask(self, program, profile):
        try:
            status, _, body = program.request('GET', '/v1/profiles/' + urllib.parse.quote(profile, safe=''), timeout=5)
        except OSError:
            self.refusals += 1
            return
        before = self.seen.get(profile)
        if status == 200:
            answer = json.loads(body)
            now = (answer['version'], answer['facts']['events'])
            if before and (now[0] < before[0] or now[1] < before[1] or (now[0] == before[0] and now[1] != before[1])):
                self.faults.append(f'{program.name} says version, events {now} of {profile} after {before}')
            self.seen[profile] = now
            self.answers += 1
        elif status == 404 and before:
            self.faults.append(f'{program.name} does not know {profile} after {before}')
        else:
            self.refusals += 1

    def wait_answers(self, more=20, limit=30):
        before = self.answers
        wait_until(lambda: self.faults or self.answers >= before + more, limit, 'look-ups to be answered')

    def end(self):
        self._stop_asking.set()
        self.join(20)

    def check(self):
        assert not self.faults, self.faults
        assert self.answers, 'no look-up was answered: the reader saw nothing'
