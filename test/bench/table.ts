/** The rows of the bench as a table for people. */
import { type BenchRow } from './row.ts'

export function tableOf(rows: readonly BenchRow[]): string {
  const cells = rows.map((row) => [
    row.name,
    figure(row.ours),
    figure(row.peer),
    row.unit,
    row.ratio.toFixed(2),
    row.target ?? '',
  ])
  const all = [['case', 'karst', 'peer', 'unit', 'ratio', 'target'], ...cells]
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((line) => (line[column] ?? '').length)))
  const lines = all.map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
  return lines.map((line) => line.trimEnd()).join('\n')
}

function figure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2)
}
