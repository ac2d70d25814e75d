import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FileTree } from '../../test/fakes/copy.ts'
import { ledgerIn, newFolder } from '../../test/fakes/pipeline.ts'
import type { ListedObject } from '../core/component.ts'
import { nothingCounted } from '../core/delivery.ts'
import { StreamError } from '../core/errors.ts'
import type { CopyRequest } from './copy-request.ts'
import { CopySource } from './copy-source.ts'

const never = new AbortController().signal
const once = { soft: never, hard: never, once: true }

async function withSource(
  files: Readonly<Record<string, Buffer>>,
  only: CopyRequest['only'],
  act: (source: CopySource, tree: FileTree) => Promise<void>,
): Promise<void> {
  await using ledger = ledgerIn(newFolder())
  const tree = new FileTree(ledger, files)
  await act(new CopySource(tree, only), tree)
}

const three = { 'in/a': Buffer.alloc(3), 'in/b': Buffer.alloc(4), 'in/c': Buffer.alloc(5) }

test('everything is listed ahead, so that the total is known while the first object is copied', () =>
  withSource(three, undefined, async (source) => {
    const objects = source.objects(once)
    assert.equal((await objects.next()).value?.key, 'in/a')
    while (!source.progress.complete) await new Promise(setImmediate)
    assert.deepEqual([source.progress.found, source.foundBytes], [3, 12])
    const rest: string[] = []
    for await (const { key } of objects) rest.push(key)
    assert.deepEqual(rest, ['in/b', 'in/c'])
  }))

test('the total is known, too, when the source has listed all and waits for what it gave', () =>
  withSource(three, undefined, async (source, tree) => {
    const { objects } = tree
    const stop = new AbortController()
    tree.objects = async function* (o) {
      yield* objects.call(tree, o)
      tree.progress.complete = true
      await new Promise((resolve) => o.soft.addEventListener('abort', resolve))
    }
    const given = source.objects({ ...once, soft: stop.signal })
    for (let i = 0; i < 3; i += 1) await given.next()
    const last = given.next()
    while (!source.progress.complete) await new Promise(setImmediate)
    stop.abort(new Error('enough'))
    assert.equal((await last).done, true)
  }))

test('where a single file is meant, a folder is refused', () =>
  withSource({ in: Buffer.from('x') }, { file: 'in' }, async (source) => {
    const given: ListedObject[] = []
    for await (const object of source.objects(once)) given.push(object)
    assert.deepEqual(
      given.map(({ key }) => key),
      ['in'],
    )
    await withSource(three, { file: 'in' }, async (folder) => {
      await assert.rejects(folder.objects(once).next(), { code: 'config.invalid', message: /SOURCE is a folder/ })
    })
  }))

test('one object of a bucket is given under its name; while it changes it is given again, but not for ever', () =>
  withSource(three, { key: 'in/a' }, async (source, tree) => {
    const find = async (): Promise<ListedObject> => {
      versions += 1
      return { id: `b/in/a@${versions}`, bucket: 'b', key: 'in/a', size: 3, timeMs: 0, lastModifiedMs: 0 }
    }
    let versions = 0
    tree.find = find
    const given: string[] = []
    for await (const object of source.objects(once)) {
      given.push(`${object.path} ${object.id}`)
      source.finished(object, 'replaced', nothingCounted)
    }
    assert.deepEqual(given.at(-1), 'a b/in/a@5')
    assert.equal(source.progress.failed, 1)
  }))

test('a key that is not there says what to write for a folder', () =>
  withSource(three, { key: 'in' }, async (source, tree) => {
    tree.find = async () => {
      throw new StreamError('source.vanished', 'cannot find in')
    }
    await assert.rejects(source.objects(once).next(), { code: 'source.access', message: /end SOURCE with \// })
  }))

test('what fails while listing is thrown after what was found before', () =>
  withSource(three, undefined, async (source, tree) => {
    const { objects } = tree
    tree.objects = async function* (o) {
      yield* objects.call(tree, o)
      throw new StreamError('source.access', 'cannot list')
    }
    const given: string[] = []
    await assert.rejects(
      async () => {
        for await (const { key } of source.objects(once)) given.push(key)
      },
      { message: 'cannot list' },
    )
    assert.equal(given.length, 3)
  }))

test('a soft stop ends it, also while it waits for the list', () =>
  withSource({}, undefined, async (source, tree) => {
    const stop = new AbortController()
    tree.objects = async function* ({ soft }) {
      await new Promise((resolve) => soft.addEventListener('abort', resolve))
    }
    setImmediate(() => stop.abort(new Error('stop')))
    for await (const object of source.objects({ ...once, soft: stop.signal })) assert.fail(object.key)
  }))
