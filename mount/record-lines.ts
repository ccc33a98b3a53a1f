// The form of a mount's record: frames of changes as JSON, each with the answer that the kernel got after it. A frame that a
// kill cut off is as if it had never been written.
import fs from 'node:fs'
import { entryFromJson, type EntryJson, entryText, quoted } from '../src/codec/fs-v1.ts'
import { type Inode, type InodeTable, type SavedInode } from './cache.ts'
import { ExtentMap, type Span } from './extents.ts'
import { type SavedContent, type SavedFolder, type SavedHandle } from './recorder.ts'

interface InodeJson {
  readonly n: number
  readonly p?: number
  readonly name: string
  readonly e: EntryJson
  readonly l: number
  /** stands, unlinked, hidden, retired */
  readonly is: readonly [boolean, boolean, boolean, boolean]
  /** mode of a file that is not at the gateway yet */
  readonly m?: number
}

interface ContentJson extends Omit<SavedContent, 'written' | 'dirty' | 'mtime' | 'writtenAt' | 'unanswered'> {
  /** starts and ends in turn */
  readonly written: readonly number[]
  readonly dirty: readonly number[]
  readonly mtime?: string
  readonly writtenAt: string
  readonly unanswered: readonly { readonly length: number; readonly mtime: string; readonly visible: number }[]
}

/** i inode, x it is gone, n its count; h handle, H closed; d folder, D closed; c content, C none; w a write; l last numbers; r an answer */
export type Line =
  | readonly ['i', InodeJson]
  | readonly ['x', number]
  | readonly ['H', number]
  | readonly ['D', number]
  | readonly ['C', number]
  | readonly ['n', number, number]
  | readonly ['h', SavedHandle]
  | readonly ['d', SavedFolder]
  | readonly ['c', number, ContentJson]
  | readonly ['w', number, number, number, string, boolean, number]
  | readonly ['l', number, number, number]
  | readonly ['r', number, string]

/** What a driver wrote down, put together. */
export interface Restored {
  readonly inodes: readonly SavedInode[]
  readonly handles: readonly SavedHandle[]
  readonly folders: readonly SavedFolder[]
  /** by node number */
  readonly contents: ReadonlyMap<number, SavedContent>
  /** Answers that the kernel may not have got, by the number of the request. */
  readonly decided: ReadonlyMap<number, Buffer>
  /** The last numbers that were given: to a node, a handle, a folder. */
  readonly last: readonly [number, number, number]
}

const HEAD = 20
const TAIL = Buffer.from('\nend\n')

/** A line of kind `i` as its text: a listing makes thousands. */
export function inodeText(table: InodeTable, inode: Inode): string {
  const { nodeid, parent, name, entry, lookups, unlinked, hidden, retired, newMode } = inode
  const p = parent === undefined ? '' : `"p":${parent.nodeid},`
  const m = newMode === undefined ? '' : `,"m":${newMode}`
  const is = `${table.stands(inode)},${unlinked},${hidden},${retired}`
  return `["i",{"n":${nodeid},${p}"name":${quoted(name)},"e":${entryText(entry)},"l":${lookups},"is":[${is}]${m}}]`
}

export function contentLine({ nodeid, content }: Inode): Line {
  if (content === undefined) return ['C', nodeid]
  const saved = content.save()
  const { mtime, ...rest } = saved
  return [
    'c',
    nodeid,
    {
      ...rest,
      written: flat(saved.written),
      dirty: flat(saved.dirty),
      writtenAt: String(saved.writtenAt),
      ...(mtime !== undefined && { mtime: String(mtime) }),
      unanswered: saved.unanswered.map((batch) => ({ ...batch, mtime: String(batch.mtime) })),
    },
  ]
}

function flat(spans: readonly Span[]): number[] {
  return spans.flatMap(({ start, end }) => [start, end])
}

function mapOf(flat: readonly number[]): ExtentMap {
  const map = new ExtentMap()
  for (let i = 0; i < flat.length; i += 2) map.add(flat[i] ?? 0, flat[i + 1] ?? 0)
  return map
}

/** The pieces of one frame: lengths and number, the changes (lines, or their text), `length` bytes of the answer's parts, the end. */
export function frame(
  lines: readonly (Line | string)[],
  unique: number,
  parts: readonly Uint8Array[],
  length: number,
): Uint8Array[] {
  const changes = Buffer.from(
    `[${lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join(',')}]`,
  )
  const head = Buffer.allocUnsafe(HEAD)
  head.writeUInt32LE(changes.length, 0)
  head.writeUInt32LE(length, 4)
  head.writeBigUInt64LE(BigInt(unique), 8)
  head.writeUInt32LE(changes.length ^ length, 16)
  // a single part may be a buffer longer than the answer
  const [first] = parts
  const answer = parts.length === 1 && first !== undefined ? [first.subarray(0, length)] : parts
  return [head, changes, ...(answer.length > 64 ? [Buffer.concat(answer)] : answer), TAIL]
}

