"""Who an event belongs to, case by case: every expected result is worked out by hand from the rule for identity. All
cases are told to one instance at once, each with ids of its own, over 1, 4 and 16 partitions, as told, backwards and
shuffled."""
import json

import pytest
from support.instance import Instance, total
from support.person_story import CASES, MORE, check_case, check_sent, requests


def send(inst, request):
    first = request[0]
    if first.unlink:
        s, _, b = inst.request('p', 'POST', '/v1/identity:unlink', json.dumps(first.unlink),
                               {'Content-Type': 'application/json'})
        assert s == 200, (s, b)
        return
    s, _, b = inst.post(first.route, [e.body for e in request], first.key)
    check_sent(s, b, request)


@pytest.fixture(scope='module', params=[(p, o) for p in (1, 4, 16) for o in ('told', 'backwards', 'shuffled')],
                ids=lambda x: f'{x[0]}-{x[1]}')
def shop(request):
    """An instance that was told all stories, killed in between."""
    partitions, order = request.param
    with Instance(partitions=partitions, more_profiler=MORE) as inst:
        everything = requests(order)
        for n, r in enumerate(everything):
            send(inst, r)
            if n == len(everything) // 2:
                inst.kill()
                inst.start()
        m = inst.drain()
        assert total(m, 'waymark_log_end_offset') == total(m, 'waymark_state_events')
        yield inst
        inst.stop()
        code, out, err = inst.command('verify')
        assert code == 0, out + err


@pytest.mark.parametrize('case', CASES)
def test_case(shop, case):
    check_case(shop, case)
