"""Tags and audiences over many people: `bench_audience.py --waymark WAYMARK [--people N]`.

  fold       one log is folded from the start three times: without tags, with the shipped ones, with those and three
             audiences; time, CPU, of which judging, how far judging is behind the fold, and memory
  count      by bitmaps, and by a walk through everybody
  export     rows a second, of a free list in CSV and for Google
  rebuild    a rule over everybody is changed: how long that takes, and look-ups meanwhile
  webhook    from the 200 of an event to the receipt of what follows from it, quiet and beside 1,000 events a second

Everything runs on this machine: profiler, collector, senders and the receiver.
"""
import argparse
import json
import os
import random
import shutil
import statistics
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'tests')]
import shop_people  # noqa: E402
from support import instance, receiver  # noqa: E402
from support.instance import total, wait_until  # noqa: E402

AUDIENCES = {
    'buyers': 'orders >= 1 && spent > 50',
    'active': 'count("Product Viewed", 30) >= 2 || days_since(last_order_at) < 30',
    'at_risk': 'tags.churn_risk == "high" && !in_audience("active")',
}
NO_TAGS = '# none\n'
HZ = os.sysconf('SC_CLK_TCK')


# --- what a process took -------------------------------------------------------------------------------------------

def cpu_of(path):
    with open(path) as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def cpu(pid, thread=None):
    """Seconds of a process, or of its threads of a name."""
    if not thread:
        return cpu_of(f'/proc/{pid}/stat')
    taken = 0
    for t in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{t}/comm') as f:
            if f.read().strip() == thread:
                taken += cpu_of(f'/proc/{pid}/task/{t}/stat')
    return taken


def memory(pid, what='VmRSS'):
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what + ':')) / 1024


# --- an instance ---------------------------------------------------------------------------------------------------

def tags_file(inst, text):
    """None: the shipped tags."""
    with open(inst.config) as f:
        lines = [line for line in f.read().split('\n') if not line.startswith('  tags: ')]
    at = lines.index('profiler:') + 1
    if text is not None:
        with open(os.path.join(inst.dir, 'tags.yaml'), 'w') as f:
            f.write(text)
        lines.insert(at, '  tags: ./tags.yaml')
    with open(inst.config, 'w') as f:
        f.write('\n'.join(lines))


def call(inst, method, path, body=None, limit=600):
    s, _, b = inst.request('p', method, path, None if body is None else json.dumps(body), timeout=limit)
    if s >= 300:
        raise AssertionError(f'{method} {path}: {s} {b[:300]}')
    return json.loads(b)


def gauge(m, name):
    return sum(m.get('waymark_audience_' + name, {}).values())


def live(inst, name):
    try:
        return call(inst, 'GET', f'/v1/audiences/{name}')['state'] == 'live'
    except AssertionError:  # a position that is not judged yet
        return False


def define(inst, name, rule):
    call(inst, 'PUT', f'/v1/audiences/{name}', {'rule': rule})


def judged(m):
    return gauge(m, 'waiting') == 0 and gauge(m, 'behind_seconds') == 0


# --- fold ----------------------------------------------------------------------------------------------------------

def watch_fold(inst, people):
    """From the start until everything is folded, and until everybody is judged."""
    begun, pid = time.monotonic(), inst.process.pid
    out = {'behind': 0, 'peak': 0}
    while True:
        try:
            m = inst.metrics()
        except OSError:
            m = None
        now = time.monotonic() - begun
        if m and gauge(m, 'people') >= people:
            folded = total(m, 'waymark_log_end_offset') == total(m, 'waymark_state_offset')
            if folded and 'fold' not in out:
                out.update(fold=now, fold_cpu=cpu(pid), waiting=gauge(m, 'waiting'))
            if folded and judged(m):
                break
        elif m and total(m, 'waymark_log_end_offset') == total(m, 'waymark_state_offset') and 'fold' not in out:
            out.update(fold=now, fold_cpu=cpu(pid), waiting=gauge(m, 'waiting'))
        if m:
            out['behind'] = max(out['behind'], gauge(m, 'behind_seconds'))
        out['peak'] = max(out['peak'], memory(pid))
        assert inst.process.poll() is None and now < 1800, inst.log()[-3000:]
        time.sleep(0.1)
    out.update(all=now, cpu=cpu(pid), judging=cpu(pid, 'audiences'), judged=total(m, 'waymark_audience_judged_total'),
               rss=memory(pid), bytes=gauge(m, 'bytes'), changes=total(m, 'waymark_audience_changes_total'))
    return out


