"""Who may do what: every route of the profiler with every scope alone, with all but one, with all, without a token and
with a wrong one. What is expected stands in one table, and a route of the server that the table lacks fails the test."""
import itertools
import json
import os
import re

import pytest

from support.instance import Instance, sha256

SCOPES = ('lookup', 'pii', 'audience', 'export', 'admin')
API = os.path.join(os.path.dirname(__file__), '..', '..', 'profiler', 'api_routes.c')

# (route, method): scope that it needs (or one of several) or None, path, body, what a token that may is answered. The
# person of the path is not known: what is answered says that the door was passed. A row of a route that the server lacks
# is not tried.
LINK = json.dumps({'anonymous_id': 'nobody', 'user_id': 'nobody'})
TABLE = {
    ('/v1/profiles/{id}', 'GET'): ('lookup', '/v1/profiles/user:nobody', None, {404}),
    ('/v1/profiles/{id}', 'DELETE'): ('admin', '/v1/profiles/user:nobody', None, {200, 202, 404}),
    ('/v1/profiles:lookup', 'POST'): ('lookup', '/v1/profiles:lookup', '{"ids": []}', {200}),
    ('/v1/profiles/{id}/path', 'GET'): ('lookup', '/v1/profiles/user:nobody/path', None, {404}),
    ('/v1/profiles/{id}/orders', 'GET'): ('lookup', '/v1/profiles/user:nobody/orders', None, {404}),
    ('/v1/profiles/{id}/identity', 'GET'): ('lookup', '/v1/profiles/user:nobody/identity', None, {200, 404}),
    ('/v1/profiles/{id}/data', 'GET'): ('pii', '/v1/profiles/user:nobody/data', None, {200, 404}),
    ('/v1/profiles/{id}/traits', 'PUT'): ('admin', '/v1/profiles/user:nobody/traits', '{}', {200, 400, 404}),
    ('/v1/profiles:tag', 'POST'): ('audience|admin', '/v1/profiles:tag', '{"tags": [{}]}', {200}),
    ('/v1/profiles/{id}/tags/{name}', 'PUT'): ('audience|admin', '/v1/profiles/user:nobody/tags/vip', '{}', {400}),
    ('/v1/profiles/{id}/tags/{name}', 'DELETE'): ('audience|admin', '/v1/profiles/user:nobody/tags/vip', None, {200}),
    ('/v1/audiences', 'GET'): ('audience', '/v1/audiences', None, {200}),
    ('/v1/audiences:count', 'POST'): ('audience', '/v1/audiences:count', '{"rule": "orders > 1"}', {200}),
    ('/v1/audiences/{name}', 'GET'): ('audience', '/v1/audiences/none', None, {404}),
    ('/v1/audiences/{name}', 'PUT'): ('audience', '/v1/audiences/none', '{"rule": "orders >"}', {400}),
    ('/v1/audiences/{name}', 'DELETE'): ('audience', '/v1/audiences/none', None, {404}),
    ('/v1/audiences/{name}/members', 'GET'): ('audience', '/v1/audiences/none/members', None, {404}),
    ('/v1/audiences/{name}/explain', 'GET'): ('audience', '/v1/audiences/none/explain?id=user:1', None, {404}),
    ('/v1/audiences/{name}/exports', 'POST'): ('export', '/v1/audiences/none/exports', '{"format": "csv"}', {400, 404}),
    ('/v1/rules:check', 'POST'): ('audience', '/v1/rules:check', '{"rule": "orders > 1"}', {200}),
    ('/v1/catalog', 'GET'): ('audience', '/v1/catalog', None, {200}),
    ('/v1/tags', 'GET'): ('audience', '/v1/tags', None, {200}),
    ('/v1/tags/cuts', 'POST'): ('admin', '/v1/tags/cuts', '', {409}),
    ('/v1/exports', 'GET'): ('export', '/v1/exports', None, {200}),
    ('/v1/exports/{id}', 'GET'): ('export', '/v1/exports/ex_none', None, {404}),
    ('/v1/exports/{id}/file', 'GET'): ('export', '/v1/exports/ex_none/file', None, {404}),
    ('/v1/internal/exports', 'GET'): ('export', '/v1/internal/exports', None, {404}),
    ('/v1/internal/exports', 'POST'): ('export', '/v1/internal/exports', '{}', {404}),
    ('/v1/internal/exports/{id}', 'GET'): ('export', '/v1/internal/exports/ex_none', None, {404}),
    ('/v1/internal/exports/{id}/part', 'GET'): ('export', '/v1/internal/exports/ex_none/part', None, {404}),
    ('/v1/campaigns/{name}/report', 'GET'): ('audience|export', '/v1/campaigns/none/report', None, {404}),
    ('/v1/orders/{id}/scene', 'GET'): ('lookup', '/v1/orders/none/scene', None, {404}),
    ('/v1/identity:unlink', 'POST'): ('admin', '/v1/identity:unlink', LINK, {200, 404}),
    ('/v1/identity:preview', 'POST'): ('admin', '/v1/identity:preview', LINK, {200, 400, 404}),
    ('/v1/internal/preview/{step}', 'GET'): ('admin', '/v1/internal/preview/%7B%7D', None, {400}),
    ('/v1/erasures/{id}', 'GET'): ('admin', '/v1/erasures/0-999999999', None, {404}),
    ('/v1/internal/erasable/{id}', 'GET'): ('admin', '/v1/internal/erasable/user:nobody', None, {404}),
    ('/v1/tail', 'GET'): ('admin', '/v1/tail', None, {200}),
    ('/v1/backups', 'GET'): ('admin', '/v1/backups', None, {200}),
    ('/v1/backups', 'POST'): ('admin', '/v1/backups', '{"name": "..."}', {400}),
    ('/v1/internal/settled', 'GET'): ('lookup|pii|audience|admin', '/v1/internal/settled', None, {404}),
    ('/livez', 'GET'): (None, '/livez', None, {200}),
    ('/readyz', 'GET'): (None, '/readyz', None, {200}),
    ('/metrics', 'GET'): (None, '/metrics', None, {200}),
}
METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH')


