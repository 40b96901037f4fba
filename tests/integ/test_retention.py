"""The embedded log gives back what is folded and old, and nothing that is known of people goes with it."""
import os

from support.instance import Instance, check_conserved, wait_until


def log_bytes(inst):
    folder = os.path.join(inst.dir, 'data', 'log')
    return sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder) if f.endswith('.sst'))


def test_what_is_dropped_stays_folded():
    with Instance(partitions=2, more_log=', retain: 1s', more_profiler='  commit_interval: 100ms\n') as inst:
        pad = os.urandom(200_000).hex()  # does not compress well, so that dropping it shows
        for n in range(200):
            s, _, _ = inst.post('/v1/track', {'event': 'E', 'userId': f'u{n % 5}', 'messageId': f'm{n}', 'properties': {'p': pad}})
            assert s == 200
        before = inst.drain()
        facts = [inst.profile(f'user:u{n}')[1]['facts'] for n in range(5)]
        ended = sum(before['waymark_log_end_offset'].values())
        # The commit lets go of the records and the retention takes them; their files go with the log's next flushes.
        inst.stop()
        inst.start()
        wait_until(lambda: log_bytes(inst) < 20_000_000, 60, 'the log to give its files back')
        m = inst.drain()
        check_conserved(m)
        assert sum(m['waymark_log_end_offset'].values()) == ended, 'offsets go on'
        assert [inst.profile(f'user:u{n}')[1]['facts'] for n in range(5)] == facts
        assert inst.post('/v1/track', {'event': 'E', 'userId': 'u0', 'messageId': 'm0'})[0] == 200
        inst.kill()
        inst.start()
        inst.drain()
        assert inst.profile('user:u0')[1]['facts']['events'] == facts[0]['events'], 'dedup outlives the log'
        assert inst.stop() == 0
        code, out, err = inst.command('verify')
        assert code == 0, out + err
