/** How figures, times and keys are written on the page. */
import { fileSize } from '../../telemetry/figures.ts'

const rounded = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 })
const compactCount = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 })

/** `12,345/s`, `0.4/s` */
export function rate(perSecond: number): string {
  return `${perSecond >= 100 ? Math.round(perSecond).toLocaleString('en-US') : rounded.format(perSecond)}/s`
}

export function byteRate(perSecond: number): string {
  return `${fileSize(Math.round(perSecond))}/s`
}

/** For axes: `12K`. */
export function compact(n: number): string {
  return compactCount.format(n)
}

/** `350 ms`, `42 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h` */
export function duration(seconds: number): string {
  if (seconds > 0 && seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  const [large, name, small, rest] =
    whole < 3600
      ? [Math.floor(whole / 60), 'min', 's', whole % 60]
      : whole < 86_400
        ? [Math.floor(whole / 3600), 'h', 'min', Math.floor((whole % 3600) / 60)]
        : [Math.floor(whole / 86_400), 'd', 'h', Math.floor((whole % 86_400) / 3600)]
  return rest === 0 ? `${large} ${name}` : `${large} ${name} ${rest} ${small}`
}

/** In the reader's zone: `18:20:33`, with the date if it is another day than `nowMs`. */
export function localTime(ms: number, nowMs: number): string {
  const at = new Date(ms)
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(twoDigits).join(':')
  return at.toDateString() === new Date(nowMs).toDateString() ? time : `${localDate(at)} ${time}`
}

function localDate(at: Date): string {
  return `${at.getFullYear()}-${twoDigits(at.getMonth() + 1)}-${twoDigits(at.getDate())}`
}

/** As an input of type `datetime-local` has it. */
export function localInput(ms: number): string {
  const at = new Date(ms)
  return `${localDate(at)}T${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}`
}

function twoDigits(n: number): string {
  return String(n).padStart(2, '0')
}

/**
 * Control characters are shown instead of obeyed: a key with a line feed, or with a character that turns the direction of what
 * follows, would pass for another one.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0
    return `‹U+${code.toString(16).toUpperCase().padStart(4, '0')}›`
  })
}

/** The first characters and the last, which tell most of a key. */
export function shortened(text: string, length: number): string {
  const characters = [...text]
  if (characters.length <= length) return text
  const tail = Math.floor(length * 0.6)
  return `${characters.slice(0, length - tail - 1).join('')}…${characters.slice(-tail).join('')}`
}

/** As a shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