def routes():
    """{label: methods} out of the server's own table."""
    with open(API) as f:
        text = f.read()
    gets = re.search(r'#define GETS "([^"]*)"', text).group(1)
    out = {}
    for entry in re.findall(r'\.label = ".*?\.segments', text, re.S):
        label = re.search(r'\.label = "([^"]*)"', entry).group(1)
        allow = re.search(r'\.allow = ([^.]*?),\s*\.segments', entry, re.S).group(1)
        allow = ''.join(re.findall(r'"([^"]*)"', allow.replace('GETS', f'"{gets}"')))
        methods = {m.strip() for m in allow.split(',')}
        assert not methods & out.get(label, set()), f'{label} stands there twice'
        out.setdefault(label, set()).update(methods)
    return out


ROUTES = routes()


def tokens():
    """name -> scopes"""
    sets = [c for n in (1, 2) for c in itertools.combinations(SCOPES, n)]
    sets += [tuple(s for s in SCOPES if s != x) for x in SCOPES] + [SCOPES]
    return {'with_' + '_'.join(s): s for s in sets}


@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    file = tmp_path_factory.mktemp('tokens') / 'tokens.yaml'
    file.write_text(''.join(f'- {{name: {n}, sha256: {sha256("secret " + n)}, scopes: [{", ".join(s)}]}}\n'
                            for n, s in tokens().items()))
    with Instance(more_profiler=f'  tokens_file: {file}\n') as i:
        yield i


def ask(shop, row, method, authorization):
    _, path, body, _ = row
    headers = {'Authorization': authorization} if authorization is not None else {'Authorization': ''}
    status, _, answer = shop.request('p', method, path, body if method in ('POST', 'PUT') else None, headers)
    return status, json.loads(answer).get('code') if answer[:1] == b'{' else None


def present():
    rows = []
    for (label, method), row in TABLE.items():
        for m in (method, 'HEAD') if method == 'GET' else (method,):
            if label in ROUTES and m in ROUTES[label]:
                rows.append(pytest.param(row, m, id=f'{m} {label}'))
    return rows


