// The path of a sparkline in a box of 100 × 20.
import type { Point } from './types';

const digits = (x: number): string => String(Math.round(x * 100) / 100);

// sparkPath draws the points from 0 up to max; where a gap is longer than two
// steps it lifts the pen. A point that stands alone is a short dash.
export function sparkPath(points: Point[], start: number, end: number, step: number, max = points.reduce((m, [, v]) => Math.max(m, v), 0)): string {
  if (!(end > start)) return '';
  const x = (t: number): string => digits(Math.min(Math.max((t - start) / (end - start), 0), 1) * 100);
  const y = (v: number): string => digits(max > 0 ? 19 - Math.min(Math.max(v / max, 0), 1) * 18 : 19);
  let path = '';
  points.forEach(([t, v], i) => {
    const before = points[i - 1];
    const after = points[i + 1];
    const joined = before !== undefined && t - before[0] <= 2 * step;
    path += `${joined ? 'L' : 'M'}${x(t)} ${y(v)}`;
    if (!joined && !(after && after[0] - t <= 2 * step)) path += 'h1';
  });
  return path;
}
