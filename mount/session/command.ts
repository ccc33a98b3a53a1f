// The command of a session: as an ordinary user without rights, with the signals of whoever called passed on, and gone when its launcher is.
import { spawn, type ChildProcess } from 'node:child_process'
import { isatty } from 'node:tty'
import { type SessionUser } from './identity-files.ts'
import { type Way } from './ways.ts'

const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGTERM: 15,
}

export interface Ended {
  /** as a shell gives it: 128 and the number of the signal */
  readonly code: number
}

/** What stands before the command: setpriv(1), which every Debian and most images have. */
export function wordsBefore(way: Way, { uid, gid, groups }: SessionUser): readonly string[] {
  const never = ['--pdeathsig', 'KILL', '--no-new-privs']
  if (way === 'root') {
    const others = groups.filter((one) => one !== gid)
    const more = others.length === 0 ? ['--clear-groups'] : ['--groups', others.join(',')]
    return [
      'setpriv',
      '--reuid',
      `${uid}`,
      '--regid',
      `${gid}`,
      ...more,
      '--bounding-set=-all',
      '--inh-caps=-all',
      ...never,
      '--',
    ]
  }
  const inside = way === 'userns' ? ['unshare', '--user', `--map-user=${uid}`, `--map-group=${gid}`, '--'] : []
  return [...inside, 'setpriv', ...never, '--']
}

/** In the directory of its name, which nobody but the session's user may enter: root is kept out of their mounts too. */
const THERE = ['/bin/sh', '-c', 'cd "$1" && shift && exec "$@"', 'karst-session']

/** By what programs are found and libraries loaded (ld.so(8), and what glibc takes from nobody who gains rights). */
const BEFORE_MAIN =
  /^(PATH|LD_.*|GLIBC_TUNABLES|GCONV_PATH|GETCONF_DIR|HOSTALIASES|LOCALDOMAIN|LOCPATH|MALLOC_.*|NIS_PATH|NLSPATH|RES(OLV_HOST_CONF|_OPTIONS)|TMPDIR|TZDIR)$/

export interface Surroundings {
  readonly env: Readonly<Record<string, string>>
  /** the launcher's own */
  readonly launcher: Readonly<Record<string, string>>
  /** where the command begins */
  readonly cwd: string
}

/**
 * Runs until the command ends; `before`: what takes its rights, and runs with the launcher's libraries and programs until it has. Rejects when it
 * cannot be started.
 */
export function runCommand(
  before: readonly string[],
  command: readonly string[],
  { env, launcher, cwd }: Surroundings,
): Promise<Ended> {
  const { early, late } = apart(env, launcher)
  const [program = '', ...rest] = [...before, ...late, ...THERE, cwd, ...command]
  const child = spawn(program, rest, { stdio: 'inherit', env: early, cwd: '/' })
  const forget = passSignals(child)
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      forget()
      reject(error)
    })
    child.once('exit', (code, signal) => {
      forget()
      resolve({ code: code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0) })
    })
  })
}

/** What a manifest sets of these is set by whoever has no rights any more: as root setpriv would be somebody else's, or load their library. */
function apart(
  env: Surroundings['env'],
  launcher: Surroundings['launcher'],
): { readonly early: Record<string, string>; readonly late: readonly string[] } {
  const early: Record<string, string> = {}
  const late: string[] = []
  for (const [name, value] of Object.entries(env)) {
    const own = BEFORE_MAIN.test(name) ? launcher[name] : value
    if (own !== undefined) early[name] = own
    if (own !== value) late.push(`${name}=${value}`)
  }
  return { early, late: late.length === 0 ? [] : ['env', ...late] }
}

function passSignals(child: ChildProcess): () => void {
  // process.stdin would be opened, and set not to block for the command as well
  const isTerminal = isatty(0)
  const passing = PASSED_ON.map((name) => {
    // a terminal tells the command itself
    const pass = (): void => {
      if (!isTerminal || (name !== 'SIGINT' && name !== 'SIGQUIT' && name !== 'SIGWINCH')) child.kill(name)
    }
    process.on(name, pass)
    return [name, pass] as const
  })
  return () => passing.forEach(([name, pass]) => process.off(name, pass))
}
