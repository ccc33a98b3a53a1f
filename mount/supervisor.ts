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
 * `$1` is the first request, the rest the driver's command line. A driver that dies young again and again is given time; the
 * channel to whoever started the first one (descriptor 5) is that one's alone.
 */
const SCRIPT = `
request=$1; shift; driver=; stopping=; young=0
trap 'stopping=1; [ -n "$driver" ] && kill -TERM "$driver"' TERM INT
trap '' HUP
while :; do
  began=$(date +%s)
  if [ -n "$request" ]; then "$@" "$request" & else "$@" & fi
  driver=$!
  exec 5>&-
  unset NODE_CHANNEL_FD NODE_CHANNEL_SERIALIZATION_MODE
  request=
  while :; do wait "$driver"; status=$?; kill -0 "$driver" 2>/dev/null || break; done
  driver=
  case $status in ${ENDED}|${REFUSED}) exit "$status" ;; esac
  [ -n "$stopping" ] && exit "$status"
  echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) the driver ended with $status; starting another"
  if [ "$(($(date +%s) - began))" -lt 2 ]; then young=$((young + 1)); else young=0; fi
  [ "$young" -gt 30 ] && exit 1
  [ "$young" -gt 5 ] && sleep 1
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
  const driver = [process.execPath, '--disable-warning=ExperimentalWarning', program, state]
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'karst-supervisor', request, ...driver], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', log, log, send, receive, request === '' ? 'ignore' : 'ipc'],
  })
  if (ends === undefined) for (const end of [send, receive]) closeDevice(end)
  return child
}
