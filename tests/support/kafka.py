"""A real Kafka of one node (script/kafka) in a temporary folder, and a plain client beside Waymark to look into it."""
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile

import confluent_kafka
import confluent_kafka.admin
import pytest
from support.instance import OWN_PORTS, PATIENCE, wait_until
from support.proxy import Proxy

SCRIPT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..', 'script', 'kafka'))
# Tests start many and keep them for seconds: a small heap and the quick compiler only.
JAVA = '-Xms256m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1'
_prefixes = itertools.count()


def fresh_prefix():
    """Of topics that no other test has."""
    return f't{os.getpid()}-{next(_prefixes)}.'


class Kafka:
    def __init__(self, port=None, proxy=None):
        """`proxy`: (port to listen on as well, port that clients which come there are sent to)."""
        self.dir = tempfile.mkdtemp(prefix='waymark-kafka-')
        self.port, self.proxy, self.address = port, proxy, None
        self._admin = self._consumer = None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc):
        self._admin = None
        if self._consumer:
            self._consumer.close()
        if self.pid():
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def proxied(self):
        """A proxy before it; whom `proxy_address` is given comes through it, always."""
        return Proxy(*self.proxy)

    @property
    def proxy_address(self):
        return f'127.0.0.1:{self.proxy[1]}'

    def pid(self):
        try:
            with open(os.path.join(self.dir, 'pid')) as f:
                return int(f.read())
        except (OSError, ValueError):
            return None

    def start(self):
        env = {**os.environ, 'KAFKA_JAVA_OPTS': JAVA, 'KAFKA_PORTS': f'{OWN_PORTS.start}:{OWN_PORTS.stop}',
               'KAFKA_START_LIMIT': str(60 * PATIENCE)}
        if self.proxy:
            env['KAFKA_PROXY'] = '%d:%d' % tuple(self.proxy)
        more = [str(self.port)] if self.port else []
        r = subprocess.run([SCRIPT, 'start', self.dir, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           stdin=subprocess.DEVNULL, env=env, timeout=400)
        if r.returncode == 3 and os.environ.get('CI') != 'true':
            pytest.skip('no Kafka here: ' + r.stderr.strip().splitlines()[-1])
        assert r.returncode == 0, r.stderr
        self.address = r.stdout.strip()
        self.port = int(self.address.rpartition(':')[2])  # kept, whatever comes
        return self

    def stop(self):
        subprocess.run([SCRIPT, 'stop', self.dir], check=True, stdin=subprocess.DEVNULL, timeout=120)

    def signal(self, number):
        os.kill(self.pid(), number)

    def kill(self):
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not lives(pid), 20, 'the death of the broker')
        os.unlink(os.path.join(self.dir, 'pid'))

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def restart(self):
        self.stop()
        return self.start()

    def well(self):
        """Starts it if a test left it ended."""
        pid = self.pid()
        if not pid or not lives(pid):
            return self.start()
        self.resume()
        return self

    # --- topics ----------------------------------------------------------------------------------------------
    def admin(self):
        if not self._admin:
            self._admin = confluent_kafka.admin.AdminClient({'bootstrap.servers': self.address, 'log_level': 0})
        return self._admin

    def consumer(self):
        """For questions about offsets."""
        if not self._consumer:
            self._consumer = confluent_kafka.Consumer({'bootstrap.servers': self.address, 'group.id': 'tests', 'log_level': 0,
                                                       'enable.auto.commit': False})
        return self._consumer

    def topics(self):
        def listed():
            with contextlib.suppress(confluent_kafka.KafkaException):
                return (self.admin().list_topics(timeout=20).topics, )
            return None
        found, = wait_until(listed, 60, 'the broker to list its topics')
        return {name: len(t.partitions) for name, t in found.items()}

    def delete_topics(self, *names):
        def gone():
            left = sorted(set(names) & set(self.topics()))
            for future in (self.admin().delete_topics(left, operation_timeout=20).values() if left else ()):
                with contextlib.suppress(confluent_kafka.KafkaException):  # done already, or asked again
                    future.result(30)
            return not left
        wait_until(gone, 60, 'the topics to be gone')

    def create_topic(self, name, partitions, **config):
        def made():
            new = confluent_kafka.admin.NewTopic(name, partitions, 1, config=config)
            try:
                self.admin().create_topics([new], operation_timeout=20)[name].result(30)
            except confluent_kafka.KafkaException as e:
                return e.args[0].code() == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS and name in self.topics()
            return True
        wait_until(made, 30, f'topic {name} to be made')
        wait_until(lambda: name in self.topics(), 30, f'topic {name} to be there')

    def ends(self, topic):
        """Next offset to write, of each partition."""
        place = confluent_kafka.TopicPartition

        def ask():
            n = self.topics().get(topic, 0)
            try:
                return [self.consumer().get_watermark_offsets(place(topic, p), timeout=20)[1] for p in range(n)]
            except confluent_kafka.KafkaException:  # a leader that is not ready yet
                return None
        return wait_until(ask, 30, f'the ends of {topic}')

    def records(self, topic):
        """All that it holds now: messages of confluent_kafka."""
        ends, out = self.ends(topic), []
        reader = confluent_kafka.Consumer({'bootstrap.servers': self.address, 'group.id': 'tests-reading', 'log_level': 0,
                                           'enable.auto.commit': False})
        try:
            begin = confluent_kafka.OFFSET_BEGINNING
            left = {p: end for p, end in enumerate(ends) if end > 0}
            reader.assign([confluent_kafka.TopicPartition(topic, p, begin) for p in left])

            def read():
                for m in reader.consume(1000, 0.5):
                    if not m.error():
                        out.append(m)
                        if m.offset() + 1 >= ends[m.partition()]:
                            left.pop(m.partition(), None)
                return not left
            if left:
                wait_until(read, 60, f'the records of {topic}')
        finally:
            reader.close()
        return out

    def produce(self, topic, value, key=None, partition=-1, headers=None):
        """One record past Waymark; (partition, offset)."""
        done = []
        p = confluent_kafka.Producer({'bootstrap.servers': self.address, 'log_level': 0})
        p.produce(topic, value=value, key=key, partition=partition, headers=headers,
                  on_delivery=lambda error, m: done.append((error, m)))
        p.flush(60)
        (error, m), = done
        assert error is None, error
        return m.partition(), m.offset()


def _thread_lives(path):
    try:
        with open(path) as f:
            return f.read().rpartition(')')[2].split()[0] not in ('Z', 'X')
    except OSError:
        return False


def lives(pid):
    """Whether any of its threads does: the first may be dead while others still hold files and sockets."""
    try:
        threads = os.listdir(f'/proc/{pid}/task')
    except OSError:
        return False
    return any(_thread_lives(f'/proc/{pid}/task/{t}/stat') for t in threads)
