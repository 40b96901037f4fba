"""Traits follow the person: what was stated of a device before it was anybody's, over links that come late, unlinks,
kills and restarts."""
import json

import pytest

from support.instance import SERVER, Instance
from support.stated import files_with, traits

SECRET = 'hallsecret'


def say(shop, **call):
    s, _, b = shop.post('/v1/batch', {'batch': [call]}, SERVER)
    assert s == 200 and not b['rejected'], b


@pytest.mark.parametrize('partitions', [1, 4, 16])
def test_links_move_traits(partitions):
    with Instance(partitions=partitions) as shop:
        for n in range(4):
            dev, user = f'd{n}', f'u{n}'
            say(shop, type='identify', anonymousId=dev, timestamp='2026-01-01T00:00:00Z',
                traits={'email': f'{SECRET}{n}@x.example', 'shade': 'teal', '$add': {'points': 1}})
            say(shop, type='identify', userId=user, timestamp='2026-01-02T00:00:00Z',
                traits={'phone': '13812345678', 'shade': 'red', '$add': {'points': 2}})
            say(shop, type='page', anonymousId=dev, context={'consent': {'categoryPreferences': {'marketing': True}}})
        shop.drain()
        for n in range(4):
            assert traits(shop, f'anon:d{n}', include='contact') == \
                {'email': f'{SECRET}{n}@x.example', 'shade': 'teal', 'points': 1}
            assert traits(shop, f'user:u{n}', include='contact') == {'phone': '13812345678', 'shade': 'red', 'points': 2}
            say(shop, type='alias', previousId=f'd{n}', userId=f'u{n}', timestamp='2026-01-03T00:00:00Z')
        shop.drain()
        both = {'phone': '13812345678', 'shade': 'red', 'points': 3}

        def check_linked():
            for n in range(4):
                for pid in (f'user:u{n}', f'anon:d{n}'):
                    s, p = shop.profile(pid, include='contact')
                    assert p['id'] == f'user:u{n}' and p['traits'] == {**both, 'email': f'{SECRET}{n}@x.example'}, p
                    assert p['consent']['marketing']['granted'] is True
        check_linked()
        shop.kill()
        shop.start()
        shop.drain()
        check_linked()
        for n in range(4):
            s, _, b = shop.request('p', 'POST', '/v1/identity:unlink', json.dumps({'anonymous_id': f'd{n}', 'user_id': f'u{n}'}))
            assert s == 200, b
        shop.drain()
        for n in range(4):
            assert traits(shop, f'anon:d{n}', include='contact') == \
                {'email': f'{SECRET}{n}@x.example', 'shade': 'teal', 'points': 1}
            s, p = shop.profile(f'user:u{n}', include='contact')
            assert p['traits'] == {'phone': '13812345678', 'shade': 'red', 'points': 2} and p['consent'] == {}
        assert shop.stop() == 0
        code, out, err = shop.command('verify')
        assert code == 0, out + err
        assert not files_with(shop.dir, [SECRET.encode(), b'13812345678'])
