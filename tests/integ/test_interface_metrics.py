"""The metrics as the reference words them: names, kinds, sums, and how they are written."""
import re

import pytest

from support.instance import BEACON, Instance, check_conserved, total
from support.talk import Talk, fresh, order, page, track, talking

TABLE = {
    'waymark_events_received_total': 'counter', 'waymark_events_accepted_total': 'counter',
    'waymark_events_refused_total': 'counter', 'waymark_events_in_flight': 'gauge', 'waymark_requests_total': 'counter',
    'waymark_request_duration_seconds': 'histogram', 'waymark_fold_lag_seconds': 'gauge', 'waymark_build_info': 'gauge',
    'waymark_state_events': 'gauge', 'waymark_log_end_offset': 'gauge', 'waymark_state_offset': 'gauge',
    'waymark_log_appends_total': 'counter'
}
OUTCOMES = {'folded', 'duplicate', 'bad', 'excluded', 'expired', 'erased', 'moved'}
CODES = [
    'not_object', 'type_unknown', 'id_missing', 'id_invalid', 'name_missing', 'timestamp_invalid', 'too_large',
    'too_deep', 'value_invalid', 'order_invalid'
]


@pytest.fixture(scope='module')
def talk():
    with talking(Instance()) as t:
        yield t


def scrape(inst, part):
    s, h, b = inst.request(part, 'GET', '/metrics')
    assert s == 200 and h['content-type'].startswith('text/plain')
    return b.decode()


def outcome(m, name):
    return m['waymark_state_events'][f'outcome="{name}"']


def refused(m, name):
    return m['waymark_events_refused_total'].get(f'reason="{name}"', 0)


def test_every_metric_of_the_table_is_there_with_its_kind(talk):
    talk.beacon(page(0, userId='u'))
    kinds = dict(re.findall(r'^# TYPE (\S+) (\S+)$', scrape(talk.inst, 'c') + scrape(talk.inst, 'p'), re.M))
    assert TABLE.items() <= kinds.items()


@pytest.mark.parametrize('part', ['c', 'p'])
def test_the_text_is_what_prometheus_reads(talk, part):
    talk.beacon(page(0, userId='u'))
    told, helped, seen = {}, set(), set()
    last = None
    for line in scrape(talk.inst, part).splitlines():
        if line.startswith('# HELP '):
            name, _, words = line[7:].partition(' ')
            assert words and name not in helped
            helped.add(name)
        elif line.startswith('# TYPE '):
            name, kind = line[7:].split(' ')
            assert name in helped and name not in told
            told[name] = last = kind, name
        elif line:
            m = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*\})? (-?[0-9.eE+-]+|NaN|\+Inf)',
                             line)
            assert m and line not in seen, line
            seen.add(line)
            kind, name = last
            assert m[1] == name or kind == 'histogram' and m[1] in (name + '_bucket', name + '_sum',
                                                                    name + '_count'), line
            assert (kind == 'counter') == name.endswith('_total')
    assert told.keys() == helped


def test_histograms_add_up(talk):
    m = talk.inst.metrics()
    buckets = m['waymark_request_duration_seconds_bucket']
    for labels, n in m['waymark_request_duration_seconds_count'].items():
        assert buckets[labels + ',le="+Inf"'] == n
        row = [v for k, v in buckets.items() if k.startswith(labels + ',')]
        assert row == sorted(row)


def test_each_refusal_by_its_code(talk):
    deep = {}
    for _ in range(40):
        deep = {'d': deep}
    bad = [
        7, {'type': 'x', 'userId': 'u'}, {'type': 'page'},
        page(0, userId=[]), {'type': 'track', 'userId': 'u'}, {'type': 'page', 'userId': 'u', 'timestamp': 'soon'},
        track(0, userId='u', properties={'x': 'x' * (1 << 20)}),
        track(0, userId='u', properties=deep),
        track(0, 'Order Completed', userId='u', properties={'order_id': 'o', 'total': 'x'})
    ]
    before = talk.inst.drain()
    talk.beacon(*bad, page(0, userId='u'), rejected=list(enumerate(CODES[:9])))
    talk.orders({'status': 'paid'}, rejected=[(0, 'order_invalid')])
    after = talk.inst.drain()
    for code in CODES:
        assert refused(after, code) - refused(before, code) == 1, code
    for name, n in (('received', 11), ('accepted', 1), ('refused', 10)):
        assert total(after, f'waymark_events_{name}_total') - total(before, f'waymark_events_{name}_total') == n
    assert outcome(after, 'folded') - outcome(before, 'folded') == 1
    check_conserved(after)


