"""A disk that is full under `waymark serve`: what cannot be kept is refused, what was acked stays, look-ups go on, and it
recovers by itself when there is room again (I1)."""
import os

from support.acked import check_everything_acked_is_there
from support.instance import Instance, check_conserved, wait_until
from support.small_disk import MIB, fill, make_room


def post(inst, n):
    return inst.post('/v1/track', {'event': 'E', 'userId': 'full', 'messageId': f'f{n}'})


def test_full_at_rest(small_disk):
    with Instance(folder=small_disk) as inst:
        assert post(inst, 0)[0] == 200
        inst.drain()
        for episode in range(3):
            fill(small_disk, 0)
            status, headers, body = wait_until(lambda: (a := post(inst, f'x{episode}'))[0] != 200 and a, 20, 'a refusal')
            assert status == 503 and body['code'] == 'unavailable' and 1 <= int(headers['retry-after']) <= 300
            wait_until(lambda: inst.request('c', 'GET', '/readyz')[0] == 503, 20, '/readyz to say so')
            assert inst.request('c', 'GET', '/livez')[0] == 200
            assert inst.profile('user:full')[0] == 200, 'look-ups go on'
            make_room(small_disk)
            wait_until(lambda: post(inst, f'y{episode}')[0] == 200, 30, 'the recovery')
            wait_until(lambda: inst.request('c', 'GET', '/readyz')[0] == 200, 20, '/readyz to say so')
        check_conserved(inst.drain())
        assert {e['message_id'] for e in inst.whole_path('user:full')} >= {'f0', 'fy0', 'fy1', 'fy2'}
        assert inst.stop() == 0
        code, out, err = inst.command('verify')
        assert code == 0, out + err


def test_full_under_load(small_disk):
    # Small commits, so that the state meets the full disk too.
    with Instance(folder=small_disk, more_profiler='  commit_interval: 100ms\n') as inst:
        journal = os.path.join(small_disk, 'acked')
        for episode in range(3):
            fill(small_disk, 24 * MIB)
            code, out, err = inst.command('simulate', '--events', '300000', '--batch', '1000', '--patience', '0', '--seed',
                                          str(episode), '--people', '300', '--start', '2026-10-01T00:00:00Z')
            assert inst.process.poll() is None, 'serve died of a full disk:\n' + inst.log()[-3000:]
            assert code == 1 and 'never acked 0' not in out, f'the disk was never full: {out}{err}'
            make_room(small_disk)
            wait_until(lambda: post(inst, episode)[0] == 200, 30, 'the recovery')
            code, out, err = inst.command('simulate', '--events', '2000', '--seed', '77', '--people', '40', '--acked', journal,
                                          '--start', '2026-10-01T00:00:00Z')
            assert code == 0, out + err
        check_conserved(inst.drain())
        check_everything_acked_is_there(inst, journal)
        inst.kill()
        inst.start()
        check_conserved(inst.drain())
        check_everything_acked_is_there(inst, journal)
        assert inst.stop() == 0
        code, out, err = inst.command('verify')
        assert code == 0, out + err
