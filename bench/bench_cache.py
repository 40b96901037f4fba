"""Look-ups through the cache against redis-benchmark's GET of the same size, in turn on one Redis: `bench_cache.py
--build BUILD`. Prints both and the ratio of the medians."""
import argparse
import os
import re
import socket
import statistics
import subprocess
import tempfile
import time

ROUNDS = 3


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def benchmark_get(port, size):
    out = subprocess.run(['redis-benchmark', '-p', str(port), '-t', 'set,get', '-d', str(size), '-c', '32', '-P', '16',
                          '-n', '300000', '-r', '1000', '--csv'], capture_output=True, text=True, check=True).stdout
    return float(re.search(r'"GET","([\d.]+)"', out).group(1))


def lookups(program, port, size, in_flight):
    out = subprocess.run([program, f'redis://127.0.0.1:{port}', str(size), str(in_flight)], capture_output=True,
                         text=True, check=True).stdout
    rate, hits = re.match(r'(\d+) look-ups/s, ([\d.]+) % hits', out).groups()
    assert float(hits) > 99, out
    return float(rate)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--build', default='build')
    program = os.path.join(parser.parse_args().build, 'bench', 'bench_cache')
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        redis = subprocess.Popen(['redis-server', '--port', str(port), '--bind', '127.0.0.1', '--save', '', '--appendonly',
                                  'no', '--dir', folder], stdout=subprocess.DEVNULL)
        try:
            while socket.socket().connect_ex(('127.0.0.1', port)):
                assert redis.poll() is None
                time.sleep(0.05)
            for size in (400, 2000, 8000):
                rounds = [(benchmark_get(port, size), lookups(program, port, size, 32), lookups(program, port, size, 512))
                          for _ in range(ROUNDS)]
                raw, few, many = (statistics.median(r) for r in zip(*rounds))
                print(f'{size} bytes: redis-benchmark GET -c 32 -P 16: {raw:,.0f}/s; look-ups, 32 in flight: {few:,.0f}/s'
                      f' ({few / raw:.2f}); 512 in flight: {many:,.0f}/s ({many / raw:.2f})')
        finally:
            redis.terminate()
            redis.wait()


if __name__ == '__main__':
    main()
