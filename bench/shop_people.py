"""The people of a shop, made from their number alone: five events each, sent flat out with a server key. Used by
bench_audience.py; the profiles are the same whenever and in whatever order they are sent."""
import base64
import http.client
import multiprocessing
import random
import time

from support import instance

EVENTS = 5
BATCH = 1000  # events a request
DAY = 86400
CITIES = ['London', 'Leeds', 'Bath', 'York', 'Ripon', 'Wells', 'Ely', 'Truro']
GOODS = [(f'sku{i}', ['Shoes', 'Hats', 'Coats', 'Bags', 'Belts'][i % 5], ['Acme', 'Bell', 'Cosy'][i % 3], 5 + i * 3)
         for i in range(40)]


def iso(t):
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(t))


def _view(user, i, t, good, name='Product Viewed'):
    sku, category, brand, price = good
    return (f'{{"type":"track","event":"{name}","userId":"{user}","messageId":"{user}-{i}","timestamp":"{iso(t)}",'
            f'"properties":{{"product_id":"{sku}","category":"{category}","brand":"{brand}","price":{price}}}}}')


def _order(user, i, t, good, n):
    sku, category, brand, price = good
    return (f'{{"type":"track","event":"Order Completed","userId":"{user}","messageId":"{user}-{i}","timestamp":"{iso(t)}",'
            f'"properties":{{"order_id":"o-{user}-{i}","total":{price * n},"currency":"GBP","channel":"web","products":'
            f'[{{"product_id":"{sku}","category":"{category}","brand":"{brand}","price":{price},"quantity":{n}}}]}}}}')


def events(number, end):
    """Of one: who they are, two views, and twice an order (of 60 %) or another view, within 400 days before `end`."""
    r = random.Random(number)
    user, t = f'u{number}', end - r.randrange(1, 400 * DAY)
    city, good = CITIES[number % 8], GOODS[r.randrange(40)]
    consent = 'true' if number % 5 else 'false'
    email = f'"email":"{user}@shop{number % 50}.example",' if number % 4 else ''
    phone = f'"phone":"+44 20 7{number:07d}",' if number % 2 else ''
    said = [f'{{"type":"identify","userId":"{user}","messageId":"{user}-0","timestamp":"{iso(t)}","traits":{{{email}{phone}'
            f'"city":"{city}","consent":{{"marketing":{consent}}}}}}}']
    buys = r.random() < 0.6
    for i in range(1, EVENTS):
        t = min(end, t + int(r.expovariate(1 / (8 * DAY))))
        if buys and i in (2, 4):
            said.append(_order(user, i, t, good, r.randrange(1, 4)))
        else:
            said.append(_view(user, i, t, good if i < 3 else GOODS[r.randrange(40)]))
    return said


def _send(port, numbers, end):
    c = http.client.HTTPConnection('127.0.0.1', port, timeout=60)

    head = {'Authorization': 'Basic ' + base64.b64encode((instance.SERVER + ':').encode()).decode()}
    per_request = BATCH // EVENTS
    for at in range(numbers.start, numbers.stop, per_request):
        said = [e for n in range(at, min(at + per_request, numbers.stop)) for e in events(n, end)]
        body = ('{"batch":[' + ','.join(said) + ']}').encode()
        while True:
            c.request('POST', '/v1/batch', body, head)
            r = c.getresponse()
            answer = r.read()
            if r.status == 200:
                break
            if r.status != 503:
                raise AssertionError(f'{r.status}: {answer[:300]}')
            time.sleep(0.2)


def send(port, people, end, senders=2):
    """All their events, each acked. Returns the seconds that took."""
    begun, share = time.monotonic(), -(-people // senders)
    processes = [multiprocessing.Process(target=_send, args=(port, range(i * share, min(people, (i + 1) * share)), end))
                 for i in range(senders)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
        assert p.exitcode == 0
    return time.monotonic() - begun
