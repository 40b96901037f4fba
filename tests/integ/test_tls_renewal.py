"""Certificates that are replaced while the program runs, well and badly; what `waymark check` and a start say of them."""
import contextlib
import os
import shutil
import subprocess

import pytest
from support.certificates import openssl, replace, serial_in, serial_of
from support.instance import PATIENCE, wait_until
from support.tls import Answers, TlsInstance, batch, post

LOOKS_S = 30  # the files are looked at once a second


@pytest.fixture(scope='module')
def shop():
    with TlsInstance() as inst:
        yield inst


def failures(inst):
    """By part: the collector's counter and the profiler's are of one name."""
    out = []
    for part in 'cp':
        text = inst.request(part, 'GET', '/metrics')[2].decode()
        out += [int(x.split()[1]) for x in text.splitlines() if x.startswith('waymark_tls_reload_failed_total ')]
    return out


def wait_shown(inst, cert, ports=None):
    for port in ports or (inst.cport, inst.pport):
        wait_until(lambda p=port: serial_of(p) == serial_in(cert), LOOKS_S, f'another certificate on {port}')


def test_a_good_pair_serves_the_next_handshake(shop):
    before = failures(shop)
    with shop.connected() as t:
        answers = Answers(t)
        t.sendall(post(batch('before')))
        assert answers.next()[0] == 200
        for name, rsa in (('second', True), ('third', False)):
            cert, key = shop.authority.sign(name, rsa=rsa)
            shop.show(cert, key)
            wait_shown(shop, cert)
            t.sendall(post(batch(name)))
            assert answers.next()[0] == 200, 'the connection from before goes on'
            code, out, err = shop.command('simulate', '--events', '50')
            assert code == 0, err
    assert failures(shop) == before
    assert shop.log().count('another certificate, until') >= 4


def test_a_link_that_leads_elsewhere(shop):
    """As certbot leaves them: names that are links."""
    folder = os.path.join(shop.dir, 'live')
    os.makedirs(folder)
    for part in ('collector', 'profiler'):
        for kind in ('pem', 'key'):
            shutil.copy(shop.file(part, kind), os.path.join(folder, f'{part}1.{kind}'))
            os.remove(shop.file(part, kind))
            os.symlink(os.path.join(folder, f'{part}1.{kind}'), shop.file(part, kind))
    cert, key = shop.authority.sign('linked')
    for part in ('collector', 'profiler'):
        for source, kind in ((cert, 'pem'), (key, 'key')):
            shutil.copy(source, os.path.join(folder, f'{part}2.{kind}'))
            os.symlink(os.path.join(folder, f'{part}2.{kind}'), shop.file(part, kind) + '.link')
            os.rename(shop.file(part, kind) + '.link', shop.file(part, kind))
    wait_shown(shop, cert)


def empty(shop, cert, key):
    open(cert, 'w').close()


def removed(shop, cert, key):
    os.remove(key)


def rubbish(shop, cert, key):
    with open(cert, 'wb') as f:
        f.write(b'-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')


def of_another(shop, cert, key):
    replace(shop.authority.sign('another')[1], key)


def ended(shop, cert, key):
    c, k = shop.authority.sign('ended', days=-1)
    replace(c, cert)
    replace(k, key)


def with_password(shop, cert, key):
    openssl('pkcs8', '-topk8', '-in', key, '-passout', 'pass:x', '-out', key + '.new')
    os.rename(key + '.new', key)


def folder_instead(shop, cert, key):
    os.remove(key)
    os.mkdir(key)


def pipe_instead(shop, cert, key):
    os.remove(key)
    os.mkfifo(key)


def endless(shop, cert, key):
    with open(cert, 'ab') as f:
        f.truncate(1 << 30)


BAD = [(empty, 'no certificates'), (removed, 'No such file'), (rubbish, 'no certificates'), (of_another, 'is not the key of'),
       (ended, 'the certificate ended on'), (with_password, 'password'), (folder_instead, 'collector.key'),
       (pipe_instead, 'not a file'), (endless, 'too large')]


