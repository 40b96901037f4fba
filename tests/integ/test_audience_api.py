"""Rules, tags and audiences over HTTP: shapes, codes, limits, cursors, what a token may. Who is a member is for others."""
import datetime
import json
import urllib.parse

import pytest
from support.instance import SERVER, Instance, sha256, wait_until

TOKENS = {'aud': 'audience', 'audpii': 'audience, pii', 'look': 'lookup'}


def bearer(name):
    return {'Authorization': f'Bearer tk_{name}'}


@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    file = tmp_path_factory.mktemp('tokens') / 'tokens.yaml'
    file.write_text(''.join(f'- {{name: {n}, sha256: {sha256("tk_" + n)}, scopes: [{s}]}}\n' for n, s in TOKENS.items()))
    with Instance(more_profiler=f'  tokens_file: {file}\n') as i:
        events = [{'type': 'track', 'event': 'Product Viewed', 'userId': f'v{n:03}', 'messageId': f'm{n}-{k}'}
                  for n in range(50) for k in range(n % 5 + 1)]
        assert i.post('/v1/batch', events, SERVER)[0] == 200
        people = [{'type': 'identify', 'userId': f'v{n:03}', 'messageId': f'i{n}',
                   'traits': {'email': f'v{n}@x.com', **({'phone': '+441632960001'} if n < 10 else {})}} for n in range(20)]
        assert i.post('/v1/batch', people, SERVER)[0] == 200
        i.drain()
        yield i


def call(shop, method, path, body=None, headers=None):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    status, head, answer = shop.request('p', method, path, data, headers)
    try:
        return status, json.loads(answer) if answer else None, head
    except ValueError:
        return status, answer, head


def members(shop, name, limit=1000, **query):
    out, cursor, pages = [], None, 0
    while True:
        q = urllib.parse.urlencode({'limit': limit, **query, **({'cursor': cursor} if cursor else {})})
        s, b, _ = call(shop, 'GET', f'/v1/audiences/{name}/members?{q}')
        assert s == 200 and len(b['members']) <= limit, b
        out += b['members']
        cursor = b['next']
        pages += 1
        assert pages < 1000
        if cursor is None:
            return out


def put(shop, name, rule, headers=None, **more):
    return call(shop, 'PUT', f'/v1/audiences/{name}', {'rule': rule, **more}, headers)


def live(shop, name):
    def is_live():
        s, b, _ = call(shop, 'GET', f'/v1/audiences/{name}')
        return s == 200 and b['state'] == 'live' and b
    return wait_until(is_live, 20, f'{name} to be live')


# --- defining ---------------------------------------------------------------------------------------------------------


def test_defined_shown_changed_and_removed(shop):
    s, b, h = put(shop, 'viewers', 'products_viewed >= 3', description='those who look ☃')
    assert s == 201 and h['x-waymark-position'].count(':') == 4, (b, h)
    assert b['name'] == 'viewers' and b['rule'] == 'products_viewed >= 3' and b['description'] == 'those who look ☃'
    one = live(shop, 'viewers')
    assert one['size'] == 30 and one['method'] == 'bitmap' and one['updated_at'].endswith('Z') and one['rule_version']
    assert 'partitions' not in one
    assert put(shop, 'viewers', 'products_viewed >= 3', description='those who look ☃')[0] == 200  # the same again
    assert call(shop, 'GET', '/v1/audiences/viewers')[1]['rule_version'] == one['rule_version']
    s, b, _ = put(shop, 'viewers', 'products_viewed >= 5')
    assert s == 200 and b['rule'] == 'products_viewed >= 5' and 'description' not in b
    assert live(shop, 'viewers')['size'] == 10
    s, b, _ = call(shop, 'GET', '/v1/audiences')
    assert s == 200 and [a for a in b['audiences'] if a['name'] == 'viewers'][0]['size'] == 10
    s, b, h = call(shop, 'DELETE', '/v1/audiences/viewers')
    assert s == 200 and b == {'name': 'viewers', 'removed': True} and h['x-waymark-position']
    for method, path in (('GET', ''), ('DELETE', ''), ('GET', '/members'), ('GET', '/explain?id=user:v001')):
        s, b, _ = call(shop, method, '/v1/audiences/viewers' + path)
        assert s == 404 and b['code'] == 'audience_not_found', (method, path, b)
    assert put(shop, 'viewers', 'products_viewed >= 5')[0] == 201  # a name may come back
    assert call(shop, 'DELETE', '/v1/audiences/viewers')[0] == 200


