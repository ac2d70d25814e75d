import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FileBed } from '../../test/servers/file-bed.ts'
import type { Finding } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'

const live = { signal: new AbortController().signal }

async function withFolder(config: object, act: (bed: FileBed, examine: () => Promise<Finding[]>) => Promise<void>) {
  await using bed = new FileBed()
  await bed.start({ config })
  await act(bed, async () => {
    const findings: Finding[] = []
    for await (const finding of bed.source.examine(live)) findings.push(finding)
    return findings
  })
}

const troubles = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level !== 'ok').map(({ level, text }) => `${level}: ${text}`)

test('a folder with files to be read is good, and the newest file is told', () =>
  withFolder({ include: '*.log' }, async (bed, examine) => {
    for (const name of ['a.log', 'b.log', 'c.txt']) bed.put(name, 'x')
    const findings = await examine()
    assert.deepEqual(troubles(findings), [])
    const files = findings.find(({ keys }) => keys)
    assert.match(
      files?.text ?? '',
      /^2 files, 1 are passed over by include, exclude or finished; the newest is \/.*\/b\.log/,
    )
    assert.equal(files?.keys?.length, 2)
  }))

test('a folder with nothing to be read is told, and one that is not there is a problem', () =>
  withFolder({ include: '*.log' }, async (bed, examine) => {
    bed.put('c.txt', 'x')
    assert.match(troubles(await examine())[0] ?? '', /^warning: no file is there to be read, 1 are passed over/)
    bed.fault = (call) => {
      if (call === 'resolve')
        throw new StreamError('source.access', 'cannot find /x: there is no such folder (check `path`)')
    }
    const [problem] = await examine()
    assert.deepEqual([problem?.level, problem?.advice], ['problem', 'check `path`'])
  }))

test('files that may be taken while they grow are told', () =>
  withFolder({ after: 'delete', finished: { temporary: [] } }, async (bed, examine) => {
    bed.put('a', 'x')
    const findings = await examine()
    assert.match(troubles(findings)[0] ?? '', /^warning: after: delete with a file that is being written/)
    assert.ok(findings.some(({ text }) => text.endsWith('can be written to, as after: delete needs')))
    assert.deepEqual(bed.files().length, 1)
  }))
