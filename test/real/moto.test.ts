import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { CopyObjectCommand, DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { Deliveries, type Pipeline, until } from './deliveries.ts'

const bed = await Deliveries.start()
after(() => bed[Symbol.asyncDispose]())

const keys = [
  'plain.log',
  'with space/a b.log',
  'plus+and+plus.log',
  'per%cent %20 %2B %zz.log',
  'ümläut/日本語/🚚.log',
  "marks !'()*&$@=;:,?#~^`|<>{}[].log",
  '../up/./down//twice.log',
  'quote " and \\ and back.log',
]

interface Run {
  readonly outcome: string
  readonly counts: Readonly<Record<string, number>>
}

const lastRun = async ({ run }: Pipeline): Promise<Run> => {
  const { stdout } = await run('history', '--json').ended
  return JSON.parse(stdout.split('\n')[0] as string) as Run
}
