"""A real Redis of a test's own on loopback, that can be killed, paused, emptied and brought back with an old dump."""
import os
import shutil
import signal
import subprocess
import tempfile

import redis
from support.instance import free_ports, wait_until


class Redis:
    def __init__(self, *options):
        """`options`: more of redis-server's, such as '--requirepass', 'x'."""
        self.dir = tempfile.mkdtemp(prefix='waymark-redis-')
        self.port, = free_ports(1)
        self.options, self.process = options, None
        self.url = f'redis://127.0.0.1:{self.port}/0'

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        if self.alive():
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def alive(self):
        return self.process and self.process.poll() is None

    def start(self):
        with open(os.path.join(self.dir, 'log'), 'ab') as log:
            self.process = subprocess.Popen(
                ['redis-server', '--port', str(self.port), '--bind', '127.0.0.1', '--dir', self.dir, '--save', '',
                 '--appendonly', 'no', '--dbfilename', 'dump.rdb', *self.options], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL)

        def up():
            assert self.alive(), f'redis-server ended; see {self.dir}/log'
            try:
                return self.client().ping()
            except redis.exceptions.AuthenticationError:
                return True
            except redis.exceptions.RedisError:
                return False
        wait_until(up, 20, 'Redis to answer')
        return self

    def client(self, **more):
        return redis.Redis(host='127.0.0.1', port=self.port, socket_timeout=30, **more)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def flush(self):
        self.client().flushall()

    def dump(self):
        """Keeps what it holds now, for restart_with_dump."""
        self.client().save()
        shutil.copy(os.path.join(self.dir, 'dump.rdb'), os.path.join(self.dir, 'kept.rdb'))

    def restart_with_dump(self):
        if self.alive():
            self.kill()
        shutil.copy(os.path.join(self.dir, 'kept.rdb'), os.path.join(self.dir, 'dump.rdb'))
        return self.start()

    def restart_empty(self):
        if self.alive():
            self.kill()
        path = os.path.join(self.dir, 'dump.rdb')
        if os.path.exists(path):
            os.unlink(path)
        return self.start()
