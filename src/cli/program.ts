/** The command line: what can be asked for, and how it is said. Everything it does is in the files beside it. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { version } from '../telemetry/version.ts'
import { check } from './check.ts'
import { explain } from './explain.ts'
import { quarantineList, quarantineRequeue, quarantineShow } from './quarantine.ts'
import { run } from './run.ts'
import { resetState, setState, showState } from './state.ts'

/** 0 ok, 1 run failed, 2 bad config or command line, 3 check failed. */
export type ExitCode = 0 | 1 | 2 | 3

export interface Io {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** True if people watch stderr in a terminal. */
  readonly terminal: boolean
  /** Aborted by the first signal: stop intake and drain. */
  readonly soft: AbortSignal
  /** Aborted by the second signal: stop at once. */
  readonly hard: AbortSignal
}

interface CommonFlags {
  readonly config: string
  readonly pipeline?: string
}

const examples = `
Examples:
  $ s3-streamer --config config.yaml                     run until stopped
  $ s3-streamer run --once --config config.yaml          one scan, deliver everything, exit
  $ s3-streamer run --dry-run --config config.yaml       show what would be sent, change nothing
  $ s3-streamer check --config config.yaml               is the file right, are bucket and endpoints reachable
  $ s3-streamer explain s3://bucket/key --config c.yaml  how would this object be read
  $ s3-streamer explain ./local-file.gz                  the same for a local file, with or without a config
  $ s3-streamer state show --config config.yaml          how far it got
  $ s3-streamer state set 2025-10-12T21:00:00Z           go back (or on) to this time
  $ s3-streamer quarantine list                          what could not be delivered, and why

Exit codes: 0 ok, 1 run failed, 2 bad configuration or command line, 3 check failed.
Any value of the file can be set from outside: S3_STREAMER_<SECTION>_<KEY>, as in S3_STREAMER_HTTP_BATCH_LINES=500.`

/** Runs the command line and gives the exit code. */
export async function program(argv: readonly string[], io: Io): Promise<ExitCode> {
  let code: ExitCode = 0
  const finish = (result: Promise<ExitCode>) =>
    result.then((exit) => {
      code = exit
    })
  const root = new Command('s3-streamer')
    .description('Moves log objects from S3 to where they are read. At least once, nothing dropped.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .addHelpText('after', examples)
    .exitOverride()
    .configureOutput({ writeOut: io.stdout, writeErr: io.stderr })
    .showSuggestionAfterError()
  const command = (parent: Command, usage: string, description: string, o: { isDefault?: boolean } = {}) =>
    parent
      .command(usage, o)
      .description(description)
      .addOption(configOption())
      .exitOverride()
      .configureOutput({ writeOut: io.stdout, writeErr: io.stderr })

  command(root, 'run', 'run the pipelines of the file (the default)', { isDefault: true })
    .option('--once', 'one scan, deliver everything, exit')
    .option('--dry-run', 'read everything once, send nothing, change nothing; prints what would be sent')
    .option('--pipeline <name>', 'only this pipeline')
    .action((flags: CommonFlags & { once?: boolean; dryRun?: boolean }) =>
      finish(run({ ...flags, once: flags.once ?? false, dryRun: flags.dryRun ?? false }, io)),
    )
  command(root, 'check', 'check the file, then access to bucket and endpoints; changes nothing').action(
    (flags: CommonFlags) => finish(check(flags, io)),
  )
  command(root, 'explain <key-or-file>', 'show how an object of the bucket or a local file would be read')
    .option('--pipeline <name>', 'read it as this pipeline would')
    .action((target: string, flags: CommonFlags, self: Command) =>
      finish(explain(target, { ...flags, configGiven: self.getOptionValueSource('config') !== 'default' }, io)),
    )

  const state = root.command('state').description('show or move the place in the bucket').exitOverride()
  const ofPipeline = (parent: Command, usage: string, description: string) =>
    command(parent, usage, description).option('--pipeline <name>', 'of this pipeline')
  ofPipeline(state, 'show', 'how far it got, and what is under way')
    .option('--json', 'as JSON')
    .action((flags: CommonFlags & { json?: boolean }) => finish(showState({ ...flags, json: flags.json ?? false }, io)))
  ofPipeline(state, 'set <time>', 'objects from this time on are read (again): RFC 3339 or Unix seconds').action(
    (time: string, flags: CommonFlags) => finish(setState(time, flags, io)),
  )
  ofPipeline(state, 'reset', 'forget everything but the quarantine, and start as on the first day')
    .option('--yes', 'do not ask')
    .action((flags: CommonFlags & { yes?: boolean }) => finish(resetState({ ...flags, yes: flags.yes ?? false }, io)))

  const quarantine = root
    .command('quarantine')
    .description('objects and records that could not be delivered')
    .exitOverride()
  ofPipeline(quarantine, 'list', 'what is kept, and why')
    .option('--json', 'as JSON lines')
    .action((flags: CommonFlags & { json?: boolean }) =>
      finish(quarantineList({ ...flags, json: flags.json ?? false }, io)),
    )
  ofPipeline(quarantine, 'show <id>', 'one entry; the records themselves go to standard output with --records')
    .option('--records', 'print the records as they were')
    .action((id: string, flags: CommonFlags & { records?: boolean }) =>
      finish(quarantineShow(entryId(id), { ...flags, records: flags.records ?? false }, io)),
    )
  ofPipeline(quarantine, 'requeue [ids...]', 'try entries again; the running streamer takes them, or the next start')
    .option('--all', 'every entry')
    .action((ids: string[], flags: CommonFlags & { all?: boolean }) =>
      finish(quarantineRequeue(flags.all ? 'all' : ids.map(entryId), flags, io)),
    )

  try {
    await root.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? 0 : 2
  }
  return code
}

function configOption(): Option {
  return new Option('-c, --config <file>', 'the configuration').default('config.yaml')
}

function entryId(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError(`${text} is not an entry number: see \`quarantine list\``)
  return Number(text)
}
