/** What is under way on two mounts while things are killed, and what must be there in the end. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run as outcome } from '../mount/driver-harness.ts'
import { work, type Work } from '../mount/killing.ts'
import { programOf } from '../posix/programs.ts'
import { FSX } from '../posix/suite.ts'
import { type Place } from './place.ts'

const WRITER = join(import.meta.dirname, '../mount/model-writer.ts')
/** milliseconds; the end comes by a file, much earlier */
const NEVER = '100000000'

/**
 * Commits, pushes each to the repository that both share, clones, packs and checks, at least once and until the file `$4` is there. A line
 * for each push that was acknowledged: its commit.
 * Each has a history of its own, also where the other has pushed before it cloned.
 * Of what the other mount pushes at the same moment the name may be seen up to a second before the objects (SEMANTICS.md `attribute-age`): that push is made again.
 */
const GIT = `git() { command git -c user.email=a@example.org -c user.name=alice -c gc.auto=0 -c safe.directory='*' "$@"; }
export GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent; home=$1 who=$2 folder=$3 stop=$4; cd "$home"
push() { git push -q origin "$who"; }
git clone -q --no-local shared.git "work-$who"; cd "work-$who"; git checkout -q --orphan "$who"
while :; do
  for i in 1 2 3; do head -c 3000 /dev/urandom | base64 > "f$i"; done; git add .; git commit -qm more
  push 2> "$folder/said-$who" || { cat "$folder/said-$who"; grep -q 'bad object refs/heads/' "$folder/said-$who"; sleep 2; push; }
  git rev-parse HEAD >> "$folder/pushed-$who"
  test -z "$(git status --porcelain)"
  if test $(($(wc -l < "$folder/pushed-$who") % 4)) = 0; then
    git fetch -q; git gc -q --prune=now; git fsck --strict
    cd ..; git clone -q --no-local -b "$who" shared.git "fresh-$who"; rm -rf "fresh-$who"; cd "work-$who"
  fi
  if test -e "$stop"; then break; fi
done`

/** fsx with one seed after the other, at least once and until the file `$5` is there; each checks all that it reads. Says how many. */
const FSX_RUNS = `fsx=$1 rules=$2 file=$3 seed=$4 stop=$5; done=0; cd "$(dirname "$rules")"
until test "$done" -gt 0 -a -e "$stop"; do
  "$fsx" -f "$rules" -S $((seed + done)) -N 400 -P . "$file" > "$rules.said" 2>&1 || { echo "seed $((seed + done))"; tail -n 40 "$rules.said"; exit 1; }
  done=$((done + 1))
done; echo "$done"`

export class Load {
  readonly #place: Place
  readonly #work: Work[] = []
  readonly #stop: string

  constructor(place: Place) {
    this.#place = place
    this.#stop = join(place.folder, 'stop')
  }

