"""I3 from outside: every event that was received is accounted for, to the unit, by reason, over restarts."""
from support.instance import SERVER, Instance, check_conserved, total


def refused(metrics):
    return {labels.split('"')[1]: int(v) for labels, v in metrics['waymark_events_refused_total'].items() if v}


def state(metrics):
    """The outcomes of what collectors wrote; what partitions told each other is moved, all of it."""
    outcomes = {labels.split('"')[1]: int(v) for labels, v in metrics['waymark_state_events'].items() if v}
    assert outcomes.pop('moved', 0) == total(metrics, 'waymark_log_end_offset') - sum(outcomes.values())
    return outcomes


def track(mid, **more):
    return {'type': 'track', 'event': 'E', 'userId': 'u', 'messageId': mid, **more}


def test_every_event_has_one_fate():
    with Instance(partitions=3) as inst:
        sent = [
            [track('a'), track('b'), track('a')],                       # two and a duplicate
            [track('c', timestamp='never'), {'type': 'x'}, 7, track('d')],
            [{'type': 'page', 'anonymousId': 'null'}],                  # a blocked id is none
            [track('big', properties={'p': 'x' * (1 << 20)})],
        ]
        for batch in sent:
            assert inst.post('/v1/batch', batch)[0] == 200
        orders = [{'orderId': 'c1', 'status': 'paid', 'total': 1, 'userId': 'u'}, {'orderId': 'c2', 'status': 'eaten'},
                  {'orderId': 'c3', 'status': 'paid', 'total': 'x'}]
        assert inst.post('/v1/orders', orders, SERVER)[0] == 200
        assert inst.post('/v1/track', {'userId': 'u'})[0] == 400        # refused whole, counted by its reason
        assert inst.post('/v1/batch', b'{"batch":[')[0] == 400          # never became events
        assert inst.post('/v1/orders', orders)[0] == 403
        assert inst.request('c', 'GET', '/v1/pixel.gif?writeKey=wk_test_web&type=page&userId=u')[0] == 200
        assert inst.request('c', 'GET', '/v1/pixel.gif?writeKey=wk_test_web&type=page')[0] == 200  # a bad one too
        m = inst.drain()
        check_conserved(m)
        assert total(m, 'waymark_events_received_total') == 3 + 4 + 1 + 1 + 3 + 1 + 2
        assert total(m, 'waymark_events_accepted_total') == 3 + 1 + 1 + 1
        assert refused(m) == {'timestamp_invalid': 1, 'type_unknown': 1, 'not_object': 1, 'id_missing': 2, 'too_large': 1,
                              'order_invalid': 1, 'value_invalid': 1, 'name_missing': 1}
        assert state(m) == {'folded': 5, 'duplicate': 1}
        # Every record of the log has one outcome; refusals stand on the log of bad events.
        assert int(m['waymark_log_appends_total']['by="collector"']) == 6 + total(m, 'waymark_events_refused_total')

        inst.kill()
        inst.start()
        m = inst.drain()
        assert state(m) == {'folded': 5, 'duplicate': 1}, 'the outcomes of the log survive a crash'
        assert inst.post('/v1/batch', [track('b'), track('new')])[0] == 200
        m = inst.drain()
        check_conserved(m)
        assert state(m) == {'folded': 6, 'duplicate': 2}
        assert inst.stop() == 0
        code, out, err = inst.command('verify')
        assert code == 0 and ' 6 events' in out and ': 0 differences' in out, out + err