def test_every_route_stands_in_the_table():
    assert len(ROUTES) >= 10, 'the table of routes was not read'
    missing = [(label, m) for label, methods in ROUTES.items() for m in methods
               if (label, 'GET' if m == 'HEAD' else m) not in TABLE]
    assert not missing, f'say in TABLE who may: {missing}'


def test_the_server_has_no_other_table_of_routes():
    """struct route is made in one place, so what was read above is all there is."""
    folder = os.path.dirname(API)
    makers = [f for f in os.listdir(folder) if f.endswith('.c')
              and re.search(r'struct route \w+(\[\])? ?=', open(os.path.join(folder, f)).read())]
    assert makers == ['api_routes.c']


@pytest.mark.parametrize('row, method', present())
def test_a_token_may_what_its_scopes_say(shop, row, method):
    needed, _, _, good = row
    for name, scopes in tokens().items():
        status, code = ask(shop, row, method, f'Bearer secret {name}')
        if needed is None or set(needed.split('|')) & set(scopes):
            assert status in good, (name, status, code)
        else:
            assert status == 403 and (method == 'HEAD' or code == 'scope_missing'), (name, status, code)


@pytest.mark.parametrize('row, method', present())
def test_without_a_good_token_nothing_is_told(shop, row, method):
    needed, _, _, good = row
    wrong = {None: 'token_missing', '': 'token_missing', 'Bearer': 'token_missing', 'Bearer ': 'token_missing',
             'Basic c2VjcmV0IGxvb2t1cDo=': 'token_missing', 'secret with_admin': 'token_missing',
             'Bearer nobody': 'token_unknown', 'Bearer secret': 'token_unknown',
             'Bearer secret with_admin,': 'token_unknown', 'Bearer ' + sha256('secret with_admin'): 'token_unknown',
             'Bearer ' + 'x' * 5000: 'token_unknown'}
    for authorization, code in wrong.items():
        status, got = ask(shop, row, method, authorization)
        if needed is None:
            assert status in good
        else:
            assert status == 401 and (method == 'HEAD' or got == code), (authorization, status, got)


@pytest.mark.parametrize('label', sorted(ROUTES))
def test_other_methods_are_refused(shop, label):
    path = next((row[1] for (name, _), row in TABLE.items() if name == label), None)
    for method in METHODS:
        if method not in ROUTES[label]:
            status, headers, _ = shop.request('p', method, path, None, {'Authorization': 'Bearer secret with_admin'})
            assert status == 405 and {m.strip() for m in headers['allow'].split(',')} == ROUTES[label], method


def test_paths_beside_the_routes_are_nobodys(shop):
    everything = 'Bearer secret with_' + '_'.join(SCOPES)
    for path in ('/', '/v1', '/v1/', '/v1/profiles', '/v1/profiles/user:1/', '/v1//profiles/user:1',
                 '/v1/profiles/user:1/path/x', '/V1/profiles/user:1', '/v1/tokens', '/v1/audit', '/v1/tail/x',
                 '/v1/%70rofiles/user:1/', '/v1/profiles/user:1/../../tail', '/v1/profiles:lookup/x'):
        assert shop.request('p', 'GET', path, None, {'Authorization': everything})[0] == 404, path


def test_a_percent_in_a_route_changes_nothing(shop):
    """The same route, whatever way it is written: no door beside the door."""
    for path in ('/v1/%74ail', '/%76%31/tail'):
        assert shop.request('p', 'GET', path, None, {'Authorization': 'Bearer secret with_lookup'})[0] == 403
        assert shop.request('p', 'GET', path, None, {'Authorization': ''})[0] == 401


def test_what_says_it_was_sent_on_needs_a_token_too(shop):
    for token, status in (('', 401), ('Bearer nobody', 401), ('Bearer secret with_admin', 403), ('Bearer secret with_lookup', 404)):
        h = {'Authorization': token, 'X-Waymark-Forwarded': '0123456789abcdef'}
        assert shop.request('p', 'GET', '/v1/profiles/user:nobody', None, h)[0] == status
