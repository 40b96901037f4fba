"""What the fault tests of Redis and of instances ask of a cluster."""
import contextlib
import http.client
import json
import re
import urllib.parse

from support.instance import TOKEN, total, wait_until


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
                                headers={'Authorization': 'Bearer ' + TOKEN})

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
