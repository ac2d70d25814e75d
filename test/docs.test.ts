/** What the documents say exists: commands, flags, links, pages made from the code. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createCommands } from '../src/cli/program.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

const files = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]
const textOf = (file: string) => readFileSync(join(root, file), 'utf8')

/** Command lines of the streamer in blocks of shell and in `code`. */
function commandLines(file: string): string[] {
  const text = textOf(file)
  const blocks = [...text.matchAll(/^```(?:sh|bash|console)\n([\s\S]*?)^```/gm)].flatMap(([, block]) =>
    (block ?? '').split('\n'),
  )
  const inline = [...text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? '')
  return [...blocks, ...inline]
    .map((line) => /^(?:\$ )?(?:bin\/)?s3-streamer( .*)?$/.exec(line.trim()))
    .flatMap((found) => (found ? [(found[1] ?? '').replace(/\s#.*$/, '').trim()] : []))
}

/** Parses without running: every action is replaced. */
async function problemOf(line: string): Promise<string | undefined> {
  let err = ''
  const stderr = (text: string) => {
    err += text
  }
  const commands = createCommands({ stdout: () => undefined, stderr }, () => undefined)
  const quiet = (command: typeof commands) => {
    if (command.commands.length === 0 || command.name() === 'replay')
      command.action(() => undefined).allowExcessArguments(false)
    for (const below of command.commands) quiet(below as typeof commands)
  }
  quiet(commands)
  const words = line.match(/'[^']*'|"[^"]*"|\S+/g) ?? []
  try {
    await commands.parseAsync(words, { from: 'user' })
    return undefined
  } catch {
    return err
  }
}

test('every command and flag in the documents exists', async () => {
  const lines = files.flatMap((file) => commandLines(file).map((line) => ({ file, line })))
  assert.ok(lines.length > 15, 'the documents show commands')
  for (const { file, line } of lines) {
    // `s3-streamer quarantine` and `s3-streamer state` name a family of commands.
    if (['state', 'quarantine'].includes(line)) continue
    assert.equal(await problemOf(line), undefined, `${file}: s3-streamer ${line}`)
  }
})

test('a command or flag that does not exist would be found', async () => {
  for (const line of ['chekc', 'run --onec', 'state shw', 'quarantine show', 'run extra']) {
    assert.notEqual(await problemOf(line), undefined, line)
  }
})

test('every script that the documents run with npm exists', () => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
  for (const file of files) {
    for (const [, name] of textOf(file).matchAll(/npm run ([a-z:]+)/g))
      assert.ok(scripts[name ?? ''], `${file}: npm run ${name}`)
  }
})

test('every relative link leads to a file, and to a heading of it', () => {
  let links = 0
  for (const file of files) {
    const text = textOf(file).replaceAll(/^```[\s\S]*?^```/gm, '')
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (target === undefined || /^[a-z]+:/.test(target)) continue
      links += 1
      const [path = '', heading] = target.split('#')
      const file2 = path === '' ? file : relative(root, join(root, dirname(file), path))
      assert.ok(existsSync(join(root, file2)), `${file}: ${target}`)
      if (heading !== undefined) assert.ok(headingsOf(file2).includes(heading), `${file}: ${target}`)
    }
  }
  assert.ok(links > 15)
})

function headingsOf(file: string): string[] {
  return [...textOf(file).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

test('the reference pages are those that the code makes', () => {
  const script = join(root, 'src', 'config', 'write-reference.ts')
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--check'], { cwd: root, encoding: 'utf8' })
  assert.equal(status, 0, stdout + stderr)
})
