/** `npm run docs`: writes docs/reference. With `--check` it writes nothing and exits with 1 if a page is not as it should be. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { registry } from '../registry.ts'
import { metricCatalogue } from '../telemetry/metric-catalogue.ts'
import { renderReference } from './render.ts'

const directory = fileURLToPath(new URL('../../docs/reference', import.meta.url))
const checkOnly = process.argv.includes('--check')

const pages = renderReference(registry, metricCatalogue)
const present = filesIn(directory)
const drift = [
  ...[...pages].filter(([name, text]) => present.get(name) !== text).map(([name]) => name),
  ...[...present.keys()].filter((name) => !pages.has(name)),
]
for (const name of drift) {
  process.stdout.write(`${checkOnly ? 'not up to date' : 'written'}: docs/reference/${name}\n`)
  if (checkOnly) continue
  const path = join(directory, name)
  const text = pages.get(name)
  mkdirSync(dirname(path), { recursive: true })
  if (text === undefined) rmSync(path)
  else writeFileSync(path, text)
}
if (checkOnly && drift.length > 0) {
  process.stdout.write('run `npm run docs`\n')
  process.exitCode = 1
}

function filesIn(root: string): Map<string, string> {
  mkdirSync(root, { recursive: true })
  const names = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    names.map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return [path.slice(root.length + 1).replaceAll('\\', '/'), readFileSync(path, 'utf8')]
    }),
  )
}
