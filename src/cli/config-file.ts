/** Reads the configuration for a command; problems go to standard error, all of them. */
import { loadConfig, readConfigFile } from '../config/load.ts'
import type { LoadedConfig } from '../config/pipeline.ts'
import { StreamError } from '../core/errors.ts'
import { registry } from '../registry.ts'
import type { Io } from './io.ts'

export interface ConfigFlags {
  readonly config: string
  readonly pipeline?: string
}

/** The configuration, cut down to `pipeline` if that is given; undefined if there were problems (then exit with 2). */
export function openConfig(flags: ConfigFlags, io: Io): LoadedConfig | undefined {
  try {
    return readConfig(flags, io.env)
  } catch (error) {
    if (!(error instanceof StreamError) || error.code !== 'config.invalid') throw error
    io.stderr(`${error.message}\n`)
    return undefined
  }
}

/** The same for a process that goes on if there are problems: throws config.invalid with all of them, a line each. */
export function readConfig(flags: ConfigFlags, env: Io['env']): LoadedConfig {
  const loaded = loadConfig(readConfigFile(flags.config), { file: flags.config, env, registry })
  if (flags.pipeline === undefined) return loaded
  const pipelines = loaded.pipelines.filter(({ name }) => name === flags.pipeline)
  if (pipelines.length > 0) return { ...loaded, pipelines }
  const names = loaded.pipelines.map(({ name }) => name).join(', ')
  throw new StreamError('config.invalid', `${flags.config}: no pipeline "${flags.pipeline}", there is: ${names}`)
}
