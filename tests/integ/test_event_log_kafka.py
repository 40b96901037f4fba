"""The log on a real Kafka: test_event_log_kafka_real.c with a broker that it may pause and restart."""
import os
import subprocess

from support.instance import BUILD
from support.kafka import SCRIPT

PROGRAM = os.path.join(os.path.abspath(BUILD), 'tests', 'test_event_log_kafka_real')


def test_real_kafka(kafka):
    env = {**os.environ, 'WAYMARK_KAFKA': kafka.address, 'WAYMARK_KAFKA_DIR': kafka.dir, 'WAYMARK_KAFKA_SCRIPT': SCRIPT}
    r = subprocess.run([PROGRAM], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=550)
    print(r.stdout)
    assert r.returncode == 0, '\n'.join(line for line in r.stdout.splitlines() if 'ERROR' in line or 'FAILED' in line)
    assert 'skipped' not in r.stdout
