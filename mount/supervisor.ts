// Who starts drivers, and another one when a driver is killed: a shell, since a shell is a hundredth of a Node process. It
// holds the two sockets in which the mounted devices lie (fuse/descriptor-store.ts), and understands nothing of them.
import { spawn, type ChildProcess } from 'node:child_process'
import path from 'node:path'
import { closeDevice, storeEnds } from './fuse/descriptor-store.ts'

/** Descriptors of a driver that was started by a supervisor: the ends of the store. */
export const STORE_ENDS = [3, 4] as const

/** Exit codes of a driver after which no other is started: its mounts are gone; it could not begin. */
export const ENDED = 0
export const REFUSED = 3

/**
 * `$1` is the first request, `$2` the state directory, the rest the driver's command line, which is told the number of this shell besides. The channel to whoever started the
 * first driver (descriptor 5) is that one's alone. A driver that dies young again and again is given time.
 *
 * A killed driver may not go: a thread of it that tells the kernel of a change waits for a lock, whose holder waits for an
 * answer that only the next driver gives. So it counts as dead when its first thread is, which is looked at once a second;
 * any other death is heard of at once.
 */
const SCRIPT = `
request=$1; [ -O "$2" ] && export NODE_COMPILE_CACHE="$2/compiled"; shift 2
driver=; stopping=; young=0
trap 'stopping=1; [ -n "$driver" ] && kill -TERM "$driver"' TERM INT
trap '' HUP
trap : CHLD
state() { stat=; read -r stat 2>/dev/null < "/proc/$driver/stat"; stat=\${stat##*) }; stat=\${stat%% *}; }
threads() { threads=0; for task in "/proc/$driver/task"/*; do threads=$((threads + 1)); done; }
while :; do
  began=$(date +%s)
  if [ -n "$request" ]; then "$@" "$$" "$request" & else "$@" "$$" & fi
  driver=$!
  exec 5>&-
  unset NODE_CHANNEL_FD NODE_CHANNEL_SERIALIZATION_MODE
  request=; status=; looks=0
  while [ -z "$status" ]; do
    state
    case $stat in
      '') wait "$driver"; status=$? ;;
      Z) threads; looks=$((looks + 1))
        if [ "$threads" -le 1 ]; then wait "$driver"; status=$?
        elif [ "$looks" -gt 3 ]; then status=137
        else sleep 0.05; fi ;;
      *) sleep 1 & tick=$!; wait "$tick"; kill "$tick" 2>/dev/null ;;
    esac
  done
  driver=
  case $status in ${ENDED}|${REFUSED}) exit "$status" ;; esac
  [ -n "$stopping" ] && exit "$status"
  echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) the driver ended with $status; starting another"
  if [ "$(($(date +%s) - began))" -lt 2 ]; then young=$((young + 1)); else young=0; fi
  [ "$young" -gt 30 ] && exit 1
  [ "$young" -gt 10 ] && sleep 1
done`

export interface SupervisorOptions {
  readonly state: string
  /** The first driver's first request, as JSON; none: it goes on with the mounts in the store. */
  readonly request?: string
  /** Descriptor for what is said on standard output and error. */
  readonly log: number
  /** The ends of a store that holds mounts already. */
  readonly ends?: readonly [number, number]
}

/** Starts a supervisor that outlives this process. The first driver has an `ipc` channel to it where there is a request. */
export function startSupervisor({ state, request = '', log, ends }: SupervisorOptions): ChildProcess {
  const [send, receive] = ends ?? storeEnds()
  const program = path.join(import.meta.dirname, `daemon-process${path.extname(import.meta.filename)}`)
  // a young generation of 16 MiB is let grow to three times as much before anything in it is collected
  const driver = [process.execPath, '--max-semi-space-size=4', '--disable-warning=ExperimentalWarning', program, state]
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'karst-supervisor', request, state, ...driver], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', log, log, send, receive, request === '' ? 'ignore' : 'ipc'],
  })
  if (ends === undefined) for (const end of [send, receive]) closeDevice(end)
  return child
}
