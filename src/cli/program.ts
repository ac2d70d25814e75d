/** The command line: what can be asked for, and how it is said. What it does is in the files beside it, loaded when asked for. */
import { existsSync } from 'node:fs'
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { closest } from '../config/closest.ts'
import { parseDuration } from '../config/fields.ts'
import { version } from '../telemetry/version.ts'
import type { CopyFlags } from './copy-request.ts'
import type { ExitCode, Io } from './io.ts'

interface CommonFlags {
  readonly config: string
  readonly pipeline?: string
}

const examples = `
Examples:
  $ s3-streamer check                                is the file right, do bucket and endpoints answer
  $ s3-streamer doctor                               why does it not work, or what will not: looks at everything
  $ s3-streamer run --dry-run                        show what would be sent, change nothing
  $ s3-streamer run --once                           one scan, deliver everything, exit
  $ s3-streamer -c /etc/s3-streamer.yaml             run until stopped, with another file than ./config.yaml
  $ s3-streamer explain s3://bucket/key              how is this object read
  $ s3-streamer explain ./local-file.gz              the same for a local file, with or without a configuration
  $ s3-streamer status --watch                       what it is doing: rates, lag, endpoints, what is under way
  $ s3-streamer history                              the last runs; with --objects the last objects
  $ s3-streamer state show                           how far it got
  $ s3-streamer state set 2025-10-12T21:00:00Z       go back (or on) to this time
  $ s3-streamer replay --from 2h --dry-run           what would be read again; without --dry-run it is
  $ s3-streamer quarantine list                      what could not be delivered, and why
  $ s3-streamer quarantine requeue --all             try it again

Exit codes: 0 ok, 1 run failed, 2 bad configuration or command line, 3 check failed or (status) not running.
Any value of the file can be set from outside: S3_STREAMER_<SECTION>_<KEY>, as in S3_STREAMER_HTTP_BATCH_LINES=500.`

