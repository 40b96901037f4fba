"""One person over devices, partitions and profilers on a real Kafka: the classic stories of identity are told to a cluster
whose profilers are killed on the way, and come out as worked by hand."""
import json

import pytest
from support.cluster import Cluster, not_sanitized
from support.instance import wait_until
from support.person_story import CASES, MORE, check_case, check_sent, requests


def unlink(cluster, body):
    """At whichever profiler is up; a 503 is waited for."""
    def done():
        p = next(p for p in cluster.profilers if p.alive())
        s, _, b = p.request('POST', '/v1/identity:unlink', json.dumps(body), {'Content-Type': 'application/json'})
        return s != 503 and (s, b)
    s, b = wait_until(done, 60, 'the unlink to be taken')
    assert s == 200, (s, b)


def send(cluster, request):
    first = request[0]
    if first.unlink:
        unlink(cluster, first.unlink)
        return
    s, _, b = cluster.collectors[0].post(first.route, [e.body for e in request], first.key)
    check_sent(s, b, request)


@not_sanitized
@pytest.mark.parametrize('partitions', [1, 4, 16])
def test_stories_over_two_profilers_that_are_killed(kafka, partitions):
    with Cluster(kafka, profilers=2, partitions=partitions, more_profiler=MORE) as c:
        everything = requests('shuffled')
        kills = {len(everything) * n // 5: c.profilers[n % 2] for n in range(1, 5)}
        for n, r in enumerate(everything):
            send(c, r)
            if n in kills:  # the other one takes its partitions over, or it comes back to them
                kills[n].kill()
                kills[n].start(ready=False)
        c.wait_ready(120)
        c.drain(120)
        for case in CASES:
            check_case(c, case)
        c.check_conserved()
        for p in c.programs():
            assert p.stop() == 0, f'{p.name} did not stop cleanly:\n{p.log()[-3000:]}'
        for p in c.profilers:
            code, out, err = p.command('verify')
            assert code == 0, f'{p.name}: {out}{err}'
