"""waymark topics: makes the topics on a real Kafka, checks those that are there, lists them."""
import os
import subprocess

from support.instance import WAYMARK
from support.kafka import fresh_prefix


def configuration(folder, text):
    path = os.path.join(folder, 'waymark.yaml')
    with open(path, 'w') as f:
        f.write(text)
    return path


def topics(config, *arguments):
    return subprocess.run([WAYMARK, 'topics', *arguments, '--config', config], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)


TOPICS = ('events', 'bad', 'claims', 'audit', 'audiences')


def on_kafka(tmp_path, kafka, prefix, partitions=3):
    return configuration(tmp_path, f'data: ./data\nevent_log: kafka\ntopic_prefix: {prefix}\npartitions: {partitions}\n'
                                   f'kafka:\n  bootstrap.servers: {kafka.address}\n')


def test_create_and_list(tmp_path, kafka):
    prefix = fresh_prefix()
    config = on_kafka(tmp_path, kafka, prefix)
    r = topics(config, 'list')
    assert (r.returncode, r.stdout.splitlines()) == (0, [f'{prefix}{t}: missing' for t in TOPICS])
    r = topics(config, 'create', '--replicas', '1')
    assert (r.returncode, r.stderr) == (0, '')
    assert r.stdout.splitlines() == [f'{prefix}events: made, 3 partitions', f'{prefix}bad: made, 1 partition',
                                     f'{prefix}claims: made, 3 partitions', f'{prefix}audit: made, 1 partition',
                                     f'{prefix}audiences: made, 3 partitions']
    r = topics(config, 'create')
    assert (r.returncode, r.stdout.count(': is there')) == (0, 5)
    assert 'warning' not in r.stdout
    kafka.produce(f'{prefix}events', b'x', partition=2)
    assert f'{prefix}events  partition 2  begin 0  end 1' in topics(config, 'list').stdout.splitlines()


def test_what_is_wrong_is_named(tmp_path, kafka):
    prefix = fresh_prefix()
    assert topics(on_kafka(tmp_path, kafka, prefix), 'create').returncode == 0
    r = topics(on_kafka(tmp_path, kafka, prefix, partitions=4), 'create')
    assert r.returncode == 1
    assert f'{prefix}events has 3 partitions, the configuration says 4' in r.stderr
    short = fresh_prefix()
    kafka.create_topic(f'{short}events', 3, **{'retention.ms': '60000', 'max.message.bytes': '10000000'})
    r = topics(on_kafka(tmp_path, kafka, short), 'create')
    assert r.returncode == 0
    assert f'{short}events: warning: retention.ms is 60000' in r.stdout
    assert f'{short}audit: warning' not in r.stdout  # made with -1
    short = fresh_prefix()
    kafka.create_topic(f'{short}audit', 1, **{'retention.ms': str(10**12), 'max.message.bytes': '10000000'})
    assert f'{short}audit: warning: retention.ms is 10' in topics(on_kafka(tmp_path, kafka, short), 'create').stdout


def test_usage(tmp_path):
    config = configuration(tmp_path, 'data: ./data\n')
    assert topics(config).returncode == 2
    assert topics(config, 'drop').returncode == 2
    assert topics(config, 'create', '--replicas', '0').returncode == 2
    r = topics(config, 'list')
    assert r.returncode == 1 and 'embedded' in r.stderr
