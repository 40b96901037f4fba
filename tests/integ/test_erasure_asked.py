"""Who may erase, whom, how it is answered, and what the receipt is worth; erasures at once, again, and of nobody."""
import base64
import json
import os
import subprocess
import threading

import pytest
from support.erased import FAST, Neighbour, Person, Shop, check_gone, check_told, found_in, profile_path
from support.instance import Instance, check_conserved
from support.talk import MINUTE, order, page


@pytest.fixture(scope='module')
def inst():
    with Instance(partitions=4, more_profiler=FAST) as i:
        yield i
        check_conserved(i.drain())
        assert i.stop() == 0
        code, out, err = i.command('verify')
        assert code == 0 and '0 differences' in out, out + err


@pytest.fixture
def shop(inst):
    return Shop(inst)


def somebody(shop, **more):
    p = Person(**more)
    p.tell(shop)
    shop.drain()
    check_told(shop, p)
    return p


def test_scope_and_id(shop):
    n = Neighbour()
    n.tell(shop)
    shop.drain()
    before = n.shown(shop)
    s, _, b = shop.ask_once('DELETE', profile_path('user:' + n.user), token='tk_test_lookup')
    assert (s, b['code']) == (403, 'scope_missing')
    s, _, b = shop.ask_once('DELETE', profile_path('user:' + n.user), token='nobody')
    assert (s, b['code']) == (401, 'token_unknown')
    for pid in ('nobody', 'user:', 'anon:', 'group:g', 'user:' + 'x' * 300):
        s, _, b = shop.ask_once('DELETE', profile_path(pid))
        assert (s, b['code']) == (400, 'id_invalid'), (pid, s, b)
    for place in ('0-999999', '9-0', 'x', '0', '-1--1', '0-0x'):
        s, _, b = shop.ask_once('GET', '/v1/erasures/' + place)
        assert s in (400, 404), (place, s, b)
        s, _, b = shop.ask_once('GET', '/v1/erasures/' + place, token='tk_test_lookup')
        assert (s, b['code']) == (403, 'scope_missing'), place
    assert n.shown(shop) == before


def test_twice(shop):
    p = somebody(shop)
    first = shop.erase(p.ids[0])
    second = shop.erase(p.ids[0])
    assert first != second
    check_gone(shop, p)
    n = Neighbour()  # and who never was
    shop.erase('user:' + n.user)
    before = shop.outcomes('erased')
    n.tell(shop)  # a person of before, who is told only now
    shop.drain()
    assert shop.profile('user:' + n.user)[0] == 404
    # The device's own events of before their link, and all behind it, are the erased user's.
    assert shop.outcomes('erased') > before
    shop.erase('anon:' + n.phone)
    assert shop.profile('anon:' + n.phone)[0] == 404


def test_by_a_device_of_theirs(inst, shop):
    p = somebody(shop)
    shop.erase('anon:' + p.laptop)
    check_gone(shop, p)
    left = found_in(inst.dir, {**p.marks.made, **p.sealed.made})
    assert left == set(), sorted(left)


@pytest.mark.parametrize('late_first', [True, False])
def test_a_device_that_nobody_was_linked_to(inst, shop, late_first):
    p = Person()
    me = {'anonymousId': p.phone}
    shop.send(page(0, p.mid('1'), **me, properties=p.here('1')), page(MINUTE, p.mid('2'), **me))
    shop.post('/v1/orders', [order(p.orders[0], 'paid', MINUTE, messageId=p.mid('3'), anonymousId=p.phone, total=5)])
    shop.drain()
    assert shop.profile('anon:' + p.phone)[1]['facts']['events'] == 3
    shop.erase('anon:' + p.phone)
    assert shop.profile('anon:' + p.phone)[0] == 404
    left = found_in(inst.dir, p.marks.of('phone', 'message id: 1', 'message id: 2', 'message id: 3', 'url: 1'))
    assert left == set(), sorted(left)
    s, b = shop.get(f'/v1/orders/{p.orders[0]}/scene')
    assert s == 200 and b['order']['total'] == 5 and p.phone not in json.dumps(b, default=str)
    # What it did then stays out, also when it turns out to have been somebody's.
    said = [page(2 * MINUTE, p.mid('late'), **me), {'type': 'page', 'messageId': p.mid('log-in'), 'userId': p.user, **me}]
    for e in said if late_first else said[::-1]:
        shop.send(e)
        shop.drain()
    assert [e['message_id'] for e in shop.whole_path('user:' + p.user)] == [p.marks.made['message id: log-in']]
    shop.erase('user:' + p.user)