  async start(seed: number): Promise<void> {
    const { homes, folder } = this.#place
    const made = await outcome('git', ['init', '-q', '--bare', '-b', 'git-1', join(homes[0] ?? '', 'shared.git')])
    if (made.status !== 0) throw new Error(made.output)
    for (const [index, home] of homes.entries()) {
      const name = `writer-${index + 1}`
      const writer = ['--disable-warning=ExperimentalWarning', WRITER, join(home, name), String(seed + index), NEVER]
      await outcome('mkdir', [join(home, name)])
      this.#work.push(work(name, process.execPath, [...writer, this.#stop]))
      const who = `git-${index + 1}`
      this.#work.push(work(who, 'sh', ['-euc', GIT, 'sh', home, who, folder, this.#stop]))
      const fsx = `fsx-${index + 1}`
      const rules = join(folder, `${fsx}.toml`)
      writeFileSync(rules, FSX)
      const words = [programOf('fsx'), rules, join(home, fsx), String(seed + index * 1000), this.#stop]
      this.#work.push(work(fsx, 'sh', ['-euc', FSX_RUNS, 'sh', ...words]))
    }
  }

  /** Programs that have ended too early, with what they said. */
  fallen(): string[] {
    return this.#work
      .filter(({ child }) => child.exitCode !== null || child.signalCode !== null)
      .map(({ name }) => name)
  }

  /** Ends the programs; answers what each had to say, and is told each finding: what it is about, and what is wrong with it. */
  async end(found: (what: string, wrong: string | undefined) => void): Promise<void> {
    writeFileSync(this.#stop, '')
    for (const { name, done } of this.#work) {
      const { status, output } = await done
      found(`${name} saw no error`, status === 0 ? undefined : output.slice(-3000))
      if (status === 0 && name.startsWith('writer')) await this.#checkFiles(name, output, found)
      if (status === 0 && name.startsWith('fsx')) await this.#checkFsx(name, output, found)
    }
    await this.#checkPushes(found)
  }

  async #checkFiles(name: string, output: string, found: (what: string, wrong?: string) => void): Promise<void> {
    const [steps = '', sums = '{}'] = output.trim().split('\n')
    const wanted = JSON.parse(sums) as Record<string, string>
    const lines = Object.entries(wanted).map(([file, sum]) => `${sum}  ${file}\n`)
    const folder = join(this.#place.folder, `${name}.sums`)
    writeFileSync(folder, lines.join(''))
    for (const home of this.#place.homes) {
      // another process: this one must not wait for a mount whose gateway it starts
      const check = `cd "$1"; sha256sum -c --strict --quiet "$2"; test "$(ls | wc -l)" = ${lines.length}`
      const { status, output: said } = await outcome('sh', ['-euc', check, 'sh', join(home, name), folder])
      found(`${name}: what it wrote in ${steps} steps, in ${home.slice(-6)}`, status === 0 ? undefined : said)
    }
    this.#wanted.set(name, wanted)
  }

  /** The file of the last run is the same through both mounts. */
  async #checkFsx(name: string, output: string, found: (what: string, wrong?: string) => void): Promise<void> {
    const files = this.#place.homes.map((home) => join(home, name))
    const { status, output: said } = await outcome('cmp', files)
    found(`${name}: ${output.trim()} runs, the last seen through both mounts`, status === 0 ? undefined : said)
  }

  readonly #wanted = new Map<string, Record<string, string>>()

  /** Every commit whose push was acknowledged is in the shared repository, which is sound, seen through either mount. */
  async #checkPushes(found: (what: string, wrong?: string) => void): Promise<void> {
    const { homes, folder } = this.#place
    const check = `git() { command git -c safe.directory='*' "$@"; }
      same() { test "$2" = "$3" || { echo "$1 of $who: $2, and it was told $3"; exit 1; }; }; cd "$1/shared.git"; git fsck --strict --no-dangling
      for who in git-1 git-2; do
        same commit "$(git rev-parse "$who")" "$(tail -n 1 "$2/pushed-$who")"
        same count "$(git rev-list "$who" | wc -l)" "$(wc -l < "$2/pushed-$who")"
      done; cat "$2"/pushed-* | wc -l`
    for (const home of homes) {
      const { status, output } = await outcome('sh', ['-euc', check, 'sh', home, folder])
      found(`${output.trim()} pushes, in ${home.slice(-6)}`, status === 0 ? undefined : output)
    }
  }

  /** What the writers were told is kept is on the gateway's disk, when everything has ended. */
  checkTree(found: (what: string, wrong?: string) => void): void {
    for (const [name, wanted] of this.#wanted) {
      const folder = join(this.#place.tree, name)
      const got = Object.fromEntries(
        readdirSync(folder).map((file) => [file, sha256(readFileSync(join(folder, file)))]),
      )
      const differ = [...new Set([...Object.keys(got), ...Object.keys(wanted)])].filter(
        (file) => got[file] !== wanted[file],
      )
      found(
        `${name}: ${Object.keys(wanted).length} files on the gateway's disk`,
        differ.length === 0 ? undefined : differ.join(),
      )
    }
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
