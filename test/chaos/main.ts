/**
 * `npm run test:chaos`: drivers, supervisors, the gateway and the network are killed at random under fsx, random writers that know what
 * must be there, and git, on two mounts. No program may see an error, and nothing that was acknowledged may be lost. `-- --kills N --seed N`.
 * Says what it kills as it does, and last `N passed, N failed, N skipped`.
 */
import { parseArgs } from 'node:util'
import { seeded } from '../mount/tree-harness.ts'
import { programOf } from '../posix/programs.ts'
import { Load } from './load.ts'
import { Place, VICTIMS, type Pick, type Victim } from './place.ts'

async function main(words: string[]): Promise<number> {
  const { values } = parseArgs({ args: words, options: { kills: { type: 'string' }, seed: { type: 'string' } } })
  const kills = Number(values.kills ?? 120)
  const seed = Number(values.seed ?? Date.now() % 1_000_000)
  if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed))
    throw new Error('--kills and --seed take numbers')
  console.log(`${kills} kills, --seed ${seed}`)
  // building it may take minutes, in which nothing else goes on here
  programOf('fsx')
  const place = new Place()
  const found = { passed: 0, failed: 0 }
  const tell = (what: string, wrong?: string): void => {
    found[wrong === undefined ? 'passed' : 'failed']++
    console.log(wrong === undefined ? `ok: ${what}` : `NOT OK: ${what}\n${wrong.replaceAll(/^/gm, '    ')}`)
  }
  try {
    await place.start()
    const load = new Load(place)
    await load.start(seed)
    const counts = await rage(place, load, kills, seeded(seed))
    await load.end(tell)
    const said = await place.stop()
    tell('drivers and gateway end, and had nothing to complain of', said.length === 0 ? undefined : said.join('\n'))
    load.checkTree(tell)
    const debris = place.debris()
    tell('nothing is left over in the tree', debris.length === 0 ? undefined : debris.join('\n'))
    console.log(`killed: ${VICTIMS.map((victim) => `${victim} ${counts[victim]}`).join(', ')}; seed ${seed}`)
  } finally {
    await place.dispose()
  }
  console.log(`\n${found.passed} passed, ${found.failed} failed, 0 skipped`)
  return found.failed === 0 ? 0 : 1
}

/** Kills until it is enough, or a program has fallen. */
async function rage(place: Place, load: Load, kills: number, pick: Pick): Promise<Record<Victim, number>> {
  const counts = { driver: 0, supervisor: 0, gateway: 0, network: 0 }
  const began = Date.now()
  await new Promise((done) => setTimeout(done, 1500))
  for (let kill = 1; kill <= kills; kill++) {
    // each kind comes early, whatever the seed: a short run is to have them all
    const victim = VICTIMS[kill <= VICTIMS.length ? kill - 1 : pick(VICTIMS.length)] ?? 'driver'
    const told = await place.strike(victim, pick)
    counts[victim]++
    console.log(`${((Date.now() - began) / 1000).toFixed(1)} s: ${kill}. ${told}`)
    const fallen = load.fallen()
    if (fallen.length > 0) {
      console.log(`${fallen.join()} ended too early`)
      break
    }
    await new Promise((done) => setTimeout(done, pick(3) === 0 ? pick(200) : 200 + pick(1000)))
  }
  return counts
}

process.exitCode = await main(process.argv.slice(2))
