/** Who may import whom (architecture: "Who may import whom"). Reads every import: static, dynamic, side-effect, re-export, type. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'

/** A layer to those it may import beside itself. A name that ends in .ts is one file. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'src/main.ts': ['src/cli'],
  'src/cli': ['src/app.ts', 'src/config.ts', 'src/environment.ts', 'src/vospace', 'mount', 'src/identity'],
  'src/environment.ts': [],
  'src/app.ts': ['src'],
  'src/app-backends.ts': ['src'],
  'src/app-trees.ts': ['src'],
  'src/backend-process.ts': ['src'],
  'src/app-people.ts': ['src'],
  'src/app-jobs.ts': ['src'],
  'src/app-groups.ts': ['src'],
  'src/app-audit.ts': ['src'],
  'src/app-numbers.ts': ['src'],
  'src/app-partitions.ts': ['src'],
  'src/config-posix-mapper.ts': [],
  'src/config-backends.ts': ['src/vospace'],
  'src/config-listen.ts': [],
  'src/config-partitions.ts': ['src/vospace'],
  'src/config.ts': [
    'src/environment.ts',
    'src/config-posix-mapper.ts',
    'src/config-backends.ts',
    'src/config-accounts.ts',
    'src/config-listen.ts',
    'src/config-partitions.ts',
    'src/config-tokens.ts',
    'src/vospace',
  ],
  'src/config-tokens.ts': [],
  'src/config-accounts.ts': ['src/vospace'],
  'src/log-file.ts': [],
  'src/audit-log.ts': ['src/identity'],
  'src/health.ts': ['src/backend/backend.ts', 'src/vospace'],
  'src/http': ['src/space', 'src/codec', 'src/identity', 'src/vospace'],
  'src/space': ['src/backend/backend.ts', 'src/jobs', 'src/identity', 'src/store', 'src/vospace'],
  'src/jobs': ['src/store', 'src/codec', 'src/vospace'],
  'src/identity': ['src/store', 'src/codec', 'src/vospace'],
  'src/backend/backend.ts': [
    'src/backend/trash.ts',
    'src/backend/arrivals.ts',
    'src/backend/imports.ts',
    'src/vospace',
  ],
  'src/backend/arrivals.ts': ['src/backend/backend.ts', 'src/vospace'],
  'src/backend/imports.ts': ['src/backend/backend.ts', 'src/vospace'],
  'src/backend/trash.ts': ['src/vospace'],
  'src/backend': ['src/backend/backend.ts', 'src/backend/trash.ts', 'src/vospace'],
  'src/backend/posix': [
    'src/backend/backend.ts',
    'src/backend/trash.ts',
    'src/backend',
    'src/libc',
    'src/libc/errno.ts',
    'src/vospace',
  ],
  'src/backend/s3': ['src/backend/backend.ts', 'src/backend/trash.ts', 'src/backend', 'src/store', 'src/vospace'],
  'src/backend/apart': ['src/backend/backend.ts', 'src/backend/trash.ts', 'src/backend', 'src/vospace'],
  'src/backend/cephfs': [
    'src/backend/backend.ts',
    'src/backend/trash.ts',
    'src/backend/posix',
    'src/backend',
    'src/libc',
    'src/vospace',
  ],
  'src/store': ['src/vospace'],
  'src/codec': ['src/vospace'],
  'src/libc': ['src/libc/errno.ts', 'src/vospace'],
  'src/libc/errno.ts': [],
  'src/vospace': [],
  'mount/fuse': ['src/libc', 'src/libc/errno.ts'],
  'mount/session': ['src/libc', 'src/libc/errno.ts', 'src/identity', 'src/codec', 'src/vospace', 'mount'],
  mount: ['src/codec', 'src/libc/errno.ts', 'src/vospace'],
}

/** Permissions that reach into the narrower layers below. */
const BELOW_TOO = ['src', 'mount', 'src/cli']

const within = (path: string, layer: string): boolean => path === layer || path.startsWith(`${layer}/`)

/** The most specific layer a file is in. */
function layerOf(file: string): string | undefined {
  return Object.keys(MAY_IMPORT)
    .filter((layer) => within(file, layer))
    .sort((a, b) => b.length - a.length)[0]
}

/** A layer's permission covers its own files, and for mount and src/app.ts what lies below them too: the concrete classes. */
function reaches(target: string, allowed: string): boolean {
  return within(target, allowed) && (layerOf(target) === allowed || BELOW_TOO.includes(allowed))
}

function sources(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(dir, file))
}

/** Relative module names in a source text, however they are imported. */
export function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const found = code.matchAll(/(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\()\s*(['"`])(\.[^'"`]*)\1/g)
  return [...found].map((match) => match[2] ?? '')
}

function wrongImports(file: string): string[] {
  const layer = layerOf(file)
  if (layer === undefined) return [`${file} stands in no layer of the table`]
  const allowed = [layer, ...(MAY_IMPORT[layer] ?? [])]
  return importsOf(readFileSync(file, 'utf8'))
    .map((to) => relative('.', join(dirname(file), to)))
    .filter((target) => !allowed.some((ok) => reaches(target, ok)))
    .map((target) => `${file} -> ${target}`)
}

t.test('imports point only downward', async (t) => {
  t.same([...sources('src'), ...sources('mount')].flatMap(wrongImports), [])
})

t.test('every kind of import is seen', async (t) => {
  const text = `import a from './a.ts'\nimport './b.ts'\nexport * from "./c.ts"\nawait import('./d.ts')\nimport type { X } from './e.ts'\n// from './f.ts'`
  t.same(importsOf(text), ['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts'])
})

t.test('no folder is named for nothing', async (t) => {
  const names = [...sources('src'), ...sources('mount')].flatMap((file) => dirname(file).split('/'))
  t.same(
    names.filter((name) => ['utils', 'common', 'helpers', 'types', 'shared', 'misc'].includes(name)),
    [],
  )
})
