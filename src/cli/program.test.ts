import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runProgram } from '../../test/servers/testbed.ts'
import { version } from '../telemetry/version.ts'

test('--version prints the version of package.json', async () => {
  assert.deepEqual(await runProgram(['--version']), { code: 0, out: `${version}\n`, err: '' })
})

test('--help names every command and the options of run, with examples and exit codes', async () => {
  const { code, out } = await runProgram(['--help'])
  assert.equal(code, 0)
  for (const word of [
    'run',
    'check',
    'explain',
    'state',
    'quarantine',
    '--once',
    '--dry-run',
    '--config',
    'Examples:',
    'Exit codes:',
  ]) {
    assert.ok(out.includes(word), word)
  }
})

test('each command has its own help', async () => {
  for (const words of [
    'run',
    'check',
    'explain',
    'state show',
    'state set',
    'state reset',
    'quarantine list',
    'quarantine show',
    'quarantine requeue',
  ]) {
    const { code, out } = await runProgram([...words.split(' '), '--help'])
    assert.equal(code, 0)
    assert.ok(out.startsWith(`Usage: s3-streamer ${words} [options]`), out)
  }
})

const wrong: ReadonlyArray<readonly [string, RegExp]> = [
  ['chekc', /no command "chekc": did you mean check\?/],
  ['florb', /no command "florb": there is run, check, reload, doctor, /],
  ['my.yaml', /given with --config my\.yaml/],
  ['state shwo', /unknown command 'shwo'[\s\S]*show/],
  ['run --onec', /unknown option '--onec'[\s\S]*--once/],
  ['state set', /missing required argument 'time'/],
  ['explain', /missing required argument/],
  ['--config', /argument missing/],
  ['quarantine show abc', /'abc' is invalid[\s\S]*quarantine list/],
  ['quarantine requeue 1 x', /'x' is invalid/],
  ['quarantine requeue', /say which entries/],
  ['state', /Usage: s3-streamer state/],
]
for (const [line, message] of wrong) {
  test(`"${line}" ends with 2 and says what is wrong`, async () => {
    const { code, out, err } = await runProgram(line.split(' '))
    assert.equal(code, 2)
    assert.equal(out, '')
    assert.match(err, message)
  })
}

test('without a configuration file, it says how to name one', async () => {
  for (const command of [[], ['check'], ['state', 'show'], ['quarantine', 'list'], ['explain', 'some/key']]) {
    const { code, err } = await runProgram([...command, '-c', '/nonexistent/c.yaml'])
    assert.equal(code, 2)
    assert.match(err, /\/nonexistent\/c\.yaml: .*no such file.*--config/)
  }
})

test('options may stand before the command', async () => {
  const { code, err } = await runProgram(['--config', '/nonexistent/c.yaml', 'state', 'show', '--json'])
  assert.equal(code, 2)
  assert.match(err, /^\/nonexistent\/c\.yaml: cannot read the configuration/)
})
