"""Faults at random over a cluster, and those who must not notice: callers who look up at every instance by one id and by many, and writers
who send events through both collectors and read their own writes."""
import collections
import contextlib
import http.client
import json
import random
import re
import threading
import time
import urllib.parse

from support.acked import check_everything_acked_is_there, read_journal
from support.cluster import LOOK
from support.instance import TOKEN, wait_until

LASTS = (0.1, 0.5, 1.0, 1.5, 3.0, 8.0)  # s; a term is 1, a session 6
STOP_LIMIT = 20


class Chaos:
    """A round hits one to four parts at once, each with one fault, and returns when all of them are over. What is drawn depends on the
    generator alone. `networks`: proxies."""

    def __init__(self, draw, cluster, kafka, redis, networks):
        self.draw, self.cluster, self.kafka, self.redis, self.networks = draw, cluster, kafka, redis, networks
        self.parts = [(self._program, p, ('kill', 'kill', 'pause', 'pause', 'stop')) for p in cluster.programs()]
        self.parts += [(self._network, n, ('cut', 'pause', 'slow', 'cut after')) for n in networks]
        self.parts += [(self._redis, redis, ('flush', 'kill', 'pause', 'dump', 'old dump')),
                       (self._kafka, kafka, ('pause', 'pause', 'kill', 'restart'))]
        self.dumped, self.errors = False, []

    def round(self):
        threads = []
        for hit, part, faults in self.draw.sample(self.parts, self.draw.choice((1, 2, 2, 3, 4))):
            plan = (self.draw.choice(faults), self.draw.uniform(0, 2), self.draw.choice(LASTS), self.draw.random())
            print(f'{getattr(part, "name", type(part).__name__)}: {plan[0]} after {plan[1]:.1f} s, for {plan[2]} s')
            threads.append(threading.Thread(target=self._hit, args=(hit, part, *plan)))
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if self.errors:
            raise self.errors[0]

    def _hit(self, hit, part, fault, wait, lasts, size):
        try:
            time.sleep(wait)
            hit(part, fault, lasts, size)
        except BaseException as e:  # for the thread that asked
            self.errors.append(e)

    def _program(self, p, fault, lasts, _):
        assert p.alive(), f'{p.name} ended by itself:\n{p.log()[-3000:]}'
        if fault == 'pause':
            p.pause()
            time.sleep(lasts)
            p.resume()
            return
        if fault == 'kill':
            p.kill()
        else:
            code = p.stop(STOP_LIMIT)
            assert code == 0, f'{p.name} stopped with {code}:\n{p.log()[-3000:]}'
        time.sleep(lasts)
        p.start(ready=False)

    def _network(self, n, fault, lasts, size):
        if fault == 'slow':
            n.delay = 0.01 + 0.2 * size
        elif fault == 'cut after':
            n.cut_after(int(10 ** (1 + 4 * size)))
        else:
            {'cut': n.cut, 'pause': n.pause}[fault]()
        time.sleep(lasts)
        n.delay = 0.0
        n.resume()
        n.mend()

    def _redis(self, r, fault, lasts, _):
        if fault == 'flush':
            r.flush()
        elif fault == 'kill':
            r.kill()
            time.sleep(lasts)
            r.restart_empty()
        elif fault == 'pause':
            r.pause()
            time.sleep(lasts)
            r.resume()
        else:
            if fault == 'dump' or not self.dumped:
                r.dump()
                self.dumped = True
            if fault == 'old dump':
                r.restart_with_dump()

    def _kafka(self, k, fault, lasts, _):
        if fault == 'pause':
            k.pause()
            time.sleep(lasts)
            k.resume()
        elif fault == 'kill':
            k.kill()
            time.sleep(min(lasts, 3))
            k.start()
        else:
            k.restart()


