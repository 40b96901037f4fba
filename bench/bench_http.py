"""HTTP figures, each beside its baseline in the same run, by wrk on the same machine.

  nginx          an empty 204, what a bare HTTP server does here
  empty          GET /livez of the collector, the same job for our server
  collect 1      POST /v1/track, one event, answered when it is on disk
  collect 50     POST /v1/batch of 50 events
  look-up        GET /v1/profiles/{id} over the people just collected, while nothing is collected

Prints requests and events a second, latency, and the ratio to nginx.
"""
import argparse
import base64
import os
import re
import socket
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tests'))
from support import instance  # noqa: E402

NGINX = '''daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }} }}
'''
# Every request has events of its own: an id that repeats would only measure the dedup.
EVENTS = '''
local n, me = 0, 0
function setup(thread) me = me + 1; thread:set("me", me) end
function init(args) math.randomseed(me * 7919) end
local function event()
  n = n + 1
  local p = math.random(20000)
  return string.format('{"type":"track","event":"Product Viewed","userId":"u%d","anonymousId":"d%d","messageId":"%s-%d-%d",' ..
    '"properties":{"product_id":"p%d","category":"Shoes","brand":"Acme","color":"red","price":59.9,"quantity":1,' ..
    '"url":"https://shop.example/p/%d"},"context":{"library":{"name":"bench","version":"1"}}}', p, p, RUN, me, n, p % 97, p % 97)
end
function request()
  if BATCH == 1 then return wrk.format("POST", "/v1/track", HEADERS, event()) end
  local t = {}
  for i = 1, BATCH do t[i] = event() end
  return wrk.format("POST", "/v1/batch", HEADERS, '{"batch":[' .. table.concat(t, ",") .. ']}')
end
function response(status) if status ~= 200 then bad = (bad or 0) + 1 end end
'''
LOOKUP = '''
function request() return wrk.format("GET", "/v1/profiles/user:u" .. math.random(20000), HEADERS) end
'''


def wrk(url, seconds, connections, script=None, folder=None):
    """(requests a second, {percentile: text}, answers that were not 2xx)"""
    command = ['wrk', '-t', '1', '-c', str(connections), '-d', f'{seconds}s', '--latency', url]
    if script:
        path = os.path.join(folder, 'wrk.lua')
        with open(path, 'w') as f:
            f.write(script)
        command[1:1] = ['-s', path]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r'Requests/sec:\s+([\d.]+)', out)[1])
    bad = re.search(r'Non-2xx or 3xx responses: (\d+)', out)
    return rate, dict(re.findall(r'(50|99)%\s+(\S+)', out)), int(bad[1]) if bad else 0


def show(name, rate, latency, bad, base, events=0):
    per_event = f'{rate * events:>10.0f} events/s' if events else ' ' * 19
    print(f'{name:<14} {rate:>9.0f} req/s {per_event}  p50 {latency.get("50", "?"):>8}  '
          f'p99 {latency.get("99", "?"):>8}  {rate / base:>6.2f} of nginx' + (f'  {bad} not 200' if bad else ''))
    return bad


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--waymark', required=True)
    p.add_argument('--seconds', type=int, default=8)
    p.add_argument('--connections', type=int, default=128)
    a = p.parse_args()
    instance.WAYMARK = os.path.abspath(a.waymark)
    headers = 'HEADERS = {["Authorization"]="Basic %s"}\nRUN = "%d"\n' % (
        base64.b64encode((instance.BEACON + ':').encode()).decode(), os.getpid())
    lookup = 'HEADERS = {["Authorization"]="Bearer %s"}\n' % instance.TOKEN
    bad = 0
    with tempfile.TemporaryDirectory() as folder, instance.Instance() as inst:
        port = instance.free_ports(1)[0]
        with open(os.path.join(folder, 'nginx.conf'), 'w') as f:
            f.write(NGINX.format(dir=folder, port=port))
        nginx = subprocess.Popen(['/usr/sbin/nginx', '-p', folder, '-c', os.path.join(folder, 'nginx.conf')],
                                 stderr=subprocess.DEVNULL)
        try:
            instance.wait_until(lambda: socket.create_connection(('127.0.0.1', port)).close() is None, 10, 'nginx')
            base, latency, _ = wrk(f'http://127.0.0.1:{port}/', a.seconds, a.connections)
            show('nginx', base, latency, 0, base)
        finally:
            nginx.terminate()
            nginx.wait()
        url = f'http://127.0.0.1:{inst.cport}'
        bad += show('empty', *wrk(url + '/livez', a.seconds, a.connections), base)
        bad += show('collect 1', *wrk(url, a.seconds, a.connections, headers + 'BATCH = 1\n' + EVENTS, folder), base, 1)
        bad += show('collect 50', *wrk(url, a.seconds, a.connections, headers + 'BATCH = 50\n' + EVENTS, folder), base, 50)
        inst.drain(600)
        url = f'http://127.0.0.1:{inst.pport}'
        bad += show('look-up', *wrk(url, a.seconds, 32, lookup + LOOKUP, folder), base)
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