def test_a_definition_outlives_a_crash():
    with Instance() as i:
        assert put(i, 'kept', 'sessions > 0', description='who came')[0] == 201
        i.kill()
        i.start()
        one = live(i, 'kept')
        assert one['rule'] == 'sessions > 0' and one['description'] == 'who came'


@pytest.mark.parametrize('name', ['a b', 'a%2Fb', 'ü', 'x' * 65, '%00', 'a:b', "a'b", '%22'])
def test_bad_names(shop, name):
    for method in ('PUT', 'GET', 'DELETE'):
        body = {'rule': 'orders > 1'} if method == 'PUT' else None
        s, b, _ = call(shop, method, f'/v1/audiences/{urllib.parse.quote(name, safe="%")}', body)
        assert s == 400 and b['code'] == 'parameter_invalid', b


@pytest.mark.parametrize('name', ['x' * 64, 'A.b_c-9', '..', '0'])
def test_good_names(shop, name):
    assert put(shop, name, 'orders > 1000')[0] == 201
    assert call(shop, 'GET', f'/v1/audiences/{name}')[1]['name'] == name
    assert call(shop, 'DELETE', f'/v1/audiences/{name}')[0] == 200


@pytest.mark.parametrize('body, code', [
    (b'', 'json_invalid'), (b'[]', 'json_invalid'), (b'{', 'json_invalid'), (b'{"rule":"\xff"}', 'json_invalid'),
    ({}, 'parameter_invalid'), ({'rule': 5}, 'parameter_invalid'), ({'rule': None}, 'parameter_invalid'),
    ({'rule': 'orders > 1', 'descripton': 'x'}, 'parameter_invalid'),
    ({'rule': 'orders > 1', 'description': 'x' * 1001}, 'parameter_invalid'),
    ({'rule': 'orders > 1', 'name': 'other'}, 'parameter_invalid'),
    ({'rule': 'orders > 1', 'webhooks': 'crm'}, 'parameter_invalid'),
    ({'rule': ''}, 'rule_invalid'), ({'rule': 'orders > 1 ' + ' ' * 20000}, 'rule_invalid'),
    ({'rule': 'orders'}, 'rule_invalid'), ({'rule': 'has(orders) || "☃" > 3'}, 'rule_invalid'),
])
def test_bad_definitions_leave_nothing(shop, body, code):
    s, b, _ = call(shop, 'PUT', '/v1/audiences/bad', body)
    assert s == 400 and b['code'] == code, b
    if code == 'rule_invalid':
        assert b['line'] >= 1 and b['column'] >= 1 and b['message']
    assert call(shop, 'GET', '/v1/audiences/bad')[0] == 404


def test_columns_count_characters(shop):
    s, b, _ = put(shop, 'bad', 'traits.x == "☃☃☃" &&\n\tordrs > 1')
    assert s == 400 and (b['line'], b['column'], b['suggestion']) == (2, 2, 'orders'), b


def test_cycles_are_refused_and_named(shop):
    assert put(shop, 'c1', 'orders > 1')[0] == 201
    assert put(shop, 'c2', 'in_audience("c1") && orders > 2')[0] == 201
    assert put(shop, 'c3', 'in_audience("c2")')[0] == 201
    for rule, path, place in (('in_audience("c3")', 'c1 → c3 → c2 → c1', (1, 1)), ('in_audience("c1")', 'c1 → c1', (1, 1)),
                              ('orders > 1 ||\n in_audience("c2")', 'c1 → c2 → c1', (2, 2))):
        s, b, _ = put(shop, 'c1', rule)
        assert s == 400 and b['code'] == 'rule_invalid' and path in b['message'], b
        assert (b['line'], b['column']) == place, b
    assert call(shop, 'GET', '/v1/audiences/c1')[1]['rule'] == 'orders > 1'
    s, b, _ = call(shop, 'DELETE', '/v1/audiences/c1')
    assert s == 409 and b['code'] == 'audience_in_use' and 'c2' in b['message']
    for name in ('c3', 'c2', 'c1'):
        assert call(shop, 'DELETE', f'/v1/audiences/{name}')[0] == 200


