/** A whole block through the automaton of a pattern: in which of its records it is found. */
import { type Block, recordStart } from '../core/block.ts'
import { type Automaton, foundState, lanes, neverState } from './pattern-automaton.ts'
import { anywhere } from './pattern-program.ts'

const lf = 10
const stateMask = 0x7fffffff
const noBlock: Block = { data: Buffer.alloc(0), ends: new Uint32Array(0), first: 0, multiline: false, resumeAt: -1 }
const noHits = new Uint8Array(0)

/**
 * Runs the automaton over four records at a time. One look-up has to wait for the one before it; those of other records do
 * not, so that four at once take a third of the time (bench/filters.ts). A lane that is done with a record takes the next one.
 * Where every match begins with a literal, Buffer.indexOf looks for that, and the automaton begins there.
 */
export class BlockScan {
  readonly #automaton: Automaton
  readonly #prefix: Buffer | undefined
  /** Of each lane: where it reads next, and its record. Its state is in `live` of the automaton. */
  readonly #places = new Int32Array(lanes)
  readonly #records = new Int32Array(lanes)
  #block = noBlock
  #hits: Uint8Array = noHits
  /** The first record no lane has taken. */
  #next = 0

  constructor(automaton: Automaton) {
    this.#automaton = automaton
    const { prefix } = this.#automaton.program
    this.#prefix = prefix.length > 0 ? prefix : undefined
  }

  /** Sets hits[i] = 1 for every record i in which the pattern is found; passes over those that have it already. */
  mark(block: Block, hits: Uint8Array): void {
    const automaton = this.#automaton
    const { start } = automaton
    if (start === foundState) hits.fill(1, 0, block.ends.length)
    if (start === foundState || start === neverState) return
    this.#block = block
    this.#hits = hits
    this.#next = 0
    let busy = 0
    while (busy < lanes && this.#take(busy)) busy += 1
    if (busy === lanes) this.#runTogether()
    for (let lane = 0; lane < lanes; lane += 1) this.#runAlone(lane)
    this.#block = noBlock
    this.#hits = noHits
  }

  /** Until there is no record left for one of the lanes. */
  #runTogether(): void {
    const { data } = this.#block
    const { live } = this.#automaton
    const places = this.#places
    for (let isBusy = true; isBusy; ) {
      const { table } = this.#automaton
      let stateA = live[0] as number
      let stateB = live[1] as number
      let stateC = live[2] as number
      let stateD = live[3] as number
      let a = places[0] as number
      let b = places[1] as number
      let c = places[2] as number
      let d = places[3] as number
      do {
        stateA = table[stateA | (data[a] as number)] as number
        stateB = table[stateB | (data[b] as number)] as number
        stateC = table[stateC | (data[c] as number)] as number
        stateD = table[stateD | (data[d] as number)] as number
        a += 1
        b += 1
        c += 1
        d += 1
      } while ((stateA | stateB | stateC | stateD) >= 0)
      live[0] = stateA
      live[1] = stateB
      live[2] = stateC
      live[3] = stateD
      places[0] = a
      places[1] = b
      places[2] = c
      places[3] = d
      for (let lane = 0; lane < lanes; lane += 1) {
        if ((live[lane] as number) < 0 && !this.#turn(lane)) isBusy = false
      }
    }
  }

  #runAlone(lane: number): void {
    const { data } = this.#block
    const { live } = this.#automaton
    if (live[lane] === foundState) return
    do {
      const { table } = this.#automaton
      let state = live[lane] as number
      let at = this.#places[lane] as number
      while (state >= 0) {
        state = table[state | (data[at] as number)] as number
        at += 1
      }
      live[lane] = state
      this.#places[lane] = at
    } while (this.#turn(lane))
  }

  /** What is to be done where the table does not say how to go on; false if the lane has no record any more. */
  #turn(lane: number): boolean {
    const { live } = this.#automaton
    const { data, ends } = this.#block
    const at = (this.#places[lane] as number) - 1
    const record = this.#records[lane] as number
    let entry = live[lane] as number
    if (entry !== foundState && entry !== neverState) {
      const state = entry & stateMask
      const byte = data[at] as number
      if (byte !== lf) entry = this.#automaton.next(state, byte)
      else if (at !== (ends[record] as number) - 1) entry = this.#automaton.afterLineFeed(state)
      else entry = this.#automaton.isMatchAtEnd(state) ? foundState : neverState
      live[lane] = entry
    }
    if (entry >= 0) return true
    if (entry === foundState) this.#hits[record] = 1
    return this.#take(lane)
  }

  /** Gives the lane the next record; false if there is none. */
  #take(lane: number): boolean {
    const { data, ends } = this.#block
    const { live } = this.#automaton
    const count = ends.length
    for (;;) {
      while (this.#next < count && this.#hits[this.#next] === 1) this.#next += 1
      if (this.#next === count) {
        live[lane] = foundState
        return false
      }
      const start = recordStart(this.#block, this.#next)
      if (this.#prefix === undefined) {
        this.#places[lane] = start
        live[lane] = this.#automaton.start
        break
      }
      const found = data.indexOf(this.#prefix, start)
      if (found < 0) this.#next = count
      else while ((ends[this.#next] as number) <= found) this.#next += 1
      if (this.#next === count || this.#hits[this.#next] === 1) continue
      this.#places[lane] = found
      live[lane] = this.#automaton.startAt(anywhere)
      break
    }
    this.#records[lane] = this.#next
    this.#next += 1
    return true
  }
}
