"""Tags from outside: in answers at once and as of a moment, by hand, by time, after a change of their file and a restart."""
import datetime
import json
import os
import signal
import subprocess

from support.instance import WAYMARK, Instance, wait_until

NOW = datetime.datetime.utcnow().replace(microsecond=0)
FILE = '''level:
  values:
    - {gold}: orders >= 2
    - basic: orders >= 1
recent:
  rule: last_event_at != null && now - last_event_at < duration("4s")
'''


def iso(days_ago):
    return (NOW - datetime.timedelta(days=days_ago)).isoformat() + 'Z'


def order(inst, user, number, days_ago, total=10):
    s, h, b = inst.post('/v1/orders', {'orderId': f'{user}-{number}', 'status': 'created', 'userId': user, 'total': total,
                                       'currency': 'GBP', 'timestamp': iso(days_ago), 'channel': 'web',
                                       'items': [{'sku': 's', 'category': 'Shoes', 'price': total, 'quantity': 1}]}, key='sk_test_backend')
    assert s == 200 and not b['rejected'], b
    return h['x-waymark-position']


def tags(inst, user, after=None, **query):
    s, b = inst.profile(f'user:{user}', **({'after': after} if after else {}), **query)
    assert s == 200, b
    return b['tags']


def write(path, text):
    with open(path + '.new', 'w') as f:
        f.write(text)
    os.replace(path + '.new', path)


def test_answers_have_tags_at_once_and_as_of_a_moment():
    with Instance(partitions=2) as inst:
        order(inst, 'a', 1, 210)
        t = tags(inst, 'a', order(inst, 'a', 2, 190))
        assert t['lifecycle'] == 'declining' and t['preferred_channel'] == 'web' and t['favourite_category'] == 'Shoes', t
        t = tags(inst, 'a', order(inst, 'a', 3, 1))
        assert t['lifecycle'] == 'growing' and t['churn_risk'] == 'low' and t['cross_selling'] == 'narrow'
        assert tags(inst, 'a', as_of=iso(200))['lifecycle'] == 'new'
        assert tags(inst, 'a', as_of=iso(185))['lifecycle'] == 'growing'
        assert tags(inst, 'a', as_of=iso(30))['lifecycle'] == 'declining'
        s, _, b = inst.request('p', 'POST', '/v1/profiles:lookup', json.dumps({'ids': ['user:a', 'user:nobody']}))
        assert s == 200 and json.loads(b)['profiles'][0]['tags'] == tags(inst, 'a')
        assert inst.profile('user:a', '/data')[1]['profile']['tags'] == tags(inst, 'a')
        inst.kill()
        inst.start()
        assert tags(inst, 'a')['lifecycle'] == 'growing'


