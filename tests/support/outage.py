"""What the fault tests of Redis and of instances ask of a cluster."""
import contextlib
import http.client
import json
import re
import threading
import urllib.parse

from support.acked import read_journal
from support.cluster import LOOK
from support.instance import total, wait_until


def hits(cluster):
    """Look-ups that profilers answered from Redis."""
    return sum(m.get('waymark_cache_reads_total', {}).get('result="hit"', 0)
               for p in cluster.profilers if p.alive() and (m := p.answers_metrics()))


def wait_hits(cluster, more=5, limit=30):
    """Until look-ups are answered from Redis: without them a test of the cache would test nothing."""
    before = hits(cluster)
    wait_until(lambda: hits(cluster) >= before + more, limit, 'look-ups answered from Redis')


def served_by(cluster):
    """partition -> the profiler that serves it."""
    out = {}
    for p in cluster.profilers:
        for labels, value in ((p.alive() and p.answers_metrics()) or {}).get('waymark_partition_ready', {}).items():
            if value:
                out[int(re.search(r'partition="(\d+)"', labels)[1])] = p
    return out


def wait_served(cluster, by=None, limit=60):
    """Until every partition is served, by these profilers if given, and by all of them."""
    wanted = set(by) if by is not None else None

    def served():
        owners = served_by(cluster)
        return len(owners) == cluster.partitions and (wanted is None or set(owners.values()) == wanted) and owners
    return wait_until(served, limit, f'all partitions to be served{" by " + str([p.name for p in by]) if by else ""}')


def metric(program, name):
    return total(program.metrics(), name)


class Slow:
    """A look-up whose answer is read later: the request is on its way when the call returns."""

    def __init__(self, program, profile, timeout=30):
        self.connection = http.client.HTTPConnection('127.0.0.1', program.port, timeout=timeout)
        self.connection.request('GET', '/v1/profiles/' + urllib.parse.quote(profile, safe=''),
                                headers={'Authorization': 'Bearer ' + LOOK})

    def answer(self):
        """(status, what it says)"""
        with contextlib.closing(self.connection):
            r = self.connection.getresponse()
            body = r.read()
            return r.status, json.loads(body)


def rewrite(program, old, new):
    """Changes a line of a program's configuration before it starts."""
    with open(program.config) as f:
        text = f.read()
    assert old in text, old
    with open(program.config, 'w') as f:
        f.write(text.replace(old, new))


class Watch:
    """Callers that look up a few busy profiles at every instance at once, as fast as they can, and tell each other what they
    saw: a question that is asked after anybody was shown a version must not be answered with an older one (I4). Refusals
    are fair. Sharper than one caller: an old answer is often there for a millisecond only."""

    def __init__(self, cluster, callers=2, profiles=6, exact=True):
        """`exact`: under one version nothing becomes less; what a record moves within a partition is shown in steps, and may."""
        self.cluster, self.count, self.profiles, self.exact = cluster, profiles, [], exact
        self.lock, self.over = threading.Lock(), threading.Event()
        self.seen, self.faults, self.answers, self.refusals = {}, [], 0, 0
        self.threads = [threading.Thread(target=self._run, args=(p,), daemon=True)
                        for p in cluster.profilers for _ in range(callers)]
        for t in self.threads:
            t.start()

    def _choose(self):
        """Of the first users that were acked; the same for all."""
        with self.lock:
            if not self.profiles:
                with contextlib.suppress(OSError):
                    users = [i for i in read_journal(self.cluster.journal) if i.startswith('user:')]
                    self.profiles = users[:self.count] if len(users) >= self.count else []
            return self.profiles

    def _run(self, program):
        connection, turn = None, 0
        while not self.over.wait(0.001):
            profiles = self._choose()
            if not profiles:
                self.over.wait(0.05)
                continue
            if connection is None:
                connection = http.client.HTTPConnection('127.0.0.1', program.port, timeout=5)
            try:
                self._ask(connection, program, profiles[turn % len(profiles)])
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = None
                self.refusals += 1
                self.over.wait(0.02)
            turn += 1
        if connection:
            connection.close()

    def _ask(self, connection, program, profile):
        with self.lock:
            floor = self.seen.get(profile, (0, 0))
        connection.request('GET', '/v1/profiles/' + urllib.parse.quote(profile, safe=''), headers={'Authorization': 'Bearer ' + LOOK})
        r = connection.getresponse()
        body = r.read()
        if r.status not in (200, 404):
            self.refusals += 1
            return
        answer = json.loads(body)
        now = (answer['version'], answer['facts']['events']) if r.status == 200 else (0, 0)
        with self.lock:
            self.answers += 1
            if now[0] < floor[0] or (self.exact and now < floor):
                self.faults.append(f'{program.name} shows {profile} as version, events {now} after {floor} was shown')
            self.seen[profile] = max(now, self.seen.get(profile, (0, 0)))

    def wait_answers(self, more=50, limit=30):
        before = self.answers
        wait_until(lambda: self.faults or self.answers >= before + more, limit, 'look-ups to be answered')
        self.check()

    def check(self):
        with self.lock:
            assert not self.faults, f'{len(self.faults)} stale look-ups: {self.faults[:3]}'


@contextlib.contextmanager
def watching(cluster, **more):
    """Callers throughout the block, none of which may see a step back."""
    w = Watch(cluster, **more)
    try:
        yield w
        w.check()
        assert w.answers, 'no look-up was answered: nothing was seen'
    finally:
        w.over.set()
        for t in w.threads:
            t.join(20)
        if w.faults:  # also when something else broke because of it
            print('stale look-ups:', w.faults[:3])
    w.check()
