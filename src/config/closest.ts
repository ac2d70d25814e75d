/** The name that someone probably meant, if one is near enough. */
export function closest(wrong: string, names: readonly string[]): string | undefined {
  const word = wrong.toLowerCase().slice(0, 100)
  let best: string | undefined
  // A third of the letters may be wrong; of short words, one.
  let least = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const name of names) {
    const distance =
      name.toLowerCase().replaceAll(/[_-]/g, '') === word.replaceAll(/[_-]/g, '') ? 0 : edits(word, name.toLowerCase())
    if (distance < least) {
      least = distance
      best = name
    }
  }
  return best
}

/** Letters to put in, take out, change or swap with their neighbour to make `b` of `a`. */
function edits(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1]
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1))
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) least = Math.min(least, (before[j - 2] ?? 0) + 1)
      row.push(least)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}