# --- members ----------------------------------------------------------------------------------------------------------


def test_pages_of_members(shop):
    assert put(shop, 'many', 'products_viewed >= 1')[0] == 201
    live(shop, 'many')
    want = [f'user:v{n:03}' for n in range(50)]
    for limit in (1, 7, 49, 50, 1000):
        got = members(shop, 'many', limit)
        assert sorted(got) == want and len(set(got)) == 50, limit
    cursor = call(shop, 'GET', '/v1/audiences/many/members?limit=7')[1]['next']
    put(shop, 'other', 'products_viewed >= 1')
    for name, c in (('other', cursor), ('many', cursor[:-1]), ('many', cursor[:-1] + ('A' if cursor[-1] != 'A' else 'B')),
                    ('many', 'x'), ('many', '%00')):
        s, b, _ = call(shop, 'GET', f'/v1/audiences/{name}/members?cursor={c}')
        assert s == 400 and b['code'] == 'cursor_invalid', (name, c, b)
    for limit in ('0', '1001', 'x', '-1'):
        s, b, _ = call(shop, 'GET', f'/v1/audiences/many/members?limit={limit}')
        assert s == 400 and b['code'] == 'parameter_invalid', b
    for name in ('other', 'many'):
        call(shop, 'DELETE', f'/v1/audiences/{name}')


def test_reading_ones_writes(shop):
    """What was accepted at a position is in the members that are asked for after it."""
    put(shop, 'own', 'count("Own Thing") >= 1')
    live(shop, 'own')
    for n in range(20):
        _, h, _ = shop.post('/v1/batch', {'type': 'track', 'event': 'Own Thing', 'userId': f'own{n}'})
        after = h['x-waymark-position']
        assert f'user:own{n}' in members(shop, 'own', after=after, wait='5s')
        s, b, _ = call(shop, 'GET', f'/v1/audiences/own?after={after}&wait=5s')
        assert s == 200 and b['size'] == n + 1
        s, b, _ = call(shop, 'GET', f'/v1/audiences/own/explain?id=user:own{n}&after={after}&wait=5s')
        assert s == 200 and b['member'] is True
    call(shop, 'DELETE', '/v1/audiences/own')


def test_ids_of_every_kind(shop):
    ids = ['üñí ☃', 'a/b?c#d%', '"quoted"', 'tab\there', '🙂']
    for n, i in enumerate(ids):
        _, h, _ = shop.post('/v1/batch', {'type': 'track', 'event': 'Odd', 'userId': i})
    _, h, _ = shop.post('/v1/batch', {'type': 'track', 'event': 'Odd', 'anonymousId': 'gerät'})
    shop.drain()
    put(shop, 'odd', 'count("Odd") > 0')
    live(shop, 'odd')
    assert sorted(members(shop, 'odd')) == sorted([f'user:{i}' for i in ids] + ['anon:gerät'])
    for i in [f'user:{i}' for i in ids] + ['anon:gerät']:
        s, b, _ = call(shop, 'GET', '/v1/audiences/odd/explain?id=' + urllib.parse.quote(i, safe=''))
        assert s == 200 and b['id'] == i and b['member'] is True
    call(shop, 'DELETE', '/v1/audiences/odd')


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain(shop):
    put(shop, 'why', 'products_viewed >= 3 && days_since(last_event_at) < 30')
    live(shop, 'why')
    s, b, _ = call(shop, 'GET', '/v1/audiences/why/explain?id=user:v004')
    assert s == 200 and b['id'] == 'user:v004' and b['member'] is True
    assert b['because'][0] == {'expression': 'products_viewed >= 3', 'value': True, 'operands': [5, 3]}
    left = datetime.datetime.fromisoformat(b['next_change_at'].replace('Z', '+00:00')) - datetime.datetime.now(datetime.timezone.utc)
    assert 29 <= left.days <= 30
    s, b, _ = call(shop, 'GET', '/v1/audiences/why/explain?id=user:v000')
    assert s == 200 and b['member'] is False
    s, b, _ = call(shop, 'GET', '/v1/audiences/why/explain?id=user:v004&as_of=2000-01-01T00:00:00Z')
    assert s == 404 and b['code'] == 'profile_not_found', b
    for query, status, code in (('', 400, 'id_invalid'), ('id=v004', 400, 'id_invalid'), ('id=user:', 400, 'id_invalid'),
                                ('id=user:unknown', 404, 'profile_not_found'),
                                ('id=user:v004&as_of=x', 400, 'parameter_invalid')):
        s, b, _ = call(shop, 'GET', f'/v1/audiences/why/explain?{query}')
        assert s == status and b['code'] == code, (query, b)
    call(shop, 'DELETE', '/v1/audiences/why')


