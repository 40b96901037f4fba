"""People change while others are judged: a count that comes after the fold has all of them, and so do members."""
import json

from support.instance import SERVER, Instance

ROUNDS, PEOPLE, AT_ONCE = 6, 3000, 100


def send(inst, first):
    """Each twice in a request, so that they change again while they are judged."""
    for n in range(first, first + PEOPLE, AT_ONCE):
        events = [{'type': 'page', 'userId': f'u{n + k}', 'properties': {'url': f'https://shop.example/{i}'}}
                  for i in range(2) for k in range(AT_ONCE)]
        assert inst.post('/v1/batch', {'batch': events}, SERVER)[0] == 200


def test_whoever_changed_is_counted():
    with Instance(partitions=4) as inst:
        for i in range(ROUNDS):
            send(inst, i * PEOPLE)
            inst.drain()
            s, _, b = inst.request('p', 'POST', '/v1/audiences:count', json.dumps({'rule': 'pages >= 2'}))
            assert (s, json.loads(b)['count']) == (200, (i + 1) * PEOPLE)