def refold(inst, what, events, people):
    for folder in ('state', 'audiences', 'exports'):
        shutil.rmtree(os.path.join(inst.dir, 'data', folder), ignore_errors=True)
    inst.start(ready=False)
    r = watch_fold(inst, people)
    print(f'{what:<28} folded {r["fold"]:6.1f} s ({events / r["fold"]:>8,.0f} events/s), judged {r["all"]:6.1f} s '
          f'({events / r["all"]:>8,.0f} events/s); CPU {r["cpu"]:6.1f} s ({r["cpu"] / events * 1e6:5.2f} µs an event), judging '
          f'{r["judging"]:6.1f} s of {r["judged"]:,} people ({r["judging"] / max(1, r["judged"]) * 1e6:5.2f} µs each); behind at '
          f'most {r["behind"]:.1f} s, {r["waiting"]:,.0f} waiting when all was folded; RSS {r["rss"]:,.0f} MiB (at most '
          f'{r["peak"]:,.0f}), of it audiences {r["bytes"] / 2**20:,.1f} MiB; {r["changes"]:,} changes', flush=True)
    return r


def after_restart(inst, what, people):
    """Memory when nothing but what is needed is there."""
    assert inst.stop() == 0
    inst.start(ready=False)
    begun = time.monotonic()

    def known():
        m = inst.metrics()
        return gauge(m, 'people') >= people and judged(m) and \
            inst.request('p', 'POST', '/v1/audiences:count', '{"rule":"false"}')[0] == 200
    wait_until(known, 1800, 'everybody to be known')
    took = time.monotonic() - begun
    rss = memory(inst.process.pid)
    print(f'{what:<28} after a restart: everybody is known after {took:.1f} s; RSS {rss:,.0f} MiB', flush=True)
    return rss


def fold(inst, people, events):
    rss = {}
    assert inst.stop() == 0
    tags_file(inst, NO_TAGS)
    refold(inst, 'no tags', events, people)
    rss['none'] = after_restart(inst, 'no tags', people)
    began = time.monotonic()
    call(inst, 'POST', '/v1/tags/cuts')
    print(f'cut points of quintiles are made in {time.monotonic() - began:.1f} s', flush=True)
    assert inst.stop() == 0
    tags_file(inst, None)
    refold(inst, 'shipped tags', events, people)
    began = time.monotonic()
    audiences(inst)
    print(f'three audiences over everybody are live after {time.monotonic() - began:.1f} s', flush=True)
    assert inst.stop() == 0
    refold(inst, 'and 3 audiences', events, people)
    rss['all'] = after_restart(inst, 'and 3 audiences', people)
    print(f'tags and audiences take {(rss["all"] - rss["none"]) / people * 2**20:,.0f} bytes a person', flush=True)


def people_known(inst):
    wait_until(lambda: inst.request('p', 'POST', '/v1/audiences:count', '{"rule":"false"}')[0] == 200, 1800, 'people to be known')


def audiences(inst):
    people_known(inst)
    for name, rule in AUDIENCES.items():
        define(inst, name, rule)
    wait_until(lambda: all(live(inst, name) for name in AUDIENCES), 1800, 'the audiences')


# --- count and export ----------------------------------------------------------------------------------------------

