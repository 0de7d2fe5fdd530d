#!/usr/bin/env bash
# kafka.sh {check|install|start|stop|kill|status|wipe}: Apache Kafka 4.4.0, one KRaft node, on 127.0.0.1.
# KAFKA_PORT (19092), KAFKA_CONTROLLER_PORT (the next one), KAFKA_NAME (one data folder each), KAFKA_HEAP (1g),
# KAFKA_EXTRA: a properties file appended to the configuration (listeners with TLS or SASL, limits, ...).
. "$(dirname "$0")/common.sh"
PORT=${KAFKA_PORT:-19092}; CONTROLLER=${KAFKA_CONTROLLER_PORT:-$((PORT + 1))}; NAME=${KAFKA_NAME:-kafka-$PORT}
V=4.4.0; LIB=$SERVERS_HOME/kafka-$V; H=$SERVERS_HOME/$NAME; PID=$H/pid; WORDS="kafka\.Kafka $H/"

configure() {
  mkdir -p "$H"
  cat >"$H/log4j2.properties" <<C
status=error
appender.f.type=File
appender.f.name=f
appender.f.fileName=$H/broker.log
appender.f.layout.type=PatternLayout
appender.f.layout.pattern=%d %p %c{1} - %m%n
rootLogger.level=warn
rootLogger.appenderRef.f.ref=f
C
  cat >"$H/server.properties" <<C
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$CONTROLLER
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
log.dirs=$H/data
num.partitions=6
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.segment.bytes=134217728
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=33554432
C
  [ -z "${KAFKA_EXTRA:-}" ] || cat "$KAFKA_EXTRA" >>"$H/server.properties"
}

ready() { python3 -S "$HERE/kafka_answers.py" 127.0.0.1 "$PORT"; }

start() {
  running "$PID" "$WORDS" && { echo "already running, pid $(cat "$PID")"; return 0; }
  local java; java=$(java_from 17) || { check 17 "$LIB" python3; return 1; }
  once "$LIB" copy_jars "$HERE/kafka-pom.xml" || return 1
  configure
  local options="-Dlog4j2.configurationFile=$H/log4j2.properties"
  if [ ! -f "$H/data/meta.properties" ]; then
    # The first character is given: an id that begins with - would be taken for an option.
    local id; id=A$(python3 -S -c "import base64,uuid;print(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])")
    "$java" -Xmx256m "$options" -cp "$LIB/*" kafka.tools.StorageTool format -t "$id" -c "$H/server.properties" >"$H/format.out" 2>&1 \
      || { cat "$H/format.out" >&2; return 1; }
  fi
  setsid nohup "$java" "-Xmx${KAFKA_HEAP:-1g}" -XX:+UseG1GC "$options" -cp "$LIB/*" kafka.Kafka "$H/server.properties" >>"$H/out" 2>&1 </dev/null &
  echo $! >"$PID"
  await 120 "$PID" "$WORDS" "$H/out" ready && echo "Kafka on 127.0.0.1:$PORT, pid $(cat "$PID")"
}

case "${1:-}" in
  check) check 17 "$LIB" python3 ;;
  install) once "$LIB" copy_jars "$HERE/kafka-pom.xml" ;;
  start) start ;;
  stop) end "$PID" "$WORDS" ;;
  kill) destroy "$PID" "$WORDS" ;;
  status) if running "$PID" "$WORDS" && ready; then echo "up, pid $(cat "$PID")"; else echo down; exit 3; fi ;;
  wipe) destroy "$PID" "$WORDS"; rm -rf "$H"; echo wiped ;;
  *) sed -n 2,4p "$0"; exit 2 ;;
esac