def test_cut_points_come_by_themselves():
    with Instance(partitions=2) as inst:
        last = [order(inst, f'u{i}', k, 30 - i - k, 10 + i) for i in range(10) for k in range(1 + i // 4)][-1]
        assert 'rfm_monetary' not in tags(inst, 'u9', last)
        wait_until(lambda: 'rfm_monetary' in tags(inst, 'u9'), 60, 'the first cut points')
        # By rank: u0 to u3 have one order (p = .2), u4 to u7 two (.6), the others three (.9).
        wait_until(lambda: [tags(inst, f'u{i}').get('rfm_frequency') for i in (0, 3, 4, 7, 8, 9)] == [2, 2, 4, 4, 5, 5], 60, 'their ranks')
        assert [tags(inst, f'u{i}')['rfm_monetary'] for i in (0, 1, 9)] == [1, 1, 5]
        s, b = inst.get('/v1/tags')
        assert s == 200 and b['cuts']['people'] == 10, b
        before = tags(inst, 'u9')
        inst.stop()
        inst.start()
        assert tags(inst, 'u9') == before, 'cut points are on the log'
        assert inst.metrics()['waymark_cuts_total']['result="made"'] <= 1


def test_time_alone_changes_a_tag(tmp_path):
    write(str(tmp_path / 'tags.yaml'), FILE.format(gold='gold'))
    with Instance(partitions=2, more_profiler='  tags: ./tags.yaml\n', folder=str(tmp_path)) as inst:
        s, h, _ = inst.post('/v1/track', {'event': 'E', 'userId': 'a', 'messageId': 'm'})
        assert s == 200
        assert tags(inst, 'a', h['x-waymark-position']) == {'recent': True}
        wait_until(lambda: tags(inst, 'a') == {'recent': False}, 10, 'four seconds to pass')


def test_the_file_is_read_again(tmp_path):
    path = str(tmp_path / 'tags.yaml')
    write(path, FILE.format(gold='gold'))
    with Instance(partitions=2, more_profiler='  tags: ./tags.yaml\n', folder=str(tmp_path)) as inst:
        order(inst, 'a', 1, 3)
        assert tags(inst, 'a', order(inst, 'a', 2, 2))['level'] == 'gold'
        write(path, FILE.format(gold='platinum'))
        wait_until(lambda: tags(inst, 'a')['level'] == 'platinum', 20, 'the file to be read')
        write(path, FILE.format(gold='gold').replace('orders >= 2', 'ordrs >= 2'))
        inst.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'tags.yaml:3:' in inst.log(), 20, 'the mistake to be said')
        assert 'orders' in inst.log().split('tags.yaml:3:')[1].split('\n')[0], 'with a suggestion'
        assert tags(inst, 'a')['level'] == 'platinum', 'a bad file changes nothing'
        m = wait_until(lambda: (m := inst.metrics())['waymark_tags_reloads_total']['result="refused"'] and m, 20, 'the refusal to be counted')
        assert m['waymark_tags_file_good'][''] == 0 and m['waymark_tags'][''] == 2
        assert m['waymark_tags_reloads_total']['result="taken"'] == 1
        assert m['waymark_tags_reloads_total']['result="refused"'] in (1, 2)  # by the signal, and by a look just before it
        code, _, err = inst.command('check')
        assert code == 1 and 'tags.yaml:3:' in err
        write(path, FILE.format(gold='gold') + 'more: {rule: orders * 2}\n')
        inst.process.send_signal(signal.SIGHUP)
        wait_until(lambda: tags(inst, 'a').get('more') == 4, 20, 'the good one to be read')
        assert inst.metrics()['waymark_tags_file_good'][''] == 1
        code, out, err = inst.command('check')
        assert code == 0 and ' 3 tags,' in out, out + err
        assert inst.stop() == 0


def test_a_bad_file_does_not_start(tmp_path):
    write(str(tmp_path / 'tags.yaml'), 'a: {rule: last_order_at}\n')
    inst = Instance(partitions=2, more_profiler='  tags: ./tags.yaml\n', folder=str(tmp_path))
    r = subprocess.run([WAYMARK, 'serve', '--config', inst.config], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and 'tags.yaml:1:' in r.stderr, r.stderr


def test_by_hand(tmp_path):
    with Instance(partitions=2) as inst:
        after = order(inst, 'a', 1, 3)
        assert tags(inst, 'a', after)['lifecycle'] == 'new'
        until = (datetime.datetime.utcnow() + datetime.timedelta(seconds=4)).isoformat() + 'Z'
        s, _, b = inst.request('p', 'PUT', '/v1/profiles/user%3Aa/tags/lifecycle', json.dumps({'value': 'mature', 'until': until}))
        assert s == 200, b
        s, _, b = inst.request('p', 'PUT', '/v1/profiles/user%3Aa/tags/note', json.dumps({'value': 'calls back'}))
        assert s == 200, b
        wait_until(lambda: tags(inst, 'a').get('note') == 'calls back', 10, 'the tags to be folded')
        if datetime.datetime.utcnow().isoformat() + 'Z' < until:
            assert tags(inst, 'a')['lifecycle'] in ('mature', 'new')
        wait_until(lambda: tags(inst, 'a')['lifecycle'] == 'new', 10, 'its end')
        s, _, b = inst.request('p', 'PUT', '/v1/profiles/user%3Aa/tags/lifecycle', json.dumps({'value': 5}))
        assert s == 400, b
        s, _, b = inst.request('p', 'DELETE', '/v1/profiles/user%3Aa/tags/note')
        assert s == 200, b
        wait_until(lambda: 'note' not in tags(inst, 'a'), 10, 'it to be gone')
