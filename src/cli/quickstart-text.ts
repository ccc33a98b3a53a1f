/** What the quickstart prints: lines that work when pasted. */
import { type QuickstartReport } from './quickstart.ts'

/** `why` is one sentence when nothing is mounted. */
export function nextSteps(report: QuickstartReport, why: string | undefined): string {
  const proxy = report.users['alice']?.proxy ?? ''
  const curl = `curl --cacert ${quoted(report.ca)} --cert ${quoted(proxy)}`
  const mounted =
    report.mount === null
      ? [`Not mounted: ${why ?? 'not asked for'}`]
      : [
          `${report.mount.user}'s files are mounted; try, in another terminal:`,
          `  ls -la ${quoted(report.mount.path)}`,
          `  echo 'written through the mount' > ${quoted(`${report.mount.path}/hello.txt`)}`,
          `  ${curl} ${report.url}/files${report.mount.path.endsWith('/alice') ? '/home/alice' : ''}/hello.txt`,
        ]
  return [
    `karst serves ${report.url} (${report.resourceId})`,
    '',
    'List a container, put a file, read some of it:',
    `  ${curl} ${report.url}/nodes/`,
    `  echo 'hello from alice' | ${curl} -T - ${report.url}/files/home/alice/note.txt`,
    `  ${curl} -r 0-4 ${report.url}/files/home/alice/note.txt`,
    'A public file needs no certificate:',
    `  curl --cacert ${quoted(report.ca)} -o stars.fits ${report.url}/files/datasets/sample/stars.fits`,
    '',
    ...mounted,
    '',
    'Ctrl-C stops it; the state is kept for the next start.',
  ].join('\n')
}

/** For a POSIX shell. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
