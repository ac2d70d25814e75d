/** versitygw, an S3 server written in Go (https://github.com/versity/versitygw), on a folder of its own. It checks signatures. */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, startProcess, stopProcess } from './process.ts'

export interface Versitygw {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly pid: number
  /** A bucket is a folder below it, an object a file. */
  readonly folder: string
  createBucket(name: string): Promise<void>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

/** Throws if test/real/setup was not run. */
export async function startVersitygw(): Promise<Versitygw> {
  const root = await mkdtemp(join(tmpdir(), 's3-streamer-versitygw-'))
  const folder = join(root, 'buckets')
  const sidecar = join(root, 'metadata')
  try {
    await mkdir(folder)
    await mkdir(sidecar)
    const port = await freePort()
    const endpoint = `http://127.0.0.1:${port}`
    const region = 'us-east-1'
    const [accessKeyId, secretAccessKey] = ['realtest', 'realtestsecret']
    const child = await startProcess(
      await binary(),
      // A sidecar: not every file system that tests run on has extended attributes. Keep-alive is off by default.
      [
        '--port',
        `127.0.0.1:${port}`,
        '--region',
        region,
        '--quiet',
        '--keep-alive',
        'posix',
        '--sidecar',
        sidecar,
        folder,
      ],
      endpoint,
      { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
    )
    return {
      endpoint,
      region,
      accessKeyId,
      secretAccessKey,
      pid: child.pid as number,
      folder,
      createBucket: async (name) => {
        await mkdir(join(folder, name))
      },
      stop: async () => {
        await stopProcess(child, 'SIGTERM')
        await rm(root, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(root, { recursive: true, force: true })
    throw error
  }
}

/** The newest that test/real/setup built. */
async function binary(): Promise<string> {
  const cache = process.env.S3_STREAMER_TEST_CACHE ?? fileURLToPath(new URL('.cache', import.meta.url))
  const names = await readdir(cache).catch(() => [])
  const name = names
    .filter((one) => one.startsWith('versitygw-'))
    .toSorted()
    .at(-1)
  if (name === undefined) throw new Error(`cannot find versitygw in ${cache}: run test/real/setup`)
  return join(cache, name)
}