def test_explain_of_a_linked_device_is_of_its_user(shop):
    shop.post('/v1/batch', [{'type': 'track', 'event': 'Linked', 'anonymousId': 'dev9'},
                            {'type': 'identify', 'anonymousId': 'dev9', 'userId': 'lu9'}])
    shop.drain()
    put(shop, 'linked', 'count("Linked") > 0')
    live(shop, 'linked')
    assert members(shop, 'linked') == ['user:lu9']
    s, b, _ = call(shop, 'GET', '/v1/audiences/linked/explain?id=anon:dev9')
    assert s == 200 and b['id'] == 'user:lu9' and b['member'] is True
    call(shop, 'DELETE', '/v1/audiences/linked')


# --- counting ---------------------------------------------------------------------------------------------------------


def count(shop, headers=None, **body):
    return call(shop, 'POST', '/v1/audiences:count', body, headers)


def test_count(shop):
    s, b, _ = count(shop, rule='products_viewed >= 3 && has(traits.email)')
    assert s == 200 and b['count'] == 12 and b['method'] == 'scan' and b['took_ms'] >= 0, b
    assert b['reachable'] == {'email': 12, 'phone': 6}
    assert b['clauses'] == [{'expression': 'products_viewed >= 3', 'count': 30},
                            {'expression': 'has(traits.email)', 'count': 20}]
    assert 'partitions' not in b
    put(shop, 'base', 'products_viewed >= 3')
    live(shop, 'base')
    s, b, _ = count(shop, rule='has(traits.email)', audience='base')
    assert s == 200 and b['count'] == 12
    s, b, _ = count(shop, audience='base')
    assert s == 200 and b['count'] == 30 and b['method'] == 'bitmap' and b['reachable']['email'] == 12
    s, b, _ = count(shop, rule='!in_audience("base")')
    assert s == 200 and b['count'] == count(shop, rule='products_viewed < 3')[1]['count']
    s, b, _ = count(shop, rule='products_viewed >= 1', as_of='2000-01-01T00:00:00Z')
    assert s == 200 and b['count'] == 0 and b['method'] == 'scan'
    call(shop, 'DELETE', '/v1/audiences/base')


@pytest.mark.parametrize('body, status, code', [
    ({}, 400, 'parameter_invalid'), ({'rule': 'orders >'}, 400, 'rule_invalid'),
    ({'rule': 'true) || (true'}, 400, 'rule_invalid'), ({'rule': 'orders > 1', 'as_of': 'x'}, 400, 'parameter_invalid'),
    ({'rule': 'orders > 1', 'as_of': 5}, 400, 'parameter_invalid'), ({'audience': 'none'}, 404, 'audience_not_found'),
    ({'audience': 'a") || true || in_audience("b'}, 400, 'parameter_invalid'), ({'rule': 1}, 400, 'parameter_invalid'),
])
def test_bad_counts(shop, body, status, code):
    s, b, _ = call(shop, 'POST', '/v1/audiences:count', body)
    assert s == status and b['code'] == code, b


def test_a_comment_or_line_end_in_a_rule_ends_where_it_does(shop):
    """A rule that is put among others stays whole."""
    put(shop, 'all', 'products_viewed >= 1')
    live(shop, 'all')
    s, b, _ = count(shop, rule='products_viewed >= 3 // those who look', audience='all')
    assert (s, b.get('count')) in ((200, 30), (400, None)), b
    call(shop, 'DELETE', '/v1/audiences/all')


