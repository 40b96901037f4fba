"""The audit log of several profilers on one Kafka: a look-up that is sent on is one of its instance's own, and known
again at the other; the topic has what the files have; while it lacks, nothing is lost."""
import json
import os
import subprocess

from support.cluster import Cluster
from support.instance import wait_until
from support.outage import wait_served
from support.shop_events import profiles, send

SEED = 5
PROTO = os.path.join(os.path.dirname(__file__), '..', '..', 'proto')


def records(program):
    code, out, _ = program.command('audit', '--json')
    return [json.loads(line) for line in out.splitlines()] if code == 0 else []


def on_topic(cluster, folder):
    """[(instance, number, who, forwarded)] of the topic."""
    subprocess.run(['protoc', '-I', PROTO, f'--python_out={folder}', os.path.join(PROTO, 'waymark.proto')], check=True)
    script = ('import sys, json; sys.path.insert(0, sys.argv[1]); import waymark_pb2 as w\n'
              'for line in sys.stdin:\n'
              '    r = w.AuditRecord.FromString(bytes.fromhex(line))\n'
              '    print(json.dumps([r.instance.decode(), r.number, r.who.decode(), r.forwarded, len(r.targets)]))\n')
    values = [r.value().hex() for r in cluster.kafka.records(cluster.prefix + 'audit')]
    out = subprocess.run(['/usr/bin/python3', '-c', script, str(folder)], input='\n'.join(values), text=True,
                         capture_output=True, check=True).stdout
    return sorted(tuple(json.loads(line)) for line in out.splitlines())


def of_files(cluster):
    return sorted((r['instance'], r['number'], r['who'], r.get('forwarded', False), len(r['targets']))
                  for p in cluster.profilers for r in records(p))


def ask(program, path, body=None, **headers):
    def answered():
        status = program.request('POST' if body else 'GET', path, body, headers)[0]
        return status != 503 and status
    return wait_until(answered, 30, f'{program.name} to answer {path}')


def test_two_profilers(kafka, tmp_path):
    with Cluster(kafka, profilers=2) as cluster:
        wait_served(cluster, by=cluster.profilers)
        send(cluster.collectors[0], SEED)
        cluster.drain()
        one, two = cluster.profilers
        for i in profiles(SEED)[:20]:
            assert ask(one, f'/v1/profiles/{i}') == 200
        wait_until(lambda: sum(not r.get('forwarded') for r in records(one)) >= 20, what='the records')
        own = [r for r in records(one) if not r.get('forwarded')]
        others = [r for r in records(two) if r.get('forwarded')]
        assert all(len(r['request']) == 16 for r in own) and len({r['request'] for r in own}) == len(own)
        assert 0 < len(others) < len(own)  # partitions of either
        assert {r['request'] for r in others} <= {r['request'] for r in own}
        assert not [r for r in records(two) if not r.get('forwarded')]
        # One who says that somebody else has recorded it is recorded all the same.
        before = len(records(one)) + len(records(two))

        users = [i for i in profiles(SEED) if i.startswith('user:')][:4]  # a device may be at one, and its user at the other

        def answered():  # by its owner; the other one refuses, and so does the owner where the log is slow to confirm it
            return [p for p in (one, two) for i in users
                    if p.request('GET', f'/v1/profiles/{i}', None, {'X-Waymark-Forwarded': 'x'})[0] == 200]
        wait_until(answered, what='its owner to answer')
        wait_until(lambda: len(records(one)) + len(records(two)) > before, what='its record')
        body = json.dumps({'ids': profiles(SEED)})
        assert ask(two, '/v1/profiles:lookup', body) == 200
        wait_until(lambda: any(r['route'] == '/v1/profiles:lookup' for r in records(two)), what='its record')
        many = [r for r in records(two) if r['route'] == '/v1/profiles:lookup']
        assert len(many) == 1 and many[0]['count'] == len(profiles(SEED))
        assert len(many[0]['targets']) >= len(profiles(SEED))  # devices, and the people whose they are
        wait_until(lambda: all(p.metrics()['waymark_audit_waiting'][''] == 0 for p in cluster.profilers), what='the queues')
        assert on_topic(cluster, tmp_path) == of_files(cluster)


def test_while_the_brokers_are_away_the_file_keeps_it(kafka, tmp_path):
    with Cluster(kafka, profilers=1) as cluster:
        send(cluster.collectors[0], SEED)
        cluster.drain()
        one, known = cluster.profilers[0], profiles(SEED)
        assert ask(one, f'/v1/profiles/{known[0]}') == 200
        wait_until(lambda: one.metrics()['waymark_audit_waiting'][''] == 0, what='the topic to have it')
        kafka.kill()
        status = one.request('GET', f'/v1/profiles/{known[1]}')[0]
        wait_until(lambda: len(records(one)) >= (2 if status == 200 else 1), what='the file to have it')
        one.kill()
        kafka.well()
        one.start()
        assert ask(one, f'/v1/profiles/{known[2]}') == 200
        wait_until(lambda: one.metrics()['waymark_audit_waiting'][''] == 0, what='the topic to have all')
        assert set(on_topic(cluster, tmp_path)) == set(of_files(cluster))
        assert {r['number'] for r in records(one)} == set(range(1, len(records(one)) + 1))
