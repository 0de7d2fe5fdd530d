#!/usr/bin/env bash
# opensearch.sh {check|install|start|stop|kill|status|wipe}: OpenSearch 3.9.0, one node, on 127.0.0.1, no security.
# OPENSEARCH_TEST_PORT (19200), OPENSEARCH_TEST_FOLDER (its data: SERVERS_HOME/opensearch-PORT),
# OPENSEARCH_TEST_HEAP (512m), SERVERS_JAVA (a Java 21 or newer; one is looked for).
. "$(dirname "$0")/common.sh"
V=3.9.0; PORT=${OPENSEARCH_TEST_PORT:-19200}; HEAP=${OPENSEARCH_TEST_HEAP:-512m}
HOME_DIR=$SERVERS_HOME/opensearch-$V; H=${OPENSEARCH_TEST_FOLDER:-$SERVERS_HOME/opensearch-$PORT}; PID=$H/pid
WORDS="opensearch.path.conf=$H/config.*org\.opensearch\.bootstrap\.OpenSearch"

module() { # home, artifact, class: a module folder from a client jar and what lib/ lacks (a jar twice is refused)
  local dest=$1/modules/$2 jars; jars=$(mktemp -d)
  copy_jars "$HERE/opensearch-module-pom.xml" "$jars" "-Dmodule=$2" || return 1
  mkdir -p "$dest"
  for jar in "$jars"/*.jar; do
    case $jar in *aarch_64*|*osx*|*windows*) continue ;; esac
    [ -e "$1/lib/$(basename "$jar")" ] || cp "$jar" "$dest/"
  done
  rm -rf "$jars"
  printf 'description=%s\nversion=%s\nname=%s\nclassname=%s\njava.version=21\nopensearch.version=%s\nhas.native.controller=false\n' \
    "$2" "$V" "$2" "$3" "$V" >"$dest/plugin-descriptor.properties"
}

fill() { # home
  mkdir -p "$1"/{bin,extensions,plugins,modules}
  copy_jars "$HERE/opensearch-pom.xml" "$1/lib" \
    && module "$1" transport-netty4 org.opensearch.transport.Netty4ModulePlugin \
    && module "$1" reindex org.opensearch.index.reindex.ReindexModulePlugin \
    && module "$1" mapper-extras org.opensearch.index.mapper.MapperExtrasModulePlugin
}

configure() {
  mkdir -p "$H"/{config,data,logs,tmp}
  cat >"$H/config/log4j2.properties" <<C
status = error
appender.f.type = File
appender.f.name = f
appender.f.fileName = $H/logs/node.log
appender.f.layout.type = PatternLayout
appender.f.layout.pattern = [%d][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.f.ref = f
C
  cat >"$H/config/opensearch.yml" <<C
cluster.name: test
node.name: test-$PORT
network.host: 127.0.0.1
http.port: $PORT
transport.port: 0
discovery.type: single-node
path.data: $H/data
path.logs: $H/logs
cluster.routing.allocation.disk.threshold_enabled: false
C
}

ready() { curl -fsS -m 2 "http://127.0.0.1:$PORT/_cluster/health?wait_for_status=yellow&timeout=1s" 2>/dev/null | grep -Eq '"status":"(green|yellow)"'; }

missing() { # a sentence, and status 4, where something is
  local root=(); [ "$(id -u)" != 0 ] || root=(setpriv)
  check 21 "$HOME_DIR" curl "${root[@]}"
}

as_user() { # OpenSearch refuses root: then it runs as nobody, from a folder that nobody may enter
  if [ "$(id -u)" != 0 ]; then exec env "HOME=$H/tmp" "$@"; fi
  exec setpriv --reuid=nobody --regid="$(id -gn nobody)" --clear-groups env "HOME=$H/tmp" "$@"
}

start() {
  running "$PID" "$WORDS" && { echo "already running, pid $(cat "$PID")"; return 0; }
  local java; java=$(java_from 21) || { missing; return 1; }
  once "$HOME_DIR" fill || return 1
  configure
  [ "$(id -u)" != 0 ] || chown -R "nobody:$(id -gn nobody)" "$H"
  cd "$HOME_DIR" || return 1
  as_user setsid nohup "$java" "-Xms$HEAP" "-Xmx$HEAP" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir="$H/tmp" -Djna.tmpdir="$H/tmp" -Djna.nosys=true \
    -Djava.awt.headless=true -Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true -Dio.netty.recycler.maxCapacityPerThread=0 \
    -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true -Djava.locale.providers=CLDR --add-modules=jdk.incubator.vector \
    --enable-native-access=ALL-UNNAMED --add-opens=java.base/java.nio.channels=ALL-UNNAMED \
    -Dopensearch.path.home="$HOME_DIR" -Dopensearch.path.conf="$H/config" -Dopensearch.distribution.type=tar -Dopensearch.bundled_jdk=false \
    -cp "$HOME_DIR/lib/*" org.opensearch.bootstrap.OpenSearch -q >>"$H/out" 2>&1 </dev/null &
  echo $! >"$PID"
  await 90 "$PID" "$WORDS" "$H/out" ready && echo "OpenSearch on 127.0.0.1:$PORT, pid $(cat "$PID")"
}

case "${1:-}" in
  check) missing ;;
  install) once "$HOME_DIR" fill ;;
  start) start ;;
  stop) end "$PID" "$WORDS" ;;
  kill) destroy "$PID" "$WORDS" ;;
  status) if running "$PID" "$WORDS" && ready; then echo "up, pid $(cat "$PID")"; else echo down; exit 3; fi ;;
  wipe) destroy "$PID" "$WORDS"; rm -rf "$H"; echo wiped ;;
  *) sed -n 2,4p "$0"; exit 2 ;;
esac