# --- rules and the catalogue -------------------------------------------------------------------------------------------


def test_rules_are_checked(shop):
    s, b, _ = call(shop, 'POST', '/v1/rules:check', {'rule': '!(spent  >  3) && count("page", 30) > 1'})
    assert s == 200 and b['ok'] is True and b['type'] == 'bool' and not b['personal'], b
    assert {'path', 'now'} <= set(b['needs']) and isinstance(b['warnings'], list)
    s, b, _ = call(shop, 'POST', '/v1/rules:check', {'rule': 'spnt > 3'})
    assert s == 400 and b['code'] == 'rule_invalid' and b['suggestion'] == 'spent'
    s, b, _ = call(shop, 'POST', '/v1/rules:check', {'rule': 'has(traits.email)'}, bearer('audpii'))
    assert s == 200 and b['personal'] is True


def test_catalogue(shop):
    s, b, _ = call(shop, 'GET', '/v1/catalog')
    assert s == 200
    facts = {f['name']: f['type'] for f in b['facts']}
    assert facts['orders'] == 'number' and facts['last_seen'] == 'time'
    assert any(t['name'] == 'email' for t in b['traits']) and b['functions'] and b['tags']


def test_personal_rules_need_the_scope(shop):
    """Of who may not see personal values nobody counts by them either."""
    for method, path, body in (('PUT', '/v1/audiences/p', {'rule': 'traits.email == "v1@x.com"'}),
                               ('POST', '/v1/audiences:count', {'rule': 'traits.email.startsWith("v1")'}),
                               ('POST', '/v1/rules:check', {'rule': 'has(traits.phone)'})):
        s, b, _ = call(shop, method, path, body, bearer('aud'))
        assert s == 403 and b['code'] == 'scope_missing', (path, b)
        assert call(shop, method, path, body, bearer('audpii'))[0] in (200, 201)
    s, b, _ = call(shop, 'GET', '/v1/audiences/p/explain?id=user:v001', None, bearer('aud'))
    assert s == 200 and b['because'][0]['operands'][0] == '***', b
    s, b, _ = call(shop, 'GET', '/v1/audiences/p/explain?id=user:v001', None, bearer('audpii'))
    assert s == 200 and b['because'][0]['operands'] == ['v1@x.com', 'v1@x.com'], b
    call(shop, 'DELETE', '/v1/audiences/p')


# --- tags -------------------------------------------------------------------------------------------------------------


def tag(shop, method, pid, name, body=None, headers=None):
    return call(shop, method, f'/v1/profiles/{urllib.parse.quote(pid, safe="")}/tags/{name}', body, headers)


def shown(shop, pid, after):
    s, b, _ = call(shop, 'GET', f'/v1/profiles/{pid}?after={after}&wait=5s')
    assert s == 200, b
    return b['tags']


def test_a_tag_by_hand(shop):
    s, b, h = tag(shop, 'PUT', 'user:v001', 'crm_level', {'value': 'gold ☃'}, bearer('aud'))
    assert s == 200 and b['value'] == 'gold ☃' and b['defined'] is False and b['until'] is None, b
    assert shown(shop, 'user:v001', h['x-waymark-position'])['crm_level'] == 'gold ☃'
    s, b, h = tag(shop, 'PUT', 'user:v001', 'crm_level', {'value': 3, 'until': '2000-01-01T00:00:00Z'})
    assert s == 200 and 'crm_level' not in shown(shop, 'user:v001', h['x-waymark-position'])
    s, b, h = tag(shop, 'PUT', 'user:v001', 'crm_level', {'value': True})
    assert shown(shop, 'user:v001', h['x-waymark-position'])['crm_level'] is True
    s, b, h = tag(shop, 'DELETE', 'user:v001', 'crm_level')
    assert s == 200 and b['value'] is None
    assert 'crm_level' not in shown(shop, 'user:v001', h['x-waymark-position'])