/** Runs the command line and gives the exit code. */
export async function program(argv: readonly string[], io: Io): Promise<ExitCode> {
  let code: ExitCode = 0
  const root = createCommands(io, (exit) => {
    code = exit
  })
  try {
    await root.parseAsync(flagsLast(argv, root), { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : 2
  }
  return code
}

/** All commands, for the command line and for the test that compares the documents with it. */
export function createCommands(
  io: Pick<Io, 'stdout' | 'stderr'> & Partial<Io>,
  done: (code: ExitCode) => void,
): Command {
  const whole = io as Io
  const finish = async (result: Promise<ExitCode>) => done(await result)
  const root = new Command('s3-streamer')
    .description('Moves log objects from S3 to where they are read. At least once, nothing dropped.')
    .usage('[options of run] | <command> [options]')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help of a command')
    .exitOverride()
    .configureOutput({ writeOut: io.stdout, writeErr: io.stderr })
  const command = (parent: Command, usage: string, description: string, o: { isDefault?: boolean } = {}) =>
    parent.command(usage, o).description(description).addOption(configOption())
  const ofPipeline = (parent: Command, usage: string, description: string) =>
    command(parent, usage, description).option('--pipeline <name>', 'only this pipeline of the file')

  const run = command(root, 'run', 'run the pipelines of the file (the default)', { isDefault: true })
    .option('--once', 'one scan, deliver everything, exit')
    .option('--dry-run', 'read what one scan would, send nothing, change nothing; print what would be sent')
    .option('--pipeline <name>', 'only this pipeline of the file')
    .allowExcessArguments()
    .action(async (flags: CommonFlags & { once?: boolean; dryRun?: boolean }, self: Command) => {
      refuseWords(self, root)
      const { run } = await import('./run.ts')
      await finish(run({ ...flags, once: flags.once ?? false, dryRun: flags.dryRun ?? false }, whole))
    })
  root.addHelpText('after', () => `\nOptions of run:\n${optionLines(run)}\n${examples}`)

  ofPipeline(root, 'check', 'show what is in force, then try state, bucket and endpoints; changes nothing').action(
    async (flags: CommonFlags) => {
      const { check } = await import('./check.ts')
      await finish(check(flags, whole))
    },
  )
  command(
    root,
    'reload',
    'have the running streamer read its file again (as SIGHUP does), and tell what came of it',
  ).action(async (flags: { readonly config: string }) => {
    const { reload } = await import('./reload.ts')
    await finish(reload(flags, whole))
  })
  ofPipeline(root, 'doctor', 'look for all that could keep it from working, and say what to do; changes nothing')
    .option('--json', 'as JSON lines')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      const { doctor } = await import('./doctor.ts')
      await finish(doctor({ ...flags, json: flags.json ?? false }, whole))
    })
  ofPipeline(root, 'explain', 'show how an object, or a local file, is read: format, time, records')
    .argument('<key-or-file>', 'key in the bucket, s3://bucket/key, or a local file')
    .action(async (target: string, flags: CommonFlags, self: Command) => {
      const { explain } = await import('./explain.ts')
      const configGiven = self.getOptionValueSource('config') !== 'default'
      await finish(explain(target, { ...flags, configGiven }, whole))
    })

  ofPipeline(root, 'history', 'the last runs, or the last objects: when, how long, what became of the records')
    .option('--objects', 'objects instead of runs')
    .option('--outcome <outcome>', 'only those that ended so, as in failed, quarantined, killed')
    .option('--since <time>', 'only what went on at or after this time')
    .option('--until <time>', 'only what went on at or before this time')
    .addOption(new Option('--limit <n>', 'at most so many').argParser(entryCount).default(20))
    .option('--json', 'as JSON lines')
    .action(
      async (
        flags: CommonFlags & {
          objects?: boolean
          json?: boolean
          outcome?: string
          since?: string
          until?: string
          limit: number
        },
      ) => {
        const { history } = await import('./history.ts')
        await finish(history({ ...flags, objects: flags.objects ?? false, json: flags.json ?? false }, whole))
      },
    )

  ofPipeline(root, 'status', 'what the running streamer does; without one, what is known (then exit code 3)')
    .option('--watch', 'again and again, until Ctrl-C')
    .option('--json', 'as JSON; with --watch a line a second')
    .action(async (flags: CommonFlags & { watch?: boolean; json?: boolean }) => {
      const { status } = await import('./status.ts')
      await finish(status({ ...flags, watch: flags.watch ?? false, json: flags.json ?? false }, whole))
    })

  root
    .command('copy')
    .description(
      'copy files, once: from an SFTP server, a bucket or this machine to S3; the same command goes on where an interrupted one was',
    )
    .argument('[source]', 'sftp://user@host/path, s3://bucket/folder/, or a local path; * and ** in paths of files')
    .argument('[destination]', 's3://bucket/folder/ (or s3://bucket/key for one file)')
    .option('-i, --identity <file>', 'private key for the SFTP server (default: as ssh, or SFTP_PASSWORD)')
    .option('--known-hosts <file>', 'host keys of SFTP servers (default: ~/.ssh/known_hosts)')
    .option('--host-key <fingerprint>', 'SHA256 fingerprint of the host key, instead of known hosts', collect)
    .option('--include <glob>', 'only these files, by their path below SOURCE (may be given again)', collect)
    .option('--exclude <glob>', 'not these files (may be given again)', collect)
    .option('--no-recursive', 'not the folders below SOURCE')
    .option('--part-size <size>', 'size of a part of an upload (default: 8MiB)')
    .addOption(new Option('--read-concurrency <n>', 'parts read at once (default: 6)').argParser(entryCount))
    .addOption(new Option('--upload-concurrency <n>', 'parts sent at once (default: 10)').argParser(entryCount))
    .addOption(new Option('--files <n>', 'files copied at once (default: 16)').argParser(entryCount))
    .addOption(new Option('--sessions <n>', 'connections to the SFTP server').argParser(entryCount))
    .option('--verify <how>', 'checksum, size or read_back (default: checksum)')
    .option('--checksum <which>', 'crc64nvme, or when_required for S3-compatible servers that know none')
    .option('--if-exists <what>', 'overwrite, skip or fail (default: overwrite)')
    .option('--storage-class <class>', 'storage class of what is written')
    .option('--endpoint <url>', 'S3-compatible server instead of AWS (also S3_ENDPOINT_URL)')
    .option('--region <region>', 'AWS region')
    .option('--source-endpoint <url>', 'server of a source bucket, if it is another one')
    .option('--source-region <region>', 'region of a source bucket, if it is another one')
    .option('--after <what>', 'what becomes of files that were copied: none, delete or move (default: none)')
    .option('--move-to <folder>', 'where copied files are moved to, at the source')
    .option('--pushgateway <url>', 'push metrics to this Prometheus Pushgateway')
    .option('--state <file>', 'where an interrupted copy is remembered (default: below ~/.local/state/s3-streamer)')
    .option('--dry-run', 'list what would be copied, and where to')
    .option('--abandon', 'give up an interrupted copy: remove what it stored of unfinished files, and forget it')
    .option('--json', 'tell files, progress and the end as JSON lines on standard output')
    .action(
      async (
        source: string | undefined,
        destination: string | undefined,
        flags: CopyFlags & { json?: boolean; dryRun?: boolean; abandon?: boolean },
      ) => {
        const { copy } = await import('./copy.ts')
        const { json = false, dryRun = false, abandon = false } = flags
        await finish(copy(source, destination, { ...flags, json, dryRun, abandon }, whole))
      },
    )

  const state = root.command('state').description('show or move the place in the bucket')
  ofPipeline(state, 'show', 'how far it got, and what is under way')
    .option('--json', 'as JSON, a line for each pipeline')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      const { showState } = await import('./state.ts')
      await finish(showState({ ...flags, json: flags.json ?? false }, whole))
    })
  ofPipeline(state, 'set', 'read objects from this time on (again); the streamer must not be running')
    .argument('<time>', 'as 2025-10-12T21:00:00Z, or in Unix seconds')
    .action(async (time: string, flags: CommonFlags) => {
      const { setState } = await import('./state.ts')
      await finish(setState(time, flags, whole))
    })
  ofPipeline(state, 'reset', 'forget everything but the quarantine, and start as on the first day')
    .option('--yes', 'do not ask')
    .action(async (flags: CommonFlags & { yes?: boolean }) => {
      const { resetState } = await import('./state.ts')
      await finish(resetState({ ...flags, yes: flags.yes ?? false }, whole))
    })

  ofPipeline(state, 'uploads', 'uploads of whole objects that were begun and are not over, here and at the server')
    .option('--abort', 'remove what they have stored; the streamer must not be running')
    .option('--unknown', 'with --abort: those, too, that this state does not know')
    .addOption(
      new Option('--older-than <duration>', 'only those begun at least so long ago')
        .argParser(durationMs)
        .default(0, '0s'),
    )
    .option('--json', 'as JSON lines')
    .action(async (flags: CommonFlags & { abort?: boolean; unknown?: boolean; olderThan: number; json?: boolean }) => {
      const { uploads } = await import('./uploads.ts')
      const { abort = false, unknown = false, json = false } = flags
      await finish(uploads({ ...flags, abort, unknown, json }, whole))
    })

  const replay = ofPipeline(
    root,
    'replay',
    'read objects of a time range again, beside live work; tells first what it would read',
  )
    .option('--from <time>', 'objects from this time on: as 2025-10-12T21:00:00Z, in Unix seconds, or ago, as 2h')
    .option('--to <time>', 'objects before this time', 'now')
    .option('--prefix <prefix>', 'only keys (of files: paths) that begin with this; for queues s3://bucket/prefix', '')
    .option('--rate <size>', 'at most so many stored bytes a second (default: 10MiB)')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'only tell what would be read, and show the first objects')
    .option('--json', 'as JSON lines')
    .action(
      async (
        flags: CommonFlags & {
          from?: string
          to: string
          prefix: string
          rate?: string
          yes?: boolean
          dryRun?: boolean
          json?: boolean
        },
        self: Command,
      ) => {
        const { from, yes = false, dryRun = false, json = false } = flags
        if (from === undefined) self.error(`error: say from which time on: s3-streamer replay --from 2h`)
        const { replay } = await import('./replay.ts')
        await finish(replay({ ...flags, from, yes, dryRun, json }, whole))
      },
    )
  ofPipeline(replay, 'list', 'replays, and how far they are; newest first')
    .addOption(new Option('--limit <n>', 'at most so many').argParser(entryCount).default(20))
    .option('--json', 'as JSON lines')
    .action(async (_: object, self: Command) => {
      const { replayList } = await import('./replay-list.ts')
      // What `replay` itself takes is taken by it, also behind `list`.
      const flags = self.optsWithGlobals<CommonFlags & { json?: boolean; limit: number }>()
      await finish(replayList({ ...flags, json: flags.json ?? false }, whole))
    })
  ofPipeline(replay, 'cancel', 'begin nothing more of a replay; works while it runs')
    .addArgument(new Argument('<id>', 'its number, as in `replay list`').argParser(replayId))
    .action(async (id: number, _: object, self: Command) => {
      const { replayCancel } = await import('./replay-list.ts')
      await finish(replayCancel(id, self.optsWithGlobals<CommonFlags>(), whole))
    })

  const quarantine = root.command('quarantine').description('objects and records that could not be delivered')
  ofPipeline(quarantine, 'list', 'what is kept, and why; newest first')
    .option('--json', 'as JSON lines')
    .action(async (flags: CommonFlags & { json?: boolean }) => {
      const { quarantineList } = await import('./quarantine.ts')
      await finish(quarantineList({ ...flags, json: flags.json ?? false }, whole))
    })
  ofPipeline(quarantine, 'show', 'one entry: object, place, reason, first record')
    .addArgument(new Argument('<id>', 'number of the entry, as in `quarantine list`').argParser(entryId))
    .option('--records', 'print only its records, as they were')
    .action(async (id: number, flags: CommonFlags & { records?: boolean }) => {
      const { quarantineShow } = await import('./quarantine.ts')
      await finish(quarantineShow(id, { ...flags, records: flags.records ?? false }, whole))
    })
  ofPipeline(quarantine, 'requeue', 'try entries again; a running streamer takes them, else the next start')
    .addArgument(new Argument('[ids...]', 'numbers of entries').argParser(entryIds))
    .option('--all', 'every entry')
    .action(async (ids: number[] | undefined, flags: CommonFlags & { all?: boolean }) => {
      const { quarantineRequeue } = await import('./quarantine.ts')
      await finish(quarantineRequeue(flags.all ? 'all' : (ids ?? []), flags, whole))
    })
  ofPipeline(quarantine, 'drop', 'forget entries, and the records they keep; also while the streamer runs')
    .addArgument(new Argument('<ids...>', 'numbers of entries').argParser(entryIds))
    .option('--yes', 'do not ask')
    .action(async (ids: number[], flags: CommonFlags & { yes?: boolean }) => {
      const { quarantineDrop } = await import('./quarantine.ts')
      await finish(quarantineDrop(ids, { ...flags, yes: flags.yes ?? false }, whole))
    })
  return root
}

