"""Figures of the production mode, each beside its baseline in the same run, broker and Redis on the same machine.

  produce        librdkafka alone: the same keys and values into a topic, idempotent, acked by all, lz4
  collect 50     POST /v1/batch of 50 events, answered when Kafka has acked them; no profiler runs
  consume        librdkafka alone: the same topic read into memory
  fold           a profiler from nothing to the end of that topic, with dedup, paths, facts and commits
  redis GET      redis-benchmark, GET of values as large as an answer, as many connections
  look-up        GET /v1/profiles/{id} at a profiler that does not own the profiles: answered from Redis
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
from bench_http import EVENTS, wrk  # noqa: E402
from support import instance  # noqa: E402
from support.cluster import Cluster  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.redis import Redis  # noqa: E402

LOOK_UP = '''
PEOPLE = %s
function request() return wrk.format("GET", "/v1/profiles/user:" .. PEOPLE[math.random(#PEOPLE)], HEADERS) end
'''
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


def partition_of(key, partitions):
    """murmur2 of the bytes, as Kafka's Java client has it."""
    data, m = key.encode(), 0x5bd1e995
    h = 0x9747b28c ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], 'little') * m & 0xffffffff
        h = h * m & 0xffffffff ^ ((k ^ k >> 24) * m & 0xffffffff)
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], 'little')) * m & 0xffffffff
    h = (h ^ h >> 13) * m & 0xffffffff
    return ((h ^ h >> 15) & 0x7fffffff) % partitions


def others_people(profiler, partitions):
    """Users whose partition another profiler owns."""
    owned = {int(labels.split('"')[1]) for labels, v in profiler.metrics()['waymark_partition_owned'].items() if v}
    return [f'u{n}' for n in range(1, 20001) if partition_of(f'u{n}', partitions) not in owned]


def answers_from_redis(profiler):
    return sum(v for k, v in profiler.metrics().get('waymark_cache_reads_total', {}).items() if 'hit' in k)


def look_up(cluster, redis, seconds, connections, folder):
    """(redis-benchmark's GETs a second, look-ups a second, latency, share of hits)"""
    other = cluster.profilers[1].start()
    instance.wait_until(lambda: 0 < len(others_people(other, cluster.partitions)) < 20000, 30, 'its share of partitions')
    people = others_people(other, cluster.partitions)
    ids = ['user:' + p for p in people]
    for i in range(0, len(ids), 500):  # each is missed once, and then a copy stands in Redis
        body = json.dumps({'ids': ids[i:i + 500]})
        instance.wait_until(lambda: other.request('POST', '/v1/profiles:lookup', body)[0] == 200, 30, 'look-ups')
    size = len(other.request('GET', '/v1/profiles/' + ids[0])[2])
    wrk_script = headers('Bearer ' + instance.TOKEN) + LOOK_UP % json.dumps(people).translate({91: 123, 93: 125})
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
            spooled = instance.total(c.collectors[0].metrics(), 'waymark_spool_events_total')
            records = sum(kafka.ends(c.events))
            c.collectors[0].stop()
            base = raw(c, records)
            print(f'{"produce":<12} {base["produce"]:>9.0f} records/s')
            print(f'{"collect 50":<12} {rate * 50:>9.0f} events/s   p50 {latency.get("50")} p99 {latency.get("99")}  '
                  f'{rate * 50 / base["produce"]:.2f} of produce, {spooled} by the spool')
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