def count(inst):
    rules = [('audience', 'in_audience("buyers")'), ('tag and audience', 'tags.lifecycle == "growing" && !in_audience("active")'),
             ('nobody', 'in_audience("active") && !in_audience("active")'), ('facts', 'orders >= 2 && spent > 30'),
             ('events', 'count("Product Viewed", 60, e.category == "Shoes") >= 1'),
             ('facts and tags', 'products_viewed >= 2 && tags.rfm_monetary >= 4')]
    for name, rule in rules:
        took = []
        for _ in range(3):
            began = time.monotonic()
            r = call(inst, 'POST', '/v1/audiences:count', {'rule': rule})
            took.append(1000 * (time.monotonic() - began))
        print(f'count {name:<18} {r["method"]:<7} {r["count"]:>9,} of them: {statistics.median(took):,.1f} ms, at best {min(took):,.1f}, at worst {max(took):,.1f}',
              flush=True)
    began = time.monotonic()
    r = call(inst, 'POST', '/v1/audiences:count', {'rule': 'orders >= 2', 'as_of': shop_people.iso(time.time() - 30 * 86400)})
    print(f'count as of 30 days ago   {r["method"]:<7} {r["count"]:>9,} of them: {1000 * (time.monotonic() - began):,.0f} ms', flush=True)


def export(inst):
    for name, body in (('csv', {'format': 'csv', 'columns': ['id', 'email', 'tags.lifecycle', 'facts.spent']}),
                       ('csv, id alone', {'format': 'csv', 'columns': ['id']}), ('google', {'format': 'google'})):
        began = time.monotonic()
        e = call(inst, 'POST', '/v1/audiences/buyers/exports', body)
        while e['state'] == 'running':
            time.sleep(0.05)
            e = call(inst, 'GET', f'/v1/exports/{e["id"]}')
        took = time.monotonic() - began
        assert e['state'] == 'done', e
        m = e['manifest']
        seen = m['rows'] + sum(m['excluded'].values())
        print(f'export {name:<14} {m["rows"]:,} rows of {seen:,} people in {took:.1f} s: {m["rows"] / took:,.0f} rows/s, '
              f'{seen / took:,.0f} people/s, {m["bytes"] / took / 2**20:.1f} MiB/s', flush=True)


# --- look-ups while everybody is judged ----------------------------------------------------------------------------

class Lookups(threading.Thread):
    """One after the other, of anybody, until it is ended."""

    def __init__(self, inst, people):
        super().__init__()
        self.inst, self.people, self.end, self.took, self.bad = inst, people, threading.Event(), [], 0

    def run(self):
        c, r = instance.connection(self.inst.pport), random.Random(1)
        while not self.end.is_set():
            began = time.monotonic()
            c.request('GET', f'/v1/profiles/user:u{r.randrange(self.people)}', headers={'Authorization': 'Bearer ' + instance.TOKEN})
            a = c.getresponse()
            a.read()
            self.took.append(1000 * (time.monotonic() - began))
            self.bad += a.status != 200
            time.sleep(0.002)
        c.close()

    def over(self, what):
        self.end.set()
        self.join()
        print(f'look-ups {what:<26} {spread(self.took)}, {len(self.took):,} of them, {self.bad} not 200', flush=True)


def spread(ms):
    ms = sorted(ms)
    return f'median {statistics.median(ms):,.2f} ms, 99 % {ms[int(len(ms) * 0.99)]:,.2f} ms, at most {ms[-1]:,.1f} ms'


def rebuild(inst, people):
    looks = Lookups(inst, people)
    looks.start()
    time.sleep(10)
    looks.over('quiet')
    looks = Lookups(inst, people)
    looks.start()
    began, before = time.monotonic(), cpu(inst.process.pid, 'audiences')
    define(inst, 'active', AUDIENCES['active'].replace('< 30', '< 45'))
    wait_until(lambda: not live(inst, 'active'), 20, 'the other rule to be taken')
    wait_until(lambda: live(inst, 'active'), 1800, 'the rule over everybody')
    took = time.monotonic() - began
    looks.over('while everybody is judged')
    print(f'rebuild: {took:.1f} s, {people / took:,.0f} people/s; CPU of judging '
          f'{(cpu(inst.process.pid, "audiences") - before) / people * 1e6:.1f} µs each', flush=True)


# --- webhooks ------------------------------------------------------------------------------------------------------

def post(c, said):
    c.request('POST', '/v1/batch', json.dumps({'batch': said}), {'Authorization': 'Basic ' + receiver.base64.b64encode(
        (instance.SERVER + ':').encode()).decode()})
    r = c.getresponse()
    r.read()
    return r.status


