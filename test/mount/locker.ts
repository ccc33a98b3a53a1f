// A Python process that opens files and locks them as it is told: node has no fcntl(2).
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

const SCRIPT = String.raw`
import errno, fcntl, json, os, signal, struct, sys
files = {}
class Alarm(Exception): pass
def alarm(number, frame): raise Alarm()
signal.signal(signal.SIGALRM, alarm)
TYPES = {'read': fcntl.F_RDLCK, 'write': fcntl.F_WRLCK, 'unlock': fcntl.F_UNLCK}
NAMES = {value: key for key, value in TYPES.items()}
def flock_of(type, start, length): return struct.pack('hhqqi4x', TYPES[type], os.SEEK_SET, start, length, 0)
def perform(order):
    what = order['do']
    if what == 'open':
        files[order['name']] = os.open(order['path'], os.O_RDWR | os.O_CREAT if not order.get('readOnly') else os.O_RDONLY)
    elif what == 'dup': files[order['name']] = os.dup(files[order['of']])
    elif what == 'close': os.close(files.pop(order['name']))
    elif what == 'lock':
        ofd = order.get('ofd', False)
        command = (38 if ofd else fcntl.F_SETLKW) if order.get('wait') else (37 if ofd else fcntl.F_SETLK)
        fcntl.fcntl(files[order['name']], command, flock_of(order['type'], order.get('start', 0), order.get('length', 0)))
    elif what == 'test':
        answer = fcntl.fcntl(files[order['name']], fcntl.F_GETLK, flock_of(order['type'], order.get('start', 0), order.get('length', 0)))
        type, _, start, length, pid = struct.unpack('hhqqi4x', answer)
        return {'type': NAMES[type], 'start': start, 'length': length, 'pid': pid}
    elif what == 'flock':
        kinds = {'read': fcntl.LOCK_SH, 'write': fcntl.LOCK_EX, 'unlock': fcntl.LOCK_UN}
        fcntl.flock(files[order['name']], kinds[order['type']] | (0 if order.get('wait') else fcntl.LOCK_NB))
    elif what == 'write': return os.pwrite(files[order['name']], order['text'].encode(), order.get('at', 0))
    elif what == 'read': return os.pread(files[order['name']], 1 << 20, 0).decode()
    elif what == 'fsync': os.fsync(files[order['name']])
    elif what == 'rename': os.rename(order['from'], order['to'])
    elif what == 'unlink': os.unlink(order['path'])
    elif what == 'exists': return os.path.exists(order['path'])
    elif what == 'size': return os.stat(order['path']).st_size
    elif what == 'alarm': signal.setitimer(signal.ITIMER_REAL, order['seconds'])
    elif what == 'pid': return os.getpid()
for line in sys.stdin:
    try: said = {'value': perform(json.loads(line))}
    except OSError as error: said = {'error': errno.errorcode[error.errno]}
    except Alarm: said = {'error': 'ALARM'}
    print(json.dumps(said), flush=True)
`

export interface Order {
  readonly do: string
  readonly [field: string]: unknown
}

export class Locker {
  readonly child: ChildProcess
  readonly exited: Promise<void>
  #hasExited = false
  readonly #answers: ((said: { value?: unknown; error?: string }) => void)[] = []

  constructor(t: { teardown(cleanUp: () => void): void }) {
    const child = spawn('python3', ['-u', '-c', SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' })
    this.child = child
    this.exited = new Promise((resolve) => child.once('exit', () => resolve()))
    child.stdin.on('error', () => undefined)
    createInterface({ input: child.stdout }).on('line', (line) => this.#answers.shift()?.(JSON.parse(line) as object))
    void this.exited.then(() => (this.#hasExited = true))
    void this.exited.then(() => this.#answers.splice(0).forEach((answer) => answer({ error: 'EXITED' })))
    t.teardown(() => child.kill('SIGKILL'))
  }

  /** What it answers, or the name of the error. */
  async tell(order: Order): Promise<unknown> {
    const { value, error } = await new Promise<{ value?: unknown; error?: string }>((resolve) => {
      if (this.#hasExited) {
        resolve({ error: 'EXITED' })
        return
      }
      this.#answers.push(resolve)
      this.child.stdin?.write(`${JSON.stringify(order)}\n`)
    })
    return error ?? value
  }

  open(path: string, name = 'f', readOnly = false): Promise<unknown> {
    return this.tell({ do: 'open', path, name, readOnly })
  }

  /** `length` 0: to the end. */
  lock(type: 'read' | 'write' | 'unlock', more: Omit<Order, 'do'> = {}): Promise<unknown> {
    return this.tell({ do: 'lock', name: 'f', type, ...more })
  }

  flock(type: 'read' | 'write' | 'unlock', more: Omit<Order, 'do'> = {}): Promise<unknown> {
    return this.tell({ do: 'flock', name: 'f', type, ...more })
  }
}
