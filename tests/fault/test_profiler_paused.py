"""A profiler is stopped (SIGSTOP) until another one has taken over its partitions, and wakes with look-ups in its sockets: it answers
them with 503 or rightly, never with what it knew before it slept (rule `clock`), and its late writes to Redis are not believed."""
import threading

from support.cluster import Cluster
from support.outage import Slow, wait_hits, wait_served
from support.redis import Redis


def shown(program, profile):
    status, answer = program.look(profile)
    return (answer['version'], answer['facts']['events']) if status == 200 else None


def test_paused_while_another_takes_over(kafka):
    with Redis() as redis, Cluster(kafka, profilers=2, redis=redis) as c:
        with c.load(people=30):
            c.wait_acked()
            users = [i for i in c.acked_profiles() if i.startswith('user:')][:12]
            for sleeper, other in (c.profilers, c.profilers[::-1]):
                wait_served(c, by=c.profilers)
                wait_hits_of(c, users)
                sleeper.pause()
                wait_served_by_running(c, other)
                c.wait_acked()
                floor = {u: wait_for(lambda u=u: shown(other, u)) for u in users}
                asked = [(u, Slow(sleeper, u)) for u in users for _ in range(3)]
                sleeper.resume()
                for u, question in asked:
                    status, answer = question.answer()
                    assert status in (200, 503), (u, status, answer)
                    if status == 200:
                        now = (answer['version'], answer['facts']['events'])
                        assert now >= floor[u], f'{u} was shown as {floor[u]}, and after waking as {now}'
                # From here on too, at both, whoever answers.
                for u in users:
                    for p in c.profilers:
                        now = shown(p, u)
                        assert now is None or now >= floor[u], (p.name, u, floor[u], now)
        c.finish()


def wait_for(condition):
    from support.instance import wait_until
    return wait_until(condition, 40, 'an answer')


def wait_hits_of(c, users):
    """Copies of these stand in Redis: both profilers are asked for each until Redis has answered a few."""
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            for u in users:
                for p in c.profilers:
                    p.look(u)
    t = threading.Thread(target=ask, daemon=True)
    t.start()
    try:
        wait_hits(c)
    finally:
        stop.set()
        t.join()


def wait_served_by_running(c, running):
    """The one that runs serves everything; the other one cannot be asked."""
    def all_his():
        m = running.metrics().get('waymark_partition_ready', {})
        return sum(m.values()) == c.partitions
    wait_for(all_his)