@pytest.mark.parametrize('pid, name, body, code', [
    ('user:v001', 'crm', {}, 'parameter_invalid'), ('user:v001', 'crm', {'value': []}, 'value_invalid'),
    ('user:v001', 'crm', {'value': {}}, 'value_invalid'), ('user:v001', 'crm', {'value': ''}, 'value_invalid'),
    ('user:v001', 'crm', {'value': 'x' * 2000}, 'value_invalid'), ('user:v001', 'Crm', {'value': 1}, 'parameter_invalid'),
    ('user:v001', 'crm', {'value': 1, 'unitl': 'x'}, 'parameter_invalid'),
    ('user:v001', 'crm', {'value': 1, 'until': 'soon'}, 'parameter_invalid'),
    ('user:v001', 'lifecycle', {'value': 7}, 'value_invalid'), ('user:null', 'crm', {'value': 1}, 'id_invalid'),
    ('anon:order:1', 'crm', {'value': 1}, 'id_invalid'), ('v001', 'crm', {'value': 1}, 'id_invalid'),
    ('user:v001', 'crm', b'{', 'json_invalid'),
])
def test_bad_tags(shop, pid, name, body, code):
    s, b, _ = tag(shop, 'PUT', pid, name, body)
    assert s == 400 and b['code'] == code, b


def test_tags_need_their_scope(shop):
    assert tag(shop, 'PUT', 'user:v001', 'crm', {'value': 1}, bearer('look'))[0] == 403
    assert tag(shop, 'PUT', 'user:v001', 'crm', {'value': 1}, {'Authorization': ''})[0] == 401


@pytest.mark.parametrize('lines', [False, True])
def test_many_tags(shop, lines):
    entries = [{'id': f'user:v{n:03}', 'name': 'wave', 'value': n} for n in range(50)]
    entries[3:3] = [{'id': 'nobody', 'name': 'wave', 'value': 1}, {'id': 'user:v001', 'name': 'Wave', 'value': 1}, 7,
                    {'id': 'user:v001', 'value': 1}, {'id': 'user:v001', 'name': 'wave'}]
    body = '\n'.join(json.dumps(e) for e in entries).encode() + b'\n\n{bad' if lines else {'tags': entries}
    s, b, h = call(shop, 'POST', '/v1/profiles:tag', body)
    assert s == 200 and b['accepted'] == 50 and b['refused'] == 5 + lines, b
    assert [r['index'] for r in b['rejected']] == [3, 4, 5, 6, 7] + ([55] if lines else [])
    assert [r['code'] for r in b['rejected']][:3] == ['id_invalid', 'parameter_invalid', 'not_object']
    for n in (0, 49):
        assert shown(shop, f'user:v{n:03}', h['x-waymark-position'])['wave'] == n
    for empty in (b'', b'\n\n', {'tags': []}, {'tags': 5}):
        s, b, _ = call(shop, 'POST', '/v1/profiles:tag', empty)
        assert s == 400, b


def test_the_set_of_tags(shop):
    tags = wait_until(lambda: (lambda b: {t['name']: t for t in b['tags']} if sum(
        next(t for t in b['tags'] if t['name'] == 'lifecycle')['values'].values()) >= 50 else None)(
            call(shop, 'GET', '/v1/tags')[1]), 20, 'everybody to have a lifecycle')
    life = tags['lifecycle']
    assert life['type'] == 'string' and life['description'] and life['rules'][0]['rule'] and life['rules'][0]['value']
    assert call(shop, 'GET', '/v1/tags')[1]['version']


# --- exports ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def exported(shop):
    consents = [{'type': 'identify', 'userId': f'v{n:03}', 'messageId': f'c{n}', 'traits': {'consent': {'marketing': True}}}
                for n in range(20)]
    assert shop.post('/v1/batch', consents, SERVER)[0] == 200
    shop.drain()
    put(shop, 'all', 'products_viewed >= 1')
    live(shop, 'all')
    body = {'format': 'csv', 'columns': ['id', 'traits.email'], 'campaign': 'spring', 'channel': 'email', 'purpose': 'marketing'}
    s, b, h = call(shop, 'POST', '/v1/audiences/all/exports?wait=10s', body)
    assert s == 201 and b['id'].startswith('ex_') and h['location'] == '/v1/exports/' + b['id'], b
    return b


