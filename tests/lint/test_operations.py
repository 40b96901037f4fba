"""The files for operators: units that systemd takes and that leave time to stop, alerts that Prometheus takes and that
fire when they should, a dashboard whose questions can be asked, a runbook with a section for each alert, and links and
commands in the documents that exist."""
import glob
import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
CONFIG = os.path.join(ROOT, 'config')
UNITS = sorted(glob.glob(f'{CONFIG}/systemd/*.service'))
RULES = f'{CONFIG}/prometheus/waymark.rules.yml'
DASHBOARD = f'{CONFIG}/grafana/waymark.json'
MAINS = {'waymark.service': 'cli/serve.c', 'waymark-collector.service': 'collector/main.c',
         'waymark-profiler.service': 'profiler/main.c'}


def read(*path):
    with open(os.path.join(ROOT, *path)) as f:
        return f.read()


def missing(what):
    if os.environ.get('CI') == 'true':
        pytest.fail(what)
    pytest.skip(what)


# --- units ---

def unit(path):
    """section -> key -> values"""
    out, section = {}, None
    for line in read(path).splitlines():
        line = line.strip()
        if line.startswith('['):
            section = out.setdefault(line.strip('[]'), {})
        elif line and line[0] not in '#;':
            key, _, value = line.partition('=')
            section.setdefault(key, []).append(value)
    return out


def test_systemd_takes_the_units(tmp_path):
    if not shutil.which('systemd-analyze'):
        missing('systemd-analyze is not there')
    for path in UNITS:
        text = re.sub(r'^ExecStart=(\S+)', 'ExecStart=/bin/true', read(path), flags=re.M)
        copy = tmp_path / os.path.basename(path)
        copy.write_text(re.sub(r'^(User|Group)=.*', r'\1=root', text, flags=re.M))
        r = subprocess.run(['systemd-analyze', 'verify', '--man=no', str(copy)], capture_output=True, text=True)
        said = [line for line in r.stderr.splitlines() if 'waymark' in line]
        assert r.returncode == 0 and not said, r.stderr
        # A tenth of what an unprotected unit gets (9.6) and a half; 2.0 is "OK".
        r = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--threshold=20', path], capture_output=True, text=True)
        assert r.returncode == 0, r.stdout[-2000:] + r.stderr


def test_units_give_time_to_stop_and_always_restart():
    assert sorted(MAINS) == [os.path.basename(p) for p in UNITS]
    for path in UNITS:
        u, name = unit(path), os.path.basename(path)
        service = u['Service']
        bounds = [int(ms) for ms in re.findall(r'^#define STOP\w*_MS (\d+)', read(MAINS[name]), re.M)]
        assert bounds, MAINS[name]
        # Beside them the log takes 5 s to close.
        assert int(service['TimeoutStopSec'][0]) >= sum(bounds) / 1000 + 10, name
        assert service['Restart'] == ['always'] and u['Unit']['StartLimitIntervalSec'] == ['0']
        assert service['User'] == ['waymark'] and service['NoNewPrivileges'] == ['true']
        assert service['ProtectSystem'] == ['strict'] and service['StateDirectory'] == ['waymark']
        assert u['Unit']['After'] == u['Unit']['Wants'] == ['network-online.target']
        program = os.path.basename(service['ExecStart'][0].split()[0])
        assert program == ('waymark' if name == 'waymark.service' else name[:-len('.service')])
        # Each connection is a file.
        connections = int(re.search(r'LIMIT_CONNECTIONS (\d+)', read('common/limits.h'))[1])
        assert int(service['LimitNOFILE'][0]) >= 4 * connections
    assert re.search(r'^u waymark ', read('config/systemd/waymark.sysusers'), re.M)


# --- alerts ---

@pytest.fixture(scope='module')
def promtool():
    """That of the path, else the one of Debian's package, unpacked and not installed: nothing of it is to run as a server."""
    cache = os.path.join(ROOT, '.cache', 'promtool')
    found = shutil.which('promtool') or os.path.join(cache, 'usr', 'bin', 'promtool')
    if not os.path.exists(found):
        os.makedirs(cache, exist_ok=True)
        subprocess.run('apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }', shell=True, cwd=cache,
                       capture_output=True, timeout=300)
        for package in glob.glob(f'{cache}/prometheus_*.deb'):
            subprocess.run(['dpkg-deb', '-x', package, cache], check=True)
            os.unlink(package)
        if not os.path.exists(found):
            missing('promtool is not there and cannot be fetched')
        for path in glob.glob(f'{cache}/**/*', recursive=True):
            if os.path.isfile(path) and path != found:
                os.unlink(path)
    return found


def alerts():
    return [r for g in yaml.safe_load(read(RULES))['groups'] for r in g['rules']]


def panels():
    return [p for p in json.loads(read(DASHBOARD))['panels'] if p['type'] != 'row']


def dashboard_expressions():
    for p in panels():
        for t in p['targets']:
            yield p['title'], t['expr'].replace('$__rate_interval', '5m').replace('$instance', '.*')


