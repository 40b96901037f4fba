"""The log on a real Kafka: the programs in C that need one, with a broker that they may pause and restart."""
import os
import subprocess

import pytest
from support.instance import BUILD
from support.kafka import SCRIPT


@pytest.mark.parametrize('name', ['test_event_log_kafka_real', 'test_event_log_kafka_broker'])
def test_real_kafka(kafka, name):
    env = {**os.environ, 'WAYMARK_KAFKA': kafka.address, 'WAYMARK_KAFKA_DIR': kafka.dir, 'WAYMARK_KAFKA_SCRIPT': SCRIPT}
    r = subprocess.run([os.path.join(os.path.abspath(BUILD), 'tests', name)], env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=550)
    print(r.stdout)
    assert r.returncode == 0, '\n'.join(line for line in r.stdout.splitlines() if 'ERROR' in line or 'FAILED' in line)
    assert 'skipped' not in r.stdout
