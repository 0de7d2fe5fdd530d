# Sourced by kafka.sh and opensearch.sh.
# SERVERS_HOME holds the jars, and data where no other folder is given. It can be deleted at any
# time; everyone can read it, for under root OpenSearch runs as nobody.
set -u
umask 022
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SERVERS_HOME=${SERVERS_HOME:-/var/tmp/clickstream-servers-$(id -u)}
mkdir -p "$SERVERS_HOME" && [ -O "$SERVERS_HOME" ] \
  || { echo "$SERVERS_HOME cannot be used, or is somebody else's; set SERVERS_HOME" >&2; exit 1; }

java_from() { # version: a java of that version or a newer one; it may be given by SERVERS_JAVA
  local java major
  for java in ${SERVERS_JAVA:-${JAVA_HOME:+"$JAVA_HOME/bin/java"} java /usr/lib/jvm/*/bin/java}; do
    major=$("$java" -version 2>&1 | sed -n 's/^[a-z]* version "\([0-9]*\).*/\1/p')
    if [ "${major:-0}" -ge "$1" ]; then echo "$java"; return 0; fi
  done
  return 1
}

check() { # Java version, folder that is there when the jars are, further commands: says what is missing
  local found=() missing=() each
  java_from "$1" >/dev/null || missing+=("Java $1 or newer")
  found=(setsid flock "${@:3}")
  [ -d "$2" ] || found+=(mvn)
  for each in "${found[@]}"; do command -v "$each" >/dev/null || missing+=("$each"); done
  [ ${#missing[@]} = 0 ] && return 0
  printf -v each ', %s' "${missing[@]}"
  echo "missing here: ${each:2}"
  return 4
}

copy_jars() { # pom, destination, further Maven arguments
  local pom=$1 dest=$2; shift 2
  mvn -B -q -Dstyle.color=never -f "$pom" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dest" "$@" >&2
}

once() { # folder, command that fills the folder named last: several may ask at once
  local dest=$1; shift
  (
    flock 9
    [ -d "$dest" ] && exit 0
    rm -rf "$dest.part"
    "$@" "$dest.part" && mv "$dest.part" "$dest"
  ) 9>"$SERVERS_HOME/lock"
}

running() { # pid file, words of the command line
  [ -s "$1" ] && [ -r "/proc/$(cat "$1")/cmdline" ] && tr '\0' ' ' <"/proc/$(cat "$1")/cmdline" | grep -q "$2"
}

await() { # seconds, pid file, words, log, check...
  local deadline=$((SECONDS + $1)) pid_file=$2 words=$3 log=$4; shift 4
  until "$@"; do
    if ! running "$pid_file" "$words" && ! { sleep 0.5; running "$pid_file" "$words"; }; then
      echo "died; the end of its log:" >&2; tail -20 "$log" >&2; rm -f "$pid_file"; return 1
    fi
    [ $SECONDS -lt $deadline ] || { echo "not ready in time; its log is $log" >&2; return 1; }
    sleep 0.2
  done
}

gone() { # pid: a dead process keeps its port until its last thread has ended; nobody may reap it
  ! [ -d "/proc/$1" ] \
    || { grep -q '^State:.Z' "/proc/$1/status" && [ "$(ls "/proc/$1/task" | wc -l)" = 1 ]; } 2>/dev/null
}

end() { # pid file, words
  running "$1" "$2" || { rm -f "$1"; echo "not running"; return 0; }
  local pid; pid=$(cat "$1"); kill "$pid"
  for _ in $(seq 1 300); do gone "$pid" && { rm -f "$1"; echo stopped; return 0; }; sleep 0.1; done
  destroy "$1" "$2"
}

destroy() { # pid file, words: SIGKILL, and wait until it is gone
  running "$1" "$2" || { rm -f "$1"; echo "not running"; return 0; }
  local pid; pid=$(cat "$1"); kill -9 "$pid"
  until gone "$pid"; do sleep 0.05; done
  rm -f "$1"; echo killed
}