@pytest.mark.parametrize('spoil,why', BAD, ids=[s.__name__ for s, _ in BAD])
def test_a_bad_pair_changes_nothing(shop, spoil, why):
    cert, key = shop.file('collector', 'pem'), shop.file('collector', 'key')
    shown, before, said = serial_of(shop.cport), failures(shop), len(shop.log())
    spoil(shop, cert, key)
    wait_until(lambda: failures(shop)[0] > before[0], LOOKS_S, 'the failure to be counted')
    assert why in shop.log()[said:] and 'collector.tls: the files have changed and are not taken' in shop.log()[said:]
    assert serial_of(shop.cport) == shown
    assert shop.request('c', 'GET', '/livez')[0] == 200
    assert failures(shop)[1] == before[1], "the profiler's files are as they were"
    assert shop.command('check')[0] == (spoil is not ended)  # of that one it warns
    if os.path.isdir(key):
        os.rmdir(key)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(key)
    fresh = shop.authority.sign(f'after_{spoil.__name__}')
    shop.show(*fresh, parts=['collector'])
    wait_shown(shop, fresh[0], [shop.cport])
    code, out, err = shop.command('check')
    assert code == 0 and 'tls' not in err, err


def test_half_of_a_pair_is_waited_for(shop):
    """Certificate first, key a moment later: no failure is counted where both come between two looks or rest together."""
    before = failures(shop)
    for i in range(3):
        cert, key = shop.authority.sign(f'half{i}')
        shop.show(cert, key)
        wait_shown(shop, cert)
    assert failures(shop) == before


def test_a_handshake_storm_during_renewals(shop):
    """Each handshake gets one pair or the other, whole."""
    serials = set()
    for i in range(4):
        cert, key = shop.authority.sign(f'storm{i}', rsa=i % 2)
        shop.show(cert, key)

        def storm():
            for _ in range(20):
                serials.add(serial_of(shop.cport))
            return serial_in(cert) in serials
        wait_until(storm, LOOKS_S, 'the next one')
    assert len(serials) >= 4
    with shop.connected() as t:
        t.sendall(post(batch('storm')))
        assert Answers(t).next()[0] == 200


# --- what is said before a start ---

def check(inst):
    code, out, err = inst.command('check')
    return code, err


def test_check(tmp_path):
    inst = TlsInstance(folder=str(tmp_path))
    assert check(inst) == (0, '')
    os.chmod(inst.file('profiler', 'key'), 0o644)
    code, err = check(inst)
    assert code == 0 and 'profiler.tls: anybody' in err and 'collector' not in err.replace(str(tmp_path), '')
    inst.show(*inst.authority.sign('soon', days=5))
    code, err = check(inst)
    assert code == 0 and err.count('the certificate ends on') == 2, err
    inst.show(*inst.authority.sign('over', days=-1))
    code, err = check(inst)
    assert code == 0 and err.count('the certificate ended on') == 2, err
    inst.show(*inst.authority.sign('good'))
    replace(inst.authority.sign('else')[1], inst.file('collector', 'key'))
    code, err = check(inst)
    assert code == 1 and 'collector.tls: ' in err and 'is not the key of' in err, err
    os.remove(inst.file('collector', 'key'))
    code, err = check(inst)
    assert code == 1 and 'waymark.yaml:' in err and 'collector.key' in err, err


def test_one_of_both_is_a_mistake(tmp_path):
    inst = TlsInstance(folder=str(tmp_path))
    with open(inst.config) as f:
        text = f.read()
    for one in ('certificate: collector.pem', 'key: collector.key'):
        with open(inst.config, 'w') as f:
            f.write(text.replace('{certificate: collector.pem, key: collector.key}', '{' + one + '}'))
        code, err = check(inst)
        assert code == 1 and 'needs certificate and key, or neither' in err, err


@pytest.mark.parametrize('spoil,why', BAD[:4], ids=[s.__name__ for s, _ in BAD[:4]])
def test_no_start_with_a_bad_pair(tmp_path, spoil, why):
    inst = TlsInstance(folder=str(tmp_path))
    spoil(inst, inst.file('collector', 'pem'), inst.file('collector', 'key'))
    inst.start(ready=False)
    try:
        assert inst.process.wait(60 * PATIENCE) == 1
    except subprocess.TimeoutExpired:
        inst.kill()
        raise
    assert why in inst.log(), inst.log()
    assert 'collector.key' in inst.log() or 'collector.pem' in inst.log()


def test_a_start_with_one_that_ended(tmp_path):
    """Clients that know the key, as the commands do, are still served; the log warns."""
    inst = TlsInstance(folder=str(tmp_path))
    inst.show(*inst.authority.sign('over', days=-1))
    inst.tls.check_hostname = False
    inst.tls.verify_mode = 0
    with inst:
        assert 'collector.tls: the certificate ended on' in inst.log()
        assert inst.command('simulate', '--events', '10')[0] == 0
