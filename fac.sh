set -x
cd /tmp/me/ex/factory
export TULLE_RUNTIME_DIR=/tmp/me/run TULLE_STATE_DIR=/tmp/me/state PATH=/work/main/.venv/bin:$PATH
mkdir -p /tmp/me/prom
./box.sh prometheus /tmp/me/prom >/tmp/me/prom.log 2>&1 & P=$!
./box.sh historian >/tmp/me/hist.log 2>&1 & H=$!
timeout 60 tulle up -d mesh.yaml --timeout 40
tulle status
sleep 6
curl -s http://127.0.0.1:18082/label; curl -s -d hello http://127.0.0.1:18082/; curl -s -d hello2 http://127.0.0.1:18082/
cat /tmp/me/hist.log | tail -5
for p in labels sensor screen board spy gauge; do echo "== $p"; tulle logs --mesh factory default/$p | tail -3; done
curl -s 'http://127.0.0.1:19090/api/v1/query?query=sum%20by%20(source,destination,response_class)(tulle_requests_total)'; echo
tulle logs --mesh factory access | tail -5
tulle logs --mesh factory supervisor | tail -15
tulle logs --mesh factory proxy | tail -15
tulle status
tulle down
kill $P $H
