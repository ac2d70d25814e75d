/** Reads the configuration for a command; problems go to standard error, all of them. */
import { loadConfig, readConfigFile } from '../config/load.ts'
import type { LoadedConfig } from '../config/pipeline.ts'
import { StreamError } from '../core/errors.ts'
import { registry } from '../registry.ts'
import type { Io } from './program.ts'

/** The configuration, cut down to `pipeline` if that is given; undefined if there were problems (then exit with 2). */
export function openConfig(
  flags: { readonly config: string; readonly pipeline?: string },
  io: Io,
): LoadedConfig | undefined {
  try {
    const loaded = loadConfig(readConfigFile(flags.config), { file: flags.config, env: io.env, registry })
    if (flags.pipeline === undefined) return loaded
    const pipelines = loaded.pipelines.filter(({ name }) => name === flags.pipeline)
    if (pipelines.length > 0) return { ...loaded, pipelines }
    const names = loaded.pipelines.map(({ name }) => name).join(', ')
    throw new StreamError('config.invalid', `${flags.config}: no pipeline "${flags.pipeline}", there is: ${names}`)
  } catch (error) {
    if (!(error instanceof StreamError) || error.code !== 'config.invalid') throw error
    io.stderr(`${error.message}\n`)
    return undefined
  }
}
