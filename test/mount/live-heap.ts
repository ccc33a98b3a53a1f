// What a Node process really holds: its heap after all garbage is gone, by its inspector (SIGUSR1 opens it).
import { sleep } from './driver-harness.ts'

const INSPECTOR = 'http://127.0.0.1:9229/json/list'

/** Bytes of objects and of buffers, of which the process can reach every one. */
export async function liveHeap(pid: number): Promise<number> {
  process.kill(pid, 'SIGUSR1')
  const socket = new WebSocket(await inspectorOf())
  const answers: ((text: string) => void)[] = []
  socket.onmessage = ({ data }) => answers.shift()?.(String(data))
  await new Promise((opened) => (socket.onopen = opened))
  const ask = async (method: string): Promise<string> => {
    const answer = new Promise<string>((resolve) => answers.push(resolve))
    socket.send(JSON.stringify({ id: 1, method }))
    return answer
  }
  try {
    // what the first finds to be garbage may have held what the second finds
    for (let i = 0; i < 2; i++) await ask('HeapProfiler.collectGarbage')
    const { result } = JSON.parse(await ask('Runtime.getHeapUsage')) as { result: Record<string, number> }
    const { usedSize, backingStorageSize } = result
    if (usedSize === undefined || backingStorageSize === undefined) throw new Error(JSON.stringify(result))
    return usedSize + backingStorageSize
  } finally {
    socket.close()
  }
}

async function inspectorOf(): Promise<string> {
  for (let left = 100; left > 0; left--) {
    const answer = await fetch(INSPECTOR).catch(() => undefined)
    const [target] = ((await answer?.json()) ?? []) as { webSocketDebuggerUrl: string }[]
    if (target !== undefined) return target.webSocketDebuggerUrl
    await sleep(50)
  }
  throw new Error('no inspector came')
}
