/** Sessions leave folders and mounts where those of the whole machine are: who looks for what is left has them to himself. */
import { closeSync, openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tryRecordLock } from '../../src/libc/record-lock.ts'

/** Waits for the turn of this process among the test files that start sessions; answers what gives it back, as its end does too. */
export async function sessionTurn(): Promise<() => void> {
  const fd = openSync(join(tmpdir(), 'karst-session-tests.lock'), 'a+', 0o600)
  while (!tryRecordLock(fd, 'opening')) await sleep(100)
  return () => closeSync(fd)
}
