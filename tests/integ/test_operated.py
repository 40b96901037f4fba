"""What alerts and dashboard ask for is what the programs tell: every name in them is on /metrics of a running collector or
profiler, with HELP and TYPE, and the labels they pick by are there."""
import json
import os
import re
import shutil

import pytest
import yaml
from support.certificates import Authority
from support.cluster import Cluster
from support.instance import BEACON, TOKEN
from support.outage import rewrite, wait_hits, watching
from support.redis import Redis

CONFIG = os.path.join(os.path.dirname(__file__), '..', '..', 'config')
# Functions, operators and words of PromQL are not names of metrics.
NAME = re.compile(r'\bwaymark_[a-z_]+\b')


def expressions():
    with open(os.path.join(CONFIG, 'prometheus', 'waymark.rules.yml')) as f:
        for group in yaml.safe_load(f)['groups']:
            yield from ((r['alert'], r['expr']) for r in group['rules'])
    with open(os.path.join(CONFIG, 'grafana', 'waymark.json')) as f:
        for p in json.load(f)['panels']:
            yield from ((p['title'], t['expr']) for t in p.get('targets', []))


@pytest.fixture(scope='module')
def told(shared_kafka, tmp_path_factory):
    """What the programs tell on /metrics, of a cluster that serves TLS and in which everything has happened once."""
    authority = Authority(str(tmp_path_factory.mktemp('authority')))
    tls = '  tls: {{certificate: {}, key: {}}}\n'.format(*authority.sign('shown'))
    with Redis() as redis:
        c = Cluster(shared_kafka.well(), collectors=1, profilers=2, redis=redis, more_collector=tls,
                    more_profiler=tls + f'  peer_ca: {authority.cert}\n')
        for p in c.programs():
            p.tls = authority.client()
        with c:
            yield texts(c)


def texts(c):
    """Of all programs, after each has had something to do."""
    with c.load():
        c.wait_acked()
        for u in c.acked_profiles()[:20]:
            for p in c.profilers:
                p.get('/v1/profiles/' + u)
    c.collectors[0].post('/v1/batch', {'batch': [{'type': 'rubbish'}, {'type': 'page', 'userId': 'x'}]}, BEACON)
    return [p.request('GET', '/metrics')[2].decode() for p in c.programs()]


def series(texts):
    out = {}
    for text in texts:
        for line in text.splitlines():
            m = re.match(r'(\w+)(?:\{(.*)\})? ', line) if not line.startswith('#') else None
            if m:
                out.setdefault(m[1], set()).update(re.findall(r'(\w+)="', m[2] or ''))
    return out


def test_every_name_is_told(told):
    there = series(told)
    for what, expression in expressions():
        names = NAME.findall(re.sub(r'"[^"]*"', '""', expression))
        assert names or 'up{' in expression, what
        for name in names:
            assert name in there, f'{what} asks for {name}'


def test_every_label_is_told(told):
    there = series(told)
    for what, expression in expressions():
        for name, picked in re.findall(r'(waymark_[a-z_]+)\{([^}]*)\}', expression):
            labels = set(re.findall(r'(\w+)\s*(?:=~|!=|!~|=)', re.sub(r'"[^"]*"', '""', picked))) - {'instance', 'job'}
            assert labels <= there[name], f'{what} picks {name} by {labels}'


def test_every_metric_has_help_and_type(told):
    for text in told:
        described = set(re.findall(r'^# HELP (\w+) \S', text, re.M)) & set(re.findall(r'^# TYPE (\w+) (?:counter|gauge|histogram)$', text, re.M))
        for name in series([text]):
            assert name in described or re.sub(r'_(bucket|sum|count)$', '', name) in described, name


def test_states_that_alerts_pick_exist(told):
    """Label values that an alert names are ones that the programs use."""
    joined = '\n'.join(told)
    assert 'outcome="bad"' in joined and 'reason="unavailable"' in joined and 'reason="rate_limited"' in joined
    assert TOKEN not in joined and BEACON not in joined


# --- the works of the runbook ---

def test_redis_as_the_runbook_sets_it_up(shared_kafka, tmp_path):
    """Its settings and the rights of its user are enough, and no more than what is used."""
    with open(os.path.join(CONFIG, 'RUNBOOK.md')) as f:
        block = re.search(r'^ *maxmemory 4gb\n(?: +[a-z].*\n)+', f.read(), re.M)[0]
    options = []
    for line in block.splitlines():
        words = line.replace('>PASSWORD', '>secret').replace('4gb', '64mb').replace('""', '').split()
        options += ['--' + words[0], *(words[1:] or [''])]
    (tmp_path / 'password').write_text('secret\n')
    with Redis(*options, '--requirepass', 'other') as redis:
        redis.url = redis.url.replace('redis://', 'redis://waymark@')
        c = Cluster(shared_kafka.well(), profilers=2, redis=redis, more_redis=f'  password_file: {tmp_path}/password\n')
        for p in c.programs():  # the rights hold for names that begin with "waymark:"
            rewrite(p, f'prefix: "{c.prefix}"\n  password_file', 'prefix: "waymark:"\n  password_file')
        with c:
            with c.load(), watching(c):
                c.wait_acked()
                wait_hits(c)
            c.finish()
        log = redis.client(password='other')
        assert not log.execute_command('ACL', 'LOG'), 'nothing was refused'
        used = set(log.info('commandstats')) - {'cmdstat_acl|log', 'cmdstat_ping', 'cmdstat_hello'}
        granted = {'cmdstat_' + w[1:] for w in block.split() if w.startswith('+')}
        assert {u for u in used if not u.startswith('cmdstat_acl')} <= granted


def test_both_programs_with_one_configuration(shared_kafka):
    """As the units run them on one machine: one file, one data folder, one name, which is made at the first start."""
    c = Cluster(shared_kafka.well(), collectors=1, profilers=1)
    for p in c.programs():
        rewrite(p, 'data: ./data', f'data: {c.dir}/data')
        rewrite(p, f'instance: {p.name}\n', '')
    shutil.copy(c.collectors[0].config, c.profilers[0].config)
    with c:
        with c.load():
            c.wait_acked()
            for p in c.programs():
                p.kill()
            c.start()
            c.wait_acked()
        c.finish()
        assert set(os.listdir(f'{c.dir}/data')) >= {'instance', 'spool', 'state'}
