"""The shipped tags of a real shop agree with an independent computation from the raw file, person by person: recency,
frequency and money as of 2011-12-10, the segments made of them, and the stage of life of all 4,372 customers."""
import collections
import csv
import datetime
import fractions
import http.client
import io
import json
import lzma
import os

import pytest

from support.instance import TOKEN, Instance, wait_until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
FILES = [os.path.join(ROOT, folder, 'online-retail.csv.xz') for folder in ('data', os.path.join('..', 'shared', 'data'))]
FILE = next((f for f in FILES if os.path.exists(f)), None)
AS_OF = datetime.datetime(2011, 12, 10)
DAY = 86400


class Person:
    def __init__(self):
        self.orders = []  # times
        self.spent = fractions.Fraction(0)


def read_people(text):
    """An invoice is an order at the time of its first line; one that begins with C gives back what it says."""
    invoices, people = {}, collections.defaultdict(Person)
    for row in csv.DictReader(io.StringIO(text)):
        lines = invoices.setdefault(row['InvoiceNo'], [])
        lines.append(row)
    for number, lines in invoices.items():
        customer = lines[0]['CustomerID'].removesuffix('.0')
        if not customer:
            continue
        p = people[customer]
        p.spent += sum(int(r['Quantity']) * fractions.Fraction(r['UnitPrice']) for r in lines)
        if not number.startswith('C'):
            p.orders.append(datetime.datetime.fromisoformat(lines[0]['InvoiceDate']))
    return people


def quintiles(values):
    """person -> 1 + the whole part of 5 x (those below + half of those equal) / all"""
    out = {}
    counts = collections.Counter(values.values())
    below, rank = 0, {}
    for v in sorted(counts):
        rank[v] = 1 + int(5 * (below + fractions.Fraction(counts[v], 2)) / len(values))
        below += counts[v]
    for person, v in values.items():
        out[person] = rank[v]
    return out


def days(since):
    return (AS_OF - since).total_seconds() / DAY


def lifecycle(p):
    n = len(p.orders)
    if n == 0:
        return 'potential'
    first, last = days(min(p.orders)), days(max(p.orders))
    if last > 365:
        return 'lost'
    if last > 180 or (n == 1 and last > 90) or (n > 1 and last > 60 and last > 2 * (first - last) / (n - 1)):
        return 'declining'
    if n == 1:
        return 'new'
    return 'mature' if n >= 5 and first >= 180 else 'growing'


def segment(r, f, m):
    mean = (f + m) / 2
    names = {5: ('champions', 'loyal', 'potential_loyalist', 'new_customer'),
             4: ('champions', 'loyal', 'potential_loyalist', 'promising'),
             3: ('loyal', 'loyal', 'need_attention', 'about_to_sleep'),
             2: ('at_risk', 'at_risk', 'hibernating', 'hibernating'),
             1: ('cannot_lose', 'at_risk', 'hibernating', 'lost')}[r]
    return names[0 if mean >= 4 else 1 if mean >= 3 else 2 if mean >= 2 else 3]


def expected(people):
    customers = {c: p for c, p in people.items() if p.orders}
    r = quintiles({c: max(p.orders) for c, p in customers.items()})
    f = quintiles({c: len(p.orders) for c, p in customers.items()})
    m = quintiles({c: p.spent for c, p in customers.items()})
    out = {}
    for c, p in people.items():
        tags = {'lifecycle': lifecycle(p)}
        if c in customers:
            tags |= {'rfm_recency': r[c], 'rfm_frequency': f[c], 'rfm_monetary': m[c],
                     'rfm_score': 100 * r[c] + 10 * f[c] + m[c], 'rfm_segment': segment(r[c], f[c], m[c]),
                     'value_class': 'a' if m[c] == 5 else 'b' if m[c] >= 3 else 'c'}
            if m[c] == 5 and f[c] >= 4 and days(max(p.orders)) <= 180:
                tags['key_customer'] = True
        out[c] = tags
    return out


def look_up(inst, ids):
    c = http.client.HTTPConnection('127.0.0.1', inst.pport, timeout=60)
    for i in ids:
        c.request('GET', f'/v1/profiles/user:{i}?as_of={AS_OF.isoformat()}Z', headers={'Authorization': 'Bearer ' + TOKEN})
        r = c.getresponse()
        body = r.read()
        assert r.status == 200, (i, body)
        yield i, json.loads(body)
    c.close()


@pytest.mark.skipif(not FILE, reason='the data is not here')
def test_tags_of_a_real_shop(tmp_path):
    with lzma.open(FILE, 'rt', encoding='utf-8', newline='') as f:
        text = f.read()
    people = read_people(text)
    assert len(people) == 4372
    want = expected(people)
    assert {t['lifecycle'] for t in want.values()} == {'potential', 'new', 'growing', 'mature', 'declining', 'lost'}
    assert len({t.get('rfm_segment') for t in want.values()}) == 12, 'all eleven, and none'
    path = tmp_path / 'online-retail.csv'
    path.write_text(text, encoding='utf-8', newline='')
    with Instance(partitions=4) as inst:
        code, out, err = inst.command('import', '--map', os.path.join(ROOT, 'config', 'import', 'online-retail.yaml'), str(path))
        assert code == 0, out + err
        inst.drain()
        s, _, b = inst.request('p', 'POST', '/v1/tags/cuts', json.dumps({'as_of': AS_OF.isoformat() + 'Z'}))
        assert s == 200, b
        cuts = json.loads(b)
        assert cuts['people'] == sum(1 for p in people.values() if p.orders)
        assert cuts['made_at'] == '2011-12-10T00:00:00.000Z'
        first = next(iter(want))
        wait_until(lambda: 'rfm_score' in dict(look_up(inst, [first]))[first]['tags'], 20, 'the cut points to count')
        wrong = []
        for person, got in look_up(inst, want):
            tags = {k: v for k, v in got['tags'].items()
                    if k.startswith('rfm_') or k in ('lifecycle', 'value_class', 'key_customer')}
            if tags != want[person]:
                wrong.append((person, got['facts']['orders'], tags, want[person]))
        assert not wrong, (len(wrong), wrong[:5])
        assert inst.stop() == 0
