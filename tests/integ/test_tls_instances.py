"""Two profilers on one Kafka that serve TLS: each sends look-ups on to the other over it, and only to one whose
certificate is signed by whom it trusts."""
import json
import os
import shutil
import urllib.parse

from support.certificates import Authority
from support.cluster import Cluster
from support.instance import wait_until
from support.outage import wait_served

USERS = [f'user:t{i}' for i in range(40)]


def cluster(kafka, folder, trusted):
    """`trusted`: what peer_ca holds."""
    authority = Authority(folder)
    cert, key = authority.sign('shown')
    shutil.copy(trusted or authority.cert, os.path.join(folder, 'trusted.pem'))
    tls = f'  tls: {{certificate: {cert}, key: {key}}}\n'
    c = Cluster(kafka, profilers=2, partitions=6, more_collector=tls,
                more_profiler=tls + f'  peer_ca: {folder}/trusted.pem\n')
    for p in c.programs():
        p.tls = authority.client()
    return c


def ask(program, user):
    s, _, b = program.request('GET', '/v1/profiles/' + urllib.parse.quote(user))
    return s, json.loads(b)


def results(program):
    return {k.split('"')[1]: v for k, v in program.metrics()['waymark_forwarded_total'].items()}


def fill(c):
    body = {'batch': [{'type': 'page', 'userId': u.split(':')[1], 'messageId': u} for u in USERS]}
    s, _, b = c.collectors[0].post('/v1/batch', body)
    assert (s, b['accepted']) == (200, len(USERS))
    c.drain()


def test_profilers_ask_each_other_over_tls(kafka, tmp_path):
    with cluster(kafka, str(tmp_path), None) as c:
        wait_served(c, by=c.profilers)
        fill(c)
        for p in c.profilers:
            for u in USERS:
                s, b = wait_until(lambda p=p, u=u: (ask(p, u)[0] != 503) and ask(p, u), 30, f'{u} of {p.name}')
                assert s == 200 and b['id'] == u, (u, s, b)
        assert all(results(p).get('answered', 0) > 0 for p in c.profilers), [results(p) for p in c.profilers]
        code, _, err = c.profilers[0].command('profile', USERS[0])
        assert code == 0, err


def test_a_peer_that_is_not_trusted_is_told_nothing(kafka, tmp_path):
    """Look-ups carry the caller's token: it goes to no server that cannot prove who it is."""
    other = Authority(str(tmp_path / 'other'), 'another authority')
    with cluster(kafka, str(tmp_path), other.cert) as c:
        fill(c)
        p = c.profilers[0]
        wait_until(lambda: p.metrics()['waymark_partition_owned'] and
                   0 < sum(p.metrics()['waymark_partition_owned'].values()) < 6, 60, 'a part of the partitions')
        answers = wait_until(lambda: (lambda a: {200, 503} == set(a) and a)([ask(p, u)[0] for u in USERS]), 60,
                             'own ones answered, others refused')
        assert answers.count(200) > 0
        assert results(p).get('answered', 0) == 0, results(p)
