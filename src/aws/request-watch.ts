/** Sees every request of an AWS client: what came of it, and what the server's clock said. */

import type { ServerClock } from '../core/findings.ts'

/** The part of the SDK's middleware stacks that is used here; those of all clients have it. */
interface Stack {
  add(middleware: Watching, o: { readonly step: 'initialize'; readonly priority: 'high'; readonly name: string }): void
  add(middleware: Watching, o: { readonly step: 'deserialize'; readonly priority: 'low'; readonly name: string }): void
}
type Watching = <Request, Result>(next: (request: Request) => Promise<Result>) => (request: Request) => Promise<Result>

export class RequestWatch {
  readonly #asides = new WeakSet<object>()
  readonly #used: (error?: unknown) => void
  /** undefined before the first answer, and where the server tells no time. */
  clock: ServerClock | undefined

  /** `used` is called after each request, its retries included, with what it threw. */
  constructor(client: { readonly middlewareStack: unknown }, used: (error?: unknown) => void) {
    this.#used = used
    const stack = client.middlewareStack as Stack
    stack.add((next) => async (request) => await this.#watch(request, () => next(request)), {
      step: 'initialize',
      priority: 'high',
      name: 'requestWatch',
    })
    stack.add((next) => async (request) => this.#look(await next(request)), {
      step: 'deserialize',
      priority: 'low',
      name: 'clockWatch',
    })
  }

  /** The command, sent only to see how things are: what comes of it counts as no use. */
  aside<C extends { readonly input: object }>(command: C): C {
    this.#asides.add(command.input)
    return command
  }

  async #watch<Result>(request: unknown, send: () => Promise<Result>): Promise<Result> {
    const isAside = isObject(request) && isObject(request.input) && this.#asides.has(request.input)
    try {
      const result = await send()
      if (!isAside) this.#used()
      return result
    } catch (error) {
      if (!isAside) this.#used(error)
      throw error
    }
  }

  #look<Result>(result: Result): Result {
    const response = isObject(result) ? result.response : undefined
    const headers = isObject(response) ? response.headers : undefined
    const date = isObject(headers) && typeof headers.date === 'string' ? Date.parse(headers.date) : Number.NaN
    if (Number.isFinite(date)) this.clock = { serverMs: date, oursMs: Date.now() }
    return result
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
