"""The demo's story: two real shops through Waymark, the known figures against the computed ones, and what it looks like.

Ends with 1 when a figure is off. Standard library only.
"""
import argparse
import csv
import decimal
import http.client
import json
import lzma
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
D = decimal.Decimal


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as s:
        return s.getsockname()[1]


class Servers:
    """A Kafka and a Redis in the demo's folder."""

    def __init__(self, folder):
        self.kafka = os.path.join(folder, 'kafka')
        r = subprocess.run([ROOT + '/script/kafka', 'start', self.kafka], stdout=subprocess.PIPE, text=True)
        if r.returncode:
            sys.exit(r.returncode)
        self.bootstrap = r.stdout.strip()
        self.port = free_port()
        with open(os.path.join(folder, 'redis.log'), 'ab') as log:
            self.redis = subprocess.Popen(['redis-server', '--port', str(self.port), '--bind', '127.0.0.1', '--save', ''],
                                          cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def settings(self):
        return {'event_log: embedded': 'event_log: kafka',
                'kafka: {}': f'kafka: {{bootstrap.servers: "{self.bootstrap}"}}',
                '  url: null': f'  url: redis://127.0.0.1:{self.port}/0'}

    def stop(self):
        self.redis.terminate()
        self.redis.wait(30)
        subprocess.run([ROOT + '/script/kafka', 'stop', self.kafka], check=True)


class Waymark:
    """One `waymark serve` in a folder of its own, or a collector and a profiler over Kafka and Redis."""

    def __init__(self, program, folder, servers):
        self.program, self.folder = os.path.abspath(program), folder
        self.config = os.path.join(folder, 'waymark.yaml')
        self.processes = []
        self.ports = {'collector': free_port(), 'profiler': free_port()}
        self.run('init', folder, '--currency', 'GBP', '--timezone', 'UTC', config=False)
        with open(self.config) as f:
            text = f.read()
        for part, default in (('collector', 8080), ('profiler', 8081)):
            text = text.replace(f'127.0.0.1:{default}', f'127.0.0.1:{self.ports[part]}')
        for default, wanted in (servers.settings() if servers else {}).items():
            assert text.count('\n' + default) == 1, f'the sample has no line {default!r}'
            text = text.replace('\n' + default, '\n' + wanted)
        with open(self.config, 'w') as f:
            f.write(text)
        with open(os.path.join(folder, 'waymark.secrets')) as f:
            self.secrets = dict(line.strip().split(': ') for line in f if ': ' in line and not line.startswith('#'))
        self.log = open(os.path.join(folder, 'log'), 'ab')

    def start(self, servers):
        if servers:
            print(self.run('topics', 'create').rstrip())
            self.begin(self.program + '-profiler')
            self.begin(self.program + '-collector')
        else:
            self.begin(self.program, 'serve')
        self.wait(lambda: all(self.ask(p, '/readyz')[0] == 200 for p in self.ports), 60, 'Waymark to be ready')

    def begin(self, *command):
        self.processes.append(subprocess.Popen([*command, '--config', self.config], stdin=subprocess.DEVNULL,
                                               stdout=self.log, stderr=self.log))

    def run(self, *args, config=True, capture=True):
        more = ['--config', self.config] if config else []
        r = subprocess.run([self.program, *args, *more], stdout=subprocess.PIPE if capture else None, stdin=subprocess.DEVNULL,
                           stderr=None if config else subprocess.PIPE, text=True)
        if r.returncode:
            sys.exit(f'waymark {args[0]} ended with {r.returncode}')
        return r.stdout

    def wait(self, condition, limit, what):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            for p in self.processes:
                if p.poll() is not None:
                    with open(os.path.join(self.folder, 'log')) as f:
                        sys.exit(f'{os.path.basename(p.args[0])} ended with {p.returncode}:\n{f.read()[-2000:]}')
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit(f'waited {limit} s for {what}')

    def ask(self, part, path, body=None):
        c = http.client.HTTPConnection('127.0.0.1', self.ports[part], timeout=60)
        c.request('POST' if body else 'GET', path, body=body and json.dumps(body),
                  headers={'Authorization': 'Bearer ' + self.secrets['token']})
        r = c.getresponse()
        text = r.read()
        c.close()
        try:
            return r.status, json.loads(text, parse_float=D)
        except ValueError:
            return r.status, text.decode()

    def metrics(self):
        out = {}
        for part in self.ports:
            for line in self.ask(part, '/metrics')[1].splitlines():
                if line and not line.startswith('#'):
                    name, value = line.rsplit(' ', 1)
                    out[name] = float(value)
        return out

    def folded(self):
        m = self.metrics()
        total = lambda name: sum(v for k, v in m.items() if k.startswith(name))
        return total('waymark_state_events') >= total('waymark_events_accepted_total') and \
            total('waymark_log_end_offset') == total('waymark_state_offset')

    def profiles(self, ids):
        """The facts of many profiles, by id."""
        found = {}
        for i in range(0, len(ids), 1000):
            status, answer = self.ask('profiler', '/v1/profiles:lookup', {'ids': ids[i:i + 1000]})
            if status != 200:
                sys.exit(f'look-up failed: {status} {answer}')
            found.update((p['id'], p['facts']) for p in answer['profiles'])
        return found

    def stop(self):
        """The collector first, so that what it has still taken is folded. Whether all ended well."""
        good = True
        while self.processes:
            p = self.processes.pop()
            p.send_signal(signal.SIGTERM)
            good &= p.wait(120) == 0
        return good

    def kill(self):
        for p in self.processes:
            p.kill()


class Figures:
    """Known against computed."""

    def __init__(self):
        self.off = 0

    def show(self, what, known, computed):
        good = known == computed
        self.off += not good
        print(f'  {what:<44} {known!s:>14} {computed!s:>14}  {"ok" if good else "OFF"}')


def unpack(name, folder):
    path = os.path.join(folder, name)
    with lzma.open(os.path.join(ROOT, 'data', name + '.xz')) as f, open(path, 'wb') as out:
        shutil.copyfileobj(f, out)
    return path


def customers_of(path):
    """What the raw file says, to know whom to ask for: customers, lines, invoices."""
    ids, invoices, lines = set(), set(), 0
    with open(path, newline='', encoding='utf-8') as f:
        for row in csv.DictReader(f):
            lines += 1
            invoices.add(row['InvoiceNo'])
            if row['CustomerID']:
                ids.add('user:' + row['CustomerID'][:-2])
    return sorted(ids), len(invoices), lines


def report_shop(w, figures, path):
    ids, invoices, lines = customers_of(path)
    facts = w.profiles(ids)
    total = lambda k: sum(f[k] for f in facts.values())
    print('\nOnline Retail: order lines of a gift shop, 2010-12 to 2011-12           known       computed')
    figures.show('lines read', 541909, lines)
    figures.show('invoices read', 25900, invoices)
    figures.show('people', 4372, len(facts))
    figures.show('orders', 18536, total('orders'))
    figures.show('credit notes', 3654, total('credit_notes'))
    figures.show('net, GBP', D('8300065.814'), total('spent'))
    return max(facts, key=lambda i: facts[i]['spent'])


def report_clicks(w, figures, path):
    with open(path, encoding='ascii') as f:
        next(f)
        sessions = [line.split(';')[5] for line in f]
    facts = w.profiles(sorted('anon:eshop-' + s for s in set(sessions)))
    pages = [f['pages'] for f in facts.values()]
    print('\nClothing shop: clicks, April to August 2008                             known       computed')
    figures.show('clicks', 165474, sum(pages))
    figures.show('visitors', 24026, len(facts))
    figures.show('sessions', 24026, sum(f['sessions'] for f in facts.values()))
    figures.show('sessions of one click', 5042, pages.count(1))
    figures.show('longest session, clicks', 195, max(pages))
    print('  (The file has no times of day: clicks were spaced 20 s apart in their order.)')
    return facts, max(facts, key=lambda i: (facts[i]['pages'] == 12, i))


def busiest(facts):
    modules = {}
    for f in facts.values():
        for name, v in f['by']['module'].items():
            modules[name] = modules.get(name, 0) + v['pages']
    print('\nWhere on the page people clicked')
    for name, n in sorted(modules.items(), key=lambda x: -x[1])[:6]:
        print(f'  {n:>8}  {name}')


def busiest_pages(w, figures, path, visitors):
    """From the paths that Waymark gives, held against the file."""
    known, computed = {}, {}
    with open(path, encoding='ascii') as f:
        next(f)
        for line in f:
            c = line.split(';')
            url = f'https://eshop.example/{c[6]}/{c[7]}'
            known[url] = known.get(url, 0) + 1
    c = http.client.HTTPConnection('127.0.0.1', w.ports['profiler'], timeout=60)
    for visitor in visitors:
        c.request('GET', '/v1/profiles/' + urllib.parse.quote(visitor, safe='') + '/path?limit=1000',
                  headers={'Authorization': 'Bearer ' + w.secrets['token']})
        for e in json.loads(c.getresponse().read())['events']:
            computed[e['url']] = computed.get(e['url'], 0) + 1
    c.close()
    print('\nThe busiest pages, from the paths of all visitors                       known       computed')
    for url, n in sorted(known.items(), key=lambda x: (-x[1], x[0]))[:5]:
        figures.show(url, n, computed.get(url))
    figures.show('pages of all', len(known), len(computed))


def report_flow(w, m):
    value = lambda name: sum(v for k, v in m.items() if k == name or k.startswith(name + '{'))
    print('\nWhat went through')
    print(f'  received {value("waymark_events_received_total"):.0f}, accepted {value("waymark_events_accepted_total"):.0f}, '
          f'refused {value("waymark_events_refused_total"):.0f}')
    outcomes = {k.split('"')[1]: v for k, v in m.items() if k.startswith('waymark_state_events{')}
    print('  ' + ', '.join(f'{k} {v:.0f}' for k, v in outcomes.items() if v or k == 'folded'))


def show(w, title, *command, lines=16):
    print(f'\n{title}\n$ waymark {" ".join(command)}')
    out = w.run(*command).splitlines()
    print('\n'.join('  ' + line for line in out[:lines]) + (f'\n  … {len(out) - lines} lines more' if len(out) > lines else ''))


def main():
    p = argparse.ArgumentParser(prog='script/demo', description=__doc__.splitlines()[0])
    p.add_argument('--waymark', required=True, help=argparse.SUPPRESS)
    p.add_argument('--keep', action='store_true', help='leave it running and say where')
    p.add_argument('--kafka', action='store_true', help='a collector and a profiler over a real Kafka and Redis')
    args = p.parse_args()
    folder, began = tempfile.mkdtemp(prefix='waymark-demo-'), time.monotonic()
    w = servers = None
    try:
        print(f'state in {folder}', flush=True)
        servers = Servers(folder) if args.kafka else None
        w = Waymark(args.waymark, folder, servers)
        w.start(servers)
        retail, clicks = unpack('online-retail.csv', folder), unpack('eshop-clothing-2008.csv', folder)
        for path, name in ((retail, 'online-retail'), (clicks, 'eshop-clothing-2008')):
            print(f'\n$ waymark import --map config/import/{name}.yaml {name}.csv', flush=True)
            print('  ' + w.run('import', '--map', f'{ROOT}/config/import/{name}.yaml', path).replace('\n', '\n  ').rstrip())
        w.wait(w.folded, 120, 'the fold to catch up')
        figures = Figures()
        report_flow(w, w.metrics())
        best = report_shop(w, figures, retail)
        facts, visitor = report_clicks(w, figures, clicks)
        busiest(facts)
        busiest_pages(w, figures, clicks, facts)
        show(w, 'The best customer', 'profile', best, lines=30)
        show(w, 'A visit as a person would read it', 'path', visitor)
        _, orders = w.ask('profiler', '/v1/profiles/' + urllib.parse.quote(best, safe='') + '/orders')
        order = next(o['order_id'] for o in orders['orders'] if o['status'] == 'created')
        show(w, 'How an order came about', 'scene', order)
        print(f'\n{time.monotonic() - began:.0f} s in all.', 'Every figure is as known.' if not figures.off else
              f'{figures.off} FIGURES ARE OFF.')
        if args.keep:
            keep(w, servers)
            w = servers = None
        elif not w.stop():
            sys.exit('Waymark did not stop cleanly')
        else:
            print('$ waymark verify\n  ' + w.run('verify').strip().replace('\n', '\n  '))
            w = None
            print('\nNext: script/demo --keep leaves it running; README.md has the tour; config/waymark.yaml every setting.')
            if servers:
                servers.stop()
                servers = None
            shutil.rmtree(folder)
        sys.exit(1 if figures.off else 0)
    finally:
        if w:
            w.kill()
        if servers:
            servers.stop()


def keep(w, servers):
    pids = [str(p.pid) for p in w.processes[::-1]] + ([str(servers.redis.pid)] if servers else [])
    print(f"""
It goes on running; end it with: kill {' '.join(pids)}{f" && script/kafka stop {servers.kafka}" if servers else ""}
  {w.program} tail --config {w.config}
  {w.program} simulate --rate 100 --config {w.config}
  curl -H 'Authorization: Bearer {w.secrets['token']}' http://127.0.0.1:{w.ports['profiler']}/v1/profiles/user:14646
  curl http://127.0.0.1:{w.ports['profiler']}/metrics""")


if __name__ == '__main__':
    main()
