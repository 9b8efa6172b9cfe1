"""The end of each job script: the shell that runs the flow run's command, and sees to it that nothing of it is left.

`prefect flow-run execute` starts its engine in a session of its own. A scheduler that signals a job's first process,
its process group or its session does not reach that, and the flow goes on when its job is long over. So the processes
of a job are known by a mark in their environment, which they hand down:

- TERM is passed on to all of them. Whether the scheduler has reached them itself, a canary in a session of its own
  says: then nothing is passed on, because a flow that is told twice cannot report.
- If this shell is killed, a reaper in a session of its own ends what is left: TERM, and KILL eight seconds later. It is
  no descendant of this shell: Slurm's proctrack/linuxproc kills those that it sees, and not who is started meanwhile.
- If the command was ended by a signal, this shell ends by the same, as if there were nothing between it and the
  scheduler, which says "signal 9" or "out of memory" then. A shell cannot tell signal 9 from an exit code of 137, so
  a command that exits with that code counts as killed.

Linux; elsewhere the process group is signalled. POSIX shell, with grep, setsid and sleep, as Debian and busybox have;
busybox' grep sees no more of an environment than its first variable without -z.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_GUARDED = r"""
export GENERIC_WORKER_JOB=@KEY@
if [ -r /proc/self/environ ] && command -v setsid >/dev/null && command -v grep >/dev/null; then
  # Prints the processes of the job, but for one: job key, process id.
  generic_worker_list='
    for file in $(grep -zlsF "GENERIC_WORKER_JOB=$1" /proc/[0-9]*/environ 2>/dev/null); do
      pid=${file#/proc/}; pid=${pid%/environ}
      [ "$pid" = "$2" ] || [ "$pid" = $$ ] || printf "%s " "$pid"
    done'
  setsid sleep 2147483647 >/dev/null 2>&1 </dev/null &
  generic_worker_canary=$!
  # In a subshell that ends at once, so that whoever kills this shell's children and theirs does not find it.
  generic_worker_reaper=$(
    unset GENERIC_WORKER_JOB
    setsid /bin/sh -c '
      trap "" HUP INT TERM
      born=
      while read -r stat </proc/$3/stat; do
        set -- "$1" "$2" "$3" ${stat##*) }
        [ "$4" != Z ] && [ "${born:-${23}}" = "${23}" ] || break
        born=${23}
        sleep 1
      done
      tries=0
      while pids=$(/bin/sh -c "$1" sh "$2" "$3"); [ "$pids" ]; do
        [ $tries = 0 ] && kill -TERM $pids
        [ $tries -ge 8 ] && kill -KILL $pids
        tries=$((tries + 1))
        sleep 1
      done' reaper "$generic_worker_list" @KEY@ $$ >/dev/null 2>&1 </dev/null &
    echo $!
  )
  generic_worker_term() {
    trap '' TERM
    sleep 1
    generic_worker_pids=$(/bin/sh -c "$generic_worker_list" sh @KEY@ $$)
    case " $generic_worker_pids" in
      *" $generic_worker_canary "*) kill -TERM $generic_worker_pids 2>/dev/null || : ;;
    esac
    trap generic_worker_term TERM
  }
else
  generic_worker_reaper=
  generic_worker_term() { trap '' TERM; kill -TERM 0 || :; trap generic_worker_term TERM; }
fi
trap generic_worker_term TERM
# The process that supervises the flow run must not die before its engine has reported, or the run stays Running.
(trap '' TERM; exec @COMMAND@) </dev/null &
generic_worker_child=$!
while wait "$generic_worker_child"; generic_worker_code=$?; kill -0 "$generic_worker_child" 2>/dev/null; do :; done
trap '' TERM
if [ "$generic_worker_reaper" ]; then
  { kill -KILL "$generic_worker_canary"; wait "$generic_worker_canary"; } 2>/dev/null || :
  [ "$(/bin/sh -c "$generic_worker_list" sh @KEY@ $$)" ] || kill -KILL "$generic_worker_reaper" 2>/dev/null || :
fi
if [ "$generic_worker_code" -gt 128 ]; then
  generic_worker_signal=$(kill -l "$generic_worker_code" 2>/dev/null) || :
  case $generic_worker_signal in
    # Those that end a process. A shell that sent itself STOP would stay.
    HUP | INT | QUIT | ILL | TRAP | ABRT | BUS | FPE | KILL | USR1 | SEGV | USR2 | PIPE | ALRM | TERM | XCPU | XFSZ)
      ulimit -c 0 2>/dev/null || :
      trap - "$generic_worker_signal" 2>/dev/null || :
      kill -s "$generic_worker_signal" $$ ;;
  esac
fi
exit "$generic_worker_code"
"""


def guarded(command: str, key: str) -> str:
    """The lines of a job script that run a command to its end.

    Args:
        command: The command, as words of a shell.
        key: The job's key.
    """
    return _GUARDED.replace("@KEY@", shlex.quote(key)).replace("@COMMAND@", command)


_IN_A_CONTAINER = """\
export GENERIC_WORKER_JOB="$1"; shift
tell() {
  trap '' TERM
  (cd /proc && for pid in [0-9]*; do
    ! grep -zqsF "GENERIC_WORKER_JOB=$GENERIC_WORKER_JOB" "$pid/environ" || kill -TERM "$pid" 2>/dev/null
  done)
  trap tell TERM
}
trap tell TERM
(trap '' TERM; exec "$@") </dev/null &
child=$!
while wait "$child"; code=$?; kill -0 "$child" 2>/dev/null; do :; done
exit "$code"
"""
"""The first process of a container: what it starts ends with it, so that there is nothing to reap.

It has no `$(`, `${` or `$$`, which Kubernetes and Nomad would expand.
"""


def term_to_all(words: Sequence[str], key: str) -> list[str]:
    """The words that run a command in a container, with SIGTERM passed on to all of its processes.

    In a recipe: `${command | words | term_to_all(job_key)}`.

    TERM is sent to the first process of a container, or to its group, and the engine is in a session of its own. The
    image needs /bin/sh, and grep for TERM to arrive.

    Args:
        words: The command.
        key: The job's key.
    """
    return ["/bin/sh", "-c", _IN_A_CONTAINER, "sh", key, *words]
