/** What the use of each broker shows. Brokers come and go with the cluster: those it no longer tells of are forgotten. */
import type { Dependency, Signal } from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import type { StreamError } from '../core/errors.ts'
import { type BrokerAddress, nameOf } from './kafka-apis.ts'

export interface BrokersOptions {
  readonly nowMs: () => number
  readonly probe: (address: BrokerAddress, o: Signal) => Promise<void>
}

export class KafkaBrokers {
  readonly #o: BrokersOptions
  #states: ReadonlyMap<string, DependencyState> = new Map()

  constructor(o: BrokersOptions) {
    this.#o = o
  }

  get dependencies(): readonly Dependency[] {
    return [...this.#states.values()]
  }

  /** These are the brokers now. */
  keep(addresses: readonly BrokerAddress[]): void {
    const { nowMs, probe } = this.#o
    this.#states = new Map(
      addresses.map((address) => {
        const name = nameOf(address)
        const made = () =>
          new DependencyState({ name: `kafka ${name}`, nowMs, probe: (signal) => probe(address, signal) })
        return [name, this.#states.get(name) ?? made()]
      }),
    )
  }

  used(address: BrokerAddress, error?: StreamError): void {
    this.#states.get(nameOf(address))?.used(error)
  }
}