class Crowd:
    """Threads that go on until the end, and what they found wrong."""

    def __init__(self, cluster, run, seeds):
        self.cluster, self.lock, self.over = cluster, threading.Lock(), threading.Event()
        self.faults, self.answers = [], 0
        self.threads = [threading.Thread(target=self._run, args=(run, s), daemon=True) for s in seeds]

    def _run(self, run, seed):
        try:
            run(random.Random(seed), seed)
        except Exception as e:
            self.fault(repr(e))
            raise

    def start(self):
        for t in self.threads:
            t.start()

    def fault(self, text):
        with self.lock:
            self.faults.append(text)

    def check(self):
        with self.lock:
            assert not self.faults, f'{len(self.faults)} faults: {self.faults[:3]}'

    def wait_answers(self, more, limit=30):
        before = self.answers
        wait_until(lambda: self.faults or self.answers >= before + more, limit, 'answers')
        self.check()


Shown = collections.namedtuple('Shown', 'version events ids')
NOTHING = Shown(0, 0, frozenset())


def user_of(profile):
    """Who a device of the simulated shop is linked to, once an event says so: each is one person's. None of other profiles."""
    device = re.fullmatch(r'anon:d(\d+-\d+)-\d+', profile)
    return device and 'user:u' + device[1]


class Callers(Crowd):
    """They tell each other what they were shown: who asks afterwards must not be shown less (I4). A device is answered as itself until it is
    linked, then as its user for good. Its user is told of it a moment later, and has it among the ids from then on. Half of the questions are
    of those who see no personal values: these may be answered from Redis."""

    def __init__(self, cluster, seed, count=6):
        super().__init__(cluster, self.call, range(seed, seed + count))
        self.seen, self.linked, self.ids = {}, set(), []

    def _choose(self):
        with self.lock, contextlib.suppress(OSError):
            if not self.ids:
                known = sorted(read_journal(self.cluster.journal))
                users, devices = ([i for i in known if i.startswith(kind)] for kind in ('user:', 'anon:'))
                self.ids = users[:12] + devices[:24] if len(users) >= 12 and len(devices) >= 12 else []
        return self.ids

    def call(self, draw, _):
        kept = {}
        while not self.over.wait(0.003):
            ids = self._choose()
            if not ids:
                self.over.wait(0.1)
                continue
            program = draw.choice(self.cluster.profilers)
            some = draw.sample(ids, 12) if draw.random() < 0.3 else [draw.choice(ids)]
            token = draw.choice((TOKEN, LOOK))
            before = self.before(some)
            self.take(program.name, before, self._ask(kept, program, some, token))

    def before(self, some):
        """What was shown of these by then, and which of them as their users."""
        with self.lock:
            return {i: self.seen.get(i, NOTHING) for i in (*some, *filter(None, map(user_of, some)))}, self.linked.intersection(some)

    def take(self, name, before, got):
        floor, linked = before
        with self.lock:
            for i, (shown, now) in got.items():
                if i in linked and shown == i:
                    self.faults.append(f'{name} shows {i} as itself after it was shown as its user')
                if shown != i:
                    self.linked.add(i)
                self._compare(name, shown, floor[shown], now)

    def _compare(self, name, i, floor, now):
        self.answers += 1
        # What one record moves within a partition is shown in steps, under one version.
        if now.version < floor.version or now.events < floor.events or not now.ids >= floor.ids:
            self.faults.append(f'{name} shows {i} as {now} after {floor} was shown')
        self.seen[i] = max(now, self.seen.get(i, NOTHING), key=lambda shown: shown.version)

    def check_drained(self):
        """Every profiler shows a device as the user who has it, and as itself when nobody has."""
        assert self.linked, 'no linked device was shown: half of it was not tested'
        for i in self.ids:
            user = user_of(i)
            has = user and (b := self.cluster.profile(user)[1]).get('id') == user and i in b['ids']
            assert has or i not in self.linked, f'{i} was shown as {user}, who does not have it'
            for p in self.cluster.profilers:
                s, b = self.cluster.profile(i, by=p)
                assert s == 200 and b['id'] == (user if has else i), (p.name, i, has, s, b)

    def _ask(self, kept, program, some, token):
        """id -> (the profile that it was shown as, what was shown); nothing when refused"""
        c = kept.pop(program.name, None) or http.client.HTTPConnection('127.0.0.1', program.port, timeout=10)
        headers = {'Authorization': 'Bearer ' + token}
        try:
            if len(some) > 1:
                c.request('POST', '/v1/profiles:lookup', json.dumps({'ids': some}), headers)
            else:
                c.request('GET', '/v1/profiles/' + urllib.parse.quote(some[0], safe=''), headers=headers)
            r = c.getresponse()
            status, body = r.status, r.read()
        except (OSError, http.client.HTTPException):
            c.close()
            return {}
        kept[program.name] = c
        if status == 404 and len(some) == 1:
            return {some[0]: (some[0], NOTHING)}
        if status != 200:
            if status != 503:
                self.fault(f'{program.name} answers {status} {body[:200]}')
            return {}
        answer = json.loads(body)
        profiles = answer['profiles'] if len(some) > 1 else [{**answer, 'asked': some[0]}]
        got = {p.get('asked', p['id']): (p['id'], Shown(p['version'], p['facts']['events'], frozenset(p['ids']))) for p in profiles}
        got |= {i: (i, NOTHING) for i in answer.get('not_found', [])}
        if set(got) != set(some) or len(profiles) + len(answer.get('not_found', [])) != len(some):
            self.fault(f'{program.name} was asked for {some} and answers {sorted(got)}')
            return {}
        for p in profiles:
            i = p.get('asked', p['id'])
            if p['id'] not in (i, user_of(i)) or p['id'] not in p['ids'] or {user_of(x) or x for x in p['ids']} != {user_of(p['id']) or p['id']}:
                self.fault(f'{program.name} was asked for {i} and shows {p["id"]} with the ids {p["ids"]}')
                return {}
        return got