def test_an_export(shop, exported):
    assert exported['state'] == 'done' and exported['manifest']['rows'] == 20, exported
    assert exported['manifest']['excluded']['no_consent'] == 30
    s, b, _ = call(shop, 'GET', '/v1/exports/' + exported['id'])
    assert s == 200 and b == exported
    s, b, _ = call(shop, 'GET', '/v1/exports')
    assert s == 200 and exported['id'] in [e['id'] for e in b['exports']]
    for path in ('ex_none', 'ex_none/file', '..%2F..%2Fwaymark.yaml/file', '%2Fetc%2Fpasswd/file', '%00/file', '../file',
                 'x' * 300 + '/file', exported['id'].upper() + '/file', exported['id'] + '%00/file'):
        s, b, _ = call(shop, 'GET', f'/v1/exports/{path}')
        assert s == 404 and b['code'] == 'export_not_found'
    s, b, _ = call(shop, 'POST', '/v1/audiences/none/exports', {'format': 'csv', 'columns': ['id']})
    assert s == 404 and b['code'] == 'audience_not_found', b
    s, b, _ = call(shop, 'POST', '/v1/audiences/all/exports', {'format': 'xls'})
    assert s == 400, b


def test_the_file_with_ranges(shop, exported):
    path = f'/v1/exports/{exported["id"]}/file'

    def get(method='GET', **headers):
        return shop.request('p', method, path, None, {k.replace('_', '-'): v for k, v in headers.items()})
    s, h, whole = get()
    n = len(whole)
    assert s == 200 and whole.count(b'v1@x.com') == 1 and h['accept-ranges'] == 'bytes' and h['content-length'] == str(n)
    assert h['content-type'].startswith('text/csv') and 'attachment' in h['content-disposition'] and h['cache-control'] == 'no-store'
    for text, a, b in (('bytes=0-0', 0, 1), ('bytes=5-9', 5, 10), ('bytes=5-', 5, n), ('bytes=-3', n - 3, n),
                       (f'bytes=0-{10 * n}', 0, n), (f'bytes=-{10 * n}', 0, n), (f'bytes={n - 1}-', n - 1, n)):
        s, h, part = get(Range=text)
        assert s == 206 and part == whole[a:b] and h['content-range'] == f'bytes {a}-{b - 1}/{n}', text
    for text in (f'bytes={n}-', 'bytes=-0', f'bytes={10 * n}-{10 * n + 5}'):
        s, h, part = get(Range=text)
        assert s == 416 and h['content-range'] == f'bytes */{n}', text
    for text in ('bytes=0-1,4-5', 'bytes=9-5', 'bytes=x-', 'bytes=-', 'lines=0-1', 'bytes=', 'bytes=0x1-2',
                 f'bytes={2 ** 70}-'):
        s, h, part = get(Range=text)
        assert s == 200 and part == whole, text
    tag_of = h['etag']
    assert get(Range='bytes=0-0', If_Range=tag_of)[0] == 206
    assert get(Range='bytes=0-0', If_Range='"another"')[0] == 200
    s, h, part = get('HEAD')
    assert s == 200 and part == b'' and h['content-length'] == str(n)
    s, h, _ = shop.request('p', 'GET', path, None, bearer('aud'))
    assert s == 403


def test_a_campaign(shop, exported):
    s, b, _ = call(shop, 'GET', '/v1/campaigns/spring/report')
    assert s == 200 and b['partial'] is False, b
    s, b, _ = call(shop, 'GET', '/v1/campaigns/none/report')
    assert s == 404 and b['code'] == 'campaign_not_found'
    for days in ('0', 'x', '366'):
        s, b, _ = call(shop, 'GET', f'/v1/campaigns/spring/report?days={days}')
        assert s == 400 and b['code'] == 'parameter_invalid'


def test_what_was_done_to_people_is_recorded(shop, exported):
    """Exports, their files and tags by hand; who counts, or looks at rules, is not."""
    shop.request('p', 'GET', f'/v1/exports/{exported["id"]}/file', None, {'Range': 'bytes=0-0'})
    tag(shop, 'PUT', 'user:v003', 'seen', {'value': 1})
    call(shop, 'GET', '/v1/audiences/all/members?limit=3')
    count(shop, rule='orders > 77')

    def records():
        code, out, err = shop.command('audit', '--json')
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def all_there():
        got = {(r['kind'], r['route']) for r in records()}
        return {('export', '/v1/audiences/{name}/exports'), ('read', '/v1/exports/{id}/file'),
                ('identity', '/v1/profiles/{id}/tags/{name}'), ('read', '/v1/audiences/{name}/members')} <= got and got
    got = wait_until(all_there, 10, 'the records to be there')
    assert not [route for _, route in got if route in ('/v1/audiences:count', '/v1/rules:check', '/v1/catalog', '/v1/tags')]