def test_duplicates_are_outcomes(talk):
    u = fresh('u')
    before = talk.inst.drain()
    talk.beacon(page(5, 'm', userId=u), page(5, 'm', userId=u), page(9, 'm', userId=u), page(1, 'm', userId=u))
    after = talk.inst.drain()
    assert outcome(after, 'folded') + outcome(after, 'duplicate') - outcome(before, 'folded') - outcome(
        before, 'duplicate') == 4
    assert outcome(after, 'duplicate') - outcome(before, 'duplicate') == 3
    assert {re.search('"(.*)"', k)[1] for k in after['waymark_state_events']} == OUTCOMES
    check_conserved(after)


def test_what_is_refused_whole_is_no_event_unless_it_was_read(talk):
    before = talk.inst.metrics()
    for body, key in ((b'{', BEACON), (b'', BEACON), (b'{"batch":[{"type":"page","userId":"u"}]}', 'wk_nobody')):
        assert talk.inst.post('/v1/batch', body, key)[0] in (400, 401)
    after = talk.inst.metrics()
    for name in ('received', 'accepted', 'refused'):
        assert total(after, f'waymark_events_{name}_total') == total(before, f'waymark_events_{name}_total')


def test_a_single_bad_call_is_an_event(talk):
    before = talk.inst.metrics()
    assert talk.inst.post('/v1/track', {'userId': 'u'})[0] == 400
    after = talk.inst.metrics()
    assert refused(after, 'name_missing') - refused(before, 'name_missing') == 1
    check_conserved(talk.inst.drain())


def test_counters_are_raised_before_the_answer(talk):
    n = total(talk.inst.metrics(), 'waymark_events_accepted_total')
    for _ in range(50):
        talk.beacon(page(0, userId='u'))
        n += 1
        assert total(talk.inst.metrics(), 'waymark_events_accepted_total') == n


def test_labels_are_bounded(talk):
    for n in range(30):
        talk.inst.request('c', 'POST', f'/nothing/{n}', b'{}')
        talk.inst.request('p', 'GET', f'/nothing/{n}')
        talk.inst.get(f'/v1/profiles/user:label{n}')
        talk.inst.get(f'/v1/orders/label{n}/scene')
        talk.inst.request('c', f'VERB{n}', '/v1/batch')
    text = scrape(talk.inst, 'c') + scrape(talk.inst, 'p')
    assert 'nothing' not in text and 'label' not in text and 'VERB' not in text
    assert sum('status="404"' in k for k in talk.inst.metrics()['waymark_requests_total']) <= 6


def test_requests_by_route_and_status(talk):
    key = lambda m, route, status: sum(v for k, v in m['waymark_requests_total'].items()
                                       if f'route="{route}"' in k and f'status="{status}"' in k)
    before = talk.inst.metrics()
    talk.beacon(page(0, userId='u'))
    talk.inst.post('/v1/batch', b'{')
    talk.orders(order(fresh('O'), 'paid', 0, userId='u'))
    after = talk.inst.metrics()
    assert [key(after, *k) - key(before, *k)
            for k in (('/v1/batch', 200), ('/v1/batch', 400), ('/v1/orders', 200))] == [1, 1, 1]


def test_appends_and_build(talk):
    m = talk.inst.metrics()
    assert {re.search('"(.*)"', k)[1]
            for k in m['waymark_log_appends_total']} == {'collector', 'spool', 'profiler', 'command'}
    (labels, value), = set(m['waymark_build_info'].items())
    assert value == 1 and re.search('version="[^"]+"', labels) and re.search('revision="[^"]*"', labels)


def test_state_events_survive_restarts():
    with Instance() as inst:
        talk = Talk(inst)
        talk.beacon(page(0, 'm', userId='u'), page(0, 'm', userId='u'), page(1, userId='v'))
        before = inst.drain()
        for stop in (inst.kill, inst.stop, inst.kill):
            stop()
            inst.start()
            m = inst.drain()
            assert m['waymark_state_events'] == before['waymark_state_events']
            assert m['waymark_state_offset'] == m['waymark_log_end_offset'] == before['waymark_log_end_offset']
        talk.beacon(page(1, userId='v'))
        m = inst.drain()
        assert outcome(m, 'folded') == 3 and total(m, 'waymark_events_received_total') == 1
        assert m['waymark_fold_lag_seconds'][''] == 0