def test_prometheus_takes_the_alerts(promtool):
    r = subprocess.run([promtool, 'check', 'rules', RULES], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


def test_alerts_fire_when_they_should(promtool, tmp_path):
    rules, cases = yaml.safe_load(read(RULES)), yaml.safe_load(read('tests/lint/alerts.yml'))
    for rule in rules['groups'][0]['rules']:
        del rule['annotations']  # promtool compares them too
    (tmp_path / 'rules.yml').write_text(yaml.safe_dump(rules))
    (tmp_path / 'cases.yml').write_text(yaml.safe_dump({**cases, 'rule_files': ['rules.yml']}))
    r = subprocess.run([promtool, 'test', 'rules', 'cases.yml'], capture_output=True, text=True, cwd=tmp_path)
    assert r.returncode == 0, r.stdout + r.stderr
    tried = {t['alertname'] for c in cases['tests'] for t in c['alert_rule_test'] if t['exp_alerts']}
    assert tried == {a['alert'] for a in alerts()}, 'each alert is seen firing'


def test_prometheus_takes_the_questions_of_the_dashboard(promtool, tmp_path):
    rules = [{'record': f'panel:n{i}', 'expr': e} for i, (_, e) in enumerate(dashboard_expressions())]
    file = tmp_path / 'rules.yml'
    file.write_text(yaml.safe_dump({'groups': [{'name': 'panels', 'rules': rules}]}))
    r = subprocess.run([promtool, 'check', 'rules', str(file)], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr


def test_alerts_and_runbook_agree():
    names = [a['alert'] for a in alerts()]
    assert len(names) == len(set(names))
    for a in alerts():
        assert a['labels']['severity'] in ('critical', 'warning'), a
        assert a['annotations']['summary']
        assert a['annotations']['runbook'] == f'RUNBOOK.md#{a["alert"].lower()}'
    sections = re.split(r'^## ', read('config/RUNBOOK.md'), flags=re.M)[1:]
    written = {s.split('\n')[0]: s for s in sections if s.startswith('Waymark')}
    assert sorted(written) == sorted(names)
    for name, text in written.items():
        for part in ('**Means.**', 'See', '**Do.**|do.**'):
            assert any(p in text for p in part.split('|')), f'{name} does not say: {part}'


# --- the dashboard ---

def test_the_dashboard_is_one():
    d = json.loads(read(DASHBOARD))
    assert {v['name']: v['type'] for v in d['templating']['list']} == {'source': 'datasource', 'instance': 'query'}
    ids = [p['id'] for p in d['panels']]
    assert len(ids) == len(set(ids))
    places = set()
    for p in d['panels']:
        g = p['gridPos']
        assert g['x'] + g['w'] <= 24
        cells = {(x, y) for x in range(g['x'], g['x'] + g['w']) for y in range(g['y'], g['y'] + g['h'])}
        assert not cells & places, f'{p["title"]} lies on another panel'
        places |= cells
    for p in panels():
        assert p['description'] and p['datasource']['uid'] == '${source}' and p['targets'], p['title']
        assert p['fieldConfig']['defaults']['unit'], p['title']
        for t in p['targets']:
            assert t['datasource']['uid'] == '${source}'


# --- documents ---

DOCUMENTS = ['README.md', 'config/RUNBOOK.md', 'config/TOPICS.md', 'config/REFERENCE.md']


def anchors(path):
    return {re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in re.findall(r'^#+ (.*)$', read(path), re.M)}


def test_links_lead_somewhere():
    for path in DOCUMENTS:
        for link in re.findall(r'\]\(([^)\s]+)\)', read(path)):
            if '://' in link:
                continue
            file, _, anchor = link.partition('#')
            target = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
            assert os.path.exists(os.path.join(ROOT, target)), f'{path}: {link}'
            assert not anchor or anchor in anchors(target), f'{path}: {link}'


def test_settings_that_documents_name_exist():
    reference = set(re.findall(r'^\| `([\w.]+)`', read('config/REFERENCE.md'), re.M))
    leaves = {r.split('.')[-1] for r in reference}
    other = {'run_id', 'log_partition', 'log_offset', 'record_invalid', 'not_yet', 'rate_limited', 'entered_at', 'rule_version', 'murmur2_random',
             'format_schema_path'}
    for path in ('config/RUNBOOK.md', 'config/TOPICS.md'):
        words = re.findall(r'`([a-z_.]+)(?:: [\w.]+)?`', read(path))
        settings = [w for w in words if re.match(r'(collector|profiler|log|redis)\.', w)]
        assert settings
        for word in settings:
            assert word in reference, f'{path}: {word}'
        for word in words:
            if '_' in word and '.' not in word and not word.startswith('waymark_') and word not in other:
                assert word in leaves, f'{path}: {word}'


def test_commands_that_documents_name_exist():
    commands = set(re.findall(r'^\s*\{"([a-z]+)",', read('cli/main.c'), re.M))
    assert 'serve' in commands
    for path in DOCUMENTS:
        code = re.findall(r'^```.*?^```|`[^`\n]+`', read(path), re.M | re.S)
        named = {c for block in code for c in re.findall(r'(?:^|[`(; ])waymark ([a-z]+)', block, re.M)} - {'on'}
        assert named <= commands, f'{path}: {named - commands}'


def test_words_that_the_runbook_explains_are_said():
    """What an operator is told to look for stands in the sources."""
    table = re.search(r'^\| words \|.*?\n\n', read('config/RUNBOOK.md'), re.M | re.S)[0]
    words = [w for row in table.strip().splitlines()[2:] for w in re.findall(r'`([^`]+)`', row.split('|')[1])]
    assert len(words) >= 5
    sources = ' '.join(read(p) for folder in ('profiler', 'collector', 'common') for p in glob.glob(f'{ROOT}/{folder}/*.c'))
    said = re.sub(r'"\s*"', '', sources)
    for w in words:
        assert w in said, w