# --- commands ---------------------------------------------------------------------------------------------------------


def test_commands(shop, exported, tmp_path):
    code, out, err = shop.command('audience', 'put', 'cli', 'products_viewed >= 5', '--description', 'from a shell')
    assert code == 0 and 'cli' in out, err
    live(shop, 'cli')
    code, out, _ = shop.command('audience', 'list')
    assert code == 0 and 'from a shell' in out
    code, out, _ = shop.command('audience', 'show', 'cli', '--json')
    assert code == 0 and json.loads(out)['size'] == 10
    code, out, _ = shop.command('audience', 'members', 'cli')
    assert code == 0 and sorted(out.split()) == [f'user:v{n:03}' for n in range(4, 50, 5)]
    code, out, _ = shop.command('audience', 'count', 'products_viewed >= 3')
    assert code == 0 and out.startswith('30 people')
    code, out, _ = shop.command('audience', 'explain', 'cli', 'user:v004')
    assert code == 0 and 'is in' in out and 'products_viewed >= 5' in out
    code, out, err = shop.command('audience', 'count', 'orders > 1 &&\n  ordrs > 2')
    assert code == 1 and err.splitlines()[:2] == ['    ordrs > 2', '    ^'] and 'did you mean orders?' in err, err
    assert shop.command('audience', 'show', 'none')[0] == 4
    assert shop.command('audience', 'explain', 'cli', 'user:unknown')[0] == 4
    for words in ((), ('put', 'cli'), ('explain', 'cli'), ('nonsense',)):
        assert shop.command('audience', *words)[0] == 2
    file = tmp_path / 'out.csv'
    code, out, err = shop.command('audience', 'export', 'cli', '--columns', 'id', '--output', str(file))
    assert code == 0 and file.stat().st_mode & 0o777 == 0o600, err
    whole = file.read_bytes()
    assert whole.count(b'user:v') == 4
    ex = json.loads(shop.command('audience', 'export', 'cli', '--columns', 'id', '--json')[1])['id']
    file.write_bytes(whole[:7])
    assert shop.command('export', 'get', ex, '--output', str(file))[0] == 1  # nothing is written over
    code, out, err = shop.command('export', 'get', ex, '--output', str(file), '--continue')
    assert code == 0 and file.read_bytes() == whole, err
    assert shop.command('export', 'get', ex, '--output', str(file), '--continue')[0] == 0
    assert shop.command('export', 'get', ex)[1] == whole.decode().replace('\r\n', '\n')
    code, out, _ = shop.command('export', 'list')
    assert code == 0 and ex in out
    assert shop.command('export', 'show', 'ex_none')[0] == 4
    assert shop.command('audience', 'remove', 'cli')[0] == 0


def test_tag_commands(shop, tmp_path):
    code, out, err = shop.command('tag', 'set', 'user:v002', 'crm', 'gold')
    assert code == 0 and 'crm = "gold"' in out and 'by hand alone' in err
    assert shop.command('tag', 'remove', 'user:v002', 'crm')[0] == 0
    file = tmp_path / 'tags.ndjson'
    file.write_text(''.join(json.dumps({'id': f'user:t{n}', 'name': 'wave', 'value': 'x'}) + '\n' for n in range(5000)))
    code, out, err = shop.command('tag', 'import', str(file))
    assert code == 0 and '5000 set, 0 refused' in err, err
    file.write_text('{"id":"user:v001","name":"wave","value":1}\n{"id":"x"}\n')
    code, out, err = shop.command('tag', 'import', str(file))
    assert code == 1 and 'entry 2' in err and '1 set, 1 refused' in err, err
    code, out, _ = shop.command('tag', 'list')
    assert code == 0 and 'lifecycle' in out
    assert shop.command('tag', 'set', 'user:v002', 'crm')[0] == 2