/** undefined where there is no record. */
export function readFrames(file: string): Restored | undefined {
  if (!fs.existsSync(file)) return undefined
  const bytes = fs.readFileSync(file)
  const state = new State()
  let answer: readonly [number, Buffer] | undefined
  let frames = 0
  for (let at = 0; at + HEAD <= bytes.length;) {
    const size = bytes.readUInt32LE(at)
    const length = bytes.readUInt32LE(at + 4)
    const end = at + HEAD + size + length
    if (bytes.readUInt32LE(at + 16) !== (size ^ length) >>> 0) break
    if (!bytes.subarray(end, end + TAIL.length).equals(TAIL)) break
    for (const line of JSON.parse(bytes.toString('utf8', at + HEAD, at + HEAD + size)) as Line[]) state.take(line)
    const unique = Number(bytes.readBigUInt64LE(at + 8))
    answer = length === 0 ? undefined : [unique, Buffer.from(bytes.subarray(at + HEAD + size, end))]
    at = end + TAIL.length
    frames++
  }
  if (frames === 0) return undefined
  if (answer !== undefined) state.decided.set(...answer)
  return state.restored()
}

/** A content while its writes are added to it. */
interface Growing {
  readonly json: ContentJson
  readonly written: ExtentMap
  readonly dirty: ExtentMap
}

class State {
  readonly decided = new Map<number, Buffer>()
  readonly #inodes = new Map<number, InodeJson>()
  readonly #handles = new Map<number, SavedHandle>()
  readonly #folders = new Map<number, SavedFolder>()
  readonly #contents = new Map<number, Growing>()
  #last: [number, number, number] = [0, 0, 0]

  take(line: Line): void {
    switch (line[0]) {
      case 'i':
        this.#inodes.set(this.#atLeast(0, line[1].n), line[1])
        break
      case 'x':
        this.#inodes.delete(line[1])
        break
      case 'n':
        this.#count(line[1], line[2])
        break
      case 'h':
        this.#handles.set(this.#atLeast(1, line[1].fh), line[1])
        break
      case 'H':
        this.#handles.delete(line[1])
        break
      case 'd':
        this.#folders.set(this.#atLeast(2, line[1].fh), line[1])
        break
      case 'D':
        this.#folders.delete(line[1])
        break
      default:
        this.#takeRest(line)
    }
  }

  #takeRest(line: Extract<Line, readonly ['c' | 'C' | 'w' | 'l' | 'r', ...unknown[]]>): void {
    if (line[0] === 'c') this.#content(line[1], line[2])
    else if (line[0] === 'C') this.#contents.delete(line[1])
    else if (line[0] === 'w') this.#write(line)
    else if (line[0] === 'l') this.#last = [line[1], line[2], line[3]]
    else this.decided.set(line[1], Buffer.from(line[2], 'base64'))
  }

  #atLeast(which: 0 | 1 | 2, number: number): number {
    this.#last[which] = Math.max(this.#last[which], number)
    return number
  }

  #count(nodeid: number, lookups: number): void {
    const inode = this.#inodes.get(nodeid)
    if (inode !== undefined) this.#inodes.set(nodeid, { ...inode, l: lookups })
  }

  #content(nodeid: number, json: ContentJson): void {
    this.#contents.set(nodeid, { json, written: mapOf(json.written), dirty: mapOf(json.dirty) })
  }

  #write([, nodeid, start, end, writtenAt, appended, spool]: Extract<Line, readonly ['w', ...unknown[]]>): void {
    const content = this.#contents.get(nodeid)
    if (content === undefined) return
    content.written.add(start, end)
    content.dirty.add(start, end)
    const { mtime: _, ...rest } = content.json
    const length = Math.max(rest.length, end)
    const json = { ...rest, length, touched: true, writtenAt, appended, spool }
    this.#contents.set(nodeid, { ...content, json })
  }

  restored(): Restored {
    return {
      inodes: [...this.#inodes.values()].map(inodeOf),
      handles: [...this.#handles.values()].filter(({ nodeid }) => nodeid === 1 || this.#inodes.has(nodeid)),
      folders: [...this.#folders.values()].filter(({ nodeid }) => nodeid === 1 || this.#inodes.has(nodeid)),
      contents: new Map([...this.#contents].map(([nodeid, growing]) => [nodeid, contentOf(growing)])),
      decided: this.decided,
      last: this.#last,
    }
  }
}

function inodeOf({ n, p, name, e, l, is: [stands, unlinked, hidden, retired], m }: InodeJson): SavedInode {
  const parent = { ...(p !== undefined && { parent: p }), ...(m !== undefined && { newMode: m }) }
  return { nodeid: n, ...parent, name, entry: entryFromJson(e), lookups: l, stands, unlinked, hidden, retired }
}

function contentOf({ json, written, dirty }: Growing): SavedContent {
  const { mtime, ...rest } = json
  return {
    ...rest,
    written: written.spans,
    dirty: dirty.spans,
    writtenAt: BigInt(json.writtenAt),
    ...(mtime !== undefined && { mtime: BigInt(mtime) }),
    unanswered: json.unanswered.map((batch) => ({ ...batch, mtime: BigInt(batch.mtime) })),
  }
}
