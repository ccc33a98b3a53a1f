// What has to work over every storage, here over a POSIX tree.
import t from 'tap'
import { worksOver } from './works.ts'

t.setTimeout(20 * 60_000)

void t.test('over a POSIX tree', (t) => worksOver(t))
