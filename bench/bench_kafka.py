"""Figures of the production mode, each beside its baseline in the same run, broker and Redis on the same machine.

  produce        librdkafka alone: the same keys and values into a topic, idempotent, acked by all, lz4
  collect 50     POST /v1/batch of 50 events, answered when Kafka has acked them; no profiler runs
  consume        librdkafka alone: the same topic read into memory
  fold           a profiler from nothing to the end of that topic, with dedup, paths, facts and commits
  redis GET      redis-benchmark, GET of values as large as an answer, as many connections
  look-up        GET /v1/profiles/{id} at a profiler that owns nothing, answered from Redis

The first are of one partition count, told with --partitions.
"""
import argparse
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'tests')]
from bench_http import EVENTS, LOOKUP, wrk  # noqa: E402
from support import instance  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.redis import Redis  # noqa: E402

BENCH = os.path.join(os.path.abspath(instance.BUILD), 'bench', 'bench_kafka')


def headers(authorization):
    return 'HEADERS = {["Authorization"]="%s"}\nRUN = "%d"\n' % (authorization, os.getpid())


def collect(cluster, seconds, connections, folder):
    """(requests a second, latency) of batches of 50"""
    basic = 'Basic ' + base64.b64encode((instance.BEACON + ':').encode()).decode()
    rate, latency, bad = wrk(f'http://127.0.0.1:{cluster.collectors[0].port}', seconds, connections,
                             headers(basic) + 'BATCH = 50\n' + EVENTS, folder)
    assert not bad, f'{bad} answers were not 200'
    return rate, latency


def raw(cluster, records):
    """{consume, produce}: records a second of librdkafka alone"""
    scratch = cluster.prefix + 'scratch'
    cluster.kafka.create_topic(scratch, cluster.partitions)
    out = subprocess.run([BENCH, cluster.kafka.address, cluster.events, scratch, str(records)], check=True,
                         capture_output=True, text=True).stdout
    return {name: int(n) / float(s) for name, n, s in re.findall(r'(\w+) (\d+) ([\d.]+)', out)}


def fold(cluster, records):
    """Records a second from the start of an empty profiler to the last record on show."""
    p = cluster.profilers[0].start(ready=False)
    begun = []

    def folded():
        offset = sum(((p.answers_metrics() or {}).get('waymark_state_offset') or {}).values())
        if offset and not begun:
            begun.append((time.monotonic(), offset))
        return offset >= records
    instance.wait_until(folded, 600, 'the fold')
    start, first = begun[0]
    return (records - first) / (time.monotonic() - start)


def answers_from_redis(profiler):
    return sum(v for k, v in profiler.metrics().get('waymark_cache_reads_total', {}).items() if 'hit' in k)


def look_up(cluster, redis, seconds, connections, folder):
    """(redis-benchmark's GETs a second, look-ups a second, latency, share of hits)"""
    other = cluster.profilers[1].start()
    ids = [f'user:u{n}' for n in range(1, 20001)]
    for i in range(0, len(ids), 500):  # each is missed once, and then a copy stands in Redis
        body = json.dumps({'ids': ids[i:i + 500]})
        instance.wait_until(lambda: other.request('POST', '/v1/profiles:lookup', body)[0] == 200, 30, 'look-ups')
    size = len(other.request('GET', '/v1/profiles/user:u1')[2])
    wrk_script = headers('Bearer ' + instance.TOKEN) + LOOKUP
    before = answers_from_redis(other)
    rate, latency, bad = wrk(f'http://127.0.0.1:{other.port}', seconds, connections, wrk_script, folder)
    hits = (answers_from_redis(other) - before) / (rate * seconds)
    assert not bad, f'{bad} answers were not 200'
    port = redis.url.rpartition(':')[2].split('/')[0]
    out = subprocess.run(['redis-benchmark', '-p', port, '-t', 'set,get', '-d', str(size), '-r', '20000', '-n', '400000',
                          '-c', str(connections), '--csv'], check=True, capture_output=True, text=True).stdout
    return float(re.search(r'"GET","([\d.]+)"', out)[1]), rate, latency, hits, size


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seconds', type=int, default=10)
    p.add_argument('--connections', type=int, default=32)
    p.add_argument('--partitions', type=int, default=4)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder, Kafka() as kafka, Redis() as redis:
        c = Cluster(kafka, collectors=1, profilers=2, partitions=a.partitions, redis=redis)
        try:
            c.create_topics()
            c.collectors[0].start()
            rate, latency = collect(c, a.seconds, a.connections, folder)
            records = sum(kafka.ends(c.events))
            c.collectors[0].stop()
            base = raw(c, records)
            print(f'{"produce":<12} {base["produce"]:>9.0f} records/s')
            print(f'{"collect 50":<12} {rate * 50:>9.0f} events/s   p50 {latency.get("50")} p99 {latency.get("99")}  '
                  f'{rate * 50 / base["produce"]:.2f} of produce')
            print(f'{"consume":<12} {base["consume"]:>9.0f} records/s')
            folded = fold(c, records)
            print(f'{"fold":<12} {folded:>9.0f} events/s   {folded / base["consume"]:.2f} of consume, {records} events')
            gets, rate, latency, hits, size = look_up(c, redis, a.seconds, a.connections, folder)
            print(f'{"redis GET":<12} {gets:>9.0f} a second of {size} bytes')
            print(f'{"look-up":<12} {rate:>9.0f} a second   p50 {latency.get("50")} p99 {latency.get("99")}  '
                  f'{rate / gets:.2f} of redis GET, {hits:.0%} from Redis')
        finally:
            c.__exit__()


if __name__ == '__main__':
    main()
