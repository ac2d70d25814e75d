/**
 * The other side of a copy, in a process of its own: OpenSSH's sshd with one large file and many small ones, and versitygw.
 * Prints one line of JSON (see CopyServed), then serves until its stdin ends. Needs test/real/setup.
 *
 *     node bench/copy-servers.ts [scale=1]
 */
import { randomFillSync } from 'node:crypto'
import { mkdir, open, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Sshd } from '../test/real/sshd.ts'
import { startVersitygw } from '../test/real/versitygw.ts'

/** Files that are copied together. */
export interface CopyLoad {
  readonly title: string
  /** Their folder, as the SFTP server has it and on this machine. */
  readonly path: string
  readonly files: number
  readonly bytes: number
}

/** The first line of stdout. */
export interface CopyServed {
  readonly sftp: Pick<Sshd, 'host' | 'port' | 'username' | 'privateKeyFile' | 'knownHostsFile' | 'pid'>
  readonly s3: Omit<Awaited<ReturnType<typeof startVersitygw>>, 'createBucket' | 'stop'>
  readonly bucket: string
  readonly loads: readonly CopyLoad[]
}

const largeBytes = 2_000_000_000
const smallBytes = 100_000
const smallFiles = 2000
const pieceBytes = 2 ** 24

/** In memory if there is room for the files and one copy: a disk would set the pace, and differ from run to run. */
async function roomiest(bytes: number): Promise<string> {
  const memory = await statfs('/dev/shm').catch(() => undefined)
  return memory && memory.bavail * memory.bsize > bytes ? '/dev/shm' : tmpdir()
}

/** Random: nothing on the way can make it smaller. */
async function writeRandom(path: string, bytes: number): Promise<void> {
  await using file = await open(path, 'w')
  const piece = Buffer.allocUnsafe(Math.min(pieceBytes, bytes))
  for (let at = 0; at < bytes; at += piece.length) {
    await file.write(randomFillSync(piece), 0, Math.min(piece.length, bytes - at))
  }
}

async function largeLoad(folder: string, bytes: number): Promise<CopyLoad> {
  const path = join(folder, 'large')
  await mkdir(path)
  await writeRandom(join(path, 'large.bin'), bytes)
  return { title: `one file of ${(bytes / 1e9).toFixed(1)} GB`, path, files: 1, bytes }
}

async function smallLoad(folder: string, files: number): Promise<CopyLoad> {
  const path = join(folder, 'small')
  await mkdir(path)
  const body = Buffer.allocUnsafe(smallBytes)
  for (let i = 0; i < files; i += 1) await writeFile(join(path, `small-${i}.bin`), randomFillSync(body))
  return { title: `${files.toLocaleString('en-US')} files of 100 KB`, path, files, bytes: files * smallBytes }
}

const scale = Number(process.argv[2] ?? 1)
process.env.TMPDIR = await roomiest(3 * scale * largeBytes)
const [sshd, s3] = await Promise.all([Sshd.start(), startVersitygw()])
const bucket = 'bench'
await s3.createBucket(bucket)
const loads = [
  await largeLoad(sshd.files, Math.round(largeBytes * scale)),
  await smallLoad(sshd.files, Math.round(smallFiles * scale)),
]
await sshd.handOver()
const { host, port, username, privateKeyFile, knownHostsFile, pid } = sshd
const { endpoint, region, accessKeyId, secretAccessKey, folder } = s3
const served: CopyServed = {
  sftp: { host, port, username, privateKeyFile, knownHostsFile, pid },
  s3: { endpoint, region, accessKeyId, secretAccessKey, folder, pid: s3.pid },
  bucket,
  loads,
}
console.log(JSON.stringify(served))
process.stdin.resume()
process.stdin.on('end', () => {
  Promise.all([sshd.stop(), s3.stop()]).catch((error: unknown) => {
    console.error(error)
    process.exitCode = 1
  })
})
