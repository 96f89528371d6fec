import { useEffect, useRef, useState } from 'preact/hooks';
import type { Sample } from '../lib/best';
import { about, clock, date, intensity, number } from '../lib/format';

interface Props {
  label: string;
  past: Sample[];
  forecast: Sample[];
  start: number;
  end: number;
  now: number;
  shade?: { from: number; to: number } | undefined; // the best window
  height?: number;
}

const left = 44;
const top = 18;
const bottom = 22;

// steps draws stretches as a line of steps, with gaps where nothing is known.
function steps(samples: Sample[], x: (t: number) => number, y: (v: number) => number, base: number | null): string {
  let out = '';
  let at: Sample | null = null;
  for (const s of samples) {
    const joined = at !== null && s.from - at.to < 1;
    if (!joined) {
      if (at && base !== null) out += `V${base.toFixed(1)}Z`;
      out += base === null ? `M${x(s.from).toFixed(1)},${y(s.intensity).toFixed(1)}` : `M${x(s.from).toFixed(1)},${base.toFixed(1)}V${y(s.intensity).toFixed(1)}`;
    } else out += `V${y(s.intensity).toFixed(1)}`;
    out += `H${x(s.to).toFixed(1)}`;
    at = s;
  }
  return at && base !== null ? `${out}V${base.toFixed(1)}Z` : out;
}

// ticks are round numbers from 0 on.
export function ticks(max: number, most: number): number[] {
  const raw = max / most;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * unit).find((k) => k >= raw) ?? 10 * unit;
  return Array.from({ length: Math.ceil(max / step - 1e-9) + 1 }, (_, i) => i * step);
}

// times are round times of the reader's clock.
function times(start: number, end: number, most: number): number[] {
  const step = [300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000].find((s) => (end - start) / s <= most) ?? 7776000;
  const shift = new Date(start * 1000).getTimezoneOffset() * 60;
  const out: number[] = [];
  for (let t = Math.ceil((start - shift) / step) * step + shift; t <= end; t += step) out.push(t);
  return out;
}

// IntensityChart draws the intensity of a grid: what was, what is expected
// (dashed), the present as a line, and a window. Estimates are hatched.
export function IntensityChart({ label, past, forecast, start, end, now, shade, height = 230 }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(800);
  const [at, setAt] = useState<number | null>(null);
  useEffect(() => {
    const root = box.current;
    if (!root) return;
    const measure = () => setWidth(Math.max(280, root.clientWidth));
    measure();
    const resize = new ResizeObserver(measure);
    resize.observe(root);
    return () => resize.disconnect();
  }, []);
  const inside = (s: Sample[]): Sample[] => s.filter((v) => v.to > start && v.from < end).map((v) => ({ ...v, from: Math.max(v.from, start), to: Math.min(v.to, end) }));
  const before = inside(past);
  const ahead = inside(forecast);
  const marks = ticks(Math.max(1, ...before.map((s) => s.intensity), ...ahead.map((s) => s.intensity)), 4);
  const max = marks[marks.length - 1]!;
  const base = height - bottom;
  const x = (t: number): number => left + ((t - start) / (end - start)) * (width - left - 8);
  const y = (v: number): number => base - (v / max) * (base - top);
  const hot = at === null ? undefined : [...before, ...ahead].find((s) => s.from <= at && at < s.to);
  const span = end - start;
  const axis = times(start, end, Math.max(2, Math.floor(width / 110)));
  const day = axis.length > 1 && axis[1]! - axis[0]! >= 86400;
  const words = (t: number): string => {
    // Midnight has its date.
    const text = clock(t, 86400);
    return day || (text === '00:00' && span > 43200) ? date(t) : text;
  };
  const move = (e: PointerEvent & { currentTarget: Element }) => setAt(start + ((e.clientX - e.currentTarget.getBoundingClientRect().left - left) / (width - left - 8)) * span);
  return (
    <div class="intensity" ref={box}>
      <svg width={width} height={height} role="img" aria-label={label} onPointerMove={move} onPointerLeave={() => setAt(null)}>
        <defs>
          <pattern id="intensity-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="2" height="6" class="intensity-stripe" />
          </pattern>
        </defs>
        {marks.map((v) => (
          <g key={v}>
            <line class="grid" x1={left} x2={width - 8} y1={y(v)} y2={y(v)} />
            <text class="tick" x={left - 6} y={y(v)} dy="0.35em" text-anchor="end">
              {number(v)}
            </text>
          </g>
        ))}
        <text class="tick" x={4} y={10}>
          gCO2e/kWh
        </text>
        {shade && shade.to > start && shade.from < end && (
          <g class="best">
            <rect x={x(Math.max(shade.from, start))} y={top} width={Math.max(2, x(Math.min(shade.to, end)) - x(Math.max(shade.from, start)))} height={base - top} />
            <text x={Math.min(Math.max(x((shade.from + shade.to) / 2), left + 16), width - 24)} y={top - 4} text-anchor="middle">
              best
            </text>
          </g>
        )}
        <path class="area" d={steps(before.filter((s) => !s.estimated), x, y, base)} />
        <path class="area guess" d={steps(before.filter((s) => s.estimated), x, y, base)} />
        <path class="area ahead" d={steps(ahead, x, y, base)} />
        <path class="line" d={steps(before, x, y, null)} />
        <path class="line dashed" d={steps(ahead, x, y, null)} />
        {now >= start && now <= end && (
          <g class="now">
            <line x1={x(now)} x2={x(now)} y1={top - 6} y2={base} />
            <text x={Math.min(Math.max(x(now) + 4, left), width - 30)} y={top - 4}>
              now
            </text>
          </g>
        )}
        {axis.map((t) => (
          <text key={t} class="tick" x={x(t)} y={height - 6} text-anchor="middle">
            {words(t)}
          </text>
        ))}
        {hot && <rect class="cursor" x={x(hot.from)} y={top} width={Math.max(1, x(hot.to) - x(hot.from))} height={base - top} />}
      </svg>
      <p class="intensity-read" aria-hidden="true">
        {hot ? (
          <>
            {clock(hot.from, 1e9)} – {clock(hot.to, 86400)}: <strong>{about(intensity(hot.intensity), hot.estimated)}</strong> {hot.from >= now || ahead.includes(hot) ? 'forecast' : ''}
          </>
        ) : (
          <>
            {before.length > 0 && <span class="key solid">so far</span>} {ahead.length > 0 && <span class="key dash">forecast</span>}
          </>
        )}
      </p>
    </div>
  );
}
