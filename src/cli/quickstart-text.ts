/** What the quickstart prints: lines that work when pasted. */
import { type QuickstartReport } from './quickstart.ts'

/** `why` is one sentence when nothing is mounted; `samples`: the nodes that the quickstart makes are there. */
export function nextSteps(report: QuickstartReport, why: string | undefined, samples: boolean): string {
  const ca = `curl -s --cacert ${quoted(report.ca)}`
  const curl = `${ca} --cert ${quoted(report.users['alice']?.proxy ?? '')}`
  const home = samples ? '/home/alice' : ''
  return [
    `karst serves ${report.url} (${report.resourceId})`,
    '',
    'List a container, put a file, read some of it:',
    `  ${curl} ${report.url}/nodes/`,
    `  echo 'hello from alice' | ${curl} -T - ${report.url}/files${home}/note.txt`,
    `  ${curl} -r 0-4 ${report.url}/files${home}/note.txt`,
    ...(samples
      ? ['A public file needs no certificate:', `  ${ca} -o stars.fits ${report.url}/files/datasets/sample/stars.fits`]
      : []),
    '',
    ...mountSteps(report, why, `${curl} ${report.url}/files${home}/hello.txt`),
    '',
    'Ctrl-C stops it; the state is kept for the next start.',
  ].join('\n')
}

function mountSteps({ mount }: QuickstartReport, why: string | undefined, readBack: string): string[] {
  if (mount === null) return [`Not mounted: ${why ?? 'not asked for'}`]
  return [
    `${mount.user}'s files are mounted; try, in another terminal:`,
    `  ls -la ${quoted(mount.path)}`,
    `  echo 'written through the mount' > ${quoted(`${mount.path}/hello.txt`)}`,
    `  ${readBack}`,
  ]
}

/** For a POSIX shell. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
