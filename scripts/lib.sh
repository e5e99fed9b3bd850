# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts of this folder; source it. It moves to the repository root.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
readonly LOG_FOLDER=${LOGS_OF_SCRIPT:-build/logs} # a script may have its own
readonly HEARTBEAT_SECONDS=15

say() { printf '%s\n' "$*"; }

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Jobs for a build: one per core, fewer when memory is short (a heavy file takes about 1 GiB).
build_jobs() {
  local cores memory_gib
  cores=$(nproc)
  memory_gib=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  ((memory_gib < 1)) && memory_gib=1
  ((memory_gib < cores)) && cores=$memory_gib
  say "$cores"
}

# step <what> <budget in seconds> <log name> <command...>
# Runs the command with its output in build/logs/<log name>.log, says what it does, shows that it is
# alive, and how long it took. Fails with the end of the log when the command fails or overruns.
# STEP_SHOW: lines of the log that match this regular expression are shown as they come.
# STEP_TAIL_LINES: how much of the log a failure shows.
STEP_SHOW=
STEP_TAIL_LINES=60
step() {
  local what=$1 budget_s=$2 log=$LOG_FOLDER/$3.log
  shift 3
  mkdir -p "$LOG_FOLDER"
  say "==> $what (at most $budget_s s; log: $log)"
  local start_s=$SECONDS status=0
  : >"$log" || die "$log cannot be written" # exists before the step's own process does
  timeout --kill-after=10 "$budget_s" "$@" >"$log" 2>&1 </dev/null &
  STEP_PID=$!
  follow "$log" "$start_s"
  wait "$STEP_PID" || status=$?
  STEP_PID=
  local took_s=$((SECONDS - start_s))
  if ((status == 0)); then
    say "    done in $took_s s"
    return 0
  fi
  local why="exit status $status"
  ((status == 124 || status == 137)) && why="over its budget of $budget_s s"
  say "    FAILED after $took_s s: $why. The end of $log:"
  tail -n "$STEP_TAIL_LINES" "$log" | sed 's/^/    | /'
  return 1
}

# While the step runs: its lines to be shown, and now and then its last line as a sign of life.
follow() {
  local log=$1 start_s=$2 seen=0 said_s=$SECONDS running=yes lines
  while [[ $running == yes ]]; do
    kill -0 "$STEP_PID" 2>/dev/null || running=no
    if [[ -n $STEP_SHOW ]]; then
      lines=$(wc -l <"$log")
      if ((lines > seen)); then
        sed -n "$((seen + 1)),${lines}p" "$log" | grep -E "$STEP_SHOW" | sed 's/^ */    /' || true
        seen=$lines said_s=$SECONDS
      fi
    fi
    if ((SECONDS - said_s >= HEARTBEAT_SECONDS)); then
      said_s=$SECONDS
      say "    $((SECONDS - start_s)) s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-90)"
    fi
    sleep 0.2
  done
}

# Ctrl-C and termination end the running step too, which has a process group of its own.
STEP_PID=
end_step() {
  [[ -n $STEP_PID ]] && kill -TERM "$STEP_PID" 2>/dev/null
  exit 130
}
trap end_step INT TERM

# configure_and_build <preset> <budget in seconds> <target...>
configure_and_build() {
  local preset=$1 budget_s=$2
  shift 2
  step "configure preset $preset" 60 "configure-$preset" cmake --preset "$preset" &&
    step "build $preset: $*" "$budget_s" "build-$preset" \
      cmake --build "build/$preset" -j "$(build_jobs)" --target "$@"
}