def test_a_guests_order(shop):
    oid = 'guest-' + Person().orders[0]
    shop.post('/v1/orders', [order(oid, 'paid', MINUTE, total=12)])
    shop.drain()
    assert shop.profile('anon:order:' + oid)[0] == 200
    shop.erase('anon:order:' + oid)
    assert shop.profile('anon:order:' + oid)[0] == 404
    s, b = shop.get(f'/v1/orders/{oid}/scene')
    assert s == 200 and b['order']['total'] == 12


def test_many_at_once(inst, shop):
    """Of several persons, and each by several ids."""
    people = [somebody(shop) for _ in range(3)]
    done, failed = [], []

    def erase(pid):
        try:
            done.append(shop.erase(pid))
        except BaseException as e:
            failed.append((pid, e))
    threads = [threading.Thread(target=erase, args=(pid,)) for p in people for pid in p.ids[:3]]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed and len(done) == 9, failed
    for p in people:
        check_gone(shop, p)
        left = found_in(inst.dir, {**p.marks.made, **p.sealed.made})
        assert left == set(), sorted(left)


def test_202_has_a_place_to_ask(shop):
    p = somebody(shop)
    s, h, b = shop.ask('DELETE', profile_path(p.ids[0]) + '?wait=0ms')
    assert s in (200, 202), (s, b)
    if s == 202:
        assert h['location'].startswith('/v1/erasures/') and b['status'] == 'pending', (h, b)
        shop.completed(h['location'])
    check_gone(shop, p)


def signed_by(folder, receipt, signature):
    """What openssl says of a receipt, as anybody would ask it: the receipt written again without white space."""
    pem = '-----BEGIN PUBLIC KEY-----\n' + signature['public_key'] + '\n-----END PUBLIC KEY-----\n'
    (folder / 'key.pem').write_text(pem)
    (folder / 'receipt').write_text(json.dumps(receipt, separators=(',', ':')))
    (folder / 'signature').write_bytes(base64.b64decode(signature['ed25519']))
    return subprocess.run(['openssl', 'pkeyutl', '-verify', '-pubin', '-inkey', folder / 'key.pem', '-rawin', '-in', folder / 'receipt',
                           '-sigfile', folder / 'signature'], capture_output=True).returncode == 0


def test_the_receipt_is_signed_and_names_what_was_done(inst, shop, tmp_path):
    p = somebody(shop)
    events = shop.profile(p.ids[0])[1]['facts']['events']
    answer = shop.erase(p.ids[0])
    receipt, signature = answer['receipt'], answer['signature']
    assert (receipt['id'], answer['status'], receipt['events'], receipt['orders']) == (answer['id'], 'done', events, 3), answer
    assert receipt['devices'] == 3 and receipt['requested_at'] <= receipt['until'] <= receipt['completed_at']
    assert {'profile', 'devices', 'orders', 'event_log'} <= set(receipt['done'])
    assert not [v for v in [*p.marks.made.values(), *p.sealed.made.values()] if v in json.dumps(answer)], 'it names nobody'
    with open(os.path.join(inst.dir, 'data', 'keys', 'receipt.pub') if os.path.isdir(os.path.join(inst.dir, 'data', 'keys'))
              else os.path.join(inst.dir, 'keys', 'receipt.pub')) as f:
        known = f.read()
    assert signature['key'] in known
    assert base64.b64encode(base64.b64decode(signature['public_key'])[-32:]).decode() in known
    assert signed_by(tmp_path, receipt, signature)
    for what, other in (('events', 0), ('until', receipt['completed_at']), ('profile_hash', '00' * 16), ('backups', ''), ('more', 1)):
        if receipt.get(what) != other:
            assert not signed_by(tmp_path, {**receipt, what: other}, signature), what
    again = shop.get('/v1/erasures/' + answer['id'])[1]
    assert again['receipt']['until'] == receipt['until'] and again['receipt']['events'] == events
    assert signed_by(tmp_path, again['receipt'], again['signature'])
