"""The journal of `waymark simulate --acked`: what was answered as accepted must be there, once."""
from collections import defaultdict


def read_journal(path):
    """profile -> message ids that were answered as accepted"""
    acked = defaultdict(set)
    with open(path) as f:
        for line in f:
            if line.endswith('\n'):
                profile, message = line.rstrip('\n').split('\t')
                acked[profile].add(message)
    return acked


def check_everything_acked_is_there(inst, journal):
    """I1 and exactness of a drained instance. Returns how many events were acked. A linked device is shown as its user, whose path is read once."""
    acked = read_journal(journal)
    assert acked, 'nothing was acked: the test tested nothing'
    shown, counted = defaultdict(set), {}
    for profile, messages in acked.items():
        status, answer = inst.profile(profile)
        assert status == 200, f'{profile}: acked and lost: {sorted(messages)[:5]}'
        shown[answer['id']] |= messages
        events = counted.setdefault(answer['id'], answer['facts']['events'])
        assert events == answer['facts']['events'], f'{profile} is shown as {answer["id"]} with other events'
    for profile, messages in shown.items():
        path = [e['message_id'] for e in inst.whole_path(profile)]
        assert len(path) == len(set(path)), f'{profile}: an event counts twice'
        missing = messages - set(path)
        assert not missing, f'{profile}: acked and lost: {sorted(missing)[:5]}'
        assert counted[profile] == len(path), f'{profile}: the facts count {counted[profile]} events, its path has {len(path)}'
    return sum(map(len, acked.values()))