class Writers(Crowd):
    """Each sends the events of one id, half of them through both collectors, until one takes it; then it asks any profiler to show it."""

    def __init__(self, cluster, seed, count=4):
        super().__init__(cluster, self.write, range(seed, seed + count))
        self.journal = cluster.journal + '-writers'
        self.sent = {}

    def write(self, draw, seed):
        # Ids of users and devices in turn.
        key, kind = (('userId', 'user'), ('anonymousId', 'anon'))[seed % 2]
        profile, durable = f'{kind}:writer-{seed}', 0
        with open(f'{self.journal}', 'a') as journal:
            while not self.over.wait(0.02):
                n = self.sent[profile] = self.sent.get(profile, 0) + 1
                event = {'type': 'track', 'event': 'E', key: f'writer-{seed}', 'messageId': f'{seed}-{n}'}
                place = self._send(draw, event, lambda m: journal.write(f'{profile}\t{m}\n') and journal.flush())
                if place:
                    durable += 1
                    self._read(draw.choice(self.cluster.profilers), profile, place, durable, n)

    def _send(self, draw, event, acked):
        """Its latest place on the log; None when it is spooled only, or the end came first."""
        places, taken = [], False
        while not taken and not self.over.is_set():
            collectors = draw.sample(self.cluster.collectors, draw.choice((1, len(self.cluster.collectors))))
            for c in collectors:
                with contextlib.suppress(OSError):
                    status, headers, _ = c.post('/v1/track', event, timeout=6)
                    if status == 200:
                        taken = True
                        acked(event['messageId'])
                        places.append(headers.get('x-waymark-position'))
            if not taken:
                self.over.wait(0.1)
        return max((p for p in places if p), key=lambda p: int(p.partition(':')[2]), default=None)

    def _read(self, program, profile, place, durable, sent):
        with contextlib.suppress(OSError):
            status, answer = program.get('/v1/profiles/' + urllib.parse.quote(profile, safe=''), after=place, wait='3s')
            if status == 503:
                return
            events = answer['facts']['events'] if status == 200 else 0
            with self.lock:
                self.answers += 1
            if not durable <= events <= sent:
                self.fault(f'{program.name} shows {profile} after {place} with {events} events; {durable} are on the log, {sent} were sent')

    def check_drained(self):
        """All that they sent, or but for the last of each, is there once."""
        check_everything_acked_is_there(self.cluster, self.journal)
        for profile, sent in self.sent.items():
            assert self.cluster.profile(profile)[1]['facts']['events'] in (sent - 1, sent)


@contextlib.contextmanager
def crowd(c):
    try:
        c.start()
        yield c
        c.check()
        assert c.answers, 'nothing was answered: nothing was seen'
    finally:
        c.over.set()
        for t in c.threads:
            t.join(30)
        if c.faults:  # also when something else broke because of it
            print('faults:', c.faults[:3])
    c.check()
