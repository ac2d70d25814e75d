import assert from 'node:assert/strict'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { test } from 'node:test'
import { nearestFolder } from './nearest-folder.ts'

test('a folder that is there is its own nearest one; of one that is not, the last that is', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 's3-streamer-nearest-')))
  try {
    assert.equal(nearestFolder(folder), folder)
    assert.equal(nearestFolder(join(folder, 'a', 'b', 'c')), folder)
    assert.equal(nearestFolder(relative(process.cwd(), join(folder, 'a'))), folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
  assert.equal(nearestFolder('/no-such-folder-here/a/b'), '/')
})