class Load(threading.Thread):
    """1,000 events a second, 50 a request, of anybody."""

    def __init__(self, inst, people):
        super().__init__()
        self.inst, self.people, self.end, self.sent = inst, people, threading.Event(), 0

    def run(self):
        c, r, began = instance.connection(self.inst.cport), random.Random(2), time.monotonic()
        while not self.end.is_set():
            said = [{'type': 'track', 'event': 'Product Viewed', 'userId': f'u{r.randrange(self.people)}', 'messageId': f'l{self.sent + i}',
                     'properties': {'product_id': 'sku1', 'category': 'Shoes', 'brand': 'Acme', 'price': 8}} for i in range(50)]
            self.sent += 50 * (post(c, said) == 200)
            time.sleep(max(0, began + self.sent / 1000 - time.monotonic()))
        c.close()


def probe(inst, got, what, first, n):
    """One event at a time by which somebody enters."""
    c, acked = instance.connection(inst.cport), {}
    for i in range(n):
        user = f'u{first + i}'
        assert post(c, [{'type': 'track', 'event': 'Signal', 'userId': user, 'messageId': f's{user}'}]) == 200
        acked['user:' + user] = time.time()
        time.sleep(random.uniform(0.02, 0.08))
    c.close()

    def all_there():
        with got.lock:
            return {r['json']['data']['id'] for r in got.got} >= set(acked)
    wait_until(all_there, 60, 'the webhooks')
    with got.lock:
        at = {}
        for r in got.got:
            at.setdefault(r['json']['data']['id'], r['at'])
    print(f'webhook {what:<27} {spread([1000 * (at[u] - t) for u, t in acked.items()])}, {n} of them', flush=True)


def webhook(inst, people, n):
    with open(inst.config) as f:
        config = f.read()
    with receiver.Receiver() as got:
        assert inst.stop() == 0
        with open(inst.config, 'w') as f:
            f.write(config.replace('profiler:\n', 'profiler:\n  webhooks:\n' +
                                   receiver.hook('bench', got.url(), 'audiences: [signal], tags: [lifecycle]'), 1))
        inst.start()
        people_known(inst)
        define(inst, 'signal', 'count("Signal") >= 1')
        wait_until(lambda: live(inst, 'signal'), 1800, 'the audience of the probes')
        probe(inst, got, 'quiet', 0, n)
        load = Load(inst, people)
        load.start()
        try:
            probe(inst, got, 'beside 1,000 events/s', n, n)
        finally:
            load.end.set()
            load.join()
        print(f'  {load.sent:,} events of load', flush=True)


def load(inst, people, folder):
    there = os.path.join(inst.dir, 'people')
    if folder and os.path.exists(there):
        with open(there) as f:
            assert int(f.read()) == people
        inst.drain(1800)
        return
    took = shop_people.send(inst.cport, people, int(time.time()))
    inst.drain(1800)
    events = shop_people.EVENTS * people
    print(f'{people:,} people, {events:,} events, acked in {took:.1f} s ({events / took:,.0f}/s)', flush=True)
    with open(there, 'w') as f:
        f.write(str(people))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--waymark', required=True)
    p.add_argument('--people', type=int, default=1000000)
    p.add_argument('--probes', type=int, default=300)
    p.add_argument('--folder', help='kept, and used again')
    p.add_argument('--only', nargs='*', default=['fold', 'count', 'export', 'rebuild', 'webhook'])
    a = p.parse_args()
    instance.WAYMARK = os.path.abspath(a.waymark)
    if a.folder:
        os.makedirs(a.folder, exist_ok=True)
    with instance.Instance(folder=a.folder) as inst:
        load(inst, a.people, a.folder)
        if 'fold' in a.only:
            fold(inst, a.people, shop_people.EVENTS * a.people)
        else:
            audiences(inst)
        for what, run in (('count', lambda: count(inst)), ('export', lambda: export(inst)),
                          ('rebuild', lambda: rebuild(inst, a.people)), ('webhook', lambda: webhook(inst, a.people, a.probes))):
            if what in a.only:
                run()
        assert inst.stop() == 0


if __name__ == '__main__':
    main()
