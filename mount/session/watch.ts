// Who ends a session whose launcher was killed.
import { spawn } from 'node:child_process'
import { type RunFolder } from './run-folder.ts'

export interface Watcher {
  /** undefined: it could not be started */
  readonly pid: number | undefined
  /** Has it end the abandoned sessions beside, while this one goes on. */
  readonly sweep: () => void
}

/** A line is told to sweep; when nobody holds the other end of the pipe the launcher has ended. Before there is a note there are only empty folders. */
const SCRIPT = `exec >/dev/null 2>&1
  run=$1; shift
  while read -r line; do "$@" --abandoned </dev/null & done
  [ -e "$run/session.json" ] || { rm -f "$run"/*.new; rmdir "$run"/* "$run"; exit 0; }
  exec "$@" </dev/null`

/**
 * Starts who ends the session should this process be killed: a shell, which stays in the namespaces of whoever called. `finish`: the command line
 * that does it; with --abandoned it ends other ones.
 */
export function watchOver(run: RunFolder, finish: readonly string[]): Watcher {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'karst-session', run.path, ...finish], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.unref()
  const { stdin, pid } = child
  // it lives as long as this process does, and keeps it from nothing
  ;(stdin as unknown as { unref?: () => void }).unref?.()
  // who was killed is told nothing
  stdin.on('error', () => undefined)
  return { pid, sweep: () => void stdin.write('\n') }
}
