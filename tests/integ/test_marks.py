"""What the shop notes about a person by hand: it stands in everything held about them, and in no path, tail or fact; it
goes with an erasure, from every file, and the state verifies with it."""
import json
import os
import urllib.parse

import pytest

from support.instance import Instance
from support.stated import files_with
from support.talk import MINUTE, at, page, talking

DIRS = ('log', 'state')
VALUE = 'a-note-that-stands-nowhere-else'


def profile_path(pid, more=''):
    return '/v1/profiles/' + urllib.parse.quote(pid, safe='') + more


def set_tag(talk, pid, name, value, **more):
    s, h, b = talk.inst.request('p', 'PUT', profile_path(pid, '/tags/' + name), json.dumps({'value': value, **more}).encode())
    assert s == 200, (s, b)
    p, o = map(int, h['x-waymark-position'].split(':'))
    talk.seen[p] = max(o, talk.seen.get(p, 0))


def drop_tag(talk, pid, name):
    s, h, b = talk.inst.request('p', 'DELETE', profile_path(pid, '/tags/' + name))
    assert s == 200, (s, b)
    p, o = map(int, h['x-waymark-position'].split(':'))
    talk.seen[p] = max(o, talk.seen.get(p, 0))


@pytest.fixture
def talk():
    with talking(Instance()) as t:
        yield t


def marks_of(document):
    return [e for e in document['events'] if e['type'] == 'mark']


def test_a_mark_is_held_and_counts_in_nothing(talk):
    talk.server(page(0, 'm0', userId='first'))
    begin = talk.get('/v1/tail')['position']
    talk.server(page(0, 'm1', userId='zoe'), page(MINUTE, 'm2', userId='zoe'))
    before = talk.facts('user:zoe')
    set_tag(talk, 'user:zoe', 'note', VALUE)
    after = talk.profile('user:zoe')
    assert after['facts'] == before and after['tags']['note'] == VALUE
    assert 'note' not in after['traits'] and VALUE not in json.dumps(after['traits'])
    assert [e['message_id'] for e in talk.path('user:zoe')] == ['m1', 'm2']
    held = talk.profile('user:zoe', '/data')
    assert held['profile']['facts'] == before
    assert [e['properties']['tags']['note']['value'] for e in marks_of(held)] == [VALUE]
    assert len(held['events']) == 3
    shown = talk.inst.get('/v1/tail', after=begin, limit=100)[1]['events']
    assert {e['message_id'] for e in shown} == {'m1', 'm2'}
    then = talk.profile('user:zoe', as_of=at(2 * MINUTE))
    assert then['facts'] == before and 'note' not in then['tags']
    drop_tag(talk, 'user:zoe', 'note')
    assert 'note' not in talk.profile('user:zoe')['tags']
    assert len(marks_of(talk.profile('user:zoe', '/data'))) == 2


def test_who_has_nothing_else_is_nobody(talk):
    set_tag(talk, 'user:unseen', 'note', VALUE)
    talk.profile('user:unseen', status=404)
    talk.profile('user:unseen', '/data', status=404)
    talk.profile('user:unseen', '/path', status=404)
    talk.server(page(0, userId='unseen'))
    assert talk.profile('user:unseen')['tags']['note'] == VALUE
    talk.profile('user:unseen', as_of=at(-MINUTE), status=404)


def test_marks_are_erased(talk):
    talk.server(page(0, userId='gone', anonymousId='phone'))
    set_tag(talk, 'user:gone', 'note', VALUE)
    set_tag(talk, 'anon:phone', 'other', VALUE + '-2')
    assert talk.profile('user:gone')['tags']['other'] == VALUE + '-2'
    dirs = [os.path.join(talk.inst.dir, 'data', d) for d in DIRS]
    assert any(files_with(d, [VALUE.encode()]) for d in dirs), 'the search finds what is there'
    s, _, b = talk.inst.request('p', 'DELETE', profile_path('user:gone', '?wait=10s'), timeout=60)
    assert s == 200, (s, b)
    talk.profile('user:gone', status=404)
    assert not any(files_with(d, [VALUE.encode()]) for d in dirs)
