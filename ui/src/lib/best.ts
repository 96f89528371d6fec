// When to run something: the stretch of a forecast in which the mean carbon
// intensity, weighted by time, is lowest. As internal/grid/window does it.

export interface Sample {
  from: number; // seconds since 1970
  to: number;
  intensity: number; // g/kWh
  estimated: boolean;
}

export interface Ask {
  from: number; // not before
  to: number; // finished by
  length: number; // seconds
}

export interface Window {
  from: number;
  to: number;
  mean: number;
  estimated: boolean;
}

export interface Best {
  best: Window | null; // null: the forecast covers no window of this length
  now: Window | null; // the window that begins at once
  covered: number; // how many seconds of the time asked for the forecast knows
  until: number | null; // how far it reaches without a gap
}

// tidy sorts samples, cuts them to the time asked for, and drops what is no
// sample; of two that overlap the first one counts for its time.
function tidy(samples: Sample[], from: number, to: number): Sample[] {
  const out: Sample[] = [];
  for (const s of [...samples].sort((a, b) => a.from - b.from)) {
    const begin = Math.max(s.from, from, out[out.length - 1]?.to ?? from);
    const end = Math.min(s.to, to);
    if (Number.isFinite(s.intensity) && s.intensity >= 0 && end > begin) out.push({ ...s, from: begin, to: end });
  }
  return out;
}

// mean returns the window of samples that are tidy, or null if one of its
// times is not known.
function mean(samples: Sample[], from: number, to: number): Window | null {
  let sum = 0;
  let at = from;
  let estimated = false;
  for (const s of samples) {
    if (s.to <= at) continue;
    if (s.from > at) return null;
    const end = Math.min(s.to, to);
    sum += s.intensity * (end - at);
    estimated ||= s.estimated;
    at = end;
    if (at >= to) return { from, to, mean: sum / (to - from), estimated };
  }
  return null;
}

// findBest tries every start at which the mean can be lowest. While neither
// end of a window passes a border of samples its mean changes evenly, so one
// of the lowest begins or ends at a border. Of equal windows the earliest is
// best.
export function findBest(samples: Sample[], ask: Ask): Best {
  const known = tidy(samples, ask.from, ask.to);
  const covered = known.reduce((a, s) => a + s.to - s.from, 0);
  let until: number | null = null;
  for (const s of known) if (s.from <= (until ?? ask.from)) until = s.to;
  if (!(ask.length > 0)) return { best: null, now: null, covered, until };
  const starts = new Set([ask.from]);
  for (const s of known) for (const at of [s.from, s.from - ask.length, s.to - ask.length]) if (at >= ask.from && at + ask.length <= ask.to) starts.add(at);
  let best: Window | null = null;
  for (const at of [...starts].sort((a, b) => a - b)) {
    if (at + ask.length > ask.to) continue;
    const w = mean(known, at, at + ask.length);
    // Sums of equal windows may differ in their last digits.
    if (w && (!best || w.mean < best.mean * (1 - 1e-12))) best = w;
  }
  return { best, now: ask.from + ask.length <= ask.to ? mean(known, ask.from, ask.from + ask.length) : null, covered, until };
}
