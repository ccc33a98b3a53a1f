/** What CephFS says of a directory, and is told, in attributes that only it has (`ceph.*`, absent from listings). */
import { closeSync, mkdirSync, openSync, readdirSync, rmdirSync } from 'node:fs'
import { O_PATH, openBeneath } from '../../libc/openat.ts'
import { getXattr, setXattr } from '../../libc/xattr.ts'
import { type NodePath } from '../../vospace/path.ts'

/** The directories below a root, each opened for one look: no symlink on the way is followed. */
export class CephDirectories {
  #root = -1

  /** Throws errors of the kernel. */
  open(root: string): void {
    this.close()
    this.#root = openSync(root, O_PATH)
  }

  close(): void {
    if (this.#root >= 0) closeSync(this.#root)
    this.#root = -1
  }

  /** Runs a look at the directory of a container. Throws LibcError. */
  at<T>(container: NodePath, look: (directory: CephDirectory) => T): T {
    const fd = openBeneath(this.#root, container === '/' ? '.' : container.slice(1))
    try {
      return look(new CephDirectory(`/proc/self/fd/${fd}/.`))
    } finally {
      closeSync(fd)
    }
  }
}

export class CephDirectory {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  /** Bytes of all files below, as of some seconds ago; undefined: this is no CephFS. */
  get bytes(): number | undefined {
    return this.#number('ceph.dir.rbytes')
  }

  /** Files and directories below, itself included. */
  get entries(): number | undefined {
    return this.#number('ceph.dir.rentries')
  }

  /** Bytes; undefined: none is set here. */
  get quota(): number | undefined {
    return this.#number('ceph.quota.max_bytes') || undefined
  }

  set quota(bytes: number | undefined) {
    this.#set('ceph.quota.max_bytes', String(bytes ?? 0))
  }

  /** Nodes; undefined: none is set here. */
  get fileQuota(): number | undefined {
    return this.#number('ceph.quota.max_files') || undefined
  }

  /** The data pool of files that are made from now on; undefined: none is said here. */
  get pool(): string | undefined {
    return getXattr(this.#file, 'ceph.dir.layout.pool')?.toString()
  }

  set pool(name: string) {
    this.#set('ceph.dir.layout.pool', name)
  }

  /** Those of this directory itself, the oldest first; `created` in milliseconds since 1970. */
  get snapshots(): { readonly name: string; readonly created: number }[] {
    const folder = `${this.#file}/.snap`
    // those of directories above are there too, as _NAME_INODE
    const names = readdirSync(folder).filter((name) => !name.startsWith('_'))
    const found = names.map((name) => {
      const [seconds, rest] = (getXattr(`${folder}/${name}`, 'ceph.snap.btime')?.toString() ?? '').split('.')
      return { name, created: Number(seconds) * 1000 + Math.floor(Number(rest) / 1e6) }
    })
    return found.sort((a, b) => a.created - b.created)
  }

  makeSnapshot(name: string): void {
    mkdirSync(`${this.#file}/.snap/${name}`)
  }

  removeSnapshot(name: string): void {
    rmdirSync(`${this.#file}/.snap/${name}`)
  }

  #set(name: string, value: string): void {
    setXattr(this.#file, name, Buffer.from(value))
  }

  #number(name: string): number | undefined {
    const value = getXattr(this.#file, name)
    return value === undefined ? undefined : Number(value.toString())
  }
}
