"""script/kafka: what it promises to tests, benchmarks and people."""
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from support.instance import free_ports, wait_until
from support.kafka import JAVA, SCRIPT, Kafka, fresh_prefix, lives


def script(*args, program=SCRIPT, path=None, **more):
    env = {**os.environ, 'KAFKA_JAVA_OPTS': JAVA, **({'PATH': path} if path else {}), **more}
    r = subprocess.run([program, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env, timeout=400)
    return r.returncode, r.stdout, r.stderr


def test_data_and_address_outlive_a_restart(kafka):
    del kafka  # where it cannot be had this is skipped
    port, = free_ports(1)
    with Kafka(port=port) as k:
        assert k.address == f'127.0.0.1:{port}'
        topic, pid = fresh_prefix() + 'kept', k.pid()
        k.create_topic(topic, 2)
        place = k.produce(topic, b'value', b'key')
        assert script('start', k.dir) == (0, k.address + '\n', ''), 'a second start says where the first is'
        assert k.pid() == pid
        assert script('stop', k.dir) == (0, '', '')
        assert k.pid() is None and not lives(pid)
        assert script('stop', k.dir) == (0, '', ''), 'it is stopped already'
        assert script('start', k.dir) == (0, k.address + '\n', '')
        (record,) = k.records(topic)
        assert (record.partition(), record.offset()) == place and record.value() == b'value'


def test_a_port_that_is_taken(kafka, tmp_path):
    code, out, err = script('start', str(tmp_path), str(kafka.port), KAFKA_PORT_LIMIT='1')
    assert (code, out) == (1, '') and f'port {kafka.port} is taken' in err, (code, out, err)
    assert not (tmp_path / 'pid').exists()


def test_a_port_that_becomes_free_is_waited_for(kafka):
    del kafka
    port, = free_ports(1)
    before = socket.create_server(('127.0.0.1', port))
    closer = threading.Timer(2, before.close)
    closer.start()
    with Kafka(port=port) as k:
        assert k.address == f'127.0.0.1:{port}' and before.fileno() == -1
    closer.join()


def test_a_process_lives_while_any_of_its_threads_does():
    """Its first thread has ended, another waits."""
    text = ('import ctypes, os, threading\n'
            'threading.Thread(target=lambda: os.read(0, 1)).start()\n'
            'print("there", flush=True)\n'
            'ctypes.CDLL(None).pthread_exit(None)\n')
    with subprocess.Popen([sys.executable, '-c', text], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        assert p.stdout.readline() == b'there\n'

        def first():
            with open(f'/proc/{p.pid}/stat') as f:
                return f.read().rpartition(')')[2].split()[0]
        wait_until(lambda: first() == 'Z', 10, 'its first thread to end')
        assert lives(p.pid)
        p.kill()
        wait_until(lambda: not lives(p.pid), 10, 'its end')


@pytest.mark.parametrize('args', [(), ('start',), ('stop',), ('begin', 'x'), ('start', 'x', '1', '2')])
def test_wrong_usage(args):
    code, out, err = script(*args)
    assert (code, out) == (2, '') and 'usage' in err


@pytest.mark.parametrize('missing', ['java', 'mvn', 'kcat'])
def test_what_is_missing_is_said(tmp_path, missing):
    """In a checkout without the jars, on a machine without that program."""
    programs = tmp_path / 'bin'
    programs.mkdir()
    for folder in ('/bin', '/usr/bin'):
        for name in os.listdir(folder):
            if name != missing and not (programs / name).exists():
                (programs / name).symlink_to(os.path.join(folder, name))
    (tmp_path / 'script').mkdir()
    shutil.copy(SCRIPT, tmp_path / 'script' / 'kafka')
    code, out, err = script('start', str(tmp_path / 'data'), program=str(tmp_path / 'script' / 'kafka'), path=str(programs))
    assert (code, out) == (3, ''), (code, out, err)
    assert 'missing' in err and 'script/setup' in err and {'mvn': 'Maven', 'java': 'Java'}.get(missing, missing) in err