function configOption(): Option {
  return new Option('-c, --config <file>', 'the configuration').default('config.yaml')
}

/** `-c file check` means `check -c file`: what stands before the name of a command goes behind it. */
function flagsLast(argv: readonly string[], root: Command): string[] {
  const takesValue = (flag: string) => ['-c', '--config', '--pipeline'].includes(flag)
  let first = 0
  while (argv[first]?.startsWith('-') && argv[first] !== '--') first += takesValue(argv[first] as string) ? 2 : 1
  const names = root.commands.map((command) => command.name())
  if (first === 0 || !names.includes(argv[first] ?? '')) return [...argv]
  const rest = argv.slice(first)
  const end = rest.includes('--') ? rest.indexOf('--') : rest.length
  return [...rest.slice(0, end), ...argv.slice(0, first), ...rest.slice(end)]
}

/** `run` is the default, so a mistyped command arrives there as a word it cannot use. */
function refuseWords(run: Command, root: Command): void {
  const [word] = run.args
  if (word === undefined) return
  if (/\.ya?ml$/i.test(word) || existsSync(word)) {
    run.error(`error: cannot use "${word}" as a command: a configuration is given with --config ${word}`)
  }
  const names = root.commands.map((command) => command.name())
  const meant = closest(word, names)
  const hint = meant === undefined ? `there is ${names.join(', ')}` : `did you mean ${meant}?`
  run.error(`error: there is no command "${word}": ${hint} (see s3-streamer --help)`)
}

function optionLines(command: Command): string {
  return command.options.map(({ flags, description }) => `  ${flags.padEnd(22)} ${description}`).join('\n')
}

function entryId(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is the number in the first column of `s3-streamer quarantine list`.')
}

function replayId(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is the number in the first column of `s3-streamer replay list`.')
}

function entryCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is a whole number from 1 on.')
}

function durationMs(text: string): number {
  const ms = parseDuration(text)
  if (ms !== undefined) return ms
  throw new InvalidArgumentError('Write a number with a unit, like 24h or 30m.')
}

function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text]
}

function entryIds(text: string, before: number[] | undefined): number[] {
  return [...(before ?? []), entryId(text)]
}
