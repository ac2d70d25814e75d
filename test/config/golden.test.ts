/** Whole files: those in valid/ load, those in invalid/ say exactly what stands beside them. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadConfig, readConfigFile } from '../../src/config/load.ts'
import { describeConfig } from '../../src/config/render.ts'
import { StreamError } from '../../src/core/errors.ts'
import { registry } from '../../src/registry.ts'

const here = import.meta.dirname
const examples = join(here, '../../examples')
/** UPDATE=1 writes what is said now; read the difference before it is committed. */
const update = process.env.UPDATE === '1'

function files(directory: string): string[] {
  const names = readdirSync(directory).filter((name) => name.endsWith('.yaml'))
  assert.ok(names.length > 0, `no files in ${directory}`)
  return names.sort()
}

function load(directory: string, name: string) {
  const text = readConfigFile(join(directory, name))
  const env = Object.fromEntries([...text.matchAll(/^# env: (\w+)=(.*)$/gm)].map((match) => [match[1], match[2]]))
  return loadConfig(text, { file: name, env, registry })
}

function compare(path: string, actual: string): void {
  if (update) writeFileSync(path, actual)
  assert.equal(actual, readFileSync(path, 'utf8'))
}

for (const name of files(join(here, 'valid'))) {
  test(`valid/${name} is in force as expected`, () => {
    const loaded = load(join(here, 'valid'), name)
    const warnings = loaded.warnings.map(({ where, path, message }) => `# ${where} ${path}: ${message}\n`)
    compare(join(here, 'valid', name.replace('.yaml', '.txt')), warnings.join('') + describeConfig(loaded))
  })
}

for (const name of files(join(here, 'invalid'))) {
  test(`invalid/${name} is refused in so many words`, () => {
    let message = ''
    assert.throws(
      () => load(join(here, 'invalid'), name),
      (error) => {
        assert.ok(error instanceof StreamError, String(error))
        assert.equal(error.code, 'config.invalid')
        assert.ok(Array.isArray(error.data.problems) && error.data.problems.length > 0)
        message = error.message
        return true
      },
    )
    compare(join(here, 'invalid', name.replace('.yaml', '.txt')), `${message}\n`)
  })
}

for (const name of files(examples)) {
  test(`examples/${name} loads without a warning`, () => {
    assert.deepEqual(load(examples, name).warnings, [])
  })
}
